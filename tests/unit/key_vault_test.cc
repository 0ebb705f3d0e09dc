#include "store/keys/key_vault.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sched.h>
#include <set>
#include <signal.h>
#include <string>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "store/keys/key_file.h"
#include "store/keys/pair_cache.h"
#include "store/model/ids.h"
#include "tests/support/key_bytes.h"
#include "tests/support/temp_dir.h"

namespace mayfly::store {
namespace {

using mayfly::testing::AsString;
using mayfly::testing::Count;
using mayfly::testing::FixedKey;
using mayfly::testing::ReadFile;
using mayfly::testing::TempDir;
using mayfly::testing::WriteFile;
namespace fs = std::filesystem;

const ExpiryDay kDay{std::chrono::days(20872)};  // 2027-02-23
const ExpiryDay kOtherDay = kDay + std::chrono::days(1);
constexpr std::uint8_t kMaster = 0xA0;

template <class T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? ErrorCode::kInternal : result.error().code;
}

class KeyVaultTest : public ::testing::Test {
 protected:
  KeyVaultTest() {
    const Status created =
        CreateKeyVault({.dir = keys(), .any_file_system = true}, FixedKey(kMaster));
    EXPECT_TRUE(created) << created.error().message;
  }
  fs::path keys() const { return dir_ / "keys"; }
  fs::path File(const std::string& name) const { return keys() / name; }
  Result<std::unique_ptr<KeyVault>> TryOpen(std::uint8_t master = kMaster, bool sync = true) const {
    return OpenKeyVault({.dir = keys(), .sync = sync, .any_file_system = true}, FixedKey(master));
  }
  std::unique_ptr<KeyVault> Open(bool sync = true) const {
    Result<std::unique_ptr<KeyVault>> vault = TryOpen(kMaster, sync);
    EXPECT_TRUE(vault) << vault.error().message;
    return vault ? *std::move(vault) : nullptr;
  }
  // A date with keys known to the test.
  void WriteFixedDate() const {
    KeyFileKeys fixed{.first = FixedKey(0x10), .second = FixedKey(0x40)};
    const Page header =
        EncodeHeader({KeyFileKind::kDate, 20872}, FixedKey(kMaster), fixed, Count<24>(0xC0));
    std::string bytes(17 * kPageBytes, '\0');
    bytes.replace(0, kPageBytes, AsString(header.bytes));
    const auto subject = Count<32>(0x70);
    const SlotBytes slot = EncodeSlot(fixed.first, 20872, {65, 1}, subject, Count<12>(0xD0));
    bytes.replace(kPageBytes + 65 * kSlotBytes, kSlotBytes, AsString(slot));
    WriteFile(File("D20270223.a"), bytes);
    WriteFile(File("D20270223.b"), bytes);
  }

  const TempDir dir_;
};

// --- bytes

TEST(KeyFileBytes, GoldenHeader) {
  const KeyFileId id{KeyFileKind::kDate, 20872};
  const KeyFileKeys keys{.first = FixedKey(0x10), .second = FixedKey(0x40)};
  const Page page = EncodeHeader(id, FixedKey(kMaster), keys, Count<24>(0xC0));
  EXPECT_EQ(
      ToHex(AsString(page.bytes).substr(0, 200)),
      "6d6179666c792d6b65792d66696c650001020001000051880000000000000000c0c1c2c3c4c5c6c7c8c9cacb"
      "cccdcecfd0d1d2d3d4d5d6d703f7c66de2e446ef23cb3e4c89afe86d30d72e1635545fde2c6962172a2681b1"
      "af386b9769d9b690bf511884fd212a359ea74c83a33a06e80f351dc44da149098220af79a0b0ee7aa41fdf82"
      "420c4f90c8bb7c3f4ffb71be8223409cdf199ad066fa0d68bda888760d22037e661fe68114125b79e6b01745"
      "eeecda5d935543f082d187888d6868299f88a9873d053532");
  EXPECT_EQ(page.bytes[16], kKeyFileVersion);
  EXPECT_TRUE(std::all_of(page.bytes.begin() + 200, page.bytes.end(), [](auto b) { return !b; }));
  const Result<KeyFileKeys> back = DecodeHeader(id, page, FixedKey(kMaster));
  ASSERT_TRUE(back);
  EXPECT_TRUE(std::ranges::equal(back->first.bytes(), keys.first.bytes()));
  EXPECT_TRUE(std::ranges::equal(back->second.bytes(), keys.second.bytes()));
  EXPECT_EQ(CodeOf(DecodeHeader(id, page, FixedKey(1))), ErrorCode::kSealed);
}

TEST(KeyFileBytes, GoldenDestroyedHeader) {
  const KeyFileId id{KeyFileKind::kDate, 20872};
  const Page page = EncodeDestroyedHeader(id);
  EXPECT_EQ(
      ToHex(AsString(page.bytes).substr(0, 200)),
      "6d6179666c792d64657374726f79656401020000000051880000000000000000000000000000000000000000"
      "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
      "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
      "000000000000000000000000000000000000000000000000000000000000000000000000d4843ee140c03cca"
      "935ab1e0e7849a71d5862fd5306fcb41dd3c02c5f909d3b6");
  EXPECT_EQ(ClassifyHeader(id, page), HeaderState::kDestroyed);
  EXPECT_EQ(ClassifyHeader({KeyFileKind::kDate, 20873}, page), HeaderState::kDamaged);
}

TEST(KeyFileBytes, NoFlippedBitOfAHeaderPasses) {
  const KeyFileId id{KeyFileKind::kMonth, 202702};
  const KeyFileKeys keys{.first = FixedKey(0x10), .second = FixedKey(0x40)};
  const SecretKey master = FixedKey(kMaster);
  const Page page = EncodeHeader(id, master, keys, Count<24>(0xC0));
  const Page mark = EncodeDestroyedHeader(id);
  for (std::size_t bit = 0; bit < kPageBytes * 8; bit += bit < 200 * 8 ? 1 : 13) {
    Page flipped = page;
    flipped.bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_EQ(ClassifyHeader(id, flipped), HeaderState::kDamaged) << bit;
    EXPECT_EQ(CodeOf(DecodeHeader(id, flipped, master)), ErrorCode::kCorrupt) << bit;
    flipped = mark;
    flipped.bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_EQ(ClassifyHeader(id, flipped), HeaderState::kDamaged) << bit;
  }
}

TEST(KeyFileBytes, GoldenSlot) {
  const SecretKey day_key = FixedKey(0x10);
  const auto subject = Count<32>(0x70);
  const Slot slot{65, 1};
  const SlotBytes bytes = EncodeSlot(day_key, 20872, slot, subject, Count<12>(0xD0));
  EXPECT_EQ(
      ToHex(AsString(bytes)),
      "01010001d0d1d2d3d4d5d6d7d8d9dadb5457701ec3c267463f2fdb7fb793a3cb651ff216ec47f24f2cea1197"
      "d37356f02c52e224f5d59db466e4b1a05d691c28");
  EXPECT_EQ(bytes[0], kSlotVersion);
  std::array<std::uint8_t, 32> out;
  ASSERT_TRUE(DecodeSlot(day_key, 20872, slot, bytes, &out));
  EXPECT_EQ(out, subject);
  EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20873, slot, bytes, &out)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20872, {66, 1}, bytes, &out)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20872, {65, 2}, bytes, &out)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(DecodeSlot(FixedKey(0x11), 20872, slot, bytes, &out)), ErrorCode::kCorrupt);
  for (std::size_t bit = 0; bit < kSlotBytes * 8; ++bit) {
    SlotBytes flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20872, slot, flipped, &out)), ErrorCode::kCorrupt) << bit;
  }
  const SlotBytes mark = EncodeDestroyedSlot(1);
  EXPECT_EQ(ToHex(AsString(mark)), "01020001" + std::string(120, '0'));
  EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20872, slot, mark, &out)), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(DecodeSlot(day_key, 20872, slot, SlotBytes{}, &out)), ErrorCode::kCorrupt);
}

