// mayfly-demo: the real core and worker against simulated platforms, under a clock that can be
// moved.
//
//   mayfly-demo run        everything for a person who wants to see it work
//   mayfly-demo tour       the same, scene by scene, a key each
//   mayfly-demo simulate   a platform alone, for tests that drive it over /_sim/
//   mayfly-demo move-clock moves the clock of a running demo or test
//   mayfly-demo serve|core|init|token|expire|status|clock|reload|backup|restore|verify
//                          as in mayfly, with --clock-file
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include <CLI/CLI.hpp>

#include "connectors/platform_simulator.h"
#include "connectors/registry.h"
#include "service/command_line.h"
#include "service/demo/citizens.h"
#include "service/demo/demo_clock.h"
#include "service/demo/demo_office.h"
#include "service/demo/tour.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

// Renewed long before they end, because the demo's clock may run fast.
constexpr std::chrono::days kRenewTokensBefore{45};
// What a disk holds of which a test says how much is free.
constexpr std::uint64_t kDiskOfTests = 50ull << 30;
constexpr const char* kNewestConversations = "/v1/conversations?limit=5";

struct Options {
  std::string clock_file;
  int restart_delay_ms = 0;
  // run and simulate
  std::string platform = "bluesky";
  // run
  int port = 8080;
  std::string data;
  std::string tokens_file;
  double days_per_minute = 1.0;
  TourOptions tour;
  // simulate
  int simulator_port = 0;
  // clock
  std::string set;
  double rate = -1;
  int advance_days = 0;
  std::optional<std::int64_t> skew_seconds;
  int fail_after_step = 0;
};

int Complain(const Error& error) {
  std::cerr << "mayfly-demo: " << error.message << "\n";
  return 1;
}

int WaitForSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGCHLD);
  int signal = 0;
  sigwait(&signals, &signal);
  return signal;
}

// Before any thread exists, so that only WaitForSignal and the loop of `run` see them.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
}

int Simulate(const Options& options) {
  BlockSignals();
  auto clock = DemoClock::Open(options.clock_file);
  if (!clock) return Complain(clock.error());
  auto platform = connectors::StartPlatformSimulator(
      options.platform, **clock,
      {.port = static_cast<std::uint16_t>(options.simulator_port), .control_endpoints = true});
  if (!platform) return Complain(platform.error());
  std::cout << (*platform)->origin() << std::endl;
  while (WaitForSignal() == SIGCHLD) {
  }
  return 0;
}

int MoveClock(const Options& options) {
  if (!fs::exists(options.clock_file)) {
    const auto start = ParseRfc3339(options.set);
    if (!start) {
      return Complain(
          {.message = "--set must be a time such as 2026-11-22T12:00:00Z to make a clock"});
    }
    auto made = DemoClock::Create(options.clock_file, *start, options.rate < 0 ? 1 : options.rate);
    return made ? 0 : Complain(made.error());
  }
  auto clock = DemoClock::Open(options.clock_file);
  if (!clock) return Complain(clock.error());
  TimePoint now = (*clock)->Unskewed();
  if (!options.set.empty()) {
    const auto set = ParseRfc3339(options.set);
    if (!set) return Complain({.message = "--set must be a time such as 2026-11-22T12:00:00Z"});
    now = *set;
  }
  now += std::chrono::days(options.advance_days);
  if (options.skew_seconds) (*clock)->SetSkew(std::chrono::seconds(*options.skew_seconds));
  if (options.fail_after_step != 0) (*clock)->SetFailPoint(options.fail_after_step);
  (*clock)->Set(now, options.rate < 0 ? (*clock)->rate() : options.rate);
  std::cout << FormatRfc3339((*clock)->Now()) << "\n";
  return 0;
}

class Demo {
 public:
  explicit Demo(const Options& options) : options_(options) {}

  int Run() {
    BlockSignals();
    const double rate = std::max(options_.days_per_minute, 0.0) * 1440.0;
    auto office = DemoOffice::Start({.platform = options_.platform,
                                     .port = options_.port,
                                     .data = options_.data,
                                     .tokens_file = options_.tokens_file,
                                     .clock_rate = rate > 0 ? rate : 1});
    if (!office) return Complain(office.error());
    office_ = *std::move(office);
    int code = 0;
    if (auto played = Play(); !played) code = Complain(played.error());
    citizens_ = {};
    office_.reset();
    std::cout << "Everything that the demo started has ended.\n";
    return code;
  }

