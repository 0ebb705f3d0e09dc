// The supervisor with small programs in the places of core and worker, and the core's end of the
// control descriptor against what must not come through it.
#include "service/supervisor/supervisor.h"

#include <arpa/inet.h>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "control.pb.h"
#include "service/supervisor/control_client.h"
#include "tests/support/processes.h"

namespace mayfly::service {
namespace {

using testing::Fd;
using testing::LineReader;
using testing::OpenProcess;
using testing::Pipe;
using testing::WaitForChild;
using testing::WaitForEnd;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

// A supervisor in a process of its own, with tiny_core and tiny_worker.
class SupervisorProcess {
 public:
  explicit SupervisorProcess(const std::string& mode,
                             const std::function<void(SupervisorOptions&)>& change = {}) {
    SupervisorOptions options;
    options.core_program = MAYFLY_TINY_CORE;
    options.worker_program = MAYFLY_TINY_WORKER;
    options.listen.push_back(ListenAddress{.host = "127.0.0.1", .port = 0, .unix_path = {}});
    options.listen.push_back(
        ListenAddress{.host = "", .port = 0, .unix_path = directory_.path() / "rest.sock"});
    options.admin_socket = directory_.path() / "admin.sock";
    options.port_file = directory_.path() / "ports";
    options.restart_delay_first = std::chrono::milliseconds(1);
    options.drain_deadline = std::chrono::milliseconds(testing::kPatienceMs);
    options.worker_read_paths = {"/opt/ca"};
    // Under a number of its own past the listeners, as the demo's clock is.
    report_fd_ = Fd(fcntl(report_.write.get(), F_DUPFD_CLOEXEC, 64));
    options.inherit = {report_fd_.get()};
    options.core_arguments = {std::to_string(report_fd_.get()), mode};
    if (change) change(options);
    pid_ = fork();
    if (pid_ == 0) {
      setenv("LD_PRELOAD", "/nonexistent/spy.so", 1);
      setenv("MAYFLY_SECRET", "planted", 1);
      setenv("TZ", "UTC", 1);
      setenv("PATH", "/usr/bin:/bin", 1);
      unsetenv("LANG");
      unsetenv("MALLOC_ARENA_MAX");
      // One that somebody leaked, without CLOEXEC: the children must not see it.
      if (dup2(0, 200) != 200) _exit(90);
      _exit(RunSupervisor(options));
    }
    report_.write.Reset();
    report_fd_.Reset();
  }
  ~SupervisorProcess() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    WaitForChild(pid_);
  }
  pid_t pid() const { return pid_; }
  // The exit code, or -1.
  int Wait() {
    const auto status = WaitForChild(pid_);
    pid_ = -1;
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }
  LineReader& lines() { return lines_; }
  const std::filesystem::path& directory() const { return directory_.path(); }

 private:
  testing::TemporaryDirectory directory_;
  Pipe report_;
  Fd report_fd_;
  LineReader lines_{report_.read.get()};
  pid_t pid_ = -1;
};

pid_t ToPid(const std::optional<std::string>& text) {
  return text ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : -1;
}

TEST(Supervisor, ChildrenFindOnlyWhatIsTheirs) {
  SupervisorProcess supervisor("serve");
  ASSERT_TRUE(supervisor.lines().Find("core "));
  EXPECT_EQ(supervisor.lines().Find("environment"), " PATH TZ");
  // Standard ones, control, administration, two listeners, and the inherited one.
  EXPECT_EQ(supervisor.lines().Find("descriptors"), " 0 1 2 3s 4s 5s 6s 64");
  EXPECT_EQ(supervisor.lines().Find("core-limit "), "0");
  EXPECT_EQ(supervisor.lines().Find("worker-environment "), "PATH TZ MALLOC_ARENA_MAX ");
  EXPECT_EQ(supervisor.lines().Find("worker-descriptors"), " 0 1 2 3 4");
  EXPECT_EQ(supervisor.lines().Find("worker-arguments"),
            " --epoch 5 --read /opt/ca data=" + std::to_string(kWorkerDataBytesMax) + " core=0");
  ASSERT_TRUE(supervisor.lines().Find("worker "));
  kill(supervisor.pid(), SIGTERM);
  EXPECT_TRUE(supervisor.lines().Find("drain"));
  EXPECT_EQ(supervisor.Wait(), 0);
}

TEST(Supervisor, SocketsAreBoundWrittenDownAndRemoved) {
  SupervisorProcess supervisor("accept");
  ASSERT_TRUE(supervisor.lines().Find("accepting"));
  const std::filesystem::path admin = supervisor.directory() / "admin.sock";
  for (const auto& path : {admin, supervisor.directory() / "rest.sock"}) {
    struct stat status = {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFSOCK | 0600));
  }
  std::istringstream ports(ReadFile(supervisor.directory() / "ports"));
  std::string first;
  std::string second;
  std::string third;
  std::getline(ports, first);
  std::getline(ports, second);
  EXPECT_FALSE(std::getline(ports, third));
  const std::string prefix = "http://127.0.0.1:";
  ASSERT_EQ(first.rfind(prefix, 0), 0u) << first;
  EXPECT_EQ(second, "unix:" + (supervisor.directory() / "rest.sock").string());

