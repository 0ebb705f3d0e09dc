#include "service/search_job.h"

#include <chrono>
#include <utility>

#include "service/logging.h"

namespace mayfly::service {
namespace {

constexpr std::chrono::seconds kPause{10};

}  // namespace

Status SearchJob::RunOnce(TimePoint now) {
  Status done = store_.search_index().CatchUp(now);
  if (!done && !std::exchange(failing_, true)) {
    Log(LogLevel::kWarning, "search.not-indexed", {{LogKey::kError, ToString(done.error().code)}});
  }
  if (done) failing_ = false;
  return done;
}

void SearchJob::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

void SearchJob::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void SearchJob::Run(std::stop_token stop) {
  do {
    (void)RunOnce(clock_.Now());  // logged; the next pass tries again
  } while (clock_.SleepUntil(clock_.Now() + kPause, stop));
}

}  // namespace mayfly::service
