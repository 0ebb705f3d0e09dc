// Errors as RFC 9457 problem documents. The one function from ErrorCode to HTTP status.
#ifndef MAYFLY_SERVICE_API_PROBLEM_H_
#define MAYFLY_SERVICE_API_PROBLEM_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "service/api/http.h"
#include "store/model/json.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// `type` is "/problems/<word>"; stable words: validation, unauthorised, forbidden-scope, not-found,
// method-not-allowed, expired, precondition-required, precondition-failed, conversation-moved,
// idempotency-conflict, idempotency-in-progress, reply-window-closed, restricted, adds-recipient,
// credential-dead, missing-privilege, option-unusable, host-forbidden, platform-throttled,
// platform-rejected, platform-unavailable, ceiling-exceeded, cursor-invalid, too-large,
// range-not-satisfiable, rate-limited, sealed, unavailable, internal. `instance` is the request id.
// Besides, of HTTP itself: malformed-request, unsupported-media-type, expectation-failed,
// request-timeout, not-implemented, http-version. Never message text, handle, token or query text.
// `extra` may add members. `field` becomes errors[0]: "/a/b" its pointer,
// "?name" its parameter, anything else (a header field) its name.
Response Problem(const Request& request, const Error& error,
                 const std::function<void(json::Writer&)>& extra = nullptr);
Response Problem(const Request& request, int status, std::string_view word, std::string_view title,
                 std::string_view field = {},
                 const std::function<void(json::Writer&)>& extra = nullptr);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_PROBLEM_H_