 private:
  void Welcome() const {
    const std::string address = office_->Address();
    const std::string& comms = office_->tokens().at("comms");
    std::cout << "\nMayfly is running at " << address << "\n"
              << "Its clock runs " << options_.days_per_minute
              << " days a minute, so that you can watch messages expire.\n\nTokens:\n";
    for (const auto& [role, token] : office_->tokens()) {
      std::cout << "  " << role << "  " << token << "\n";
    }
    std::cout
        << "\n1. The inbox. Each conversation shows when it dies (expires_at):\n"
        << "   curl -s -H 'Authorization: Bearer " << comms << "' '" << address
        << "/v1/conversations?limit=5'\n"
        << "2. Answer the newest message; its writer answers back:\n"
        << "   H='Authorization: Bearer " << comms << "'; U=" << address
        << "/v1; C=$(curl -s -H \"$H\" \"$U/conversations?limit=1\" | grep -o 'cnv_[0-9a-f]*' | "
           "head -1); M=$(curl -s -H \"$H\" \"$U/conversations/$C/messages?limit=1\" | grep -o "
           "'msg_[0-9]*_[0-9a-f]*' | head -1); curl -s -H \"$H\" -H 'Content-Type: "
           "application/json' -H \"Idempotency-Key: $(date +%s%N)\" -d "
           "\"{\\\"text\\\":\\\"Good morning, the table is on our website.\\\","
           "\\\"after_message_id\\\":\\\"$M\\\"}\" \"$U/conversations/$C/replies\"\n"
        << "3. What has been destroyed, with receipts:\n"
        << "   curl -s -H 'Authorization: Bearer " << office_->tokens().at("operator") << "' '"
        << address << "/v1/ops/receipts'\n"
        << "\nCtrl-C ends everything. Now watching:\n"
        << std::flush;
  }

  // What a newcomer would want to have noticed.
  void TellNews() {
    auto inbox = office_->Ask("comms", "GET", "/v1/conversations?limit=1");
    if (inbox && inbox->status == 200) {
      if (auto parsed = json::Parse(inbox->body)) {
        const json::Value* items = parsed->Find("items");
        if (items != nullptr && items->is_array() && !items->AsArray()->empty()) {
          const json::Value& newest = items->AsArray()->front();
          const std::string last = newest.String("last_message").value_or("");
          if (!last.empty() && last != last_message_) {
            last_message_ = last;
            std::cout << FormatRfc3339(office_->clock().Now()).substr(0, 16) << "  newest message "
                      << last << ", its conversation dies at "
                      << newest.String("expires_at").value_or("?") << "\n"
                      << std::flush;
          }
        }
      }
    }
    auto receipts = office_->Ask("operator", "GET", "/v1/ops/receipts?limit=200");
    if (!receipts || receipts->status != 200) return;
    auto parsed = json::Parse(receipts->body);
    if (!parsed || parsed->Find("items") == nullptr || !parsed->Find("items")->is_array()) return;
    for (const json::Value& receipt : *parsed->Find("items")->AsArray()) {
      const std::string day = receipt.String("day").value_or("");
      if (day <= last_receipt_) continue;
      last_receipt_ = day;
      std::cout << FormatRfc3339(office_->clock().Now()).substr(0, 16) << "  date " << day
                << " has ended: " << receipt.Int("messages").value_or(0)
                << " messages, keys destroyed "
                << static_cast<double>(receipt.Int("late_ms").value_or(0)) / office_->clock().rate()
                << " ms after its midnight, as time passes for you\n"
                << std::flush;
    }
  }

  // The texts of our replies that stand in the newest conversations.
  std::vector<std::string> NewestReplies() {
    std::vector<std::string> replies;
    for (const json::Value& conversation :
         DemoOffice::ItemsOf(office_->Ask("comms", "GET", kNewestConversations))) {
      const std::string thread =
          "/v1/conversations/" + conversation.String("id").value_or("") + "/messages?limit=10";
      for (const json::Value& message : DemoOffice::ItemsOf(office_->Ask("comms", "GET", thread))) {
        if (message.String("reply")) replies.push_back(message.String("text").value_or(""));
      }
    }
    return replies;
  }