TEST(KeyFileBytes, FileNames) {
  EXPECT_EQ(KeyFile::ParseFileName("root.a")->kind, KeyFileKind::kRoot);
  EXPECT_EQ(KeyFile::ParseFileName("D20270223.b")->number, 20872u);
  EXPECT_EQ(KeyFile::ParseFileName("M202702.a")->number, 202702u);
  for (const char* name :
       {"root", "root.c", "D20270230.a", "D2027022.a", "D20270223.ab", "M202713.a", "M202700.a",
        "M20270.a", "M2027021.a", "M+20270.a", "lost+found", ".a"}) {
    EXPECT_FALSE(KeyFile::ParseFileName(name)) << name;
  }
}

TEST_F(KeyVaultTest, GoldenPairBlindAndPurposeKeys) {
  WriteFixedDate();
  const KeyFileKeys root{.first = FixedKey(0x40), .second = FixedKey(0x00)};
  const Page page = EncodeHeader({KeyFileKind::kRoot, 0}, FixedKey(kMaster), root, Count<24>(0));
  WriteFile(File("root.a"), AsString(page.bytes));
  WriteFile(File("root.b"), AsString(page.bytes));
  const auto vault = Open();
  const Result<Pair> pair = vault->PairFor(kDay, {65, 1});
  ASSERT_TRUE(pair) << pair.error().message;
  EXPECT_EQ(ToHex(AsString(*pair)),
            "5c2f00cf040e9d3720cff4a5cef531e105f032bd2e85014a0eb9e4df1c6e90d8");
  EXPECT_EQ(ToHex(AsString(*vault->BlindId(kDay, "h", "conversation"))),
            "45fd964238822a85f0dae6bd7e2cd4d3");
  EXPECT_EQ(ToHex(AsString(vault->PurposeKey("cursor-1"))),
            "d43e9969f7930be42ec839ffb84a8e4cf6e0955ae851c676062a2cfea5efd329");
}

// --- the vault

