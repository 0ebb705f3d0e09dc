#include "service/read_passphrase.h"

#include <cerrno>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

namespace mayfly::service {
namespace {

// The terminal without echo, and as it was again.
class QuietTerminal {
 public:
  QuietTerminal() : fd_(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)) {
    if (fd_ < 0 || ::tcgetattr(fd_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(fd_, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (changed_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
    if (fd_ >= 0) ::close(fd_);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  bool usable() const { return changed_; }
  int fd() const { return fd_; }

 private:
  int fd_;
  termios before_ = {};
  bool changed_ = false;
};

Result<store::Passphrase> ReadLine(int fd) {
  std::string line;
  line.reserve(store::kPassphraseBytesMax + 1);  // so that growing leaves no copy behind
  char byte = 0;
  while (true) {
    const ssize_t got = ::read(fd, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || byte == '\n') break;
    if (line.size() == store::kPassphraseBytesMax) {
      WipeString(line);
      return Fail(ErrorCode::kInvalidArgument, "a passphrase has at most 1,024 bytes");
    }
    line.push_back(byte);
  }
  if (line.empty()) return Fail(ErrorCode::kInvalidArgument, "no passphrase came");
  return store::Passphrase(std::move(line));
}

void Say(int fd, const std::string& text) {
  // The prompt is a courtesy; the answer is what counts.
  if (::write(fd, text.data(), text.size()) < 0) return;
}

}  // namespace

Result<store::Passphrase> ReadPassphrase(int fd, const std::string& prompt) {
  if (fd >= 0) return ReadLine(fd);
  const QuietTerminal terminal;
  if (!terminal.usable()) {
    return Fail(ErrorCode::kInvalidArgument,
                "there is no terminal to ask for the passphrase; hand it over through a "
                "descriptor: --passphrase-fd N");
  }
  Say(terminal.fd(), prompt);
  auto line = ReadLine(terminal.fd());
  Say(terminal.fd(), "\n");
  return line;
}

Result<store::Passphrase> ReadNewPassphrase(int fd) {
  MAYFLY_ASSIGN_OR_RETURN(store::Passphrase first, ReadPassphrase(fd, "New passphrase: "));
  if (fd >= 0) return first;
  MAYFLY_ASSIGN_OR_RETURN(const store::Passphrase second, ReadPassphrase(fd, "Once more: "));
  if (first == second) return first;
  return Fail(ErrorCode::kInvalidArgument, "the two are not the same; nothing was changed");
}

}  // namespace mayfly::service
