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

Error Stopping() { return {.code = ErrorCode::kUnavailable, .message = "the service is stopping"}; }

Error OnTrial() {
  return {.code = ErrorCode::kUnavailable, .message = "a new credential of the account is tried"};
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
  return AcquireFor(nullptr, account, std::move(stop));
}

Result<std::shared_ptr<WorkerLink>> WorkerPool::AcquireFor(const TrialCredential& trial,
                                                           const Account& account,
                                                           std::stop_token stop) {
  std::uint64_t epoch = 0;
  std::uint64_t epoch_before = 0;
  std::shared_ptr<WorkerLink> broken;
  Steady::duration wait{};
  {
    std::unique_lock lock(mutex_);
    // One brings it up for all: before it is greeted a worker does nothing for anybody.
    changed_.wait(lock, stop, [&] {
      const Entry& entry = entries_[account.id];
      return stopping_ || entry.trial != trial || !entry.starting;
    });
    if (stopping_ || stop.stop_requested()) return Fail(Stopping());
    Entry& entry = entries_[account.id];
    if (entry.trial != trial) return Fail(OnTrial());
    if (entry.link != nullptr && !entry.link->broken()) return entry.link;
    if (entry.link != nullptr) {
      // Its frames can no longer be trusted; the process goes too, and its end is counted here.
      broken = std::move(entry.link);
      entry.link.reset();
      ++entry.ends_in_row;
      entry.not_before = Steady::now() + Delay(options_, entry.ends_in_row);
      epoch_before = std::exchange(entry.epoch, 0);
    }
    wait = entry.not_before - Steady::now();
    if (wait <= Steady::duration::zero()) {
      epoch = entry.epoch = next_epoch_++;
      entry.starting = true;
    }
  }
  if (broken != nullptr) {
    EndWorker(account.id, epoch_before);
    broken.reset();
  }
  if (epoch == 0) {
    return Fail(Error{.code = ErrorCode::kUnavailable,
                      .message = "the worker ended; it starts again after a delay",
                      .retry_after = std::chrono::ceil<std::chrono::milliseconds>(wait)});
  }
  auto link = Start(trial, account, epoch, std::move(stop));
  {
    const std::lock_guard lock(mutex_);
    if (Entry* const entry = EntryOf(account.id, epoch)) entry->starting = false;
  }
  changed_.notify_all();
  return link;
}

Result<std::shared_ptr<WorkerLink>> WorkerPool::Start(const TrialCredential& trial,
                                                      const Account& account, std::uint64_t epoch,
                                                      std::stop_token stop) {
  std::optional<Credential> credential;
  if (trial == nullptr) {
    MAYFLY_ASSIGN_OR_RETURN(credential, store_.accounts().RevealCredential(account.id));
  } else {
    const std::lock_guard lock(mutex_);
    credential = *trial;
  }
  MAYFLY_RETURN_IF_ERROR(control_.StartWorker(account.id, epoch));

  std::shared_ptr<WorkerLink> link;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, options_.start_deadline, [&] {
      const Entry* const entry = EntryOf(account.id, epoch);
      return stopping_ || entry == nullptr || entry->link != nullptr;
    });
    if (stopping_ || stop.stop_requested()) return Fail(Stopping());
    if (const Entry* const entry = EntryOf(account.id, epoch)) link = entry->link;
  }
  if (link == nullptr) return Fail(ErrorCode::kUnavailable, "the worker did not start");
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

// The account's entry, while the worker asked for last is this one.
WorkerPool::Entry* WorkerPool::EntryOf(AccountId account, std::uint64_t epoch) {
  const auto found = entries_.find(account);
  return found != entries_.end() && found->second.epoch == epoch ? &found->second : nullptr;
}