TEST_F(KeyVaultTest, CreatesOnceWithTightModes) {
  struct stat info = {};
  ASSERT_EQ(stat(keys().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  ASSERT_TRUE(vault->PairForMonth(202702));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(keys())) {
    names.insert(entry.path().filename());
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  EXPECT_EQ(names, (std::set<std::string>{"ledger.a", "ledger.b", "root.a", "root.b", "D20270223.a",
                                          "D20270223.b", "M202702.a", "M202702.b"}));
  EXPECT_EQ(fs::file_size(File("D20270223.a")), kPageBytes + 1024 * kSlotBytes);
  EXPECT_EQ(fs::file_size(File("D20270223.b")), kPageBytes + 1024 * kSlotBytes);
  EXPECT_EQ(CodeOf(CreateKeyVault({.dir = keys(), .any_file_system = true}, FixedKey(kMaster))),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(CreateKeyVault({.dir = keys(), .any_file_system = true}, FixedKey(1))),
            ErrorCode::kInvalidArgument);
  // Also without its root: a fresh one would make the old dates unreadable for ever.
  fs::remove(File("root.a"));
  fs::remove(File("root.b"));
  EXPECT_EQ(CodeOf(CreateKeyVault({.dir = keys(), .any_file_system = true}, FixedKey(kMaster))),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kCorrupt);
}

TEST_F(KeyVaultTest, AnEmptyDirectoryHasNoKeysYet) {
  const TempDir empty;
  EXPECT_EQ(CodeOf(OpenKeyVault({.dir = empty.path()}, FixedKey(kMaster))), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(OpenKeyVault({.dir = empty / "none"}, FixedKey(kMaster))), ErrorCode::kNotFound);
}

TEST_F(KeyVaultTest, DatesOpenOnceAndStay) {
  Pair pair = {};
  std::array<std::uint8_t, 16> blind = {};
  Slot slot;
  {
    const auto vault = Open();
    EXPECT_FALSE(vault->HasDate(kDay));
    EXPECT_EQ(CodeOf(vault->TakeSlot(kDay)), ErrorCode::kExpired);
    ASSERT_TRUE(vault->OpenDate(kOtherDay));
    ASSERT_TRUE(vault->OpenDate(kDay));
    ASSERT_TRUE(vault->OpenDate(kDay));
    EXPECT_TRUE(vault->HasDate(kDay));
    EXPECT_EQ(vault->Dates(), (std::vector<ExpiryDay>{kDay, kOtherDay}));
    slot = *vault->TakeSlot(kDay);
    pair = *vault->PairFor(kDay, slot);
    blind = *vault->BlindId(kDay, "m", "x");
    EXPECT_EQ(*vault->PairFor(kDay, slot), pair);
    EXPECT_EQ(*vault->BlindId(kDay, "m", "x"), blind);
    EXPECT_NE(*vault->BlindId(kDay, "n", "x"), blind);
    EXPECT_NE(*vault->BlindId(kDay, "m", "y"), blind);
    EXPECT_NE(*vault->BlindId(kOtherDay, "m", "x"), blind);
    EXPECT_EQ(CodeOf(vault->BlindId(kDay, "seventeen-letters", "x")), ErrorCode::kInvalidArgument);
    EXPECT_NE(*vault->PairFor(kOtherDay, *vault->TakeSlot(kOtherDay)), pair);
  }
  const auto vault = Open();
  EXPECT_EQ(vault->Dates(), (std::vector<ExpiryDay>{kDay, kOtherDay}));
  EXPECT_EQ(*vault->PairFor(kDay, slot), pair);
  EXPECT_EQ(*vault->BlindId(kDay, "m", "x"), blind);
}

TEST_F(KeyVaultTest, SlotsThatDoNotExistAreCorrupt) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  const Slot slot = *vault->TakeSlot(kDay);
  for (const Slot wrong :
       {Slot{slot.number, 2}, Slot{slot.number, 0}, Slot{64, 1}, Slot{0xFFFFFFFF, 1}}) {
    const Result<Pair> pair = vault->PairFor(kDay, wrong);
    EXPECT_EQ(CodeOf(pair), ErrorCode::kCorrupt);
    EXPECT_NE(pair.error().message.find("D20270223"), std::string::npos);
  }
  EXPECT_EQ(CodeOf(vault->DestroySlots(kDay, {{64, 1}})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(vault->DestroySlots(kDay, {{slot.number, 2}})), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(vault->PairFor(kDay, slot));
}

TEST_F(KeyVaultTest, TwelveThousandSlotsAreDistinctAndDurable) {
  constexpr std::size_t kSlots = 12'000;
  std::map<std::uint32_t, Pair> pairs;
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kDay));
    for (std::size_t i = 0; i < kSlots; ++i) {
      const Result<Slot> slot = vault->TakeSlot(kDay);
      ASSERT_TRUE(slot) << slot.error().message;
      const Result<Pair> pair = vault->PairFor(kDay, *slot);
      ASSERT_TRUE(pair) << pair.error().message;
      EXPECT_TRUE(pairs.emplace(slot->number, *pair).second) << slot->number;
    }
  }
  EXPECT_EQ(pairs.size(), kSlots);
  std::set<Pair> distinct;
  for (const auto& [number, pair] : pairs) distinct.insert(pair);
  EXPECT_EQ(distinct.size(), kSlots);
  EXPECT_TRUE(ReadFile(File("D20270223.a")) == ReadFile(File("D20270223.b")));
  EXPECT_EQ(fs::file_size(File("D20270223.a")), kPageBytes + 12 * 1024 * kSlotBytes);
  const auto vault = Open();
  for (const auto& [number, pair] : pairs) {
    const Result<Pair> again = vault->PairFor(kDay, {number, 1});
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, pair);
  }
  EXPECT_GE(vault->TakeSlot(kDay)->number, kSlots);
}

TEST_F(KeyVaultTest, ARestartNeverReusesASlot) {
  std::set<std::uint32_t> taken;
  for (int run = 0; run < 40; ++run) {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kDay));
    for (int i = 0; i < 3; ++i) {
      const Result<Slot> slot = vault->TakeSlot(kDay);
      ASSERT_TRUE(slot) << slot.error().message;
      EXPECT_TRUE(taken.insert(slot->number).second) << slot->number;
      EXPECT_TRUE(vault->PairFor(kDay, *slot));
    }
  }
}

TEST_F(KeyVaultTest, ManyThreadsShareIt) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  constexpr int kThreads = 8;
  std::array<std::vector<std::pair<Slot, Pair>>, kThreads> taken;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 100; ++i) {
          const Result<Slot> slot = vault->TakeSlot(kDay);
          if (!slot) return;
          const Result<Pair> pair = vault->PairFor(kDay, *slot);
          if (!pair) return;
          taken[t].emplace_back(*slot, *pair);
        }
      });
    }
  }
  std::set<std::uint32_t> numbers;
  for (const auto& mine : taken) {
    EXPECT_EQ(mine.size(), 100u);
    for (const auto& [slot, pair] : mine) {
      EXPECT_TRUE(numbers.insert(slot.number).second);
      EXPECT_EQ(*vault->PairFor(kDay, slot), pair);
    }
  }
}

// --- destruction

TEST_F(KeyVaultTest, ADestroyedSlotIsGoneAndOthersStay) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  std::vector<Slot> slots;
  std::vector<Pair> pairs;
  for (int i = 0; i < 130; ++i) {
    slots.push_back(*vault->TakeSlot(kDay));
    pairs.push_back(*vault->PairFor(kDay, slots.back()));
  }
  const std::string before = ReadFile(File("D20270223.a"));
  ASSERT_TRUE(vault->DestroySlots(kDay, {slots[3], slots[70], slots[129]}));
  ASSERT_TRUE(vault->DestroySlots(kDay, {slots[3], slots[70]}));
  const auto reopened = Open();
  for (KeyVault* const each : {vault.get(), reopened.get()}) {
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (i == 3 || i == 70 || i == 129) {
        EXPECT_EQ(CodeOf(each->PairFor(kDay, slots[i])), ErrorCode::kExpired);
      } else {
        ASSERT_TRUE(each->PairFor(kDay, slots[i]));
        EXPECT_EQ(*each->PairFor(kDay, slots[i]), pairs[i]);
      }
    }
  }
  for (const char* name : {"D20270223.a", "D20270223.b"}) {
    const std::string after = ReadFile(File(name));
    for (const Slot slot : {slots[3], slots[70], slots[129]}) {
      const std::string sealed = before.substr(kPageBytes + slot.number * kSlotBytes + 4, 60);
      EXPECT_EQ(after.find(sealed), std::string::npos);
    }
  }
  EXPECT_TRUE(vault->DestroySlots(kOtherDay, {{5, 1}}));  // no such date: nothing to destroy
}

