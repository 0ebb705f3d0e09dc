// Reads the words of new messages into the index, and writes them out when they have grown, so that
// those who search find that done.
#ifndef MAYFLY_SERVICE_SEARCH_JOB_H_
#define MAYFLY_SERVICE_SEARCH_JOB_H_

#include <thread>

#include "store/model/clock.h"
#include "store/store.h"

namespace mayfly::service {

class SearchJob {
 public:
  SearchJob(store::Store& store, Clock& clock) : store_(store), clock_(clock) {}
  ~SearchJob() { Stop(); }

  // One pass. An error is logged and leaves the rest for the next pass; whoever searches before it
  // makes up for it.
  Status RunOnce(TimePoint now);
  void Start();  // the thread: at once, then every ten seconds
  void Stop();

 private:
  void Run(std::stop_token stop);

  store::Store& store_;
  Clock& clock_;
  bool failing_ = false;  // logged once
  std::jthread thread_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SEARCH_JOB_H_
