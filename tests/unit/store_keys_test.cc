// The store and its keys: a key directory that was brought back from a copy is refused, a new
// master key changes nothing that people see, and a receipt says what its destruction was worth.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/schema.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"
#include "tests/support/torn.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");
const ExpiryDay kEnd = DayAt("2026-06-05");

class StoreKeys : public ::testing::Test {
 protected:
  StoreKeys() : store_(EngineKind::kRocksDb), account_(Connect(*store_, kNow)) {
    Must(store_->collection().Collect(
        PageOf(account_.id, {Incoming("anna", "m1", kNow), Incoming("bert", "m2", kNow + days(1))}),
        kNow + days(1)));
  }
  // Opens store and keys as they lie there.
  Result<std::unique_ptr<store::Store>> Open() {
    return store::Store::Open(Must(store::OpenRocksDbEngine({.dir = store_.store_dir(),
                                                             .block_cache_bytes = 8u << 20,
                                                             .write_buffer_bytes = 8u << 20})),
                              store_.OpenVault(), {});
  }
  TempStore store_;
  Account account_;
};

TEST_F(StoreKeys, KeysFromBeforeADestructionAreRefused) {
  const Directory old_keys = ReadDirectory(store_.keys_dir());
  ASSERT_THAT(Must(store_->purge().RunOnce(StartOf(kEnd))), SizeIs(1));
  store_.Close();
  const Directory new_keys = ReadDirectory(store_.keys_dir());

  WriteDirectory(store_.keys_dir(), old_keys);
  {
    const auto rolled_back = Open();
    ASSERT_FALSE(rolled_back);
    EXPECT_EQ(rolled_back.error().code, ErrorCode::kSealed);
    EXPECT_EQ(rolled_back.error().field, "keys-rolled-back");
  }
  // Without the file that counts, too.
  Directory uncounted = old_keys;
  uncounted.erase("ledger.a");
  uncounted.erase("ledger.b");
  WriteDirectory(store_.keys_dir(), uncounted);
  EXPECT_FALSE(Open());
  // And the newest ones are taken again.
  WriteDirectory(store_.keys_dir(), new_keys);
  const auto back = Open();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_THAT(Inbox(**back, StartOf(kEnd)), SizeIs(1));
}

// A destroyed slot (an erased person) has no receipt; the next commit of any kind tells of it.
TEST_F(StoreKeys, KeysFromBeforeAPersonWasErasedAreRefused) {
  const store::Slot slot = Must(store_.vault().TakeSlot(kEnd));
  Must(store_->SaveClock({.certain = kNow, .boot_id = "boot", .since_boot = {}}));
  const Directory old_keys = ReadDirectory(store_.keys_dir());
  Must(store_.vault().DestroySlots(kEnd, {slot}));
  Must(store_->SaveClock({.certain = kNow + days(2), .boot_id = "boot", .since_boot = {}}));
  store_.Close();
  WriteDirectory(store_.keys_dir(), old_keys);
  EXPECT_FALSE(Open());
}

// An older store with today's keys is a restored backup, and none of the keys' business.
TEST_F(StoreKeys, AnOlderStoreIsTaken) {
  store_.Close();
  const std::filesystem::path copy = store_.dir() / "copy";
  std::filesystem::copy(store_.store_dir(), copy, std::filesystem::copy_options::recursive);
  store_.Open();
  ASSERT_THAT(Must(store_->purge().RunOnce(StartOf(kEnd))), SizeIs(1));
  store_.Close();
  std::filesystem::remove_all(store_.store_dir());
  std::filesystem::rename(copy, store_.store_dir());
  const auto restored = Open();
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_THAT(Inbox(**restored, StartOf(kEnd)), SizeIs(1)) << "the ended date does not come back";
}

TEST_F(StoreKeys, ANewMasterKeyChangesNothingThatPeopleSee) {
  const auto token = Must(
      store_->tokens().Create(Role::kComms, "x", days(30), Actor{.id = "test"}, kNow + days(1)));
  const auto before = Inbox(*store_, kNow + days(1));
  const std::string cursor_key = store_->PageCursorKey();
  SimulatedClock clock(kNow + days(1));
  const auto next = std::array<std::uint8_t, 32>{1, 2, 3};
  Must(store_->RotateMasterKey(store::SecretKey::FromBytes(next), Actor{.id = "test"}, clock));
  store_.Close();
  auto engine = Must(store::OpenRocksDbEngine(
      {.dir = store_.store_dir(), .block_cache_bytes = 8u << 20, .write_buffer_bytes = 8u << 20}));
  auto vault =
      Must(store::OpenKeyVault({.dir = store_.keys_dir(), .sync = false, .any_file_system = true},
                               store::SecretKey::FromBytes(next)));
  const auto store = Must(store::Store::Open(std::move(engine), std::move(vault), {}));
  const auto after = Inbox(*store, kNow + days(1));
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i].id, before[i].id);
  EXPECT_EQ(Must(store->tokens().Verify(token.token, kNow + days(1))).id, token.info.id);
  EXPECT_EQ(store->PageCursorKey(), cursor_key);
}

TEST_F(StoreKeys, AReceiptKeepsTheGradeOfItsDay) {
  store_.options().p2_grade = store::P2Grade::kB;
  store_.Reopen();
  ASSERT_THAT(Must(store_->purge().RunOnce(StartOf(kEnd))), SizeIs(1));
  store_.options().p2_grade = store::P2Grade::kC;
  store_.Reopen();
  const auto receipts = Must(store_->purge().Receipts(std::nullopt, 10));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].p2_grade, store::P2Grade::kB);
}

}  // namespace
}  // namespace mayfly::testing