TEST_F(KeyVaultTest, WhatIsBlindUnderASlotCannotBeComputedAgainOnceItIsDestroyed) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  const Slot slot = *vault->TakeSlot(kDay);
  const Slot other = *vault->TakeSlot(kDay);
  const auto blind = *vault->BlindUnder(kDay, slot, "m", "x");
  EXPECT_EQ(*Open()->BlindUnder(kDay, slot, "m", "x"), blind);
  EXPECT_NE(*vault->BlindUnder(kDay, slot, "n", "x"), blind);
  EXPECT_NE(*vault->BlindUnder(kDay, slot, "m", "y"), blind);
  EXPECT_NE(*vault->BlindUnder(kDay, other, "m", "x"), blind);
  EXPECT_NE(*vault->BlindId(kDay, "m", "x"), blind);
  EXPECT_EQ(CodeOf(vault->BlindUnder(kDay, slot, "seventeen-letters", "x")),
            ErrorCode::kInvalidArgument);
  const auto id = *vault->BlindId(kDay, "m", "x");
  ASSERT_TRUE(vault->DestroySlots(kDay, {slot}));
  EXPECT_EQ(CodeOf(vault->BlindUnder(kDay, slot, "m", "x")), ErrorCode::kExpired);
  EXPECT_TRUE(vault->BlindUnder(kDay, other, "m", "x"));
  EXPECT_EQ(*vault->BlindId(kDay, "m", "x"), id) << "ids live as long as the date";
}

bool WriteText(const char* path, const std::string& text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  return written;
}

// In a process with a small disk of its own. 0 done, 77 it cannot be mounted here, else the line.
int DestroySlotsOnAFullDisk(const fs::path& dir) {
  const std::string uid = "0 " + std::to_string(::getuid()) + " 1";
  const std::string gid = "0 " + std::to_string(::getgid()) + " 1";
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !WriteText("/proc/self/setgroups", "deny") ||
      !WriteText("/proc/self/uid_map", uid) || !WriteText("/proc/self/gid_map", gid) ||
      ::mount("tmpfs", dir.c_str(), "tmpfs", 0, "size=1m") != 0) {
    return 77;
  }
  if (!CreateKeyVault({.dir = dir / "keys"}, FixedKey(kMaster))) return 1 + __LINE__ % 70;
  auto vault = OpenKeyVault({.dir = dir / "keys"}, FixedKey(kMaster));
  if (!vault || !(*vault)->OpenDate(kDay)) return 1 + __LINE__ % 70;
  const auto slot = (*vault)->TakeSlot(kDay);
  if (!slot) return 1 + __LINE__ % 70;
  const int filler = ::open((dir / "filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const std::string page(4096, 'x');
  while (::write(filler, page.data(), page.size()) > 0) {
  }
  if (errno != ENOSPC || (*vault)->OpenDate(kOtherDay)) return 1 + __LINE__ % 70;
  if (!(*vault)->DestroySlots(kDay, {*slot})) return 1 + __LINE__ % 70;
  vault->reset();
  const auto again = OpenKeyVault({.dir = dir / "keys"}, FixedKey(kMaster));
  if (!again) return 1 + __LINE__ % 70;
  const auto pair = (*again)->PairFor(kDay, *slot);
  return !pair && pair.error().code == ErrorCode::kExpired ? 0 : 1 + __LINE__ % 70;
}

TEST_F(KeyVaultTest, SlotsAreDestroyedOnAFullDisk) {
  const TempDir disk;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(DestroySlotsOnAFullDisk(disk.path()));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "a small disk cannot be mounted here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(KeyVaultTest, ADestroyedDateIsGone) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  ASSERT_TRUE(vault->OpenDate(kOtherDay));
  const Slot slot = *vault->TakeSlot(kDay);
  const Slot other_slot = *vault->TakeSlot(kOtherDay);
  ASSERT_TRUE(vault->PairFor(kDay, slot));
  const Pair other_pair = *vault->PairFor(kOtherDay, other_slot);
  const std::string header = ReadFile(File("D20270223.a")).substr(0, 200);

  ASSERT_TRUE(vault->DestroyDate(kDay));
  ASSERT_TRUE(vault->DestroyDate(kDay));
  EXPECT_EQ(CodeOf(vault->PairFor(kDay, slot)), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(vault->BlindId(kDay, "m", "x")), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(vault->TakeSlot(kDay)), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(vault->OpenDate(kDay)), ErrorCode::kExpired);
  EXPECT_TRUE(vault->DestroySlots(kDay, {slot}));
  EXPECT_FALSE(vault->HasDate(kDay));
  EXPECT_EQ(vault->Dates(), std::vector<ExpiryDay>{kOtherDay});
  EXPECT_EQ(vault->DestroyedDates(), std::vector<ExpiryDay>{kDay});

  // Nonce, commitment, sealed keys, tag, check: no four bytes in a row of them are left in the
  // header pages, and no sixteen anywhere.
  for (const char* name : {"D20270223.a", "D20270223.b"}) {
    const std::string after = ReadFile(File(name));
    for (std::size_t at = 32; at + 4 <= header.size(); ++at) {
      const std::string four = header.substr(at, 4);
      EXPECT_EQ(after.substr(0, kPageBytes).find(four), std::string::npos) << at;
      if (at + 16 <= header.size()) {
        EXPECT_EQ(after.find(header.substr(at, 16)), std::string::npos) << at;
      }
    }
  }

  {
    const auto reopened = Open();
    EXPECT_EQ(reopened->DestroyedDates(), std::vector<ExpiryDay>{kDay});
    EXPECT_EQ(CodeOf(reopened->OpenDate(kDay)), ErrorCode::kExpired);
    EXPECT_EQ(CodeOf(reopened->PairFor(kDay, slot)), ErrorCode::kExpired);
    EXPECT_EQ(*reopened->PairFor(kOtherDay, other_slot), other_pair);
    EXPECT_EQ(CodeOf(reopened->UnlinkDate(kOtherDay)), ErrorCode::kInternal);
    ASSERT_TRUE(reopened->UnlinkDate(kDay));
    ASSERT_TRUE(reopened->UnlinkDate(kDay));
    EXPECT_TRUE(reopened->DestroyDate(kDay));
    EXPECT_TRUE(reopened->DestroyedDates().empty());
    EXPECT_EQ(CodeOf(reopened->OpenDate(kDay)), ErrorCode::kExpired);
    EXPECT_FALSE(fs::exists(File("D20270223.a")));
    EXPECT_FALSE(fs::exists(File("D20270223.b")));
  }
  const auto reopened = Open();
  EXPECT_EQ(CodeOf(reopened->PairFor(kDay, slot)), ErrorCode::kExpired);
  EXPECT_TRUE(reopened->DestroyDate(kDay));
}

TEST_F(KeyVaultTest, ACopyOfTheFilesMadeAfterDestructionOpensNothing) {
  Slot slot;
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kDay));
    slot = *vault->TakeSlot(kDay);
    ASSERT_TRUE(vault->DestroyDate(kDay));
    fs::copy(keys(), dir_ / "copy");
    ASSERT_TRUE(vault->UnlinkDate(kDay));
  }
  fs::permissions(dir_ / "copy", fs::perms::owner_all);
  const auto copy =
      OpenKeyVault({.dir = dir_ / "copy", .any_file_system = true}, FixedKey(kMaster));
  ASSERT_TRUE(copy);
  EXPECT_EQ(CodeOf((*copy)->PairFor(kDay, slot)), ErrorCode::kExpired);
  EXPECT_EQ((*copy)->DestroyedDates(), std::vector<ExpiryDay>{kDay});
}

