// A clock that stands still until a test moves it.
#ifndef MAYFLY_TESTS_SUPPORT_API_CLOCK_H_
#define MAYFLY_TESTS_SUPPORT_API_CLOCK_H_

#include <atomic>

#include "store/model/clock.h"

namespace mayfly::testing {

class ApiClock final : public Clock {
 public:
  explicit ApiClock(TimePoint now) : now_(now) {}
  TimePoint Now() const override { return now_; }
  bool SleepUntil(TimePoint, std::stop_token) override { return false; }  // nobody here sleeps
  void Set(TimePoint now) { now_ = now; }

 private:
  std::atomic<TimePoint> now_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_API_CLOCK_H_
