// Time enters the program through this interface and nowhere else, so that a test can move it.
#ifndef MAYFLY_STORE_MODEL_CLOCK_H_
#define MAYFLY_STORE_MODEL_CLOCK_H_

#include <stop_token>

#include "store/model/time.h"

namespace mayfly {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  // Waits until `until` by this clock. False when `stop` was requested first.
  virtual bool SleepUntil(TimePoint until, std::stop_token stop) = 0;
};

// The machine's clock. The only caller of std::chrono::system_clock::now() in the project.
class SystemClock final : public Clock {
 public:
  TimePoint Now() const override;
  bool SleepUntil(TimePoint until, std::stop_token stop) override;
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_CLOCK_H_
