// The connector against the simulated platform, over HTTP.
#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "connectors/bluesky/connector.h"
#include "connectors/bluesky/simulator.h"
#include "store/model/json.h"
#include "tests/support/expect_result.h"
#include "tests/support/simulated_clock.h"

namespace mayfly::connectors {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kUs = "council.test";
constexpr const char* kPassword = "dm-pass-word";
constexpr const char* kPlainPassword = "plain-pass-word";
constexpr int kFetchesMax = 400;

// What ingest would have after these pages.
struct Collected {
  std::map<std::string, PlatformMessage> messages;  // by id
  std::map<std::string, int> times;                 // how often each was served
  std::set<std::string> withdrawn;
  std::map<std::string, PlatformConversation> conversations;
  std::size_t skipped = 0;
  int lost = 0;
  int pages = 0;
  bool caught_up = false;
  bool history_complete = false;
  Cursor cursor;

  void Add(const Page& page) {
    std::set<std::string> described;
    for (const PlatformConversation& conversation : page.conversations) {
      conversations[conversation.id.Reveal()] = conversation;
      EXPECT_TRUE(described.insert(conversation.id.Reveal()).second) << "described twice";
    }
    for (const PlatformMessage& message : page.messages) {
      EXPECT_TRUE(described.contains(message.conversation.Reveal())) << "not described";
      ++times[message.id.Reveal()];
      messages.insert_or_assign(message.id.Reveal(), message);
    }
    for (const Withdrawal& withdrawal : page.withdrawals) {
      withdrawn.insert(withdrawal.id.Reveal());
    }
    skipped += page.skipped_past_horizon;
    lost += page.position_lost ? 1 : 0;
    ++pages;
    caught_up = page.caught_up;
    history_complete = page.history_complete;
    EXPECT_LE(page.next.value.size(), 16u * 1024);
    cursor = page.next;
  }
  std::multiset<std::string> Texts() const {
    std::multiset<std::string> texts;
    for (const auto& [id, message] : messages) {
      if (!withdrawn.contains(id)) texts.insert(message.text.Reveal());
    }
    return texts;
  }
};

class BlueskyConnector : public ::testing::Test {
 protected:
  void SetUp() override { StartSimulator({}); }

  void StartSimulator(const BlueskySimulatorOptions& options) {
    sim_.reset();
    auto sim = BlueskySimulator::Start(clock_, options);
    ASSERT_OK(sim);
    sim_ = *std::move(sim);
    our_did_ = sim_->AddActor(kUs, "main-password",
                              {{.password = kPassword, .direct_messages = true},
                               {.password = kPlainPassword, .direct_messages = false}});
    for (const char* name : {"ann.test", "bob.test", "cleo.test"}) {
      sim_->AddActor({.handle = name, .password = "pw", .display_name = std::string(name, 3)});
    }
    ASSERT_OK(sim_->Follow(kUs, "ann.test"));  // her conversation needs no acceptance
  }

  ConnectorContext Context(const std::string& password = kPassword) {
    ConnectorContext context;
    context.options = {{"service", sim_->origin()}, {"identifier", kUs}};
    context.credential = Credential(R"({"password":")" + password + "\"}");
    context.renew = [this](const Credential& renewed) {
      if (before_keeping_) before_keeping_();
      if (!sink_answer_) return sink_answer_;
      kept_.push_back(renewed);
      return Status();
    };
    context.egress.insecure_loopback = true;
    return context;
  }
  std::unique_ptr<Connector> Make(const std::string& password = kPassword) {
    return MakeWith(Context(password));
  }
  // As after a restart: with what the sink was given last.
  std::unique_ptr<Connector> MakeAgain() {
    ConnectorContext context = Context();
    if (!kept_.empty()) context.credential = kept_.back();
    return MakeWith(context);
  }
  std::unique_ptr<Connector> MakeWith(const ConnectorContext& context) {
    auto made = bluesky::Make(context);
    EXPECT_TRUE(made.has_value());
    return made ? *std::move(made) : nullptr;
  }

  FetchRequest After(const Cursor& cursor, std::size_t messages_max = 200) {
    return FetchRequest{
        .after = cursor, .horizon = clock_.Now() - hours(24 * 88), .messages_max = messages_max};
  }
  // Fetches until nothing newer stands there. `between` runs after each page.
  void Drain(Connector& connector, Collected& collected, std::size_t messages_max = 200,
             const std::function<void(const Page&)>& between = {}) {
    for (int i = 0; i < kFetchesMax; ++i) {
      const auto page = connector.Fetch(After(collected.cursor, messages_max), stop_.get_token());
      ASSERT_OK(page);
      collected.Add(*page);
      if (between) between(*page);
      if (page->caught_up) return;
    }
    FAIL() << "not caught up after " << kFetchesMax << " pages";
  }
  BlueskySimulator::Sent Say(const std::string& from, const std::string& to,
                             const std::string& text,
                             const BlueskySimulator::SendOptions& options = {}) {
    auto sent = sim_->SendAs(from, to, text, options);
    EXPECT_TRUE(sent.has_value());
    return sent ? *sent : BlueskySimulator::Sent{};
  }
  OutgoingReply Reply(const std::string& convo, const std::string& text) {
    return OutgoingReply{
        .conversation = PlatformId(convo), .idempotency_key = "key", .text = MessageBody(text)};
  }
  Result<std::vector<SentReply>> Find(Connector& connector, const std::string& convo,
                                      const std::string& text) {
    return connector.FindSent({.conversation = PlatformId(convo),
                               .text = MessageBody(text),
                               .not_before = clock_.Now() - minutes(2)},
                              stop_.get_token());
  }
  static SimulatorResponse Raw(std::string body, int status = 200) {
    SimulatorResponse response;
    response.status = status;
    response.body = std::move(body);
    return response;
  }
  std::size_t Logins() { return sim_->CountRequests("com.atproto.server.createSession"); }
  std::size_t Refreshes() { return sim_->CountRequests("com.atproto.server.refreshSession"); }

