// The workers of an account, its runner, and the trial of a new credential, over a real store and
// real links. The supervisor is the test's; its workers are threads.
#include "service/ingest/worker_pool.h"

#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "service/account_runner.h"
#include "tests/support/linked_worker.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"
#include "tests/support/thread_supervisor.h"

namespace mayfly::service {
namespace {

using connectors::CheckReport;
using testing::FakeConnector;
using testing::Must;

constexpr const char* kOwn = "credential-of-the-account";

// What the platform knows: whose each credential is, and who asked with which.
class Platform {
 public:
  Result<CheckReport> Check(const std::string& credential) {
    std::unique_lock lock(mutex_);
    used_.insert(credential);
    entered_.notify_all();
    left_.wait(lock, [&] { return held_.count(credential) == 0; });
    if (dead_.count(credential) != 0) return Fail(ErrorCode::kCredentialDead, "no");
    return CheckReport{.own_platform_id = "did:own", .own_handle = credential};
  }
  void Greet() {
    std::unique_lock lock(mutex_);
    ++greetings_;
    entered_.notify_all();
    left_.wait(lock, [&] { return !greetings_held_; });
  }
  void HoldGreetings(bool hold) {
    {
      const std::lock_guard lock(mutex_);
      greetings_held_ = hold;
    }
    left_.notify_all();
  }
  void WaitForGreeting() {
    std::unique_lock lock(mutex_);
    entered_.wait(lock, [&] { return greetings_ > 0; });
  }
  Result<connectors::Page> Fetch() {
    std::unique_lock lock(mutex_);
    ++fetches_;
    entered_.notify_all();
    left_.wait(lock, [&] { return !fetches_held_; });
    if (fetches_fail_) return Fail(*fetches_fail_);
    return connectors::Page{.caught_up = true};
  }
  void HoldFetches(bool hold) {
    {
      const std::lock_guard lock(mutex_);
      fetches_held_ = hold;
    }
    left_.notify_all();
  }
  void FailFetches(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    fetches_fail_ = std::move(error);
  }
  void WaitForFetch() {
    std::unique_lock lock(mutex_);
    entered_.wait(lock, [&] { return fetches_ > 0; });
  }
  void Refuse(const std::string& credential) {
    const std::lock_guard lock(mutex_);
    dead_.insert(credential);
  }
  // Calls with it do not return until Free.
  void Hold(const std::string& credential) {
    const std::lock_guard lock(mutex_);
    held_.insert(credential);
  }
  void Free(const std::string& credential) {
    {
      const std::lock_guard lock(mutex_);
      held_.erase(credential);
    }
    left_.notify_all();
  }
  void WaitForCall(const std::string& credential) {
    std::unique_lock lock(mutex_);
    entered_.wait(lock, [&] { return used_.count(credential) != 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable entered_, left_;
  std::set<std::string> used_, dead_, held_;
  int greetings_ = 0;
  bool greetings_held_ = false;
  int fetches_ = 0;
  bool fetches_held_ = false;
  std::optional<Error> fetches_fail_;
};

class WorkerPoolTest : public ::testing::Test {
 protected:
  WorkerPoolTest()
      : store_(testing::EngineKind::kMemory),
        clock_(testing::At("2026-03-05T10:00:00.000Z")),
        account_(testing::Connect(*store_, clock_.Now())),
        supervisor_([this](std::string_view, const connectors::ConnectorContext& context)
                        -> Result<std::unique_ptr<connectors::Connector>> {
          platform_.Greet();
          auto connector = std::make_unique<FakeConnector>();
          connector->on_check = [this, credential = context.credential.Reveal()] {
            return platform_.Check(credential);
          };
          connector->on_fetch = [this](const auto&, std::stop_token) { return platform_.Fetch(); };
          return Result<std::unique_ptr<connectors::Connector>>(std::move(connector));
        }),
        pool_(supervisor_.client(), *store_, clock_, {}) {
    supervisor_.Serve(pool_);
  }

  void TearDown() override { supervisor_.Stop(); }

  std::string Stored() { return Must(store_->accounts().RevealCredential(account_.id)).Reveal(); }
  std::string CheckedAs(WorkerLink& link) { return Must(link.Check()).own_handle; }

  Platform platform_;
  testing::TempStore store_;
  testing::SimulatedClock clock_;
  const Account account_;
  testing::ThreadSupervisor supervisor_;
  WorkerPool pool_;
};

TEST_F(WorkerPoolTest, AWorkerIsHandedOutOnceItIsGreeted) {
  platform_.HoldGreetings(true);
  auto first = std::async(std::launch::async, [&] { return Must(pool_.Acquire(account_, {})); });
  platform_.WaitForGreeting();
  EXPECT_EQ(pool_.Current(account_.id), nullptr);
  auto second = std::async(std::launch::async, [&] { return Must(pool_.Acquire(account_, {})); });
  platform_.HoldGreetings(false);
  const auto link = first.get();
  EXPECT_EQ(second.get(), link);
  EXPECT_EQ(pool_.Current(account_.id), link);
  EXPECT_EQ(CheckedAs(*link), kOwn);
  EXPECT_EQ(supervisor_.started(), 1u);
}

TEST_F(WorkerPoolTest, AnAccountOnTrialIsTheTrialsAlone) {
  const auto before = Must(pool_.Acquire(account_, {}));
  EXPECT_EQ(CheckedAs(*before), kOwn);
  platform_.Hold("new");
  const auto expect_shut = [&] {
    EXPECT_EQ(testing::FailureOf(pool_.Acquire(account_, {})), ErrorCode::kUnavailable);
    EXPECT_EQ(pool_.Current(account_.id), nullptr);
    EXPECT_EQ(testing::FailureOf(pool_.Try(account_, Credential("third"), nullptr)),
              ErrorCode::kUnavailable);
    pool_.Release(account_.id);
  };
  bool kept = false;
  auto tried = std::async(std::launch::async, [&] {
    return pool_.Try(account_, Credential("new"), [&](const WorkerPool::Trial& trial) {
      kept = true;
      EXPECT_EQ(trial.report.own_handle, "new") << "Release left it alone";
      EXPECT_EQ(trial.credential, Credential("new"));
      expect_shut();
      return Result<Account>(account_);
    });
  });
  platform_.WaitForCall("new");
  EXPECT_TRUE(before->broken()) << "one worker for each account";
  expect_shut();
  platform_.Free("new");
  EXPECT_TRUE(tried.get().has_value());
  EXPECT_TRUE(kept);
  // Nothing was stored, so the account's own is used again.
  EXPECT_EQ(CheckedAs(*Must(pool_.Acquire(account_, {}))), kOwn);
}

TEST_F(WorkerPoolTest, ATrialThatFailsKeepsNothingAndGivesTheAccountBack) {
  platform_.Refuse("wrong");
  const auto never = [](const WorkerPool::Trial&) -> Result<Account> {
    ADD_FAILURE() << "a refused credential is kept";
    return Fail(ErrorCode::kInternal, "");
  };
  EXPECT_EQ(testing::FailureOf(pool_.Try(account_, Credential("wrong"), never)),
            ErrorCode::kCredentialDead);
  EXPECT_EQ(CheckedAs(*Must(pool_.Acquire(account_, {}))), kOwn);
  const auto refuse = [](const WorkerPool::Trial&) -> Result<Account> {
    return Fail(ErrorCode::kPreconditionFailed, "");
  };
  EXPECT_EQ(testing::FailureOf(pool_.Try(account_, Credential("new"), refuse)),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(CheckedAs(*Must(pool_.Acquire(account_, {}))), kOwn);
}

TEST_F(WorkerPoolTest, AStoppedRunnerAsksNobodyAndCutsNobody) {
  auto runner = std::make_shared<AccountRunner>(*store_, pool_, clock_, account_,
                                                std::chrono::milliseconds(60'000));
  runner->Stop();
  EXPECT_EQ(pool_.Current(account_.id), nullptr);
  const std::uint64_t started = supervisor_.started();
  EXPECT_EQ(testing::FailureOf(runner->Check()), ErrorCode::kUnavailable);
  EXPECT_EQ(supervisor_.started(), started);
  const auto others = Must(pool_.Acquire(account_, {}));
  runner->Stop();
  runner.reset();
  EXPECT_FALSE(others->broken());
  EXPECT_EQ(CheckedAs(*others), kOwn);
}

TEST_F(WorkerPoolTest, APollThatIsCutSaysNothingAboutTheAccount) {
  platform_.HoldFetches(true);
  AccountRunner runner(*store_, pool_, clock_, account_, std::chrono::milliseconds(60'000));
  platform_.WaitForFetch();
  runner.Stop();
  EXPECT_EQ(Must(store_->accounts().Get(account_.id)).state, AccountState::kOk);
  platform_.HoldFetches(false);
}

// An account that only a person can put right says so, and is not asked at the pace of one that may
// come back by itself.
TEST_F(WorkerPoolTest, AnAccountWhoseHostLeadsInsideWaitsForAPerson) {
  platform_.FailFetches(Error{.code = ErrorCode::kHostForbidden, .message = "planted"});
  Poller poller(*store_, pool_, clock_, account_, std::chrono::milliseconds(60'000));
  EXPECT_EQ(poller.RunOnce({}), clock_.Now() + connectors::kRepairInterval);
  Account account = Must(store_->accounts().Get(account_.id));
  EXPECT_EQ(account.state, AccountState::kMisconfigured);
  EXPECT_NE(account.state_reason.find("[egress] allow"), std::string::npos);
  EXPECT_EQ(account.state_reason.find("planted"), std::string::npos);

  platform_.FailFetches(
      Error{.code = ErrorCode::kOptionUnusable, .message = "planted", .field = "service"});
  EXPECT_EQ(poller.RunOnce({}), clock_.Now() + connectors::kRepairInterval);
  account = Must(store_->accounts().Get(account_.id));
  EXPECT_EQ(account.state, AccountState::kMisconfigured);
  EXPECT_EQ(account.state_reason,
            "The option service cannot be used here: connect the account anew with another, or see "
            "[egress].");

  platform_.FailFetches(
      Error{.code = ErrorCode::kOptionUnusable, .message = "planted", .field = "planted"});
  (void)poller.RunOnce({});
  EXPECT_EQ(Must(store_->accounts().Get(account_.id)).state_reason,
            "An option cannot be used here: connect the account anew, or see [egress].");

  platform_.FailFetches(std::nullopt);
  EXPECT_LT(poller.RunOnce({}), clock_.Now() + connectors::kRepairInterval);
  EXPECT_EQ(Must(store_->accounts().Get(account_.id)).state, AccountState::kOk);
}

TEST_F(WorkerPoolTest, ACheckUnderWayEndsBeforeTheNewCredentialIsTried) {
  AccountRunners runners(*store_, pool_, clock_, std::chrono::milliseconds(60'000));
  platform_.Hold(kOwn);
  runners.AccountConnected(account_.id);
  auto check = std::async(std::launch::async, [&] { return runners.Check(account_.id); });
  platform_.WaitForCall(kOwn);
  EXPECT_TRUE(
      runners.ReplaceCredential(account_.id, Credential("new"), std::nullopt, testing::Officer())
          .has_value());
  EXPECT_FALSE(check.get().has_value());
  EXPECT_EQ(Stored(), "new");
  platform_.Free(kOwn);
}

// Checks come in at every moment of a replacement. Whatever they get, the credential that is stored
// is the one that the platform accepted.
TEST_F(WorkerPoolTest, ChecksDuringAReplacementDoNotChangeItsVerdict) {
  AccountRunners runners(*store_, pool_, clock_, std::chrono::milliseconds(60'000));
  runners.AccountConnected(account_.id);
  std::atomic<bool> done{false};
  std::vector<std::jthread> checkers;
  for (int i = 0; i < 3; ++i) {
    checkers.emplace_back([&] {
      while (!done) {
        const auto report = runners.Check(account_.id);
        if (report) {
          EXPECT_NE(report->own_handle.substr(0, 5), "wrong");
        }
      }
    });
  }
  std::string expected = kOwn;
  for (int i = 0; i < 30; ++i) {
    const std::string wrong = "wrong-" + std::to_string(i);
    platform_.Refuse(wrong);
    EXPECT_EQ(testing::FailureOf(runners.ReplaceCredential(account_.id, Credential(wrong),
                                                           std::nullopt, testing::Officer())),
              ErrorCode::kCredentialDead);
    EXPECT_EQ(Stored(), expected);
    expected = "good-" + std::to_string(i);
    const auto changed = runners.ReplaceCredential(account_.id, Credential(expected), std::nullopt,
                                                   testing::Officer());
    EXPECT_TRUE(changed.has_value()) << (changed ? "" : changed.error().message);
    EXPECT_EQ(Stored(), expected);
  }
  done = true;
  checkers.clear();
  runners.Stop();
}

}  // namespace
}  // namespace mayfly::service
