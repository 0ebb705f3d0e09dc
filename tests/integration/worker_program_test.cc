// The real mayfly-worker over its two pipes, limited as the supervisor limits it.
#include <fcntl.h>
#include <fstream>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "service/link/worker_link.h"
#include "service/sandbox/landlock.h"
#include "service/supervisor/supervisor.h"
#include "tests/support/processes.h"

namespace mayfly::service {
namespace {

using testing::Pipe;
using testing::WaitForChild;

pid_t StartWorker(const std::vector<std::string>& arguments, int from_core, int to_core) {
  std::vector<std::string> words = {MAYFLY_WORKER};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const rlimit data = {SupervisorOptions{}.worker_data_bytes_max,
                       SupervisorOptions{}.worker_data_bytes_max};
  const int in = fcntl(from_core, F_DUPFD_CLOEXEC, 10);
  const int out = fcntl(to_core, F_DUPFD_CLOEXEC, 10);
  if (setrlimit(RLIMIT_DATA, &data) != 0 || dup2(in, kWorkerFromCoreFd) < 0 ||
      dup2(out, kWorkerToCoreFd) < 0) {
    _exit(90);
  }
  char* const environment[] = {nullptr};
  execve(argv[0], argv.data(), environment);
  _exit(91);
}

class WorkerProgram : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& arguments = {"--epoch", "9"}) {
    Pipe to;
    Pipe from;
    pid_ = StartWorker(arguments, to.read.get(), from.write.get());
    link_ = std::make_unique<WorkerLink>(
        WorkerPipes{to.write.Release(), from.read.Release(), 9},
        [](const Credential&) -> Status { return Fail(ErrorCode::kIo, "not in this test"); });
  }
  static connectors::ConnectorContext Context(const std::string& service) {
    connectors::ConnectorContext context;
    context.options = {{"service", service}, {"identifier", "office.example.org"}};
    context.credential = Credential(R"({"password":"abcd-efgh-ijkl-mnop"})");
    context.egress.insecure_loopback = true;
    return context;
  }
  // Ends the link and with it the worker.
  std::optional<int> Close() {
    link_.reset();
    return WaitForChild(pid_);
  }
  long ResidentKiB() const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string word; status >> word;) {
      long value = 0;
      if (word == "VmRSS:" && status >> value) return value;
    }
    return -1;
  }
  pid_t pid_ = -1;
  std::unique_ptr<WorkerLink> link_;
};

// A port of loopback that nobody listens on: bound, so that nobody else gets it, and not listening.
class ClosedPort {
 public:
  ClosedPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0) {
      port_ = ntohs(address.sin_port);
    }
  }
  std::string origin() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  testing::Fd fd_;
  int port_ = 0;
};

TEST_F(WorkerProgram, GreetsTellsItsSandboxAndEndsWithTheLink) {
  const ClosedPort nobody;
  Start();
  const auto sandbox = link_->Hello("bluesky", Context(nobody.origin()));
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  EXPECT_EQ(sandbox->landlock, LandlockAbi() > 0);
  EXPECT_EQ(sandbox->landlock_abi, static_cast<std::uint32_t>(LandlockAbi()));
  // The whole way to the network and back, with nobody there.
  const auto check = link_->Check();
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().code, ErrorCode::kPlatformUnavailable);
  EXPECT_FALSE(link_->broken());
  const long resident = ResidentKiB();
  EXPECT_GT(resident, 0);
  RecordProperty("resident_kib", static_cast<int>(resident));
  EXPECT_EQ(Close(), 0);
}

TEST_F(WorkerProgram, RefusesAnUnknownPlatform) {
  Start();
  const auto hello = link_->Hello("no-such-platform", {});
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().code, ErrorCode::kOptionUnusable);
  EXPECT_EQ(Close(), 0);
}

TEST_F(WorkerProgram, StartsOnlyAsTheSupervisorStartsIt) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {}, {"--epoch"}, {"--epoch", "x"}, {"--epoch", "-1"}, {"--other", "1"}, {"9"}}) {
    Start(arguments);
    const auto status = Close();
    ASSERT_TRUE(status && WIFEXITED(*status));
    EXPECT_EQ(WEXITSTATUS(*status), 64);
  }
}

}  // namespace
}  // namespace mayfly::service