  testing::SimulatedClock clock_{*ParseRfc3339("2026-11-22T12:00:00Z")};
  std::unique_ptr<BlueskySimulator> sim_;
  std::string our_did_;
  std::vector<Credential> kept_;
  Status sink_answer_;
  std::function<void()> before_keeping_;
  std::stop_source stop_;
};

// ---- collecting ----

TEST_F(BlueskyConnector, CollectsHistoryOfAcceptedAndRequestedConversationsThenWhatIsNew) {
  const auto from_ann = Say("ann.test", kUs, "from ann");
  const auto ours = Say(kUs, "ann.test", "our answer");
  const auto from_bob = Say("bob.test", kUs, "from bob");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_TRUE(collected.history_complete);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"from ann", "from bob", "our answer"}));
  EXPECT_EQ(collected.messages.at(from_ann.message_id).direction, Direction::kIncoming);
  EXPECT_EQ(collected.messages.at(from_ann.message_id).sent_at, clock_.Now());
  EXPECT_EQ(collected.messages.at(ours.message_id).direction, Direction::kOutgoing);
  EXPECT_EQ(collected.messages.at(ours.message_id).sender.Reveal(), our_did_);
  const auto& accepted = collected.conversations.at(from_ann.conversation_id);
  EXPECT_EQ(accepted.standing, PlatformStanding::kAccepted);
  EXPECT_FALSE(accepted.group);
  ASSERT_EQ(accepted.participants.size(), 1u);
  EXPECT_EQ(accepted.participants[0].handle.Reveal(), "ann.test");
  EXPECT_EQ(accepted.participants[0].display_name.Reveal(), "ann");
  EXPECT_EQ(collected.conversations.at(from_bob.conversation_id).standing,
            PlatformStanding::kRequest);

  Say("ann.test", kUs, "more from ann");
  Say("cleo.test", kUs, "from cleo");
  Drain(*connector, collected);
  EXPECT_TRUE(collected.Texts().contains("more from ann"));
  EXPECT_TRUE(collected.Texts().contains("from cleo"));
  for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);

  const int before = collected.pages;
  Drain(*connector, collected);
  EXPECT_EQ(collected.pages, before + 1) << "nothing new is one page";
}

TEST_F(BlueskyConnector, BurstLargerThanALogPageArrivesWhole) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  sim_->SetLogPageMax(7);
  std::multiset<std::string> texts;
  for (int i = 0; i < 90; ++i) {
    const char* who = i % 3 == 0 ? "ann.test" : i % 3 == 1 ? "bob.test" : "cleo.test";
    texts.insert("burst " + std::to_string(i));
    Say(who, kUs, "burst " + std::to_string(i));
  }
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), texts);
  for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);
}

TEST_F(BlueskyConnector, PageStopsNearTheNumberOfMessagesAskedFor) {
  for (int i = 0; i < 350; ++i) Say("ann.test", kUs, "m" + std::to_string(i));
  auto connector = Make();
  Collected collected;
  std::size_t largest = 0;
  Drain(*connector, collected, 200,
        [&](const Page& page) { largest = std::max(largest, page.messages.size()); });
  EXPECT_EQ(collected.messages.size(), 350u);
  EXPECT_LE(largest, 200u);
  EXPECT_GE(largest, 100u);
}

// Conversations that are written in while the history is read jump to the front of the platform's
// list, past the place that the walk has reached. Neither their history nor the news may be lost.
TEST_F(BlueskyConnector, NothingIsLostWhenConversationsMoveDuringTheWalk) {
  std::multiset<std::string> expected;
  constexpr int kPeople = 230;
  for (int i = 0; i < kPeople; ++i) {
    const std::string handle = "p" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    if (i % 2 == 0) ASSERT_OK(sim_->Follow(kUs, handle));
    for (int n = 0; n < 2; ++n) {
      const std::string text = handle + " old " + std::to_string(n);
      Say(handle, kUs, text);
      expected.insert(text);
    }
  }
  // The list begins with the last writers; the first ones stand at its end and move.
  auto connector = Make();
  Collected collected;
  int next = 0;
  Drain(*connector, collected, 1, [&](const Page& page) {
    if (page.history_complete || next >= 40) return;
    const std::string handle = "p" + std::to_string(next) + ".test";
    if (next % 4 == 1) ASSERT_OK(sim_->Accept(kUs, *sim_->FindConvo(kUs, handle)));
    const std::string text = handle + " new";
    Say(handle, kUs, text);
    expected.insert(text);
    ++next;
  });
  EXPECT_EQ(next, 40);
  EXPECT_EQ(collected.Texts(), expected);
  EXPECT_EQ(collected.lost, 0);
}

