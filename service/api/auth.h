// Who asks. Scopes, never roles, are checked by handlers' routes; what each allows:
//
//   inbox:read      conversations, messages, replies, coverage     comms
//   inbox:reply     write replies                                  comms
//   inbox:manage    change a conversation's status                 comms
//   admin:accounts  connect, change, check and retire accounts     administrator, admin socket
//   admin:settings  settings within the ceiling                    administrator, admin socket
//   privacy:*       find, export, restrict, erase a person         privacy
//   ops:read        metrics, expiry state, coverage                operator, admin socket
//   ops:act         start operations                               operator, admin socket
//   audit:read      receipts, audit log                            auditor
//
// The table route by role is rights.txt, beside this file; a route without a row fails the tests.
#ifndef MAYFLY_SERVICE_API_AUTH_H_
#define MAYFLY_SERVICE_API_AUTH_H_

#include "service/api/dispatch.h"
#include "store/model/clock.h"
#include "store/tokens.h"

namespace mayfly::service::api {

// A bearer token, from the Authorization header and from nowhere else. Over the admin socket, whose
// peers were checked when they connected, the actor is `cli:<uid>` and a token is not looked at; it
// never reads messages. kNotFound for every reason to doubt. Both arguments must outlive the
// result.
Authenticator MakeAuthenticator(const store::Tokens& tokens, const Clock& clock);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_AUTH_H_