// Writes past byte 0 of any file fail while it lives, as on a device that went read-only.
class NoWrites {
 public:
  NoWrites() {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoWrites() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_ = {};
};

TEST_F(KeyVaultTest, AFailedDestructionIsNoSuccessAndReadsNothingMore) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  const Slot slot = *vault->TakeSlot(kDay);
  ASSERT_TRUE(vault->PairFor(kDay, slot));
  ASSERT_TRUE(vault->PairForMonth(202702));
  {
    const NoWrites no_writes;
    EXPECT_EQ(CodeOf(vault->DestroyDate(kDay)), ErrorCode::kIo);
    EXPECT_EQ(CodeOf(vault->DestroyMonth(202702)), ErrorCode::kIo);
  }
  EXPECT_EQ(vault->Dates(), std::vector<ExpiryDay>{kDay});  // still to be destroyed
  EXPECT_TRUE(vault->DestroyedDates().empty());
  EXPECT_EQ(vault->Months(), std::vector<AuditMonth>{202702});
  EXPECT_EQ(CodeOf(vault->PairFor(kDay, slot)), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(vault->PairForMonth(202702)), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(vault->UnlinkDate(kDay)), ErrorCode::kInternal);
  EXPECT_TRUE(vault->DestroyDate(kDay));
  EXPECT_TRUE(vault->DestroyMonth(202702));
  EXPECT_EQ(vault->DestroyedDates(), std::vector<ExpiryDay>{kDay});
  EXPECT_TRUE(vault->Months().empty());
}

TEST_F(KeyVaultTest, AFailedBlockGivesNoSlotAndTheNextTryDoes) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  {
    const NoWrites no_writes;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(CodeOf(vault->TakeSlot(kDay)), ErrorCode::kIo);
  }
  const Result<Slot> slot = vault->TakeSlot(kDay);
  ASSERT_TRUE(slot) << slot.error().message;
  EXPECT_TRUE(vault->PairFor(kDay, *slot));
  {
    const NoWrites no_writes;
    EXPECT_EQ(CodeOf(vault->DestroySlots(kDay, {*slot})), ErrorCode::kIo);
  }
  EXPECT_TRUE(vault->DestroySlots(kDay, {*slot}));
  EXPECT_EQ(CodeOf(vault->PairFor(kDay, *slot)), ErrorCode::kExpired);
}

TEST_F(KeyVaultTest, AnInterruptedDestructionIsCompletedAtOpen) {
  Slot slot;
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kDay));
    slot = *vault->TakeSlot(kDay);
  }
  const std::string mark = AsString(EncodeDestroyedHeader({KeyFileKind::kDate, 20872}).bytes);
  for (const char* first : {"D20270223.a", "D20270223.b"}) {
    const std::string other = first[10] == 'a' ? "D20270223.b" : "D20270223.a";
    const std::string live_first = ReadFile(File(first));
    const std::string live_other = ReadFile(File(other));
    WriteFile(File(first), mark + live_first.substr(kPageBytes));
    {
      const auto vault = Open();
      EXPECT_EQ(vault->DestroyedDates(), std::vector<ExpiryDay>{kDay});
      EXPECT_EQ(CodeOf(vault->PairFor(kDay, slot)), ErrorCode::kExpired);
      EXPECT_TRUE(ReadFile(File(other)).substr(0, kPageBytes) == mark);
    }
    // When the other mirror cannot be written, the date is still to be destroyed.
    WriteFile(File(other), live_other);
    {
      Result<std::unique_ptr<KeyVault>> vault = [&] {
        const NoWrites no_writes;
        return TryOpen();
      }();
      ASSERT_TRUE(vault);
      EXPECT_EQ((*vault)->Dates(), std::vector<ExpiryDay>{kDay});
      EXPECT_TRUE((*vault)->DestroyedDates().empty());
      EXPECT_EQ(CodeOf((*vault)->PairFor(kDay, slot)), ErrorCode::kExpired);
      EXPECT_TRUE((*vault)->DestroyDate(kDay));
      EXPECT_TRUE(ReadFile(File(other)).substr(0, kPageBytes) == mark);
    }
    WriteFile(File(first), live_first);
    WriteFile(File(other), live_other);
  }
}

TEST_F(KeyVaultTest, AnInterruptedUnlinkIsFinished) {
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kDay));
    ASSERT_TRUE(vault->DestroyDate(kDay));
  }
  fs::remove(File("D20270223.a"));
  const auto vault = Open();
  EXPECT_EQ(vault->DestroyedDates(), std::vector<ExpiryDay>{kDay});
  ASSERT_TRUE(vault->UnlinkDate(kDay));
  EXPECT_FALSE(fs::exists(File("D20270223.b")));
}

// --- damage