TEST_F(BlueskyConnector, WalkGoesOnInAnotherProcess) {
  std::multiset<std::string> expected;
  for (int i = 0; i < 25; ++i) {
    const std::string handle = "q" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    for (int n = 0; n < 3; ++n) {
      expected.insert(handle + std::to_string(n));
      Say(handle, kUs, handle + std::to_string(n));
    }
  }
  for (int n = 0; n < 250; ++n) {  // several pages of one conversation
    expected.insert("ann " + std::to_string(n));
    Say("ann.test", kUs, "ann " + std::to_string(n));
  }
  Collected collected;
  for (int i = 0; i < kFetchesMax && !collected.caught_up; ++i) {
    auto connector = MakeAgain();  // remembers nothing but its cursor and its session
    const auto page = connector->Fetch(After(collected.cursor, 1), stop_.get_token());
    ASSERT_OK(page);
    collected.Add(*page);
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_EQ(collected.Texts(), expected);
  EXPECT_EQ(Logins(), 1u);
}

// The core may fail to store a page. It then asks again from the cursor before.
TEST_F(BlueskyConnector, PagesThatWereNotStoredAreServedAgain) {
  std::multiset<std::string> expected;
  for (int i = 0; i < 12; ++i) {
    const std::string handle = "r" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    expected.insert(handle);
    Say(handle, kUs, handle);
  }
  auto connector = Make();
  Collected collected;
  for (int i = 0; i < kFetchesMax && !collected.caught_up; ++i) {
    const Cursor before = collected.cursor;
    ASSERT_OK(connector->Fetch(After(before, 1), stop_.get_token()));  // lost
    const auto page = connector->Fetch(After(before, 1), stop_.get_token());
    ASSERT_OK(page);
    collected.Add(*page);
    if (i == 5) {
      Say("ann.test", kUs, "live");
      expected.insert("live");
    }
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_EQ(collected.Texts(), expected);
}

TEST_F(BlueskyConnector, HistoryEndsExactlyAtTheHorizon) {
  const FetchRequest request = After({});
  const TimePoint horizon = request.horizon;
  for (int i = 150; i > 0; --i) {
    Say("ann.test", kUs, "old", {.sent_at = horizon - minutes(i)});
  }
  Say("ann.test", kUs, "just too old", {.sent_at = horizon - std::chrono::milliseconds(1)});
  Say("ann.test", kUs, "just in time", {.sent_at = horizon});
  Say("ann.test", kUs, "recent", {.sent_at = horizon + hours(1)});
  Say("bob.test", kUs, "asleep", {.sent_at = horizon - hours(1)});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"just in time", "recent"}));
  EXPECT_GE(collected.skipped, 1u);
  // One page of ann's, which already reaches past the horizon; none of bob's.
  EXPECT_EQ(sim_->CountRequests("chat.bsky.convo.getMessages"), 1u);
}

TEST_F(BlueskyConnector, LateArrivalsPastTheHorizonAreCountedNotServed) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  Say("ann.test", kUs, "too old", {.sent_at = clock_.Now() - hours(24 * 100)});
  Say("ann.test", kUs, "new");
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"new"}));
  EXPECT_EQ(collected.skipped, 1u);
}

TEST_F(BlueskyConnector, DeletionsAreReported) {
  const auto in_history = Say("ann.test", kUs, "deleted before we came");
  ASSERT_OK(sim_->DeleteForBoth(in_history.conversation_id, in_history.message_id));
  const auto later = Say("ann.test", kUs, "deleted later");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_TRUE(collected.withdrawn.contains(in_history.message_id));
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"deleted later"}));

  ASSERT_OK(sim_->DeleteForBoth(later.conversation_id, later.message_id));
  const auto at_once = Say("ann.test", kUs, "deleted between two polls");
  ASSERT_OK(sim_->DeleteForBoth(at_once.conversation_id, at_once.message_id));
  Drain(*connector, collected);
  EXPECT_TRUE(collected.withdrawn.contains(later.message_id));
  EXPECT_TRUE(collected.withdrawn.contains(at_once.message_id));
  EXPECT_TRUE(collected.Texts().empty());
}

TEST_F(BlueskyConnector, RequestBecomesAcceptedByReplyAndByAcceptance) {
  const auto bob = Say("bob.test", kUs, "a stranger");
  const auto cleo = Say("cleo.test", kUs, "another");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.conversations.at(bob.conversation_id).standing, PlatformStanding::kRequest);
  const auto sent = connector->Send(Reply(bob.conversation_id, "welcome"), stop_.get_token());
  ASSERT_OK(sent);
  ASSERT_OK(sim_->Accept(kUs, cleo.conversation_id));
  Drain(*connector, collected);
  EXPECT_EQ(collected.conversations.at(bob.conversation_id).standing, PlatformStanding::kAccepted);
  EXPECT_EQ(collected.conversations.at(cleo.conversation_id).standing, PlatformStanding::kAccepted);
  // The reply comes back once, under the id that the send returned.
  EXPECT_EQ(collected.times.at(sent->id.Reveal()), 1);
  EXPECT_EQ(collected.messages.at(sent->id.Reveal()).direction, Direction::kOutgoing);
}

TEST_F(BlueskyConnector, DuplicateAndReorderedLogEntriesLoseNothing) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  sim_->SetDuplicateLogEntries(true);
  sim_->SetReorderLogEntries(true);
  const auto gone = Say("ann.test", kUs, "gone");
  Say("ann.test", kUs, "kept");
  ASSERT_OK(sim_->DeleteForBoth(gone.conversation_id, gone.message_id));
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"kept"}));
}

TEST_F(BlueskyConnector, StandingLogCursorDoesNotTurnForEver) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  sim_->SetRepeatLogCursor(true);
  Say("ann.test", kUs, "hello");
  const std::size_t before = sim_->CountRequests("chat.bsky.convo.getLog");
  Drain(*connector, collected);
  EXPECT_TRUE(collected.Texts().contains("hello"));
  EXPECT_EQ(sim_->CountRequests("chat.bsky.convo.getLog"), before + 1);
}

