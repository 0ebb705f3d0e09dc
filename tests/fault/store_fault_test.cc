// Promises P1, P2 and P4 on a disk that fails: each file operation of a day's work fails in turn,
// in six ways. Whatever was acknowledged is there afterwards, the store opens, and nothing that has
// expired can be read.
//
// MAYFLY_FAULT_STRIDE says which operations: every 1st, or every 199th as long as nobody says.
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/engine/rocksdb/rocksdb_engine.h"
#include "store/store.h"
#include "tests/support/file_faults.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;

const TimePoint kStart = At("2026-03-05T10:00:00.000Z");
// Accounts of a week: the script sees dates end.
constexpr const char* kPeriod = "P7D";
constexpr int kDays = 9;
// A full disk stays full for so many steps of the script.
constexpr int kStepsFull = 3;

std::array<std::uint8_t, 32> Master() {
  std::array<std::uint8_t, 32> master{};
  master.fill(7);
  return master;
}

// The store on its files, opened and closed as the service does.
class Service {
 public:
  explicit Service(const std::filesystem::path& dir) : dir_(dir) {}
  static void Create(const std::filesystem::path& dir) {
    for (const char* name : {"store", "keys"}) {
      std::filesystem::create_directory(dir / name);
      std::filesystem::permissions(dir / name, std::filesystem::perms::owner_all);
    }
    const auto master = Master();
    Must(store::CreateKeyVault({.dir = dir / "keys", .any_file_system = true},
                               store::SecretKey::FromBytes(master)));
  }
  Status Open() {
    const auto master = Master();
    MAYFLY_ASSIGN_OR_RETURN(auto engine,
                            store::OpenRocksDbEngine({.dir = dir_ / "store",
                                                      .block_cache_bytes = 1u << 20,
                                                      .write_buffer_bytes = 256u << 10}));
    MAYFLY_ASSIGN_OR_RETURN(auto vault,
                            store::OpenKeyVault({.dir = dir_ / "keys", .any_file_system = true},
                                                store::SecretKey::FromBytes(master)));
    MAYFLY_ASSIGN_OR_RETURN(store_, store::Store::Open(std::move(engine), std::move(vault), {}));
    return {};
  }
  void Close() { store_.reset(); }
  bool is_open() const { return store_ != nullptr; }
  store::Store& operator*() { return *store_; }
  store::Store* operator->() { return store_.get(); }

 private:
  const std::filesystem::path dir_;
  std::unique_ptr<store::Store> store_;
};

// What the world was told.
struct Acknowledged {
  struct Said {
    std::set<std::string> texts;  // any of them may be shown: an edit may have been lost
    TimePoint expires_at;
    bool may_be_withdrawn = false;
    bool is_withdrawn = false;
  };
  std::map<std::string, Said> messages;  // by platform id
  std::set<ExpiryDay> ended;             // dates with a receipt
};

class Script {
 public:
  explicit Script(const std::filesystem::path& dir) : dir_(dir), service_(dir) {
    faults_.emplace(dir);
    Service::Create(dir);
    Must(service_.Open());
    account_ = Connect(*service_, kStart, kPeriod);
    service_.Close();
    prepared_ = faults_->operations();
  }

  FileFaults& faults() { return *faults_; }
  // Operations before the day's work begins.
  std::uint64_t prepared() const { return prepared_; }

  // A day's work, day after day. Every step may fail; then the service is started anew and does it
  // again, as it would.
  void Run() {
    for (int day = 0; day < kDays && faults_->has_power(); ++day) {
      const TimePoint now = kStart + days(day);
      Step(now, [&] { return Purge(now); });
      const std::string name = std::to_string(day);
      Step(now, [&] { return Collect(name, now); });
      if (day % 3 == 1) Step(now, [&] { return EditAndWithdraw(std::to_string(day - 1), now); });
      if (day % 4 == 2) Step(now, [&] { return Answer(name, now); });
      if (day % 4 == 3) Step(now, [&] { return service_->FlushBeforeExpiry(); });
      if (day % 5 == 4) service_.Close();  // a restart
    }
    service_.Close();
  }