  const Fd to_admin(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un admin_address = {};
  admin_address.sun_family = AF_UNIX;
  std::strncpy(admin_address.sun_path, admin.c_str(), sizeof admin_address.sun_path - 1);
  ASSERT_EQ(connect(to_admin.get(), reinterpret_cast<const sockaddr*>(&admin_address),
                    sizeof admin_address),
            0);
  char answer = 0;
  ASSERT_TRUE(testing::WaitReadable(to_admin.get()));
  EXPECT_EQ(read(to_admin.get(), &answer, 1), 1);

  const Fd to_rest(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in rest_address = {};
  rest_address.sin_family = AF_INET;
  rest_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  rest_address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(first.substr(prefix.size()))));
  ASSERT_EQ(
      connect(to_rest.get(), reinterpret_cast<const sockaddr*>(&rest_address), sizeof rest_address),
      0);
  ASSERT_TRUE(testing::WaitReadable(to_rest.get()));
  EXPECT_EQ(read(to_rest.get(), &answer, 1), 1);
  EXPECT_TRUE(supervisor.lines().Find("accepted"));

  kill(supervisor.pid(), SIGINT);
  EXPECT_EQ(supervisor.Wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(admin));
  EXPECT_FALSE(std::filesystem::exists(supervisor.directory() / "rest.sock"));
}