TEST_F(BlueskyConnector, CursorsThatLeadInACircleEnd) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::string entry = R"({"$type":"chat.bsky.convo.defs#logMuteConvo"})";
  for (int i = 0; i < 100; ++i) {
    sim_->AnswerNext("chat.bsky.convo.getLog",
                     Raw(std::string(R"({"cursor":")") + (i % 2 == 0 ? "a" : "b") +
                         R"(","logs":[)" + entry + "]}"));
  }
  const std::size_t before = sim_->CountRequests("chat.bsky.convo.getLog");
  Drain(*connector, collected);
  EXPECT_LE(sim_->CountRequests("chat.bsky.convo.getLog"), before + 3);
}

TEST_F(BlueskyConnector, ListCursorsThatLeadInACircleAreAnError) {
  auto connector = Make();
  for (int i = 0; i < 20; ++i) {
    sim_->AnswerNext("chat.bsky.convo.listConvos",
                     Raw(R"({"cursor":"round","convos":[{"id":"k1","rev":"1","members":[],)"
                         R"("lastMessage":{"$type":"chat.bsky.convo.defs#deletedMessageView",)"
                         R"("id":"m","sender":{"did":"did:plc:a"},)"
                         R"("sentAt":"2020-01-01T00:00:00Z"}}]})"));
  }
  auto page = connector->Fetch(After({}), stop_.get_token());
  if (page) page = connector->Fetch(After(page->next), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kProtocol);
}

TEST_F(BlueskyConnector, LostPositionIsSaidAndReadAgain) {
  auto connector = Make();
  Collected collected;
  Say("ann.test", kUs, "before");
  Drain(*connector, collected);
  Say("ann.test", kUs, "while we were away");
  sim_->ForgetLogCursors();
  Drain(*connector, collected);
  EXPECT_EQ(collected.lost, 1);
  EXPECT_TRUE(collected.history_complete);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"before", "while we were away"}));
  Say("ann.test", kUs, "after");
  Drain(*connector, collected);
  EXPECT_EQ(collected.lost, 1);
  EXPECT_TRUE(collected.Texts().contains("after"));
}

TEST_F(BlueskyConnector, ForeignCursorIsALostPosition) {
  Say("ann.test", kUs, "hello");
  auto connector = Make();
  for (const char* cursor : {"nonsense", R"({"v":2,"log":"x"})", R"({"v":1})",
                             R"({"v":1,"log":"x","walk":{"round":99}})"}) {
    Collected collected;
    collected.cursor.value = cursor;
    Drain(*connector, collected);
    EXPECT_EQ(collected.lost, 1) << cursor;
    EXPECT_TRUE(collected.Texts().contains("hello"));
  }
}

// A platform that refuses every position must not be asked in a tight circle.
TEST_F(BlueskyConnector, PositionsThatAreAlwaysLostEndInAnError) {
  for (int i = 0; i < 250; ++i) Say("ann.test", kUs, "m" + std::to_string(i));
  auto connector = Make();
  Cursor cursor;
  int lost = 0;
  bool refused = false;
  for (int i = 0; i < kFetchesMax && !refused; ++i) {
    const auto page = connector->Fetch(After(cursor, 1), stop_.get_token());
    if (page) {
      cursor = page->next;
      lost += page->position_lost ? 1 : 0;
      sim_->ForgetLogCursors();  // before the position is used for the first time
    } else {
      EXPECT_EQ(page.error().code, ErrorCode::kPlatformRejected);
      refused = true;
    }
  }
  EXPECT_TRUE(refused);
  EXPECT_EQ(lost, 1);
  Collected collected;  // and it comes right when the platform does
  collected.cursor = cursor;
  Drain(*connector, collected);
  EXPECT_EQ(collected.lost, 1);
  EXPECT_EQ(collected.messages.size(), 250u);
}

TEST_F(BlueskyConnector, GroupsEmbedsMissingHandlesAndWrongTimes) {
  const auto group = sim_->CreateGroup("ann.test", {kUs, "bob.test"}, "Allotments");
  ASSERT_OK(group);
  ASSERT_OK(sim_->SendIn("bob.test", *group, "in the group"));
  const auto quoting = Say("ann.test", kUs, "look", {.embed = true});
  const auto undated = Say("ann.test", kUs, "when?", {.sent_at_text = "2026-99-99T00:00:00Z"});
  sim_->SetOmitHandles(true);
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto& conversation = collected.conversations.at(*group);
  EXPECT_TRUE(conversation.group);
  ASSERT_EQ(conversation.participants.size(), 2u);
  EXPECT_TRUE(conversation.participants[0].handle.empty());
  EXPECT_TRUE(collected.messages.at(quoting.message_id).has_unsupported_content);
  EXPECT_EQ(collected.messages.at(quoting.message_id).text.Reveal(), "look");
  EXPECT_FALSE(collected.messages.at(undated.message_id).sent_at.has_value());
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"in the group", "look", "when?"}))
      << "no system message among them";

  ASSERT_OK(sim_->LockConvo(*group));
  Drain(*connector, collected);
  EXPECT_EQ(collected.conversations.at(*group).standing, PlatformStanding::kLocked);
}

TEST_F(BlueskyConnector, ConversationThatIsGoneStillGivesItsMessages) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto sent = Say("bob.test", kUs, "hello");
  sim_->AnswerNext("chat.bsky.convo.getConvo",
                   Raw(R"({"error":"InvalidConvo","message":"Convo not found"})", 400));
  Drain(*connector, collected);
  EXPECT_TRUE(collected.Texts().contains("hello"));
  const auto& conversation = collected.conversations.at(sent.conversation_id);
  ASSERT_EQ(conversation.participants.size(), 1u);
  EXPECT_EQ(conversation.participants[0].platform_id,
            collected.messages.at(sent.message_id).sender);
}

