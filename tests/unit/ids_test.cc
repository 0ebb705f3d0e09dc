#include "store/model/ids.h"

#include <optional>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace mayfly {
namespace {

constexpr char kHex[] = "000102030405060708090a0b0c0d0eff";

TEST(Hex, GoesBothWaysInSmallLettersOnly) {
  const std::string bytes("\x00\x01\x7f\x80\xff", 5);
  EXPECT_EQ(ToHex(bytes), "00017f80ff");
  EXPECT_EQ(FromHex("00017f80ff"), bytes);
  EXPECT_EQ(FromHex(""), "");
  for (const char* text : {"0", "0g", "0A", "FF", " 0", "0x", "00 1", "\xc3\xa9"}) {
    EXPECT_FALSE(FromHex(text)) << text;
  }
}

TEST(AccountId, HasOneTextForEachNumber) {
  EXPECT_EQ(AccountId{7}.ToString(), "acc_7");
  EXPECT_EQ(AccountId::Parse("acc_7"), AccountId{7});
  EXPECT_EQ(AccountId::Parse("acc_4294967295"), AccountId{4294967295u});
  for (const char* text :
       {"", "acc_", "7", "acc_07", "acc_+7", "acc_-7", "acc_ 7", "acc_7 ", "ACC_7",
        "acc_4294967296", "acc_99999999999999999999", "acc_7x", "cnv_7", "acc_0x7"}) {
    EXPECT_FALSE(AccountId::Parse(text)) << text;
  }
}

TEST(ConversationId, GoesBothWays) {
  const std::optional<ConversationId> id = ConversationId::Parse(std::string("cnv_") + kHex);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->bytes[1], 1);
  EXPECT_EQ(id->bytes[15], 255);
  EXPECT_EQ(id->ToString(), std::string("cnv_") + kHex);
}

TEST(ConversationId, RefusesEverythingElse) {
  const std::string hex = kHex;
  for (const std::string& text :
       {std::string(), std::string("cnv_"), hex, "cnv_" + hex.substr(1), "cnv_" + hex + "0",
        "cnv_" + hex + "00", "cnv_" + hex.substr(0, 31) + "F", "msg_" + hex, "cnv-" + hex,
        "cnv_" + hex.substr(0, 31) + std::string(1, '\0')}) {
    EXPECT_FALSE(ConversationId::Parse(text)) << text;
  }
}

TEST(ConversationId, IsRandom) {
  std::set<ConversationId> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(ConversationId::Random());
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_FALSE(seen.contains(ConversationId{}));
}

TEST(DatedId, GoesBothWaysAndCarriesItsDate) {
  const std::string text = std::string("msg_20270222_") + kHex;
  const std::optional<MessageId> id = MessageId::Parse(text);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->day, ExpiryDay(std::chrono::year(2027) / 2 / 22));
  EXPECT_EQ(id->ToString(), text);
  const std::string reply = std::string("rpl_20270222_") + kHex;
  ASSERT_TRUE(ReplyId::Parse(reply));
  EXPECT_EQ(ReplyId::Parse(reply)->ToString(), reply);
}

TEST(DatedId, RefusesAnotherKindAndWhatIsNoDate) {
  const std::string hex = kHex;
  EXPECT_FALSE(MessageId::Parse("rpl_20270222_" + hex));
  EXPECT_FALSE(ReplyId::Parse("msg_20270222_" + hex));
  for (const std::string& text :
       {std::string(), std::string("msg_"), std::string("msg_20270222"),
        std::string("msg_20270222_"), "msg_20270222" + hex, "msg_20270230_" + hex,
        "msg_2027-02-22_" + hex, "msg_19691231_" + hex, "msg_20270222-" + hex,
        "msg_20270222_" + hex + "00", "msg__" + hex}) {
    EXPECT_FALSE(MessageId::Parse(text)) << text;
  }
}

TEST(DatedId, SortsByDateFirst) {
  const MessageId early{ExpiryDay(std::chrono::year(2027) / 2 / 22), {9}};
  const MessageId late{ExpiryDay(std::chrono::year(2027) / 2 / 23), {1}};
  EXPECT_LT(early, late);
}

}  // namespace
}  // namespace mayfly
