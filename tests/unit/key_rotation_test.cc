// The master key is replaced while the keys stay: at every step, and at every torn byte of a step,
// one of the two master keys opens everything, and in the end the old one opens nothing.
#include <map>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "store/keys/key_file.h"
#include "store/keys/key_vault.h"
#include "tests/support/key_bytes.h"
#include "tests/support/temp_dir.h"
#include "tests/support/torn.h"

namespace mayfly::store {
namespace {

using mayfly::testing::Directory;
using mayfly::testing::FixedKey;
using mayfly::testing::ReadDirectory;
using mayfly::testing::TearsOf;
using mayfly::testing::TempDir;
using mayfly::testing::WriteDirectory;
namespace fs = std::filesystem;

constexpr std::uint8_t kOld = 0xA0;
constexpr std::uint8_t kNew = 0x30;
constexpr AuditMonth kMonth = 202702;
const ExpiryDay kDay{std::chrono::days(20872)};  // 2027-02-23
const std::vector<ExpiryDay> kDays = {kDay, kDay + std::chrono::days(1)};

class RotationTest : public ::testing::Test {
 protected:
  RotationTest() {
    EXPECT_TRUE(
        CreateKeyVault({.dir = keys(), .sync = false, .any_file_system = true}, FixedKey(kOld)));
    const auto vault = Open(kOld);
    for (const ExpiryDay day : kDays) {
      EXPECT_TRUE(vault->OpenDate(day));
      slots_[day] = *vault->TakeSlot(day);
      pairs_[day] = *vault->PairFor(day, slots_[day]);
    }
    gone_ = *vault->TakeSlot(kDay);
    EXPECT_TRUE(vault->DestroySlots(kDay, {gone_}));
    month_ = *vault->PairForMonth(kMonth);
    purpose_ = vault->PurposeKey("mf-token");
  }

  fs::path keys() const { return dir_ / "keys"; }
  Result<std::unique_ptr<KeyVault>> TryOpen(
      std::uint8_t master, std::function<void(RotationStep)> fail_point = {}) const {
    return OpenKeyVault({.dir = keys(),
                         .sync = false,
                         .any_file_system = true,
                         .rotation_fail_point = std::move(fail_point)},
                        FixedKey(master));
  }
  std::unique_ptr<KeyVault> Open(std::uint8_t master) const {
    auto vault = TryOpen(master);
    EXPECT_TRUE(vault) << vault.error().message;
    return vault ? *std::move(vault) : nullptr;
  }
  // As a start does that finds both: the old one first.
  std::unique_ptr<KeyVault> OpenWithEither() const {
    auto vault = TryOpen(kOld);
    if (!vault && vault.error().code == ErrorCode::kSealed) vault = TryOpen(kNew);
    EXPECT_TRUE(vault) << vault.error().message;
    return vault ? *std::move(vault) : nullptr;
  }

  void ExpectEverything(KeyVault& vault, const std::string& when) const {
    for (const ExpiryDay day : kDays) {
      const Result<Pair> pair = vault.PairFor(day, slots_.at(day));
      ASSERT_TRUE(pair) << when << ": " << pair.error().message;
      EXPECT_EQ(*pair, pairs_.at(day)) << when;
    }
    const Result<Pair> destroyed = vault.PairFor(kDay, gone_);
    ASSERT_FALSE(destroyed) << when << ": a destroyed key is back";
    EXPECT_EQ(destroyed.error().code, ErrorCode::kExpired) << when;
    const Result<Pair> month = vault.PairForMonth(kMonth);
    ASSERT_TRUE(month) << when << ": " << month.error().message;
    EXPECT_EQ(*month, month_) << when;
    EXPECT_EQ(vault.PurposeKey("mf-token"), purpose_) << when;
  }

  // Nothing on disk knows the old master key any more, not even wrapped.
  void ExpectOldIsWorthless(const std::string& when) const {
    for (const auto& [name, bytes] : ReadDirectory(keys())) {
      EXPECT_FALSE(name.starts_with("previous")) << when;
      const auto id = KeyFile::ParseFileName(name);
      if (!id) continue;
      Page page;
      std::copy_n(bytes.begin(), kPageBytes, page.bytes.begin());
      EXPECT_FALSE(DecodeHeader(*id, page, FixedKey(kOld))) << when << ": " << name;
      EXPECT_TRUE(DecodeHeader(*id, page, FixedKey(kNew))) << when << ": " << name;
    }
    const auto with_old = TryOpen(kOld);
    ASSERT_FALSE(with_old) << when;
    EXPECT_EQ(with_old.error().code, ErrorCode::kSealed) << when;
  }

