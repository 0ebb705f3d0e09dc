// The workers as the core sees them: asks the supervisor for one, hands out its link, and decides
// when a worker that ended may start again.
#ifndef MAYFLY_SERVICE_INGEST_WORKER_POOL_H_
#define MAYFLY_SERVICE_INGEST_WORKER_POOL_H_

#include <condition_variable>
#include <functional>
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
  // What an account's platform says the time is, whenever its worker passes that on; or empty.
  std::function<void(AccountId, TimePoint)> platform_time;
  std::chrono::milliseconds start_deadline{20'000};
  std::chrono::milliseconds restart_delay_first{500};  // doubles with each end in a row
  std::chrono::milliseconds restart_delay_max{300'000};
  std::uint32_t crash_loop_after = 3;  // ends in a row without an answered request between
};

// Thread-safe. An account has one worker, which everybody who acquires it shares, except while a
// new credential is tried: then the account is the trial's alone, and to all others it is as if it
// had no worker and could not get one. Delays are counted on the steady clock: a worker that keeps
// ending must not be started faster because somebody moved the wall clock.
class WorkerPool {
 public:
  WorkerPool(ControlClient& control, store::Store& store, const Clock& clock,
             const WorkerPoolOptions& options);
  ~WorkerPool();

  // The account's link, starting a worker if there is none. kUnavailable with retry_after while the
  // restart delay runs; kUnavailable while a credential of the account is tried, or the pool or the
  // caller is stopping; kCredentialDead when the account is retired; else what the worker answered
  // to the first frame.
  Result<std::shared_ptr<WorkerLink>> Acquire(const Account& account, std::stop_token stop);
  // Ends the account's worker, starts one with this credential instead of the account's own, asks
  // it who it is, ends it, and calls `keep` with what was learnt. Nothing is stored before that:
  // tokens that the platform hands out meanwhile are in `credential`. From the start until `keep`
  // has returned nobody else gets a worker of this account or touches this one, so that nothing
  // runs with a credential that is not the stored one. kUnavailable when another trial is under
  // way; else errors as Acquire, WorkerLink::Check and `keep`, which must not ask for the account's
  // worker.
  struct Trial {
    connectors::CheckReport report;
    Credential credential;
  };
  using Keep = std::function<Result<Account>(const Trial&)>;
  Result<Account> Try(const Account& account, Credential credential, const Keep& keep);
  // The link as it is, or null: while there is none, or none that is ready, or a trial has it.
  std::shared_ptr<WorkerLink> Current(AccountId account) const;
  // A request of this account was answered: the worker works.
  void CountAnswer(AccountId account);
  bool InCrashLoop(AccountId account) const;
  // Ends the account's worker and forgets it. Leaves a trial alone.
  void Release(AccountId account);
  // Makes every call under way fail soon.
  void Stop();

  // From the control thread.
  void OnStarted(ControlClient::WorkerStarted started);
  void OnEnded(const ControlClient::WorkerEnded& ended);

 private:
  // Used, and renewed, in place of the account's own. Also the key to an account on trial: null for
  // all who are not the trial.
  using TrialCredential = std::shared_ptr<Credential>;
  struct Entry {
    std::shared_ptr<WorkerLink> link;
    std::uint64_t epoch = 0;  // of the incarnation asked for last
    bool starting = false;    // somebody waits for it or greets it
    TrialCredential trial;    // while one is under way; guarded by the lock, as what it points to
    std::uint32_t ends_in_row = 0;
    std::chrono::steady_clock::time_point not_before{};
  };

  Result<std::shared_ptr<WorkerLink>> AcquireFor(const TrialCredential& trial,
                                                 const Account& account, std::stop_token stop);
  Trial Tried(connectors::CheckReport report, const TrialCredential& trial) const;
  Result<std::shared_ptr<WorkerLink>> Start(const TrialCredential& trial, const Account& account,
                                            std::uint64_t epoch, std::stop_token stop);
  void EndWorker(AccountId account, std::uint64_t epoch);
  Entry* EntryOf(AccountId account, std::uint64_t epoch);  // mutex_ is held
  // Ends the worker and hands the account on. False, and nothing is touched, when it is not
  // `from`'s.
  bool HandOver(AccountId account, const TrialCredential& from, const TrialCredential& to);

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