class TornTest : public KeyVaultTest {
 protected:
  static constexpr int kSlots = 70;
  TornTest() {
    const auto vault = Open();
    for (const ExpiryDay day : {kDay, kOtherDay}) {
      EXPECT_TRUE(vault->OpenDate(day));
      for (int i = 0; i < kSlots; ++i) {
        slots_[day].push_back(*vault->TakeSlot(day));
        pairs_[day].push_back(*vault->PairFor(day, slots_[day].back()));
      }
    }
    blind_ = *vault->BlindId(kDay, "m", "x");
    whole_ = ReadFile(File("D20270223.a"));
  }
  void ExpectWhole(KeyVault& vault, ExpiryDay day) const {
    for (int i = 0; i < kSlots; ++i) {
      const Result<Pair> pair = vault.PairFor(day, slots_.at(day)[i]);
      ASSERT_TRUE(pair) << pair.error().message;
      EXPECT_EQ(*pair, pairs_.at(day)[i]);
    }
  }
  // Without syncs where it is called by the hundred: the repair is the same.
  void ExpectRecovers(const std::string& what, bool sync = true) const {
    const auto vault = Open(sync);
    ASSERT_NE(vault, nullptr) << what;
    ExpectWhole(*vault, kDay);
    EXPECT_EQ(*vault->BlindId(kDay, "m", "x"), blind_) << what;
    EXPECT_TRUE(ReadFile(File("D20270223.a")) == whole_) << what << ": .a is repaired";
    EXPECT_TRUE(ReadFile(File("D20270223.b")) == whole_) << what << ": .b is repaired";
  }

  std::map<ExpiryDay, std::vector<Slot>> slots_;
  std::map<ExpiryDay, std::vector<Pair>> pairs_;
  std::array<std::uint8_t, 16> blind_ = {};
  std::string whole_;
};

// Offsets that matter, and a spread of others.
std::vector<std::size_t> Offsets(std::size_t size) {
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at < 204; ++at) offsets.push_back(at);
  for (const std::size_t at :
       {511, 512, 4095, 4096, 4097, 4159, 4160, 4161, 8191, 8192, 8193, 8500}) {
    offsets.push_back(at);
  }
  for (std::size_t at = 300; at < size; at += 4001) offsets.push_back(at);
  offsets.push_back(size - 1);
  return offsets;
}

TEST_F(TornTest, ATruncatedMirrorRecovers) {
  for (const std::size_t at : Offsets(whole_.size())) {
    WriteFile(File("D20270223.a"), whole_.substr(0, at));
    ExpectRecovers("a cut at " + std::to_string(at), at % 16 == 0);
    if (at % 7 == 0) {
      WriteFile(File("D20270223.b"), whole_.substr(0, at));
      ExpectRecovers("b cut at " + std::to_string(at), false);
    }
  }
}

TEST_F(TornTest, AnOverwrittenMirrorRecovers) {
  for (const std::size_t at : Offsets(whole_.size())) {
    if (at >= kPageBytes + kSlots * kSlotBytes) continue;  // nothing is stored there yet
    std::string torn = whole_;
    torn[at] = static_cast<char>(torn[at] ^ 0x55);
    WriteFile(File("D20270223.a"), torn);
    ExpectRecovers("a flipped at " + std::to_string(at), at % 16 == 0);
    // The rest of its page lost: what a write leaves that stopped there.
    const std::size_t end = (at / kPageBytes + 1) * kPageBytes;
    for (const char filler : {'\0', '\xFF'}) {
      if (at % 4 != 0) break;
      torn = whole_;
      std::fill(torn.begin() + static_cast<std::ptrdiff_t>(at),
                torn.begin() +
                    static_cast<std::ptrdiff_t>(std::min(end, kPageBytes + kSlots * kSlotBytes)),
                filler);
      WriteFile(File("D20270223.a"), torn);
      ExpectRecovers("a torn at " + std::to_string(at), false);
    }
  }
}

