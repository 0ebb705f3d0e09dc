// Collecting for one account: ask, store, say when to ask again. Holds no thread and no store of
// its own.
#ifndef MAYFLY_SERVICE_INGEST_POLLER_H_
#define MAYFLY_SERVICE_INGEST_POLLER_H_

#include "connectors/pacer.h"
#include "service/ingest/worker_pool.h"

namespace mayfly::service {

class Poller {
 public:
  // `interval` is the configured one, or zero for the connector's default; never below its minimum.
  Poller(store::Store& store, WorkerPool& workers, Clock& clock, const Account& account,
         std::chrono::milliseconds interval);

  // One page; none while the store has no room for it (AccountState::kDiskFull). Returns when to be
  // called again. Sets the account's state; never throws or gives up. While the time is in doubt
  // nothing is collected, since nothing could be given a date: the platform is asked who we are,
  // because its answer says what it thinks the time is.
  TimePoint RunOnce(std::stop_token stop);

 private:
  TimePoint WaitForCertainty(const Account& account, std::stop_token stop);
  Result<bool> PollOnce(const Account& account, std::stop_token stop);  // caught up?
  TimePoint HandleError(const Error& error);

  store::Store& store_;
  WorkerPool& workers_;
  Clock& clock_;
  const AccountId account_;
  const std::string platform_;
  const std::chrono::milliseconds interval_;
  connectors::Pacer pacer_;
  bool started_ = false;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_INGEST_POLLER_H_
