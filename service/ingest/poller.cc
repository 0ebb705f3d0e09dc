#include "service/ingest/poller.h"

#include <algorithm>
#include <utility>

#include "connectors/registry.h"
#include "service/ingest/coverage.h"
#include "service/ingest/ingestor.h"
#include "service/logging.h"

namespace mayfly::service {
namespace {

std::chrono::milliseconds IntervalFor(const std::string& platform,
                                      std::chrono::milliseconds configured) {
  const connectors::ConnectorInfo* info = connectors::FindConnector(platform);
  if (info == nullptr) return std::max(configured, std::chrono::milliseconds(60'000));
  if (configured.count() == 0) return info->capabilities.poll_interval_default;
  return std::max(configured, info->capabilities.poll_interval_min);
}

// Between looks at a platform that is asked for the time only.
constexpr std::chrono::seconds kVoteInterval{30};

AccountState StateFor(const Error& error) {
  switch (error.code) {
    case ErrorCode::kCredentialDead:
      return AccountState::kCredentialDead;
    case ErrorCode::kMissingPrivilege:
      return AccountState::kMissingPrivilege;
    case ErrorCode::kRateLimited:
      return AccountState::kThrottled;
    case ErrorCode::kOptionUnusable:
    case ErrorCode::kHostForbidden:
      return AccountState::kMisconfigured;
    case ErrorCode::kDiskFull:
      return AccountState::kDiskFull;
    default:
      return AccountState::kUnreachable;
  }
}

// What the account shows: a word, or a sentence where a person has to act and the word does not say
// how. Never the worker's own text; an option's name only if it is one.
std::string ReasonFor(const Error& error, const std::string& platform) {
  if (error.code == ErrorCode::kHostForbidden) {
    return "The name of the account's server leads to no public address: correct it, or list the "
           "server in [egress] allow and restart.";
  }
  if (error.code != ErrorCode::kOptionUnusable) return ToString(error.code);
  if (const auto* info = connectors::FindConnector(platform)) {
    for (const connectors::OptionInfo& option : info->options) {
      if (option.name != error.field) continue;
      if (option.secret) return "The credential cannot be used: replace it.";
      return "The option " + option.name +
             " cannot be used here: connect the account anew with another, or see [egress].";
    }
  }
  return "An option cannot be used here: connect the account anew, or see [egress].";
}

}  // namespace

Poller::Poller(store::Store& store, WorkerPool& workers, Clock& clock, const Account& account,
               std::chrono::milliseconds interval)
    : store_(store),
      workers_(workers),
      clock_(clock),
      account_(account.id),
      platform_(account.platform),
      interval_(IntervalFor(account.platform, interval)),
      pacer_({.interval = interval_, .jitter_seed = account.id.value}) {}

TimePoint Poller::RunOnce(std::stop_token stop) {
  auto account = store_.accounts().Get(account_);
  if (!account) return HandleError(account.error());
  if (!clock_.IsCertain()) return WaitForCertainty(*account, stop);
  if (!started_) {
    auto coverage = store_.collection().Coverage(account_);
    if (!coverage) return HandleError(coverage.error());
    const Coverage begun = AfterStart(*coverage, clock_.Now(), interval_);
    if (auto stored = store_.collection().SetCoverage(account_, begun); !stored) {
      return HandleError(stored.error());
    }
    started_ = true;
  }
  auto caught_up = PollOnce(*account, stop);
  // A call that we cut says nothing about the account.
  if (!caught_up && stop.stop_requested()) return clock_.Now();
  if (!caught_up) return HandleError(caught_up.error());
  return pacer_.AfterSuccess(clock_.Now(), *caught_up);
}

TimePoint Poller::WaitForCertainty(const Account& account, std::stop_token stop) {
  // What fails now is met again when there is a time to date it with: neither state nor coverage
  // can be written without one.
  const auto asked = [&]() -> Status {
    MAYFLY_ASSIGN_OR_RETURN(const std::shared_ptr<WorkerLink> link,
                            workers_.Acquire(account, stop));
    MAYFLY_ASSIGN_OR_RETURN([[maybe_unused]] const connectors::CheckReport report, link->Check());
    return {};
  }();
  if (!asked) {
    Log(LogLevel::kWarning, "poll.held",
        {{LogKey::kAccount, account_.ToString()}, {LogKey::kError, ToString(asked.error().code)}});
  }
  return clock_.Now() + std::max<std::chrono::milliseconds>(interval_, kVoteInterval);
}

Result<bool> Poller::PollOnce(const Account& account, std::stop_token stop) {
  // Not asked in vain: what the platform has waits there.
  if (store_.Room().stopped) {
    return Fail(ErrorCode::kDiskFull, "There is too little room on the disk.");
  }
  MAYFLY_ASSIGN_OR_RETURN(std::shared_ptr<WorkerLink> link, workers_.Acquire(account, stop));
  if (account.own_platform_id.empty()) {
    MAYFLY_ASSIGN_OR_RETURN(connectors::CheckReport report, link->Check());
    if (!report.permissions_missing.empty()) {
      return Fail(ErrorCode::kMissingPrivilege, report.permissions_missing.front());
    }
    MAYFLY_RETURN_IF_ERROR(store_.accounts().SetState(account_,
                                                      {.state = account.state,
                                                       .reason = account.state_reason,
                                                       .own_platform_id = report.own_platform_id,
                                                       .own_handle = report.own_handle},
                                                      clock_.Now()));
  }
  MAYFLY_ASSIGN_OR_RETURN(const std::string cursor, store_.collection().Cursor(account_));
  const TimePoint asked_at = clock_.Now();
  MAYFLY_ASSIGN_OR_RETURN(const TimePoint horizon, store_.collection().Horizon(account_, asked_at));
  MAYFLY_ASSIGN_OR_RETURN(connectors::Page page,
                          link->Fetch({.after = {cursor}, .horizon = horizon}));
  workers_.CountAnswer(account_);
  // The time at which it was asked was certain; what it is now must be, too.
  const TimePoint now = clock_.Now();
  if (!clock_.IsCertain()) return Fail(ErrorCode::kCancelled, "the time came into doubt");
  const bool caught_up = page.caught_up;
  const std::string warning = page.warning;
  MAYFLY_ASSIGN_OR_RETURN(
      const store::CollectOutcome outcome,
      Ingest(store_.collection(), account_, std::move(page), asked_at, horizon, now));
  if (outcome.stored + outcome.edited + outcome.withdrawn > 0) {
    Log(LogLevel::kInfo, "poll.stored",
        {{LogKey::kAccount, account_.ToString()},
         {LogKey::kStored, static_cast<std::int64_t>(outcome.stored)},
         {LogKey::kDuplicates, static_cast<std::int64_t>(outcome.duplicates)}});
  }
  MAYFLY_RETURN_IF_ERROR(store_.accounts().SetState(
      account_, {.state = AccountState::kOk, .reason = warning, .last_success_at = now}, now));
  return caught_up;
}

TimePoint Poller::HandleError(const Error& error) {
  const TimePoint now = clock_.Now();
  // A retired account or a store that is closing is nobody's failure.
  if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kCancelled) {
    return pacer_.AfterError(now, error);
  }
  if (!clock_.IsCertain()) return now + kVoteInterval;  // it cannot be dated
  AccountState state = StateFor(error);
  if (workers_.InCrashLoop(account_)) state = AccountState::kCrashLoop;
  const std::string reason = ToString(error.code);
  // Of a full disk the disk job tells, once for all accounts.
  if (error.code != ErrorCode::kDiskFull) {
    Log(LogLevel::kWarning, "poll.failed",
        {{LogKey::kAccount, account_.ToString()},
         {LogKey::kError, reason},
         {LogKey::kState, ToString(state)}});
  }
  auto noted = store_.accounts().SetState(
      account_, {.state = state, .reason = ReasonFor(error, platform_)}, now);
  if (noted) {
    auto coverage = store_.collection().Coverage(account_);
    if (coverage) {
      const Coverage after = AfterFailure(*coverage, reason, now, interval_);
      if (after.holes.size() != coverage->holes.size()) {
        noted = store_.collection().SetCoverage(account_, after);
      }
    }
  }
  if (!noted && noted.error().code != ErrorCode::kNotFound) {
    Log(LogLevel::kError, "poll.state-not-stored",
        {{LogKey::kAccount, account_.ToString()}, {LogKey::kError, ToString(noted.error().code)}});
  }
  if (state != AccountState::kCrashLoop && connectors::OnlyAPersonHelps(error.code)) {
    return now + connectors::kRepairInterval;
  }
  // It is over when there is room, and looking for it troubles nobody: no growing delay.
  if (error.code == ErrorCode::kDiskFull) return now + interval_;
  return pacer_.AfterError(now, error);
}

}  // namespace mayfly::service
