// Brings to its end what destroys less than a date (store/erasure/erasure.h). Apart from the expiry
// job: writing a date anew may take seconds, and midnight must not wait for it.
#ifndef MAYFLY_SERVICE_EXPIRY_ERASURE_JOB_H_
#define MAYFLY_SERVICE_EXPIRY_ERASURE_JOB_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>

#include "store/expiry/certain_clock.h"
#include "store/store.h"

namespace mayfly::service {

class ErasureJob {
 public:
  ErasureJob(store::Store& store, store::CertainClock& clock) : store_(store), clock_(clock) {}
  ~ErasureJob() { Stop(); }

  // One pass, at certain time: what is held back for a day is not destroyed by a clock that jumped.
  // An error leaves the rest for the next one.
  Status RunOnce(TimePoint now);
  void Start();  // the thread: every few seconds, since keys are destroyed in it
  void Stop();

  struct View {
    std::size_t unfinished = 0;
    std::uint64_t failures = 0;
    bool failing = false;
  };
  View view() const;

 private:
  void Run(std::stop_token stop);

  store::Store& store_;
  store::CertainClock& clock_;
  mutable std::mutex mutex_;
  View view_;
  std::jthread thread_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_EXPIRY_ERASURE_JOB_H_
