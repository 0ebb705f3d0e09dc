#include "service/ingest/worker_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "service/logging.h"

namespace mayfly::service {
namespace {

using Steady = std::chrono::steady_clock;

std::chrono::milliseconds Delay(const WorkerPoolOptions& options, std::uint32_t ends_in_row) {
  std::chrono::milliseconds delay = options.restart_delay_first;
  for (std::uint32_t i = 1; i < ends_in_row && delay < options.restart_delay_max; ++i) delay *= 2;
  return std::min(delay, options.restart_delay_max);
}

}  // namespace

WorkerPool::WorkerPool(ControlClient& control, store::Store& store, const Clock& clock,
                       const WorkerPoolOptions& options)
    : control_(control), store_(store), clock_(clock), options_(options) {
  // Epochs of an earlier incarnation of the core must not be met again.
  next_epoch_ = static_cast<std::uint64_t>(clock.Now().time_since_epoch().count());
}

WorkerPool::~WorkerPool() { Stop(); }

Result<std::shared_ptr<WorkerLink>> WorkerPool::Acquire(const Account& account,
                                                        std::stop_token stop) {
  std::uint64_t epoch = 0;
  std::optional<Credential> credential;
  std::shared_ptr<WorkerLink> broken;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return Fail(ErrorCode::kUnavailable, "the service is stopping");
    Entry& entry = entries_[account.id];
    if (entry.link != nullptr && !entry.link->broken()) return entry.link;
    if (entry.link != nullptr) {
      // Its frames can no longer be trusted; the process goes too, and its end is counted when the
      // supervisor reports it.
      broken = std::move(entry.link);
      entry.link.reset();
      ++entry.ends_in_row;
      entry.not_before = Steady::now() + Delay(options_, entry.ends_in_row);
      epoch = entry.epoch;
      entry.epoch = 0;
    }
  }
  if (broken != nullptr) {
    MAYFLY_RETURN_IF_ERROR(control_.StopWorker(account.id, epoch));
    broken.reset();
  }
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[account.id];
    const auto wait = entry.not_before - Steady::now();
    if (wait > Steady::duration::zero()) {
      return Fail(Error{.code = ErrorCode::kUnavailable,
                        .message = "the worker ended; it starts again after a delay",
                        .retry_after = std::chrono::ceil<std::chrono::milliseconds>(wait)});
    }
    epoch = next_epoch_++;
    entry.epoch = epoch;
    entry.starting = true;
    if (entry.trial != nullptr) credential = *entry.trial;
  }
  if (!credential) {
    MAYFLY_ASSIGN_OR_RETURN(credential, store_.accounts().RevealCredential(account.id));
  }
  MAYFLY_RETURN_IF_ERROR(control_.StartWorker(account.id, epoch));

  std::shared_ptr<WorkerLink> link;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, options_.start_deadline, [&] {
      const Entry& entry = entries_[account.id];
      return stopping_ || entry.epoch != epoch || !entry.starting || entry.link != nullptr;
    });
    Entry& entry = entries_[account.id];
    if (stopping_ || stop.stop_requested()) {
      return Fail(ErrorCode::kUnavailable, "the service is stopping");
    }
    if (entry.epoch != epoch || entry.link == nullptr) {
      entry.starting = false;
      return Fail(ErrorCode::kUnavailable, "the worker did not start");
    }
    link = entry.link;
  }
  auto hello = link->Hello(account.platform, {.options = account.options,
                                              .credential = *std::move(credential),
                                              .renew = nullptr,
                                              .egress = options_.egress});
  if (!hello) return Fail(std::move(hello).error());
  Log(LogLevel::kInfo, "worker.ready",
      {{LogKey::kAccount, account.id.ToString()},
       {LogKey::kPlatform, account.platform},
       {LogKey::kEpoch, static_cast<std::int64_t>(epoch)}});
  return link;
}

Result<WorkerPool::Trial> WorkerPool::Try(const Account& account, Credential credential) {
  const auto trial = std::make_shared<Credential>(std::move(credential));
  {
    const std::lock_guard lock(mutex_);
    entries_[account.id].trial = trial;
  }
  const auto link = Acquire(account, std::stop_token());
  Result<connectors::CheckReport> report =
      link ? (*link)->Check() : Result<connectors::CheckReport>(Fail(link.error()));
  Release(account.id);
  if (!report) return Fail(std::move(report).error());
  const std::lock_guard lock(mutex_);
  return Trial{.report = *std::move(report), .credential = *trial};
}

std::shared_ptr<WorkerLink> WorkerPool::Current(AccountId account) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(account);
  if (found == entries_.end() || found->second.link == nullptr) return nullptr;
  return found->second.link->broken() ? nullptr : found->second.link;
}

void WorkerPool::CountAnswer(AccountId account) {
  const std::lock_guard lock(mutex_);
  entries_[account].ends_in_row = 0;
}

bool WorkerPool::InCrashLoop(AccountId account) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(account);
  return found != entries_.end() && found->second.ends_in_row >= options_.crash_loop_after;
}

void WorkerPool::Release(AccountId account) {
  std::shared_ptr<WorkerLink> link;
  std::uint64_t epoch = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(account);
    if (found == entries_.end()) return;
    link = std::move(found->second.link);
    epoch = found->second.epoch;
    entries_.erase(found);
  }
  changed_.notify_all();
  if (link != nullptr) link->Abort();
  if (epoch != 0) {
    if (auto stopped = control_.StopWorker(account, epoch); !stopped) {
      // The supervisor is gone; the worker ends with its pipe.
      Log(LogLevel::kWarning, "worker.stop-unasked", {{LogKey::kAccount, account.ToString()}});
    }
  }
}

void WorkerPool::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [account, entry] : entries_) {
      if (entry.link != nullptr) entry.link->Abort();
    }
  }
  changed_.notify_all();
}

void WorkerPool::OnStarted(ControlClient::WorkerStarted started) {
  const AccountId account = started.account;
  const std::uint64_t epoch = started.pipes.epoch;
  std::shared_ptr<Credential> trial;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(account);
    if (found != entries_.end() && found->second.epoch == epoch) trial = found->second.trial;
  }
  auto link = std::make_shared<WorkerLink>(
      started.pipes, [this, account, trial](const Credential& renewed) -> Status {
        if (trial == nullptr) {
          return store_.accounts().ReplaceCredential(account, renewed, clock_.Now());
        }
        const std::lock_guard lock(mutex_);
        *trial = renewed;
        return {};
      });
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(account);
    // A late answer to a question nobody asks any more: the link dies here and the worker with it.
    if (found == entries_.end() || found->second.epoch != epoch || stopping_) return;
    found->second.link = std::move(link);
    found->second.starting = false;
  }
  changed_.notify_all();
}

void WorkerPool::OnEnded(const ControlClient::WorkerEnded& ended) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(ended.account);
    if (found == entries_.end() || found->second.epoch != ended.epoch) return;
    Entry& entry = found->second;
    entry.link.reset();
    entry.starting = false;
    entry.epoch = 0;
    ++entry.ends_in_row;
    entry.not_before = Steady::now() + Delay(options_, entry.ends_in_row);
  }
  changed_.notify_all();
  Log(LogLevel::kWarning, "worker.ended",
      {{LogKey::kAccount, ended.account.ToString()},
       {LogKey::kExit, ended.exit_code},
       {LogKey::kSignal, ended.signal}});
}

}  // namespace mayfly::service
