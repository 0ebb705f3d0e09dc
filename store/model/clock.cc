#include "store/model/clock.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace mayfly {

namespace {

// The wall clock can be set while we wait. A single long wait would not notice; looking again this
// often does.
constexpr std::chrono::milliseconds kLookAgain{500};

}  // namespace

TimePoint SystemClock::Now() const {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

bool SystemClock::SleepUntil(TimePoint until, std::stop_token stop) {
  // Nobody else shares these: the stop token is what wakes the wait.
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    const TimePoint now = Now();
    if (now >= until) return true;
    woken.wait_for(lock, stop, std::min<std::chrono::milliseconds>(until - now, kLookAgain),
                   [] { return false; });
  }
  return false;
}

}  // namespace mayfly
