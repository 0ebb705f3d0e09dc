#include "service/account_runner.h"

#include <algorithm>
#include <utility>

#include "service/logging.h"

namespace mayfly::service {
namespace {

// Between looks at the wall clock while waiting, so that a jump of it is noticed.
constexpr std::chrono::milliseconds kWaitSlice{250};

}  // namespace

AccountRunner::AccountRunner(store::Store& store, WorkerPool& workers, Clock& clock,
                             const Account& account, std::chrono::milliseconds interval)
    : store_(store),
      workers_(workers),
      clock_(clock),
      account_(account),
      poller_(store, workers, clock, account, interval),
      sender_(store, clock, account.id),
      thread_([this](std::stop_token stop) { Run(stop); }) {}

void AccountRunner::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  workers_.Release(account_.id);  // cuts the call under way
  checks_.lock();                 // those under way end, later ones see the stop
  checks_.unlock();
  thread_.join();
  workers_.Release(account_.id);  // in case one of them asked for a worker in between
}

void AccountRunner::PollNow() {
  {
    const std::lock_guard lock(mutex_);
    poll_now_ = true;
    woken_ = true;
  }
  wake_.notify_all();
}

void AccountRunner::ReplyQueued() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wake_.notify_all();
}

Result<connectors::CheckReport> AccountRunner::Check() {
  const std::shared_lock under_way(checks_);
  const std::stop_token stop = thread_.get_stop_token();
  if (stop.stop_requested()) return Fail(ErrorCode::kUnavailable, "the account is stopped");
  MAYFLY_ASSIGN_OR_RETURN(const std::shared_ptr<WorkerLink> link, workers_.Acquire(account_, stop));
  return link->Check();
}

void AccountRunner::Run(std::stop_token stop) {
  TimePoint poll_due = clock_.Now();
  TimePoint last = poll_due;
  while (!stop.stop_requested()) {
    const TimePoint now = clock_.Now();
    if (now < last) poll_due = now;  // it was reckoned by a clock that was wrong
    last = now;
    bool poll = poll_due <= now;
    {
      const std::lock_guard lock(mutex_);
      poll = poll || poll_now_;
      poll_now_ = false;
      woken_ = false;
    }
    if (poll) poll_due = poller_.RunOnce(stop);
    if (stop.stop_requested()) break;
    // Nor is anything sent while nothing can be dated.
    std::optional<TimePoint> send_due;
    if (clock_.IsCertain()) {
      const std::shared_ptr<WorkerLink> link = workers_.Current(account_.id);
      send_due = sender_.RunOnce(link.get());
    }
    if (!WaitUntil(send_due ? std::min(poll_due, *send_due) : poll_due, stop)) break;
  }
}

bool AccountRunner::WaitUntil(TimePoint due, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  TimePoint last = clock_.Now();
  while (!woken_ && !stop.stop_requested()) {
    const TimePoint now = clock_.Now();
    const auto left = due - now;
    if (left <= left.zero() || now < last) break;
    last = now;
    wake_.wait_for(lock, stop, std::min<std::chrono::milliseconds>(left, kWaitSlice),
                   [&] { return woken_; });
  }
  return !stop.stop_requested();
}

Status AccountRunners::StartAll() {
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<Account> accounts, store_.accounts().List());
  for (const Account& account : accounts) {
    if (account.state != AccountState::kRetired) AccountConnected(account.id);
  }
  return {};
}

void AccountRunners::Stop() {
  std::map<AccountId, std::shared_ptr<AccountRunner>> runners;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    runners.swap(runners_);
  }
  workers_.Stop();
  for (auto& [id, runner] : runners) runner->Stop();
}

void AccountRunners::AccountConnected(AccountId id) {
  // Read under the lock: whoever retires it meanwhile finds the runner, or this finds it retired.
  const std::lock_guard lock(mutex_);
  auto account = store_.accounts().Get(id);
  if (!account) {
    Log(LogLevel::kError, "account.unreadable", {{LogKey::kAccount, id.ToString()}});
    return;
  }
  if (stopped_ || account->state == AccountState::kRetired || runners_.count(id) != 0) return;
  runners_.emplace(id,
                   std::make_shared<AccountRunner>(store_, workers_, clock_, *account, interval_));
}

void AccountRunners::AccountDisconnected(AccountId id) {
  std::shared_ptr<AccountRunner> runner;
  {
    const std::lock_guard lock(mutex_);
    const auto found = runners_.find(id);
    if (found == runners_.end()) return;
    runner = std::move(found->second);
    runners_.erase(found);
  }
  runner->Stop();  // others may hold it: its end would not be enough
}

Result<std::shared_ptr<AccountRunner>> AccountRunners::Find(AccountId id) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = runners_.find(id);
    if (found != runners_.end()) return found->second;
  }
  MAYFLY_ASSIGN_OR_RETURN(const Account account, store_.accounts().Get(id));
  if (account.state == AccountState::kRetired) {
    return Fail(ErrorCode::kCredentialDead, "the account is disconnected");
  }
  return Fail(ErrorCode::kUnavailable, "the account is not running");
}

Status AccountRunners::PollNow(AccountId id) {
  MAYFLY_ASSIGN_OR_RETURN(const std::shared_ptr<AccountRunner> runner, Find(id));
  runner->PollNow();
  return {};
}

Result<connectors::CheckReport> AccountRunners::Check(AccountId id) {
  MAYFLY_ASSIGN_OR_RETURN(const std::shared_ptr<AccountRunner> runner, Find(id));
  return runner->Check();
}

Result<Account> AccountRunners::ReplaceCredential(AccountId id, const Credential& credential,
                                                  std::optional<std::uint64_t> if_revision,
                                                  const Actor& actor) {
  const std::lock_guard one_at_a_time(replacing_);
  MAYFLY_ASSIGN_OR_RETURN(const Account account, store_.accounts().Get(id));
  if (account.state == AccountState::kRetired) {
    return Fail(ErrorCode::kCredentialDead, "the account is disconnected");
  }
  AccountDisconnected(id);  // its worker would answer for the old one
  Result<Account> changed = workers_.Try(account, credential, [&](const WorkerPool::Trial& trial) {
    return Keep(account, trial, if_revision, actor);
  });
  AccountConnected(id);
  Log(LogLevel::kInfo, changed ? "account.credential-replaced" : "account.credential-refused",
      {{LogKey::kAccount, id.ToString()}});
  return changed;
}

Result<Account> AccountRunners::Keep(const Account& account, const WorkerPool::Trial& trial,
                                     std::optional<std::uint64_t> if_revision, const Actor& actor) {
  if (!trial.report.permissions_missing.empty()) {
    return Fail(ErrorCode::kMissingPrivilege, trial.report.permissions_missing.front());
  }
  if (!account.own_platform_id.empty() && trial.report.own_platform_id != account.own_platform_id) {
    // Two people's worth of messages would mix under one account.
    return Fail(ErrorCode::kInvalidArgument,
                "It belongs to another account of the platform; connect that one by itself.");
  }
  return store_.accounts().ChangeCredential(account.id,
                                            {.credential = trial.credential,
                                             .own_platform_id = trial.report.own_platform_id,
                                             .own_handle = trial.report.own_handle},
                                            if_revision, actor, clock_.Now());
}

std::optional<connectors::PlatformBudget> AccountRunners::Budget(AccountId id) const {
  const std::shared_ptr<WorkerLink> link = workers_.Current(id);
  return link != nullptr ? link->budget() : std::nullopt;
}

void AccountRunners::ReplyQueued(const ReplyId&) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, runner] : runners_) runner->ReplyQueued();
}

}  // namespace mayfly::service
