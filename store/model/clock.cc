#include "store/model/clock.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <fstream>
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

SystemBootTimer::SystemBootTimer() {
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id_;
  if (boot_id_.size() > 64) boot_id_.clear();
}

std::chrono::milliseconds SystemBootTimer::SinceBoot() const {
  timespec since = {};
  // It cannot fail on a kernel that knows this clock, which all of Debian's do; and nothing that
  // depends on time could go on.
  if (::clock_gettime(CLOCK_BOOTTIME, &since) != 0) std::abort();
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::seconds(since.tv_sec) + std::chrono::nanoseconds(since.tv_nsec));
}

bool SystemBootTimer::WaitFor(std::chrono::milliseconds wait, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  // Waits are short, so that a machine that slept meanwhile is noticed.
  woken.wait_for(lock, stop, std::min(wait, kLookAgain), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace mayfly
