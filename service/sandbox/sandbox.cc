#include "service/sandbox/sandbox.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <initializer_list>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include "service/sandbox/landlock.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

namespace mayfly::service {
namespace {

// Calls that the core may make with any arguments. Names that this libseccomp or this architecture
// does not have are left out. Why an allow-list: docs/decisions/0001.
constexpr const char* kAllowed[] = {
    // Files.
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "open",
    "openat", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "fstatat64", "statx",
    "statfs", "fstatfs", "lseek", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getcwd", "getdents64", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat",
    "renameat2", "link", "linkat", "fsync", "fdatasync", "sync_file_range", "fallocate", "truncate",
    "ftruncate", "fadvise64", "readahead", "flock", "chmod", "fchmod", "fchmodat", "fchmodat2",
    "dup", "dup2", "dup3", "pipe2", "umask",
    // Memory and threads. mmap, mprotect and clone have rules of their own.
    "munmap", "mremap", "madvise", "mlock", "mlock2", "mlockall", "munlock", "munlockall", "msync",
    "brk", "memfd_secret", "futex", "rseq", "set_robust_list", "get_robust_list", "set_tid_address",
    "membarrier", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "getcpu",
    // Time, signals, polling. Clocks are read, never set.
    "clock_gettime", "clock_getres", "clock_nanosleep", "gettimeofday", "nanosleep",
    "timerfd_create", "timerfd_settime", "timerfd_gettime", "eventfd2", "epoll_create1",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "pselect6",
    "signalfd4", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
    "rt_sigtimedwait", "sigaltstack", "restart_syscall", "exit", "exit_group",
    // Sockets that exist already. sendto, sendmsg and setsockopt have rules of their own.
    "accept", "accept4", "recvfrom", "recvmsg", "shutdown", "getsockopt", "getsockname",
    "getpeername",
    // Others.
    "getrandom", "sysinfo", "uname", "getrusage", "getpid", "gettid", "getppid", "getuid",
    "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getpgid", "getpgrp", "getsid",
    "getgroups"};

constexpr int kFcntlCommands[] = {F_GETFD, F_SETFD, F_GETFL,         F_SETFL,     F_GETLK,
                                  F_SETLK, F_DUPFD, F_DUPFD_CLOEXEC, F_OFD_GETLK, F_OFD_SETLK};
constexpr int kSocketOptions[] = {SO_KEEPALIVE, SO_LINGER,   SO_RCVBUF,
                                  SO_SNDBUF,    SO_RCVTIMEO, SO_SNDTIMEO};
constexpr unsigned kCloneNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                      CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// Gathers rules and remembers the first failure, so that a forgotten check cannot leave a hole.
class FilterBuilder {
 public:
  FilterBuilder() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM))) {
    if (context_ == nullptr) error_ = -ENOMEM;
  }
  ~FilterBuilder() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  FilterBuilder(const FilterBuilder&) = delete;
  FilterBuilder& operator=(const FilterBuilder&) = delete;

  void Attribute(scmp_filter_attr attribute, std::uint32_t value) {
    if (error_ == 0) error_ = seccomp_attr_set(context_, attribute, value);
  }
  void Rule(std::uint32_t action, const char* name,
            std::initializer_list<scmp_arg_cmp> conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || error_ != 0) return;
    const int added = seccomp_rule_add_array(
        context_, action, number, static_cast<unsigned>(conditions.size()), conditions.begin());
    // -EDOM: a call that this architecture does not have.
    if (added != 0 && added != -EDOM) error_ = added;
  }
  void Allow(const char* name, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    Rule(SCMP_ACT_ALLOW, name, conditions);
  }
  int Load() {
    if (error_ == 0) error_ = seccomp_load(context_);
    return error_;
  }

 private:
  scmp_filter_ctx context_;
  int error_ = 0;
};

scmp_arg_cmp Equals(unsigned argument, std::uint64_t value) {
  return scmp_arg_cmp{argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp Masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, mask, value};
}

