// keys/forward: what it keeps through cuts, damage and rewriting, and what it says of an older
// store.
#include <fstream>
#include <sodium.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/forward_ledger.h"
#include "store/schema.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using store::ForwardLedger;
using store::LedgerEntry;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");

class LedgerFile : public ::testing::Test {
 protected:
  std::unique_ptr<ForwardLedger> Open(std::uint8_t key_byte = 7) {
    store::Pair key;
    key.fill(key_byte);
    auto opened = ForwardLedger::Open(file(), key);
    EXPECT_EQ(key[0], 0) << "the key is left in memory";
    if (!opened) {
      error_ = opened.error();
      return nullptr;
    }
    return *std::move(opened);
  }
  static LedgerEntry Put(const std::string& key) { return {.key = key, .value = "v", .at = kNow}; }
  static std::vector<std::string> KeysOf(const ForwardLedger& ledger) {
    std::vector<std::string> keys;
    Must(ledger.Replay([&](const LedgerEntry& entry) -> Status {
      keys.push_back(entry.key);
      return {};
    }));
    return keys;
  }
  fs::path file() const { return dir_ / "ledger"; }

  TempDir dir_;
  Error error_;
};

TEST_F(LedgerFile, KeepsWhatWasWrittenInItsOrder) {
  auto ledger = Open();
  EXPECT_FALSE(ledger->generations());
  Must(ledger->Append({Put("a"), Put("b")}));
  Must(ledger->AppendGenerations({.low = 4, .high = 5}, kNow));
  Must(ledger->Append({Put("c")}));
  ledger = Open();
  EXPECT_THAT(KeysOf(*ledger), ElementsAre("a", "b", "", "c"));
  EXPECT_TRUE(ledger->generations()->Include(4) && ledger->generations()->Include(5));
  EXPECT_FALSE(ledger->generations()->Include(3));
  EXPECT_EQ(ledger->latest(), kNow);
  EXPECT_THAT(FilesWith(dir_.path(), {"mayfly-forward1"}).size(), 1u);
}

TEST_F(LedgerFile, AWriteThatWasCutOffIsDroppedAndWrittenOver) {
  std::uintmax_t whole = 0;
  {
    auto ledger = Open();
    Must(ledger->Append({Put("a")}));
    whole = fs::file_size(file());
    Must(ledger->Append({Put("b")}));
  }
  const std::uintmax_t end = fs::file_size(file());
  for (std::uintmax_t size = end - 1; size >= whole; --size) {
    fs::resize_file(file(), size);
    auto ledger = Open();
    ASSERT_NE(ledger, nullptr) << size;
    EXPECT_THAT(KeysOf(*ledger), ElementsAre("a"));
  }
  auto ledger = Open();
  Must(ledger->Append({Put("c")}));
  EXPECT_THAT(KeysOf(*Open()), ElementsAre("a", "c"));
}

