// A core for tests of the supervisor: starts workers, greets and checks them over the real link,
// and writes what it sees as lines to an inherited descriptor.
//
//   tiny_core REPORT_FD MODE
//     serve         one worker for account 1; drains when told to
//     ignore-drain  as serve, but goes on when told to drain
//     exit-N        ends at once with code N
//     accept        answers one byte to each connection on the admin and the first listener
//     two-epochs    starts account 1 with epoch 1, then 2, then 2 again
//     many          asks for 300 workers, tells how many were refused
//     garbage       breaks the control protocol
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <set>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <variant>

#include "service/supervisor/control_client.h"
#include "service/supervisor/supervisor.h"

extern char** environ;

namespace {

using mayfly::AccountId;
using mayfly::service::ControlClient;
using mayfly::service::WorkerLink;

int report_fd = -1;

void Report(const std::string& line) {
  const std::string text = line + "\n";
  if (write(report_fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(99);
}

void ReportSurroundings() {
  std::string names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    names += " " + text.substr(0, text.find('='));
  }
  Report("environment" + names);
  std::string fds;
  for (int fd = 0; fd < 1024; ++fd) {
    struct stat status = {};
    if (fstat(fd, &status) != 0) continue;
    fds += " " + std::to_string(fd) + (S_ISSOCK(status.st_mode) ? "s" : "");
  }
  Report("descriptors" + fds);
  rlimit core = {};
  getrlimit(RLIMIT_CORE, &core);
  Report("core-limit " + std::to_string(core.rlim_cur));
}

mayfly::Status Unused(const mayfly::Credential&) { return {}; }

// Greets and checks a started worker and tells what it is like.
std::unique_ptr<WorkerLink> Greet(const ControlClient::WorkerStarted& started) {
  auto link = std::make_unique<WorkerLink>(started.pipes, Unused);
  if (!link->Hello("tiny", {})) {
    Report("worker-silent " + std::to_string(started.pipes.epoch));
    return link;
  }
  const auto check = link->Check();
  if (!check) {
    Report("worker-broken " + std::to_string(started.pipes.epoch));
    return link;
  }
  std::string fds;
  for (const std::string& fd : check->permissions_held) fds += " " + fd;
  std::string arguments;
  for (const std::string& argument : check->permissions_missing) arguments += " " + argument;
  Report("worker-environment " + check->own_handle);
  Report("worker-descriptors" + fds);
  Report("worker-arguments" + arguments);
  Report("worker " + check->own_platform_id);
  return link;
}

int Accept(int listener) {
  const int client = accept(listener, nullptr, nullptr);
  if (client < 0 || write(client, "!", 1) != 1) return 1;
  close(client);
  return 0;
}

void Serve(ControlClient& control, const std::string& mode) {
  std::unique_ptr<WorkerLink> link;
  int refused = 0;
  if (mode == "many") {
    for (std::uint32_t account = 1; account <= 300; ++account) {
      if (!control.StartWorker(AccountId{account}, 1)) _exit(98);
    }
  } else if (mode == "two-epochs") {
    for (const std::uint64_t epoch : {1, 2, 2}) {
      if (!control.StartWorker(AccountId{1}, epoch)) _exit(98);
    }
  } else if (!control.StartWorker(AccountId{1}, 5)) {
    _exit(98);
  }
  if (!control.SayReady()) _exit(98);
  int answers = 0;
  for (;;) {
    const auto event = control.Next();
    if (!event) {
      Report("control-error");
      _exit(97);
    }
    if (const auto* started = std::get_if<ControlClient::WorkerStarted>(&*event)) {
      if (mode == "many") {
        // Its pipes stay open, and so it lives.
        if (++answers == 300) Report("refused " + std::to_string(refused));
      } else {
        link = Greet(*started);
      }
    } else if (const auto* ended = std::get_if<ControlClient::WorkerEnded>(&*event)) {
      if (mode == "many") {
        if (ended->exit_code == 75) {
          ++refused;
          if (++answers == 300) Report("refused " + std::to_string(refused));
        }
        continue;
      }
      Report("worker-ended " + std::to_string(ended->account.value) + " " +
             std::to_string(ended->epoch) + " " + std::to_string(ended->exit_code) + " " +
             std::to_string(ended->signal));
      if (mode == "restart-worker") {
        if (!control.StartWorker(AccountId{1}, ended->epoch + 1)) _exit(98);
      }
    } else if (std::holds_alternative<ControlClient::ReloadAsked>(*event)) {
      Report("reload");
    } else if (std::holds_alternative<ControlClient::DrainAsked>(*event)) {
      Report("drain");
      if (mode != "ignore-drain") _exit(0);
    } else {
      Report("supervisor-gone");
      _exit(0);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  report_fd = std::atoi(argv[1]);
  const std::string mode = argv[2];
  Report("core " + std::to_string(getpid()));
  if (mode.rfind("exit-", 0) == 0) return std::atoi(mode.c_str() + 5);
  ReportSurroundings();
  if (mode == "accept") {
    Report("accepting");
    if (Accept(mayfly::service::kAdminListenFd) != 0) return 96;
    if (Accept(mayfly::service::kListenFdFirst) != 0) return 96;
    Report("accepted");
  }
  if (mode == "garbage") {
    if (send(mayfly::service::kControlFd, "\xff\xff\xff", 3, MSG_NOSIGNAL) != 3) return 95;
    pollfd wait = {mayfly::service::kControlFd, POLLIN, 0};
    // The supervisor hangs up on us; when it is gone itself, nobody is left to end this process.
    poll(&wait, 1, 30'000);
    return 96;
  }
  ControlClient control(mayfly::service::kControlFd);
  Serve(control, mode);
}
