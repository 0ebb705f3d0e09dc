// Looks after the disk under the store: tells when collecting stops and goes on, makes up the
// ballast, goes on after errors that have passed, and asks for another start where only that helps.
#ifndef MAYFLY_SERVICE_DISK_JOB_H_
#define MAYFLY_SERVICE_DISK_JOB_H_

#include <functional>
#include <thread>

#include "store/model/clock.h"
#include "store/store.h"

namespace mayfly::service {

class DiskJob {
 public:
  // `reopen`: called once, on the job's thread, when the store can only be read until it is opened
  // anew. Empty: a person must start it again.
  DiskJob(store::Store& store, Clock& clock, std::function<void()> reopen)
      : store_(store), clock_(clock), reopen_(std::move(reopen)) {}
  ~DiskJob() { Stop(); }

  // One look. An error is that of Store::Mend, and is logged when it begins.
  Status RunOnce();
  void Start();  // the thread: every few seconds
  void Stop();

 private:
  void Run(std::stop_token stop);
  void TellOfRoom();
  bool OnlyReopeningHelps(const Error& error);

  store::Store& store_;
  Clock& clock_;
  const std::function<void()> reopen_;
  bool stopped_ = false;  // collecting, when it was looked at last
  bool failing_ = false;
  int failures_ = 0;  // in a row, of those that no room would help
  bool asked_ = false;
  std::jthread thread_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DISK_JOB_H_
