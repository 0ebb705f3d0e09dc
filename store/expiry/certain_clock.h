// Time that only moves forward. A clock that is set back shows nothing again and delays no end.
//
// Made before the store is open, because the store needs a `now`; once the store is open it is
// given the floor that earlier runs persisted, and from then on the highest time seen is persisted
// there (Store::RaiseClockFloor, by the expiry job).
#ifndef MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_
#define MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "store/model/clock.h"

namespace mayfly::store {

// Thread-safe. The wall clock must outlive it.
class MonotoneClock final : public Clock {
 public:
  explicit MonotoneClock(Clock& wall) : wall_(wall) {}
  // max(wall, floor), and never less than it said before.
  TimePoint Now() const override;
  // By the wall clock, at once when this clock is already past `until`.
  bool SleepUntil(TimePoint until, std::stop_token stop) override;
  void RaiseFloor(TimePoint floor);  // ignores a lower value
  TimePoint floor() const;

 private:
  Clock& wall_;
  mutable std::atomic<std::int64_t> floor_ms_{INT64_MIN};
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_
