// What people and platforms really send: empty and huge, in every script and in none, from 1970 and
// from 2100, the same id with other words, and questions that no index was made for. Each is kept
// as it is or refused with a sentence; nothing else suffers.
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/model/json.h"
#include "store/search/query.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-11-22T12:00:00.000Z");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

void AppendUtf8(char32_t c, std::string& text) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xc0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xe0 | c >> 12);
    text += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    text += static_cast<char>(0xf0 | c >> 18);
    text += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    text += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// Any character that is one, NUL and the odd ones included.
std::string AnyText(std::mt19937_64& random, std::size_t characters) {
  static constexpr char32_t kOdd[] = {0,      1,      0x7f,   0x85,   0xa0,    0xad,    0x300,
                                      0x5d0,  0x627,  0x200b, 0x200d, 0x202e,  0x2066,  0x2028,
                                      0xfeff, 0xfffd, 0xffff, 0xe000, 0x1f469, 0x10ffff};
  std::string text;
  for (std::size_t i = 0; i < characters; ++i) {
    char32_t c = static_cast<char32_t>(random() % 0x110000);
    if (random() % 3 == 0) c = kOdd[random() % std::size(kOdd)];
    if (c >= 0xd800 && c <= 0xdfff) c = 'x';  // halves of pairs are no characters
    AppendUtf8(c, text);
  }
  return text;
}

class BadInput : public ::testing::TestWithParam<EngineKind> {
 protected:
  BadInput() : store_(GetParam()), account_(Connect(*store_, kNow).id) {}

  store::CollectOutcome Serve(std::vector<store::CollectedMessage> messages, TimePoint now = kNow) {
    return Must(store_->collection().Collect(PageOf(account_, std::move(messages)), now));
  }
  std::vector<Message> ThreadOf(const std::string& platform_id, TimePoint now = kNow) {
    for (const Conversation& conversation : Inbox(*store_, now)) {
      if (conversation.platform_id == PlatformId(platform_id)) {
        return Thread(*store_, conversation.id, now);
      }
    }
    return {};
  }
  std::vector<std::string> Found(const std::string& text) {
    const auto query = Must(store::search::Query::Parse(store::search::QueryText(text)));
    const auto look = Must(store_->audit().LookAtSearch(Officer(), kNow));
    std::vector<std::string> ids;
    for (const Message& message :
         Must(store_->search().Find(look, query, {}, "", 50, kNow)).items) {
      ids.push_back(message.platform_id.Reveal());
    }
    return ids;
  }
  static std::optional<ErrorCode> Refusal(const std::string& text) {
    return FailureOf(store::search::Query::Parse(store::search::QueryText(text)));
  }

  TempStore store_;
  const AccountId account_;
};
INSTANTIATE_TEST_SUITE_P(, BadInput, ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb),
                         KindName);

TEST_P(BadInput, BodiesOfAnySizeAndScriptComeBackAsTheyWere) {
  std::mt19937_64 random(20261122);
  std::vector<std::string> texts = {
      "", " ", std::string(1, '\0'), std::string(300, '\0'), "\r\n",
      // Arabic and Hebrew with marks of direction; one letter under a
      // hundred accents; a family of joined people.
      "\u0627\u0644\u0633\u0644\u0627\u0645 \u202b\u05e9\u05dc\u05d5\u05dd\u202c",
      "\U0001f469\u200d\U0001f469\u200d\U0001f466"};
  std::string accents = "a";
  for (int i = 0; i < 100; ++i) accents += "\u0301";
  texts.push_back(accents);
  for (const std::size_t size : {63u, 64u, 65u, 4'095u, 65'536u, 1u << 20, (1u << 20) + 1}) {
    texts.push_back(std::string(size, 'a'));
  }
  for (int i = 0; i < 50; ++i) texts.push_back(AnyText(random, 1 + random() % 400));
  std::vector<store::CollectedMessage> messages;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    messages.push_back(Incoming("anna", "m" + std::to_string(i), kNow - seconds(i), texts[i]));
  }
  EXPECT_EQ(Serve(messages).stored, texts.size());
  for (int round = 0; round < 2; ++round) {
    Must(store_->search_index().CatchUp(kNow));
    const auto thread = ThreadOf("anna");
    ASSERT_THAT(thread, SizeIs(texts.size()));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(thread[i].text, MessageBody(texts[i])) << i;
      // And they can be shown: JSON gives the same back.
      std::string document;
      { json::Writer(&document).StartArray().String(texts[i]).EndArray(); }
      const auto parsed = json::Parse(document, {.bytes_max = 16u << 20});
      ASSERT_TRUE(parsed) << i;
      EXPECT_EQ(*parsed->AsArray()->front().AsString(), texts[i]) << i;
    }
    store_.Reopen();
  }
  EXPECT_EQ(store_->damaged_records(), 0u);
}

