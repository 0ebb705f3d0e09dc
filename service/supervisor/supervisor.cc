#include "service/supervisor/supervisor.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <map>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "control.pb.h"
#include "store/keys/descriptor.h"

namespace mayfly::service {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SteadyTime = SteadyClock::time_point;

constexpr int kExitOk = 0;
constexpr int kExitForced = 1;   // something had to be killed, or the core failed while draining
constexpr int kExitOs = 71;      // EX_OSERR
constexpr int kExitSealed = 77;  // of the core: do not restart
constexpr int kExitConfiguration = 78;  // EX_CONFIG; ours, and of the core: do not restart
// As exit codes in WorkerEnded, for workers that were never started.
constexpr int kRefusedEpoch = 64;     // EX_USAGE
constexpr int kRefusedForNow = 75;    // EX_TEMPFAIL
constexpr int kRefusedBySystem = 71;  // EX_OSERR

constexpr std::size_t kWorkersMax = 256;
constexpr std::size_t kPacketBytesMax = 4096;
constexpr std::size_t kQueuedPacketsMax = 1024;
constexpr int kPacketsPerTurn = 64;
constexpr auto kReadyLongEnough = std::chrono::seconds(60);
constexpr auto kWorkersGoneWithin = std::chrono::seconds(5);
constexpr int kListenBacklog = 128;

// As the time service left it: ntpd, chrony and systemd-timesyncd all keep this flag.
bool IsKernelClockSynchronised() {
  timex state = {};  // no modes: it only reads
  const int reached = adjtimex(&state);
  return reached != -1 && reached != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

using store::Descriptor;

// For a person at the terminal: why nothing runs.
void Complain(const std::string& sentence) {
  std::fprintf(stderr, "mayfly: %s\n", sentence.c_str());
}

// For the log: fixed words and numbers only.
void Log(const char* level, const char* event, const char* number_name = nullptr,
         long long number = 0) {
  if (number_name == nullptr) {
    std::fprintf(stderr, "{\"level\":\"%s\",\"event\":\"supervisor.%s\"}\n", level, event);
  } else {
    std::fprintf(stderr, "{\"level\":\"%s\",\"event\":\"supervisor.%s\",\"%s\":%lld}\n", level,
                 event, number_name, number);
  }
}

std::string ErrnoWords() { return std::error_code(errno, std::generic_category()).message(); }

// ------------------------------------------------------------------------------------------------
// Listening.

struct Listener {
  Descriptor fd;
  std::string shown;                // as in the port file
  std::filesystem::path unix_path;  // to be removed at the end
  dev_t device = 0;
  ino_t inode = 0;
};

Result<Listener> ListenTcp(const ListenAddress& wanted) {
  const std::string& host = wanted.host;
  const std::uint16_t port = wanted.port;
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  const bool is_v4 = inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1;
  const bool is_v6 = !is_v4 && inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1;
  if (!is_v4 && !is_v6) {
    return Fail(ErrorCode::kInvalidArgument, "\"" + host + "\" is not an IP address");
  }
  const bool loopback = (is_v4 && (ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET) ||
                        (is_v6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr));
  // The configuration has refused it before; here is where it would happen.
  if (!loopback && !wanted.tls && !wanted.proxies_only) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + host +
                    "\" is not a loopback address: it needs [http.tls], or http.trusted_proxies "
                    "when a proxy in front speaks TLS");
  }
  const std::string shown = is_v4 ? host : "[" + host + "]";
  const auto failed = [&](const char* what) {
    return Fail(ErrorCode::kIo,
                std::string(what) + " " + shown + ":" + std::to_string(port) + ": " + ErrnoWords());
  };
  Listener listener;
  listener.fd = Descriptor(socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.fd.open()) return failed("no socket for");
  const int on = 1;
  if (setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      (is_v6 && setsockopt(listener.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)) {
    return failed("cannot prepare a socket for");
  }
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  const sockaddr* address =
      is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  const socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
  if (bind(listener.fd.get(), address, size) != 0 ||
      listen(listener.fd.get(), kListenBacklog) != 0) {
    return failed("cannot listen on");
  }
  sockaddr_storage bound = {};
  socklen_t bound_size = sizeof bound;
  if (getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&bound), &bound_size) != 0) {
    return failed("cannot see the port of");
  }
  const std::uint16_t bound_port =
      ntohs(is_v4 ? reinterpret_cast<const sockaddr_in*>(&bound)->sin_port
                  : reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port);
  listener.shown = (wanted.tls ? "https://" : "http://") + shown + ":" + std::to_string(bound_port);
  return listener;
}