TEST_F(BlueskyConnector, ManyStrangersAtOnceCostFewCalls) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (int i = 0; i < 60; ++i) {
    const std::string handle = "s" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    Say(handle, kUs, handle);
  }
  const std::size_t before = sim_->CountRequests();
  Drain(*connector, collected);
  EXPECT_EQ(collected.messages.size(), 60u);
  EXPECT_LE(sim_->CountRequests() - before, 10u);
}

// ---- sending ----

TEST_F(BlueskyConnector, SendsOnceAndReturnsThePlatformsId) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  const auto sent = connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token());
  ASSERT_OK(sent);
  EXPECT_EQ(sent->sent_at, clock_.Now());
  EXPECT_EQ(sim_->CountSends("answer"), 1u);
  const auto seen = sim_->MessagesBetween("ann.test", kUs);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1].id, sent->id.Reveal());
  EXPECT_EQ(seen[1].sender_handle, kUs);
}

TEST_F(BlueskyConnector, LostAnswerIsUnknownAndSettledByLooking) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  Say(kUs, "ann.test", "answer", {.sent_at = clock_.Now() - hours(1)});  // the same text, long ago
  sim_->DropNextSendAnswer();
  EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()),
               ErrorCode::kOutcomeUnknown);
  const auto found = Find(*connector, ann.conversation_id, "answer");
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].id.Reveal(), sim_->MessagesBetween(kUs, "ann.test").back().id);
  const auto other = Find(*connector, ann.conversation_id, "answer ");
  ASSERT_OK(other);
  EXPECT_TRUE(other->empty());
  EXPECT_EQ(sim_->CountSends("answer"), 2u) << "nothing was sent again";
}

TEST_F(BlueskyConnector, LostRequestIsUnknownAndIsNotFound) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  sim_->DropNextSendBeforeEffect();
  EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()),
               ErrorCode::kOutcomeUnknown);
  const auto found = Find(*connector, ann.conversation_id, "answer");
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty());
}

TEST_F(BlueskyConnector, UnclearAnswersToASendAreUnknown) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  for (const int status : {500, 502, 503, 504}) {
    sim_->FailNextSendAfterEffect(status);
    EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()),
                 ErrorCode::kOutcomeUnknown);
  }
  for (const char* body : {"", "{}", "[", R"({"id":7})"}) {
    sim_->AnswerNext("chat.bsky.convo.sendMessage", Raw(body));
    EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()),
                 ErrorCode::kOutcomeUnknown);
  }
}

TEST_F(BlueskyConnector, FindSentReadsPastManyNewerMessages) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  ASSERT_OK(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()));
  ASSERT_OK(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()));
  for (int i = 0; i < 230; ++i) Say("ann.test", kUs, "answer");
  const auto found = Find(*connector, ann.conversation_id, "answer");
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_LT((*found)[0].id.Reveal(), (*found)[1].id.Reveal()) << "oldest first";
}

TEST_F(BlueskyConnector, TextLimitsAreCountedBeforeTheCall) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  std::string families;
  for (int i = 0; i < 400; ++i)
    families += "👨‍👩‍👧‍👦";  // 25 bytes and one grapheme each
  ASSERT_EQ(families.size(), 10'000u);
  ASSERT_OK(connector->Send(Reply(ann.conversation_id, families), stop_.get_token()));
  std::string accents;
  for (int i = 0; i < 1'000; ++i) accents += "e\xCC\x81";
  ASSERT_OK(connector->Send(Reply(ann.conversation_id, accents), stop_.get_token()));
  const std::size_t before = sim_->CountRequests();
  for (const std::string& text : {families + "!", accents + "e", std::string(1'001, 'x'),
                                  std::string(), std::string("\xFF")}) {
    const auto sent = connector->Send(Reply(ann.conversation_id, text), stop_.get_token());
    EXPECT_FAILS(sent, ErrorCode::kInvalidArgument);
    EXPECT_EQ(sent.error().field, "/text");
  }
  EXPECT_EQ(sim_->CountRequests(), before) << "no call was made";
}

TEST_F(BlueskyConnector, RefusalsOfASendAreTyped) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  ASSERT_OK(sim_->LockConvo(ann.conversation_id));
  auto sent = connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token());
  EXPECT_FAILS(sent, ErrorCode::kPlatformRejected);
  EXPECT_EQ(sent.error().platform_code, "ConvoLocked");
  ASSERT_OK(sim_->LockConvo(ann.conversation_id, false));
  sent = connector->Send(Reply("3kaaaaaaaaaa2", "answer"), stop_.get_token());
  EXPECT_FAILS(sent, ErrorCode::kPlatformRejected);
  EXPECT_EQ(sent.error().platform_code, "InvalidConvo");
  ASSERT_OK(sim_->Block("ann.test", kUs));
  sent = connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token());
  EXPECT_FAILS(sent, ErrorCode::kPlatformRejected);
  EXPECT_EQ(sent.error().platform_code, "BlockedActor");
  // Words that we do not know are not passed on.
  sim_->AnswerNext("chat.bsky.convo.sendMessage",
                   Raw(R"({"error":"Secret words","message":"and a name"})", 400));
  sent = connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token());
  EXPECT_FAILS(sent, ErrorCode::kPlatformRejected);
  EXPECT_EQ(sent.error().platform_code, "");
  EXPECT_EQ(sent.error().message.find("Secret"), std::string::npos);
  EXPECT_EQ(sim_->CountSends("answer"), 0u);
}

TEST_F(BlueskyConnector, ExpiredTokenIsRenewedAndTheReplySentOnce) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  clock_.Advance(minutes(121));
  ASSERT_OK(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()));
  EXPECT_EQ(sim_->CountSends("answer"), 1u);
  EXPECT_EQ(Refreshes(), 1u);
  EXPECT_EQ(Logins(), 1u);
}