TEST_P(BadInput, NamesAndIdsMayBeAnythingToo) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 30; ++i) {
    auto message = Incoming("c" + AnyText(random, 40), "i" + AnyText(random, 40), kNow, "text");
    message.sender = PlatformId(AnyText(random, 40));
    auto page = PageOf(account_, {message});
    for (auto& conversation : page.conversations) {
      conversation.participants = {{.platform_id = message.sender,
                                    .handle = ContactHandle(AnyText(random, 1'000)),
                                    .display_name = ContactHandle(AnyText(random, 1'000))}};
    }
    EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).stored, 1u);
    const auto thread = ThreadOf(message.conversation.Reveal());
    ASSERT_THAT(thread, SizeIs(1));
    EXPECT_EQ(thread[0].platform_id, message.id);
    EXPECT_EQ(thread[0].sender_name, page.conversations[0].participants[0].display_name);
    EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).duplicates, 1u);
  }
}

TEST_P(BadInput, TimesOfOtherCenturies) {
  const auto outcome = Serve({Incoming("old", "epoch", TimePoint(), "x"),
                              Incoming("old", "before", TimePoint() - days(25'000), "x"),
                              Incoming("old", "first", TimePoint() - days(700'000), "x"),
                              Incoming("new", "y2100", At("2100-01-01T00:00:00.000Z"), "x"),
                              Incoming("new", "y9999", At("9999-12-31T23:59:59.999Z"), "x"),
                              Incoming("new", "max", TimePoint::max(), "x"),
                              Incoming("old", "min", TimePoint::min(), "x")});
  EXPECT_EQ(outcome.past_horizon, 4u);
  EXPECT_EQ(outcome.future, 3u);
  const auto thread = ThreadOf("new");
  ASSERT_THAT(thread, SizeIs(3));
  for (const Message& message : thread) {
    EXPECT_EQ(message.expires_at, At("2027-02-22T00:00:00.000Z")) << "from when we saw it";
  }
  EXPECT_THAT(ThreadOf("old"), IsEmpty());
  EXPECT_THAT(ThreadOf("new", At("2027-02-22T00:00:00.000Z")), IsEmpty());
}

// The platform shows other words under an id without telling of an edit; or in another
// conversation, or from somebody else. What was stored first stands.
TEST_P(BadInput, TheSameIdWithAnotherBody) {
  Serve({Incoming("anna", "m1", kNow - seconds(5), "as it was")});
  EXPECT_EQ(Serve({Incoming("anna", "m1", kNow - seconds(5), "as it was not")}).duplicates, 1u);
  EXPECT_EQ(Serve({Incoming("bert", "m1", kNow - seconds(5), "elsewhere")}).duplicates, 1u);
  EXPECT_EQ(Serve({Outgoing("anna", "m1", kNow - seconds(5))}).duplicates, 1u);
  EXPECT_EQ(Serve({Incoming("anna", "m1", kNow - days(1), "earlier"),
                   Incoming("anna", "m1", kNow - seconds(5), "twice")})
                .stored,
            1u)
      << "another date is another life; it ends no later";
  const auto thread = ThreadOf("anna");
  ASSERT_FALSE(thread.empty());
  EXPECT_EQ(thread[0].text, MessageBody("as it was"));
  EXPECT_THAT(ThreadOf("bert"), IsEmpty());
}

TEST_P(BadInput, QuestionsThatNoIndexWasMadeFor) {
  Serve({Incoming("anna", "m1", kNow, "a b c"),
         Incoming("anna", "m2", kNow - seconds(1),
                  "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"),
         Incoming("anna", "m3", kNow - seconds(2), "\u0645\u0631\u062d\u0628\u0627"),
         Incoming("anna", "m4", kNow - seconds(3), "Cre\u0301me bru\u0302le\u0301e"),
         Incoming("anna", "m5", kNow - seconds(4), "\u7d71\u8a08\u5c40")});
  EXPECT_THAT(Found("b"), ElementsAre("m1")) << "one letter is a word";
  EXPECT_THAT(Found("\u05e9\u05dc\u05d5\u05dd"), ElementsAre("m2"));
  EXPECT_THAT(Found("\u202b\u0645\u0631\u062d\u0628\u0627\u202c"), ElementsAre("m3"));
  EXPECT_THAT(Found("cr\u00e9me BRULEE"), ElementsAre("m4"));
  std::string words;
  for (int i = 0; i < 10'000; ++i) words += "word" + std::to_string(i) + " ";
  for (const std::string& none :
       {std::string(), std::string("   "), std::string("\u202e\u200b"), std::string("!?,."), words,
        std::string(100'000, 'a'), std::string("\"")}) {
    EXPECT_EQ(Refusal(none), ErrorCode::kInvalidArgument) << none.substr(0, 20);
  }
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const std::string text = AnyText(random, random() % 60);
    if (!Refusal(text)) (void)Found(text);  // whatever it finds, it answers
  }
}

// One person who never stops. MAYFLY_THREAD asks for more messages.
TEST_P(BadInput, AVeryLongConversation) {
  const char* wanted = std::getenv("MAYFLY_THREAD");
  const int count = wanted != nullptr ? std::atoi(wanted) : 2'000;
  ASSERT_GT(count, 0) << "MAYFLY_THREAD is no number";
  std::vector<store::CollectedMessage> page;
  for (int i = 0; i < count; ++i) {
    page.push_back(
        Incoming("anna", "m" + std::to_string(i),
                 kNow - days(80) + std::chrono::milliseconds(6'900'000'000ll * i / count),
                 "word " + std::to_string(i)));
    if (page.size() == 1'000 || i + 1 == count) Serve(std::exchange(page, {}));
  }
  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(1));
  int seen = 0;
  std::string after;
  const auto look = LookAt(*store_, inbox[0].id, kNow);
  do {
    const auto messages =
        Must(store_->conversations().Messages(look, inbox[0].id, after, 200, kNow));
    for (const Message& message : messages.items) {
      EXPECT_EQ(message.platform_id, PlatformId("m" + std::to_string(count - 1 - seen++)));
    }
    after = messages.next;
  } while (!after.empty() && !HasFailure());
  EXPECT_EQ(seen, count);
}

}  // namespace
}  // namespace mayfly::testing