  // With a disk that works again.
  void Check() {
    faults_->Repair();
    Service after(dir_);
    const auto opened = after.Open();
    ASSERT_TRUE(opened) << opened.error().message;
    const TimePoint now = kStart + days(kDays);
    const auto purged = after->purge().RunOnce(now);
    ASSERT_TRUE(purged) << purged.error().message;
    EXPECT_TRUE(after->View(now).due_not_destroyed.empty());
    EXPECT_EQ(after->damaged_records(), 0u);

    std::map<std::string, std::string> shown;
    std::set<std::string> texts;
    for (const Conversation& conversation : Inbox(*after, now)) {
      for (const Message& message : Thread(*after, conversation.id, now)) {
        if (message.direction != Direction::kIncoming) continue;
        const std::string text(message.text.Reveal());
        EXPECT_TRUE(texts.insert(text).second || text.empty()) << "twice: " << text;
        const std::string id = IdOf(text);
        shown[id] = text;
        EXPECT_LT(now, message.expires_at);
      }
    }
    for (const auto& [id, said] : acknowledged_.messages) {
      const bool expired = said.expires_at <= now;
      const auto found = shown.find(id);
      if (expired || said.is_withdrawn) {
        EXPECT_EQ(found, shown.end()) << id << (expired ? " is back" : " was withdrawn");
      } else if (!said.may_be_withdrawn) {
        ASSERT_NE(found, shown.end()) << id << " is lost";
      }
      if (found != shown.end()) {
        EXPECT_TRUE(said.texts.contains(found->second)) << id << " says something else";
      }
    }
    EXPECT_EQ(after->damaged_records(), 0u);
    // And it goes on.
    const auto collected = after->collection().Collect(
        PageOf(account_.id, {Incoming("late", "late-1", now, "late-1 first")}), now);
    EXPECT_TRUE(collected) << collected.error().message;
  }

 private:
  static std::string IdOf(const std::string& text) { return text.substr(0, text.find(' ')); }

  template <class Work>
  void Step(TimePoint now, const Work& work) {
    ++step_;
    if (faults_->happened() && full_until_ == 0) full_until_ = step_ + kStepsFull;
    if (full_until_ != 0 && step_ >= full_until_ && faults_->has_power()) faults_->Repair();
    // Three times: the first failure may be of the commit, the second of the start after it.
    for (int i = 0; i < 3; ++i) {
      if (!service_.is_open()) {
        if (!service_.Open()) continue;
        if (!service_->outbox().RecoverInterrupted(now)) {
          service_.Close();
          continue;
        }
      }
      if (work()) return;
      service_.Close();
    }
  }

  Status Purge(TimePoint now) {
    MAYFLY_ASSIGN_OR_RETURN(const auto receipts, service_->purge().RunOnce(now));
    for (const store::PurgeReceipt& receipt : receipts) acknowledged_.ended.insert(receipt.day);
    return {};
  }