// ---- the session ----

TEST_F(BlueskyConnector, SessionIsKeptAcrossRestarts) {
  ASSERT_OK(Make()->Check(stop_.get_token()));
  ASSERT_EQ(kept_.size(), 1u);
  auto again = MakeAgain();
  Collected collected;
  Drain(*again, collected);
  EXPECT_EQ(Logins(), 1u);
  EXPECT_EQ(Refreshes(), 0u);
  const auto credential = json::Parse(kept_[0].Reveal());
  ASSERT_OK(credential);
  EXPECT_EQ(*credential->String("password"), kPassword);
  EXPECT_EQ(*credential->String("did"), our_did_);
  EXPECT_FALSE(credential->String("access")->empty());
  EXPECT_FALSE(credential->String("refresh")->empty());
}

TEST_F(BlueskyConnector, TokenThatExpiresInTheMiddleOfTheWalkIsRenewedWithinTheSameFetch) {
  std::multiset<std::string> expected;
  for (int i = 0; i < 30; ++i) {
    const std::string handle = "t" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    Say(handle, kUs, handle);
    expected.insert(handle);
  }
  auto connector = Make();
  Collected collected;
  int expired = 0;
  Drain(*connector, collected, 1, [&](const Page&) {
    if (++expired <= 3) sim_->ExpireSessions();
  });
  EXPECT_EQ(collected.Texts(), expected);
  EXPECT_EQ(Refreshes(), 3u);
  EXPECT_EQ(Logins(), 1u);
}

TEST_F(BlueskyConnector, NewTokensAreKeptBeforeTheirFirstUse) {
  auto connector = Make();
  std::vector<std::size_t> requests;
  before_keeping_ = [&] { requests.push_back(sim_->CountRequests()); };
  ASSERT_OK(connector->Fetch(After({}), stop_.get_token()));
  const std::size_t first_fetch = sim_->CountRequests();
  sim_->ExpireSessions();
  ASSERT_OK(connector->Fetch(After({}), stop_.get_token()));
  // When the sink is called: the login and nothing else; then the refused call and the refresh.
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0], 1u);
  EXPECT_EQ(requests[1], first_fetch + 2);
  EXPECT_NE(kept_[0].Reveal(), kept_[1].Reveal());
}

TEST_F(BlueskyConnector, TokensThatCouldNotBeKeptAreNeverUsed) {
  sink_answer_ = Fail(ErrorCode::kIo, "disk full");
  auto connector = Make();
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kIo);
  const std::size_t before = sim_->CountRequests();
  EXPECT_EQ(before, 1u) << "the login alone";
  sink_answer_ = {};
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kIo);
  EXPECT_FAILS(connector->Send(Reply("k", "x"), stop_.get_token()), ErrorCode::kIo);
  EXPECT_FAILS(connector->Check(stop_.get_token()), ErrorCode::kIo);
  EXPECT_EQ(sim_->CountRequests(), before);
}

// A crash after the refresh and before its tokens were kept: the old refresh token is good for two
// hours more and leads to the same successor.
TEST_F(BlueskyConnector, RefreshWithinTheGraceNeedsNoLogin) {
  ASSERT_OK(Make()->Check(stop_.get_token()));
  sim_->ExpireSessions();
  sink_answer_ = Fail(ErrorCode::kIo, "crash");
  EXPECT_FAILS(MakeAgain()->Check(stop_.get_token()), ErrorCode::kIo);
  sink_answer_ = {};
  clock_.Advance(minutes(119));
  ASSERT_OK(MakeAgain()->Check(stop_.get_token()));
  EXPECT_EQ(Refreshes(), 2u);
  EXPECT_EQ(Logins(), 1u);
}

TEST_F(BlueskyConnector, RefreshAfterTheGraceFallsBackToThePassword) {
  ASSERT_OK(Make()->Check(stop_.get_token()));
  sim_->ExpireSessions();
  sink_answer_ = Fail(ErrorCode::kIo, "crash");
  EXPECT_FAILS(MakeAgain()->Check(stop_.get_token()), ErrorCode::kIo);
  sink_answer_ = {};
  clock_.Advance(minutes(121));
  ASSERT_OK(MakeAgain()->Check(stop_.get_token()));
  EXPECT_EQ(Logins(), 2u);
}

TEST_F(BlueskyConnector, DeadRefreshTokenFallsBackToThePasswordOnce) {
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  sim_->RevokeRefresh();
  sim_->ExpireSessions();
  ASSERT_OK(connector->Check(stop_.get_token()));
  EXPECT_EQ(Refreshes(), 1u);
  EXPECT_EQ(Logins(), 2u);
}

TEST_F(BlueskyConnector, WrongPasswordIsADeadCredentialAndIsTriedOnce) {
  auto connector = Make("wrong");
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCredentialDead);
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCredentialDead);
  EXPECT_FAILS(connector->Check(stop_.get_token()), ErrorCode::kCredentialDead);
  EXPECT_EQ(Logins(), 1u);
  EXPECT_TRUE(kept_.empty());
}

TEST_F(BlueskyConnector, TakenDownAccountIsADeadCredentialUntilItReturns) {
  auto connector = Make();
  ASSERT_OK(sim_->TakeDown(kUs));
  auto page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kCredentialDead);
  EXPECT_EQ(page.error().platform_code, "AccountTakedown");
  ASSERT_OK(sim_->TakeDown(kUs, false));
  ASSERT_OK(connector->Fetch(After({}), stop_.get_token()));
}