TEST(Supervisor, AStaleSocketIsReplacedAndALivingOneIsNot) {
  testing::TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "admin.sock";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  Fd earlier(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(earlier.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(earlier.get(), 1), 0);
  const auto use_path = [&](SupervisorOptions& options) { options.admin_socket = path; };
  {
    SupervisorProcess refused("exit-78", use_path);
    EXPECT_EQ(refused.Wait(), 71);
    EXPECT_FALSE(refused.lines().Find("core "));
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  earlier.Reset();  // the file stays behind
  ASSERT_TRUE(std::filesystem::exists(path));
  SupervisorProcess taken("serve", use_path);
  EXPECT_TRUE(taken.lines().Find("worker "));
}

TEST(Supervisor, AFileInTheWayOfASocketStays) {
  testing::TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "admin.sock";
  std::ofstream(path) << "somebody's";
  SupervisorProcess supervisor("serve",
                               [&](SupervisorOptions& options) { options.admin_socket = path; });
  EXPECT_EQ(supervisor.Wait(), 78);
  EXPECT_EQ(ReadFile(path), "somebody's");
}

TEST(Supervisor, OnlyLoopbackIsListenedOnInTheClear) {
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1", "localhost", "127.1", ""}) {
    SupervisorProcess supervisor("serve", [&](SupervisorOptions& options) {
      options.listen.push_back(ListenAddress{.host = host, .port = 0, .unix_path = {}});
    });
    EXPECT_EQ(supervisor.Wait(), 78) << host;
    EXPECT_FALSE(supervisor.lines().Find("core ")) << host;
  }
}

TEST(Supervisor, EverybodyIsListenedToOverTlsOrForTrustedProxies) {
  SupervisorProcess supervisor("serve", [](SupervisorOptions& options) {
    options.listen.push_back(ListenAddress{.host = "0.0.0.0", .unix_path = {}, .tls = true});
    options.listen.push_back(
        ListenAddress{.host = "0.0.0.0", .unix_path = {}, .proxies_only = true});
  });
  ASSERT_TRUE(supervisor.lines().Find("core "));
  const std::string ports = ReadFile(supervisor.directory() / "ports");
  EXPECT_NE(ports.find("\nhttps://0.0.0.0:"), std::string::npos) << ports;
  EXPECT_NE(ports.find("\nhttp://0.0.0.0:"), std::string::npos) << ports;
}

TEST(Supervisor, ReloadIsPassedOnAndEndsNobody) {
  SupervisorProcess supervisor("serve");
  ASSERT_TRUE(supervisor.lines().Find("worker "));
  for (int i = 0; i < 3; ++i) {
    kill(supervisor.pid(), SIGHUP);
    EXPECT_TRUE(supervisor.lines().Find("reload"));
  }
  kill(supervisor.pid(), SIGTERM);
  EXPECT_TRUE(supervisor.lines().Find("drain"));
  EXPECT_EQ(supervisor.Wait(), 0);
}

TEST(Supervisor, ProgramsThatAreNotThereAreSaidAtOnce) {
  SupervisorProcess core(
      "serve", [](SupervisorOptions& options) { options.core_program = "/nonexistent/mayfly"; });
  EXPECT_EQ(core.Wait(), 78);
  SupervisorProcess worker(
      "serve", [](SupervisorOptions& options) { options.worker_program = "/nonexistent/worker"; });
  EXPECT_EQ(worker.Wait(), 78);
}

TEST(Supervisor, ACoreThatRefusesToRunIsNotRestarted) {
  for (const int code : {77, 78}) {
    SupervisorProcess supervisor("exit-" + std::to_string(code));
    EXPECT_TRUE(supervisor.lines().Find("core "));
    EXPECT_EQ(supervisor.Wait(), code);
    EXPECT_FALSE(supervisor.lines().Find("core "));
  }
}

TEST(Supervisor, ACoreThatEndsByItselfIsRestartedEvenWhenItSaysSuccess) {
  for (const char* mode : {"exit-0", "exit-3"}) {
    SupervisorProcess supervisor(mode);
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(supervisor.lines().Find("core "));
    kill(supervisor.pid(), SIGTERM);
    supervisor.Wait();
  }
}

TEST(Supervisor, StopsAtOnceWhileItWaitsToRestartTheCore) {
  SupervisorProcess supervisor("exit-3", [](SupervisorOptions& options) {
    options.restart_delay_first = std::chrono::hours(24);
    options.restart_delay_max = std::chrono::hours(24);
  });
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  ASSERT_GT(core, 0);
  // Reaped, so the supervisor is waiting.
  const Fd process = OpenProcess(core);
  if (process.get() >= 0) {
    ASSERT_TRUE(WaitForEnd(process));
  }
  kill(supervisor.pid(), SIGTERM);
  const int code = supervisor.Wait();
  // 1 only where the signal came before the end of the core was seen.
  EXPECT_TRUE(code == 0 || code == 1) << code;
}

TEST(Supervisor, WorkersAreKilledAndTheCoreRestartedAfterACrash) {
  SupervisorProcess supervisor("serve");
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  const pid_t worker = ToPid(supervisor.lines().Find("worker "));
  ASSERT_GT(core, 0);
  ASSERT_GT(worker, 0);
  const Fd worker_process = OpenProcess(worker);
  ASSERT_GE(worker_process.get(), 0);
  kill(core, SIGKILL);
  EXPECT_TRUE(WaitForEnd(worker_process));
  const pid_t next_core = ToPid(supervisor.lines().Find("core "));
  EXPECT_GT(next_core, 0);
  EXPECT_NE(next_core, core);
  const pid_t next_worker = ToPid(supervisor.lines().Find("worker "));
  EXPECT_GT(next_worker, 0);
  EXPECT_NE(next_worker, worker);
  kill(supervisor.pid(), SIGTERM);
  EXPECT_EQ(supervisor.Wait(), 0);
}

TEST(Supervisor, TheEndOfAWorkerIsToldAndHurtsNobodyElse) {
  SupervisorProcess supervisor("restart-worker");
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  const pid_t worker = ToPid(supervisor.lines().Find("worker "));
  ASSERT_GT(worker, 0);
  kill(worker, SIGABRT);  // what a malformed answer can do to cpprestsdk
  EXPECT_EQ(supervisor.lines().Find("worker-ended "), "1 5 -1 6");
  const pid_t next = ToPid(supervisor.lines().Find("worker "));
  EXPECT_GT(next, 0);
  EXPECT_NE(next, worker);
  EXPECT_EQ(kill(core, 0), 0);
  kill(supervisor.pid(), SIGTERM);
  EXPECT_EQ(supervisor.Wait(), 0);
}

TEST(Supervisor, ANewEpochReplacesTheOldWorkerAndAnOldOneIsRefused) {
  SupervisorProcess supervisor("two-epochs");
  bool killed = false;
  bool refused = false;
  for (int i = 0; i < 40 && !(killed && refused); ++i) {
    const auto ended = supervisor.lines().Find("worker-ended ");
    ASSERT_TRUE(ended);
    killed = killed || *ended == "1 1 -1 9";
    refused = refused || *ended == "1 2 64 0";
  }
  EXPECT_TRUE(killed);
  EXPECT_TRUE(refused);
}

TEST(Supervisor, WorkersAreBounded) {
  SupervisorProcess supervisor("many");
  EXPECT_EQ(supervisor.lines().Find("refused "), std::to_string(300 - 256));
  kill(supervisor.pid(), SIGTERM);
  EXPECT_EQ(supervisor.Wait(), 0);
}

TEST(Supervisor, ACoreThatBreaksTheControlProtocolIsReplaced) {
  SupervisorProcess supervisor("garbage");
  const auto first = supervisor.lines().Find("core ");
  const auto second = supervisor.lines().Find("core ");
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_NE(*first, *second);
}

TEST(Supervisor, WhatStillRunsAtTheDrainDeadlineIsKilled) {
  SupervisorProcess supervisor("ignore-drain", [](SupervisorOptions& options) {
    options.drain_deadline = std::chrono::milliseconds(50);
  });
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  const pid_t worker = ToPid(supervisor.lines().Find("worker "));
  ASSERT_GT(worker, 0);
  const Fd core_process = OpenProcess(core);
  const Fd worker_process = OpenProcess(worker);
  kill(supervisor.pid(), SIGTERM);
  EXPECT_EQ(supervisor.Wait(), 1);
  EXPECT_TRUE(WaitForEnd(core_process));
  EXPECT_TRUE(WaitForEnd(worker_process));
}

TEST(Supervisor, ASecondSignalKillsAtOnce) {
  SupervisorProcess supervisor("ignore-drain", [](SupervisorOptions& options) {
    options.drain_deadline = std::chrono::hours(24);
  });
  ASSERT_TRUE(supervisor.lines().Find("worker "));
  kill(supervisor.pid(), SIGTERM);
  ASSERT_TRUE(supervisor.lines().Find("drain"));
  kill(supervisor.pid(), SIGINT);
  EXPECT_EQ(supervisor.Wait(), 1);
}

TEST(Supervisor, SignalsMeantForTheWholeGroupDoNotReachChildren) {
  SupervisorProcess supervisor("serve");
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  const pid_t worker = ToPid(supervisor.lines().Find("worker "));
  ASSERT_GT(worker, 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    kill(core, signal);
    kill(worker, signal);
  }
  kill(supervisor.pid(), SIGTERM);
  EXPECT_TRUE(supervisor.lines().Find("drain"));
  EXPECT_EQ(supervisor.Wait(), 0);  // a core that a signal had ended would give 1
}

TEST(Supervisor, ItsOwnEndEndsCoreAndWorkers) {
  SupervisorProcess supervisor("serve");
  const pid_t core = ToPid(supervisor.lines().Find("core "));
  const pid_t worker = ToPid(supervisor.lines().Find("worker "));
  ASSERT_GT(worker, 0);
  const Fd core_process = OpenProcess(core);
  const Fd worker_process = OpenProcess(worker);
  ASSERT_GE(core_process.get(), 0);
  ASSERT_GE(worker_process.get(), 0);
  kill(supervisor.pid(), SIGKILL);
  EXPECT_TRUE(supervisor.lines().Find("supervisor-gone"));
  EXPECT_TRUE(WaitForEnd(core_process));
  EXPECT_TRUE(WaitForEnd(worker_process));
}

// ---- What comes over the control descriptor.

class Control : public ::testing::Test {
 protected:
  Control() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    supervisor_ = Fd(fds[0]);
    client_ = std::make_unique<ControlClient>(fds[1]);
  }

  void SendBytes(const std::string& bytes, const std::vector<int>& fds) {
    std::string payload = bytes;
    iovec part = {payload.data(), payload.size()};
    msghdr header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char ancillary[CMSG_SPACE(253 * sizeof(int))] = {};
    if (!fds.empty()) {
      header.msg_control = ancillary;
      header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    ASSERT_EQ(sendmsg(supervisor_.get(), &header, MSG_NOSIGNAL),
              static_cast<ssize_t>(payload.size()));
  }

  static std::string Started() {
    control::ToCore message;
    message.mutable_started()->set_account(7);
    message.mutable_started()->set_epoch(3);
    return message.SerializeAsString();
  }

  static int CountDescriptors() {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) {
      if (fcntl(fd, F_GETFD) >= 0) ++count;
    }
    return count;
  }

  // Refused, and nothing of what came is left open.
  void ExpectRefused(const std::string& bytes, const std::vector<int>& fds) {
    const int before = CountDescriptors();
    SendBytes(bytes, fds);
    const auto event = client_->Next();
    ASSERT_FALSE(event);
    EXPECT_EQ(event.error().code, ErrorCode::kProtocol);
    EXPECT_EQ(CountDescriptors(), before);
  }

  Fd supervisor_;
  std::unique_ptr<ControlClient> client_;
};

