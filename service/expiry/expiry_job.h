// The clock strikes, alone: ends every date at its instant, needs no write, visit or person.
#ifndef MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_
#define MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "store/model/clock.h"
#include "store/store.h"

namespace mayfly::service {

class ExpiryJob {
 public:
  ExpiryJob(store::Store& store, Clock& clock) : store_(store), clock_(clock) {}
  ~ExpiryJob() { Stop(); }

  // One pass at `now`: the clock's floor, every due date, old receipts and audit months. Called at
  // start before the port opens, then by the thread. An error leaves the rest for the next pass.
  Status RunOnce(TimePoint now);
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

  store::Store& store_;
  Clock& clock_;
  mutable std::mutex mutex_;
  View view_;
  std::jthread thread_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_EXPIRY_EXPIRY_JOB_H_
