// The clock strikes, alone: ends every date at its instant, needs no write, visit or person.
#ifndef MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_
#define MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "store/expiry/certain_clock.h"
#include "store/store.h"

namespace mayfly::service {

class ExpiryJob {
 public:
  // `ask_kernel` makes somebody tell the clock whether the kernel's is synchronised; called while
  // the time is in doubt, once a pass.
  ExpiryJob(store::Store& store, store::CertainClock& clock, std::function<void()> ask_kernel)
      : store_(store), clock_(clock), ask_kernel_(std::move(ask_kernel)) {}
  ~ExpiryJob() { Stop(); }

  // One pass: certain time persisted, every date ended that is due by it, old receipts and audit
  // months. Called at start before the port opens, then by the thread. An error leaves the rest for
  // the next pass.
  Status RunOnce();
  void Start();  // the thread: at each midnight UTC, and each minute for what was left
  void Stop();

  struct View {
    std::optional<TimePoint> last_run_at;
    std::optional<TimePoint> next_expiry_at;  // the next midnight UTC with something to end
    std::uint64_t dates_purged = 0;
    std::uint64_t messages_purged = 0;
    std::uint64_t failures = 0;
    bool failing = false;  // the last pass left something undone
    std::int64_t worst_late_ms = 0;
  };
  View view() const;

 private:
  void Run(std::stop_token stop);
  void TellOfClock();  // what changed of it, in the log

  store::Store& store_;
  store::CertainClock& clock_;
  const std::function<void()> ask_kernel_;
  store::ClockDoubt told_doubt_ = store::ClockDoubt::kNone;  // of the one who calls RunOnce
  bool told_blocked_ = false;
  mutable std::mutex mutex_;
  View view_;
  std::jthread thread_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_
