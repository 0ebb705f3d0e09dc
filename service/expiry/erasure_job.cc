#include "service/expiry/erasure_job.h"

#include <chrono>

#include "service/logging.h"

namespace mayfly::service {
namespace {

constexpr std::chrono::seconds kPause{5};
constexpr std::chrono::minutes kPauseAfterFailure{1};

}  // namespace

Status ErasureJob::RunOnce(TimePoint now) {
  const auto before = store_.erasure().Unfinished();
  const Status done = store_.erasure().RunOnce(now);
  const auto after = store_.erasure().Unfinished();
  {
    const std::lock_guard lock(mutex_);
    if (after) view_.unfinished = *after;
    view_.failing = !done.has_value();
    if (!done) ++view_.failures;
  }
  if (!done) {
    Log(LogLevel::kError, "erasure.failed", {{LogKey::kError, ToString(done.error().code)}});
  } else if (before && *before > 0) {
    Log(LogLevel::kInfo, "erasure.done", {{LogKey::kCount, static_cast<std::int64_t>(*before)}});
  }
  return done;
}

void ErasureJob::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

void ErasureJob::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

ErasureJob::View ErasureJob::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void ErasureJob::Run(std::stop_token stop) {
  TimePoint now = clock_.Now();
  bool failed = false;
  while (!stop.stop_requested()) {
    const TimePoint next = failed ? now + kPauseAfterFailure : now + kPause;
    if (!clock_.SleepUntil(next, stop)) break;
    now = clock_.Now();
    failed = !RunOnce(clock_.Certain());
  }
}

}  // namespace mayfly::service
