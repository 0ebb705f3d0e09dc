// A clock that moves only when a test moves it.
#ifndef MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_
#define MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string>

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

// Time that passes when a test says so, with a wall clock beside it that can be set.
class SimulatedMachine {
 public:
  explicit SimulatedMachine(TimePoint now) : wall(now) {}
  // Time passes, for both.
  void Pass(std::chrono::milliseconds by) {
    timer.Pass(by);
    wall.Advance(by);
  }
  // Somebody sets the clock; no time passes.
  void SetWall(TimePoint to) { wall.Set(to); }
  // Off and on again: the timer begins anew, and the wall goes on from a battery.
  void PowerOff(std::chrono::milliseconds how_long) {
    timer.Begin();
    wall.Advance(how_long);
  }

  class Timer final : public BootTimer {
   public:
    std::chrono::milliseconds SinceBoot() const override {
      std::lock_guard lock(mutex_);
      return since_boot_;
    }
    std::string BootId() const override {
      std::lock_guard lock(mutex_);
      return "boot-" + std::to_string(starts_);
    }
    bool WaitFor(std::chrono::milliseconds, std::stop_token stop) override {
      std::unique_lock lock(mutex_);
      const auto began = since_boot_;
      passed_.wait(lock, stop, [&] { return since_boot_ != began; });
      return !stop.stop_requested();
    }
    void Pass(std::chrono::milliseconds by) {
      {
        std::lock_guard lock(mutex_);
        since_boot_ += by;
      }
      passed_.notify_all();
    }
    void Begin() {
      std::lock_guard lock(mutex_);
      since_boot_ = std::chrono::seconds(20);
      ++starts_;
    }

   private:
    mutable std::mutex mutex_;
    std::condition_variable_any passed_;
    std::chrono::milliseconds since_boot_ = std::chrono::hours(3);
    int starts_ = 1;
  };

  SimulatedClock wall;
  Timer timer;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SIMULATED_CLOCK_H_
