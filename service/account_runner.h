// One thread for each connected account: it polls, sends and settles, one call at a time, because
// the worker behind it does one thing at a time.
#ifndef MAYFLY_SERVICE_ACCOUNT_RUNNER_H_
#define MAYFLY_SERVICE_ACCOUNT_RUNNER_H_

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>

#include "service/api/context.h"
#include "service/ingest/poller.h"
#include "service/outbox/sender.h"

namespace mayfly::service {

class AccountRunner {
 public:
  AccountRunner(store::Store& store, WorkerPool& workers, Clock& clock, const Account& account,
                std::chrono::milliseconds interval);
  ~AccountRunner() { Stop(); }
  // Cuts the call under way and ends the account's worker. When it returns neither the thread nor a
  // Check uses a worker any more, nor ever will, whoever still holds a reference. From then on the
  // account's worker is somebody else's, so a second call does nothing. One thread at a time.
  void Stop();
  void PollNow();
  void ReplyQueued();
  // Any thread. Asks the platform; waits for the call under way. kUnavailable once stopped.
  Result<connectors::CheckReport> Check();

 private:
  void Run(std::stop_token stop);
  bool WaitUntil(TimePoint due, std::stop_token stop);

  store::Store& store_;
  WorkerPool& workers_;
  Clock& clock_;
  const Account account_;
  Poller poller_;
  Sender sender_;
  std::shared_mutex checks_;  // shared by each Check under way; Stop waits until it has it alone
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool poll_now_ = false;
  bool woken_ = false;
  std::jthread thread_;  // last: joined first
};

// All of them. Thread-safe.
class AccountRunners final : public api::AccountRuntime {
 public:
  AccountRunners(store::Store& store, WorkerPool& workers, Clock& clock,
                 std::chrono::milliseconds interval)
      : store_(store), workers_(workers), clock_(clock), interval_(interval) {}
  ~AccountRunners() override { Stop(); }

  Status StartAll();  // every account that is not retired
  void Stop();

  void AccountConnected(AccountId id) override;
  void AccountDisconnected(AccountId id) override;
  Status PollNow(AccountId id) override;
  Result<connectors::CheckReport> Check(AccountId id) override;
  Result<Account> ReplaceCredential(AccountId id, const Credential& credential,
                                    std::optional<std::uint64_t> if_revision,
                                    const Actor& actor) override;
  std::optional<connectors::PlatformBudget> Budget(AccountId id) const override;
  void ReplyQueued(const ReplyId& id) override;

 private:
  Result<Account> Keep(const Account& account, const WorkerPool::Trial& trial,
                       std::optional<std::uint64_t> if_revision, const Actor& actor);
  Result<std::shared_ptr<AccountRunner>> Find(AccountId id) const;

  store::Store& store_;
  WorkerPool& workers_;
  Clock& clock_;
  const std::chrono::milliseconds interval_;
  std::mutex replacing_;  // one new credential at a time; taken before mutex_
  mutable std::mutex mutex_;
  std::map<AccountId, std::shared_ptr<AccountRunner>> runners_;
  bool stopped_ = false;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ACCOUNT_RUNNER_H_
