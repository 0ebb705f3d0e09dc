#include "service/app.h"

#include <atomic>
#include <csignal>
#include <iostream>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "connectors/registry.h"
#include "service/account_runner.h"
#include "service/api/auth.h"
#include "service/expiry/expiry_job.h"
#include "service/logging.h"
#include "service/metrics.h"
#include "service/open_store.h"
#include "service/sandbox/sandbox.h"
#include "service/supervisor/control_client.h"
#include "service/version.h"
#include "store/expiry/certain_clock.h"

namespace mayfly::service {
namespace {

// How late a date may be before the service calls itself not ready.
constexpr std::chrono::minutes kExpiryLateMax{5};

std::vector<api::Listener> InheritedListeners(const Config& config) {
  std::vector<api::Listener> listeners;
  listeners.push_back({.fd = kAdminListenFd, .unix_socket = true, .admin = true});
  int fd = kListenFdFirst;
  for (const ListenAddress& address : config.listen) {
    listeners.push_back({.fd = fd++,
                         .unix_socket = !address.unix_path.empty(),
                         .tls = address.tls,
                         .proxies_only = address.proxies_only});
  }
  return listeners;
}

api::Transport TransportOf(const Config& config) {
  if (config.tls) return api::Transport::kTls;
  if (!config.trusted_proxies.empty()) return api::Transport::kTrustedProxies;
  return api::Transport::kLocal;
}

class App {
 public:
  App(Config config, std::unique_ptr<Clock> machine_clock, const CoreHooks& hooks)
      : config_(std::move(config)),
        hooks_(hooks),
        machine_clock_(std::move(machine_clock)),
        clock_(*machine_clock_),
        rate_limiter_(config_.rate_limits, clock_),
        changes_(clock_),
        control_(kControlFd) {}

  int Run() {
    if (auto hardened = HardenProcess(); !hardened) return Refuse("harden", hardened.error());
    auto master = store::LoadMasterKey(config_.master_key);
    if (auto sandbox = EnterSandbox(); !sandbox) return Refuse("sandbox", sandbox.error());
    if (!master) {
      Seal(master.error());
    } else if (auto opened = OpenStoreAndCatchUp(*std::move(master)); !opened) {
      if (opened.error().code != ErrorCode::kSealed) return Refuse("store", opened.error());
      Seal(opened.error());
    }
    if (auto served = Serve(); !served) return Refuse("listen", served.error());
    const int code = WatchControl();
    Stop();
    return code;
  }

 private:
  static int Refuse(const char* step, const Error& error) {
    // For the operator at the terminal: our own sentence, which names the file and the remedy.
    std::cerr << "mayfly: cannot start (" << step << "): " << error.message << "\n";
    Log(LogLevel::kError, "core.not-started",
        {{LogKey::kReason, step}, {LogKey::kError, ToString(error.code)}});
    return error.code == ErrorCode::kInvalidArgument ? kExitConfig : 1;
  }

  void Seal(const Error& error) {
    std::cerr << "mayfly: sealed: " << error.message << "\n";
    Log(LogLevel::kError, "core.sealed", {{LogKey::kError, ToString(error.code)}});
    const std::lock_guard lock(health_mutex_);
    health_.sealed = true;
    health_.sealed_reason = "the master key is missing or is not the one that wraps these keys";
  }

  Status EnterSandbox() {
    CoreSandboxOptions options{
        .read_write = {config_.data_dir},
        .read_only = {config_.file, "/usr/share/zoneinfo", "/etc/localtime", "/usr/lib", "/lib",
                      "/lib64", "/proc/self", "/dev/null", "/dev/urandom"}};
    if (config_.tls) {
      for (auto& directory : api::TlsDirectories(*config_.tls)) {
        if (MayBeReadWhole(directory, config_)) options.read_only.push_back(std::move(directory));
      }
    }
    auto report = EnterCoreSandbox(options);
    if (report) {
      sandbox_ = *report;
      return {};
    }
    if (config_.sandbox_required) return Fail(report.error());
    sandbox_.missing.push_back("the sandbox is switched off by [sandbox] required = false");
    Log(LogLevel::kError, "core.sandbox-missing");
    return {};
  }

