// Time enters the program through this interface and nowhere else, so that a test can move it.
#ifndef MAYFLY_STORE_MODEL_CLOCK_H_
#define MAYFLY_STORE_MODEL_CLOCK_H_

#include <chrono>
#include <stop_token>
#include <string>

#include "store/model/time.h"

namespace mayfly {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  // Waits until `until` by this clock. False when `stop` was requested first.
  virtual bool SleepUntil(TimePoint until, std::stop_token stop) = 0;
  // False while what Now says is in doubt (store/expiry/certain_clock.h). Then nothing may be given
  // a date.
  virtual bool IsCertain() const { return true; }
};

// Time that passes whatever is done to the machine's clock: it cannot be set, and it counts while
// the machine sleeps. Thread-safe.
class BootTimer {
 public:
  virtual ~BootTimer() = default;
  virtual std::chrono::milliseconds SinceBoot() const = 0;
  // Another after each start of the machine; at most 64 bytes. Without one no two starts are the
  // same.
  virtual std::string BootId() const = 0;
  // Waits about that long, and may return earlier. False when `stop` was requested first.
  virtual bool WaitFor(std::chrono::milliseconds wait, std::stop_token stop) = 0;
};

// CLOCK_BOOTTIME and /proc/sys/kernel/random/boot_id (see proc_sys_kernel(5)).
class SystemBootTimer final : public BootTimer {
 public:
  SystemBootTimer();  // reads the id, which cannot be read later than the sandbox
  std::chrono::milliseconds SinceBoot() const override;
  std::string BootId() const override { return boot_id_; }
  bool WaitFor(std::chrono::milliseconds wait, std::stop_token stop) override;

 private:
  std::string boot_id_;
};

// The machine's clock. The only caller of std::chrono::system_clock::now() in the programs.
class SystemClock final : public Clock {
 public:
  TimePoint Now() const override;
  bool SleepUntil(TimePoint until, std::stop_token stop) override;
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_CLOCK_H_
