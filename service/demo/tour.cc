#include "service/demo/tour.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <set>
#include <sstream>
#include <string>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "service/api/signed_receipt.h"
#include "service/backup/backup.h"
#include "service/command_line.h"
#include "service/config.h"
#include "service/demo/demo_office.h"
#include "service/demo/thief.h"
#include "service/sandbox/sandbox.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;
using std::chrono::days;

// As fast as a person who watches; the platform is asked twice a second.
constexpr double kRate = 2.0;
constexpr int kPatienceSeconds = 60;
constexpr int kDays = 92;
// People on the platform.
constexpr int kAda = 0, kBert = 1, kCarla = 2, kNewcomer = 3, kDora = 4;

class Tour {
 public:
  explicit Tour(const TourOptions& options) : options_(options) {}

  Status Run() {
    MAYFLY_ASSIGN_OR_RETURN(
        office_,
        DemoOffice::Start({.platform = options_.platform, .port = 0, .clock_rate = kRate}));
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals, signal);
    signals_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    MAYFLY_RETURN_IF_ERROR(office_->StartPlatform());
    MAYFLY_RETURN_IF_ERROR(office_->AwaitReady());
    MAYFLY_RETURN_IF_ERROR(office_->MakeTokens());
    MAYFLY_RETURN_IF_ERROR(office_->ConnectAccount());
    std::cout
        << "Mayfly, the social inbox that forgets: a tour in nine scenes, on the real programs.\n"
           "A platform is simulated, and the clock can be moved; nothing else is played.\n";
    for (const auto scene : {&Tour::AMessageArrives, &Tour::AReply, &Tour::ALostAnswer,
                             &Tour::AWorkerIsKilled, &Tour::NobodyElseReads, &Tour::AWordIsGiven,
                             &Tour::TimePasses, &Tour::AReceipt, &Tour::APersonIsErased}) {
      MAYFLY_RETURN_IF_ERROR((this->*scene)());
    }
    std::cout << "\nThat is all. Nothing of it is left on this machine.\n";
    return {};
  }
  ~Tour() {
    if (signals_ >= 0) ::close(signals_);
  }

 private:
  // --- the stage

  static void Say(const std::string& text) { std::cout << "   " << text << "\n" << std::flush; }

  // A line that the person who watches typed; nothing when nobody does.
  Result<std::string> AwaitLine(const std::string& prompt) {
    if (options_.unattended || input_ended_) return std::string();
    std::cout << prompt << std::flush;
    while (typed_.find('\n') == std::string::npos) {
      pollfd waiting[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                          {.fd = signals_, .events = POLLIN, .revents = 0}};
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) {
        return Fail(ErrorCode::kIo, "the terminal cannot be read");
      }
      MAYFLY_RETURN_IF_ERROR(CheckSignals());
      if (waiting[0].revents == 0) continue;
      char bytes[256];
      const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
      if (got <= 0) {
        input_ended_ = true;
        std::cout << "\n";
        return std::string();
      }
      typed_.append(bytes, static_cast<std::size_t>(got));
    }
    const std::size_t end = typed_.find('\n');
    std::string line = typed_.substr(0, end);
    typed_.erase(0, end + 1);
    return line;
  }

  Status Begin(const std::string& title) {
    if (scene_ > 0) MAYFLY_RETURN_IF_ERROR(AwaitLine("   [Enter] "));
    std::cout << "\n" << ++scene_ << ". " << title << "\n" << std::flush;
    return {};
  }

  Status CheckSignals() {
    signalfd_siginfo info;
    while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo != SIGCHLD) return Fail(ErrorCode::kCancelled, "The tour was ended.");
      if (::kill(office_->service(), 0) != 0 ||
          ::waitpid(office_->service(), nullptr, WNOHANG | WNOWAIT) == office_->service()) {
        return Fail(ErrorCode::kUnavailable, "the service ended by itself");
      }
    }
    return {};
  }

  // Until it holds.
  Status Await(const std::string& what, const std::function<bool()>& holds, int wait_ms = 100) {
    const int rounds = kPatienceSeconds * 1000 / wait_ms;
    for (int round = 0; round < rounds; ++round) {
      if (holds()) return {};
      pollfd waiting = {.fd = signals_, .events = POLLIN, .revents = 0};
      ::poll(&waiting, 1, wait_ms);
      MAYFLY_RETURN_IF_ERROR(CheckSignals());
    }
    return Fail(ErrorCode::kInternal, "this did not happen within a minute: " + what);
  }

  static Status Expect(bool holds, const std::string& what) {
    if (holds) return {};
    return Fail(ErrorCode::kInternal, "this does not hold: " + what);
  }

  struct Ran {
    int exit_code = -1;
    std::string output;
  };
  // This program with other words.
  Result<Ran> RunSelf(std::vector<std::string> words) {
    words.insert(words.begin(), ProgramPath().string());
    int pipes[2];
    if (::pipe2(pipes, O_CLOEXEC) != 0) return Fail(ErrorCode::kIo, "no pipe can be made");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      ::dup2(pipes[1], STDOUT_FILENO);
      ::dup2(pipes[1], STDERR_FILENO);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(pipes[1]);
    Ran ran;
    char bytes[4096];
    for (ssize_t got; (got = ::read(pipes[0], bytes, sizeof bytes)) > 0;) {
      ran.output.append(bytes, static_cast<std::size_t>(got));
    }
    ::close(pipes[0]);
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
      return Fail(ErrorCode::kIo, "a program did not run to its end");
    }
    ran.exit_code = WEXITSTATUS(status);
    return ran;
  }

  // --- what the scenes ask

  json::Value Get(const std::string& role, const std::string& target) {
    const auto answer = office_->Ask(role, "GET", target);
    if (!answer || answer->status != 200) return {};
    auto parsed = json::Parse(answer->body);
    return parsed ? *std::move(parsed) : json::Value();
  }
  int StatusOf(const std::string& role, const std::string& target) {
    const auto answer = office_->Ask(role, "GET", target);
    return answer ? answer->status : 0;
  }

  // The message with this text, once it was collected.
  Result<json::Value> AwaitMessage(const std::string& text) {
    json::Value found;
    const auto arrived = [&] {
      for (const json::Value& conversation :
           DemoOffice::ItemsOf(office_->Ask("comms", "GET", "/v1/conversations?limit=20"))) {
        const std::string thread =
            "/v1/conversations/" + conversation.String("id").value_or("") + "/messages?limit=20";
        for (json::Value& message : DemoOffice::ItemsOf(office_->Ask("comms", "GET", thread))) {
          if (message.String("text").value_or("") != text) continue;
          found = std::move(message);
          return true;
        }
      }
      return false;
    };
    MAYFLY_RETURN_IF_ERROR(Await("a message arrives", arrived));
    return found;
  }
  Result<json::Value> Write(int person, const std::string& text) {
    MAYFLY_RETURN_IF_ERROR(office_->platform().Write(person, text));
    return AwaitMessage(text);
  }

  // Answers `message`; the words that its state went through, until it is settled.
  Result<std::vector<std::string>> Reply(const json::Value& message, const std::string& text) {
    std::string body;
    json::Writer(&body)
        .StartObject()
        .Field("text", text)
        .Field("after_message_id", message.String("id").value_or(""))
        .EndObject();
    MAYFLY_ASSIGN_OR_RETURN(
        const LocalResponse queued,
        office_->Ask(
            "comms", "POST",
            "/v1/conversations/" + message.String("conversation").value_or("") + "/replies", body,
            {{"Content-Type", "application/json"},
             {"Idempotency-Key", "tour-" + std::to_string(++replies_)}}));
    MAYFLY_RETURN_IF_ERROR(Expect(queued.status == 202, "the reply is taken"));
    MAYFLY_ASSIGN_OR_RETURN(const json::Value reply, json::Parse(queued.body));
    const std::string target = "/v1/replies/" + reply.String("id").value_or("");
    std::vector<std::string> states = {reply.String("state").value_or("")};
    MAYFLY_RETURN_IF_ERROR(Await(
        "a reply is settled",
        [&] {
          const std::string state = Get("comms", target).String("state").value_or("");
          if (!state.empty() && state != states.back()) states.push_back(state);
          return state == "sent" || state == "failed";
        },
        20));
    return states;
  }
  static std::string Joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " -> ") + word;
    return text;
  }

  std::optional<pid_t> Worker() const {
    const std::string supervisor = std::to_string(office_->service());
    std::ifstream children("/proc/" + supervisor + "/task/" + supervisor + "/children");
    for (pid_t child = 0; children >> child;) {
      std::ifstream command("/proc/" + std::to_string(child) + "/cmdline");
      std::string line;
      std::getline(command, line);
      if (line.find("mayfly-worker") != std::string::npos) return child;
    }
    return std::nullopt;
  }

  Result<ThiefsView> Steal() {
    MAYFLY_ASSIGN_OR_RETURN(const Config config, LoadConfig(office_->config_file()));
    MAYFLY_ASSIGN_OR_RETURN(const fs::path backup, FindBackup(office_->dir() / "backups"));
    return LookAsThief(
        config,
        {office_->dir() / "data", office_->dir() / "backups", office_->dir() / "service.log"},
        {office_->dir() / "data" / "store", backup / "store"}, word_);
  }
  static void Tell(const ThiefsView& view) {
    Say("   in clear, in " + std::to_string(view.files) + " files of " +
        std::to_string(view.bytes >> 10) + " KiB: " + std::to_string(view.raw_hits) + " hits");
    Say("   opened with the keys of now: " + std::to_string(view.opened) + " of " +
        std::to_string(view.rows) + " records; the word in " + std::to_string(view.hits));
  }

  // --- the scenes

  Status AMessageArrives() {
    MAYFLY_RETURN_IF_ERROR(Begin("A message arrives, and shows its own death"));
    MAYFLY_ASSIGN_OR_RETURN(ada_, Write(kAda, "Good morning, where are the census tables?"));
    Say("Ada writes on the platform. The comms team sees:");
    Say("   \"" + ada_.String("text").value_or("") + "\"");
    Say("   id " + ada_.String("id").value_or("") + ": its date is part of its name");
    Say("   expires_at " + ada_.String("expires_at").value_or("") +
        ", three calendar months at most; no setting lengthens that");
    return Expect(ada_.String("expires_at").has_value(), "a message shows when it ends");
  }

  Status AReply() {
    MAYFLY_RETURN_IF_ERROR(Begin("A reply"));
    const std::string text = "Good morning! They are on our website.";
    MAYFLY_ASSIGN_OR_RETURN(const auto states, Reply(ada_, text));
    Say("Its state as the team sees it: " + Joined(states));
    const std::size_t received = office_->platform().CountReceived(kAda, text);
    Say("Ada received it " + std::to_string(received) + " time(s).");
    return Expect(states.back() == "sent" && received == 1, "the reply is sent once");
  }

  Status ALostAnswer() {
    MAYFLY_RETURN_IF_ERROR(Begin("The platform takes a reply, and its answer is lost"));
    MAYFLY_ASSIGN_OR_RETURN(const json::Value bert, Write(kBert, "And the tables of last year?"));
    MAYFLY_RETURN_IF_ERROR(office_->platform().Inject(connectors::PlatformFault::kSendAnswerLost));
    const std::string text = "The same page, further down.";
    MAYFLY_ASSIGN_OR_RETURN(const auto states, Reply(bert, text));
    Say("Nobody can know now whether it arrived. It is not sent again on the off chance:");
    Say("   " + Joined(states) + ", settled by looking at the platform");
    const std::size_t received = office_->platform().CountReceived(kBert, text);
    Say("Bert received it " + std::to_string(received) + " time(s).");
    const bool unknown = std::find(states.begin(), states.end(), "unknown") != states.end();
    return Expect(unknown && states.back() == "sent" && received == 1,
                  "a reply whose answer is lost becomes unknown, and is sent once");
  }

  Status AWorkerIsKilled() {
    MAYFLY_RETURN_IF_ERROR(Begin("The process that talks to the platform is killed"));
    const auto worker = Worker();
    MAYFLY_RETURN_IF_ERROR(Expect(worker.has_value(), "a worker runs"));
    ::kill(*worker, SIGKILL);
    // Where the platform forgets positions, it has forgotten ours too: then there is a hole.
    (void)office_->platform().Inject(connectors::PlatformFault::kPositionForgotten);
    std::vector<std::string> texts;
    for (int i = 1; i <= 3; ++i) {
      texts.push_back("Is anybody there? (" + std::to_string(i) + ")");
      MAYFLY_RETURN_IF_ERROR(office_->platform().Write(kCarla, texts.back()));
    }
    Say("kill -9 " + std::to_string(*worker) + ". Meanwhile Carla writes three times.");
    for (const std::string& text : texts) MAYFLY_RETURN_IF_ERROR(AwaitMessage(text));
    MAYFLY_RETURN_IF_ERROR(Await("another worker runs", [&] {
      const auto now = Worker();
      return now && *now != *worker;
    }));
    const auto open_holes = [&](std::string* shown) {
      std::size_t open = 0;
      for (const json::Value& account :
           DemoOffice::ItemsOf(office_->Ask("operator", "GET", "/v1/coverage"))) {
        const json::Value* holes = account.Find("holes");
        if (holes == nullptr || !holes->is_array()) continue;
        for (const json::Value& hole : *holes->AsArray()) {
          const bool filled = hole.String("filled_at").has_value();
          open += filled ? 0 : 1;
          if (shown != nullptr) {
            *shown += "\n      hole: " + hole.String("reason").value_or("") + ", " +
                      (filled ? "filled" : "open");
          }
        }
      }
      return open;
    };
    MAYFLY_RETURN_IF_ERROR(Await("every hole is filled", [&] { return open_holes(nullptr) == 0; }));
    std::string shown;
    open_holes(&shown);
    Say("A new worker took over; all three are here. What was missing, as /v1/coverage tells it:" +
        (shown.empty() ? std::string(" nothing") : shown));
    return {};
  }

  Status NobodyElseReads() {
    MAYFLY_RETURN_IF_ERROR(
        Begin("Who connects accounts does not read, and who reads has no way out"));
    const std::string target = "/v1/messages/" + ada_.String("id").value_or("");
    const int refused = StatusOf("administrator", target);
    Say("The administrator asks for Ada's message: " + std::to_string(refused) +
        " (the comms team: " + std::to_string(StatusOf("comms", target)) + ")");
    MAYFLY_RETURN_IF_ERROR(Expect(refused == 403, "an administrator does not read"));
    MAYFLY_ASSIGN_OR_RETURN(const Ran ran, RunSelf({"try-to-leave"}));
    Say(ran.output.substr(0, ran.output.find('\n')));
    if (ran.exit_code == 2) return {};  // said so: this kernel cannot
    return Expect(ran.exit_code == 0, "the kernel refuses a connection");
  }

  Status AWordIsGiven() {
    MAYFLY_RETURN_IF_ERROR(Begin("A word that nobody else knows"));
    word_ = options_.word;
    if (word_.empty()) {
      MAYFLY_ASSIGN_OR_RETURN(word_, AwaitLine("   Type one, and Enter: "));
    }
    // Something to look for, and nothing that a program would hold anyway.
    if (word_.size() < 6) word_ = "vermilion-" + std::to_string(office_->service()) + word_;
    MAYFLY_RETURN_IF_ERROR(Write(kNewcomer, "My word is " + word_));
    Say("It was sent as a message: \"My word is " + word_ + "\". Now a backup is taken.");
    MAYFLY_ASSIGN_OR_RETURN(
        const Ran backup,
        RunSelf({"backup", (office_->dir() / "backups").string(), "--config",
                 office_->config_file().string(), "--clock-file", office_->clock_file().string()}));
    MAYFLY_RETURN_IF_ERROR(Expect(backup.exit_code == 0, "a backup is taken: " + backup.output));
    Say("A thief takes everything, the keys too: disk, logs, backup.");
    MAYFLY_ASSIGN_OR_RETURN(yesterday_, Steal());
    Tell(yesterday_);
    return Expect(yesterday_.raw_hits == 0 && yesterday_.hits >= 2,
                  "before its date the word opens with the keys, and lies nowhere in clear");
  }

  Status TimePasses() {
    MAYFLY_RETURN_IF_ERROR(
        Begin(std::to_string(kDays) + " days in " + std::to_string(options_.seconds) + " seconds"));
    const TimePoint until = office_->clock().Now() + days(kDays);
    office_->clock().Set(office_->clock().Now(), kDays * 86'400.0 / options_.seconds);
    TimePoint told = office_->clock().Now();
    MAYFLY_RETURN_IF_ERROR(Await(
        "days pass",
        [&] {
          const TimePoint now = office_->clock().Now();
          if (now - told > days(20)) {
            told = now;
            Say("   " + FormatRfc3339(now).substr(0, 10));
          }
          return now >= until;
        },
        50));
    office_->clock().Set(office_->clock().Now(), kRate);
    MAYFLY_RETURN_IF_ERROR(office_->MakeTokens());  // they live 90 days
    MAYFLY_RETURN_IF_ERROR(Await("every date has ended", [&] {
      const json::Value expiry = Get("operator", "/v1/ops/expiry");
      const json::Value* due = expiry.Find("due_not_destroyed");
      return due != nullptr && due->is_array() && due->AsArray()->empty() &&
             StatusOf("comms", "/v1/messages/" + ada_.String("id").value_or("")) == 410;
    }));
    Say("Ada's message answers 410: its date is in its name, so nothing had to be remembered.");
    Say("The thief again, with everything there is now, and the backup of then:");
    MAYFLY_ASSIGN_OR_RETURN(const ThiefsView today, Steal());
    Tell(today);
    Say("   before: the word in " + std::to_string(yesterday_.hits) + " records; now in " +
        std::to_string(today.hits));
    return Expect(today.raw_hits == 0 && today.hits == 0, "after its date the word is nowhere");
  }

  Status AReceipt() {
    MAYFLY_RETURN_IF_ERROR(Begin("A receipt that proves it"));
    const std::string key = Get("operator", "/v1/about").String("receipt_key").value_or("");
    const json::Array receipts =
        DemoOffice::ItemsOf(office_->Ask("auditor", "GET", "/v1/ops/receipts?limit=200"));
    MAYFLY_RETURN_IF_ERROR(Expect(!receipts.empty(), "there are receipts"));
    MAYFLY_ASSIGN_OR_RETURN(const std::string text, api::CanonicalJson(receipts.back()));
    Say(text);
    MAYFLY_ASSIGN_OR_RETURN(const bool holds, api::SignatureHolds(receipts.back(), key));
    std::string changed = text;
    const std::string member = "\"messages\":";
    char& digit = changed[changed.find(member) + member.size()];
    digit = digit == '9' ? '8' : '9';
    MAYFLY_ASSIGN_OR_RETURN(const json::Value forged, json::Parse(changed));
    MAYFLY_ASSIGN_OR_RETURN(const bool forged_holds, api::SignatureHolds(forged, key));
    Say(std::string("As it is, its signature ") + (holds ? "holds" : "does not hold") +
        "; with one digit changed it " + (forged_holds ? "holds" : "does not") + ".");
    return Expect(holds && !forged_holds, "a receipt can be checked and not be forged");
  }

  Status APersonIsErased() {
    MAYFLY_RETURN_IF_ERROR(Begin("A person wants to be erased, today"));
    MAYFLY_ASSIGN_OR_RETURN(const json::Value dora, Write(kDora, "Please forget me."));
    std::string body;
    json::Writer(&body)
        .StartObject()
        .Field("message_id", dora.String("id").value_or(""))
        .EndObject();
    MAYFLY_ASSIGN_OR_RETURN(const LocalResponse asked,
                            office_->Ask("privacy", "POST", "/v1/erasures", body,
                                         {{"Content-Type", "application/json"}}));
    const int read = StatusOf("comms", "/v1/messages/" + dora.String("id").value_or(""));
    Say("The privacy officer erases Dora: " + std::to_string(asked.status) +
        ". Her message answers " + std::to_string(read) + " at once.");
    MAYFLY_RETURN_IF_ERROR(Expect(asked.status == 202 && read == 404, "she cannot be read"));
    MAYFLY_ASSIGN_OR_RETURN(const json::Value erasure, json::Parse(asked.body));
    const std::string target = "/v1/erasures/" + erasure.String("id").value_or("");
    json::Value receipt;
    MAYFLY_RETURN_IF_ERROR(Await("her bytes are gone", [&] {
      receipt = Get("privacy", target);
      return receipt.String("state").value_or("") == "finished";
    }));
    Say("Finished, with a receipt that names nobody: " +
        std::to_string(receipt.Int("keys").value_or(0)) + " key(s) destroyed, " +
        std::to_string(receipt.Int("messages").value_or(0)) + " message(s).");
    return {};
  }

  const TourOptions& options_;
  std::unique_ptr<DemoOffice> office_;
  int signals_ = -1;
  int scene_ = 0;
  int replies_ = 0;
  bool input_ended_ = false;
  std::string typed_;
  std::string word_;
  json::Value ada_;
  ThiefsView yesterday_;
};

}  // namespace

int RunTour(const TourOptions& options) {
  Status played;
  {
    Tour tour(options);
    played = tour.Run();
  }
  if (played) return 0;
  std::cerr << "mayfly-demo: " << played.error().message << "\n";
  return 1;
}

int TryToLeave() {
  if (const auto hardened = HardenProcess(); !hardened) {
    std::cout << "The core's filter cannot be tried here: " << hardened.error().message << "\n";
    return 2;
  }
  const int before = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto entered = EnterCoreSandbox({});
  if (before < 0 || !entered || !entered->seccomp) {
    std::cout << "The core's filter cannot be tried here: this kernel does not give it.\n";
    return 2;
  }
  // With a socket from before, and with a fresh one.
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(443);
  address.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1, RFC 5737: nobody's
  const bool connected =
      ::connect(before, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
      errno != EPERM;
  const int connect_errno = errno;
  const bool made = ::socket(AF_INET, SOCK_STREAM, 0) >= 0;
  std::cout << "Behind the filter that the core runs behind: connect: "
            << std::strerror(connect_errno)
            << "; a new socket: " << (made ? "given" : std::strerror(errno)) << std::endl;
  return connected || made ? 1 : 0;
}

}  // namespace mayfly::service
