#include "store/keys/seal.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <set>
#include <sodium.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "store/keys/dictionary.h"
#include "store/keys/seal_internal.h"
#include "store/model/ids.h"
#include "tests/support/key_bytes.h"

namespace mayfly::store {
namespace {

using mayfly::testing::AsString;
using mayfly::testing::Count;

const ExpiryDay kDay{std::chrono::days(20872)};  // 2027-02-23

struct Sample {
  Pair pair = Count<32>(0x30);
  std::string engine_key = AsString(Count<20>(0x01));
  SealContext context{.organisation = 1,
                      .family = "D20270223",
                      .column = 'm',
                      .engine_key = engine_key,
                      .expires_at = StartOf(kDay)};
  SealedHeader header{
      .slot = {.number = 65, .generation = 1}, .account = {7}, .direction = Direction::kIncoming};
};

constexpr const char* kText =
    "Guten Tag, ich habe eine Frage zu meinem Antrag auf einen neuen Reisepass. Welche Unterlagen "
    "muss ich mitbringen? Kann ich den Termin auch online buchen? Vielen Dank für Ihre Hilfe!";

ErrorCode CodeOf(const Result<std::string>& result) {
  return result ? ErrorCode::kInternal : result.error().code;
}

TEST(Seal, GoldenBytesOfARecord) {
  Sample s;
  const auto pair = FromHex("5c2f00cf040e9d3720cff4a5cef531e105f032bd2e85014a0eb9e4df1c6e90d8");
  ASSERT_TRUE(pair);
  std::copy(pair->begin(), pair->end(), s.pair.begin());
  const std::string sealed =
      internal::SealWithRandom(s.pair, s.context, s.header, "Hi.", Count<24>(0xE0));
  EXPECT_EQ(ToHex(sealed),
            "016d0000004100010000000701e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f74ca0cbd7b647"
            "5228841562ece80c82633db3fb27a26f1bc3c7617d7319612f70");
  EXPECT_EQ(sealed[0], kSealVersion);
  const Result<std::string> body = Unseal(s.pair, s.context, sealed);
  ASSERT_TRUE(body);
  EXPECT_EQ(*body, "Hi.");
}

// What zstd writes may change with its version; what it must read does not.
TEST(Seal, GoldenBytesOfACompressedRecordOpen) {
  Sample s;
  const auto sealed = FromHex(
      "016d0000004100010000000701e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f705c431b40e"
      "fd4cf9081274a2b1f7d73a228e4a164b8b559fe52114e503c9478976debb7c7c9cd9423913ab41a36b26"
      "a400c3408e99ea88e0049398ba1ea19a52b78e79f1ad51634b9f50dd17a91b6e95");
  ASSERT_TRUE(sealed);
  const Result<std::string> body = Unseal(s.pair, s.context, *sealed);
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(*body, kText);
  EXPECT_LT(sealed->size(), body->size());
}

TEST(Seal, TheDictionaryNeverChanges) {
  const std::string_view dictionary = RecordsDictionary1();
  EXPECT_EQ(dictionary.size(), 16384u);
  std::array<std::uint8_t, 32> hash;
  crypto_generichash_blake2b(hash.data(), hash.size(),
                             reinterpret_cast<const std::uint8_t*>(dictionary.data()),
                             dictionary.size(), nullptr, 0);
  EXPECT_EQ(ToHex(AsString(hash)),
            "d99da5ef2bdc924a65973b826d70c2ccf1dcb82fe9c7a974748c908a7f30d819");
}

TEST(Seal, RecordsOpenWithWhatTheyWereSealedWith) {
  const Sample s;
  std::string noise(5000, '\0');
  randombytes_buf(noise.data(), noise.size());
  std::string large(std::size_t{3} << 20, 'x');  // past the bound of decompression: stored as it is
  for (const std::string& body :
       {std::string(), std::string("a"), std::string(kText), std::string(100'000, 'y'),
        std::string(std::size_t{1} << 20, 'z'), noise, large}) {
    const std::string sealed = Seal(s.pair, s.context, s.header, body);
    const Result<std::string> opened = Unseal(s.pair, s.context, sealed);
    ASSERT_TRUE(opened) << opened.error().message << " of " << body.size() << " bytes";
    EXPECT_TRUE(*opened == body) << body.size();
    const Result<SealedHeader> header = PeekSealed(sealed);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->slot, s.header.slot);
    EXPECT_EQ(header->account, s.header.account);
    EXPECT_EQ(header->direction, s.header.direction);
  }
}

TEST(Seal, TwoSealsOfTheSameBodyShareNothing) {
  const Sample s;
  const std::string a = Seal(s.pair, s.context, s.header, kText);
  const std::string b = Seal(s.pair, s.context, s.header, kText);
  EXPECT_NE(a.substr(13, 24), b.substr(13, 24));  // r
  EXPECT_NE(a.substr(37), b.substr(37));
}

// Random bytes are drawn for many writes at once, on each thread; none of them may come twice.
TEST(Seal, NoRandomBytesAreUsedTwice) {
  const Sample s;
  std::set<std::string> seen;
  const auto take = [&](std::size_t count) {
    std::vector<std::string> taken;
    for (std::size_t i = 0; i < count; ++i) {
      taken.push_back(Seal(s.pair, s.context, s.header, "Hi.").substr(13, 24));
    }
    return taken;
  };
  std::vector<std::string> of_thread;
  std::thread([&] { of_thread = take(1'000); }).join();
  for (const std::string& r : of_thread) EXPECT_TRUE(seen.insert(r).second);
  for (const std::string& r : take(1'000)) EXPECT_TRUE(seen.insert(r).second);
}

TEST(Seal, AChildDoesNotUseWhatItsParentHasDrawn) {
  const Sample s;
  Seal(s.pair, s.context, s.header, "Hi.");  // so that some are left
  std::array<int, 2> pipe;
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  const std::string sealed = Seal(s.pair, s.context, s.header, "Hi.");
  if (child == 0) {
    const ssize_t sent = ::write(pipe[1], sealed.data(), sealed.size());
    ::_exit(sent == static_cast<ssize_t>(sealed.size()) ? 0 : 1);
  }
  ::close(pipe[1]);
  std::string of_child(sealed.size(), '\0');
  EXPECT_EQ(::read(pipe[0], of_child.data(), of_child.size()),
            static_cast<ssize_t>(of_child.size()));
  ::close(pipe[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_NE(of_child.substr(13, 24), sealed.substr(13, 24));
}

TEST(Seal, SmallBodiesAreSealedAsTheyAre) {
  const Sample s;
  EXPECT_EQ(Seal(s.pair, s.context, s.header, std::string(63, 'a')).size(), 13u + 24 + 80 + 16);
  EXPECT_LT(Seal(s.pair, s.context, s.header, std::string(64, 'a')).size(), 13u + 24 + 80 + 16);
}

TEST(Seal, SizesShowOnlySixteenByteSteps) {
  const Sample s;
  std::string body(64, '\0');
  randombytes_buf(body.data(), body.size());  // does not compress
  for (std::size_t size = 0; size <= body.size(); ++size) {
    const std::string sealed = Seal(s.pair, s.context, s.header, body.substr(0, size));
    EXPECT_EQ(sealed.size(), 13 + 24 + (5 + size + 15) / 16 * 16 + 16);
  }
}

TEST(Seal, SyntheticMessagesCompress) {
  const Sample s;
  EXPECT_LT(Seal(s.pair, s.context, s.header, kText).size(),
            13 + 24 + 16 + 0.6 * std::strlen(kText));
}

TEST(Seal, NoFlippedBitOpens) {
  const Sample s;
  const std::string sealed = Seal(s.pair, s.context, s.header, kText);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string flipped = sealed;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(CodeOf(Unseal(s.pair, s.context, flipped)), ErrorCode::kCorrupt) << bit;
  }
}

TEST(Seal, NoCutOrGrownRecordOpens) {
  const Sample s;
  const std::string sealed = Seal(s.pair, s.context, s.header, kText);
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(CodeOf(Unseal(s.pair, s.context, sealed.substr(0, size))), ErrorCode::kCorrupt);
  }
  EXPECT_EQ(CodeOf(Unseal(s.pair, s.context, sealed + '\0')), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Unseal(s.pair, s.context, sealed + std::string(16, '\0'))), ErrorCode::kCorrupt);
}

TEST(Seal, ARecordOpensInItsOwnPlaceOnly) {
  const Sample s;
  const std::string sealed = Seal(s.pair, s.context, s.header, kText);
  ASSERT_TRUE(Unseal(s.pair, s.context, sealed));
  std::vector<SealContext> elsewhere(7, s.context);
  elsewhere[0].organisation = 2;
  elsewhere[1].family = "D20270224";
  elsewhere[2].column = 'n';
  const std::string other_key = s.engine_key + "x";
  elsewhere[3].engine_key = other_key;
  elsewhere[4].expires_at += std::chrono::milliseconds(1);
  elsewhere[5].family = "D2027022";  // the same bytes, cut elsewhere
  const std::string joined = "3" + s.engine_key;
  elsewhere[5].engine_key = joined;
  elsewhere[6].engine_key = "";
  for (std::size_t i = 0; i < elsewhere.size(); ++i) {
    EXPECT_EQ(CodeOf(Unseal(s.pair, elsewhere[i], sealed)), ErrorCode::kCorrupt) << i;
  }
  Pair other = s.pair;
  other[31] ^= 1;
  EXPECT_EQ(CodeOf(Unseal(other, s.context, sealed)), ErrorCode::kCorrupt);
}

TEST(Seal, TheClearHeaderIsBound) {
  const Sample s;
  const std::string sealed = Seal(s.pair, s.context, s.header, kText);
  std::vector<SealedHeader> others(4, s.header);
  others[0].slot.number = 66;
  others[1].slot.generation = 2;
  others[2].account = {8};
  others[3].direction = Direction::kOutgoing;
  for (const SealedHeader& other : others) {
    std::string moved = sealed;
    moved.replace(0, 13, Seal(s.pair, s.context, other, kText), 0, 13);
    ASSERT_TRUE(PeekSealed(moved));
    EXPECT_EQ(CodeOf(Unseal(s.pair, s.context, moved)), ErrorCode::kCorrupt);
  }
}

TEST(Seal, PeekRefusesWhatIsNoRecord) {
  const Sample s;
  const std::string sealed = Seal(s.pair, s.context, s.header, "");
  EXPECT_FALSE(PeekSealed(""));
  EXPECT_FALSE(PeekSealed(sealed.substr(0, sealed.size() - 1)));
  for (const auto& [at, value] :
       {std::pair(0, 2), std::pair(0, 0), std::pair(12, 0), std::pair(12, 3)}) {
    std::string wrong = sealed;
    wrong[static_cast<std::size_t>(at)] = static_cast<char>(value);
    const Result<SealedHeader> peeked = PeekSealed(wrong);
    ASSERT_FALSE(peeked);
    EXPECT_EQ(peeked.error().code, ErrorCode::kCorrupt);
  }
}

TEST(Seal, ErrorsNameFamilyAndColumnAndNoKey) {
  Sample s;
  s.engine_key = "a-key-that-nobody-may-see";
  s.context.engine_key = s.engine_key;
  std::string sealed = Seal(s.pair, s.context, s.header, kText);
  sealed.back() = static_cast<char>(sealed.back() ^ 1);
  const Result<std::string> opened = Unseal(s.pair, s.context, sealed);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("D20270223"), std::string::npos);
  EXPECT_NE(opened.error().message.find("kind m"), std::string::npos);
  EXPECT_EQ(opened.error().message.find("a-key"), std::string::npos);
}

// A figure for the log, never an assertion.
TEST(Seal, PrintsItsSpeed) {
  const Sample s;
  const std::string body = (std::string(kText) + " " + kText).substr(0, 300);
  constexpr int kRounds = 5000;
  std::vector<std::string> sealed;
  sealed.reserve(kRounds);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) sealed.push_back(Seal(s.pair, s.context, s.header, body));
  const auto middle = std::chrono::steady_clock::now();
  std::size_t opened = 0;
  for (const std::string& record : sealed) opened += Unseal(s.pair, s.context, record)->size();
  const auto end = std::chrono::steady_clock::now();
  EXPECT_EQ(opened, kRounds * body.size());
  const auto each = [](auto from, auto to) {
    return std::chrono::duration<double, std::nano>(to - from).count() / kRounds;
  };
  std::printf("300 bytes: Seal %.0f ns, Unseal %.0f ns, sealed %zu bytes\n", each(start, middle),
              each(middle, end), sealed.front().size());
}

}  // namespace
}  // namespace mayfly::store
