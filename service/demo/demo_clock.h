// A clock that runs faster and jumps, shared between processes through one small mapped file.
// Exists in mayfly-demo only; `mayfly` has no such switch (tests/e2e checks its symbols).
#ifndef MAYFLY_SERVICE_DEMO_DEMO_CLOCK_H_
#define MAYFLY_SERVICE_DEMO_DEMO_CLOCK_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "store/model/clock.h"
#include "store/model/result.h"

namespace mayfly::service {

// now = base + (monotonic time since the base was set) * rate
class DemoClock final : public Clock {
 public:
  // Makes the file, starting at `start` and running at `rate` (1 = as fast as life).
  static Status Create(const std::filesystem::path& file, TimePoint start, double rate);
  // Maps it. Changes made by Set in another process are seen at once.
  static Result<std::unique_ptr<DemoClock>> Open(const std::filesystem::path& file);
  ~DemoClock() override;

  TimePoint Now() const override;
  bool SleepUntil(TimePoint until, std::stop_token stop) override;
  // Sets time and rate from now on. It is as if the time until `now` had passed.
  void Set(TimePoint now, double rate);
  double rate() const;
  // From now on Now() is wrong by this much, which no time passes for: somebody set the clock.
  void SetSkew(std::chrono::milliseconds skew);
  TimePoint Unskewed() const;  // what Now() would be without
  // Since the time that it was made with, in its time, skew left out.
  std::chrono::milliseconds SinceMade() const;

  // What the core takes for the room on its disk, from now on; nullopt: what there is. Travels with
  // the clock for the same reason as the fail point below.
  void SetRoom(std::optional<std::uint64_t> available);
  std::optional<std::uint64_t> room() const;

  // A fail point for the expiry job: the core ends itself once, right after this step of the next
  // purge (store::PurgeStep as a number). Travels with the clock because both belong to a test that
  // moves time. TakeFailPoint is true for the one process that met it.
  void SetFailPoint(int step);
  bool TakeFailPoint(int step);

 private:
  struct Shared;
  explicit DemoClock(Shared* shared) : shared_(shared) {}
  Shared* shared_;
};

// The timer that belongs to it: time that passes by DemoClock, and that its skew does not move.
class DemoBootTimer final : public BootTimer {
 public:
  explicit DemoBootTimer(std::unique_ptr<DemoClock> clock) : clock_(std::move(clock)) {}
  std::chrono::milliseconds SinceBoot() const override { return clock_->SinceMade(); }
  std::string BootId() const override { return "demo"; }
  bool WaitFor(std::chrono::milliseconds wait, std::stop_token stop) override;

 private:
  const std::unique_ptr<DemoClock> clock_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_DEMO_CLOCK_H_
