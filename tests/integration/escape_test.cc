// Promise P5 against the kernel: every way out of the core that is known is tried from inside the
// sandbox, on the thread that entered it and on one that had been started before, and must be
// refused.
//
// Each attempt also runs once without the sandbox. Where it fails there for want of a kernel
// feature or of a privilege, a refusal inside would prove nothing: the case is skipped and says
// why.
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <sched.h>
#include <string>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "control.pb.h"
#include "service/sandbox/landlock.h"
#include "service/sandbox/sandbox.h"
#include "service/supervisor/control_client.h"
#include "tests/support/processes.h"

namespace mayfly::service {
namespace {

using testing::Fd;
using testing::Pipe;
using testing::WaitForChild;

// What a core holds from before the sandbox, and what a tricked one might.
struct Given {
  pid_t victim = -1;  // another process of the same user, as a worker is
  int victim_pidfd = -1;
  int udp = -1;                         // opened, not connected
  int tcp = -1;                         // opened, not connected
  int second_tcp = -1;                  // another, for MSG_FASTOPEN
  int unix_datagram = -1;               // opened, not connected
  int accepted = -1;                    // a connection that came in over the listener
  sockaddr_in elsewhere = {};           // somebody who listens
  sockaddr_un elsewhere_abstract = {};  // likewise, an abstract Unix datagram socket
  socklen_t elsewhere_abstract_size = 0;
  std::filesystem::path allowed;       // read and write
  std::filesystem::path certificates;  // read only: where the listener's certificate lies
  std::filesystem::path outside;       // not granted
  void* page = nullptr;                // one page, readable and writable
};

int ErrnoOf(long result) { return result < 0 ? errno : 0; }

int ErrnoOfFd(long result) {
  if (result < 0) return errno;
  close(static_cast<int>(result));
  return 0;
}

// Closes nothing in the parent; a child that came to be ends at once.
int ErrnoOfChild(long result) {
  if (result == 0) _exit(0);
  return result < 0 ? errno : 0;
}

const sockaddr* Address(const Given& given) {
  return reinterpret_cast<const sockaddr*>(&given.elsewhere);
}

int SendMessage(int fd, const void* name, socklen_t name_size, int flags) {
  char byte = 'x';
  iovec part = {&byte, 1};
  msghdr header = {};
  header.msg_name = const_cast<void*>(name);
  header.msg_namelen = name_size;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  return ErrnoOf(sendmsg(fd, &header, flags | MSG_NOSIGNAL | MSG_DONTWAIT));
}

enum class Wall {
  kFilter,          // EPERM, on every thread
  kFilterNotThere,  // ENOSYS, on every thread, so that glibc falls back
  kLandlock,        // EACCES or EPERM, on the thread that entered it
};

struct Attempt {
  const char* name;
  int (*run)(const Given&);  // 0, or the errno of the refusal
  Wall wall = Wall::kFilter;
};

const Attempt kAttempts[] = {
    // Opening a way out.
    {"SocketTcp", [](const Given&) { return ErrnoOfFd(socket(AF_INET, SOCK_STREAM, 0)); }},
    {"SocketUdp", [](const Given&) { return ErrnoOfFd(socket(AF_INET, SOCK_DGRAM, 0)); }},
    {"SocketTcp6", [](const Given&) { return ErrnoOfFd(socket(AF_INET6, SOCK_STREAM, 0)); }},
    {"SocketUnixStream", [](const Given&) { return ErrnoOfFd(socket(AF_UNIX, SOCK_STREAM, 0)); }},
    {"SocketUnixDatagram", [](const Given&) { return ErrnoOfFd(socket(AF_UNIX, SOCK_DGRAM, 0)); }},
    {"SocketNetlink", [](const Given&) { return ErrnoOfFd(socket(AF_NETLINK, SOCK_RAW, 0)); }},
    {"Socketpair",
     [](const Given&) {
       int pair[2];
       if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return errno;
       close(pair[0]);
       close(pair[1]);
       return 0;
     }},
    // Turning what is open elsewhere.
    {"SendtoAddressOnUdp",
     [](const Given& given) {
       return ErrnoOf(sendto(given.udp, "x", 1, 0, Address(given), sizeof given.elsewhere));
     }},
    {"SendtoAddressAndFastOpenOnTcp",
     [](const Given& given) {
       return ErrnoOf(sendto(given.second_tcp, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT,
                             Address(given), sizeof given.elsewhere));
     }},
    {"SendtoFastOpenWithoutAddress",
     [](const Given& given) {
       return ErrnoOf(
           sendto(given.tcp, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0));
     }},
    {"SendmsgFastOpenOnTcp",
     [](const Given& given) {
       return SendMessage(given.second_tcp, &given.elsewhere, sizeof given.elsewhere, MSG_FASTOPEN);
     }},
    {"SendmmsgOnUdp",
     [](const Given& given) {
       char byte = 'x';
       iovec part = {&byte, 1};
       mmsghdr header = {};
       header.msg_hdr.msg_name = const_cast<sockaddr_in*>(&given.elsewhere);
       header.msg_hdr.msg_namelen = sizeof given.elsewhere;
       header.msg_hdr.msg_iov = &part;
       header.msg_hdr.msg_iovlen = 1;
       return ErrnoOf(sendmmsg(given.udp, &header, 1, 0));
     }},
    {"SendtoAbstractUnixDatagram",
     [](const Given& given) {
       return ErrnoOf(sendto(given.unix_datagram, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT,
                             reinterpret_cast<const sockaddr*>(&given.elsewhere_abstract),
                             given.elsewhere_abstract_size));
     }},
    {"ConnectUdp",
     [](const Given& given) {
       return ErrnoOf(connect(given.udp, Address(given), sizeof given.elsewhere));
     }},
    {"ConnectTcp",
     [](const Given& given) {
       return ErrnoOf(connect(given.tcp, Address(given), sizeof given.elsewhere));
     }},
    {"ConnectAbstractUnixDatagram",
     [](const Given& given) {
       return ErrnoOf(connect(given.unix_datagram,
                              reinterpret_cast<const sockaddr*>(&given.elsewhere_abstract),
                              given.elsewhere_abstract_size));
     }},
    {"DisconnectAnAcceptedConnection",
     [](const Given& given) {
       sockaddr nowhere = {};
       nowhere.sa_family = AF_UNSPEC;
       return ErrnoOf(connect(given.accepted, &nowhere, sizeof nowhere));
     }},
    {"Bind",
     [](const Given& given) {
       sockaddr_in any = {};
       any.sin_family = AF_INET;
       any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
       return ErrnoOf(bind(given.second_tcp, reinterpret_cast<const sockaddr*>(&any), sizeof any));
     }},
    {"Listen", [](const Given& given) { return ErrnoOf(listen(given.second_tcp, 1)); }},
    {"SetsockoptMark",
     [](const Given& given) {
       const int mark = 1;
       return ErrnoOf(setsockopt(given.udp, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
     }},
    {"IoctlInterfaces",
     [](const Given& given) {
       return ErrnoOf(ioctl(given.udp, 0x8912 /* SIOCGIFCONF */, nullptr));
     }},
    {"FcntlSetOwner",
     [](const Given& given) { return ErrnoOf(fcntl(given.udp, F_SETOWN, given.victim)); }},
    // Calls that make calls.
    {"IoUringSetup",
     [](const Given&) {
       std::array<char, 256> parameters = {};
       return ErrnoOfFd(syscall(SYS_io_uring_setup, 4, parameters.data()));
     }},
    {"IoUringEnter",
     [](const Given&) { return ErrnoOf(syscall(SYS_io_uring_enter, -1, 1, 0, 0, nullptr, 0)); }},
    {"IoUringRegister",
     [](const Given&) { return ErrnoOf(syscall(SYS_io_uring_register, -1, 0, nullptr, 0)); }},
    // Using another process.
    {"PidfdOpen",
     [](const Given& given) { return ErrnoOfFd(syscall(SYS_pidfd_open, given.victim, 0)); }},
    {"PidfdGetfd",
     [](const Given& given) {
       return ErrnoOfFd(syscall(SYS_pidfd_getfd, given.victim_pidfd, 0, 0));
     }},
    {"PidfdSendSignal",
     [](const Given& given) {
       return ErrnoOf(syscall(SYS_pidfd_send_signal, given.victim_pidfd, 0, nullptr, 0));
     }},
    {"Ptrace",
     [](const Given& given) {
       if (ptrace(PTRACE_SEIZE, given.victim, nullptr, nullptr) != 0) return errno;
       ptrace(PTRACE_DETACH, given.victim, nullptr, nullptr);
       return 0;
     }},
    {"ProcessVmReadv",
     [](const Given& given) {
       char byte = 0;
       iovec local = {&byte, 1};
       iovec remote = {given.page, 1};
       return ErrnoOf(process_vm_readv(given.victim, &local, 1, &remote, 1, 0));
     }},
    {"ProcessVmWritev",
     [](const Given& given) {
       char byte = 0;
       iovec local = {&byte, 1};
       iovec remote = {given.page, 1};
       return ErrnoOf(process_vm_writev(given.victim, &local, 1, &remote, 1, 0));
     }},
    {"Kill", [](const Given& given) { return ErrnoOf(kill(given.victim, 0)); }},
    {"Tkill", [](const Given& given) { return ErrnoOf(syscall(SYS_tkill, given.victim, 0)); }},
    {"TgkillOfAnother",
     [](const Given& given) {
       return ErrnoOf(syscall(SYS_tgkill, given.victim, given.victim, 0));
     }},
    {"RtSigqueueinfo",
     [](const Given& given) {
       siginfo_t info = {};
       info.si_code = SI_QUEUE;
       return ErrnoOf(syscall(SYS_rt_sigqueueinfo, given.victim, 0, &info));
     }},
    {"PrlimitOfAnother",
     [](const Given& given) {
       rlimit limit = {};
       return ErrnoOf(prlimit(given.victim, RLIMIT_NOFILE, nullptr, &limit));
     }},
    {"OpenMemoryOfAnotherForWriting",
     [](const Given& given) {
       const std::string path = "/proc/" + std::to_string(given.victim) + "/mem";
       return ErrnoOfFd(open(path.c_str(), O_RDWR | O_CLOEXEC));
     },
     Wall::kLandlock},
    {"OpenDescriptorsOfAnother",
     [](const Given& given) {
       const std::string path = "/proc/" + std::to_string(given.victim) + "/fd";
       return ErrnoOfFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
     },
     Wall::kLandlock},
    // Becoming or making another process.
    {"Execve",
     [](const Given&) {
       char* const none[] = {nullptr};
       return ErrnoOf(execve("/nonexistent", none, none));
     }},
    {"Execveat",
     [](const Given&) {
       char* const none[] = {nullptr};
       return ErrnoOf(syscall(SYS_execveat, AT_FDCWD, "/nonexistent", none, none, 0));
     }},
#ifdef SYS_fork
    {"Fork", [](const Given&) { return ErrnoOfChild(syscall(SYS_fork)); }},
#endif
    {"CloneOfAProcess",
     [](const Given&) {
       return ErrnoOfChild(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
     }},
    {"CloneIntoANewNetwork",
     [](const Given&) {
       return ErrnoOfChild(
           syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
     }},
    {"CloneIntoANewUserNamespace",
     [](const Given&) {
       return ErrnoOfChild(
           syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
     }},
    {"CloneOfAThreadIntoANewNamespace",
     [](const Given&) {
       return ErrnoOfChild(
           syscall(SYS_clone, CLONE_THREAD | CLONE_NEWNET, nullptr, nullptr, nullptr, nullptr));
     }},
    {"Clone3", [](const Given&) { return ErrnoOfChild(syscall(SYS_clone3, nullptr, 0)); },
     Wall::kFilterNotThere},
    {"Unshare", [](const Given&) { return ErrnoOf(unshare(CLONE_FILES)); }},
    {"Setns", [](const Given& given) { return ErrnoOf(setns(given.udp, 0)); }},
    {"Mount",
     [](const Given&) { return ErrnoOf(mount("none", "/nonexistent", "tmpfs", 0, nullptr)); }},
    {"Umount", [](const Given&) { return ErrnoOf(umount2("/nonexistent", 0)); }},
    {"Chroot", [](const Given&) { return ErrnoOf(chroot("/")); }},
    // Corners of the kernel.
    {"Bpf", [](const Given&) { return ErrnoOf(syscall(SYS_bpf, 0, nullptr, 0)); }},
    {"PerfEventOpen",
     [](const Given&) { return ErrnoOf(syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0)); }},
    {"Userfaultfd", [](const Given&) { return ErrnoOfFd(syscall(SYS_userfaultfd, O_CLOEXEC)); }},
    {"Keyctl", [](const Given&) { return ErrnoOf(syscall(SYS_keyctl, 0, -3, 0)); }},
    {"AddKey",
     [](const Given&) {
       return ErrnoOf(syscall(SYS_add_key, "user", "mayfly-escape-test", "x", 1, -1));
     }},
    {"RequestKey",
     [](const Given&) {
       return ErrnoOf(syscall(SYS_request_key, "user", "mayfly-escape-test", nullptr, -1));
     }},
    {"NameToHandle",
     [](const Given&) {
       return ErrnoOf(syscall(SYS_name_to_handle_at, AT_FDCWD, "/", nullptr, nullptr, 0));
     }},
    {"ClockSettime", [](const Given&) { return ErrnoOf(syscall(SYS_clock_settime, 0, nullptr)); }},
    {"PrctlDumpable", [](const Given&) { return ErrnoOf(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }},
    {"MemfdCreate", [](const Given&) { return ErrnoOfFd(syscall(SYS_memfd_create, "x", 0)); }},
    {"MakeMemoryExecutable",
     [](const Given& given) { return ErrnoOf(mprotect(given.page, 4096, PROT_READ | PROT_EXEC)); }},
    {"MapMemoryWritableAndExecutable",
     [](const Given&) {
       void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       if (mapped == MAP_FAILED) return errno;
       munmap(mapped, 4096);
       return 0;
     }},
    // Files that are nobody's business.
    {"WriteOutside",
     [](const Given& given) {
       return ErrnoOfFd(
           open((given.outside / "new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
     },
     Wall::kLandlock},
    {"ReadOutside",
     [](const Given& given) {
       return ErrnoOfFd(open((given.outside / "old").c_str(), O_RDONLY | O_CLOEXEC));
     },
     Wall::kLandlock},
    {"RemoveOutside",
     [](const Given& given) { return ErrnoOf(unlink((given.outside / "removable").c_str())); },
     Wall::kLandlock},
    {"RenameToOutside",
     [](const Given& given) {
       return ErrnoOf(
           rename((given.allowed / "movable").c_str(), (given.outside / "moved").c_str()));
     },
     Wall::kLandlock},
    {"WriteTheCertificate",
     [](const Given& given) {
       return ErrnoOfFd(open((given.certificates / "old").c_str(), O_WRONLY | O_CLOEXEC));
     },
     Wall::kLandlock},
    {"AddBesideTheCertificate",
     [](const Given& given) {
       return ErrnoOfFd(
           open((given.certificates / "new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
     },
     Wall::kLandlock},
    {"RemoveTheCertificate",
     [](const Given& given) { return ErrnoOf(unlink((given.certificates / "removable").c_str())); },
     Wall::kLandlock},
    {"TurnTheLinkOfTheCertificate",
     [](const Given& given) {
       return ErrnoOf(symlink("../outside/old", (given.certificates / "link").c_str()));
     },
     Wall::kFilter},
    {"ReadOutsideByALinkBesideTheCertificate",
     [](const Given& given) {
       return ErrnoOfFd(open((given.certificates / "astray").c_str(), O_RDONLY | O_CLOEXEC));
     },
     Wall::kLandlock},
    {"LinkFromOutside",
     [](const Given& given) {
       return ErrnoOf(link((given.outside / "old").c_str(), (given.allowed / "linked").c_str()));
     },
     Wall::kLandlock},
};
constexpr std::size_t kAttemptCount = sizeof kAttempts / sizeof kAttempts[0];

// A result per attempt: the errno, 0, or nothing when the process did not live to tell.
using Results = std::vector<std::optional<int>>;

struct Outcome {
  Results on_main;   // the thread that entered the sandbox
  Results on_other;  // a thread started before
  bool landlock = false;
};

void WriteInt(int fd, int value) {
  if (write(fd, &value, sizeof value) != sizeof value) _exit(89);
}

std::optional<int> ReadInt(int fd) {
  int value = 0;
  std::size_t done = 0;
  while (done < sizeof value) {
    if (!testing::WaitReadable(fd)) return std::nullopt;
    const ssize_t n = read(fd, reinterpret_cast<char*>(&value) + done, sizeof value - done);
    if (n <= 0) return std::nullopt;
    done += static_cast<std::size_t>(n);
  }
  return value;
}

void PrepareFiles(const Given& given) {
  const std::filesystem::path &allowed = given.allowed, &outside = given.outside;
  for (const auto& directory : {allowed, outside, given.certificates}) {
    std::filesystem::create_directories(directory);
  }
  for (const char* name : {"old", "removable"}) {
    std::ofstream(outside / name) << "x";
    std::ofstream(given.certificates / name) << "x";
  }
  for (const char* name : {"new", "link", "astray"}) {
    std::filesystem::remove(given.certificates / name);
  }
  std::filesystem::create_symlink("../outside/old", given.certificates / "astray");
  std::ofstream(allowed / "movable") << "x";
  std::filesystem::remove(outside / "moved");
  std::filesystem::remove(outside / "new");
  std::filesystem::remove(allowed / "linked");
}

// In the child: opens what `Given` lists, against listeners of its own that stay open.
void OpenSockets(Given* given) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  given->elsewhere.sin_family = AF_INET;
  given->elsewhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, Address(*given), sizeof given->elsewhere) != 0 || listen(listener, 16) != 0) {
    _exit(88);
  }
  socklen_t size = sizeof given->elsewhere;
  getsockname(listener, reinterpret_cast<sockaddr*>(&given->elsewhere), &size);
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(client, Address(*given), sizeof given->elsewhere) != 0) _exit(88);
  given->accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);

  const int abstract_end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un autobind = {};
  autobind.sun_family = AF_UNIX;  // with no name the kernel chooses a free abstract one
  if (bind(abstract_end, reinterpret_cast<const sockaddr*>(&autobind), sizeof(sa_family_t)) != 0) {
    _exit(88);
  }
  given->elsewhere_abstract_size = sizeof given->elsewhere_abstract;
  getsockname(abstract_end, reinterpret_cast<sockaddr*>(&given->elsewhere_abstract),
              &given->elsewhere_abstract_size);

  given->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  given->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  given->second_tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  given->unix_datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (given->accepted < 0 || given->udp < 0 || given->tcp < 0 || given->second_tcp < 0 ||
      given->unix_datagram < 0) {
    _exit(88);
  }
}

// In the child: tries everything and writes the errnos, main thread first.
[[noreturn]] void TryEverything(Given given, bool sandboxed, int report) {
  signal(SIGCHLD, SIG_IGN);  // children of attempts that succeed are nobody's to reap
  OpenSockets(&given);
  Pipe go;
  std::atomic<bool> other_runs{false};
  std::vector<int> other(kAttemptCount, 0);
  std::thread earlier([&] {
    other_runs = true;
    char byte = 0;
    if (read(go.read.get(), &byte, 1) != 1) _exit(87);
    for (std::size_t i = 0; i < kAttemptCount; ++i) other[i] = kAttempts[i].run(given);
  });
  while (!other_runs) sched_yield();

  int landlock = 0;
  if (sandboxed) {
    CoreSandboxOptions options;
    options.read_write = {given.allowed};
    options.read_only = {given.certificates};
    const auto entered = EnterCoreSandbox(options);
    if (!entered || !entered->seccomp || !entered->no_new_privileges || !entered->not_dumpable) {
      _exit(86);
    }
    landlock = entered->landlock ? 1 : 0;
    // Honest about the thread that Landlock does not reach.
    bool told = false;
    for (const std::string& sentence : entered->missing) {
      told = told || sentence.find("threads that ran before") != std::string::npos;
    }
    if (entered->landlock && !told) _exit(85);
  }
  WriteInt(report, landlock);
  for (const Attempt& attempt : kAttempts) WriteInt(report, attempt.run(given));
  if (write(go.write.get(), "g", 1) != 1) _exit(84);
  earlier.join();
  for (const int result : other) WriteInt(report, result);
  _exit(0);
}

class Escape : public ::testing::TestWithParam<std::size_t> {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<testing::TemporaryDirectory>();
    without_ = std::make_unique<Outcome>(RunChild(false));
    within_ = std::make_unique<Outcome>(RunChild(true));
  }
  static void TearDownTestSuite() { directory_.reset(); }

  static Outcome RunChild(bool sandboxed) {
    Given given;
    given.allowed = directory_->path() / "allowed";
    given.outside = directory_->path() / "outside";
    given.certificates = directory_->path() / "certificates";
    PrepareFiles(given);
    given.page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // The victim holds one descriptor, 0, and waits for the end of a pipe.
    Pipe life;
    given.victim = fork();
    if (given.victim == 0) {
      life.write.Reset();
      char byte = 0;
      _exit(read(life.read.get(), &byte, 1) == 0 ? 0 : 1);
    }
    const Fd victim = testing::OpenProcess(given.victim);
    given.victim_pidfd = victim.get();
    Pipe report;
    const pid_t child = fork();
    if (child == 0) {
      life.write.Reset();
      TryEverything(given, sandboxed, report.write.get());
    }
    report.write.Reset();
    Outcome outcome;
    const auto landlock = ReadInt(report.read.get());
    outcome.landlock = landlock.value_or(0) == 1;
    for (Results* results : {&outcome.on_main, &outcome.on_other}) {
      for (std::size_t i = 0; i < kAttemptCount; ++i) {
        results->push_back(ReadInt(report.read.get()));
      }
    }
    EXPECT_EQ(WaitForChild(child), 0);
    life.write.Reset();
    EXPECT_EQ(WaitForChild(given.victim), 0) << "the victim was hurt";
    munmap(given.page, 4096);
    return outcome;
  }

  static std::unique_ptr<testing::TemporaryDirectory> directory_;
  static std::unique_ptr<Outcome> without_;
  static std::unique_ptr<Outcome> within_;
};
std::unique_ptr<testing::TemporaryDirectory> Escape::directory_;
std::unique_ptr<Outcome> Escape::without_;
std::unique_ptr<Outcome> Escape::within_;

TEST_P(Escape, IsRefusedByTheKernel) {
  const Attempt& attempt = kAttempts[GetParam()];
  const std::optional<int> without = without_->on_main[GetParam()];
  ASSERT_TRUE(without) << "the trial without the sandbox did not come back";
  const std::optional<int> main = within_->on_main[GetParam()];
  const std::optional<int> other = within_->on_other[GetParam()];
  ASSERT_TRUE(main) << "the attempt ended the process";
  ASSERT_TRUE(other) << "the attempt ended the process";
  if (attempt.wall == Wall::kLandlock) {
    if (!within_->landlock) GTEST_SKIP() << "this kernel has no Landlock";
    ASSERT_EQ(*without, 0) << "fails without the sandbox as well";
    EXPECT_TRUE(*main == EACCES || *main == EPERM || *main == EXDEV) << strerror(*main);
    return;
  }
  const int expected = attempt.wall == Wall::kFilterNotThere ? ENOSYS : EPERM;
  EXPECT_EQ(*main, expected) << strerror(*main);
  EXPECT_EQ(*other, expected) << strerror(*other);
  if (*without == expected || *without == ENOSYS) {
    GTEST_SKIP() << "this kernel refuses it here without the sandbox, too: " << strerror(*without);
  }
}

INSTANTIATE_TEST_SUITE_P(Core, Escape, ::testing::Range(std::size_t{0}, kAttemptCount),
                         [](const auto& info) { return std::string(kAttempts[info.param].name); });

// ---- One child each.

// Runs `body` in a child; its wait status.
std::optional<int> InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  return WaitForChild(child);
}

bool EnterCore(const std::filesystem::path& allowed) {
  CoreSandboxOptions options;
  options.read_write = {allowed};
  return EnterCoreSandbox(options).has_value();
}

#ifdef __x86_64__
TEST(EscapeByArchitecture, X32EndsTheProcess) {
  testing::TemporaryDirectory directory;
  const auto status = InChild([&] {
    if (!EnterCore(directory.path())) return 1;
    syscall(0x40000000 | SYS_getpid);
    return 2;
  });
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFSIGNALED(*status) && WTERMSIG(*status) == SIGSYS) << *status;
}

TEST(EscapeByArchitecture, I386EndsTheProcess) {
  const auto old_getpid = [] {
    long result = 20;  // getpid of i386
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result;
  };
  const auto without = InChild([&] { return old_getpid() > 0 ? 0 : 1; });
  if (without != 0) GTEST_SKIP() << "this kernel does not take calls of i386";
  testing::TemporaryDirectory directory;
  const auto status = InChild([&] {
    if (!EnterCore(directory.path())) return 1;
    old_getpid();
    return 2;
  });
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFSIGNALED(*status) && WTERMSIG(*status) == SIGSYS) << *status;
}
#endif

// A seccomp filter sees the pointer to sendmsg's header and not what it points to, so an
// unconnected datagram socket inside the sandbox could still be given an address. That is why none
// may get in: the core cannot make one (SocketUdp, Socketpair above), the supervisor gives it
// listeners only, and the control descriptor, the only way in for descriptors, refuses every
// socket. Shown here from within the sandbox; Control.SocketsAreRefused in supervisor_test.cc goes
// through the kinds.
TEST(EscapeBySendmsg, TheSocketThatWouldHeedAnAddressCannotGetIn) {
  testing::TemporaryDirectory directory;
  int control[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
  const Fd ours(control[0]);
  Fd theirs(control[1]);
  const Fd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  control::ToCore message;
  message.mutable_started()->set_account(1);
  std::string bytes = message.SerializeAsString();
  iovec part = {bytes.data(), bytes.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(2 * sizeof(int))] = {};
  header.msg_control = ancillary;
  header.msg_controllen = sizeof ancillary;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
  const int fds[2] = {udp.get(), udp.get()};
  std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
  ASSERT_EQ(sendmsg(ours.get(), &header, 0), static_cast<ssize_t>(bytes.size()));

  const auto status = InChild([&] {
    close(udp.get());  // what the core was not started with
    if (!EnterCore(directory.path())) return 1;
    ControlClient client(theirs.Release());
    const auto event = client.Next();
    if (event || event.error().code != ErrorCode::kProtocol) return 2;
    for (int fd = 3; fd < 1024; ++fd) {
      int type = 0;
      socklen_t size = sizeof type;
      if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM) return 3;
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(EscapeBySendmsg, LandlockRefusesAbstractUnixSocketsEvenThere) {
  const int abi = LandlockAbi();
  if (abi < 6) GTEST_SKIP() << "this kernel's Landlock has ABI " << abi << ", 6 is needed";
  testing::TemporaryDirectory directory;
  const Fd receiver(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  ASSERT_EQ(bind(receiver.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(sa_family_t)), 0);
  socklen_t size = sizeof name;
  ASSERT_EQ(getsockname(receiver.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const auto send = [&](bool sandboxed) {
    return InChild([&, sandboxed] {
      const int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (sandboxed && !EnterCore(directory.path())) return 255;
      return SendMessage(sender, &name, size, 0);
    });
  };
  EXPECT_EQ(send(false), 0);
  const auto refused = send(true);
  ASSERT_TRUE(refused && WIFEXITED(*refused));
  EXPECT_EQ(WEXITSTATUS(*refused), EPERM);
}

// ---- What the core needs goes on working.

// Steps of a core's life inside the sandbox; the number of the first that fails, or 0.
int LiveInTheSandbox(const std::filesystem::path& allowed, int listener, int control) {
  int step = 0;
  const auto failed = [&](bool held) {
    ++step;
    return !held;
  };
  // Threads.
  std::atomic<int> ran{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        pthread_setname_np(pthread_self(), "inside");
        ++ran;
      });
    }
  }
  if (failed(ran == 4)) return step;

  // Files.
  const std::filesystem::path file = allowed / "a";
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (failed(fd >= 0)) return step;
  if (failed(fallocate(fd, 0, 0, 8192) == 0 || errno == EOPNOTSUPP)) return step;
  if (failed(pwrite(fd, "data", 4, 0) == 4 && fdatasync(fd) == 0 && fsync(fd) == 0)) return step;
  if (failed(sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE) == 0 || errno == ESPIPE)) return step;
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  if (failed(fcntl(fd, F_SETLK, &lock) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)) return step;
  if (failed(ftruncate(fd, 2) == 0 && close(fd) == 0)) return step;
  if (failed(mkdir((allowed / "d").c_str(), 0700) == 0)) return step;
  if (failed(rename(file.c_str(), (allowed / "b").c_str()) == 0)) return step;
  if (failed(rename((allowed / "b").c_str(), (allowed / "d" / "b").c_str()) == 0)) return step;
  if (failed(link((allowed / "d" / "b").c_str(), (allowed / "d" / "c").c_str()) == 0)) return step;
  std::error_code error;
  if (failed(std::filesystem::file_size(allowed / "d" / "c", error) == 2)) return step;
  if (failed(std::filesystem::remove_all(allowed / "d", error) == 3)) return step;
  const int boot_id = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (failed(boot_id >= 0)) return step;
  const int status = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (failed(status >= 0)) return step;

  // Memory.
  void* page = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(page != MAP_FAILED)) return step;
  if (failed(mlock(page, 4096) == 0 || errno == ENOMEM)) return step;
  if (failed(mprotect(page, 4096, PROT_NONE) == 0)) return step;
  if (failed(madvise(page, 8192, MADV_DONTDUMP) == 0 && munmap(page, 8192) == 0)) return step;

  // Waiting, and a connection that comes in.
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const int event = eventfd(0, EFD_CLOEXEC);
  if (failed(epoll >= 0 && timer >= 0 && event >= 0)) return step;
  epoll_event wanted = {};
  wanted.events = EPOLLIN;
  if (failed(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted) == 0)) return step;
  epoll_event got = {};
  if (failed(epoll_wait(epoll, &got, 1, testing::kPatienceMs) == 1)) return step;
  const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (failed(client >= 0)) return step;
  int on = 1;
  if (failed(ioctl(client, FIONBIO, &on) == 0)) return step;
  on = 1;
  if (failed(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0)) return step;
  if (failed(testing::WaitReadable(client))) return step;
  char byte = 0;
  if (failed(recv(client, &byte, 1, 0) == 1 && byte == '?')) return step;
  if (failed(SendMessage(client, nullptr, 0, 0) == 0)) return step;
  if (failed(send(client, "y", 1, MSG_NOSIGNAL) == 1 && write(client, "z", 1) == 1)) return step;
  if (failed(shutdown(client, SHUT_WR) == 0)) return step;

  // Workers come over the control descriptor, as two pipes.
  ControlClient supervisor(control);
  if (failed(supervisor.SayReady().has_value())) return step;
  const auto next = supervisor.Next();
  if (failed(next && std::holds_alternative<ControlClient::WorkerStarted>(*next))) return step;

  unsigned char random[16];
  if (failed(getentropy(random, sizeof random) == 0)) return step;
  return 0;
}

TEST(InsideTheSandbox, ThreadsFilesAndAcceptedConnectionsWork) {
  testing::TemporaryDirectory directory;
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(listen(listener.get(), 4), 0);
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int control[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
  Fd ours(control[0]);
  Fd theirs(control[1]);
  Pipe to;
  Pipe from;

  const pid_t core = fork();
  if (core == 0) {
    ours.Reset();
    const std::filesystem::path allowed = directory.path();
    if (!EnterCore(allowed)) _exit(200);
    _exit(LiveInTheSandbox(allowed, listener.get(), theirs.Release()));
  }
  theirs.Reset();
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(write(client.get(), "?", 1), 1);
  std::string answer;
  char bytes[8];
  while (testing::WaitReadable(client.get())) {
    const ssize_t n = read(client.get(), bytes, sizeof bytes);
    if (n <= 0) break;
    answer.append(bytes, static_cast<std::size_t>(n));
  }
  EXPECT_EQ(answer, "xyz");

  control::ToCore message;
  message.mutable_started()->set_account(1);
  std::string packet = message.SerializeAsString();
  iovec part = {packet.data(), packet.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(2 * sizeof(int))] = {};
  header.msg_control = ancillary;
  header.msg_controllen = sizeof ancillary;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
  const int fds[2] = {to.write.get(), from.read.get()};
  std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
  sendmsg(ours.get(), &header, MSG_NOSIGNAL);

  const auto status = WaitForChild(core);
  ASSERT_TRUE(status && WIFEXITED(*status)) << status.value_or(-1);
  EXPECT_EQ(WEXITSTATUS(*status), 0) << "the number of the step that failed";
}

// As certbot renews: new files beside the old ones, and links in another directory that are turned
// to them. Rules of Landlock are about the directories, so both ways of renewal are seen.
TEST(InsideTheSandbox, ARenewedCertificateIsRead) {
  testing::TemporaryDirectory directory;
  const std::filesystem::path live = directory.path() / "live",
                              archive = directory.path() / "archive",
                              data = directory.path() / "data";
  for (const auto& each : {live, archive, data}) std::filesystem::create_directories(each);
  std::ofstream(archive / "1") << "1";
  std::ofstream(directory.path() / "stranger") << "s";
  std::filesystem::create_symlink("../archive/1", live / "link");
  std::ofstream(live / "file") << "1";
  Pipe to, from;
  const pid_t core = fork();
  if (core == 0) {
    CoreSandboxOptions options;
    options.read_write = {data};
    options.read_only = {live, archive};
    if (!EnterCoreSandbox(options)) _exit(1);
    char byte = 'r';
    if (write(from.write.get(), &byte, 1) != 1 || read(to.read.get(), &byte, 1) != 1) _exit(2);
    const auto first = [](const std::filesystem::path& file) {
      std::ifstream in(file);
      return static_cast<char>(in.get());
    };
    if (first(live / "link") != '2') _exit(3);
    if (first(live / "file") != '2') _exit(4);
    if (LandlockAbi() > 0 && first(directory.path() / "stranger") == 's') _exit(5);
    _exit(0);
  }
  char byte = 0;
  ASSERT_TRUE(testing::WaitReadable(from.read.get()));
  ASSERT_EQ(read(from.read.get(), &byte, 1), 1);
  std::ofstream(archive / "2") << "2";
  std::filesystem::create_symlink("../archive/2", live / "link.new");
  std::filesystem::rename(live / "link.new", live / "link");
  std::ofstream(live / "file.new") << "2";
  std::filesystem::rename(live / "file.new", live / "file");
  ASSERT_EQ(write(to.write.get(), "g", 1), 1);
  EXPECT_EQ(WaitForChild(core), 0);
}

TEST(InsideTheSandbox, AbortStillEndsTheProcess) {
  testing::TemporaryDirectory directory;
  const auto status = InChild([&] {
    if (!EnterCore(directory.path())) return 1;
    std::abort();
  });
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFSIGNALED(*status) && WTERMSIG(*status) == SIGABRT);
}

TEST(InsideTheSandbox, ItTellsWhatHolds) {
  testing::TemporaryDirectory directory;
  const int abi = LandlockAbi();
  const auto status = InChild([&] {
    CoreSandboxOptions options;
    options.read_write = {directory.path()};
    options.read_only = {"/nonexistent/and/so/left/out"};
    const auto report = EnterCoreSandbox(options);
    if (!report) return 1;
    if (!report->seccomp || !report->no_new_privileges || !report->not_dumpable) return 2;
    if (report->landlock != (abi > 0) || report->landlock_abi != abi) return 3;
    if (abi >= 6 && !report->missing.empty()) return 4;
    if (abi == 0 && report->missing.size() != 1) return 5;
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(InsideTheSandbox, ADirectoryThatIsNotThereIsAnError) {
  if (LandlockAbi() == 0) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(InChild([] {
              CoreSandboxOptions options;
              options.read_write = {"/nonexistent/store"};
              const auto report = EnterCoreSandbox(options);
              return !report && report.error().code == ErrorCode::kIo ? 0 : 1;
            }),
            0);
}

// ---- The worker's sandbox.

class WorkerSandbox : public ::testing::Test {
 protected:
  void SetUp() override {
    abi_ = LandlockAbi();
    if (abi_ == 0) GTEST_SKIP() << "this kernel has no Landlock";
    std::filesystem::create_directory(readable());
    std::ofstream(readable() / "file") << "x";
    std::ofstream(directory_.path() / "other") << "x";
  }
  std::filesystem::path readable() const { return directory_.path() / "readable"; }
  // The exit code of `body` in a child inside the worker's sandbox.
  int Inside(const std::function<int()>& body) {
    const auto status = InChild([&] {
      std::vector<std::filesystem::path> paths = DefaultWorkerReadPaths();
      paths.push_back(readable());
      const auto report = EnterWorkerSandbox(paths);
      if (!report || !report->landlock || report->landlock_abi != abi_) return 200;
      if (report->seccomp || !report->not_dumpable || !report->no_new_privileges) return 201;
      return body();
    });
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }
  testing::TemporaryDirectory directory_;
  int abi_ = 0;
};

TEST_F(WorkerSandbox, ReadsWhatIsGrantedAndNothingElse) {
  EXPECT_EQ(
      Inside([&] { return ErrnoOfFd(open((readable() / "file").c_str(), O_RDONLY | O_CLOEXEC)); }),
      0);
  EXPECT_EQ(Inside([&] {
              return ErrnoOfFd(open((directory_.path() / "other").c_str(), O_RDONLY | O_CLOEXEC));
            }),
            EACCES);
  EXPECT_EQ(Inside([&] { return ErrnoOfFd(open("/etc/passwd", O_RDONLY | O_CLOEXEC)); }), EACCES);
}

TEST_F(WorkerSandbox, WritesNowhere) {
  for (const auto& path : {readable() / "file", readable() / "new", directory_.path() / "new",
                           std::filesystem::path("/tmp/mayfly-worker-sandbox-test"),
                           std::filesystem::path("/dev/shm/mayfly-worker-sandbox-test")}) {
    const int code =
        Inside([&] { return ErrnoOfFd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); });
    EXPECT_EQ(code, EACCES) << path;
  }
  EXPECT_EQ(Inside([&] { return ErrnoOf(unlink((readable() / "file").c_str())); }), EACCES);
}

TEST_F(WorkerSandbox, KeepsItsSocketsButBindsNone) {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(listen(listener.get(), 4), 0);
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(
      Inside([&] {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return ErrnoOf(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
      }),
      0);
  if (abi_ < 4) GTEST_SKIP() << "this kernel's Landlock has ABI " << abi_ << ", 4 is needed";
  EXPECT_EQ(Inside([&] {
              const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
              sockaddr_in any = {};
              any.sin_family = AF_INET;
              any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              return ErrnoOf(bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any));
            }),
            EACCES);
}

TEST_F(WorkerSandbox, ResolvesNames) {
  const auto resolve = [] {
    addrinfo* found = nullptr;
    const int result = getaddrinfo("localhost", "443", nullptr, &found);
    if (result == 0) freeaddrinfo(found);
    return result == 0 ? 0 : 1;
  };
  if (resolve() != 0) GTEST_SKIP() << "this machine resolves no name at all, not even localhost";
  EXPECT_EQ(Inside(resolve), 0);
}

TEST_F(WorkerSandbox, ReachesNoOtherProcess) {
  Pipe life;
  const pid_t victim = fork();
  if (victim == 0) {
    life.write.Reset();
    char byte = 0;
    _exit(read(life.read.get(), &byte, 1) == 0 ? 0 : 1);
  }
  EXPECT_EQ(Inside([&] { return ErrnoOf(ptrace(PTRACE_SEIZE, victim, nullptr, nullptr)); }), EPERM);
  if (abi_ >= 6) {
    EXPECT_EQ(Inside([&] { return ErrnoOf(kill(victim, SIGTERM)); }), EPERM);
  }
  life.write.Reset();
  EXPECT_EQ(WaitForChild(victim), 0);
}

}  // namespace
}  // namespace mayfly::service