TEST_F(BlueskyConnector, SuspendedSessionIsADeadCredential) {
  auto connector = Make();
  sim_->AnswerNext("com.atproto.server.createSession",
                   Raw(R"({"did":")" + our_did_ +
                       R"(","handle":"council.test","accessJwt":"a.b.c","refreshJwt":"d.e.f",)"
                       R"("active":false,"status":"suspended"})"));
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCredentialDead);
  EXPECT_EQ(sim_->CountRequests("chat.bsky.convo.getLog"), 0u);
}

TEST_F(BlueskyConnector, IdentifierThatMovedToAnotherAccountIsNotFollowed) {
  ASSERT_OK(Make()->Check(stop_.get_token()));
  sim_->RevokeRefresh();
  sim_->ExpireSessions();
  sim_->AnswerNext("com.atproto.server.createSession",
                   Raw(R"({"did":"did:plc:somebodyelse","handle":"council.test",)"
                       R"("accessJwt":"a.b.c","refreshJwt":"d.e.f"})"));
  auto connector = MakeAgain();
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCredentialDead);
  EXPECT_EQ(kept_.size(), 1u);
}

TEST_F(BlueskyConnector, AppPasswordWithoutDirectMessagesIsAMissingPrivilege) {
  auto connector = Make(kPlainPassword);
  auto page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kMissingPrivilege);
  EXPECT_NE(page.error().message.find("direct-messages"), std::string::npos);
  const auto report = connector->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->permissions_missing, std::vector<std::string>{"direct-messages"});
  EXPECT_TRUE(report->permissions_held.empty());
}

TEST_F(BlueskyConnector, CheckSaysWhoWeAre) {
  const auto report = Make()->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->own_platform_id, our_did_);
  EXPECT_EQ(report->own_handle, kUs);
  EXPECT_EQ(report->permissions_held, std::vector<std::string>{"direct-messages"});
  EXPECT_TRUE(report->permissions_missing.empty());
  EXPECT_EQ(sim_->CountRequests("chat.bsky.convo.getMessages"), 0u);
}

TEST_F(BlueskyConnector, KnowsItsBudgetFromTheLastAnswer) {
  auto connector = Make();
  EXPECT_FALSE(connector->budget());
  ASSERT_OK(connector->Check(stop_.get_token()));
  const auto first = connector->budget();
  ASSERT_TRUE(first);
  EXPECT_LT(first->remaining, first->limit);
  EXPECT_GT(first->resets_at, clock_.Now());
  ASSERT_OK(connector->Check(stop_.get_token()));
  EXPECT_LT(connector->budget()->remaining, first->remaining);
}

TEST_F(BlueskyConnector, FreshSessionThatIsRefusedAtOnceEnds) {
  auto connector = Make();
  for (int i = 0; i < 5; ++i) {
    sim_->AnswerNext("chat.bsky.convo.getLog",
                     Raw(R"({"error":"ExpiredToken","message":"Token has expired"})", 400));
  }
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kProtocol);
  EXPECT_EQ(sim_->CountRequests("chat.bsky.convo.getLog"), 2u);
}

TEST_F(BlueskyConnector, MissingAuthenticationIsRenewedLikeAnExpiredToken) {
  auto connector = Make();
  sim_->AnswerNext("chat.bsky.convo.getLog",
                   Raw(R"({"error":"AuthMissing","message":"Authentication Required"})", 401));
  ASSERT_OK(connector->Fetch(After({}), stop_.get_token()));
  EXPECT_EQ(Refreshes(), 1u);
}

// ---- errors ----

TEST_F(BlueskyConnector, MissingProxyHeaderIsADefectOfOurs) {
  const std::pair<int, const char*> kAnswers[] = {
      {400, R"({"error":"InvalidRequest","message":"No service configured for chat.bsky.x"})"},
      {400, R"({"error":"InvalidRequest","message":"no service id specified in proxy header"})"},
      {404, R"({"error":"XRPCNotSupported","message":"XRPCNotSupported"})"},
      {501, R"({"error":"MethodNotImplemented","message":"Method Not Implemented"})"},
  };
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  for (const auto& [status, body] : kAnswers) {
    sim_->AnswerNext("chat.bsky.convo.getLog", Raw(body, status));
    EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kInternal);
    sim_->AnswerNext("chat.bsky.convo.sendMessage", Raw(body, status));
    EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "x"), stop_.get_token()),
                 ErrorCode::kInternal);
  }
}

TEST_F(BlueskyConnector, RateLimitSaysWhenWhereThePlatformDoes) {
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  sim_->RateLimitNext(1, true);
  auto page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kRateLimited);
  EXPECT_EQ(page.error().retry_after, minutes(5));
  EXPECT_EQ(page.error().retry_at, clock_.Now() + minutes(5));
  sim_->RateLimitNext(1, false);
  page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kRateLimited);
  EXPECT_FALSE(page.error().retry_after.has_value());
  EXPECT_FALSE(page.error().retry_at.has_value());
  SimulatorResponse odd = Raw("<html>slow down</html>", 429);
  odd.headers = {{"Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"}, {"RateLimit-Reset", "-5"}};
  sim_->AnswerNext("", odd);
  page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kRateLimited);
  EXPECT_FALSE(page.error().retry_after.has_value());
  EXPECT_FALSE(page.error().retry_at.has_value());
}

TEST_F(BlueskyConnector, RateLimitedSendDidNotHappen) {
  const auto ann = Say("ann.test", kUs, "question");
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  sim_->RateLimitNext(1);
  EXPECT_FAILS(connector->Send(Reply(ann.conversation_id, "answer"), stop_.get_token()),
               ErrorCode::kRateLimited);
  EXPECT_EQ(sim_->CountSends("answer"), 0u);
}