Result<Account> WorkerPool::Try(const Account& account, Credential credential, const Keep& keep) {
  const auto trial = std::make_shared<Credential>(std::move(credential));
  if (!HandOver(account.id, nullptr, trial)) return Fail(OnTrial());
  const auto link = AcquireFor(trial, account, std::stop_token());
  Result<connectors::CheckReport> report =
      link ? (*link)->Check() : Result<connectors::CheckReport>(Fail(link.error()));
  HandOver(account.id, trial, trial);  // ends the worker
  Result<Account> kept = report ? keep(Tried(*std::move(report), trial))
                                : Result<Account>(Fail(std::move(report).error()));
  HandOver(account.id, trial, nullptr);
  return kept;
}

WorkerPool::Trial WorkerPool::Tried(connectors::CheckReport report,
                                    const TrialCredential& trial) const {
  const std::lock_guard lock(mutex_);
  return {.report = std::move(report), .credential = *trial};
}

bool WorkerPool::HandOver(AccountId account, const TrialCredential& from,
                          const TrialCredential& to) {
  std::shared_ptr<WorkerLink> link;
  std::uint64_t epoch = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(account);
    if (found != entries_.end()) {
      if (found->second.trial != from) return false;
      link = std::move(found->second.link);
      epoch = found->second.epoch;
      entries_.erase(found);
    }
    if (to != nullptr) entries_[account].trial = to;
  }
  changed_.notify_all();
  if (link != nullptr) link->Abort();
  if (epoch != 0) EndWorker(account, epoch);
  return true;
}

void WorkerPool::EndWorker(AccountId account, std::uint64_t epoch) {
  if (auto stopped = control_.StopWorker(account, epoch); !stopped) {
    // The supervisor is gone; the worker ends with its pipe.
    Log(LogLevel::kWarning, "worker.stop-unasked", {{LogKey::kAccount, account.ToString()}});
  }
}

std::shared_ptr<WorkerLink> WorkerPool::Current(AccountId account) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(account);
  if (found == entries_.end()) return nullptr;
  const Entry& entry = found->second;
  const bool usable = entry.link != nullptr && !entry.link->broken();
  return usable && !entry.starting && entry.trial == nullptr ? entry.link : nullptr;
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

void WorkerPool::Release(AccountId account) { HandOver(account, nullptr, nullptr); }

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
  TrialCredential trial;
  {
    const std::lock_guard lock(mutex_);
    if (const Entry* const entry = EntryOf(account, epoch)) trial = entry->trial;
  }
  auto link = std::make_shared<WorkerLink>(
      started.pipes,
      [this, account, trial](const Credential& renewed) -> Status {
        if (trial == nullptr) {
          return store_.accounts().ReplaceCredential(account, renewed, clock_.Now());
        }
        const std::lock_guard lock(mutex_);
        *trial = renewed;
        return {};
      },
      LinkLimits{},
      [this, account](TimePoint said) {
        if (options_.platform_time) options_.platform_time(account, said);
      });
  {
    const std::lock_guard lock(mutex_);
    Entry* const entry = EntryOf(account, epoch);
    // A late answer to a question nobody asks any more: the link dies here and the worker with it.
    if (entry == nullptr || !entry->starting || stopping_) return;
    entry->link = std::move(link);
  }
  changed_.notify_all();
}

void WorkerPool::OnEnded(const ControlClient::WorkerEnded& ended) {
  {
    const std::lock_guard lock(mutex_);
    Entry* const entry = EntryOf(ended.account, ended.epoch);
    if (entry == nullptr) return;
    entry->link.reset();
    entry->starting = false;
    entry->epoch = 0;
    ++entry->ends_in_row;
    entry->not_before = Steady::now() + Delay(options_, entry->ends_in_row);
  }
  changed_.notify_all();
  Log(LogLevel::kWarning, "worker.ended",
      {{LogKey::kAccount, ended.account.ToString()},
       {LogKey::kExit, ended.exit_code},
       {LogKey::kSignal, ended.signal}});
}

}  // namespace mayfly::service