  Status Play() {
    MAYFLY_RETURN_IF_ERROR(office_->StartPlatform());
    MAYFLY_RETURN_IF_ERROR(WriteHistory(office_->platform(), office_->clock()));
    MAYFLY_RETURN_IF_ERROR(office_->AwaitReady());
    MAYFLY_RETURN_IF_ERROR(office_->MakeTokens());
    MAYFLY_RETURN_IF_ERROR(office_->ConnectAccount());
    citizens_ =
        std::jthread([this](std::stop_token stop) { LetCitizensAct(office_->platform(), stop); });
    Welcome();
    while (true) {
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGINT);
      sigaddset(&signals, SIGTERM);
      sigaddset(&signals, SIGCHLD);
      const timespec second{.tv_sec = 1, .tv_nsec = 0};
      const int signal = ::sigtimedwait(&signals, nullptr, &second);
      if (signal == SIGCHLD) return Fail(ErrorCode::kUnavailable, "the service ended by itself");
      if (signal > 0) return {};
      if (office_->tokens_end() - office_->clock().Now() < kRenewTokensBefore) {
        MAYFLY_RETURN_IF_ERROR(office_->MakeTokens());
      }
      TellNews();
      ThankForReplies(office_->platform(), NewestReplies(), thanked_);
    }
  }

  const Options& options_;
  std::unique_ptr<DemoOffice> office_;
  std::string last_message_, last_receipt_;
  std::set<std::string> thanked_;
  std::jthread citizens_;
};