Status LoadCoreFilter() {
  FilterBuilder filter;
  // The wrong architecture, and x32 on x86_64, is nobody's mistake: it ends the process.
  filter.Attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.Attribute(SCMP_FLTATR_CTL_NNP, 1);
  filter.Attribute(SCMP_FLTATR_CTL_TSYNC, 1);
  filter.Attribute(SCMP_FLTATR_CTL_LOG, 0);
  // A binary tree instead of a chain of some 150 comparisons for each call.
  filter.Attribute(SCMP_FLTATR_CTL_OPTIMIZE, 2);

  for (const char* name : kAllowed) filter.Allow(name);

  // Threads, and nothing else that clone can make. glibc falls back from clone3 on ENOSYS.
  filter.Allow("clone", {Masked(0, CLONE_THREAD | kCloneNamespaces, CLONE_THREAD)});
  filter.Rule(SCMP_ACT_ERRNO(ENOSYS), "clone3");

  // Memory is never writable and executable, nor made executable later.
  filter.Allow("mmap", {Masked(2, PROT_EXEC, 0)});
  filter.Allow("mmap", {Masked(2, PROT_WRITE, 0)});
  filter.Allow("mprotect", {Masked(2, PROT_EXEC, 0)});

  // Sending on what is connected. An address would choose another peer; MSG_FASTOPEN is a connect.
  // The filter cannot see sendmsg's msg_name: no socket that would heed it may get in, see
  // control_client.h.
  filter.Allow("sendto", {Masked(3, MSG_FASTOPEN, 0), Equals(4, 0)});
  filter.Allow("sendmsg", {Masked(2, MSG_FASTOPEN, 0)});
  filter.Allow("setsockopt", {Equals(1, IPPROTO_TCP), Equals(2, TCP_NODELAY)});
  for (const int option : kSocketOptions) {
    filter.Allow("setsockopt",
                 {Equals(1, SOL_SOCKET), Equals(2, static_cast<std::uint64_t>(option))});
  }

  // The last two only read: they say what a file system does with overwritten bytes.
  for (const std::uint64_t request :
       {std::uint64_t{FIONBIO}, std::uint64_t{FIONREAD}, std::uint64_t{FS_IOC_GETFLAGS},
        std::uint64_t{FS_IOC_FIEMAP}}) {
    filter.Allow("ioctl", {Equals(1, request)});
  }
  for (const int command : kFcntlCommands) {
    filter.Allow("fcntl", {Equals(1, static_cast<std::uint64_t>(command))});
  }
  filter.Allow("prctl", {Equals(0, PR_SET_NAME)});
  filter.Allow("prctl", {Equals(0, PR_GET_NAME)});
  filter.Allow("prctl", {Equals(0, PR_GET_DUMPABLE)});
  filter.Allow("prctl", {Equals(0, PR_GET_NO_NEW_PRIVS)});
  filter.Allow("prctl", {Equals(0, PR_SET_VMA)});

  // abort() and raise() signal this process; nobody else is signalled, and no other's limits
  // change.
  filter.Allow("tgkill", {Equals(0, static_cast<std::uint64_t>(getpid()))});
  filter.Allow("prlimit64", {Equals(0, 0)});
  filter.Allow("getrlimit");

  if (const int error = filter.Load(); error != 0) {
    return Fail(ErrorCode::kUnavailable,
                "the system call filter cannot be loaded: " +
                    std::error_code(-error, std::generic_category()).message());
  }
  return {};
}

// How many threads this process has; 0 when /proc does not say.
std::size_t CountThreads() {
  std::error_code error;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/task", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return error ? 0 : count;
}

Status EnterLandlockWhereThere(const LandlockRules& rules, SandboxReport* report) {
  report->landlock_abi = LandlockAbi();
  if (report->landlock_abi == 0) {
    report->missing.push_back(
        "The kernel has no Landlock: files outside the service's own directories are protected by "
        "their permissions only.");
    return {};
  }
  const std::size_t threads = CountThreads();
  MAYFLY_RETURN_IF_ERROR(EnterLandlock(report->landlock_abi, rules));
  report->landlock = true;
  if (threads != 1) {
    report->missing.push_back(
        "Landlock does not cover threads that ran before the sandbox was entered.");
  }
  if (report->landlock_abi < 3) {
    report->missing.push_back(
        "The kernel's Landlock is older than ABI 3: cutting files short is not refused.");
  }
  if (report->landlock_abi < 4) {
    report->missing.push_back(
        "The kernel's Landlock is older than ABI 4: it does not refuse TCP by itself.");
  }
  if (report->landlock_abi < 6) {
    report->missing.push_back(
        "The kernel's Landlock is older than ABI 6: it refuses neither abstract Unix sockets nor "
        "signals by itself.");
  }
  return {};
}

}  // namespace

Status HardenProcess() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return Fail(ErrorCode::kUnavailable, "the kernel refuses to give up new privileges");
  }
  const rlimit no_core = {0, 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) {
    return Fail(ErrorCode::kUnavailable, "core files cannot be switched off");
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return Fail(ErrorCode::kUnavailable, "the process cannot be made undumpable");
  }
  // Keys are locked into memory where they lie; all the room that the hard limit gives is theirs. A
  // low hard limit shows there, as a failed lock.
  rlimit locked = {};
  if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur < locked.rlim_max) {
    locked.rlim_cur = locked.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) {
      return Fail(ErrorCode::kUnavailable, "the limit of locked memory cannot be raised");
    }
  }
  return {};
}

Result<SandboxReport> EnterCoreSandbox(const CoreSandboxOptions& options) {
  MAYFLY_RETURN_IF_ERROR(HardenProcess());
  SandboxReport report;
  report.no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  report.not_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;

  LandlockRules rules;
  rules.read_write = options.read_write;
  rules.read_only = options.read_only;
  for (const char* path : {"/proc/self", "/proc/sys/kernel/random", "/dev/null", "/dev/urandom"}) {
    rules.read_only.emplace_back(path);
  }
  rules.refuse_tcp_connect = true;
  MAYFLY_RETURN_IF_ERROR(EnterLandlockWhereThere(rules, &report));
  MAYFLY_RETURN_IF_ERROR(LoadCoreFilter());
  report.seccomp = true;
  return report;
}

Result<SandboxReport> EnterWorkerSandbox(const std::vector<std::filesystem::path>& read_only) {
  MAYFLY_RETURN_IF_ERROR(HardenProcess());
  SandboxReport report;
  report.no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  report.not_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
  LandlockRules rules;
  rules.read_only = read_only;
  MAYFLY_RETURN_IF_ERROR(EnterLandlockWhereThere(rules, &report));
  return report;
}

std::vector<std::filesystem::path> DefaultWorkerReadPaths() {
  return {
      // CA certificates and OpenSSL's configuration.
      "/etc/ssl", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/lib/ssl",
      // The resolver's files.
      "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
      "/etc/services", "/run/systemd/resolve",
      // Zone data.
      "/usr/share/zoneinfo",
      // The resolver and iconv load libraries while running.
      "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache",
      // Devices.
      "/dev/null", "/dev/urandom"};
}

}  // namespace mayfly::service