TEST_F(BlueskyConnector, RealLimitInTheMiddleOfTheWalkLosesNothing) {
  StartSimulator({.requests_per_5_min = 12});
  std::multiset<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    const std::string handle = "u" + std::to_string(i) + ".test";
    sim_->AddActor(handle, "pw");
    Say(handle, kUs, handle);
    expected.insert(handle);
  }
  auto connector = Make();
  Collected collected;
  int limited = 0;
  for (int i = 0; i < kFetchesMax && !collected.caught_up; ++i) {
    const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
    if (!page) {
      ASSERT_EQ(page.error().code, ErrorCode::kRateLimited);
      ASSERT_TRUE(page.error().retry_after.has_value());
      clock_.Advance(*page.error().retry_after);
      ++limited;
      continue;
    }
    collected.Add(*page);
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_GE(limited, 2);
  EXPECT_EQ(collected.Texts(), expected);
}

TEST_F(BlueskyConnector, FailuresOfThePlatformAreTransient) {
  auto connector = Make();
  for (const int status : {500, 502, 503, 504}) {
    sim_->FailNext(1, status);
    EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kPlatformUnavailable);
  }
  SimulatorResponse dropped;
  dropped.drop_connection = true;
  sim_->AnswerNext("chat.bsky.convo.getLog", dropped);
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kPlatformUnavailable);
  Collected collected;
  Drain(*connector, collected);
}

TEST_F(BlueskyConnector, RedirectsAreNotFollowed) {
  auto connector = Make();
  SimulatorResponse redirect = Raw("", 302);
  redirect.headers = {{"Location", "http://127.0.0.1:1/"}};
  sim_->AnswerNext("chat.bsky.convo.getLog", redirect);
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kProtocol);
}

TEST_F(BlueskyConnector, HostileAnswersAreProtocolErrorsAndPass) {
  Say("ann.test", kUs, "hello");
  auto connector = Make();
  const std::string bodies[] = {
      std::string(200'000, '['),
      R"({"cursor":"a","cursor":"b","logs":[]})",
      R"({"cursor":["a"],"logs":[]})",
      R"({"cursor":"a","logs":"none"})",
      R"({"cursor":"a"})",
      R"({"logs":[]})",  // no position at all
      "\xFF\xFE\x00",
      "",
      "null",
  };
  for (const std::string& body : bodies) {
    sim_->AnswerNext("chat.bsky.convo.getLog", Raw(body));
    EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kProtocol);
  }
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"hello"}));
}

TEST_F(BlueskyConnector, StopIsObeyedBeforeAnyCall) {
  auto connector = Make();
  stop_.request_stop();
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCancelled);
  EXPECT_FAILS(connector->Send(Reply("k", "x"), stop_.get_token()), ErrorCode::kCancelled);
  EXPECT_EQ(sim_->CountRequests(), 0u);
}

// ---- set-up ----

TEST_F(BlueskyConnector, PlainHttpServersOfDidDocumentsAreNotFollowed) {
  sim_->SetPdsEndpoint("http://127.0.0.1:9");
  Collected collected;
  auto connector = Make();
  Drain(*connector, collected);  // at the service itself
  EXPECT_TRUE(collected.caught_up);
  sim_->SetPdsEndpoint("");
  auto without = Make();
  ASSERT_OK(without->Check(stop_.get_token()));
}

TEST_F(BlueskyConnector, BadOptionsAreNamed) {
  const auto field = [&](const std::function<void(ConnectorContext&)>& change) {
    ConnectorContext context = Context();
    change(context);
    const auto made = bluesky::Make(context);
    EXPECT_FALSE(made.has_value());
    if (made) return std::string("accepted");
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    return made.error().field;
  };
  EXPECT_EQ(field([](auto& c) { c.options["service"] = "ftp://bsky.social"; }), "service");
  EXPECT_EQ(field([](auto& c) { c.options["service"] = "http://bsky.social"; }), "service");
  EXPECT_EQ(field([](auto& c) { c.egress.insecure_loopback = false; }), "service");
  EXPECT_EQ(field([](auto& c) { c.options.erase("identifier"); }), "identifier");
  EXPECT_EQ(field([](auto& c) { c.options["identifier"] = "two words"; }), "identifier");
  EXPECT_EQ(field([](auto& c) { c.options["identifier"] = std::string(300, 'x'); }), "identifier");
  EXPECT_EQ(field([](auto& c) { c.options["colour"] = "blue"; }), "colour");
  EXPECT_EQ(field([](auto& c) { c.credential = Credential(""); }), "password");
  EXPECT_EQ(field([](auto& c) { c.credential = Credential("{}"); }), "password");
  EXPECT_EQ(field([](auto& c) { c.credential = Credential(R"({"password":""})"); }), "password");
  EXPECT_EQ(sim_->CountRequests(), 0u);
}

TEST_F(BlueskyConnector, HalfASessionIsIgnored) {
  ConnectorContext context = Context();
  context.credential = Credential(R"({"password":")" + std::string(kPassword) +
                                  R"(","access":"a b","refresh":"x","did":"did:plc:zzz"})");
  // Another DID than ours stands there, so the login is refused rather than mixed in.
  auto connector = MakeWith(context);
  EXPECT_FAILS(connector->Check(stop_.get_token()), ErrorCode::kCredentialDead);
  context.credential = Credential(R"({"password":")" + std::string(kPassword) +
                                  R"(","access":"a.b.c","refresh":"","did":"junk"})");
  ASSERT_OK(MakeWith(context)->Check(stop_.get_token()));
}

TEST_F(BlueskyConnector, DidServesAsIdentifier) {
  ConnectorContext context = Context();
  context.options["identifier"] = our_did_;
  const auto report = MakeWith(context)->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->own_handle, kUs);
}

}  // namespace
}  // namespace mayfly::connectors
