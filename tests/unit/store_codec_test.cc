// The bytes of every record, and what happens to bytes that are not a record.
#include <chrono>
#include <functional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/codec.h"
#include "store/schema.h"

namespace mayfly::store {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;

TimePoint Ms(std::int64_t count) { return TimePoint(milliseconds(count)); }
ExpiryDay Day(int count) { return ExpiryDay(days(count)); }
Bytes16 Filled(std::uint8_t byte) {
  Bytes16 bytes;
  bytes.fill(byte);
  return bytes;
}
std::string Sixteen(const std::string& hex_byte) {
  std::string hex;
  for (int i = 0; i < 16; ++i) hex += hex_byte;
  return hex;
}

struct Case {
  const char* name;
  std::string encoded;
  std::string golden;  // hex
  // Decodes and encodes again.
  std::function<Result<std::string>(std::string_view)> again;
};

template <class T>
Result<std::string> Again(Result<T> decoded) {
  if (!decoded) return Fail(std::move(decoded).error());
  return codec::Encode(*decoded);
}

std::vector<Case> Cases() {
  std::vector<Case> cases;

  codec::MessageRecord message;
  message.conversation.bytes = Filled(0x11);
  message.sent_at = Ms(1'000);
  message.received_at = Ms(1'500);
  message.sequence = 300;
  message.platform_id = PlatformId("m1");
  message.sender = PlatformId("p");
  message.text = MessageBody("Hi");
  message.has_unsupported_content = true;
  message.backfilled = true;
  message.reply = ReplyId{Day(100), Filled(0x22)};
  cases.push_back({"message", codec::Encode(message),
                   "03"
                   "0b"
                   "00" +
                       Sixteen("11") +
                       "d00f"
                       "e807"
                       "ac02"
                       "c801" +
                       Sixteen("22") +
                       "026d31"
                       "0170"
                       "024869",
                   [](std::string_view b) { return Again(codec::DecodeMessage(b)); }});
  codec::MessageRecord edited = message;
  edited.has_unsupported_content = false;
  edited.reply = std::nullopt;
  edited.edited_at = Ms(2'000);
  cases.push_back({"edited message", codec::Encode(edited),
                   "03"
                   "12"
                   "00" +
                       Sixteen("11") +
                       "d00f"
                       "e807"
                       "ac02"
                       "a01f"
                       "026d31"
                       "0170"
                       "024869",
                   [](std::string_view b) { return Again(codec::DecodeMessage(b)); }});
  edited.attachments = 3;
  cases.push_back({"message with attachments", codec::Encode(edited),
                   "03"
                   "32"
                   "00" +
                       Sixteen("11") +
                       "d00f"
                       "e807"
                       "ac02"
                       "a01f"
                       "03"
                       "026d31"
                       "0170"
                       "024869",
                   [](std::string_view b) { return Again(codec::DecodeMessage(b)); }});
  codec::AttachmentRecord attachment;
  attachment.state = AttachmentState::kRefused;
  attachment.refusal = AttachmentRefusal::kGone;
  attachment.bytes = 300;
  attachment.writing = Filled(0x77);
  attachment.media_type = "a/b";
  attachment.name = AttachmentName("n");
  attachment.locator = AttachmentLocator("u");
  cases.push_back({"attachment", codec::Encode(attachment),
                   "01"
                   "03"
                   "02"
                   "ac02" +
                       Sixteen("77") +
                       "03612f62"
                       "016e"
                       "0175",
                   [](std::string_view b) { return Again(codec::DecodeAttachment(b)); }});
  cases.push_back({"wanted attachment", codec::Encode(codec::WantedRecord{.account = AccountId{7}}),
                   "01"
                   "07",
                   [](std::string_view b) { return Again(codec::DecodeWanted(b)); }});
  codec::MessageRecord stub;
  stub.sent_at = Ms(-1);
  stub.received_at = Ms(-1);
  stub.unreadable = UnreadableReason::kUnsupportedKind;
  stub.withdrawn = true;
  cases.push_back({"tombstone", codec::Encode(stub),
                   "03"
                   "04"
                   "03" +
                       Sixteen("00") +
                       "01"
                       "00"
                       "00"
                       "00"
                       "00"
                       "00",
                   [](std::string_view b) { return Again(codec::DecodeMessage(b)); }});

  codec::HeadRecord head;
  head.id.bytes = Filled(0x33);
  head.account = AccountId{7};
  head.platform_id = PlatformId("c");
  head.status = ConversationStatus::kClosed;
  head.standing = PlatformStanding::kLocked;
  head.group = true;
  head.unread = true;
  head.participants = {PlatformId("p")};
  head.last_activity_at = Ms(1'000);
  head.last_message = MessageId{Day(100), Filled(0x44)};
  head.last_sent_at = Ms(1'500);
  head.revision = 9;
  head.days = {Day(100), Day(102)};
  cases.push_back({"head", codec::Encode(head),
                   "01"
                   "07"
                   "02"
                   "03" +
                       Sixteen("33") +
                       "07"
                       "0163"
                       "d00f"
                       "c801" +
                       Sixteen("44") +
                       "b817"
                       "09"
                       "02"
                       "c801"
                       "04"
                       "01"
                       "0170",
                   [](std::string_view b) { return Again(codec::DecodeHead(b)); }});

  cases.push_back(
      {"pointer", codec::Encode(codec::PointerRecord{.cblind = Filled(0x55), .sent_at = Ms(1'000)}),
       "01" + Sixteen("55") + "d00f",
       [](std::string_view b) { return Again(codec::DecodePointer(b)); }});
  codec::InboxRecord inbox;
  inbox.conversation.bytes = Filled(0x66);
  inbox.account = AccountId{7};
  inbox.unread = true;
  cases.push_back({"inbox", codec::Encode(inbox),
                   "01" + Sixteen("66") +
                       "07"
                       "01"
                       "01",
                   [](std::string_view b) { return Again(codec::DecodeInbox(b)); }});
  cases.push_back(
      {"idempotency",
       codec::Encode(codec::IdempotencyRecord{
           .reply = {Day(100), Filled(0x77)}, .body_print = Filled(0x88), .created_at = Ms(1'000)}),
       "01"
       "c801" +
           Sixteen("77") + Sixteen("88") + "d00f",
       [](std::string_view b) { return Again(codec::DecodeIdempotency(b)); }});
  cases.push_back({"stats",
                   codec::Encode(codec::StatsRecord{.greatest_born = Ms(1'000), .messages = 300}),
                   "01"
                   "d00f"
                   "ac02",
                   [](std::string_view b) { return Again(codec::DecodeStats(b)); }});
  cases.push_back({"contact",
                   codec::Encode(Contact{.platform_id = PlatformId("p"),
                                         .handle = ContactHandle("hh"),
                                         .display_name = ContactHandle("n")}),
                   "01"
                   "0170"
                   "026868"
                   "016e",
                   [](std::string_view b) { return Again(codec::DecodeContact(b)); }});
  cases.push_back({"slot", codec::Encode(Slot{.number = 300, .generation = 1}),
                   "01"
                   "ac02"
                   "01",
                   [](std::string_view b) { return Again(codec::DecodeSlot(b)); }});
  ConversationId conversation;
  conversation.bytes = Filled(0x99);
  cases.push_back({"lookup", codec::Encode(conversation), "01" + Sixteen("99"),
                   [](std::string_view b) { return Again(codec::DecodeConversationId(b)); }});

  Reply reply;
  reply.conversation.bytes = Filled(0xaa);
  reply.account = AccountId{7};
  reply.after_message = {Day(100), Filled(0xbb)};
  reply.text = MessageBody("Hi");
  reply.state = ReplyState::kUnknown;
  reply.reason = "io";
  reply.platform_code = "X";
  reply.created_at = Ms(1'000);
  reply.state_since = Ms(1'500);
  reply.send_started_at = Ms(1'000);
  reply.attempts = 2;
  reply.looks = 3;
  reply.message = MessageId{Day(100), Filled(0xcc)};
  reply.author = "tok_1";
  cases.push_back({"reply", codec::Encode(reply),
                   "01"
                   "05" +
                       Sixteen("aa") +
                       "07"
                       "c801" +
                       Sixteen("bb") +
                       "02696f"
                       "0158"
                       "d00f"
                       "b817"
                       "01d00f"
                       "00"
                       "02"
                       "03"
                       "01"
                       "c801" +
                       Sixteen("cc") +
                       "05746f6b5f31"
                       "024869",
                   [](std::string_view b) { return Again(codec::DecodeReply(b, {})); }});

  Account account;
  account.id = AccountId{7};
  account.platform = "x";
  account.label = "L";
  account.options = {{"k", "v"}};
  account.created_at = Ms(1'000);
  account.revision = 2;
  account.state = AccountState::kThrottled;
  account.state_reason = "r";
  account.state_since = Ms(1'500);
  account.last_success_at = Ms(1'000);
  account.credential_fingerprint = "f";
  account.own_platform_id = "o";
  account.own_handle = "h";
  cases.push_back({"account", codec::Encode(account),
                   "01"
                   "07"
                   "0178"
                   "014c"
                   "01"
                   "016b"
                   "0176"
                   "0350334d"
                   "d00f"
                   "02"
                   "02"
                   "0172"
                   "b817"
                   "01d00f"
                   "0166"
                   "016f"
                   "0168",
                   [](std::string_view b) { return Again(codec::DecodeAccount(b)); }});
  cases.push_back({"credential", codec::Encode(Credential("s")),
                   "01"
                   "0173",
                   [](std::string_view b) { return Again(codec::DecodeCredential(b)); }});
  Coverage coverage;
  coverage.covered_from = Ms(1'000);
  coverage.history_complete = true;
  coverage.unreadable = 1;
  coverage.past_horizon = 300;
  coverage.holes = {{.from = Ms(1'000),
                     .until = Ms(1'500),
                     .reason = "io",
                     .fillable = false,
                     .filled_at = std::nullopt}};
  cases.push_back({"coverage", codec::Encode(coverage),
                   "01"
                   "01d00f"
                   "00"
                   "01"
                   "01"
                   "ac02"
                   "01"
                   "d00f"
                   "01b817"
                   "02696f"
                   "00"
                   "00",
                   [](std::string_view b) { return Again(codec::DecodeCoverage(b)); }});
  cases.push_back({"rules",
                   codec::Encode(std::vector<codec::UsedRule>{
                       {.zone = "UTC", .period = {}, .last_used = Day(100)}}),
                   "01"
                   "01"
                   "03555443"
                   "0350334d"
                   "c801",
                   [](std::string_view b) { return Again(codec::DecodeRules(b)); }});
  cases.push_back({"token",
                   codec::Encode(TokenInfo{.id = "t",
                                           .role = Role::kAuditor,
                                           .label = "l",
                                           .created_at = Ms(1'000),
                                           .expires_at = Ms(1'500)}),
                   "01"
                   "0174"
                   "04"
                   "016c"
                   "d00f"
                   "b817",
                   [](std::string_view b) { return Again(codec::DecodeToken(b)); }});
  cases.push_back({"journal",
                   codec::Encode(codec::PurgeJournal{.messages = 300, .replies_expired = 2}),
                   "01"
                   "ac02"
                   "02",
                   [](std::string_view b) { return Again(codec::DecodeJournal(b)); }});
  PurgeReceipt receipt;
  receipt.day = Day(100);
  receipt.messages = 300;
  receipt.keys_destroyed_at = Ms(1'000);
  receipt.finished_at = Ms(1'500);
  receipt.late_ms = -1;
  receipt.bytes_dropped = 5;
  receipt.replies_expired = 6;
  cases.push_back({"receipt", codec::Encode(receipt),
                   "01"
                   "c801"
                   "ac02"
                   "d00f"
                   "b817"
                   "01"
                   "05"
                   "06"
                   "01",
                   [](std::string_view b) { return Again(codec::DecodeReceipt(b)); }});
  cases.push_back({"held withdrawal",
                   codec::Encode(codec::HeldRecord{.since = Ms(1'000), .account = AccountId{7}}),
                   "01"
                   "d00f"
                   "07",
                   [](std::string_view b) { return Again(codec::DecodeHeld(b)); }});
  cases.push_back({"times", codec::EncodeTimes({Ms(1'000), Ms(1'500)}),
                   "01"
                   "02"
                   "d00f"
                   "b817",
                   [](std::string_view b) -> Result<std::string> {
                     auto times = codec::DecodeTimes(b);
                     if (!times) return Fail(std::move(times).error());
                     return codec::EncodeTimes(*times);
                   }});
  cases.push_back(
      {"slot renewal",
       codec::Encode(codec::RenewalRecord{.since = Ms(1'000),
                                          .withdrawn = 1,
                                          .destroyed = 2,
                                          .edited = 3,
                                          .after = Slot{.number = 300, .generation = 1}}),
       "01"
       "d00f"
       "01"
       "02"
       "03"
       "01"
       "ac02"
       "01",
       [](std::string_view b) { return Again(codec::DecodeRenewal(b)); }});
  codec::RestrictionRecord restriction;
  restriction.person.fill(0xab);
  restriction.kind = RestrictionKind::kObjection;
  restriction.account = AccountId{7};
  restriction.since = Ms(1'000);
  restriction.not_collected = 300;
  restriction.last_attempt_at = Ms(1'500);
  cases.push_back({"restriction", codec::Encode(restriction),
                   "01"
                   "02"
                   "abababababababababababababababab"
                   "07"
                   "d00f"
                   "ac02"
                   "01b817",
                   [](std::string_view b) { return Again(codec::DecodeRestriction(b)); }});
  codec::RewritingRecord rewriting;
  rewriting.index = Slot{.number = 5, .generation = 1};
  rewriting.doomed = {{.number = 0, .generation = 1}};
  rewriting.dropped = {{.slot = {.number = 2, .generation = 1}, .messages = 300, .replies = 4}};
  rewriting.again = true;
  cases.push_back({"date rewriting", codec::Encode(rewriting),
                   "01"
                   "01"
                   "0501"
                   "01"
                   "0001"
                   "01"
                   "0201"
                   "ac02"
                   "04"
                   "01",
                   [](std::string_view b) { return Again(codec::DecodeRewriting(b)); }});
  codec::ErasureRecord erasure;
  erasure.account = AccountId{7};
  erasure.person = PlatformId("p");
  erasure.requested_at = Ms(1'000);
  erasure.keys_destroyed_at = Ms(1'500);
  erasure.heads_cleared = true;
  erasure.keys = {{Day(100), {.number = 2, .generation = 1}}};
  erasure.messages = 300;
  erasure.replies = 1;
  cases.push_back({"erasure", codec::Encode(erasure),
                   "01"
                   "07"
                   "0170"
                   "d00f"
                   "01b817"
                   "01"
                   "01"
                   "c801"
                   "0201"
                   "ac02"
                   "01",
                   [](std::string_view b) { return Again(codec::DecodeErasure(b)); }});
  DestructionReceipt destroyed;
  destroyed.kind = DestructionKind::kPerson;
  destroyed.requested_at = Ms(1'000);
  destroyed.keys_destroyed_at = Ms(1'000);
  destroyed.finished_at = Ms(1'500);
  destroyed.dates = 1;
  destroyed.keys = 2;
  destroyed.messages = 300;
  destroyed.replies = 4;
  destroyed.edited = 5;
  cases.push_back({"destruction receipt", codec::Encode(destroyed),
                   "01"
                   "02"
                   "d00f"
                   "d00f"
                   "b817"
                   "01"
                   "02"
                   "ac02"
                   "04"
                   "05",
                   [](std::string_view b) { return Again(codec::DecodeDestruction(b, {})); }});
  AuditEntry entry;
  entry.at = Ms(1'000);
  entry.actor = "a";
  entry.request_id = "r";
  entry.action = "x";
  entry.object = "o";
  entry.outcome = "ok";
  cases.push_back({"audit", codec::Encode(entry),
                   "01"
                   "d00f"
                   "0161"
                   "0172"
                   "0178"
                   "016f"
                   "026f6b",
                   [](std::string_view b) { return Again(codec::DecodeAudit(b, 1)); }});
  return cases;
}

TEST(StoreCodec, EveryRecordHasItsGoldenBytes) {
  for (const Case& c : Cases()) EXPECT_EQ(ToHex(c.encoded), c.golden) << c.name;
}

TEST(StoreCodec, WhatWasWrittenIsRead) {
  for (const Case& c : Cases()) {
    const auto again = c.again(c.encoded);
    ASSERT_TRUE(again) << c.name;
    EXPECT_EQ(ToHex(*again), ToHex(c.encoded)) << c.name;
  }
}

TEST(StoreCodec, AMessageOfAnEarlierLayoutStaysReadable) {
  const std::string golden =
      "01"
      "0b"
      "00" +
      Sixteen("11") +
      "d00f"
      "e807"
      "ac02"
      "c801" +
      Sixteen("22") +
      "026d31"
      "0170"
      "024869";
  const auto message = codec::DecodeMessage(*FromHex(golden));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->sent_at, Ms(1'000));
  EXPECT_EQ(message->text, MessageBody("Hi"));
  EXPECT_EQ(message->edited_at, std::nullopt);
  EXPECT_EQ(ToHex(codec::Encode(*message)), "03" + golden.substr(2)) << "nothing else changed";
  // It knew no edits, and the next one no attachments, so the mark of one is damage.
  EXPECT_FALSE(codec::DecodeMessage(*FromHex("0110" + golden.substr(4))));
  EXPECT_TRUE(codec::DecodeMessage(*FromHex("02" + golden.substr(2))));
  EXPECT_FALSE(codec::DecodeMessage(*FromHex("0220" + golden.substr(4))));
}

TEST(StoreCodec, CutLongerOrOtherVersionedRecordsAreCorrupt) {
  for (const Case& c : Cases()) {
    for (std::size_t size = 0; size < c.encoded.size(); ++size) {
      const auto cut = c.again(std::string_view(c.encoded).substr(0, size));
      ASSERT_FALSE(cut) << c.name << " cut at " << size;
      EXPECT_EQ(cut.error().code, ErrorCode::kCorrupt);
    }
    EXPECT_FALSE(c.again(c.encoded + '\0')) << c.name;
    std::string other = c.encoded;
    for (const char version : {'\0', '\4'}) {
      other[0] = version;
      EXPECT_FALSE(c.again(other)) << c.name;
    }
  }
}

TEST(StoreCodec, AnyBytesDecodeToTheSameBytesOrToAnError) {
  std::mt19937_64 random(20260305);
  for (const Case& c : Cases()) {
    for (int round = 0; round < 2'000; ++round) {
      std::string bytes = c.encoded;
      const int changes = 1 + static_cast<int>(random() % 3);
      for (int i = 0; i < changes; ++i) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      const auto decoded = c.again(bytes);
      if (decoded) {
        // An older version that knew the same fields is written as today's.
        bytes[0] = c.encoded[0];
        EXPECT_EQ(*decoded, bytes) << c.name;
      } else {
        EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
      }
    }
  }
}

TEST(StoreCodec, ASecondWayToWriteTheSameIsCorrupt) {
  const auto bytes = [](std::string_view hex) { return FromHex(hex).value(); };
  EXPECT_EQ(*codec::DecodeNumber(bytes("01ac02")), 300u);
  EXPECT_FALSE(codec::DecodeNumber(bytes("01ac8200")));
  EXPECT_FALSE(codec::DecodeNumber(bytes("018000")));
  const std::string rules =
      "01"
      "01"
      "03555443"
      "03";
  EXPECT_TRUE(codec::DecodeRules(bytes(rules + "503744"
                                               "c801")));  // P7D
  EXPECT_FALSE(codec::DecodeRules(bytes(rules + "503157"
                                                "c801")));  // P1W
  Account account;
  account.options = {{"a", ""}, {"b", ""}};
  std::string encoded = codec::Encode(account);
  EXPECT_TRUE(codec::DecodeAccount(encoded));
  const std::size_t first = encoded.find('a');
  for (const char name : {'b', 'c'}) {  // twice, and out of order
    encoded[first] = name;
    EXPECT_FALSE(codec::DecodeAccount(encoded));
  }
}

TEST(StoreSchema, NewestComesFirst) {
  const Bytes16 blind = Filled(1);
  const TimePoint times[] = {Ms(-5), Ms(0), Ms(1), Ms(1'772'704'800'000), Ms(253'402'300'799'999)};
  for (std::size_t i = 1; i < std::size(times); ++i) {
    EXPECT_LT(schema::MessageKey(blind, times[i], Filled(9)),
              schema::MessageKey(blind, times[i - 1], Filled(0)));
    EXPECT_LT(schema::InboxKey(times[i], Filled(9)), schema::InboxKey(times[i - 1], Filled(0)));
    EXPECT_TRUE(schema::IsNewer({times[i], Filled(9)}, {times[i - 1], Filled(0)}));
  }
  for (const TimePoint at : times) {
    const auto position = schema::ParseMessageKey(schema::MessageKey(blind, at, Filled(7)));
    ASSERT_TRUE(position);
    EXPECT_EQ(position->sent_at, at);
    EXPECT_EQ(position->dkey, Filled(7));
  }
  EXPECT_FALSE(schema::ParseMessageKey("short"));
}

TEST(StoreSchema, KeysHaveTheirGoldenBytes) {
  EXPECT_EQ(ToHex(schema::MessageKey(Filled(0x11), Ms(1'000), Filled(0x22))),
            "0001"
            "6d" +
                Sixteen("11") + "7ffffffffffffc17" + Sixteen("22"));
  EXPECT_EQ(ToHex(schema::InboxKey(Ms(1'000), Filled(0x33))),
            "0001"
            "69"
            "7ffffffffffffc17" +
                Sixteen("33"));
  EXPECT_EQ(ToHex(schema::Key(schema::kStats, 7u)),
            "0001"
            "62"
            "00000007");
  EXPECT_EQ(ToHex(schema::FingerprintKey(0x01020304, AccountId{7}, Filled(0x44))),
            "0001"
            "66"
            "01020304"
            "00000007" +
                Sixteen("44"));
  EXPECT_EQ(ToHex(schema::AuditKey(258)),
            "0001"
            "7a"
            "0000000000000102");
  EXPECT_EQ(ToHex(schema::PersonInput(AccountId{7}, "p")),
            "00000007"
            "70"
            "70");
}

TEST(StoreSchema, MonthsEndWhereTheNextBegins) {
  EXPECT_EQ(schema::MonthOf(Ms(1'798'761'599'999)), 202612u);  // 2026-12-31T23:59:59.999Z
  EXPECT_EQ(schema::EndOf(202612), Ms(1'798'761'600'000));
  EXPECT_EQ(schema::MonthOf(schema::EndOf(202612)), 202701u);
}

}  // namespace
}  // namespace mayfly::store