void AddCommands(CLI::App& app, Options& options, int& code, bool& done) {
  CLI::App* run = app.add_subcommand("run", "The service, a platform and citizens, to watch.");
  run->add_option("--port", options.port, "Port on 127.0.0.1; 0 lets the kernel choose")
      ->check(CLI::Range(0, 65'535))
      ->capture_default_str();
  const auto with_platform = [&](CLI::App* command) {
    std::vector<std::string> names;
    for (const auto* info : connectors::AllConnectors()) names.push_back(info->name);
    command->add_option("--platform", options.platform, "Which platform is simulated")
        ->check(CLI::IsMember(names))
        ->capture_default_str();
  };
  with_platform(run);
  run->add_option("--data", options.data, "Keep everything in this directory");
  run->add_option("--tokens", options.tokens_file, "Write the tokens as JSON, role to token");
  run->add_option("--days-per-minute", options.days_per_minute, "How fast the demo's clock runs")
      ->check(CLI::Range(0.0, 1'000.0))
      ->capture_default_str();
  run->callback([&] {
    code = Demo(options).Run();
    done = true;
  });
  CLI::App* tour = app.add_subcommand("tour", "What the service does, scene by scene.");
  with_platform(tour);
  tour->add_flag("--unattended", options.tour.unattended, "Wait for no key");
  tour->add_option("--word", options.tour.word, "The word to look for, instead of asking for one");
  tour->add_option("--seconds", options.tour.seconds, "How long 92 days take")
      ->check(CLI::Range(1, 120))
      ->capture_default_str();
  tour->callback([&] {
    BlockSignals();
    options.tour.platform = options.platform;
    code = RunTour(options.tour);
    done = true;
  });
  app.add_subcommand("try-to-leave", "Behind the core's filter, tries to open a connection.")
      ->callback([&] {
        code = TryToLeave();
        done = true;
      });
  CLI::App* simulate = app.add_subcommand("simulate", "A platform alone; prints its address.");
  with_platform(simulate);
  simulate->add_option("--port", options.simulator_port)->check(CLI::Range(0, 65'535));
  simulate->add_option("--clock-file", options.clock_file)->required();
  simulate->callback([&] {
    code = Simulate(options);
    done = true;
  });
  CLI::App* clock = app.add_subcommand("move-clock", "Makes, moves and shows a clock.");
  clock->add_option("--clock-file", options.clock_file)->required();
  clock->add_option("--set", options.set, "RFC 3339 time");
  clock->add_option("--advance-days", options.advance_days);
  clock->add_option("--rate", options.rate, "1 is as fast as life");
  clock->add_option("--skew-seconds", options.skew_seconds,
                    "From now on it is wrong by this much, as if somebody had set it");
  clock->add_option("--fail-after-step", options.fail_after_step,
                    "The core ends itself once, after this step of its next purge");
  clock->callback([&] {
    code = MoveClock(options);
    done = true;
  });
  for (const char* name :
       {"serve", "core", "expire", "reload", "status", "unseal", "backup", "restore", "verify"}) {
    app.get_subcommand(name)->add_option("--clock-file", options.clock_file);
  }
  for (const char* name : {"serve", "core"}) {
    app.get_subcommand(name)->add_option("--restart-delay-ms", options.restart_delay_ms,
                                         "Of core and worker, always; for tests that kill often");
  }
  app.get_subcommand("key")->get_subcommand("rotate")->add_option("--clock-file",
                                                                  options.clock_file);
  app.get_subcommand("token")->get_subcommand("create")->add_option("--clock-file",
                                                                    options.clock_file);
}

CoreHooks HooksFor(const Options& options) {
  CoreHooks hooks;
  if (options.restart_delay_ms > 0) {
    hooks.worker_restart_delay = std::chrono::milliseconds(options.restart_delay_ms);
  }
  if (options.clock_file.empty()) return hooks;
  // One mapping for the whole process, made before the sandbox; the fail point outlives the clock
  // that the core owns, because both look at the same file.
  auto shared = DemoClock::Open(options.clock_file);
  if (!shared) return hooks;
  static const std::unique_ptr<DemoClock> fail_points = *std::move(shared);
  hooks.make_clock = [file = options.clock_file]() -> std::unique_ptr<Clock> {
    auto clock = DemoClock::Open(file);
    if (!clock) {
      std::cerr << "mayfly-demo: " << clock.error().message << "\n";
      return nullptr;
    }
    return *std::move(clock);
  };
  hooks.make_boot_timer = [file = options.clock_file]() -> std::unique_ptr<BootTimer> {
    auto clock = DemoClock::Open(file);
    if (!clock) {
      std::cerr << "mayfly-demo: " << clock.error().message << "\n";
      return nullptr;
    }
    return std::make_unique<DemoBootTimer>(*std::move(clock));
  };
  hooks.kernel_keeps_time = false;
  hooks.purge_fail_point = [](store::PurgeStep step, ExpiryDay) {
    if (fail_points->TakeFailPoint(static_cast<int>(step))) ::_exit(99);
  };
  hooks.room = []() -> std::optional<store::DiskRoom> {
    const auto available = fail_points->room();
    if (!available) return std::nullopt;
    return store::DiskRoom{.available = *available, .capacity = kDiskOfTests};
  };
  // Numbered behind the steps of a purge.
  hooks.rotation_fail_point = [](store::RotationStep step) {
    if (fail_points->TakeFailPoint(100 + static_cast<int>(step))) ::_exit(99);
  };
  return hooks;
}

}  // namespace
}  // namespace mayfly::service

int main(int argc, char** argv) {
  using namespace mayfly::service;
  Options options;
  int code = 0;
  bool done = false;
  ProgramTraits traits;
  traits.name = "mayfly-demo";
  traits.extend = [&](CLI::App& app) { AddCommands(app, options, code, done); };
  traits.core_hooks = [&] { return HooksFor(options); };
  traits.core_arguments = [&] {
    std::vector<std::string> arguments;
    if (!options.clock_file.empty()) arguments = {"--clock-file", options.clock_file};
    if (options.restart_delay_ms > 0) {
      arguments.push_back("--restart-delay-ms");
      arguments.push_back(std::to_string(options.restart_delay_ms));
    }
    return arguments;
  };
  traits.core_restart_delay = [&]() -> std::optional<std::chrono::milliseconds> {
    if (options.restart_delay_ms <= 0) return std::nullopt;
    return std::chrono::milliseconds(options.restart_delay_ms);
  };
  const int result = RunCommandLine(argc, argv, traits);
  return done ? code : result;
}
