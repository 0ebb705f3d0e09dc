// Key files torn at every byte of every write: recovered or refused, never misread, and a destroyed
// key never comes back.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/keys/key_file.h"
#include "store/keys/key_vault.h"
#include "store/keys/ledger.h"
#include "store/model/ids.h"
#include "tests/support/key_bytes.h"
#include "tests/support/temp_dir.h"
#include "tests/support/torn.h"

namespace mayfly::store {
namespace {

using mayfly::testing::Cuts;
using mayfly::testing::Directory;
using mayfly::testing::FixedKey;
using mayfly::testing::ReadDirectory;
using mayfly::testing::TearsOf;
using mayfly::testing::TempDir;
using mayfly::testing::WriteDirectory;
namespace fs = std::filesystem;

constexpr std::uint8_t kMaster = 0xA0;
const ExpiryDay kDay{std::chrono::days(20872)};  // 2027-02-23

class TornAtEachByte : public ::testing::Test {
 protected:
  TornAtEachByte() {
    EXPECT_TRUE(
        CreateKeyVault({.dir = keys(), .sync = false, .any_file_system = true}, FixedKey(kMaster)));
    const auto vault = Open();
    EXPECT_TRUE(vault->OpenDate(kDay));
    for (int i = 0; i < 3; ++i) {
      slots_.push_back(*vault->TakeSlot(kDay));
      pairs_.push_back(*vault->PairFor(kDay, slots_.back()));
    }
  }
  fs::path keys() const { return dir_ / "keys"; }
  std::unique_ptr<KeyVault> Open() const {
    auto vault =
        OpenKeyVault({.dir = keys(), .sync = false, .any_file_system = true}, FixedKey(kMaster));
    EXPECT_TRUE(vault) << vault.error().message;
    return vault ? *std::move(vault) : nullptr;
  }

  // Runs `check(vault, a_was_whole)` on all that may be left of a write which turned `before` into
  // `after`, first in D20270223.a, then in .b.
  template <class Check>
  void ForEachTear(const Directory& before, const Directory& after, Check check,
                   Cuts cuts = Cuts::kBothEnds) {
    std::size_t torn = 0;
    Directory state = before;
    for (const char* mirror : {"D20270223.a", "D20270223.b"}) {
      const bool a_is_whole = std::string(mirror).ends_with(".b");
      for (const std::string& cut : TearsOf(before.at(mirror), after.at(mirror), cuts)) {
        state[mirror] = cut;
        WriteDirectory(keys(), state);
        const auto vault = Open();
        ASSERT_NE(vault, nullptr) << mirror << " " << torn;
        check(*vault, a_is_whole);
        ++torn;
        ASSERT_FALSE(HasFailure()) << mirror << ", tear " << torn;
      }
      state[mirror] = after.at(mirror);
    }
    std::cout << "[          ] " << torn << " torn states\n";
    EXPECT_GT(torn, 100u);
  }
  void ExpectOthers(KeyVault& vault) const {
    for (const std::size_t i : {0u, 2u}) {
      const Result<Pair> pair = vault.PairFor(kDay, slots_[i]);
      ASSERT_TRUE(pair) << pair.error().message;
      EXPECT_EQ(*pair, pairs_[i]);
    }
  }