// Removes a socket that an earlier run left behind. Anything else in its place stays.
Status RemoveStaleSocket(const std::filesystem::path& path, const sockaddr_un& address) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return Fail(ErrorCode::kIo, "cannot look at " + path.string() + ": " + ErrnoWords());
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, path.string() + " exists and is not a socket");
  }
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.open()) return Fail(ErrorCode::kIo, "no socket: " + ErrnoWords());
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED) {
    return Fail(ErrorCode::kUnavailable,
                "somebody already listens on " + path.string() + "; is the service running?");
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Fail(ErrorCode::kIo,
                "cannot remove the old socket " + path.string() + ": " + ErrnoWords());
  }
  return {};
}

Result<Listener> ListenUnix(const std::filesystem::path& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string& name = path.native();
  if (name.empty() || name.size() >= sizeof address.sun_path) {
    return Fail(ErrorCode::kInvalidArgument,
                "the path of a Unix socket has 1 to 107 bytes: " + name);
  }
  std::memcpy(address.sun_path, name.c_str(), name.size());
  MAYFLY_RETURN_IF_ERROR(RemoveStaleSocket(path, address));

  Listener listener;
  listener.fd = Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.fd.open()) return Fail(ErrorCode::kIo, "no socket: " + ErrnoWords());
  const mode_t previous = umask(0177);  // the socket is born with mode 0600
  const int bound =
      bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  umask(previous);
  errno = bind_errno;
  struct stat status = {};
  if (bound != 0 || lstat(path.c_str(), &status) != 0 ||
      listen(listener.fd.get(), kListenBacklog) != 0) {
    return Fail(ErrorCode::kIo, "cannot listen on " + name + ": " + ErrnoWords());
  }
  listener.shown = "unix:" + name;
  listener.unix_path = path;
  listener.device = status.st_dev;
  listener.inode = status.st_ino;
  return listener;
}

Result<Listener> Listen(const ListenAddress& address) {
  if (!address.unix_path.empty() && address.host.empty()) return ListenUnix(address.unix_path);
  if (address.unix_path.empty() && !address.host.empty()) {
    return ListenTcp(address);
  }
  return Fail(ErrorCode::kInvalidArgument,
              "an address to listen on is either a host and port or the path of a Unix socket");
}

Status WritePortFile(const std::filesystem::path& path, const std::vector<Listener>& listeners) {
  std::string lines;
  for (const Listener& listener : listeners) lines += listener.shown + "\n";
  std::filesystem::path draft = path;
  draft += ".new";
  const auto failed = [&] {
    return Fail(ErrorCode::kIo, "cannot write " + path.string() + ": " + ErrnoWords());
  };
  {
    const Descriptor file(open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.open()) return failed();
    std::size_t done = 0;
    while (done < lines.size()) {
      const ssize_t n = write(file.get(), lines.data() + done, lines.size() - done);
      if (n < 0 && errno != EINTR) return failed();
      if (n > 0) done += static_cast<std::size_t>(n);
    }
  }
  if (rename(draft.c_str(), path.c_str()) != 0) return failed();
  return {};
}

// ------------------------------------------------------------------------------------------------
// Starting a child.

