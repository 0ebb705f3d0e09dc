// Takes a passphrase from a person or from a descriptor; never from arguments or the environment.
#ifndef MAYFLY_SERVICE_READ_PASSPHRASE_H_
#define MAYFLY_SERVICE_READ_PASSPHRASE_H_

#include <string>

#include "store/keys/passphrase.h"
#include "store/model/result.h"

namespace mayfly::service {

// One line. From `fd` when it is 0 or more; else from the terminal, after `prompt`, without echo.
// kInvalidArgument when there is neither, when it ends before a character came, or when the line is
// longer than a passphrase may be.
Result<store::Passphrase> ReadPassphrase(int fd, const std::string& prompt);
// A new one: on the terminal it is asked for twice.
Result<store::Passphrase> ReadNewPassphrase(int fd);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_READ_PASSPHRASE_H_