  Status Collect(const std::string& name, TimePoint now) {
    std::vector<store::CollectedMessage> messages;
    for (int i = 0; i < 3; ++i) {
      const std::string id = "m" + name + "-" + std::to_string(i);
      // Two people write every day, a third now and then; some of it was sent a while ago.
      const std::string person = i < 2 ? "anna" : "bert-" + name;
      messages.push_back(Incoming(person, id, now - hours(10 * i), id + " first"));
    }
    MAYFLY_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome,
                            service_->collection().Collect(PageOf(account_.id, messages), now));
    for (const store::CollectedMessage& message : messages) {
      acknowledged_.messages[message.id.Reveal()] = {
          .texts = {std::string(message.text.Reveal())},
          .expires_at = StartOf(ExpiryOf(*message.sent_at, now))};
    }
    return {};
  }

  static ExpiryDay ExpiryOf(TimePoint sent_at, TimePoint first_seen) {
    const RetentionRule rule{.zone = Zone::Utc(), .period = Must(RetentionPeriod::Parse(kPeriod))};
    return ExpiryDayOf(std::min(sent_at, first_seen), rule);
  }

  Status EditAndWithdraw(const std::string& name, TimePoint now) {
    const std::string edited = "m" + name + "-0";
    const std::string withdrawn = "m" + name + "-1";
    store::CollectedPage page;
    page.account = account_.id;
    page.cursor = "cursor-edits";
    page.edits.push_back({.conversation = PlatformId("anna"),
                          .id = PlatformId(edited),
                          .edited_at = now,
                          .text = MessageBody(edited + " second")});
    page.withdrawals.push_back({PlatformId("anna"), PlatformId(withdrawn)});
    // From here on either is right, until it is acknowledged.
    const auto first = acknowledged_.messages.find(edited);
    if (first != acknowledged_.messages.end()) first->second.texts.insert(edited + " second");
    const auto second = acknowledged_.messages.find(withdrawn);
    if (second != acknowledged_.messages.end()) second->second.may_be_withdrawn = true;
    MAYFLY_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome,
                            service_->collection().Collect(page, now));
    if (first != acknowledged_.messages.end()) first->second.texts.erase(edited + " first");
    if (second != acknowledged_.messages.end()) second->second.is_withdrawn = true;
    return {};
  }

  Status Answer(const std::string& name, TimePoint now) {
    MAYFLY_ASSIGN_OR_RETURN(const auto look, service_->audit().LookAtInbox(Officer(), now));
    MAYFLY_ASSIGN_OR_RETURN(const auto inbox, service_->conversations().List(look, {}, "", 1, now));
    if (inbox.items.empty() || !inbox.items.front().last_message) return {};
    MAYFLY_ASSIGN_OR_RETURN(
        const auto queued,
        service_->outbox().Enqueue({.conversation = inbox.items.front().id,
                                    .after_message = *inbox.items.front().last_message,
                                    .text = MessageBody("answer " + name),
                                    .idempotency_key = "key-" + name},
                                   Officer(), now));
    if (queued.reply.state != ReplyState::kQueued) return {};
    MAYFLY_ASSIGN_OR_RETURN([[maybe_unused]] const auto job,
                            service_->outbox().StartSending(queued.reply.id, now));
    MAYFLY_ASSIGN_OR_RETURN(
        [[maybe_unused]] const auto sent,
        service_->outbox().MarkSent(queued.reply.id, PlatformId("sent-" + name), now, now));
    return {};
  }

  const std::filesystem::path dir_;
  Service service_;
  Account account_;
  std::optional<FileFaults> faults_;
  std::uint64_t prepared_ = 0;
  Acknowledged acknowledged_;
  int step_ = 0;
  int full_until_ = 0;
};

std::uint64_t Stride() {
  const char* wanted = std::getenv("MAYFLY_FAULT_STRIDE");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 199;
}

class StoreFault : public ::testing::TestWithParam<FileFault> {};

TEST_P(StoreFault, NothingIsLostAndNothingComesBackWhicheverOperationFails) {
  ASSERT_GT(Stride(), 0u) << "MAYFLY_FAULT_STRIDE is no number";
  std::uint64_t operations = 0;
  {
    TempDir dir;
    Script script(dir.path());
    script.Run();
    operations = script.faults().operations() - script.prepared();
    script.Check();
    ASSERT_FALSE(HasFailure()) << "without any fault";
  }
  ASSERT_GT(operations, 600u);
  std::uint64_t tried = 0;
  std::uint64_t met = 0;
  // Each fault begins at an operation of its own, so that together they meet more of them.
  for (std::uint64_t at = static_cast<std::uint64_t>(GetParam()) % Stride(); at < operations;
       at += Stride()) {
    SCOPED_TRACE(std::string(ToString(GetParam())) + " at operation " + std::to_string(at));
    TempDir dir;
    Script script(dir.path());
    script.faults().FailAt(script.prepared() + at, GetParam());
    script.Run();
    ++tried;
    if (script.faults().happened()) ++met;
    script.Check();
    if (HasFailure()) return;
  }
  std::printf("%s: %llu of %llu operations failed in turn\n", ToString(GetParam()),
              static_cast<unsigned long long>(met), static_cast<unsigned long long>(operations));
  // The last ones may not come at all: a flush in the background is one operation more or less.
  EXPECT_GE(met * 10, tried * 9);
}

INSTANTIATE_TEST_SUITE_P(, StoreFault,
                         ::testing::Values(FileFault::kIoError, FileFault::kBadRead,
                                           FileFault::kFlippedBit, FileFault::kNoSpace,
                                           FileFault::kTornWrite, FileFault::kPowerCut),
                         [](const ::testing::TestParamInfo<FileFault>& info) {
                           std::string name = ToString(info.param);
                           std::erase(name, ' ');
                           return name;
                         });

}  // namespace
}  // namespace mayfly::testing