TEST_F(LedgerFile, DamageInsideIsToldAndNothingIsGuessed) {
  std::uintmax_t whole = 0;
  {
    auto ledger = Open();
    Must(ledger->Append({Put("a")}));
    whole = fs::file_size(file());
    Must(ledger->Append({Put("b")}));
  }
  std::fstream bytes(file(), std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(static_cast<std::streamoff>(whole - 3));
  bytes.put('\x55');
  bytes.close();
  EXPECT_EQ(Open(), nullptr);
  EXPECT_EQ(error_.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error_.message, HasSubstr(file().string()));
}

TEST_F(LedgerFile, AnotherKeyDoesNotOpenIt) {
  Must(Open()->Append({Put("a")}));
  Must(Open()->Append({Put("b")}));
  EXPECT_EQ(Open(8), nullptr);
  EXPECT_EQ(error_.code, ErrorCode::kCorrupt);
}

TEST_F(LedgerFile, IsRewrittenWholeOrNotAtAll) {
  auto ledger = Open();
  Must(ledger->Append({Put("a"), Put("b")}));
  const auto failed = ledger->Rewrite([&](const ForwardLedger::Visitor& sink) -> Status {
    MAYFLY_RETURN_IF_ERROR(sink(Put("x")));
    return Fail(ErrorCode::kIo, "in the middle");
  });
  EXPECT_FALSE(failed);
  EXPECT_THAT(KeysOf(*Open()), ElementsAre("a", "b"));
  Must(ledger->Rewrite(
      [&](const ForwardLedger::Visitor& sink) -> Status { return sink(Put("c")); }));
  Must(ledger->Append({Put("d")}));
  EXPECT_THAT(KeysOf(*Open()), ElementsAre("c", "d"));
}

// --- a store and its older copy, without any program around them

class OlderStore : public ::testing::Test {
 protected:
  OlderStore() {
    for (const char* name : {"store", "keys"}) {
      fs::create_directory(dir_ / name);
      fs::permissions(dir_ / name, fs::perms::owner_all);
    }
    Must(store::CreateKeyVault({.dir = dir_ / "keys", .sync = false, .any_file_system = true},
                               Master()));
  }
  static store::SecretKey Master() {
    std::array<std::uint8_t, 32> bytes;
    bytes.fill(7);
    return store::SecretKey::FromBytes(bytes);
  }
  std::unique_ptr<store::Store> Open() {
    auto vault = Must(store::OpenKeyVault(
        {.dir = dir_ / "keys", .sync = false, .any_file_system = true}, Master()));
    auto engine = Must(store::OpenRocksDbEngine(
        {.dir = dir_ / "store", .block_cache_bytes = 8u << 20, .write_buffer_bytes = 8u << 20}));
    return Must(store::Store::Open(
        std::move(engine), std::move(vault),
        {.ledger = dir_ / "keys" / "forward", .checkpoint_dir = dir_ / "checkpoint"}));
  }
  void Exchange(const fs::path& with) {
    fs::remove_all(dir_ / "store");
    fs::copy(with, dir_ / "store");
  }

  TempDir dir_;
};

TEST_F(OlderStore, ThePresentOneIsNeverTakenForOne) {
  for (int start = 0; start < 3; ++start) {
    auto store = Open();
    EXPECT_FALSE(Must(store->Reconcile(kNow)));
    Must(store->TakeCheckpoint(Officer("cli:0"), kNow));
    Must(store->DropCheckpoint());
  }
}

TEST_F(OlderStore, ForgottenUntilTokensAndSequencesDoNotGoBack) {
  auto store = Open();
  EXPECT_FALSE(Must(store->Reconcile(kNow)));
  const Account account = Connect(*store, kNow, "P7D");
  const auto token = Must(
      store->tokens().Create(Role::kComms, "desk", std::chrono::days(30), Officer("cli:0"), kNow));
  fs::copy(Must(store->TakeCheckpoint(Officer("cli:0"), kNow)), dir_ / "copy");
  Must(store->DropCheckpoint());
  // A whole life after the copy: collected, ended, and a token revoked.
  Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", "m1", kNow)}), kNow));
  const TimePoint later = kNow + std::chrono::days(8);
  EXPECT_EQ(Must(store->purge().RunOnce(later)).size(), 1u);
  const auto receipts = Must(store->purge().Receipts(std::nullopt, 10));
  Must(store->tokens().Revoke(token.info.id, Officer("cli:0"), later));
  const auto entries = Must(store->audit().Read(0, 100));
  store.reset();

  for (int time = 0; time < 2; ++time) {  // it does not help to put it back again
    Exchange(dir_ / "copy");
    store = Open();
    const auto report = Must(store->Reconcile(later));
    ASSERT_TRUE(report);
    EXPECT_EQ(report->tokens_revoked, 1u);
    EXPECT_EQ(FailureOf(store->tokens().Verify(token.token, later)), ErrorCode::kNotFound);
    EXPECT_EQ(Must(store->accounts().Get(account.id)).forgotten_until, kNow);
    const auto restored = Must(store->purge().Receipts(std::nullopt, 10));
    ASSERT_EQ(restored.size(), receipts.size());
    EXPECT_EQ(restored[0].messages, receipts[0].messages);
    EXPECT_EQ(restored[0].keys_destroyed_at, receipts[0].keys_destroyed_at);
    EXPECT_GT(Must(store->audit().Read(0, 100)).back().sequence, entries.back().sequence);
    EXPECT_EQ(Must(store->audit().Read(0, 100)).back().action, "store.returned");
    // What ended is not collected again, not even under a longer period.
    const auto again = Must(
        store->collection().Collect(PageOf(account.id, {Incoming("anna", "m1", kNow)}), later));
    EXPECT_EQ(again.stored, 0u);
    // Nobody answers before the account has read up to now.
    store.reset();
    EXPECT_FALSE(Must(Open()->Reconcile(later))) << "once is enough";
  }
}

// Whoever is restricted stays so, and whoever is not any more does not become so again.
TEST_F(OlderStore, NeitherRestrictionsNorTheirEndGoBack) {
  using store::RestrictionKind;
  auto store = Open();
  Must(store->Reconcile(kNow));
  const Account account = Connect(*store, kNow);
  const auto restrict = [&](const char* who, RestrictionKind kind) {
    return Must(store->rights().Restrict({account.id, PlatformId(who)}, kind, PrivacyOfficer(),
                                         kNow))
        .id;
  };
  Must(store->collection().Collect(
      PageOf(account.id, {Incoming("anna", "a1", kNow), Incoming("bert", "b1", kNow)}), kNow));
  const auto bert = restrict("person-of-bert", RestrictionKind::kRestriction);
  const auto dora = restrict("person-of-dora", RestrictionKind::kObjection);
  fs::copy(Must(store->TakeCheckpoint(Officer("cli:0"), kNow)), dir_ / "copy");
  Must(store->DropCheckpoint());
  const auto anna = restrict("person-of-anna", RestrictionKind::kRestriction);
  const auto cora = restrict("person-of-cora", RestrictionKind::kObjection);
  const TimePoint later = kNow + std::chrono::days(1);
  // Anna's goes along to another date; the others are lifted.
  Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", "a2", later)}), later));
  Must(store->rights().Lift(bert, PrivacyOfficer(), later));
  Must(store->rights().Lift(dora, PrivacyOfficer(), later));
  const auto expected = store->rights().List(later);
  store.reset();

  for (int time = 0; time < 2; ++time) {  // the second one with a ledger that was written anew
    Exchange(dir_ / "copy");
    store = Open();
    ASSERT_TRUE(Must(store->Reconcile(later)));
    const auto list = store->rights().List(later);
    ASSERT_EQ(list.size(), expected.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      EXPECT_EQ(list[i].id, expected[i].id);
      EXPECT_EQ(list[i].expires_at, expected[i].expires_at);
    }
    EXPECT_EQ(Must(store->rights().Get(anna, later)).kind, RestrictionKind::kRestriction);
    EXPECT_EQ(Must(store->rights().Get(cora, later)).kind, RestrictionKind::kObjection);
    const auto served = Must(store->collection().Collect(
        PageOf(account.id, {Incoming("anna", "a2", later), Outgoing("cora", "c1", kNow)}), later));
    EXPECT_EQ(served.stored, 1u);
    EXPECT_EQ(FailureOf(store->rights().Get(bert, later)), ErrorCode::kNotFound);
    for (const Conversation& conversation : Inbox(*store, later)) {
      EXPECT_EQ(conversation.restricted, conversation.platform_id != PlatformId("bert"));
    }
    store.reset();
  }
}

// A copy from before one message was withdrawn, a person erased and a date ended, put back and read
// with today's keys.
TEST_F(OlderStore, ShowsExactlyWhatStillLives) {
  auto store = Open();
  Must(store->Reconcile(kNow));
  const Account account = Connect(*store, kNow);
  const auto person = [](int number) { return "person" + std::to_string(number); };
  std::vector<store::CollectedMessage> messages;
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(i);
    messages.push_back(Incoming(person(i % 20), "m" + number, kNow - std::chrono::minutes(i),
                                "letter word" + number));
  }
  const TimePoint earlier = kNow - std::chrono::days(3);
  Must(store->collection().Collect(PageOf(account.id, messages), kNow));
  Must(store->collection().Collect(
      PageOf(account.id, {Incoming("carl", "old", earlier, "letter from carl")}), kNow));
  Must(store->search_index().WriteOut(kNow));
  fs::copy(Must(store->TakeCheckpoint(Officer("cli:0"), kNow)), dir_ / "copy");
  Must(store->DropCheckpoint());

  auto page = PageOf(account.id, {});
  page.withdrawals = {{PlatformId(person(7)), PlatformId("m7")}};
  Must(store->collection().Collect(page, kNow));
  Must(store->erasure().ErasePerson(
      {.account = account.id, .id = PlatformId("person-of-" + person(3))}, Officer(), kNow));
  Must(store->erasure().RunOnce(kNow));
  const TimePoint later = kNow + std::chrono::days(89) + std::chrono::hours(15);
  ASSERT_EQ(Must(store->purge().RunOnce(later)).size(), 1u) << "the date of carl's letter";
  const auto shown = [&] {
    std::multiset<std::string> ids;
    for (const Conversation& conversation : Inbox(*store, later)) {
      for (const Message& message : Thread(*store, conversation.id, later)) {
        ids.insert(message.platform_id.Reveal());
      }
    }
    return ids;
  };
  const std::multiset<std::string> living = shown();
  EXPECT_EQ(living.size(), 189u);  // without ten of person 3, one of person 7, and carl's
  store.reset();

  Exchange(dir_ / "copy");
  store = Open();
  ASSERT_TRUE(Must(store->Reconcile(later)));
  Must(store->purge().RunOnce(later));
  Must(store->erasure().RunOnce(later));
  // What the destroyed keys had sealed is noise in the copy: of person 7 on that date everything,
  // which the platform still has.
  for (const std::string& id : shown()) EXPECT_TRUE(living.contains(id)) << id << " is back";
  EXPECT_EQ(shown().size(), 180u);
  std::erase_if(messages, [](const auto& message) { return message.id.Reveal() == "m7"; });
  Must(store->collection().Collect(PageOf(account.id, messages), later));
  EXPECT_EQ(shown(), living) << "and nobody who was erased is collected again";
  const auto found = [&](const std::string& words) {
    const auto query = Must(store::search::Query::Parse(store::search::QueryText(words)));
    const store::Look look = Must(store->audit().LookAtSearch(Officer(), later));
    return Must(store->search().Find(look, query, {}, "", 200, later)).items.size();
  };
  EXPECT_EQ(found("letter"), 189u);
  EXPECT_EQ(found("word3"), 0u);
  EXPECT_EQ(found("word7"), 0u);
  EXPECT_EQ(found("carl"), 0u);
  EXPECT_EQ(found("word27"), 1u);
  EXPECT_EQ(store->damaged_records(), 0u);
}

