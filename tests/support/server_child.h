// The listener in a process of its own, with a tiny API, so that a test can read what it costs:
// memory, descriptors and processor time of the server and of nobody else.
#ifndef MAYFLY_TESTS_SUPPORT_SERVER_CHILD_H_
#define MAYFLY_TESTS_SUPPORT_SERVER_CHILD_H_

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "service/api/server.h"
#include "service/sandbox/sandbox.h"
#include "store/model/clock.h"
#include "tests/support/api_raw_client.h"
#include "tests/support/certificates.h"
#include "tests/support/processes.h"
#include "tests/support/sanitized.h"
#include "tests/support/small_api.h"

namespace mayfly::testing {

// Memory of the server under test. A sanitizer keeps what was freed, so its figures say nothing.
inline void ExpectGrowthBelow(std::size_t before, std::size_t peak, std::size_t bound) {
  if (!kSanitized) {
    EXPECT_LT(peak, before + bound);
    return;
  }
  std::printf("SKIPPED: %zu KiB more is not judged under a sanitizer (bound %zu KiB)\n",
              (peak - before) >> 10, bound >> 10);
}

struct ServerChildOptions {
  service::api::ServerLimits limits = {};
  service::api::TrustedProxies trusted_proxies = {};
  bool proxies_only = false;   // of the plain port
  rlim_t descriptors_max = 0;  // RLIMIT_NOFILE; 0: as it is
  bool core_sandbox = false;   // as the core runs: Landlock and the system call filter
};

// Make it while this process has one thread.
class ServerChild {
 public:
  explicit ServerChild(const ServerChildOptions& options = {}) {
    WritePemPair(directory_.path(), MakePemPair(AroundNow()));
    const ListeningSocket plain = ListenOnLoopback(), tls = ListenOnLoopback();
    port_ = plain.port;
    tls_port_ = tls.port;
    int talk[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk) != 0) {
      throw std::runtime_error("no socket pair");
    }
    talk_ = Fd(talk[0]);
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(talk[0]);
      ::_exit(Serve(options, plain.fd, tls.fd, talk[1]));
    }
    ::close(talk[1]);
    ::close(plain.fd);
    ::close(tls.fd);
    if (Ask('?') != '!') throw std::runtime_error("the server did not start");
  }
  ~ServerChild() {
    if (child_ > 0 && !exit_code_) {
      ::kill(child_, SIGKILL);
      WaitForChild(child_);
    }
  }
  ServerChild(const ServerChild&) = delete;
  ServerChild& operator=(const ServerChild&) = delete;

  std::uint16_t port() const { return port_; }
  std::uint16_t tls_port() const { return tls_port_; }
  const std::filesystem::path& directory() const { return directory_.path(); }  // of the pair

  service::api::ServerCounters Counters() {
    service::api::ServerCounters counters;
    Command('c');
    Receive(&counters, sizeof counters);
    return counters;
  }
  bool Reload() { return Ask('r') == '+'; }
  void ReleaseSlow() { Ask('s'); }
  void AwaitSlow() { Ask('w'); }
  // Begins a drain with half a minute of time. Other commands go on.
  void BeginDrain() { Ask('d'); }
  // The exit code, 0 when the drain left nothing open.
  int WaitForEnd() {
    Command('x');
    const auto status = WaitForChild(child_);
    exit_code_ = status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
    return *exit_code_;
  }

  // Bytes.
  std::size_t Resident() const { return StatusKiB("VmRSS:") << 10; }
  std::size_t ResidentPeak() const { return StatusKiB("VmHWM:") << 10; }
  std::size_t Descriptors() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(Proc() / "fd")) {
      (void)entry;
      ++count;
    }
    return count;
  }
  // User and system time used so far.
  std::chrono::milliseconds ProcessorTime() const {
    std::ifstream in(Proc() / "stat");
    std::string text((std::istreambuf_iterator<char>(in)), {});
    std::istringstream rest(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) rest >> skipped;
    long user = 0, system = 0;
    rest >> user >> system;
    return std::chrono::milliseconds((user + system) * 1000 / ::sysconf(_SC_CLK_TCK));
  }

 private:
  std::filesystem::path Proc() const { return "/proc/" + std::to_string(child_); }
  std::size_t StatusKiB(const std::string& name) const {
    std::ifstream in(Proc() / "status");
    for (std::string word; in >> word;) {
      std::size_t value = 0;
      if (word == name && in >> value) return value;
    }
    throw std::runtime_error("the server has ended");
  }

  void Command(char command) {
    if (::send(talk_.get(), &command, 1, MSG_NOSIGNAL) != 1) {
      throw std::runtime_error("the server has ended");
    }
  }
  void Receive(void* bytes, std::size_t size) {
    if (!WaitReadable(talk_.get()) ||
        ::recv(talk_.get(), bytes, size, MSG_WAITALL) != static_cast<ssize_t>(size)) {
      throw std::runtime_error("the server does not answer the test");
    }
  }
  char Ask(char command) {
    Command(command);
    char answer = 0;
    Receive(&answer, 1);
    return answer;
  }

  TemporaryDirectory directory_;
  std::uint16_t port_ = 0, tls_port_ = 0;
  Fd talk_;
  pid_t child_ = -1;
  std::optional<int> exit_code_;

  // In the child: its exit code.
  int Serve(const ServerChildOptions& options, int plain, int tls, int talk) const {
    using namespace service::api;
    if (options.descriptors_max != 0) {
      const rlimit limit = {options.descriptors_max, options.descriptors_max};
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 90;
    }
    const TlsFiles files{directory_.path() / "fullchain.pem", directory_.path() / "privkey.pem"};
    if (options.core_sandbox) {
      service::CoreSandboxOptions sandbox;
      sandbox.read_only = TlsDirectories(files);
      if (!service::EnterCoreSandbox(sandbox)) return 91;
    }
    SmallApi api;
    const SystemClock clock;
    TlsCertificates certificates(files);
    if (!certificates.Load(clock.Now())) return 92;
    Server server(api.router(), SmallApi::Authenticate, options.limits,
                  {.certificates = &certificates,
                   .trusted_proxies = options.trusted_proxies,
                   .clock = &clock});
    if (!server.Start(
            {{.fd = plain, .proxies_only = options.proxies_only}, {.fd = tls, .tls = true}})) {
      return 93;
    }
    server.SetReady(true);
    return Obey(api, clock, certificates, server, talk);
  }

  static int Obey(SmallApi& api, const Clock& clock, service::api::TlsCertificates& certificates,
                  service::api::Server& server, int talk) {
    std::jthread drain;
    for (char command = 0; ::read(talk, &command, 1) == 1;) {
      char answer = '!';
      if (command == 'd') drain = std::jthread([&] { server.Drain(std::chrono::seconds(30)); });
      if (command == 'x') {
        drain.join();
        return server.counters().open == 0 ? 0 : 94;
      }
      if (command == 'c') {
        const service::api::ServerCounters counters = server.counters();
        if (::write(talk, &counters, sizeof counters) != sizeof counters) return 95;
        continue;
      }
      if (command == 'r') answer = certificates.Reload(clock.Now()) ? '+' : '-';
      if (command == 's') api.ReleaseSlow();
      if (command == 'w') api.AwaitSlow();
      if (::write(talk, &answer, 1) != 1) return 95;
    }
    return 96;
  }
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SERVER_CHILD_H_
