#include "service/app.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <fcntl.h>
#include <iostream>
#include <mutex>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "connectors/registry.h"
#include "service/account_runner.h"
#include "service/api/auth.h"
#include "service/disk_job.h"
#include "service/expiry/erasure_job.h"
#include "service/expiry/expiry_job.h"
#include "service/logging.h"
#include "service/master_key_source.h"
#include "service/metrics.h"
#include "service/open_store.h"
#include "service/sandbox/sandbox.h"
#include "service/search_job.h"
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
  App(Config config, std::unique_ptr<Clock> machine_clock, std::unique_ptr<BootTimer> boot_timer,
      const CoreHooks& hooks)
      : config_(std::move(config)),
        hooks_(hooks),
        machine_clock_(std::move(machine_clock)),
        boot_timer_(std::move(boot_timer)),
        clock_(*machine_clock_, *boot_timer_),
        rate_limiter_(config_.rate_limits, clock_),
        changes_(clock_),
        streams_(config_.event_streams),
        control_(kControlFd) {}

  int Run() {
    if (auto hardened = HardenProcess(); !hardened) return Refuse("harden", hardened.error());
    auto masters = LoadMasterKeys(config_);
    if (auto sandbox = EnterSandbox(); !sandbox) return Refuse("sandbox", sandbox.error());
    LoadCertificate();
    if (!masters) {
      Seal(masters.error());
    } else {
      KeepNext(*masters);
      if (auto opened = OpenStoreAndCatchUp(*std::move(masters)); !opened) {
        if (opened.error().code != ErrorCode::kSealed) return Refuse("store", opened.error());
        Seal(opened.error());
      }
    }
    if (store_ == nullptr) {
      SealedService sealed(*this);
      if (auto served = sealed.Start(); !served) return Refuse("listen", served.error());
      if (const std::optional<int> code = sealed.AwaitKey()) return *code;
      opened_by_hand_ = true;
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
    if (error.field == "passphrase") {
      health_.sealed_reason = "waiting for the passphrase: mayfly unseal";
    } else if (error.field == "keys-rolled-back") {
      health_.sealed_reason = "the key files are older than the store";
    } else {
      health_.sealed_reason = "the master key is missing or is not the one that wraps these keys";
    }
  }

  // Replacing a master key that comes as a credential takes the one that will come.
  void KeepNext(const MasterKeys& masters) {
    if (config_.key_source != KeySource::kCredential) return;
    for (const MasterKey& master : masters) {
      if (master.next) next_credential_ = store::SecretKey::FromBytes(master.key.bytes());
    }
  }

  // On an API thread; RotateMaster lets one through at a time, and so does the lock here.
  Status RotateMasterKey(const api::KeyOffer& offer, const Actor& actor) {
    const std::lock_guard lock(rotation_mutex_);
    const auto rotate = [&](const store::SecretKey& next) {
      return store_->RotateMasterKey(next, actor, clock_);
    };
    Status rotated = Fail(ErrorCode::kInternal, "no source");
    switch (config_.key_source) {
      case KeySource::kFile: {
        const auto next = MasterKeysOf(offer.master_key);
        if (!next) return Fail(ErrorCode::kInvalidArgument, "This is not a master key.");
        rotated = rotate(next->front().key);
        break;
      }
      case KeySource::kCredential:
        if (next_credential_.empty()) {
          return Fail(ErrorCode::kInvalidArgument,
                      "Give the unit the next master key as a second credential, "
                      "mayfly.master-key.next, and restart the service first.");
        }
        rotated = rotate(next_credential_);
        break;
      case KeySource::kPassphrase:
        rotated = RotatePassphrase(offer.passphrase, rotate);
        break;
    }
    Log(rotated ? LogLevel::kInfo : LogLevel::kError,
        rotated ? "master-key.rotated" : "master-key.not-rotated");
    return rotated;
  }

  template <class Rotate>
  Status RotatePassphrase(const store::Passphrase& passphrase, Rotate rotate) {
    // What an earlier try left comes first: its record must not be overwritten before the keys
    // are off it.
    if (!next_passphrase_key_.empty()) {
      MAYFLY_RETURN_IF_ERROR(rotate(next_passphrase_key_));
      MAYFLY_RETURN_IF_ERROR(store::AdoptNextPassphrase(config_.keys_dir()));
    }
    MAYFLY_ASSIGN_OR_RETURN(
        next_passphrase_key_,
        store::SetPassphrase(config_.keys_dir(), store::PassphraseRecord::kNext, passphrase, {}));
    MAYFLY_RETURN_IF_ERROR(rotate(next_passphrase_key_));
    MAYFLY_RETURN_IF_ERROR(store::AdoptNextPassphrase(config_.keys_dir()));
    next_passphrase_key_ = {};
    return {};
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

  Status OpenStoreAndCatchUp(MasterKeys masters) {
    MAYFLY_ASSIGN_OR_RETURN(OpenedStore opened,
                            OpenStore(config_, std::move(masters), /*create=*/false,
                                      hooks_.rotation_fail_point, hooks_.room));
    store_ = std::move(opened.store);
    standing_ = std::move(opened.standing);
    if (!standing_.overwriting_holds) Log(LogLevel::kError, "keys.overwriting-does-not-hold");
    if (store::UnlockedKeys() > 0) {
      std::cerr << "mayfly: keys cannot be locked into memory and may reach swap; raise the limit "
                   "of locked memory (LimitMEMLOCK=64M in the unit, ulimit -l 65536)\n";
      Log(LogLevel::kError, "keys.not-locked",
          {{LogKey::kCount, static_cast<std::int64_t>(store::UnlockedKeys())}});
      sandbox_.missing.push_back(
          "Keys are not locked into memory and may reach swap: the limit of locked memory is too "
          "low.");
    }
    changes_.OnNews([this] { streams_.Wake(); });
    store_->SetObserver(&changes_);
    MAYFLY_ASSIGN_OR_RETURN(const auto known_time, store_->LoadClock());
    clock_.Restore(known_time);
    MAYFLY_RETURN_IF_ERROR(Reconcile());
    if (hooks_.purge_fail_point) store_->purge().set_fail_point(hooks_.purge_fail_point);
    expiry_.emplace(*store_, clock_, [this] { AskKernel(); });
    search_.emplace(*store_, clock_);
    // Overdue expiry before the port opens. A date whose keys cannot be destroyed must not be
    // served as if nothing were wrong, but neither must it keep the others hidden: reads hide it by
    // itself, readyz says so, and the job tries again.
    (void)expiry_->RunOnce();
    // The same of erasures that a stop has interrupted: first the keys, before anybody reads.
    erasure_.emplace(*store_, clock_);
    (void)erasure_->RunOnce(clock_.Certain());
    MAYFLY_ASSIGN_OR_RETURN(const std::size_t interrupted,
                            store_->outbox().RecoverInterrupted(clock_.Certain()));
    if (interrupted > 0) {
      Log(LogLevel::kWarning, "outbox.interrupted",
          {{LogKey::kCount, static_cast<std::int64_t>(interrupted)}});
    }
    WorkerPoolOptions pool{.egress = config_.egress,
                           .platform_time = [this](AccountId account, TimePoint said) {
                             clock_.NotePlatform(account, said);
                           }};
    if (hooks_.worker_restart_delay) {
      pool.restart_delay_first = pool.restart_delay_max = *hooks_.worker_restart_delay;
    }
    workers_.emplace(control_, *store_, clock_, pool);
    runners_.emplace(*store_, *workers_, clock_, config_.poll_interval);
    return {};
  }

  // Before anything is ended, sent or shown: an older store must not bring back what is over.
  Status Reconcile() {
    MAYFLY_ASSIGN_OR_RETURN(const auto returned, store_->Reconcile(clock_.Certain()));
    if (!returned) return {};
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
    context_.store = store_.get();
    context_.clock = &clock_;
    context_.certain_clock = &clock_;
    context_.changes = &changes_;
    context_.streams = &streams_;
    context_.rate_limiter = &rate_limiter_;
    context_.runtime = &*runners_;
    Describe(context_);
    context_.p2_grade = ToString(standing_.grade);
    context_.p2_reason = standing_.reason;
    context_.file_system = standing_.file_system;
    context_.overwriting_holds = standing_.overwriting_holds;
    context_.rotate_master_key = [this](const api::KeyOffer& offer, const Actor& actor) {
      return RotateMasterKey(offer, actor);
    };
    if (certificates_) {
      context_.reload = [this] { return ReloadCertificate(); };
    }
    context_.metrics_text = [this] {
      return RenderMetrics(
          {.store = *store_,
           .expiry = expiry_->view(),
           .http = server_->counters(),
           .tls = certificates_ ? std::optional(certificates_->view()) : std::nullopt,
           .clock = clock_.view(),
           .now = clock_.Now()});
    };
    context_.cursor_key = store_->PageCursorKey();
    router_ = api::MakeRouter(context_);
    server_.emplace(router_, api::MakeAuthenticator(store_->tokens(), clock_), config_.limits,
                    TransportOptions());
    server_->SetReady(true);
    MAYFLY_RETURN_IF_ERROR(server_->Start(InheritedListeners(config_)));
    expiry_->Start();
    erasure_->Start();
    MAYFLY_RETURN_IF_ERROR(runners_->StartAll());
    search_->Start();
    // Another start would wait for somebody with the key, and nothing would end meanwhile: better
    // to read on, destroy keys, and be restarted when that person is there.
    disk_.emplace(
        *store_, clock_, opened_by_hand_ ? std::function<void()>() : [this] {
          reopen_asked_ = true;
          control_.Wake();
        });
    disk_->Start();
    MAYFLY_RETURN_IF_ERROR(control_.SayReady());
    Log(LogLevel::kInfo, "core.ready");
    return {};
  }

  // What is the same sealed and open.
  void Describe(api::ApiContext& context) {
    context.clock = &clock_;
    context.about = config_.about;
    context.sandbox = sandbox_;
    context.egress = config_.egress;
    context.zone_name = config_.zone_name;
    context.version = kVersion;
    context.transport = TransportOf(config_);
    if (certificates_) context.certificates = &*certificates_;
    context.health = [this] { return Health(); };
  }
  api::ServerOptions TransportOptions() {
    return {.certificates = certificates_ ? &*certificates_ : nullptr,
            .trusted_proxies = config_.trusted_proxies,
            .clock = &clock_};
  }

  api::HealthView Health() {
    api::HealthView view;
    {
      const std::lock_guard lock(health_mutex_);
      view = health_;
    }
    if (store_ == nullptr) return view;
    const TimePoint now = clock_.Now();
    // By certain time, as destruction goes: a clock in doubt has a word of its own below.
    const TimePoint certain = clock_.Certain();
    const store::Store::ExpiryView dates = store_->View(certain);
    if (!dates.due_not_destroyed.empty() &&
        certain - StartOf(dates.due_not_destroyed.front()) > kExpiryLateMax) {
      view.reasons.push_back("expiry-late");
    }
    const ExpiryJob::View expiry = expiry_->view();
    if (expiry.failing) view.reasons.push_back("expiry-failing");
    if (erasure_->view().failing) view.reasons.push_back("erasure-failing");
    if (!store_->Health()) view.reasons.push_back("store");
    if (store_->Room().stopped) view.reasons.push_back("disk-full");
    const store::ClockView clock = clock_.view();
    if (clock.wall_behind) view.reasons.push_back("clock-set-back");
    if (clock.doubt != store::ClockDoubt::kNone) view.reasons.push_back("clock-in-doubt");
    if (clock.blocked) view.reasons.push_back("clock-contradicted");
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

  // The filter does not let the core ask by itself. The answer comes to WatchControl.
  void AskKernel() {
    if (!hooks_.kernel_keeps_time) return;
    if (auto asked = control_.AskKernelClock(); !asked) {
      Log(LogLevel::kWarning, "clock.kernel-unasked");  // the supervisor is gone, and soon we are
    }
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
      if (const std::optional<int> code = HandleControl(*event)) return *code;
    }
  }

  // The exit code when this is the end.
  std::optional<int> HandleControl(ControlClient::Event& event) {
    if (auto* started = std::get_if<ControlClient::WorkerStarted>(&event)) {
      if (workers_) {
        workers_->OnStarted(std::move(*started));
      } else {
        ::close(started->pipes.to_worker);
        ::close(started->pipes.from_worker);
      }
    } else if (auto* ended = std::get_if<ControlClient::WorkerEnded>(&event)) {
      if (workers_) workers_->OnEnded(*ended);
    } else if (const auto* kernel = std::get_if<ControlClient::KernelClock>(&event)) {
      clock_.NoteKernel(kernel->synchronised);
    } else if (std::holds_alternative<ControlClient::ReloadAsked>(event)) {
      if (certificates_) {
        (void)ReloadCertificate();  // it has told what went wrong
      } else {
        Log(LogLevel::kInfo, "tls.nothing-to-reload");
      }
    } else if (std::holds_alternative<ControlClient::Woken>(event)) {
      if (reopen_asked_) return kExitReopen;
    } else if (std::holds_alternative<ControlClient::DrainAsked>(event) ||
               std::holds_alternative<ControlClient::SupervisorGone>(event)) {
      return 0;  // asked to drain, or the supervisor is gone: the same orderly end
    }
    return std::nullopt;
  }

  void Stop() {
    Log(LogLevel::kInfo, "core.draining");
    server_->Drain(config_.drain_deadline / 2);
    if (runners_) runners_->Stop();
    if (disk_) disk_->Stop();
    if (search_) search_->Stop();
    if (expiry_) expiry_->Stop();
    if (erasure_) erasure_->Stop();
    if (store_ != nullptr) {
      if (auto saved = store_->SaveClock(clock_.Record()); !saved) {
        Log(LogLevel::kError, "clock.not-stored", {{LogKey::kError, ToString(saved.error().code)}});
      }
    }
    runners_.reset();
    workers_.reset();
    server_.reset();
    erasure_.reset();
    disk_.reset();
    search_.reset();
    expiry_.reset();
    store_.reset();
    Log(LogLevel::kInfo, "core.stopped");
  }

  // The service while it has no master key: health, and a door for the key. It listens through
  // copies of the descriptors, so that the real service begins with everything as it was started.
  class SealedService {
   public:
    explicit SealedService(App& app) : app_(app), passphrase_fd_(app.hooks_.passphrase_fd) {
      line_.reserve(store::kPassphraseBytesMax + 1);
    }
    ~SealedService() {
      WipeString(line_);
      FailPending();
      if (server_) server_->Drain(app_.config_.drain_deadline / 2);
    }

    Status Start() {
      app_.Describe(context_);
      // Not App::Health: the store may be opened on the main thread while somebody asks.
      context_.health = [this] {
        const std::lock_guard lock(app_.health_mutex_);
        return app_.health_;
      };
      context_.p2_grade = ToString(StandingOf(app_.config_, {}).grade);
      context_.unseal = [this](const api::KeyOffer& offer) { return Offer(offer); };
      router_ = api::MakeRouter(context_);
      server_.emplace(
          router_,
          [](const api::Request& request) -> Result<Actor> {
            if (request.admin_socket) return Actor{.id = "cli"};
            return Fail(ErrorCode::kNotFound, "sealed: nobody is known");
          },
          app_.config_.limits, app_.TransportOptions());
      std::vector<api::Listener> listeners = InheritedListeners(app_.config_);
      for (api::Listener& listener : listeners) {
        listener.fd = ::fcntl(listener.fd, F_DUPFD_CLOEXEC, 0);
      }
      MAYFLY_RETURN_IF_ERROR(server_->Start(std::move(listeners)));
      MAYFLY_RETURN_IF_ERROR(app_.control_.SayReady());
      Log(LogLevel::kInfo, "core.ready-sealed");
      return {};
    }

    // The main thread until the store is open (nothing) or the core is to end (its exit code).
    std::optional<int> AwaitKey() {
      while (true) {
        auto event = app_.control_.Next(passphrase_fd_);
        if (!event) {
          Log(LogLevel::kError, "control.refused",
              {{LogKey::kError, ToString(event.error().code)}});
          return 1;
        }
        if (std::holds_alternative<ControlClient::OtherReadable>(*event)) {
          ReadPassphraseLine();
        } else if (!std::holds_alternative<ControlClient::Woken>(*event)) {
          if (const std::optional<int> code = app_.HandleControl(*event)) return code;
        }
        if (std::optional<Error> fatal = TryPending()) return Refuse("store", *fatal);
        if (app_.store_ != nullptr) return std::nullopt;
      }
    }

   private:
    // On an API thread. The main thread opens the store and says how it went.
    Status Offer(const api::KeyOffer& offer) {
      const std::lock_guard one(offer_mutex_);
      MAYFLY_ASSIGN_OR_RETURN(MasterKeys masters,
                              !offer.master_key.empty()
                                  ? MasterKeysOf(offer.master_key)
                                  : MasterKeysOf(app_.config_, offer.passphrase));
      std::unique_lock lock(pending_mutex_);
      if (closed_) return Fail(ErrorCode::kUnavailable, "the service stops");
      pending_ = std::move(masters);
      answer_.reset();
      app_.control_.Wake();
      answered_.wait(lock, [&] { return answer_.has_value(); });
      return *answer_;
    }

    // On the main thread. An error here is one for which no master key is to blame.
    std::optional<Error> TryPending() {
      std::optional<MasterKeys> masters;
      {
        const std::lock_guard lock(pending_mutex_);
        masters.swap(pending_);
      }
      if (!masters) return std::nullopt;
      const Status opened = app_.OpenStoreAndCatchUp(*std::move(masters));
      if (!opened && opened.error().code == ErrorCode::kSealed) app_.Seal(opened.error());
      Answer(opened);
      if (opened) {
        const std::lock_guard lock(app_.health_mutex_);
        app_.health_ = {};
        return std::nullopt;
      }
      if (opened.error().code == ErrorCode::kSealed) return std::nullopt;
      return opened.error();
    }

    void Answer(const Status& status) {
      const std::lock_guard lock(pending_mutex_);
      answer_ = status;
      answered_.notify_all();
    }

    void FailPending() {
      const std::lock_guard lock(pending_mutex_);
      closed_ = true;
      if (!pending_) return;
      pending_.reset();
      answer_ = Fail(ErrorCode::kUnavailable, "the service stops");
      answered_.notify_all();
    }

    // One line, as much of it as is there; a whole one is tried.
    void ReadPassphraseLine() {
      char byte = 0;
      const ssize_t got = ::read(passphrase_fd_, &byte, 1);
      if (got < 0 && errno == EINTR) return;
      if (got <= 0) {
        ::close(passphrase_fd_);
        passphrase_fd_ = -1;
        if (line_.empty()) return;
      } else if (byte != '\n' && line_.size() < store::kPassphraseBytesMax) {
        line_.push_back(byte);
        return;
      }
      const store::Passphrase passphrase(line_);
      WipeString(line_);
      line_.reserve(store::kPassphraseBytesMax + 1);
      auto masters = MasterKeysOf(app_.config_, passphrase);
      if (!masters) return app_.Seal(masters.error());
      const std::lock_guard lock(pending_mutex_);
      pending_ = *std::move(masters);
    }

    App& app_;
    int passphrase_fd_;
    std::string line_;
    api::ApiContext context_;
    api::Router router_;
    std::mutex offer_mutex_;  // one offer at a time: each costs memory
    std::mutex pending_mutex_;
    std::condition_variable answered_;
    std::optional<MasterKeys> pending_;
    std::optional<Status> answer_;
    bool closed_ = false;
    std::optional<api::Server> server_;  // last: its threads use what is above
  };

  const Config config_;
  const CoreHooks& hooks_;
  const std::unique_ptr<Clock> machine_clock_;
  const std::unique_ptr<BootTimer> boot_timer_;
  store::CertainClock clock_;
  api::RateLimiter rate_limiter_;
  api::ChangeFeed changes_;
  api::EventStreams streams_;
  ControlClient control_;
  SandboxReport sandbox_;
  std::mutex health_mutex_;
  api::HealthView health_;
  std::unique_ptr<store::Store> store_;
  P2Standing standing_;
  store::SecretKey next_credential_;
  std::mutex rotation_mutex_;
  store::SecretKey next_passphrase_key_;  // of a change of passphrase that did not reach its end
  std::optional<ExpiryJob> expiry_;
  std::optional<ErasureJob> erasure_;
  std::optional<SearchJob> search_;
  bool opened_by_hand_ = false;  // somebody gave the master key after the start
  std::atomic<bool> reopen_asked_{false};
  std::optional<DiskJob> disk_;
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
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of that file
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
  std::unique_ptr<BootTimer> boot_timer =
      hooks.make_boot_timer ? hooks.make_boot_timer() : std::make_unique<SystemBootTimer>();
  if (boot_timer == nullptr) return kExitConfig;
  StartLogging(*clock, "core");
  App app(*std::move(config), std::move(clock), std::move(boot_timer), hooks);
  return app.Run();
}

}  // namespace mayfly::service
