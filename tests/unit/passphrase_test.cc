#include "store/keys/passphrase.h"

#include <gtest/gtest.h>

#include "store/keys/key_file.h"
#include "store/model/ids.h"
#include "tests/support/key_bytes.h"
#include "tests/support/temp_dir.h"
#include "tests/support/torn.h"

namespace mayfly::store {
namespace {

using mayfly::testing::Directory;
using mayfly::testing::ReadDirectory;
using mayfly::testing::TearsOf;
using mayfly::testing::TempDir;
using mayfly::testing::WriteDirectory;

// The least that Argon2id can be asked for: these tests are about everything else.
constexpr PassphraseCost kCheap{.passes = 1, .memory_bytes = 8192};
constexpr auto kCurrent = PassphraseRecord::kCurrent;
constexpr auto kNext = PassphraseRecord::kNext;

Passphrase Words(const std::string& words) { return Passphrase(words); }

std::string BytesOf(const SecretKey& key) {
  return std::string(key.bytes().begin(), key.bytes().end());
}

template <class T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? ErrorCode::kInternal : result.error().code;
}

TEST(Passphrase, GivesTheSameKeyAgainAndNoOtherDoes) {
  const TempDir dir;
  EXPECT_FALSE(HasPassphrase(dir.path(), kCurrent));
  EXPECT_EQ(CodeOf(OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery"))),
            ErrorCode::kNotFound);
  const auto made =
      SetPassphrase(dir.path(), kCurrent, Words("correct horse battery"), kCheap, false);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(HasPassphrase(dir.path(), kCurrent));
  const auto again = OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery"));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(BytesOf(*made) == BytesOf(*again));
  for (const char* wrong : {"correct horse batter", "correct horse batteryy", "",
                            "Correct horse "
                            "battery"}) {
    const auto refused = OpenPassphrase(dir.path(), kCurrent, Words(wrong));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kSealed);
    EXPECT_EQ(refused.error().message, "this is not the passphrase of these keys");
  }
  // The same words elsewhere are another key: the salt is fresh.
  const TempDir other;
  const auto elsewhere =
      SetPassphrase(other.path(), kCurrent, Words("correct horse battery"), kCheap, false);
  EXPECT_FALSE(BytesOf(*made) == BytesOf(*elsewhere));
}

TEST(Passphrase, GoldenRecord) {
  const TempDir dir;
  std::string record = *FromHex(
      "6d6179666c792d6172676f6e3269640001000000000000010000000000002000c0c1c2c3c4c5c6c7"
      "c8c9cacbcccdcecfefce43bca149c41f89edddc7b959ab15a4d821d79e28221872b0e9a765fb4de0"
      "5d2f1b008432c47c12c132712fb9c897f4ad6b3ff7e6853762015023e298427b");
  record.resize(kPageBytes);
  mayfly::testing::WriteFile(dir / "passphrase.b", record);
  const auto key = OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery"));
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(ToHex(BytesOf(*key)),
            "3364870fda5e01a7f5080d2f337a7795a232c6fb2afb8478f2c139c61703ad21");
}

TEST(Passphrase, NothingOfItLiesOnTheDisk) {
  const TempDir dir;
  const auto key =
      SetPassphrase(dir.path(), kCurrent, Words("marker-cobalt-7719 words"), kCheap, false);
  for (const auto& [name, bytes] : ReadDirectory(dir.path())) {
    EXPECT_EQ(bytes.find("cobalt"), std::string::npos) << name;
    EXPECT_EQ(bytes.find(BytesOf(*key)), std::string::npos) << name;
  }
}

TEST(Passphrase, ShortOnesAreRefused) {
  const TempDir dir;
  EXPECT_EQ(CodeOf(SetPassphrase(dir.path(), kCurrent, Words("eleven char"), kCheap, false)),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(
      CodeOf(SetPassphrase(dir.path(), kCurrent, Words(std::string(1025, 'x')), kCheap, false)),
      ErrorCode::kInvalidArgument);
  EXPECT_TRUE(ReadDirectory(dir.path()).empty());
}

// The production cost, once: it is what the service uses.
TEST(Passphrase, TheCostOfLifeWorks) {
  const TempDir dir;
  ASSERT_TRUE(SetPassphrase(dir.path(), kCurrent, Words("correct horse battery"), {}, false));
  EXPECT_EQ(CodeOf(OpenPassphrase(dir.path(), kCurrent, Words("correct horse batter!"))),
            ErrorCode::kSealed);
  EXPECT_TRUE(OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery")));
}

TEST(Passphrase, OneDamagedMirrorIsEnoughAndTwoAreSaid) {
  const TempDir dir;
  ASSERT_TRUE(SetPassphrase(dir.path(), kCurrent, Words("correct horse battery"), kCheap, false));
  const Directory whole = ReadDirectory(dir.path());
  for (std::size_t at = 0; at < 120; ++at) {
    Directory state = whole;
    state["passphrase.a"][at] = static_cast<char>(state["passphrase.a"][at] ^ 4);
    WriteDirectory(dir.path(), state);
    EXPECT_TRUE(OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery"))) << at;
    state["passphrase.b"][at] = static_cast<char>(state["passphrase.b"][at] ^ 8);
    WriteDirectory(dir.path(), state);
    EXPECT_EQ(CodeOf(OpenPassphrase(dir.path(), kCurrent, Words("correct horse battery"))),
              ErrorCode::kCorrupt)
        << at;
  }
}

TEST(Passphrase, ARecordThatAsksForTheWholeMachineIsNotObeyed) {
  const TempDir dir;
  EXPECT_EQ(CodeOf(SetPassphrase(dir.path(), kCurrent, Words("correct horse battery"),
                                 {.passes = 3, .memory_bytes = std::uint64_t{1} << 40}, false)),
            ErrorCode::kInvalidArgument);
}

// From the next record's first byte until it has taken the place of the current one, the old or the
// new passphrase is known, and the new one from the moment it was promised.
TEST(Passphrase, ARotationTornAtAnyByteKnowsOneOfTheTwo) {
  const TempDir dir;
  const Passphrase old_words = Words("correct horse battery");
  const Passphrase new_words = Words("staple and paper clip");
  ASSERT_TRUE(SetPassphrase(dir.path(), kCurrent, old_words, kCheap, false));
  const Directory before = ReadDirectory(dir.path());
  ASSERT_TRUE(SetPassphrase(dir.path(), kNext, new_words, kCheap, false));
  const Directory written = ReadDirectory(dir.path());
  for (const Directory& state : TearsOf(before, written)) {
    WriteDirectory(dir.path(), state);
    ASSERT_TRUE(OpenPassphrase(dir.path(), kCurrent, old_words));
  }
  Directory adopted = written;
  adopted["passphrase.a"] = adopted["passphrase.b"] = written.at("passphrase-next.a");
  std::size_t torn = 0;
  for (const Directory& state : TearsOf(written, adopted)) {
    WriteDirectory(dir.path(), state);
    ASSERT_TRUE(OpenPassphrase(dir.path(), kNext, new_words)) << torn;
    ASSERT_TRUE(AdoptNextPassphrase(dir.path(), false)) << torn;
    ASSERT_TRUE(OpenPassphrase(dir.path(), kCurrent, new_words)) << torn;
    ASSERT_FALSE(OpenPassphrase(dir.path(), kCurrent, old_words)) << torn;
    ASSERT_FALSE(HasPassphrase(dir.path(), kNext)) << torn;
    ++torn;
  }
  EXPECT_GT(torn, 100u);
  ASSERT_TRUE(AdoptNextPassphrase(dir.path(), false));  // again: nothing to do
  EXPECT_TRUE(OpenPassphrase(dir.path(), kCurrent, new_words));
}

}  // namespace
}  // namespace mayfly::store
