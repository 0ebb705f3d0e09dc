#include "service/expiry/expiry_job.h"

#include <algorithm>
#include <iostream>

#include "service/logging.h"

namespace mayfly::service {
namespace {

using std::chrono::ceil;
using std::chrono::days;
using std::chrono::floor;
using std::chrono::minutes;

}  // namespace

void ExpiryJob::TellOfClock() {
  const store::ClockView clock = clock_.view();
  if (clock.doubt != told_doubt_) {
    if (clock.doubt == store::ClockDoubt::kNone) {
      Log(LogLevel::kInfo, "clock.settled");
    } else {
      Log(LogLevel::kError, "clock.in-doubt", {{LogKey::kReason, store::ToString(clock.doubt)}});
    }
    told_doubt_ = clock.doubt;
  }
  if (clock.blocked && !told_blocked_) Log(LogLevel::kError, "clock.contradicted");
  told_blocked_ = clock.blocked;
}

Status ExpiryJob::RunOnce() {
  if (!clock_.IsCertain() && ask_kernel_) ask_kernel_();
  TellOfClock();
  const store::ClockRecord record = clock_.Record();
  const TimePoint now = record.certain;
  auto saved = store_.SaveClock(record);
  auto purged = store_.purge().RunOnce(now);
  auto months = store_.audit().ExpireMonths(now);

  Status result;
  for (const Status* status : {&saved, &months}) {
    if (!*status && result) result = Fail(status->error());
  }
  if (!purged) result = Fail(purged.error());  // the one that matters most

  const std::lock_guard lock(mutex_);
  view_.last_run_at = now;
  view_.failing = !result.has_value();
  if (!result) ++view_.failures;
  if (purged) {
    for (const store::PurgeReceipt& receipt : *purged) {
      ++view_.dates_purged;
      view_.messages_purged += receipt.messages;
      view_.worst_late_ms = std::max(view_.worst_late_ms, receipt.late_ms);
      Log(LogLevel::kInfo, "purge.done",
          {{LogKey::kDay, FormatDay(receipt.day)},
           {LogKey::kMessages, static_cast<std::int64_t>(receipt.messages)},
           {LogKey::kLateMs, receipt.late_ms}});
    }
  }
  if (!result) {
    Log(LogLevel::kError, "purge.failed", {{LogKey::kError, ToString(result.error().code)}});
    // Where overwriting would not destroy: our own sentence, with the remedy, for the operator.
    if (result.error().code == ErrorCode::kUnavailable) {
      std::cerr << "mayfly: not destroyed: " << result.error().message << "\n";
    }
  }
  return result;
}

void ExpiryJob::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

void ExpiryJob::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

ExpiryJob::View ExpiryJob::view() const {
  View view;
  {
    const std::lock_guard lock(mutex_);
    view = view_;
  }
  const store::Store::ExpiryView dates = store_.View(clock_.Now());
  if (dates.oldest_living) view.next_expiry_at = StartOf(*dates.oldest_living);
  return view;
}

void ExpiryJob::Run(std::stop_token stop) {
  TimePoint now = clock_.Now();
  while (!stop.stop_requested()) {
    // Each midnight, and each minute in between: certain time, and what an error left undone.
    const TimePoint midnight = TimePoint(floor<days>(now) + days(1));
    const TimePoint minute = TimePoint(floor<minutes>(now) + minutes(1));
    if (!clock_.SleepUntil(std::min(midnight, minute), stop)) break;
    now = clock_.Now();
    // A minute before the end of a date its records are written out, so that dropping them then
    // writes almost nothing.
    if (TimePoint(floor<days>(now) + days(1)) - now <= minutes(1)) {
      if (auto flushed = store_.FlushBeforeExpiry(); !flushed) {
        Log(LogLevel::kWarning, "purge.not-prepared",
            {{LogKey::kError, ToString(flushed.error().code)}});
      }
    }
    // The error is logged and shown in view(); the next pass tries again.
    (void)RunOnce();
  }
}

}  // namespace mayfly::service