  Status OpenStoreAndCatchUp(store::SecretKey master) {
    MAYFLY_ASSIGN_OR_RETURN(store_, OpenStore(config_, std::move(master), /*create=*/false));
    store_->SetObserver(&changes_);
    MAYFLY_ASSIGN_OR_RETURN(const TimePoint floor, store_->ClockFloor());
    clock_.RaiseFloor(floor);
    MAYFLY_RETURN_IF_ERROR(Reconcile());
    if (hooks_.purge_fail_point) store_->purge().set_fail_point(hooks_.purge_fail_point);
    expiry_.emplace(*store_, clock_);
    // Overdue expiry before the port opens. A date whose keys cannot be destroyed must not be
    // served as if nothing were wrong, but neither must it keep the others hidden: reads hide it by
    // itself, readyz says so, and the job tries again.
    (void)expiry_->RunOnce(clock_.Now());
    MAYFLY_ASSIGN_OR_RETURN(const std::size_t interrupted,
                            store_->outbox().RecoverInterrupted(clock_.Now()));
    if (interrupted > 0) {
      Log(LogLevel::kWarning, "outbox.interrupted",
          {{LogKey::kCount, static_cast<std::int64_t>(interrupted)}});
    }
    WorkerPoolOptions pool{.egress = config_.egress};
    if (hooks_.worker_restart_delay) {
      pool.restart_delay_first = pool.restart_delay_max = *hooks_.worker_restart_delay;
    }
    workers_.emplace(control_, *store_, clock_, pool);
    runners_.emplace(*store_, *workers_, clock_, config_.poll_interval);
    return {};
  }

  // Before anything is ended, sent or shown: an older store must not bring back what is over.
  Status Reconcile() {
    MAYFLY_ASSIGN_OR_RETURN(const auto returned, store_->Reconcile(clock_.Now()));
    if (!returned) return {};
    MAYFLY_ASSIGN_OR_RETURN(const TimePoint floor, store_->ClockFloor());
    clock_.RaiseFloor(floor);
    Log(LogLevel::kWarning, "store.returned",
        {{LogKey::kCount, static_cast<std::int64_t>(returned->replies_in_doubt)}});
    return {};
  }

  // A pair that is not usable closes the TLS addresses and nothing else: expiry must not depend on
  // the renewal of a certificate. `mayfly serve` has refused to start with one before.
  void LoadCertificate() {
    if (!config_.tls) return;
    certificates_.emplace(*config_.tls);
    if (auto loaded = certificates_->Load(clock_.Now()); !loaded) {
      std::cerr << "mayfly: no TLS: " << loaded.error().message << "\n";
      Log(LogLevel::kError, "tls.not-loaded", {{LogKey::kError, ToString(loaded.error().code)}});
    }
  }

  // On an API thread or the main one.
  Status ReloadCertificate() {
    const Status reloaded = certificates_->Reload(clock_.Now());
    if (reloaded) {
      Log(LogLevel::kInfo, "tls.reloaded");
    } else {
      std::cerr << "mayfly: the certificate in use stays: " << reloaded.error().message << "\n";
      Log(LogLevel::kError, "tls.reload-failed",
          {{LogKey::kError, ToString(reloaded.error().code)}});
    }
    return reloaded;
  }

  Status Serve() {
    LoadCertificate();
    context_.store = store_.get();
    context_.clock = &clock_;
    context_.changes = &changes_;
    context_.rate_limiter = &rate_limiter_;
    context_.runtime = runners_ ? &*runners_ : nullptr;
    context_.about = config_.about;
    context_.sandbox = sandbox_;
    context_.insecure_loopback = config_.egress.insecure_loopback;
    context_.zone_name = config_.zone_name;
    context_.version = kVersion;
    context_.transport = TransportOf(config_);
    if (certificates_) {
      context_.certificates = &*certificates_;
      context_.reload = [this] { return ReloadCertificate(); };
    }
    context_.health = [this] { return Health(); };
    context_.metrics_text = [this] {
      return RenderMetrics(
          {.store = *store_,
           .expiry = expiry_->view(),
           .http = server_->counters(),
           .tls = certificates_ ? std::optional(certificates_->view()) : std::nullopt,
           .now = clock_.Now()});
    };
    if (store_ != nullptr) context_.cursor_key = store_->PageCursorKey();
    router_ = api::MakeRouter(context_);
    api::Authenticator authenticate = [](const api::Request&) -> Result<Actor> {
      return Fail(ErrorCode::kNotFound, "sealed: nobody is known");
    };
    if (store_ != nullptr) authenticate = api::MakeAuthenticator(store_->tokens(), clock_);
    server_.emplace(router_, std::move(authenticate), config_.limits,
                    api::ServerOptions{.certificates = context_.certificates,
                                       .trusted_proxies = config_.trusted_proxies,
                                       .clock = &clock_});
    server_->SetReady(store_ != nullptr);
    MAYFLY_RETURN_IF_ERROR(server_->Start(InheritedListeners(config_)));
    if (store_ != nullptr) {
      expiry_->Start();
      MAYFLY_RETURN_IF_ERROR(runners_->StartAll());
    }
    MAYFLY_RETURN_IF_ERROR(control_.SayReady());
    Log(LogLevel::kInfo, store_ != nullptr ? "core.ready" : "core.ready-sealed");
    return {};
  }