TEST_F(TornTest, AMissingMirrorIsMadeAnew) {
  for (const char* name : {"D20270223.a", "D20270223.b"}) {
    fs::remove(File(name));
    ExpectRecovers(std::string(name) + " missing");
    struct stat info = {};
    ASSERT_EQ(stat(File(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
}

TEST_F(TornTest, BothMirrorsCutAtDifferentPlacesKeepWhatIsLeft) {
  // Slot 20 is cut in .a and slot 40 in .b; what .b still has of slots 20 to 39 is enough.
  WriteFile(File("D20270223.a"), whole_.substr(0, kPageBytes + 20 * kSlotBytes + 10));
  WriteFile(File("D20270223.b"), whole_.substr(0, kPageBytes + 40 * kSlotBytes + 10));
  const auto vault = Open();
  for (int i = 0; i < kSlots; ++i) {
    const Result<Pair> pair = vault->PairFor(kDay, slots_[kDay][i]);
    if (i < 40) {
      ASSERT_TRUE(pair) << i;
      EXPECT_EQ(*pair, pairs_[kDay][i]);
    } else {
      EXPECT_EQ(CodeOf(pair), ErrorCode::kCorrupt) << i;
    }
  }
  ExpectWhole(*vault, kOtherDay);
}

TEST_F(TornTest, BothHeadersDamagedIsCorruptAndOtherDatesStay) {
  for (const std::size_t at : {0u, 16u, 20u, 40u, 60u, 100u, 160u, 170u, 4000u}) {
    std::string torn = whole_;
    torn[at] = static_cast<char>(torn[at] ^ 1);
    WriteFile(File("D20270223.a"), torn);
    torn[at + 1] = static_cast<char>(torn[at + 1] ^ 1);
    WriteFile(File("D20270223.b"), torn);
    const auto vault = Open();
    ASSERT_NE(vault, nullptr);
    for (const Result<Pair>& pair : {vault->PairFor(kDay, slots_[kDay][0])}) {
      EXPECT_EQ(CodeOf(pair), ErrorCode::kCorrupt);
      EXPECT_NE(pair.error().message.find("D20270223"), std::string::npos);
    }
    EXPECT_EQ(CodeOf(vault->OpenDate(kDay)), ErrorCode::kCorrupt);
    EXPECT_EQ(CodeOf(vault->TakeSlot(kDay)), ErrorCode::kCorrupt);
    EXPECT_EQ(CodeOf(vault->BlindId(kDay, "m", "x")), ErrorCode::kCorrupt);
    EXPECT_EQ(vault->Dates(), (std::vector<ExpiryDay>{kDay, kOtherDay}));
    ExpectWhole(*vault, kOtherDay);
    EXPECT_TRUE(ReadFile(File("D20270223.b")) == torn) << "left as it is for an expert";
  }
  // Nor does damage save a date from its end.
  const auto vault = Open();
  EXPECT_TRUE(vault->DestroySlots(kDay, {slots_[kDay][1]}));
  EXPECT_TRUE(vault->DestroyDate(kDay));
  EXPECT_EQ(vault->DestroyedDates(), std::vector<ExpiryDay>{kDay});
  EXPECT_TRUE(vault->UnlinkDate(kDay));
}

TEST_F(TornTest, BothSlotsDamagedIsCorruptAndOthersStay) {
  std::string torn = whole_;
  const std::size_t at = kPageBytes + 5 * kSlotBytes + 20;
  torn[at] = static_cast<char>(torn[at] ^ 1);
  WriteFile(File("D20270223.a"), torn);
  WriteFile(File("D20270223.b"), torn);
  const auto vault = Open();
  const Result<Pair> pair = vault->PairFor(kDay, slots_[kDay][5]);
  EXPECT_EQ(CodeOf(pair), ErrorCode::kCorrupt);
  EXPECT_NE(pair.error().message.find("D20270223"), std::string::npos);
  for (int i = 0; i < kSlots; ++i) {
    if (i == 5) continue;
    EXPECT_EQ(*vault->PairFor(kDay, slots_[kDay][i]), pairs_[kDay][i]);
  }
}

TEST_F(TornTest, AFileUnderAnotherDatesNameIsCorrupt) {
  for (const char* mirror : {".a", ".b"}) {
    WriteFile(File(std::string("D20270301") + mirror), whole_);
  }
  const auto vault = Open();
  EXPECT_EQ(CodeOf(vault->OpenDate(ExpiryDay(std::chrono::year(2027) / 3 / 1))),
            ErrorCode::kCorrupt);
  ExpectWhole(*vault, kDay);
}

TEST_F(TornTest, ADestroyedSlotStaysDestroyedWhenAMirrorStillHoldsIt) {
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->DestroySlots(kDay, {slots_[kDay][7]}));
  }
  WriteFile(File("D20270223.b"), whole_);  // as after power was lost between the two writes
  const auto vault = Open();
  EXPECT_EQ(CodeOf(vault->PairFor(kDay, slots_[kDay][7])), ErrorCode::kExpired);
  EXPECT_TRUE(ReadFile(File("D20270223.b")) == ReadFile(File("D20270223.a")));
}

TEST_F(TornTest, ABlockWrittenInOneMirrorOnlyIsSkipped) {
  std::string a = whole_;
  a[kPageBytes * 3 + 100] = 1;  // block 2, begun when the power went
  WriteFile(File("D20270223.a"), a);
  const auto vault = Open();
  EXPECT_EQ(vault->TakeSlot(kDay)->number, 3 * kSlotsPerBlock);
}

TEST_F(KeyVaultTest, ACreationThatWasCutOffStartsAgain) {
  std::string torn;
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->OpenDate(kOtherDay));
    torn = ReadFile(File("D20270224.a"));
  }
  const std::string zeros(17 * kPageBytes, '\0');
  struct State {
    std::optional<std::string> a, b;
  };
  const std::vector<State> states = {
      {"", std::nullopt}, {zeros.substr(0, 5000), std::nullopt},
      {zeros, ""},        {zeros, zeros.substr(0, 9000)},
      {zeros, zeros},     {torn.substr(0, 100) + zeros.substr(100), zeros}};
  for (const State& state : states) {
    if (state.a) WriteFile(File("D20270223.a"), *state.a);
    if (state.b) WriteFile(File("D20270223.b"), *state.b);
    {
      const auto vault = Open();
      EXPECT_FALSE(vault->HasDate(kDay));
      ASSERT_TRUE(vault->OpenDate(kDay));
      const Slot slot = *vault->TakeSlot(kDay);
      const Pair pair = *vault->PairFor(kDay, slot);
      EXPECT_EQ(*Open()->PairFor(kDay, slot), pair);
    }
    // And nothing of it is left behind when its date comes first.
    fs::remove(File("D20270223.a"));
    fs::remove(File("D20270223.b"));
    if (state.a) WriteFile(File("D20270223.a"), *state.a);
    if (state.b) WriteFile(File("D20270223.b"), *state.b);
    ASSERT_TRUE(Open()->DestroyDate(kDay));
    EXPECT_FALSE(fs::exists(File("D20270223.a")));
    EXPECT_FALSE(fs::exists(File("D20270223.b")));
  }
  // A header in .a is enough: .b was next.
  WriteFile(File("D20270223.a"), zeros);
  WriteFile(File("D20270223.b"), zeros);
  fs::copy_file(File("D20270224.a"), File("D20270224.b"), fs::copy_options::overwrite_existing);
  WriteFile(File("D20270224.b"), zeros);
  EXPECT_TRUE(Open()->HasDate(kOtherDay));
  EXPECT_TRUE(ReadFile(File("D20270224.b")) == torn);
}

// --- root and master

std::map<std::string, std::pair<std::string, fs::file_time_type>> Snapshot(const fs::path& dir) {
  std::map<std::string, std::pair<std::string, fs::file_time_type>> files;
  for (const auto& entry : fs::directory_iterator(dir)) {
    files[entry.path().filename()] = {ReadFile(entry.path()), entry.last_write_time()};
  }
  return files;
}

TEST_F(TornTest, AWrongMasterKeyIsSealedAndChangesNothing) {
  // Also with damage that the right key would repair.
  WriteFile(File("D20270223.a"), whole_.substr(0, 100));
  std::string root = ReadFile(File("root.b"));
  root[50] = static_cast<char>(root[50] ^ 1);
  WriteFile(File("root.b"), root);
  const auto before = Snapshot(keys());
  EXPECT_EQ(CodeOf(TryOpen(0x01)), ErrorCode::kSealed);
  EXPECT_TRUE(Snapshot(keys()) == before);
  ExpectRecovers("the right key");
  EXPECT_TRUE(ReadFile(File("root.a")) == ReadFile(File("root.b")));
}

TEST_F(KeyVaultTest, TheRootRecoversFromItsMirrorOrIsCorrupt) {
  const std::string whole = ReadFile(File("root.a"));
  const Pair purpose = Open()->PurposeKey("credential-1");
  EXPECT_NE(Open()->PurposeKey("token-1"), purpose);
  for (const char* name : {"root.a", "root.b"}) {
    for (std::size_t at = 0; at < 210; at += 7) {
      std::string torn = whole;
      torn[at] = static_cast<char>(torn[at] ^ 0x10);
      for (const std::string& bytes : {torn, whole.substr(0, at)}) {
        WriteFile(File(name), bytes);
        EXPECT_EQ(Open()->PurposeKey("credential-1"), purpose);
        EXPECT_TRUE(ReadFile(File(name)) == whole) << name << " at " << at;
      }
    }
  }
  std::string torn = whole;
  torn[100] = static_cast<char>(torn[100] ^ 1);
  WriteFile(File("root.a"), torn);
  WriteFile(File("root.b"), torn);
  const auto opened = TryOpen();
  EXPECT_EQ(CodeOf(opened), ErrorCode::kCorrupt);
  EXPECT_NE(opened.error().message.find("root"), std::string::npos);
  EXPECT_EQ(CodeOf(CreateKeyVault({.dir = keys(), .any_file_system = true}, FixedKey(kMaster))),
            ErrorCode::kInvalidArgument);
}

