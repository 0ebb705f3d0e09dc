// service/api/openapi.json before judges that were written elsewhere.
#include <poll.h>
#include <thread>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "tests/support/service_process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/validating_proxy.h"

namespace mayfly::testing {
namespace {

class OpenApiTools : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!OpenApiToolsMissing().empty()) GTEST_SKIP() << OpenApiToolsMissing();
  }
  static RunResult RunTool(const std::string& name, std::vector<std::string> arguments) {
    const std::string tool = (OpenApiToolsDir() / "node_modules/.bin" / name).string();
    // They are asked for their judgement, not to tell their makers about it.
    std::vector<std::string> command = {"env", "REDOCLY_TELEMETRY=off",
                                        "REDOCLY_SUPPRESS_UPDATE_NOTICE=true", tool};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return RunProgram(command);
  }
  static std::string Source(const std::string& path) {
    return std::string(MAYFLY_SOURCE_DIR) + "/" + path;
  }
};

TEST_F(OpenApiTools, RedoclyFindsNothingWrong) {
  const RunResult lint =
      RunTool("redocly", {"lint", "--config", Source("tests/e2e/openapi_tools/redocly.yaml"),
                          Source("service/api/openapi.json")});
  EXPECT_EQ(lint.exit_code, 0) << lint.out << lint.err;
  // It ends well with warnings too.
  EXPECT_EQ((lint.out + lint.err).find("You have"), std::string::npos) << lint.out << lint.err;
}

TEST_F(OpenApiTools, SpectralFindsNothingWrong) {
  const RunResult lint = RunTool("spectral", {"lint", "--fail-severity=warn", "-r",
                                              Source("tests/e2e/openapi_tools/spectral.yaml"),
                                              Source("service/api/openapi.json")});
  EXPECT_EQ(lint.exit_code, 0) << lint.out << lint.err;
}

// What it lets pass elsewhere is worth something.
TEST_F(OpenApiTools, TheProxyRefusesAnAnswerThatBreaksTheContract) {
  const ListeningSocket upstream = ListenOnLoopback();
  std::jthread service([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      pollfd wait{upstream.fd, POLLIN, 0};
      if (::poll(&wait, 1, 100) <= 0) continue;
      const int client = ::accept(upstream.fd, nullptr, nullptr);
      char request[4096];
      const std::string body = R"({"status":"splendid"})";
      const std::string answer =
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
          "Content-Length: " +
          std::to_string(body.size()) + "\r\n\r\n" + body;
      if (::recv(client, request, sizeof request, 0) > 0) {
        (void)::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      ::close(client);
    }
  });
  const TempDir dir;
  ValidatingProxy proxy("http://127.0.0.1:" + std::to_string(upstream.port), dir.path());
  EXPECT_NONFATAL_FAILURE((void)proxy.Ask("GET", "/healthz", {}, ""), "VIOLATIONS");
  service.request_stop();
  service.join();
  ::close(upstream.fd);
}

}  // namespace
}  // namespace mayfly::testing
