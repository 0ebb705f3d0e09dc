// The platform's JSON, well-formed and hostile, without a network.
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "connectors/bluesky/api_types.h"
#include "connectors/bluesky/connector.h"
#include "connectors/graphemes.h"
#include "store/model/json.h"

namespace mayfly::connectors::bluesky {
namespace {

std::string Repeat(const std::string& what, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += what;
  return out;
}

const std::string kView = R"("$type":"chat.bsky.convo.defs#messageView","id":"m1","rev":"r1",)"
                          R"("sender":{"did":"did:plc:ann"},"sentAt":"2026-03-05T10:00:00.123Z")";

std::string LogWith(const std::string& message) {
  return R"({"cursor":"c1","logs":[{"$type":"chat.bsky.convo.defs#logCreateMessage","rev":"r1",)"
         R"("convoId":"k1","message":)" +
         message + "}]}";
}

TEST(BlueskyApiTypes, ReadsTheLog) {
  const auto log = ParseLog(LogWith("{" + kView + R"(,"text":"Hello"})"));
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(log->cursor, "c1");
  ASSERT_EQ(log->entries.size(), 1u);
  const LogEntry& entry = log->entries[0];
  EXPECT_EQ(entry.kind, LogKind::kCreateMessage);
  EXPECT_EQ(entry.convo_id, "k1");
  ASSERT_TRUE(entry.message.has_value());
  EXPECT_EQ(entry.message->id, "m1");
  EXPECT_EQ(entry.message->sender_did, "did:plc:ann");
  EXPECT_EQ(entry.message->text.Reveal(), "Hello");
  EXPECT_EQ(entry.message->sent_at, ParseRfc3339("2026-03-05T10:00:00.123Z"));
  EXPECT_FALSE(entry.message->has_embed);
}

TEST(BlueskyApiTypes, IgnoresUnknownKindsOfLogEntry) {
  const auto log = ParseLog(
      R"({"logs":[{"$type":"chat.bsky.convo.defs#logFromTheFuture","x":[1,{}]},{"$type":7},{},)"
      R"({"$type":"org.example#logCreateMessage"}]})");
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(log->cursor, "");
  ASSERT_EQ(log->entries.size(), 4u);
  for (const LogEntry& entry : log->entries) EXPECT_EQ(entry.kind, LogKind::kOther);
}

TEST(BlueskyApiTypes, InvalidTimestampIsNoTimestamp) {
  const auto log = ParseLog(LogWith(
      R"({"$type":"chat.bsky.convo.defs#messageView","id":"m1","sender":{"did":"did:plc:ann"},)"
      R"("text":"x","sentAt":"yesterday"})"));
  ASSERT_TRUE(log.has_value());
  EXPECT_FALSE(log->entries[0].message->sent_at.has_value());
}

TEST(BlueskyApiTypes, MessageWithoutTextIsKeptAsAStub) {
  for (const char* text : {R"(,"text":7)", R"(,"text":null)", ""}) {
    const auto log = ParseLog(LogWith("{" + kView + text + "}"));
    ASSERT_TRUE(log.has_value());
    EXPECT_TRUE(log->entries[0].message->text_missing);
  }
}

TEST(BlueskyApiTypes, EmbedIsSeenAndNotRead) {
  const auto log =
      ParseLog(LogWith("{" + kView + R"(,"text":"x","embed":{"$type":"a.b#c","record":{}}})"));
  ASSERT_TRUE(log.has_value());
  EXPECT_TRUE(log->entries[0].message->has_embed);
}

// A quoted record can hold anything that a stranger puts into it. It must not hide the message.
TEST(BlueskyApiTypes, DeepEmbedDoesNotHideTheMessage) {
  const std::string deep = Repeat("{\"a\":[", 5'000) + "\"]}\\\"\"" + Repeat("]}", 5'000);
  const auto log = ParseLog(LogWith("{" + kView + R"(,"text":"x","embed":)" + deep + "}"));
  ASSERT_TRUE(log.has_value());
  EXPECT_EQ(log->entries[0].message->text.Reveal(), "x");
  EXPECT_TRUE(log->entries[0].message->has_embed);
}

TEST(BlueskyApiTypes, IllFormedTextIsReplacedNotRefused) {
  const struct {
    std::string given;
    std::string kept;
  } kCases[] = {
      {"a\xFFz", "a\xEF\xBF\xBDz"},                                  // a stray byte
      {"a\xC0\xAFz", "a\xEF\xBF\xBD\xEF\xBF\xBDz"},                  // overlong
      {"a\xED\xA0\x80z", "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz"},  // a surrogate in UTF-8
      {"a\xE2\x82z", "a\xEF\xBF\xBD\xEF\xBF\xBDz"},                  // cut short
      {R"(a\ud83dz)", "a\xEF\xBF\xBDz"},                             // half a pair
      {R"(a\udc00z)", "a\xEF\xBF\xBDz"},                             // the other half
      {R"(a\ud83d\ud83d\ude00z)", "a\xEF\xBF\xBD\xF0\x9F\x98\x80z"},
      {R"(\\\ud83d\"z)", "\\\xEF\xBF\xBD\"z"},
      {R"(\\ud83dz)", "\\ud83dz"},  // no escape at all
  };
  for (const auto& c : kCases) {
    // The stray byte forces the repair also where the text alone is fine.
    const auto log =
        ParseLog(LogWith("{" + kView + ",\"other\":\"\xFF\",\"text\":\"" + c.given + "\"}"));
    ASSERT_TRUE(log.has_value()) << c.given;
    EXPECT_EQ(log->entries[0].message->text.Reveal(), c.kept);
    EXPECT_TRUE(json::IsValidUtf8(log->entries[0].message->text.Reveal()));
  }
}

TEST(BlueskyApiTypes, HostileBodiesAreProtocolErrors) {
  const std::string long_id(kIdBytesMax + 1, 'i');
  const std::string long_cursor(kCursorBytesMax + 1, 'c');
  const std::string bodies[] = {
      "",
      "null",
      "[]",
      "\"logs\"",
      "{",
      R"({"logs":{}})",
      R"({"logs":7})",
      R"({"logs":[7]})",
      R"({"cursor":7,"logs":[]})",
      R"({"cursor":")" + long_cursor + R"(","logs":[]})",
      R"({"logs":[],"logs":[]})",                 // a key twice
      R"({"logs":[{"$type":"x","$type":"y"}]})",  // a key twice, inside
      Repeat("[", 100'000),                       // deep and open
      Repeat("{\"logs\":", 100'000),              //
      Repeat("[", 1'000) + Repeat("]", 1'000),    // deep and closed
      LogWith("7"),
      LogWith("{}").substr(0, 100),
      LogWith(R"({"$type":"chat.bsky.convo.defs#messageView"})"),
      LogWith(R"({"$type":"chat.bsky.convo.defs#messageView","id":"m"})"),
      LogWith(R"({"$type":"chat.bsky.convo.defs#messageView","id":"m","sender":[]})"),
      LogWith(R"({"$type":"chat.bsky.convo.defs#messageView","id":"m","sender":{"did":1}})"),
      LogWith(R"({"$type":"chat.bsky.convo.defs#messageView","id":")" + long_id +
              R"(","sender":{"did":"did:plc:a"}})"),
      R"({"logs":[{"$type":"chat.bsky.convo.defs#logCreateMessage","convoId":"k"}]})",
      R"({"logs":[{"$type":"chat.bsky.convo.defs#logCreateMessage","message":{}}]})",
      R"({"logs":[{"$type":"chat.bsky.convo.defs#logBeginConvo"}]})",
  };
  for (const std::string& body : bodies) {
    const auto log = ParseLog(body);
    ASSERT_FALSE(log.has_value()) << body.substr(0, 80);
    EXPECT_EQ(log.error().code, ErrorCode::kProtocol);
    EXPECT_EQ(log.error().message.find(long_id), std::string::npos);
  }
  EXPECT_FALSE(ParseMessages("{}").has_value());
  EXPECT_FALSE(ParseConvoList("{}").has_value());
  EXPECT_FALSE(ParseConvoRequests("{}").has_value());
  EXPECT_FALSE(ParseConvo("{}").has_value());
  EXPECT_FALSE(ParseSentMessage("{}").has_value());
  EXPECT_FALSE(ParseSession("{}", true).has_value());
}

TEST(BlueskyApiTypes, TooLargeABodyIsAProtocolError) {
  const auto log = ParseLog(std::string(kBodyBytesMax + 1, ' '));
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().code, ErrorCode::kProtocol);
}

TEST(BlueskyApiTypes, ReadsConversations) {
  const auto page = ParseConvoList(
      R"({"cursor":"next","convos":[{"id":"k1","rev":"r1","muted":false,"unreadCount":0,)"
      R"("status":"request","members":[{"did":"did:plc:ann","handle":"ann.test",)"
      R"("displayName":"Ann"},{"did":"did:plc:bob"},{"handle":"nobody.test"},7],)"
      R"("lastMessage":{"$type":"chat.bsky.convo.defs#deletedMessageView","id":"m9",)"
      R"("sender":{"did":"did:plc:ann"},"sentAt":"2026-03-05T10:00:00Z"}},)"
      R"({"id":"k2","members":7,"lastMessage":{"$type":"chat.bsky.convo.defs#messageView"},)"
      R"("kind":{"$type":"chat.bsky.convo.defs#groupConvo","lockStatus":"locked-permanently"}}]})");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->cursor, "next");
  ASSERT_EQ(page->convos.size(), 2u);
  const ConvoView& first = page->convos[0];
  EXPECT_TRUE(first.request);
  EXPECT_FALSE(first.group);
  ASSERT_EQ(first.members.size(), 2u);
  EXPECT_EQ(first.members[0].display_name.Reveal(), "Ann");
  EXPECT_TRUE(first.members[1].handle.empty());
  ASSERT_TRUE(first.last_message.has_value());
  EXPECT_EQ(first.last_message->kind, ItemKind::kDeleted);
  EXPECT_EQ(first.last_message->sent_at, ParseRfc3339("2026-03-05T10:00:00Z"));
  EXPECT_TRUE(page->convos[1].group);
  EXPECT_TRUE(page->convos[1].locked);
  EXPECT_FALSE(page->convos[1].last_message.has_value());
}

TEST(BlueskyApiTypes, RequestsToJoinAGroupAreNoConversations) {
  const auto page = ParseConvoRequests(
      R"({"requests":[{"$type":"chat.bsky.group.defs#joinRequestConvoView","convoId":"g"},)"
      R"({"$type":"chat.bsky.convo.defs#convoView","id":"k1","members":[]}]})");
  ASSERT_TRUE(page.has_value());
  ASSERT_EQ(page->convos.size(), 1u);
  EXPECT_TRUE(page->convos[0].request);
}

TEST(BlueskyApiTypes, ReadsEveryKindOfMessage) {
  const auto page =
      ParseMessages("{\"messages\":[{" + kView + R"(,"text":"x"},)" +
                    R"({"$type":"chat.bsky.convo.defs#deletedMessageView","id":"m2",)" +
                    R"("sender":{"did":"did:plc:ann"},"sentAt":"2026-03-05T10:00:00Z"},)" +
                    R"({"$type":"chat.bsky.convo.defs#systemMessageView","id":"m3"},)" +
                    R"({"$type":"chat.bsky.convo.defs#hologramView"}]})");
  ASSERT_TRUE(page.has_value());
  ASSERT_EQ(page->messages.size(), 4u);
  EXPECT_EQ(page->messages[0].kind, ItemKind::kMessage);
  EXPECT_EQ(page->messages[1].kind, ItemKind::kDeleted);
  EXPECT_EQ(page->messages[2].kind, ItemKind::kSystem);
  EXPECT_EQ(page->messages[3].kind, ItemKind::kOther);
}

TEST(BlueskyApiTypes, ReadsSessionsAndTheirServer) {
  const std::string common = R"({"did":"did:plc:us","handle":"us.test","accessJwt":"a.b.c",)"
                             R"("refreshJwt":"d.e.f",)";
  auto session = ParseSession(
      common + R"("didDoc":{"service":[{"id":"#other","serviceEndpoint":"https://no.test"},)"
               R"({"id":"did:plc:us#atproto_pds","type":"AtprotoPersonalDataServer",)"
               R"("serviceEndpoint":"https://pds.test"}]},"active":false,"status":"suspended"})",
      true);
  ASSERT_TRUE(session.has_value());
  EXPECT_EQ(session->pds, "https://pds.test");
  EXPECT_FALSE(session->active);
  session = ParseSession(common + R"("didDoc":{"service":"none"}})", true);
  ASSERT_TRUE(session.has_value());
  EXPECT_FALSE(session->pds.has_value());
  EXPECT_TRUE(session->active);
  EXPECT_FALSE(ParseSession(R"({"did":"us","accessJwt":"a","refreshJwt":"b"})", true).has_value());
  EXPECT_FALSE(ParseSession(R"({"did":"did:plc:us","accessJwt":"a"})", true).has_value());
}

TEST(BlueskyApiTypes, ErrorBodiesMayBeAnything) {
  EXPECT_EQ(ParseApiError(R"({"error":"ExpiredToken","message":"Token has expired"})").name,
            "ExpiredToken");
  for (const char* body : {"", "<html>502</html>", "[]", R"({"error":7})", R"({"error":{}})"}) {
    EXPECT_EQ(ParseApiError(body).name, "") << body;
  }
}

TEST(BlueskyApiTypes, WritesBodiesThatSurviveAnyText) {
  const std::string text = "\"}] \\ \n\x01 é 😀";
  const auto body = json::Parse(SendMessageBody("k\"1", MessageBody(text)));
  ASSERT_TRUE(body.has_value());
  EXPECT_EQ(*body->String("convoId"), "k\"1");
  EXPECT_EQ(*body->Find("message")->String("text"), text);
  const auto login = json::Parse(CreateSessionBody("us.test", Credential("p\"w")));
  ASSERT_TRUE(login.has_value());
  EXPECT_EQ(*login->String("password"), "p\"w");
}

// Whatever the bytes are: an answer or a kProtocol, and nothing else.
TEST(BlueskyApiTypes, MutatedBodiesAreAnsweredOrRefused) {
  const std::string seeds[] = {
      LogWith("{" + kView + R"(,"text":"Hello \ud83d\ude00","embed":{"a":[[1.5e3]]}})"),
      R"({"cursor":"n","convos":[{"id":"k1","rev":"r1","members":[{"did":"did:plc:a"}]}]})",
      R"({"messages":[{"$type":"chat.bsky.convo.defs#systemMessageView","id":"m3"}]})",
  };
  std::mt19937 random(20261122);
  int answered = 0;
  for (int round = 0; round < 3'000; ++round) {
    std::string body = seeds[random() % 3];
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < changes; ++i) {
      const std::size_t at = random() % body.size();
      switch (random() % 3) {
        case 0:
          body[at] = static_cast<char>(random() & 0xFF);
          break;
        case 1:
          body.erase(at, 1 + random() % 8);
          break;
        default:
          body.insert(at, body.substr(random() % body.size(), random() % 12));
          break;
      }
      if (body.empty()) body = "{";
    }
    const auto log = ParseLog(body);
    const auto convos = ParseConvoList(body);
    const auto messages = ParseMessages(body);
    if (log) {
      ++answered;
      for (const LogEntry& entry : log->entries) {
        EXPECT_TRUE(!entry.message || json::IsValidUtf8(entry.message->text.Reveal()));
      }
    } else {
      EXPECT_EQ(log.error().code, ErrorCode::kProtocol);
    }
    EXPECT_TRUE(convos || convos.error().code == ErrorCode::kProtocol);
    EXPECT_TRUE(messages || messages.error().code == ErrorCode::kProtocol);
  }
  EXPECT_GT(answered, 0);
}

TEST(Graphemes, CountsWhatAReaderSees) {
  EXPECT_EQ(CountGraphemes(""), 0u);
  EXPECT_EQ(CountGraphemes("hello"), 5u);
  EXPECT_EQ(CountGraphemes("a\r\nb"), 3u);
  EXPECT_EQ(CountGraphemes("a\n\nb"), 4u);
  EXPECT_EQ(CountGraphemes("e\xCC\x81"), 1u);                     // e and a combining acute
  EXPECT_EQ(CountGraphemes("👨‍👩‍👧‍👦"), 1u);     // a family
  EXPECT_EQ(CountGraphemes("👍🏽"), 1u);                      // a skin tone
  EXPECT_EQ(CountGraphemes("🏴󠁧󠁢󠁷󠁬󠁳󠁿"), 1u);  // Wales, of tags
  EXPECT_EQ(CountGraphemes("🇬🇧🇫🇷"), 2u);                          // two flags of four letters
  EXPECT_EQ(CountGraphemes("각"), 1u);                            // Hangul of three jamo
  EXPECT_EQ(CountGraphemes("\xFF\xFE"), 2u);                      // ill-formed
  EXPECT_EQ(CountGraphemes(Repeat("👨‍👩‍👧‍👦", 400)), 400u);
  EXPECT_EQ(CountGraphemes("e" + Repeat("\xCC\x81", 3'000)), 1u);
}

TEST(BlueskyInfo, NamesItsOptionsAndWhichAreSecret) {
  EXPECT_EQ(kInfo.name, "bluesky");
  ASSERT_EQ(kInfo.options.size(), 3u);
  for (const OptionInfo& option : kInfo.options) {
    EXPECT_EQ(option.secret, option.name == "password");
    EXPECT_EQ(option.required, option.name != "service");
  }
  EXPECT_EQ(kInfo.capabilities.text_bytes_max, 10'000u);
  EXPECT_EQ(kInfo.capabilities.text_graphemes_max, 1'000u);
  EXPECT_FALSE(kInfo.capabilities.idempotent_send);
  EXPECT_TRUE(kInfo.capabilities.reports_withdrawals);
}

}  // namespace
}  // namespace mayfly::connectors::bluesky