  const TempDir dir_;
  std::vector<Slot> slots_;
  std::vector<Pair> pairs_;
};

TEST_F(TornAtEachByte, DestroyingASlot) {
  const Directory before = ReadDirectory(keys());
  ASSERT_TRUE(Open()->DestroySlots(kDay, {slots_[1]}));
  ForEachTear(before, ReadDirectory(keys()), [&](KeyVault& vault, bool must_be_gone) {
    const Result<Pair> pair = vault.PairFor(kDay, slots_[1]);
    if (pair) {
      EXPECT_FALSE(must_be_gone) << "a destroyed key is back";
      EXPECT_EQ(*pair, pairs_[1]);
    } else {
      EXPECT_EQ(pair.error().code, ErrorCode::kExpired) << pair.error().message;
    }
    ExpectOthers(vault);
    // Asked again it is done, in both mirrors.
    ASSERT_TRUE(vault.DestroySlots(kDay, {slots_[1]}));
    EXPECT_EQ(vault.PairFor(kDay, slots_[1]).error().code, ErrorCode::kExpired);
    const Directory now = ReadDirectory(keys());
    EXPECT_TRUE(now.at("D20270223.a") == now.at("D20270223.b"));
    ExpectOthers(vault);
  });
}

TEST_F(TornAtEachByte, DestroyingADate) {
  const Directory before = ReadDirectory(keys());
  ASSERT_TRUE(Open()->DestroyDate(kDay));
  ForEachTear(before, ReadDirectory(keys()), [&](KeyVault& vault, bool must_be_gone) {
    const Result<Pair> pair = vault.PairFor(kDay, slots_[0]);
    if (pair) {
      EXPECT_FALSE(must_be_gone) << "a destroyed date is back";
      EXPECT_EQ(*pair, pairs_[0]);
      ExpectOthers(vault);
    } else {
      EXPECT_EQ(pair.error().code, ErrorCode::kExpired) << pair.error().message;
      EXPECT_EQ(vault.DestroyedDates(), std::vector<ExpiryDay>{kDay});
    }
    ASSERT_TRUE(vault.DestroyDate(kDay));
    EXPECT_EQ(vault.PairFor(kDay, slots_[0]).error().code, ErrorCode::kExpired);
    EXPECT_EQ(Open()->PairFor(kDay, slots_[0]).error().code, ErrorCode::kExpired);
  });
}

// A slot is taken from a block that is written whole; at every cut the next one that is handed out
// is nobody's yet, has a key that lasts, and those of before are as they were.
TEST_F(TornAtEachByte, TakingASlot) {
  const Directory before = ReadDirectory(keys());
  Slot taken;
  {
    const auto vault = Open();  // begins a new block
    taken = *vault->TakeSlot(kDay);
  }
  ASSERT_EQ(taken.number, kSlotsPerBlock);
  std::size_t tear = 0;
  const auto check = [&](KeyVault& vault, bool) {
    ExpectOthers(vault);
    const Result<Slot> slot = vault.TakeSlot(kDay);
    ASSERT_TRUE(slot) << slot.error().message;
    EXPECT_GE(slot->number, kSlotsPerBlock);
    const Result<Pair> pair = vault.PairFor(kDay, *slot);
    ASSERT_TRUE(pair) << pair.error().message;
    if (tear++ % 8 != 0) return;
    const auto again = Open();
    ASSERT_NE(again, nullptr);
    const Result<Pair> read = again->PairFor(kDay, *slot);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, *pair);
    // What was cut off was given to nobody: it is read as one key or not at all.
    const Result<Pair> cut = again->PairFor(kDay, taken);
    if (cut && taken != *slot) {
      EXPECT_EQ(*again->PairFor(kDay, taken), *cut);
    }
  };
  // All 4,096 bytes of a block differ; which end is missing is the same to it.
  ForEachTear(before, ReadDirectory(keys()), check, Cuts::kFromTheFront);
}

TEST_F(TornAtEachByte, MakingADate) {
  const Directory before = ReadDirectory(keys());
  const ExpiryDay other = kDay + std::chrono::days(1);
  ASSERT_TRUE(Open()->OpenDate(other));
  const Directory after = ReadDirectory(keys());
  std::size_t torn = 0;
  for (const Directory& state : TearsOf(before, after)) {
    WriteDirectory(keys(), state);
    const auto vault = Open();
    ASSERT_NE(vault, nullptr) << torn;
    ASSERT_TRUE(vault->OpenDate(other)) << torn;
    const auto blind = vault->BlindId(other, "m", "x");
    ASSERT_TRUE(blind) << torn;
    EXPECT_EQ(*Open()->BlindId(other, "m", "x"), *blind) << torn;
    ExpectOthers(*vault);
    ASSERT_FALSE(HasFailure()) << torn;
    ++torn;
  }
  EXPECT_GT(torn, 300u);
}

// One damaged byte, anywhere in a slot of one mirror, keeps nobody from destroying it.
TEST_F(TornAtEachByte, ADamagedSlotIsDestroyedAllTheSame) {
  const Directory before = ReadDirectory(keys());
  for (const char* mirror : {"D20270223.a", "D20270223.b"}) {
    for (std::size_t at = 0; at < kSlotBytes; ++at) {
      for (const int flip : {0x01, 0x80}) {
        Directory state = before;
        char& byte = state[mirror][kPageBytes + slots_[1].number * kSlotBytes + at];
        byte = static_cast<char>(byte ^ flip);
        WriteDirectory(keys(), state);
        const auto vault = Open();
        ASSERT_TRUE(vault->DestroySlots(kDay, {slots_[1]})) << mirror << " byte " << at;
        const auto again = Open();
        ASSERT_EQ(again->PairFor(kDay, slots_[1]).error().code, ErrorCode::kExpired);
        ExpectOthers(*again);
      }
    }
  }
}

// --- how often keys were destroyed

TEST_F(TornAtEachByte, EachDestructionRaisesTheGeneration) {
  std::uint64_t last = 0;
  {
    const auto vault = Open();
    last = vault->Generation();
    EXPECT_GE(last, 1u);
    ASSERT_TRUE(vault->DestroySlots(kDay, {slots_[1]}));
    EXPECT_GT(vault->Generation(), last);
    last = vault->Generation();
    ASSERT_TRUE(vault->PairForMonth(202702));
    ASSERT_TRUE(vault->DestroyMonth(202702));
    EXPECT_GT(vault->Generation(), last);
    last = vault->Generation();
  }
  EXPECT_EQ(Open()->Generation(), last) << "nothing was destroyed";
  const Directory copy = ReadDirectory(keys());
  ASSERT_TRUE(Open()->DestroyDate(kDay));
  EXPECT_GT(Open()->Generation(), last);
  // Brought back from the copy, the keys say that they are old.
  WriteDirectory(keys(), copy);
  EXPECT_EQ(Open()->Generation(), last);
}

TEST_F(TornAtEachByte, ATornLedgerNeverSaysMoreThanWasDoneNorLessThanWasTold) {
  const Directory before = ReadDirectory(keys());
  const std::uint64_t told = Open()->Generation();
  ASSERT_TRUE(Open()->DestroySlots(kDay, {slots_[1]}));
  const Directory after = ReadDirectory(keys());
  Directory state = after;
  for (const char* mirror : {"ledger.a", "ledger.b"}) state[mirror] = before.at(mirror);
  for (const char* mirror : {"ledger.a", "ledger.b"}) {
    for (const std::string& cut : TearsOf(before.at(mirror), after.at(mirror))) {
      state[mirror] = cut;
      WriteDirectory(keys(), state);
      const std::uint64_t generation = Open()->Generation();
      EXPECT_GE(generation, std::string(mirror).ends_with("b") ? told + 1 : told);
      EXPECT_LE(generation, told + 1);
    }
    state[mirror] = after.at(mirror);
  }
}

TEST(LedgerBytes, Golden) {
  const Page page = EncodeLedger(FixedKey(1).bytes(), 0x0102030405060708u);
  EXPECT_EQ(ToHex(mayfly::testing::AsString(page.bytes).substr(0, 64)),
            "6d6179666c792d6c656467657200000001000000000000000102030405060708"
            "9e8155bdefb18425e8572506fcbe0fd2cf14751b9ba6a1ddff4bf06c538217ee");
  EXPECT_TRUE(std::all_of(page.bytes.begin() + 64, page.bytes.end(), [](auto b) { return !b; }));
}

TEST(LedgerBytes, OnlyTheRootMakesThem) {
  const SecretKey root = FixedKey(1);
  const Page page = EncodeLedger(root.bytes(), 0x0102030405060708u);
  EXPECT_EQ(DecodeLedger(root.bytes(), page), 0x0102030405060708u);
  EXPECT_EQ(DecodeLedger(FixedKey(2).bytes(), page), std::nullopt);
  for (std::size_t at = 0; at < kPageBytes; ++at) {
    Page changed = page;
    changed.bytes[at] ^= 1;
    EXPECT_EQ(DecodeLedger(root.bytes(), changed), std::nullopt) << at;
  }
  EXPECT_EQ(DecodeLedger(root.bytes(), Page()), std::nullopt);
}

}  // namespace
}  // namespace mayfly::store
