// The command line's way to a running service: HTTP over its Unix socket. Opens no other
// connection.
#ifndef MAYFLY_SERVICE_ADMIN_CLIENT_H_
#define MAYFLY_SERVICE_ADMIN_CLIENT_H_

#include <filesystem>
#include <map>
#include <string>

#include "store/model/result.h"

namespace mayfly::service {

struct LocalResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
};

// kUnavailable when nobody listens there (no service runs), kIo when the exchange breaks.
Result<LocalResponse> CallUnixSocket(const std::filesystem::path& socket, const std::string& method,
                                     const std::string& target,
                                     const std::map<std::string, std::string>& headers,
                                     const std::string& body);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ADMIN_CLIENT_H_