TEST_F(KeyVaultTest, ADirectoryOpenToOthersIsRefused) {
  for (const mode_t mode : {0750, 0705, 0770, 0711, 0500}) {
    ASSERT_EQ(chmod(keys().c_str(), mode), 0);
    const auto opened = TryOpen();
    EXPECT_EQ(CodeOf(opened), ErrorCode::kInvalidArgument);
    EXPECT_NE(opened.error().message.find("chmod 0700"), std::string::npos);
  }
  const TempDir other;
  ASSERT_EQ(chmod(other.path().c_str(), 0755), 0);
  EXPECT_EQ(
      CodeOf(CreateKeyVault({.dir = other.path(), .any_file_system = true}, FixedKey(kMaster))),
      ErrorCode::kInvalidArgument);
  EXPECT_TRUE(fs::is_empty(other.path()));
}

// --- months

TEST_F(KeyVaultTest, MonthsAreMadeKeptAndDestroyed) {
  Pair february = {};
  {
    const auto vault = Open();
    EXPECT_TRUE(vault->Months().empty());
    february = *vault->PairForMonth(202702);
    EXPECT_NE(*vault->PairForMonth(202701), february);
    EXPECT_EQ(CodeOf(vault->PairForMonth(202713)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(vault->Months(), (std::vector<AuditMonth>{202701, 202702}));
  }
  WriteFile(File("M202702.a"), "torn");
  {
    const auto vault = Open();
    EXPECT_EQ(*vault->PairForMonth(202702), february);
    ASSERT_TRUE(vault->DestroyMonth(202702));
    ASSERT_TRUE(vault->DestroyMonth(202702));
    ASSERT_TRUE(vault->DestroyMonth(202512));
    EXPECT_EQ(vault->Months(), std::vector<AuditMonth>{202701});
    EXPECT_EQ(CodeOf(vault->PairForMonth(202702)), ErrorCode::kExpired);
    EXPECT_FALSE(fs::exists(File("M202702.a")));
    EXPECT_FALSE(fs::exists(File("M202702.b")));
  }
  EXPECT_EQ(Open()->Months(), std::vector<AuditMonth>{202701});
}

TEST_F(KeyVaultTest, AMonthWhoseDestructionWasInterruptedIsFinished) {
  {
    const auto vault = Open();
    ASSERT_TRUE(vault->PairForMonth(202702));
  }
  WriteFile(File("M202702.a"),
            AsString(EncodeDestroyedHeader({KeyFileKind::kMonth, 202702}).bytes));
  const auto vault = Open();
  EXPECT_EQ(vault->Months(), std::vector<AuditMonth>{202702});
  EXPECT_EQ(CodeOf(vault->PairForMonth(202702)), ErrorCode::kExpired);
  ASSERT_TRUE(vault->DestroyMonth(202702));
  EXPECT_TRUE(vault->Months().empty());
}

// --- cache

TEST(PairCache, IsBoundedAndForgetsTheOldest) {
  PairCache cache(3);
  Pair pair = {};
  for (std::uint32_t i = 0; i < 3; ++i) {
    pair.fill(static_cast<std::uint8_t>(i));
    cache.Insert(1, {i, 1}, pair);
  }
  EXPECT_TRUE(cache.Find(1, {0, 1}, &pair));  // now the newest
  EXPECT_EQ(pair[31], 0);
  pair.fill(3);
  cache.Insert(2, {3, 1}, pair);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_FALSE(cache.Find(1, {1, 1}, &pair));
  EXPECT_TRUE(cache.Find(1, {2, 1}, &pair));
  EXPECT_EQ(pair[0], 2);
  EXPECT_FALSE(cache.Find(1, {2, 2}, &pair));
  EXPECT_FALSE(cache.Find(2, {2, 1}, &pair));
  cache.RemoveDate(1);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_TRUE(cache.Find(2, {3, 1}, &pair));
  cache.Remove(2, {3, 1});
  cache.Remove(2, {3, 1});
  EXPECT_EQ(cache.size(), 0u);
  for (std::uint32_t i = 0; i < 100; ++i) cache.Insert(i, {i, 1}, pair);
  EXPECT_EQ(cache.size(), 3u);
}

// Figures for the log, never assertions.
TEST_F(KeyVaultTest, PrintsItsSpeed) {
  const auto vault = Open();
  ASSERT_TRUE(vault->OpenDate(kDay));
  const auto since = [](auto start) {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
        .count();
  };
  auto start = std::chrono::steady_clock::now();
  std::vector<Slot> slots;
  for (int i = 0; i < 640; ++i) slots.push_back(*vault->TakeSlot(kDay));
  const double take = since(start) / 640;
  start = std::chrono::steady_clock::now();
  for (const Slot slot : slots) ASSERT_TRUE(vault->PairFor(kDay, slot));
  const double cold = since(start) / 640;
  start = std::chrono::steady_clock::now();
  std::uint32_t sum = 0;
  for (int i = 0; i < 100; ++i) {
    for (const Slot slot : slots) sum += (*vault->PairFor(kDay, slot))[0];
  }
  const double hot = since(start) / 64'000;
  start = std::chrono::steady_clock::now();
  ASSERT_TRUE(vault->DestroySlots(kDay, {slots[0]}));
  const double slot = since(start);
  start = std::chrono::steady_clock::now();
  ASSERT_TRUE(vault->DestroyDate(kDay));
  const double date = since(start);
  EXPECT_GT(sum, 0u);
  std::printf(
      "TakeSlot %.0f ns, PairFor cold %.0f ns, hot %.0f ns, DestroySlots of one %.2f ms, "
      "DestroyDate %.2f ms\n",
      take, cold, hot, slot / 1e6, date / 1e6);
}

}  // namespace
}  // namespace mayfly::store
