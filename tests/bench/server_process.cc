#include "tests/bench/server_process.h"

#include <csignal>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "tests/bench/measure.h"
#include "tests/support/processes.h"

namespace mayfly::bench {

ServerProcess::ServerProcess(const std::vector<std::string>& argv, const fs::path& log, int end,
                             const RunAs& as)
    : name_(fs::path(argv.front()).filename()), log_(log), end_(end) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const std::string where = log.parent_path();
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out < 0 || nothing < 0) Die("no log for " + name_);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) Die("no process for " + name_);
  if (pid_ == 0) {
    if (as.changed &&
        (::setgroups(0, nullptr) != 0 || ::setgid(as.group) != 0 || ::setuid(as.user) != 0)) {
      ::_exit(127);
    }
    // After the change of user, which forgets it.
    ::prctl(PR_SET_PDEATHSIG, end);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    if (::chdir(where.c_str()) == 0) ::execv(words.front(), words.data());
    ::_exit(127);
  }
  ::close(out);
  ::close(nothing);
}

ServerProcess::~ServerProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, end_);
  if (!testing::WaitForChild(pid_)) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void ServerProcess::Complain(const std::string& what) const {
  std::ifstream in(log_);
  std::cerr << in.rdbuf();
  Die(name_ + " " + what);
}

void ServerProcess::Await(const std::function<bool()>& ready) {
  const auto begin = Steady::now();
  while (!ready()) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      Complain("ended at once");
    }
    if (SecondsSince(begin) > 60) Complain("does not answer");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void ServerProcess::MustSucceed() {
  int status = 0;
  if (::waitpid(std::exchange(pid_, -1), &status, 0) < 0 || !WIFEXITED(status) ||
      WEXITSTATUS(status) != 0) {
    Complain("failed");
  }
}

std::uint64_t ServerProcess::Written() const {
  const std::string number = std::to_string(pid_);
  std::ifstream in("/proc/" + number + "/task/" + number + "/children");
  std::uint64_t bytes = 0;
  for (std::string child; in >> child;) {
    // One that has just ended is in the sum of its parent.
    bytes += WrittenBytesOf(child).value_or(0);
  }
  const auto own = WrittenBytesOf(number);
  if (!own) Complain("has ended, or what it writes is not for us to know");
  return bytes + *own;
}

}  // namespace mayfly::bench
