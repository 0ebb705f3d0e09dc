// What tests of processes share: pipes, lines read with a deadline, waiting for the end of a
// process. Nothing here sleeps; every wait is a poll on something that happens.
#ifndef MAYFLY_TESTS_SUPPORT_PROCESSES_H_
#define MAYFLY_TESTS_SUPPORT_PROCESSES_H_

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <string>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace mayfly::testing {

// Generous: it only ends a test that would otherwise hang.
inline constexpr int kPatienceMs = 30'000;

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { Reset(); }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct Pipe {
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) std::abort();
    read = Fd(fds[0]);
    write = Fd(fds[1]);
  }
  Fd read;
  Fd write;
};

inline bool WaitReadable(int fd, int timeout_ms = kPatienceMs) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd one = {fd, POLLIN, 0};
    const int ready = poll(&one, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Lines from a pipe; nullopt at its end or when nothing comes.
class LineReader {
 public:
  explicit LineReader(int fd) : fd_(fd) {}
  std::optional<std::string> Next() {
    for (;;) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      if (!WaitReadable(fd_)) return std::nullopt;
      char bytes[512];
      const ssize_t n = ::read(fd_, bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      buffer_.append(bytes, static_cast<std::size_t>(n));
    }
  }
  // The rest of the next line that begins with `start`; others are passed over.
  std::optional<std::string> Find(const std::string& start) {
    while (auto line = Next()) {
      if (line->rfind(start, 0) == 0) return line->substr(start.size());
    }
    return std::nullopt;
  }

 private:
  int fd_;
  std::string buffer_;
};

// Refers to a process beyond the reuse of its number. Any process, not only a child.
inline Fd OpenProcess(pid_t pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }
inline bool WaitForEnd(const Fd& process) { return WaitReadable(process.get()); }

// The wait status of a child, or nullopt when it does not end in time.
inline std::optional<int> WaitForChild(pid_t pid) {
  const Fd process = OpenProcess(pid);
  if (process.get() < 0 || !WaitForEnd(process)) return std::nullopt;
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return std::nullopt;
  return status;
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "mayfly-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_PROCESSES_H_
