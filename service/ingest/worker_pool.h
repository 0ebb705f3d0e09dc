// The workers as the core sees them: asks the supervisor for one, hands out its link, and decides
// when a worker that ended may start again.
#ifndef MAYFLY_SERVICE_INGEST_WORKER_POOL_H_
#define MAYFLY_SERVICE_INGEST_WORKER_POOL_H_

#include <condition_variable>
#include <map>
#include <memory>
#include <stop_token>

#include "service/link/worker_link.h"
#include "service/supervisor/control_client.h"
#include "store/model/account.h"
#include "store/model/clock.h"
#include "store/model/mutex.h"
#include "store/store.h"

namespace mayfly::service {

struct WorkerPoolOptions {
  connectors::EgressPolicy egress;
  std::chrono::milliseconds start_deadline{20'000};
  std::chrono::milliseconds restart_delay_first{500};  // doubles with each end in a row
  std::chrono::milliseconds restart_delay_max{300'000};
  std::uint32_t crash_loop_after = 3;  // ends in a row without an answered request between
};

// Thread-safe. Delays are counted on the steady clock: a worker that keeps ending must not be
// started faster because somebody moved the wall clock.
class WorkerPool {
 public:
  WorkerPool(ControlClient& control, store::Store& store, const Clock& clock,
             const WorkerPoolOptions& options);
  ~WorkerPool();

  // The account's link, starting a worker if there is none. kUnavailable with retry_after while the
  // restart delay runs or the pool is stopping; kCredentialDead when the account is retired; else
  // what the worker answered to the first frame.
  Result<std::shared_ptr<WorkerLink>> Acquire(const Account& account, std::stop_token stop);
  // Starts a worker with this credential instead of the account's own, asks it who it is, and ends
  // it. Nothing is stored: tokens that the platform hands out meanwhile come back in `credential`.
  // The account must have no worker: Release it before, and let nobody Acquire it until this
  // returns. Errors as Acquire and WorkerLink::Check.
  struct Trial {
    connectors::CheckReport report;
    Credential credential;
  };
  Result<Trial> Try(const Account& account, Credential credential);
  // The link as it is, or null.
  std::shared_ptr<WorkerLink> Current(AccountId account) const;
  // A request of this account was answered: the worker works.
  void CountAnswer(AccountId account);
  bool InCrashLoop(AccountId account) const;
  // Ends the account's worker and forgets it.
  void Release(AccountId account);
  // Makes every call under way fail soon.
  void Stop();

  // From the control thread.
  void OnStarted(ControlClient::WorkerStarted started);
  void OnEnded(const ControlClient::WorkerEnded& ended);

 private:
  struct Entry {
    std::shared_ptr<WorkerLink> link;
    std::uint64_t epoch = 0;  // of the incarnation asked for last
    bool starting = false;
    std::shared_ptr<Credential> trial;  // used, and renewed, in place of the account's own
    std::uint32_t ends_in_row = 0;
    std::chrono::steady_clock::time_point not_before{};
  };

  ControlClient& control_;
  store::Store& store_;
  const Clock& clock_;
  const WorkerPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<AccountId, Entry> entries_;
  std::uint64_t next_epoch_ = 1;
  bool stopping_ = false;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_INGEST_WORKER_POOL_H_