struct ChildPlan {
  std::vector<std::string> arguments;  // program first
  std::vector<std::string> environment;
  std::vector<std::pair<int, int>>
      descriptors;        // ours, and the number that the child finds it under
  std::vector<int> keep;  // under their own numbers
  int death_signal = SIGKILL;
  rlim_t data_bytes_max = RLIM_INFINITY;
};

std::vector<std::string> CleanEnvironment(const char* arenas) {
  std::vector<std::string> environment;
  for (const char* name : {"PATH", "LANG", "TZ"}) {
    if (const char* value = std::getenv(name))
      environment.push_back(std::string(name) + "=" + value);
  }
  if (arenas == nullptr) arenas = std::getenv("MALLOC_ARENA_MAX");
  if (arenas != nullptr) environment.push_back(std::string("MALLOC_ARENA_MAX=") + arenas);
  return environment;
}

// In the child, up to exec. Any failure is an exit: a child without its walls must not run.
[[noreturn]] void BecomeChild(const ChildPlan& plan, pid_t supervisor, int null_fd,
                              std::vector<char*>& argv, std::vector<char*>& envp,
                              std::vector<int>& staged, std::vector<int>& open_fds) {
  const auto require = [](bool held) {
    if (!held) _exit(126);
  };
  require(prctl(PR_SET_PDEATHSIG, plan.death_signal) == 0);
  require(getppid() == supervisor);  // it may have died before the line above
  require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  umask(077);
  const rlimit no_core = {0, 0};
  require(setrlimit(RLIMIT_CORE, &no_core) == 0);
  if (plan.data_bytes_max != RLIM_INFINITY) {
    const rlimit data = {plan.data_bytes_max, plan.data_bytes_max};
    require(setrlimit(RLIMIT_DATA, &data) == 0);
  }
  for (const int ignored : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(ignored, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  require(sigprocmask(SIG_SETMASK, &none, nullptr) == 0);

  // In two steps, so that no target number overwrites a descriptor that is still to be placed.
  int first_free = 3;
  for (const auto& [from, to] : plan.descriptors) first_free = std::max(first_free, to + 1);
  for (std::size_t i = 0; i < plan.descriptors.size(); ++i) {
    staged[i] = fcntl(plan.descriptors[i].first, F_DUPFD_CLOEXEC, first_free);
    require(staged[i] >= 0);
  }
  require(dup2(null_fd, 0) == 0 && dup2(2, 1) == 1);
  for (std::size_t i = 0; i < plan.descriptors.size(); ++i) {
    require(dup2(staged[i], plan.descriptors[i].second) == plan.descriptors[i].second);
  }
  for (const int fd : plan.keep) require(fcntl(fd, F_SETFD, 0) == 0);

  // Everything else is closed, also what somebody leaked into the supervisor.
  std::size_t count = 0;
  for (const int fd : {0, 1, 2}) open_fds[count++] = fd;
  for (const auto& [from, to] : plan.descriptors) open_fds[count++] = to;
  for (const int fd : plan.keep) open_fds[count++] = fd;
  std::sort(open_fds.begin(), open_fds.end());
  unsigned next = 0;
  for (const int fd : open_fds) {
    const auto number = static_cast<unsigned>(fd);
    if (number > next) require(close_range(next, number - 1, 0) == 0);
    next = number + 1;
  }
  require(close_range(next, UINT_MAX, 0) == 0);
  execve(argv[0], argv.data(), envp.data());
  _exit(127);
}

// The pid, or -1.
pid_t StartChild(const ChildPlan& plan, int null_fd) {
  std::vector<char*> argv;
  for (const std::string& word : plan.arguments) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& word : plan.environment) envp.push_back(const_cast<char*>(word.c_str()));
  envp.push_back(nullptr);
  std::vector<int> staged(plan.descriptors.size(), -1);
  std::vector<int> open_fds(3 + plan.descriptors.size() + plan.keep.size(), 0);
  const pid_t supervisor = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(plan, supervisor, null_fd, argv, envp, staged, open_fds);
  return pid;
}

// ------------------------------------------------------------------------------------------------

class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options) : options_(options) {}

  int Run() {
    if (const int code = Prepare(); code != kExitOk) {
      RemoveSockets();
      return code;
    }
    const int code = Loop();
    RemoveSockets();
    return code;
  }

 private:
  struct Packet {
    std::string bytes;
    std::vector<Descriptor> descriptors;
  };
  struct WorkerProcess {
    std::uint32_t account = 0;
    std::uint64_t epoch = 0;
  };

  int Prepare() {
    for (const auto* program : {&options_.core_program, &options_.worker_program}) {
      if (access(program->c_str(), X_OK) != 0) {
        Complain("the program " + program->string() + " cannot be executed: " + ErrnoWords());
        return kExitConfiguration;
      }
    }
    const int first_free = kListenFdFirst + static_cast<int>(options_.listen.size());
    for (const int fd : options_.inherit) {
      if (fd < first_free || fcntl(fd, F_GETFD) < 0) {
        Complain("a descriptor to be inherited must be open and have a number of " +
                 std::to_string(first_free) + " or more");
        return kExitConfiguration;
      }
    }
    // Standard descriptors that are closed would be given to the first sockets.
    int null_fd = -1;
    do {
      null_fd = open("/dev/null", O_RDWR);
    } while (null_fd >= 0 && null_fd <= 2);
    null_ = Descriptor(null_fd);
    if (!null_.open() || fcntl(null_.get(), F_SETFD, FD_CLOEXEC) != 0) {
      Complain("cannot open /dev/null: " + ErrnoWords());
      return kExitOs;
    }
    if (!PrepareSignals()) return kExitOs;
    return BindAll();
  }

  bool PrepareSignals() {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGCHLD, SIG_DFL);  // an inherited SIG_IGN would reap behind our back
    sigset_t watched;
    sigemptyset(&watched);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&watched, number);
    if (sigprocmask(SIG_BLOCK, &watched, nullptr) == 0) {
      signals_ = Descriptor(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
    }
    if (!signals_.open()) Complain("cannot watch signals: " + ErrnoWords());
    return signals_.open();
  }

  int BindAll() {
    const auto refuse = [](const Error& error) {
      Complain(error.message);
      return error.code == ErrorCode::kInvalidArgument ? kExitConfiguration : kExitOs;
    };
    auto admin = ListenUnix(options_.admin_socket);
    if (!admin) return refuse(admin.error());
    admin_ = *std::move(admin);
    for (const ListenAddress& address : options_.listen) {
      auto listener = Listen(address);
      if (!listener) return refuse(listener.error());
      listeners_.push_back(*std::move(listener));
    }
    if (!options_.port_file.empty()) {
      if (const auto written = WritePortFile(options_.port_file, listeners_); !written) {
        return refuse(written.error());
      }
    }
    return kExitOk;
  }

  void RemoveSockets() {
    listeners_.push_back(std::move(admin_));
    for (const Listener& listener : listeners_) {
      if (listener.unix_path.empty()) continue;
      struct stat status = {};
      // Only our own: another service may have taken the path since.
      if (lstat(listener.unix_path.c_str(), &status) == 0 && status.st_dev == listener.device &&
          status.st_ino == listener.inode) {
        unlink(listener.unix_path.c_str());
      }
    }
    listeners_.clear();
  }

  int Loop() {
    for (;;) {
      if (core_ < 0) {
        if (draining_ || final_code_) {
          if (workers_.empty() || killed_all_) return final_code_.value_or(kExitOk);
        } else if (SteadyClock::now() >= RestartAt()) {
          StartCore();
        }
      }
      CheckDeadlines();
      WaitAndServe();
    }
  }

  // ---- Time.

  // The workers of the core before were killed and are waited for, but not for ever: one that hangs
  // in the kernel must not keep expiry from running.
  SteadyTime RestartAt() const {
    return workers_.empty() ? restart_at_ : std::max(restart_at_, workers_gone_by_);
  }

  void CheckDeadlines() {
    const SteadyTime now = SteadyClock::now();
    if (draining_ && !killed_all_ && now >= drain_until_) {
      Log("error", "drain_deadline_passed");
      KillAll();
    }
    if (core_ >= 0 && core_kill_at_ && now >= *core_kill_at_) KillCore("core_left_control");
  }

  int TimeoutMs() const {
    std::optional<SteadyTime> next;
    const auto consider = [&](SteadyTime at) { next = next ? std::min(*next, at) : at; };
    if (draining_ && !killed_all_) consider(drain_until_);
    if (core_ >= 0 && core_kill_at_) consider(*core_kill_at_);
    if (core_ < 0 && !draining_ && !final_code_) consider(RestartAt());
    if (!next) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - SteadyClock::now());
    return static_cast<int>(std::clamp<long long>(left.count(), 0, INT_MAX));
  }

  void WaitAndServe() {
    std::array<pollfd, 2> fds = {pollfd{signals_.get(), POLLIN, 0}, pollfd{-1, 0, 0}};
    if (control_.open()) {
      fds[1] = {control_.get(), static_cast<short>(queue_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
    }
    if (poll(fds.data(), fds.size(), TimeoutMs()) < 0) return;  // EINTR; the loop looks again
    if (fds[1].revents != 0) ServeControl();
    if (fds[0].revents != 0) ServeSignals();
    Flush();
  }

  // ---- Signals.

  void ServeSignals() {
    bool stop = false;
    bool child = false;
    bool reload = false;
    signalfd_siginfo info = {};
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGCHLD) {
        child = true;
      } else if (info.ssi_signo == SIGHUP) {
        reload = true;
      } else {
        if (stop || draining_) KillAll();  // a second wish
        stop = true;
      }
    }
    if (child) Reap();
    if (stop && !draining_) BeginDrain();
    if (reload && !draining_) PassReloadOn();
  }

  void PassReloadOn() {
    Log("info", "reload_asked");
    control::ToCore message;
    message.mutable_reload();
    Enqueue(message);
  }

  void BeginDrain() {
    Log("info", "draining");
    draining_ = true;
    drain_until_ = SteadyClock::now() + options_.drain_deadline;
    if (core_ < 0) {
      KillWorkers();
      return;
    }
    control::ToCore message;
    message.mutable_drain();
    Enqueue(message);
  }

  void Reap() {
    for (;;) {
      int status = 0;
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      if (pid == core_) {
        CoreEnded(status);
      } else if (const auto it = workers_.find(pid); it != workers_.end()) {
        const WorkerProcess worker = it->second;
        workers_.erase(it);
        SayWorkerEnded(worker.account, worker.epoch, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
      }
    }
  }

  // ---- The core.

  void StartCore() {
    std::array<int, 2> pair = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
      return CoreDidNotStart();
    }
    control_ = Descriptor(pair[0]);
    const Descriptor theirs(pair[1]);

    ChildPlan plan;
    plan.arguments.push_back(options_.core_program.string());
    plan.arguments.insert(plan.arguments.end(), options_.core_arguments.begin(),
                          options_.core_arguments.end());
    plan.environment = CleanEnvironment(nullptr);
    // Where the service manager put credentials: a path, and no secret.
    if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY")) {
      plan.environment.push_back(std::string("CREDENTIALS_DIRECTORY=") + directory);
    }
    plan.descriptors = {{theirs.get(), kControlFd}, {admin_.fd.get(), kAdminListenFd}};
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      plan.descriptors.emplace_back(listeners_[i].fd.get(), kListenFdFirst + static_cast<int>(i));
    }
    plan.keep = options_.inherit;
    plan.death_signal = SIGTERM;
    core_ = StartChild(plan, null_.get());
    if (core_ < 0) return CoreDidNotStart();
    ready_since_.reset();
    core_kill_at_.reset();
    Log("info", "core_started", "pid", core_);
  }

  void CoreDidNotStart() {
    Log("error", "core_not_started", "errno", errno);
    control_.Close();
    PlanRestart();
  }

  void PlanRestart() {
    workers_gone_by_ = SteadyClock::now() + kWorkersGoneWithin;
    restart_at_ = SteadyClock::now() + delay_.value_or(options_.restart_delay_first);
    delay_ =
        std::min(delay_.value_or(options_.restart_delay_first) * 2, options_.restart_delay_max);
  }

  void CoreEnded(int status) {
    core_ = -1;
    core_kill_at_.reset();
    control_.Close();
    queue_.clear();
    KillWorkers();
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == kExitConfiguration || code == kExitSealed) {
      final_code_ = code;
      return;
    }
    if (draining_) {
      final_code_ = code == 0 && !killed_all_ ? kExitOk : kExitForced;
      return;
    }
    if (WIFSIGNALED(status)) {
      Log("error", "core_killed", "signal", WTERMSIG(status));
    } else {
      Log("error", "core_ended", "exit_code", code);
    }
    if (ready_since_ && SteadyClock::now() - *ready_since_ >= kReadyLongEnough) delay_.reset();
    ready_since_.reset();
    PlanRestart();
  }

  // Its end arrives as SIGCHLD.
  void KillCore(const char* why) {
    Log("error", why);
    core_kill_at_.reset();
    if (core_ >= 0) kill(core_, SIGKILL);
  }

  void KillWorkers() {
    for (const auto& [pid, worker] : workers_) kill(pid, SIGKILL);
  }

  void KillAll() {
    killed_all_ = true;
    KillWorkers();
    if (core_ >= 0) kill(core_, SIGKILL);
  }

  // ---- The control descriptor.

  void ServeControl() {
    std::array<char, kPacketBytesMax> packet;
    for (int turn = 0; turn < kPacketsPerTurn && control_.open(); ++turn) {
      iovec part = {packet.data(), packet.size()};
      msghdr header = {};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      // No room for descriptors: the kernel drops any that the core sends, and says so.
      const ssize_t size = recvmsg(control_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (size <= 0) {
        // The core closed it. It is about to end, or it has gone wrong and will be ended.
        control_.Close();
        queue_.clear();
        core_kill_at_ = SteadyClock::now() + options_.drain_deadline;
        return;
      }
      control::ToSupervisor message;
      if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
          !message.ParseFromArray(packet.data(), static_cast<int>(size)) || !Obey(message)) {
        control_.Close();
        queue_.clear();
        KillCore("core_broke_control_protocol");
        return;
      }
    }
  }

  bool Obey(const control::ToSupervisor& message) {
    switch (message.body_case()) {
      case control::ToSupervisor::kStart:
        StartWorker(message.start().account(), message.start().epoch());
        return true;
      case control::ToSupervisor::kStop:
        for (const auto& [pid, worker] : workers_) {
          if (worker.account == message.stop().account() &&
              worker.epoch == message.stop().epoch()) {
            kill(pid, SIGKILL);
          }
        }
        return true;
      case control::ToSupervisor::kReady:
        if (!ready_since_) {
          ready_since_ = SteadyClock::now();
          Log("info", "core_ready");
        }
        return true;
      case control::ToSupervisor::kAskKernelClock: {
        control::ToCore answer;
        answer.mutable_kernel_clock()->set_synchronised(IsKernelClockSynchronised());
        Enqueue(answer, {});
        return true;
      }
      default:
        return false;
    }
  }

  void StartWorker(std::uint32_t account, std::uint64_t epoch) {
    if (draining_ || workers_.size() >= kWorkersMax) {
      return SayWorkerEnded(account, epoch, kRefusedForNow, 0);
    }
    for (const auto& [pid, worker] : workers_) {
      if (worker.account != account) continue;
      if (worker.epoch >= epoch) return SayWorkerEnded(account, epoch, kRefusedEpoch, 0);
      kill(pid, SIGKILL);  // the incarnation before
    }
    std::array<int, 2> to = {-1, -1};
    std::array<int, 2> from = {-1, -1};
    if (pipe2(to.data(), O_CLOEXEC) != 0) {
      return SayWorkerEnded(account, epoch, kRefusedBySystem, 0);
    }
    const Descriptor worker_reads(to[0]);
    Descriptor core_writes(to[1]);
    if (pipe2(from.data(), O_CLOEXEC) != 0) {
      return SayWorkerEnded(account, epoch, kRefusedBySystem, 0);
    }
    Descriptor core_reads(from[0]);
    const Descriptor worker_writes(from[1]);

    ChildPlan plan;
    plan.arguments = {options_.worker_program.string(), "--epoch", std::to_string(epoch)};
    for (const auto& path : options_.worker_read_paths) {
      plan.arguments.push_back("--read");
      plan.arguments.push_back(path.string());
    }
    plan.environment = CleanEnvironment("1");
    plan.descriptors = {{worker_reads.get(), kWorkerFromCoreFd},
                        {worker_writes.get(), kWorkerToCoreFd}};
    plan.data_bytes_max = options_.worker_data_bytes_max;
    const pid_t pid = StartChild(plan, null_.get());
    if (pid < 0) return SayWorkerEnded(account, epoch, kRefusedBySystem, 0);
    workers_[pid] = WorkerProcess{account, epoch};

    control::ToCore message;
    message.mutable_started()->set_account(account);
    message.mutable_started()->set_epoch(epoch);
    std::vector<Descriptor> descriptors;
    descriptors.push_back(std::move(core_writes));
    descriptors.push_back(std::move(core_reads));
    Enqueue(message, std::move(descriptors));
  }

  void SayWorkerEnded(std::uint32_t account, std::uint64_t epoch, int exit_code, int signal) {
    control::ToCore message;
    message.mutable_ended()->set_account(account);
    message.mutable_ended()->set_epoch(epoch);
    message.mutable_ended()->set_exit_code(exit_code);
    message.mutable_ended()->set_signal(signal);
    Enqueue(message);
  }

  void Enqueue(const control::ToCore& message, std::vector<Descriptor> descriptors = {}) {
    if (!control_.open()) return;  // nobody to tell
    if (queue_.size() >= kQueuedPacketsMax) return KillCore("core_does_not_read_control");
    queue_.push_back(Packet{message.SerializeAsString(), std::move(descriptors)});
  }

  void Flush() {
    while (control_.open() && !queue_.empty()) {
      Packet& packet = queue_.front();
      iovec part = {packet.bytes.data(), packet.bytes.size()};
      msghdr header = {};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> ancillary = {};
      if (packet.descriptors.size() == 2) {
        header.msg_control = ancillary.data();
        header.msg_controllen = ancillary.size();
        cmsghdr* rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
        const int fds[2] = {packet.descriptors[0].get(), packet.descriptors[1].get()};
        std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
      }
      if (sendmsg(control_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == ENOBUFS) return;  // poll says when
        queue_.clear();  // the core is gone; reading or SIGCHLD will say so
        return;
      }
      queue_.pop_front();
    }
  }

  const SupervisorOptions& options_;
  Descriptor null_;
  Descriptor signals_;
  Listener admin_;
  std::vector<Listener> listeners_;

  pid_t core_ = -1;
  Descriptor control_;
  std::deque<Packet> queue_;
  std::map<pid_t, WorkerProcess> workers_;  // until reaped
  std::optional<SteadyTime> ready_since_;
  std::optional<SteadyTime> core_kill_at_;  // it closed its control descriptor
  SteadyTime restart_at_ = {};
  SteadyTime workers_gone_by_ = {};  // when a restart stops waiting for killed workers
  std::optional<std::chrono::milliseconds> delay_;  // the next one; empty: the first

  bool draining_ = false;
  bool killed_all_ = false;
  SteadyTime drain_until_;
  std::optional<int> final_code_;
};

}  // namespace

int RunSupervisor(const SupervisorOptions& options) { return Supervisor(options).Run(); }

}  // namespace mayfly::service