  api::HealthView Health() {
    api::HealthView view;
    {
      const std::lock_guard lock(health_mutex_);
      view = health_;
    }
    if (store_ == nullptr) return view;
    const TimePoint now = clock_.Now();
    const store::Store::ExpiryView dates = store_->View(now);
    if (!dates.due_not_destroyed.empty() &&
        now - StartOf(dates.due_not_destroyed.front()) > kExpiryLateMax) {
      view.reasons.push_back("expiry-late");
    }
    const ExpiryJob::View expiry = expiry_->view();
    if (expiry.failing) view.reasons.push_back("expiry-failing");
    if (!store_->Health()) view.reasons.push_back("store");
    if (machine_clock_->Now() + std::chrono::minutes(10) < now)
      view.reasons.push_back("clock-set-back");
    if (certificates_) {
      const auto expires_at = certificates_->view().expires_at;
      if (!expires_at) {
        view.reasons.push_back("certificate-missing");
      } else if (*expires_at <= now) {
        view.reasons.push_back("certificate-expired");
      }
    }
    view.last_expiry_run_at = expiry.last_run_at;
    view.next_expiry_at = expiry.next_expiry_at;
    view.ready = view.reasons.empty();
    return view;
  }

  // The main thread from here on: what the supervisor says.
  int WatchControl() {
    while (true) {
      auto event = control_.Next();
      if (!event) {
        // Somebody handed us what must never be here. Nothing of it was kept; go down in order.
        Log(LogLevel::kError, "control.refused", {{LogKey::kError, ToString(event.error().code)}});
        return 1;
      }
      if (auto* started = std::get_if<ControlClient::WorkerStarted>(&*event)) {
        if (workers_) {
          workers_->OnStarted(std::move(*started));
        } else {
          ::close(started->pipes.to_worker);
          ::close(started->pipes.from_worker);
        }
      } else if (auto* ended = std::get_if<ControlClient::WorkerEnded>(&*event)) {
        if (workers_) workers_->OnEnded(*ended);
      } else if (std::holds_alternative<ControlClient::ReloadAsked>(*event)) {
        if (certificates_) {
          (void)ReloadCertificate();  // it has told what went wrong
        } else {
          Log(LogLevel::kInfo, "tls.nothing-to-reload");
        }
      } else {
        return 0;  // asked to drain, or the supervisor is gone: the same orderly end
      }
    }
  }

  void Stop() {
    Log(LogLevel::kInfo, "core.draining");
    server_->Drain(config_.drain_deadline / 2);
    if (runners_) runners_->Stop();
    if (expiry_) expiry_->Stop();
    if (store_ != nullptr) {
      if (auto raised = store_->RaiseClockFloor(clock_.Now()); !raised) {
        Log(LogLevel::kError, "clock.floor-not-stored",
            {{LogKey::kError, ToString(raised.error().code)}});
      }
    }
    runners_.reset();
    workers_.reset();
    server_.reset();
    expiry_.reset();
    store_.reset();
    Log(LogLevel::kInfo, "core.stopped");
  }

  const Config config_;
  const CoreHooks& hooks_;
  const std::unique_ptr<Clock> machine_clock_;
  store::MonotoneClock clock_;
  api::RateLimiter rate_limiter_;
  api::ChangeFeed changes_;
  ControlClient control_;
  SandboxReport sandbox_;
  std::mutex health_mutex_;
  api::HealthView health_;
  std::unique_ptr<store::Store> store_;
  std::optional<ExpiryJob> expiry_;
  std::optional<WorkerPool> workers_;
  std::optional<AccountRunners> runners_;
  api::ApiContext context_;
  api::Router router_;
  std::optional<api::TlsCertificates> certificates_;
  std::optional<api::Server> server_;
};

}  // namespace

int RunCore(const std::filesystem::path& config_file, const CoreHooks& hooks) {
  std::signal(SIGPIPE, SIG_IGN);
  // The supervisor decides when to stop; a Ctrl-C at the terminal reaches all of us.
  std::signal(SIGINT, SIG_IGN);
  ::umask(077);
  struct stat control {};
  if (::fstat(kControlFd, &control) != 0 || !S_ISSOCK(control.st_mode)) {
    std::cerr << "mayfly core is started by `mayfly serve`, not by hand\n";
    return kExitConfig;
  }
  auto config = LoadConfig(config_file);
  if (!config) {
    std::cerr << config.error().message << "\n";
    return kExitConfig;
  }
  std::unique_ptr<Clock> clock =
      hooks.make_clock ? hooks.make_clock() : std::make_unique<SystemClock>();
  if (clock == nullptr) return kExitConfig;
  StartLogging(*clock, "core");
  App app(*std::move(config), std::move(clock), hooks);
  return app.Run();
}

}  // namespace mayfly::service