TEST_F(Control, TwoPipesComeWithAWorker) {
  Pipe to;
  Pipe from;
  SendBytes(Started(), {to.write.get(), from.read.get()});
  const auto event = client_->Next();
  ASSERT_TRUE(event);
  const auto* started = std::get_if<ControlClient::WorkerStarted>(&*event);
  ASSERT_NE(started, nullptr);
  EXPECT_EQ(started->account.value, 7u);
  EXPECT_EQ(started->pipes.epoch, 3u);
  const Fd to_worker(started->pipes.to_worker);
  const Fd from_worker(started->pipes.from_worker);
  EXPECT_EQ(fcntl(to_worker.get(), F_GETFD), FD_CLOEXEC);
  char byte = 0;
  EXPECT_EQ(write(to_worker.get(), "x", 1), 1);
  EXPECT_EQ(read(to.read.get(), &byte, 1), 1);
  EXPECT_EQ(write(from.write.get(), "y", 1), 1);
  EXPECT_EQ(read(from_worker.get(), &byte, 1), 1);
}

// The core's filter cannot see the address inside sendmsg. So a socket, connected or not, must not
// get in by the only door there is; escape_test.cc relies on this test.
TEST_F(Control, SocketsAreRefused) {
  Pipe pipe;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const Fd connected(pair[0]);
  const Fd other(pair[1]);

  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(listen(listener.get(), 1), 0);
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const Fd tcp(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(tcp.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);

  const Fd unconnected_tcp(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Fd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const Fd unix_datagram(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (const Fd* socket : {&connected, &tcp, &listener, &unconnected_tcp, &udp, &unix_datagram}) {
    ASSERT_GE(socket->get(), 0);
    ExpectRefused(Started(), {socket->get(), socket->get()});
    ExpectRefused(Started(), {pipe.write.get(), socket->get()});
    ExpectRefused(Started(), {socket->get(), pipe.read.get()});
  }
}

TEST_F(Control, WhatElseIsNoPipeIsRefused) {
  Pipe pipe;
  const Fd directory(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd device(open("/dev/null", O_RDWR | O_CLOEXEC));
  const Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  for (const Fd* wrong : {&directory, &device, &file}) {
    ASSERT_GE(wrong->get(), 0);
    ExpectRefused(Started(), {pipe.write.get(), wrong->get()});
    ExpectRefused(Started(), {wrong->get(), pipe.read.get()});
  }
  ExpectRefused(Started(), {pipe.read.get(), pipe.write.get()});  // the wrong ends
}

TEST_F(Control, AWrongNumberOfDescriptorsIsRefused) {
  Pipe pipe;
  const int out = pipe.write.get();
  const int in = pipe.read.get();
  ExpectRefused(Started(), {});
  ExpectRefused(Started(), {out});
  ExpectRefused(Started(), {out, in, in});
  ExpectRefused(Started(), std::vector<int>(253, in));
}

TEST_F(Control, DescriptorsWithAnotherMessageAreRefused) {
  Pipe pipe;
  control::ToCore message;
  message.mutable_drain();
  ExpectRefused(message.SerializeAsString(), {pipe.write.get(), pipe.read.get()});
  control::ToCore ended;
  ended.mutable_ended()->set_account(1);
  ExpectRefused(ended.SerializeAsString(), {pipe.write.get()});
  control::ToCore reload;
  reload.mutable_reload();
  ExpectRefused(reload.SerializeAsString(), {pipe.write.get(), pipe.read.get()});
}

TEST_F(Control, MessagesWithoutFormAreRefused) {
  Pipe pipe;
  ExpectRefused("\xff\xff", {});
  ExpectRefused("\xff\xff", {pipe.write.get(), pipe.read.get()});
  control::ToCore far_too_long;
  far_too_long.mutable_drain();
  std::string bytes = far_too_long.SerializeAsString();
  bytes += std::string(5'000, '\0');
  ExpectRefused(bytes, {});
  ExpectRefused(std::string("\x7a\x00", 2), {});  // field 15, which there is not
}

TEST_F(Control, TheKernelsWordOnItsClockArrives) {
  for (const bool synchronised : {true, false}) {
    control::ToCore answer;
    answer.mutable_kernel_clock()->set_synchronised(synchronised);
    SendBytes(answer.SerializeAsString(), {});
    const auto event = client_->Next();
    ASSERT_TRUE(event);
    const auto* kernel = std::get_if<ControlClient::KernelClock>(&*event);
    ASSERT_NE(kernel, nullptr);
    EXPECT_EQ(kernel->synchronised, synchronised);
  }
}

TEST_F(Control, OtherEventsArrive) {
  control::ToCore ended;
  ended.mutable_ended()->set_account(9);
  ended.mutable_ended()->set_epoch(4);
  ended.mutable_ended()->set_exit_code(-1);
  ended.mutable_ended()->set_signal(11);
  SendBytes(ended.SerializeAsString(), {});
  auto event = client_->Next();
  ASSERT_TRUE(event);
  const auto* told = std::get_if<ControlClient::WorkerEnded>(&*event);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->account.value, 9u);
  EXPECT_EQ(told->epoch, 4u);
  EXPECT_EQ(told->exit_code, -1);
  EXPECT_EQ(told->signal, 11);

  control::ToCore drain;
  drain.mutable_drain();
  SendBytes(drain.SerializeAsString(), {});
  event = client_->Next();
  ASSERT_TRUE(event);
  EXPECT_TRUE(std::holds_alternative<ControlClient::DrainAsked>(*event));

  control::ToCore reload;
  reload.mutable_reload();
  SendBytes(reload.SerializeAsString(), {});
  event = client_->Next();
  ASSERT_TRUE(event);
  EXPECT_TRUE(std::holds_alternative<ControlClient::ReloadAsked>(*event));

  supervisor_.Reset();
  event = client_->Next();
  ASSERT_TRUE(event);
  EXPECT_TRUE(std::holds_alternative<ControlClient::SupervisorGone>(*event));
  EXPECT_EQ(client_->StartWorker(AccountId{1}, 1).error().code, ErrorCode::kUnavailable);
}

TEST_F(Control, StopEndsTheWait) {
  client_->Stop();
  const auto event = client_->Next();
  ASSERT_TRUE(event);
  EXPECT_TRUE(std::holds_alternative<ControlClient::SupervisorGone>(*event));
}

}  // namespace
}  // namespace mayfly::service