  const TempDir dir_;
  std::map<ExpiryDay, Slot> slots_;
  std::map<ExpiryDay, Pair> pairs_;
  Slot gone_;
  Pair month_ = {};
  Pair purpose_ = {};
};

TEST_F(RotationTest, TheOldMasterKeyOpensNothingAfterwards) {
  const auto vault = Open(kOld);
  ASSERT_TRUE(vault->RotateMaster(FixedKey(kNew)));
  ExpectEverything(*vault, "while it goes on");
  // What is made from now on is under the new one.
  ASSERT_TRUE(vault->OpenDate(kDay + std::chrono::days(9)));
  ASSERT_TRUE(vault->PairForMonth(kMonth + 1));
  ExpectOldIsWorthless("at the end");
  ExpectEverything(*Open(kNew), "after a restart");
  EXPECT_TRUE(Open(kNew)->HasDate(kDay + std::chrono::days(9)));
}

TEST_F(RotationTest, AgainWithTheSameKeyIsNothingToDo) {
  ASSERT_TRUE(Open(kOld)->RotateMaster(FixedKey(kNew)));
  const Directory before = ReadDirectory(keys());
  ASSERT_TRUE(Open(kNew)->RotateMaster(FixedKey(kNew)));
  EXPECT_EQ(ReadDirectory(keys()), before);
}

TEST_F(RotationTest, DestroyedAndDamagedFilesDoNotHoldItUp) {
  const auto vault = Open(kOld);
  ASSERT_TRUE(vault->DestroyDate(kDays[1]));
  for (const char* mirror : {"D20270223.a", "D20270223.b"}) {
    mayfly::testing::WriteFile(keys() / mirror, std::string(5000, 'x'));
  }
  ASSERT_TRUE(vault->RotateMaster(FixedKey(kNew)));
  const auto after = Open(kNew);
  EXPECT_EQ(after->DestroyedDates(), std::vector<ExpiryDay>{kDays[1]});
  EXPECT_EQ(after->PairFor(kDay, slots_[kDay]).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(*after->PairForMonth(kMonth), month_);
}

// The process ends after the nth step; what is left must open with one of the two, hold everything,
// and come to its end when it is asked again.
TEST_F(RotationTest, AKillAfterEachStepIsMadeUpForAtTheNextTry) {
  const Directory begin = ReadDirectory(keys());
  int kills = 0;
  for (bool finished = false; !finished; ++kills) {
    WriteDirectory(keys(), begin);
    const pid_t child = ::fork();
    if (child == 0) {
      int left = kills;
      auto vault = TryOpen(kOld, [&](RotationStep) {
        if (left-- == 0) ::_exit(9);
      });
      ::_exit(vault && (*vault)->RotateMaster(FixedKey(kNew)) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_TRUE(WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
    finished = WEXITSTATUS(status) == 0;
    const std::string when = "kill " + std::to_string(kills);
    {
      const auto vault = OpenWithEither();
      ASSERT_NE(vault, nullptr) << when;
      ExpectEverything(*vault, when);
      ASSERT_TRUE(vault->RotateMaster(FixedKey(kNew))) << when;
      ExpectEverything(*vault, when + ", then asked again");
    }
    ExpectOldIsWorthless(when);
    ExpectEverything(*Open(kNew), when + ", in the end");
    if (HasFatalFailure()) return;
  }
  // Previous, root twice, three files twice, the end.
  EXPECT_EQ(kills, 1 + 2 + 2 * 3 + 1 + 1);
}

// Another key than the one of the interrupted try.
TEST_F(RotationTest, AnInterruptedTryDoesNotHoldUpAnotherKey) {
  for (const int steps : {0, 1, 2, 4}) {
    const pid_t child = ::fork();
    if (child == 0) {
      int left = steps;
      auto vault = TryOpen(kOld, [&](RotationStep) {
        if (left-- == 0) ::_exit(9);
      });
      (void)(*vault)->RotateMaster(FixedKey(0x77));
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    auto vault = TryOpen(kOld);
    if (!vault) vault = TryOpen(0x77);
    ASSERT_TRUE(vault) << steps;
    ASSERT_TRUE((*vault)->RotateMaster(FixedKey(kNew)));
    EXPECT_EQ(TryOpen(0x77).error().code, ErrorCode::kSealed);
    ExpectOldIsWorthless("after " + std::to_string(steps));
    ASSERT_TRUE((*vault)->RotateMaster(FixedKey(kOld)));  // for the next round
    ExpectEverything(*Open(kOld), "back again");
  }
}

// Between any two writes of a rotation, every byte at which the second may have been cut off, from
// either end. The states are those that the steps leave.
TEST_F(RotationTest, ARotationTornAtAnyByteIsRecovered) {
  std::vector<Directory> states = {ReadDirectory(keys())};
  {
    auto vault = TryOpen(kOld, [&](RotationStep) { states.push_back(ReadDirectory(keys())); });
    ASSERT_TRUE(vault);
    ASSERT_TRUE((*vault)->RotateMaster(FixedKey(kNew)));
    states.push_back(ReadDirectory(keys()));
  }
  ASSERT_EQ(states.size(), 12u);
  std::size_t torn = 0;
  for (std::size_t step = 0; step + 1 < states.size(); ++step) {
    for (const Directory& state : TearsOf(states[step], states[step + 1])) {
      WriteDirectory(keys(), state);
      const std::string when =
          "between " + std::to_string(step) + " and the next, tear " + std::to_string(torn);
      if (torn % 16 == 0) {
        const auto stranger = TryOpen(0x11);
        ASSERT_FALSE(stranger) << when;
        EXPECT_EQ(ReadDirectory(keys()), state) << when << ": a wrong master key changed something";
      }
      const auto vault = OpenWithEither();
      ASSERT_NE(vault, nullptr) << when;
      ExpectEverything(*vault, when);
      ++torn;
      if (HasFailure()) return;
    }
  }
  std::cout << "[          ] " << torn << " torn states\n";
  EXPECT_GT(torn, 2'000u);
}

}  // namespace
}  // namespace mayfly::store
