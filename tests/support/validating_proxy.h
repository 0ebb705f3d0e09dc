// Prism (@stoplight/prism-cli), a validating proxy that was written elsewhere: it reads
// service/api/openapi.json and answers 500 when a request or an answer breaks it.
#ifndef MAYFLY_TESTS_SUPPORT_VALIDATING_PROXY_H_
#define MAYFLY_TESTS_SUPPORT_VALIDATING_PROXY_H_

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <sys/types.h>

#include "tests/support/api_raw_client.h"

namespace mayfly::testing {

// Where ./dev test installs the tools of tests/e2e/openapi_tools.
std::filesystem::path OpenApiToolsDir();
// Why they cannot run here, or empty.
std::string OpenApiToolsMissing();

class ValidatingProxy {
 public:
  static std::string Missing() { return OpenApiToolsMissing(); }

  // Before `upstream` ("http://127.0.0.1:8080"); its log goes into `dir`. Waits until it listens.
  ValidatingProxy(const std::string& upstream, const std::filesystem::path& dir);
  ~ValidatingProxy();
  ValidatingProxy(const ValidatingProxy&) = delete;
  ValidatingProxy& operator=(const ValidatingProxy&) = delete;

  // Nothing when the service could not be asked. What the proxy finds wrong fails the test.
  std::optional<RawResponse> Ask(const std::string& method, const std::string& target,
                                 const std::map<std::string, std::string>& headers,
                                 const std::string& body);

 private:
  std::uint16_t port_ = 0;
  pid_t process_ = -1;
  std::size_t answers_ = 0;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_VALIDATING_PROXY_H_
