// A clock that moves only when a test moves it.
#ifndef MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_
#define MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_

#include <condition_variable>
#include <mutex>
#include <stop_token>

#include "store/model/clock.h"

namespace mayfly::testing {

class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(TimePoint now) : now_(now) {}
  TimePoint Now() const override {
    std::lock_guard lock(mutex_);
    return now_;
  }
  bool SleepUntil(TimePoint until, std::stop_token stop) override {
    std::unique_lock lock(mutex_);
    return moved_.wait(lock, stop, [&] { return now_ >= until; });
  }
  void Set(TimePoint now) {
    {
      std::lock_guard lock(mutex_);
      now_ = now;
    }
    moved_.notify_all();
  }
  void Advance(std::chrono::milliseconds by) { Set(Now() + by); }

 private:
  mutable std::mutex mutex_;
  std::condition_variable_any moved_;
  TimePoint now_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_
