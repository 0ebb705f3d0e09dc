#include "store/expiry/certain_clock.h"

#include <algorithm>
#include <chrono>

namespace mayfly::store {
namespace {

// Raises `floor` to at least `value`; returns what it is then.
std::int64_t Raise(std::atomic<std::int64_t>& floor, std::int64_t value) {
  std::int64_t known = floor.load();
  while (known < value && !floor.compare_exchange_weak(known, value)) {
  }
  return std::max(known, value);
}

}  // namespace

TimePoint MonotoneClock::Now() const {
  return TimePoint(
      std::chrono::milliseconds(Raise(floor_ms_, wall_.Now().time_since_epoch().count())));
}

bool MonotoneClock::SleepUntil(TimePoint until, std::stop_token stop) {
  if (stop.stop_requested()) return false;
  if (Now() >= until) return true;
  return wall_.SleepUntil(until, std::move(stop));
}

void MonotoneClock::RaiseFloor(TimePoint floor) {
  Raise(floor_ms_, floor.time_since_epoch().count());
}

TimePoint MonotoneClock::floor() const {
  return TimePoint(std::chrono::milliseconds(floor_ms_.load()));
}

}  // namespace mayfly::store