TEST_F(OlderStore, ACheckpointGoesWhenADateEnds) {
  auto store = Open();
  EXPECT_FALSE(Must(store->Reconcile(kNow)));
  const Account account = Connect(*store, kNow, "P7D");
  Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", "m1", kNow)}), kNow));
  const fs::path taken = Must(store->TakeCheckpoint(Officer("cli:0"), kNow));
  EXPECT_TRUE(fs::exists(taken / "CURRENT"));
  Must(store->purge().RunOnce(kNow + std::chrono::hours(1)));
  EXPECT_TRUE(fs::exists(taken));
  Must(store->purge().RunOnce(kNow + std::chrono::hours(7)));
  EXPECT_FALSE(fs::exists(taken)) << "it has grown old";
  Must(store->TakeCheckpoint(Officer("cli:0"), kNow + std::chrono::days(7)));
  Must(store->purge().RunOnce(kNow + std::chrono::days(7) + std::chrono::hours(1)));
  const TimePoint later = kNow + std::chrono::days(8);
  Must(store->TakeCheckpoint(Officer("cli:0"), later));
  store.reset();
  EXPECT_TRUE(fs::exists(taken));
  Open();
  EXPECT_FALSE(fs::exists(taken)) << "a start drops it";
}

TEST_F(OlderStore, KeysThatAreOlderThanTheStoreAreRefused) {
  EXPECT_FALSE(Must(Open()->Reconcile(kNow)));
  fs::copy(dir_ / "keys", dir_ / "old-keys");
  EXPECT_FALSE(Must(Open()->Reconcile(kNow)));
  fs::remove_all(dir_ / "keys");
  fs::rename(dir_ / "old-keys", dir_ / "keys");
  fs::permissions(dir_ / "keys", fs::perms::owner_all);
  EXPECT_EQ(FailureOf(Open()->Reconcile(kNow)), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly::testing
