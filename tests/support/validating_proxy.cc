#include "tests/support/validating_proxy.h"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <gtest/gtest.h>

#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;

// One that was free a moment ago; the proxy cannot be told to choose.
std::uint16_t FreePort() {
  const ListeningSocket socket = ListenOnLoopback();
  ::close(socket.fd);
  return socket.port;
}

}  // namespace

fs::path OpenApiToolsDir() { return fs::path(MAYFLY_BINARY_DIR) / "openapi_tools"; }

std::string OpenApiToolsMissing() {
  std::error_code ignored;
  if (!fs::exists(OpenApiToolsDir() / "installed", ignored)) {
    return "the tools for OpenAPI are not installed in " + OpenApiToolsDir().string() +
           "; ./dev test does that where Node.js and npm are";
  }
  return "";
}

ValidatingProxy::ValidatingProxy(const std::string& upstream, const fs::path& dir)
    : port_(FreePort()) {
  const std::string program = (OpenApiToolsDir() / "node_modules/.bin/prism").string();
  const std::string document = std::string(MAYFLY_SOURCE_DIR) + "/service/api/openapi.json";
  const std::string port = std::to_string(port_), log = (dir / "proxy.log").string();
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    // It judges what is said, not to whom: the certificates of these tests are of other days.
    ::setenv("NODE_TLS_REJECT_UNAUTHORIZED", "0", 1);
    ::execl(program.c_str(), program.c_str(), "proxy", document.c_str(), upstream.c_str(),
            "--errors", "--cors=false", "--verboseLevel", "warn", "--host", "127.0.0.1", "--port",
            port.c_str(), nullptr);
    ::_exit(127);
  }
  EXPECT_TRUE(Eventually(
      [&] {
        try {
          RawClient client(port_);
          return true;
        } catch (const std::runtime_error&) {
          return false;
        }
      },
      60))
      << "the validating proxy did not start";
}

ValidatingProxy::~ValidatingProxy() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  std::cout << "validating proxy: " << answers_ << " answers passed through\n";
}

std::optional<RawResponse> ValidatingProxy::Ask(const std::string& method,
                                                const std::string& target,
                                                const std::map<std::string, std::string>& headers,
                                                const std::string& body) {
  std::string request = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  request += "Connection: close\r\n";
  for (const auto& [name, value] : headers) request += name + ": " + value + "\r\n";
  if (!body.empty()) {
    request +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  RawClient client(port_);
  const auto response = client.Ask(request + "\r\n" + body);
  if (!response) return std::nullopt;
  const std::size_t errors = response->body.find("stoplight.io/prism/errors#");
  if (errors == std::string::npos) {
    // The proxy's own word about a service that it could not ask.
    if (response->Header("x-request-id").empty()) return std::nullopt;
    ++answers_;
    return response;
  }
  // Its upstream is down: no kind of its own for that.
  if (response->body.find("errors#UNKNOWN") != std::string::npos) return std::nullopt;
  ADD_FAILURE() << "validating proxy: " << method << " " << target.substr(0, target.find('?'))
                << ": " << response->body;
  return response;
}

}  // namespace mayfly::testing
