// The connector against the simulated servers of the family, over HTTP.
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

#include "connectors/mastodon/connector.h"
#include "connectors/mastodon/simulator.h"
#include "store/model/json.h"
#include "tests/support/expect_result.h"
#include "tests/support/simulated_clock.h"

namespace mayfly::connectors {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int kFetchesMax = 400;
constexpr const char* kScopes = "read:accounts read:statuses read:notifications write:statuses";

// What ingest would have after these pages.
struct Collected {
  std::map<std::string, PlatformMessage> messages;  // by id
  std::map<std::string, PlatformConversation> conversations;
  std::map<std::string, int> times;  // how often each message was served
  std::set<std::string> withdrawn;
  std::size_t skipped = 0;
  int lost = 0;
  int gaps = 0;
  std::string warning;
  bool caught_up = false;
  bool history_complete = false;
  Cursor cursor;

  void Add(const Page& page) {
    std::set<std::string> described;
    for (const PlatformConversation& conversation : page.conversations) {
      EXPECT_TRUE(described.insert(conversation.id.Reveal()).second) << "described twice";
      conversations[conversation.id.Reveal()] = conversation;
    }
    for (const PlatformMessage& message : page.messages) {
      EXPECT_TRUE(described.contains(message.conversation.Reveal())) << "not described";
      ++times[message.id.Reveal()];
      messages.emplace(message.id.Reveal(), message);
    }
    for (const Edit& edit : page.edits) {
      const auto message = messages.find(edit.id.Reveal());
      if (message == messages.end()) continue;
      EXPECT_EQ(message->second.conversation, edit.conversation);
      message->second.text = edit.text;
      message->second.has_unsupported_content = edit.has_unsupported_content;
    }
    for (const Withdrawal& withdrawal : page.withdrawals) {
      withdrawn.insert(withdrawal.id.Reveal());
    }
    skipped += page.skipped_past_horizon;
    lost += page.position_lost ? 1 : 0;
    gaps += page.gap ? 1 : 0;
    warning = page.warning;
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
  std::set<std::string> Conversations() const {
    std::set<std::string> ids;
    for (const auto& [id, message] : messages) ids.insert(message.conversation.Reveal());
    return ids;
  }
};

std::string NameOf(MastodonFlavour flavour) {
  switch (flavour) {
    case MastodonFlavour::kMastodon:
      return "Mastodon";
    case MastodonFlavour::kHometown:
      return "Hometown";
    case MastodonFlavour::kGoToSocial:
      return "GoToSocial";
    case MastodonFlavour::kPleroma:
      return "Pleroma";
    case MastodonFlavour::kSnac:
      return "Snac";
  }
  return "";
}

class Office {
 public:
  void StartSimulator(const MastodonSimulatorOptions& options) {
    sim_.reset();
    auto sim = MastodonSimulator::Start(clock_, options);
    ASSERT_OK(sim);
    sim_ = *std::move(sim);
    office_id_ = sim_->AddAccount(
        MastodonSimulator::AccountOptions{.acct = "office", .display_name = "The office"});
    for (const char* acct : {"ann@far.example", "bob", "cleo@other.example"}) {
      sim_->AddAccount(MastodonSimulator::AccountOptions{
          .acct = acct, .display_name = std::string("Name of ") + acct});
    }
    UseToken(kScopes);
  }
  void UseToken(const std::string& scopes) {
    auto token = sim_->IssueToken("office", scopes);
    ASSERT_OK(token);
    token_ = *token;
  }

 protected:
  ConnectorContext Context() {
    ConnectorContext context;
    context.options = {{"server", sim_->origin()}};
    context.credential = Credential(R"({"access_token":")" + token_ + "\"}");
    context.renew = [](const Credential&) { return Status(); };
    context.egress.insecure_loopback = true;
    return context;
  }
  std::unique_ptr<Connector> Make() {
    auto made = mastodon::Make(Context());
    EXPECT_TRUE(made.has_value());
    return made ? *std::move(made) : nullptr;
  }
  MastodonSimulator::Posted Say(const std::string& acct, const std::string& text,
                                const MastodonSimulator::PostOptions& options = {}) {
    clock_.Advance(seconds(1));
    auto posted = sim_->Post(acct, text, options);
    EXPECT_TRUE(posted.has_value()) << text;
    return posted ? *posted : MastodonSimulator::Posted{};
  }
  MastodonSimulator::Posted Answer(const std::string& acct, const std::string& to,
                                   const std::string& text) {
    return Say(acct, text, {.in_reply_to_id = to});
  }
  FetchRequest After(const Cursor& cursor, std::size_t messages_max = 200) {
    return FetchRequest{
        .after = cursor, .horizon = clock_.Now() - hours(24 * 88), .messages_max = messages_max};
  }
  // Until the platform has nothing more, and once more.
  void Drain(Connector& connector, Collected& collected, std::size_t messages_max = 200,
             const std::function<void()>& between = {}) {
    for (int i = 0; i < kFetchesMax; ++i) {
      const auto page = connector.Fetch(After(collected.cursor, messages_max), stop_.get_token());
      ASSERT_OK(page);
      collected.Add(*page);
      clock_.Advance(seconds(30));
      if (collected.caught_up) return;
      if (between) between();
    }
    FAIL() << "never caught up";
  }
  void Poll(Connector& connector, Collected& collected, int times) {
    for (int i = 0; i < times; ++i) Drain(connector, collected);
  }
  OutgoingReply ReplyTo(const Collected& collected, const std::string& message_id,
                        const std::string& text) {
    const PlatformMessage& message = collected.messages.at(message_id);
    return OutgoingReply{
        .conversation = message.conversation,
        .idempotency_key = "key-" + text,
        .text = MessageBody(text),
        .in_reply_to = message.id,
        .recipients = collected.conversations.at(message.conversation.Reveal()).participants};
  }
  std::size_t Sends() const { return sim_->CountRequests("/api/v1/statuses"); }
  std::size_t CountWritten(const std::string& part) const {
    std::size_t count = 0;
    for (const auto& seen : sim_->StatusesSeenBy("office")) {
      if (seen.author == "office" && seen.text.find(part) != std::string::npos) ++count;
    }
    return count;
  }

  testing::SimulatedClock clock_{*ParseRfc3339("2026-11-22T12:00:00Z")};
  std::stop_source stop_;
  std::unique_ptr<MastodonSimulator> sim_;
  std::string token_;
  std::string office_id_;
};

constexpr std::size_t kTooMuch = 3u << 20;  // for the connector's cap of an answer

SimulatorResponse Raw(const std::string& body, int status = 200) {
  SimulatorResponse response;
  response.status = status;
  response.body = body;
  return response;
}

// ---- on each server of the family ----

class MastodonFamily : public ::testing::TestWithParam<MastodonFlavour>, public Office {
 protected:
  void SetUp() override { StartSimulator({.flavour = GetParam()}); }
  bool IsSnac() const { return GetParam() == MastodonFlavour::kSnac; }
};

INSTANTIATE_TEST_SUITE_P(Servers, MastodonFamily,
                         ::testing::Values(MastodonFlavour::kMastodon, MastodonFlavour::kHometown,
                                           MastodonFlavour::kGoToSocial, MastodonFlavour::kPleroma,
                                           MastodonFlavour::kSnac),
                         [](const auto& info) { return NameOf(info.param); });

TEST_P(MastodonFamily, NothingIsCollectedFromAnEmptyAccount) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_TRUE(collected.messages.empty());
  EXPECT_TRUE(collected.history_complete);
  Say("ann@far.example", "@office@social.example first");
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first"}));
}

TEST_P(MastodonFamily, ReadsHistoryOnceAndNamesTheConversation) {
  const TimePoint now = clock_.Now();
  const auto first = Say("ann@far.example", "@office@social.example one", {.at = now - hours(50)});
  Say("office", "@ann@far.example two", {.in_reply_to_id = first.id, .at = now - hours(49)});
  Say("ann@far.example", "@office@social.example three",
      {.in_reply_to_id = first.id, .at = now - hours(48)});
  Say("bob", "@office four", {.at = now - hours(47)});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"one", "two", "three", "four"}));
  EXPECT_EQ(collected.Conversations().size(), 2u);
  for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);
  EXPECT_TRUE(collected.history_complete);
  EXPECT_TRUE(collected.messages.at(first.id).conversation.Reveal().starts_with(first.id + "~"));
  std::set<std::string> handles;
  for (const auto& [id, conversation] : collected.conversations) {
    ASSERT_EQ(conversation.participants.size(), 1u);
    EXPECT_FALSE(conversation.group);
    handles.insert(conversation.participants[0].handle.Reveal());
    EXPECT_FALSE(conversation.participants[0].display_name.empty());
  }
  EXPECT_EQ(handles, (std::set<std::string>{"ann@far.example", "bob@social.example"}));
  // And nothing is served again, not even to a process that knows nothing.
  auto again = Make();
  Drain(*again, collected);
  for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);
}

TEST_P(MastodonFamily, ABurstLargerThanAPageIsCollectedWhole) {
  auto connector = Make();
  Collected collected;
  Say("ann@far.example", "@office@social.example before");
  Drain(*connector, collected);
  // snac shows its 64 newest notifications and nothing else.
  const int count = IsSnac() ? 60 : 190;
  std::multiset<std::string> expected = {"before"};
  for (int i = 0; i < count; ++i) {
    const std::string text = "burst " + std::to_string(i);
    Say(i % 2 ? "bob" : "ann@far.example", "@office@social.example " + text);
    expected.insert(text);
  }
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), expected);
  EXPECT_EQ(collected.gaps, 0);
}

TEST_P(MastodonFamily, WhatAServerStopsShowingIsToldAsAGap) {
  if (!IsSnac()) GTEST_SKIP() << "only snac shows its newest entries and nothing else";
  for (int i = 0; i < 70; ++i) {
    Say("ann@far.example", "@office@social.example history " + std::to_string(i));
  }
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_LT(collected.Texts().size(), 70u) << "the simulator is kinder than the server";
  EXPECT_EQ(collected.gaps, 1) << "history";
  for (int i = 0; i < 70; ++i) {
    Say("ann@far.example", "@office@social.example burst " + std::to_string(i));
  }
  Drain(*connector, collected);
  EXPECT_LT(collected.Texts().size(), 140u);
  EXPECT_EQ(collected.gaps, 2) << "a burst between two polls";
  Say("ann@far.example", "@office@social.example one more");
  Drain(*connector, collected);
  EXPECT_EQ(collected.gaps, 2);
}

TEST_P(MastodonFamily, WhatIsWrittenWhileHistoryIsReadIsNotLost) {
  std::multiset<std::string> expected;
  const int count = IsSnac() ? 25 : 70;
  std::string last;
  for (int i = 0; i < count; ++i) {
    const std::string text = "old " + std::to_string(i);
    const std::string acct = "person" + std::to_string(i) + "@far.example";
    sim_->AddAccount(acct);
    last = Say(acct, "@office@social.example " + text).id;
    expected.insert(text);
  }
  auto connector = Make();
  Collected collected;
  int more = 0;
  Drain(*connector, collected, 10, [&] {
    if (more >= 8) return;
    const std::string text = "meanwhile " + std::to_string(more++);
    last = Answer("ann@far.example", more % 2 ? last : "", "@office@social.example " + text).id;
    expected.insert(text);
  });
  Poll(*connector, collected, 2);
  EXPECT_GT(more, 0);
  EXPECT_EQ(collected.Texts(), expected);
}

TEST_P(MastodonFamily, PublicMentionsAreNeverCollected) {
  const auto open =
      Say("ann@far.example", "@office@social.example hello in public", {.visibility = "public"});
  Say("bob", "@office unlisted", {.visibility = "unlisted"});
  if (!IsSnac()) Say("bob", "@office for followers", {.visibility = "private"});
  Say("office", "our own public words", {.visibility = "public"});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_TRUE(collected.messages.empty());
  // A private answer in a public thread is one, and the thread around it is not.
  Answer("ann@far.example", open.id, "@office@social.example in private");
  Say("cleo@other.example", "@office@social.example again in public", {.visibility = "public"});
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"in private"}));
}

TEST_P(MastodonFamily, TwoPeopleBelowOnePublicPostAreTwoConversations) {
  const auto open = Say("office", "a question to everybody", {.visibility = "public"});
  Answer("ann@far.example", open.id, "@office@social.example from ann");
  Answer("bob", open.id, "@office from bob");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"from ann", "from bob"}));
  EXPECT_EQ(collected.Conversations().size(), 2u);
}

TEST_P(MastodonFamily, AThirdPersonInMidThreadMakesAnotherConversation) {
  const auto first = Say("ann@far.example", "@office@social.example only for you");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto second =
      Answer("ann@far.example", first.id, "@office@social.example @cleo@other.example and you");
  Drain(*connector, collected);
  ASSERT_TRUE(collected.messages.contains(second.id));
  const auto& alone = collected.messages.at(first.id).conversation.Reveal();
  const auto& both = collected.messages.at(second.id).conversation.Reveal();
  EXPECT_NE(alone, both);
  EXPECT_EQ(collected.conversations.at(alone).participants.size(), 1u);
  EXPECT_EQ(collected.conversations.at(both).participants.size(), 2u);
  EXPECT_TRUE(collected.conversations.at(both).group);
  EXPECT_EQ(collected.messages.at(second.id).text.Reveal(), "@cleo@other.example and you");
}

TEST_P(MastodonFamily, WhatWeWriteElsewhereIsCollected) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto answer = Answer("office", first.id, "@ann@far.example from the app");
  const auto other = Answer("office", first.id, "@ann@far.example and another branch");
  Answer("ann@far.example", answer.id, "@office@social.example thanks");
  Drain(*connector, collected);
  ASSERT_TRUE(collected.messages.contains(answer.id));
  EXPECT_EQ(collected.messages.at(answer.id).direction, Direction::kOutgoing);
  EXPECT_EQ(collected.messages.at(answer.id).text.Reveal(), "from the app");
  EXPECT_EQ(collected.Conversations().size(), 1u);
  EXPECT_EQ(collected.messages.contains(other.id), !IsSnac());
}

TEST_P(MastodonFamily, AnotherBranchOfAKnownThreadIsReadAfterARestart) {
  if (IsSnac()) GTEST_SKIP() << "snac shows a branch only to who asks for it";
  const auto first = Say("ann@far.example", "@office@social.example question");
  const auto second = Answer("ann@far.example", first.id, "@office@social.example more");
  Collected collected;
  auto before = Make();
  Drain(*before, collected);
  const auto branch = Answer("office", first.id, "@ann@far.example a branch of its own");
  Answer("ann@far.example", second.id, "@office@social.example and more");
  auto after = Make();
  Drain(*after, collected);
  EXPECT_TRUE(collected.messages.contains(branch.id));
  EXPECT_EQ(collected.messages.size(), 4u);
  EXPECT_EQ(collected.Conversations().size(), 1u);
}

TEST_P(MastodonFamily, AnEditIsReported) {
  const auto first = Say("ann@far.example", "@office@social.example frist");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  clock_.Advance(minutes(1));
  ASSERT_OK(sim_->Edit(first.id, "@office@social.example first"));
  Poll(*connector, collected, 2);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first"}));
  clock_.Advance(minutes(1));
  ASSERT_OK(sim_->Edit(first.id, "@office@social.example first!"));
  auto again = Make();
  Poll(*again, collected, 2);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first!"}));
}

TEST_P(MastodonFamily, ADeletionIsReported) {
  const auto first = Say("ann@far.example", "@office@social.example first");
  const auto second = Say("bob", "@office second");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->Delete(first.id));
  Poll(*connector, collected, 2);
  EXPECT_EQ(collected.withdrawn, (std::set<std::string>{first.id}));
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"second"}));
  Poll(*connector, collected, 2);
  EXPECT_EQ(collected.withdrawn.size(), 1u);
}

TEST_P(MastodonFamily, ManyEditsAndDeletionsAreFoundInTurn) {
  std::vector<std::string> ids;
  for (int i = 0; i < 45; ++i) {
    ids.push_back(Say("bob", "@office text " + std::to_string(i)).id);
  }
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->Delete(ids[3]));
  ASSERT_OK(sim_->Delete(ids[40]));
  clock_.Advance(minutes(1));
  ASSERT_OK(sim_->Edit(ids[20], "@office changed"));
  Poll(*connector, collected, 32);  // one by one: three at each poll, and twice around
  EXPECT_EQ(collected.withdrawn, (std::set<std::string>{ids[3], ids[40]}));
  EXPECT_EQ(collected.messages.at(ids[20]).text.Reveal(), "changed");
}

TEST_P(MastodonFamily, AThreadKeepsItsNameWhenItsTopGoes) {
  const auto first = Say("ann@far.example", "@office@social.example first");
  const auto second = Answer("ann@far.example", first.id, "@office@social.example second");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->Delete(first.id));
  const auto third = Answer("ann@far.example", second.id, "@office@social.example third");
  auto again = Make();  // nothing is remembered but the cursor
  Poll(*again, collected, 2);
  ASSERT_TRUE(collected.messages.contains(third.id));
  EXPECT_EQ(collected.messages.at(third.id).conversation,
            collected.messages.at(second.id).conversation);
}

TEST_P(MastodonFamily, ARevokedTokenIsToldAndWithdrawsNothing) {
  Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->RevokeTokens("office"));
  EXPECT_FAILS(connector->Fetch(After(collected.cursor), stop_.get_token()),
               ErrorCode::kCredentialDead);
  EXPECT_FAILS(Make()->Fetch(After(collected.cursor), stop_.get_token()),
               ErrorCode::kCredentialDead);
  EXPECT_FAILS(connector->Check(stop_.get_token()), ErrorCode::kCredentialDead);
}

// An old snac, and whatever else answers a bad token with an empty list.
TEST_P(MastodonFamily, AnEmptyListProvesNothing) {
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->RevokeTokens("office"));
  sim_->AnswerNext("GET", "/api/v1/notifications", Raw("[]"));
  sim_->AnswerNext("GET", "/api/v1/conversations", Raw("[]"));
  EXPECT_FAILS(connector->Fetch(After(collected.cursor), stop_.get_token()),
               ErrorCode::kCredentialDead);
}

TEST_P(MastodonFamily, AReplyMentionsItsRecipientAndIsRecognised) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto sent = connector->Send(ReplyTo(collected, first.id, "an answer"), stop_.get_token());
  ASSERT_OK(sent);
  EXPECT_EQ(CountWritten("@ann@far.example an answer"), 1u);
  const auto seen = sim_->StatusesSeenBy("ann@far.example");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1].visibility, "direct");
  EXPECT_EQ(seen[1].in_reply_to_id, first.id);
  Answer("ann@far.example", sent->id.Reveal(), "@office@social.example thanks");
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"question", "an answer", "thanks"}));
  EXPECT_EQ(collected.Conversations().size(), 1u);
  EXPECT_TRUE(collected.messages.contains(sent->id.Reveal()));
  EXPECT_EQ(collected.warning,
            GetParam() == MastodonFlavour::kMastodon || GetParam() == MastodonFlavour::kHometown
                ? "notification-policy-filters"
                : "");
}

TEST_P(MastodonFamily, ALocalPersonGetsAReplyToo) {
  const auto first = Say("bob", "@office question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(connector->Send(ReplyTo(collected, first.id, "an answer"), stop_.get_token()));
  EXPECT_EQ(sim_->StatusesSeenBy("bob").size(), 2u);
}

TEST_P(MastodonFamily, AMentionThatWouldAddSomebodyIsRefused) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::size_t before = Sends();
  for (const char* text : {"ask @cleo@other.example", "@bob", "@ann", "(@bob@social.example)"}) {
    EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, text), stop_.get_token()),
                 ErrorCode::kAddsRecipient);
  }
  EXPECT_EQ(Sends(), before);
  for (const char* text : {"dear @ann@far.example", "write to ann@far.example", "@office here"}) {
    EXPECT_TRUE(connector->Send(ReplyTo(collected, first.id, text), stop_.get_token())) << text;
  }
  EXPECT_EQ(sim_->StatusesSeenBy("cleo@other.example").size(), 0u);
}

TEST_P(MastodonFamily, ALostAnswerIsFoundAndNothingElseIs) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  Answer("ann@far.example", first.id, "@office@social.example my answer, https://x.example/a?b=1");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::string text = "my answer, https://x.example/a?b=1\n\n\n#tag  & <b>";
  const OutgoingReply reply = ReplyTo(collected, first.id, text);
  const FindSentRequest request{.conversation = reply.conversation,
                                .text = reply.text,
                                .not_before = clock_.Now() - minutes(1)};
  auto found = connector->FindSent(request, stop_.get_token());
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty());
  ASSERT_OK(sim_->Inject(PlatformFault::kSendAnswerLost));
  EXPECT_FAILS(connector->Send(reply, stop_.get_token()), ErrorCode::kOutcomeUnknown);
  found = connector->FindSent(request, stop_.get_token());
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 1u);
  Answer("ann@far.example", (*found)[0].id.Reveal(), "@office@social.example thanks");
  Drain(*connector, collected);
  EXPECT_TRUE(collected.messages.contains((*found)[0].id.Reveal()));
  EXPECT_EQ(CountWritten("my answer"), 1u);
  clock_.Advance(hours(1));
  FindSentRequest later = request;
  later.not_before = clock_.Now();
  found = connector->FindSent(later, stop_.get_token());
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty());
}

// Servers show mentions in another form than they were typed.
TEST_P(MastodonFamily, ALostAnswerWithAMentionIsFound) {
  const auto first = Say("bob", "@office question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (const char* text : {"Hello @Bob, and @office", "@bob@Social.example hello", "@BOB: x"}) {
    const OutgoingReply reply = ReplyTo(collected, first.id, text);
    ASSERT_OK(sim_->Inject(PlatformFault::kSendAnswerLost));
    EXPECT_FAILS(connector->Send(reply, stop_.get_token()), ErrorCode::kOutcomeUnknown);
    const auto found = Make()->FindSent({.conversation = reply.conversation,
                                         .text = reply.text,
                                         .not_before = clock_.Now() - minutes(1)},
                                        stop_.get_token());
    ASSERT_OK(found);
    EXPECT_EQ(found->size(), 1u) << text;
  }
}

// The same words to the same person in another thread are another reply.
TEST_P(MastodonFamily, TheSameWordsInAnotherThreadAreNotTheLostReply) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  const auto other = Say("ann@far.example", "@office@social.example another question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(connector->Send(ReplyTo(collected, other.id, "done"), stop_.get_token()));
  OutgoingReply reply = ReplyTo(collected, first.id, "done");
  reply.idempotency_key = "another";
  const FindSentRequest request{.conversation = reply.conversation,
                                .text = reply.text,
                                .not_before = clock_.Now() - minutes(1)};
  for (const bool fresh : {false, true}) {
    auto process = Make();
    Connector& seeker = fresh ? *process : *connector;
    const auto found = seeker.FindSent(request, stop_.get_token());
    ASSERT_OK(found);
    EXPECT_TRUE(found->empty()) << fresh;
  }
  const auto sent = connector->Send(reply, stop_.get_token());
  ASSERT_OK(sent);
  const auto found = Make()->FindSent(request, stop_.get_token());
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].id, sent->id);
}

// "Not there" needs somebody who would have shown it.
TEST_P(MastodonFamily, AServerThatShowsNothingGivesNoVerdict) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  const auto second = Answer("ann@far.example", first.id, "@office@social.example more");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const OutgoingReply reply = ReplyTo(collected, second.id, "an answer");
  const FindSentRequest request{.conversation = reply.conversation,
                                .text = reply.text,
                                .not_before = clock_.Now() - minutes(1)};
  ASSERT_OK(sim_->Inject(PlatformFault::kSendAnswerLost));
  EXPECT_FAILS(connector->Send(reply, stop_.get_token()), ErrorCode::kOutcomeUnknown);
  // The list holds public ones only, down to the start; the thread's first status is gone.
  const std::string path = "/api/v1/accounts/" + office_id_ + "/statuses";
  const std::string context = "/api/v1/statuses/" + first.id + "/context";
  for (int i = 0; i < 2; ++i) {
    sim_->AnswerNext("GET", path, Raw("[]"));
    sim_->AnswerNext("GET", context, i == 0 ? Raw("{}", 404) : Raw(std::string(kTooMuch, ' ')));
    const auto unknown = Make()->FindSent(request, stop_.get_token());
    EXPECT_FAILS(unknown, ErrorCode::kPlatformRejected);
  }
  // A process that knows the conversation asks around its newest message.
  sim_->AnswerNext("GET", path, Raw("[]"));
  sim_->AnswerNext("GET", context, Raw("{}", 404));
  const auto found = connector->FindSent(request, stop_.get_token());
  ASSERT_OK(found);
  EXPECT_EQ(found->size(), 1u);
}

// Pleroma would write to the author of the parent, too.
TEST_P(MastodonFamily, AReplyToNothingNamesNobodyElse) {
  const auto open = Say("cleo@other.example", "in public", {.visibility = "public"});
  const auto first = Answer("ann@far.example", open.id, "@office@social.example in private");
  const auto second = Say("bob", "@office another");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (const auto& [id, parent] : {std::pair(first.id, std::string()), {second.id, second.id}}) {
    OutgoingReply reply = ReplyTo(collected, id, "an answer to " + id);
    reply.in_reply_to = PlatformId();
    const auto sent = connector->Send(reply, stop_.get_token());
    ASSERT_OK(sent);
    for (const auto& seen : sim_->StatusesSeenBy("office")) {
      if (seen.id != sent->id.Reveal()) continue;
      EXPECT_EQ(seen.in_reply_to_id, parent);
    }
  }
}

TEST_P(MastodonFamily, FailedSendsAreToldAsWhatTheyAre) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::pair<PlatformFault, ErrorCode> kFaults[] = {
      {PlatformFault::kSendLost, ErrorCode::kOutcomeUnknown},
      {PlatformFault::kSendRateLimited, ErrorCode::kRateLimited},
      {PlatformFault::kSendRefused, ErrorCode::kPlatformRejected},
  };
  for (const auto& [fault, code] : kFaults) {
    ASSERT_OK(sim_->Inject(fault));
    EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token()), code);
  }
  EXPECT_EQ(CountWritten("answer"), 0u);
  ASSERT_OK(sim_->Inject(PlatformFault::kSendFailsAfter));
  EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token()),
               ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(CountWritten("answer"), 1u);
  for (const std::string& body : {std::string("<html>"), std::string("{}"), std::string("[]")}) {
    sim_->AnswerNext("POST", "/api/v1/statuses", Raw(body));
    EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token()),
                 ErrorCode::kOutcomeUnknown);
  }
  sim_->AnswerNext("POST", "/api/v1/statuses", Raw("", 302));
  EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token()),
               ErrorCode::kOutcomeUnknown);
}

TEST_P(MastodonFamily, AReplyToWhatIsGoneIsRefused) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->Delete(first.id));
  const auto sent = connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token());
  EXPECT_FAILS(sent, ErrorCode::kPlatformRejected);
  EXPECT_EQ(sent.error().platform_code, "not-found");
}

TEST_P(MastodonFamily, KnowsItsBudgetFromTheLastAnswerWhereThereIsOne) {
  auto connector = Make();
  EXPECT_FALSE(connector->budget());
  ASSERT_OK(connector->Check(stop_.get_token()));
  const auto first = connector->budget();
  const bool told = !IsSnac() && GetParam() != MastodonFlavour::kPleroma;
  ASSERT_EQ(first.has_value(), told);
  if (!told) return;
  EXPECT_LT(first->remaining, first->limit);
  EXPECT_GT(first->resets_at, clock_.Now());
  ASSERT_OK(connector->Check(stop_.get_token()));
  EXPECT_LT(connector->budget()->remaining, first->remaining);
}

TEST_P(MastodonFamily, CheckSaysWhoWeAre) {
  const auto report = Make()->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->own_handle, "office@social.example");
  EXPECT_FALSE(report->own_platform_id.empty());
  EXPECT_EQ(report->permissions_held,
            (std::vector<std::string>{"read:accounts", "read:statuses", "read:notifications",
                                      "write:statuses"}));
  EXPECT_TRUE(report->permissions_missing.empty());
  EXPECT_EQ(CountWritten(""), 0u);
}

TEST_P(MastodonFamily, MissingScopesAreNamed) {
  if (IsSnac()) GTEST_SKIP() << "snac has no scopes";
  UseToken("read:accounts read:statuses");
  const auto report = Make()->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->permissions_missing,
            (std::vector<std::string>{"read:notifications", "write:statuses"}));
  const auto page = Make()->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kMissingPrivilege);
  EXPECT_NE(page.error().message.find("read:notifications"), std::string::npos);
  UseToken("read:statuses read:notifications write:statuses");
  EXPECT_FAILS(Make()->Check(stop_.get_token()), ErrorCode::kMissingPrivilege);
}

TEST_P(MastodonFamily, AttachmentsPollsAndWarningsShow) {
  const auto image = Say("ann@far.example", "@office@social.example look",
                         {.spoiler_text = "sad news", .images = 2});
  const auto poll = Say("bob", "@office choose", {.poll = true});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.messages.at(image.id).text.Reveal(), "sad news\n\nlook");
  EXPECT_TRUE(collected.messages.at(image.id).has_unsupported_content);
  EXPECT_TRUE(collected.messages.at(poll.id).has_unsupported_content);
}

TEST_P(MastodonFamily, WhatIsOlderThanTheHorizonIsCounted) {
  const TimePoint now = clock_.Now();
  const auto old =
      Say("ann@far.example", "@office@social.example old", {.at = now - hours(24 * 100)});
  Say("ann@far.example", "@office@social.example new",
      {.in_reply_to_id = old.id, .at = now - hours(1)});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"new"}));
  EXPECT_EQ(collected.skipped, 1u);
  Poll(*connector, collected, 3);
  EXPECT_EQ(collected.skipped, 1u);
}

TEST_P(MastodonFamily, NothingOfAMessageStaysInTheCursorPastItsEnd) {
  const auto first = Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::string key = "[\"" + first.id + "\"";
  EXPECT_NE(collected.cursor.value.find(key), std::string::npos);
  clock_.Advance(hours(24 * 90));
  Drain(*connector, collected);
  EXPECT_EQ(collected.cursor.value.find(key), std::string::npos);
  EXPECT_EQ(collected.cursor.value.find("~"), std::string::npos);
}

// ---- on Mastodon itself ----

class MastodonConnector : public ::testing::Test, public Office {
 protected:
  void SetUp() override { StartSimulator({}); }
};

TEST_F(MastodonConnector, OneRefusalWithdrawsNothing) {
  const auto first = Say("bob", "@office first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (int i = 0; i < 2; ++i) {
    sim_->AnswerNext("GET", "/api/v1/statuses", Raw("[]"));
    sim_->AnswerNext("GET", "/api/v1/statuses/" + first.id, Raw("{}", 404));
    Poll(*connector, collected, 2);  // and it is there again
    EXPECT_TRUE(collected.withdrawn.empty());
  }
  ASSERT_OK(sim_->Delete(first.id));
  Poll(*connector, collected, 2);
  EXPECT_EQ(collected.withdrawn.size(), 1u);
}

// A server that lost its data, or hides it, does not empty the inbox.
TEST_F(MastodonConnector, ManyDeletionsAtOnceAreNotBelieved) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  std::vector<std::string> ids;
  for (int i = 0; i < 30; ++i) {
    ids.push_back(Say("bob", "@office text " + std::to_string(i)).id);
  }
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.warning, "");
  for (int i = 0; i < 28; ++i) ASSERT_OK(sim_->Delete(ids[static_cast<std::size_t>(i)]));
  Poll(*connector, collected, 20);
  EXPECT_EQ(collected.withdrawn.size(), 20u);
  EXPECT_EQ(collected.warning, "many-deletions");
  clock_.Advance(hours(2));
  Poll(*connector, collected, 20);
  EXPECT_EQ(collected.withdrawn.size(), 20u);
  EXPECT_EQ(collected.warning, "many-deletions");
  // Whoever restarts the service has looked.
  auto again = Make();
  Poll(*again, collected, 20);
  EXPECT_EQ(collected.withdrawn.size(), 28u);
  EXPECT_EQ(collected.warning, "");
}

TEST_F(MastodonConnector, DeletionsOverManyHoursAreBelieved) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  std::vector<std::string> ids;
  for (int i = 0; i < 30; ++i) {
    ids.push_back(Say("bob", "@office text " + std::to_string(i)).id);
  }
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (const std::string& id : ids) {
    ASSERT_OK(sim_->Delete(id));
    Poll(*connector, collected, 4);
    clock_.Advance(minutes(10));
  }
  EXPECT_EQ(collected.withdrawn.size(), 30u);
  EXPECT_EQ(collected.warning, "");
}

// Without a date nobody could say when it has to go.
TEST_F(MastodonConnector, AMessageWithoutADateIsNotKeptInTheCursor) {
  const std::string list =
      R"([{"id":"3","type":"mention","created_at":"2026-11-22T12:00:00Z","status":{"id":"777",)"
      R"("created_at":"some day","visibility":"direct","content":"undated",)"
      R"("account":{"id":"77","acct":"dan@far.example"},"mentions":[]}}])";
  for (int i = 0; i < 2; ++i) sim_->AnswerNext("GET", "/api/v1/notifications", Raw(list));
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"undated"}));
  EXPECT_EQ(collected.cursor.value.find("777"), std::string::npos);
  // One that an earlier version kept leaves.
  std::string& cursor = collected.cursor.value;
  const std::string nothing = R"("in":[],"watched":[])";
  const std::size_t at = cursor.find(nothing);
  ASSERT_NE(at, std::string::npos);
  cursor.replace(at, nothing.size(), R"("in":["777~77"],"watched":[["777",0,0,0]])");
  Drain(*connector, collected);
  EXPECT_EQ(collected.cursor.value.find("777"), std::string::npos);
  EXPECT_TRUE(collected.withdrawn.empty());
}

// Its id is older than when it can be seen.
TEST_F(MastodonConnector, ANotificationThatIsSeenLateIsFound) {
  auto connector = Make();
  Collected collected;
  const std::string later =
      R"([{"id":"999999","type":"mention","created_at":"2026-11-22T12:00:00Z","status":null}])";
  for (int i = 0; i < 2; ++i) sim_->AnswerNext("GET", "/api/v1/notifications", Raw(later));
  Drain(*connector, collected);
  const auto late = Say("ann@far.example", "@office@social.example late");
  Poll(*connector, collected, 25);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"late"}));
  Poll(*connector, collected, 25);
  EXPECT_EQ(collected.times.at(late.id), 1);
  EXPECT_TRUE(collected.withdrawn.empty());
}

TEST_F(MastodonConnector, FilteredStrangersAreCollectedAndTold) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "filter"));
  Say("ann@far.example", "@office@social.example from a stranger");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"from a stranger"}));
  EXPECT_EQ(collected.warning, "notification-policy-filters");
  // Letting them in brings them up under their old ids, and changes nothing for us.
  ASSERT_OK(sim_->AcceptRequest("office", "ann@far.example"));
  Say("ann@far.example", "@office@social.example and another");
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"from a stranger", "and another"}));
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  Poll(*connector, collected, 12);
  EXPECT_EQ(collected.warning, "");
}

TEST_F(MastodonConnector, APolicyThatDropsIsAMissingPrivilege) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "drop"));
  const auto report = Make()->Check(stop_.get_token());
  ASSERT_OK(report);
  EXPECT_EQ(report->permissions_missing, std::vector<std::string>{"notification-policy-drops"});
  Collected collected;
  auto connector = Make();
  Drain(*connector, collected);
  EXPECT_EQ(collected.warning, "notification-policy-drops");
}

TEST_F(MastodonConnector, WorksWithAServerBefore43) {
  StartSimulator({.before_4_3 = true});
  const auto first = Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.warning, "");
  clock_.Advance(minutes(1));
  ASSERT_OK(sim_->Edit(first.id, "@office@social.example changed"));
  Poll(*connector, collected, 2);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"changed"}));
}

TEST_F(MastodonConnector, TheKeyIsSentAndHonoured) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const OutgoingReply reply = ReplyTo(collected, first.id, "answer");
  const auto once = connector->Send(reply, stop_.get_token());
  const auto twice = connector->Send(reply, stop_.get_token());
  ASSERT_OK(once);
  ASSERT_OK(twice);
  EXPECT_EQ(once->id, twice->id);
  EXPECT_EQ(CountWritten("answer"), 1u);
}

TEST_F(MastodonConnector, ALongTextIsRefusedBeforeItIsSent) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::size_t before = Sends();
  // "@ann " counts as it is shown; an address counts 23.
  const auto longer =
      connector->Send(ReplyTo(collected, first.id, std::string(496, 'x')), stop_.get_token());
  EXPECT_FAILS(longer, ErrorCode::kInvalidArgument);
  EXPECT_EQ(longer.error().field, "/text");
  EXPECT_EQ(Sends(), before);
  ASSERT_OK(
      connector->Send(ReplyTo(collected, first.id, std::string(495, 'x')), stop_.get_token()));
  // A host in another script is longer in bytes than as it is read.
  EXPECT_FAILS(connector->Send(ReplyTo(collected, first.id, "@a@\u65e5\u672c\u8a9e.example"),
                               stop_.get_token()),
               ErrorCode::kAddsRecipient);
  const std::string address = "https://x.example/" + std::string(400, 'y');
  ASSERT_OK(connector->Send(ReplyTo(collected, first.id, address + " " + std::string(471, 'z')),
                            stop_.get_token()));
}

TEST_F(MastodonConnector, AReplyThatWasPublishedOtherwiseIsTold) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.warning, "");
  sim_->AnswerNext("POST", "/api/v1/statuses",
                   Raw(R"({"id":"99","created_at":"2026-11-22T12:00:00Z","visibility":"public",)"
                       R"("content":"","account":{"id":"1","acct":"office"},"mentions":[]})"));
  ASSERT_OK(connector->Send(ReplyTo(collected, first.id, "answer"), stop_.get_token()));
  Drain(*connector, collected);
  EXPECT_EQ(collected.warning, "reply-not-as-asked");
}

TEST_F(MastodonConnector, RateLimitsSayWhenInTheServersWords) {
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  ASSERT_OK(sim_->Inject(PlatformFault::kRateLimited));
  auto page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kRateLimited);
  ASSERT_TRUE(page.error().retry_at.has_value());
  EXPECT_GT(*page.error().retry_at, clock_.Now());
  EXPECT_LE(*page.error().retry_at, clock_.Now() + minutes(5));
  SimulatorResponse odd = Raw("<html>", 429);
  odd.headers = {{"X-RateLimit-Reset", "soon"}, {"Retry-After", "-7"}};
  sim_->AnswerNext("GET", "/api/v1/notifications", odd);
  page = connector->Fetch(After({}), stop_.get_token());
  EXPECT_FAILS(page, ErrorCode::kRateLimited);
  EXPECT_FALSE(page.error().retry_at || page.error().retry_after);
}

TEST_F(MastodonConnector, ARealLimitInTheMiddleOfHistoryLosesNothing) {
  StartSimulator({.requests_per_5_min = 25});
  std::multiset<std::string> expected;
  for (int i = 0; i < 60; ++i) {
    const auto first = Say("bob", "@office text " + std::to_string(i));
    Answer("bob", first.id, "@office more " + std::to_string(i));
    expected.insert("text " + std::to_string(i));
    expected.insert("more " + std::to_string(i));
  }
  auto connector = Make();
  Collected collected;
  int limited = 0;
  for (int i = 0; i < kFetchesMax && !collected.caught_up; ++i) {
    const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
    if (!page) {
      ASSERT_EQ(page.error().code, ErrorCode::kRateLimited);
      ASSERT_TRUE(page.error().retry_at.has_value());
      clock_.Set(std::max(clock_.Now(), *page.error().retry_at));
      ++limited;
      continue;
    }
    collected.Add(*page);
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_GE(limited, 1);
  EXPECT_EQ(collected.Texts(), expected);
}

TEST_F(MastodonConnector, OnePollIsFewCalls) {
  for (int i = 0; i < 30; ++i) Say("bob", "@office text " + std::to_string(i));
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const std::size_t before = sim_->CountRequests();
  Poll(*connector, collected, 10);  // five minutes
  EXPECT_LE(sim_->CountRequests() - before, 10u * 5);
}

TEST_F(MastodonConnector, HostileAnswersAreProtocolErrorsAndPass) {
  Say("ann@far.example", "@office@social.example hello");
  auto connector = Make();
  ASSERT_OK(connector->Check(stop_.get_token()));
  const std::string bodies[] = {
      std::string(200'000, '['),
      R"([{"id":"1","id":"2"}])",
      R"({"error":"x"})",
      R"([{"id":"1","type":"mention","status":{}}])",
      "\xFF\xFE",
      "",
      "null",
      "<!DOCTYPE html>",
  };
  for (const std::string& body : bodies) {
    sim_->AnswerNext("GET", "/api/v1/notifications", Raw(body));
    EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kProtocol);
  }
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"hello"}));
}

TEST_F(MastodonConnector, AThreadThatTheServerCannotShowStopsNothing) {
  const auto first = Say("ann@far.example", "@office@social.example first");
  const auto second = Answer("ann@far.example", first.id, "@office@social.example second");
  for (const SimulatorResponse& answer : {Raw("", 500), Raw("<html>"), Raw("", 503)}) {
    for (const std::string& id : {first.id, second.id}) {
      for (int i = 0; i < 10; ++i) {
        sim_->AnswerNext("GET", "/api/v1/statuses/" + id + "/context", answer);
      }
    }
  }
  auto connector = Make();
  Collected collected;
  for (int i = 0; i < 40 && !collected.caught_up; ++i) {
    const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
    if (page) collected.Add(*page);
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first", "second"}));
  EXPECT_EQ(collected.Conversations().size(), 1u);
}

// More than the link to the core takes in one page.
TEST_F(MastodonConnector, AThreadLargerThanAPageComesInParts) {
  struct Row {
    int count;
    std::size_t text;
    bool in_list;  // of conversations; else only a notification leads to the thread
  };
  for (const Row& row : {Row{2'500, 2, true}, Row{19, 100'000, true}, Row{2'500, 2, false}}) {
    StartSimulator({});
    ASSERT_OK(sim_->SetPrivateMentions("office", row.in_list ? "accept" : "filter"));
    const auto open = Say("bob", "in public", {.visibility = "public"});
    const auto head = Answer("ann@far.example", open.id, "@office@social.example head");
    std::string body = R"({"ancestors":[],"descendants":[)";
    for (int i = 0; i < row.count; ++i) {
      body += std::string(i > 0 ? "," : "") + R"({"id":"9)" + std::to_string(100'000 + i) +
              R"(","created_at":"2026-11-22T12:00:00Z","visibility":"direct","in_reply_to_id":")" +
              head.id + R"(","content":")" + std::string(row.text, 'x') +
              R"(","account":{"id":"77","acct":"dan@far.example"},"mentions":[]})";
    }
    body += "]}";
    ASSERT_LT(body.size(), 2u << 20);
    for (int i = 0; i < 30; ++i) {
      sim_->AnswerNext("GET", "/api/v1/statuses/" + head.id + "/context", Raw(body));
    }
    auto connector = Make();
    Collected collected;
    for (int i = 0; i < 20 && !collected.caught_up; ++i) {
      const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
      ASSERT_OK(page);
      std::size_t bytes = 0;
      for (const PlatformMessage& message : page->messages) bytes += message.text.Reveal().size();
      EXPECT_LE(bytes, (2u << 20) + 200'000);
      EXPECT_LE(page->messages.size(), 1'000u);
      collected.Add(*page);
    }
    EXPECT_TRUE(collected.caught_up);
    EXPECT_EQ(collected.messages.size(), static_cast<std::size_t>(row.count) + 1);
    for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);
  }
}

// Two private threads under one public post do not see each other.
TEST_F(MastodonConnector, WhatIsWrittenBelowAPublicPostIsReadFromItsOwnBranch) {
  const auto open = Say("office", "a question to everybody", {.visibility = "public"});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto from_ann = Answer("ann@far.example", open.id, "@office@social.example from ann");
  Drain(*connector, collected);
  const auto from_bob = Answer("bob", open.id, "@office from bob");
  Drain(*connector, collected);
  const auto one = Answer("office", from_bob.id, "@bob one");
  const auto two = Answer("office", from_bob.id, "@bob two");
  Drain(*connector, collected);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"from ann", "from bob", "one", "two"}));
  EXPECT_EQ(collected.Conversations().size(), 2u);
  EXPECT_EQ(collected.messages.at(one.id).conversation, collected.messages.at(two.id).conversation);
}

// Branches stay together below the topmost message that is left.
TEST_F(MastodonConnector, ABranchIsFoundWhenTheTopOfItsThreadIsGone) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  const auto top = Say("ann@far.example", "@office@social.example top");
  const auto next = Answer("ann@far.example", top.id, "@office@social.example next");
  const auto last = Answer("ann@far.example", next.id, "@office@social.example last");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  ASSERT_OK(sim_->Delete(top.id));
  const auto branch = Answer("office", next.id, "@ann@far.example a branch");
  Answer("office", last.id, "@ann@far.example and the end");
  Poll(*connector, collected, 3);
  EXPECT_TRUE(collected.messages.contains(branch.id));
  EXPECT_EQ(collected.Conversations().size(), 1u);
}

TEST_F(MastodonConnector, AThreadThatIsGivenUpIsAHole) {
  ASSERT_OK(sim_->SetPrivateMentions("office", "accept"));
  const auto first = Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto second = Answer("ann@far.example", first.id, "@office@social.example second");
  for (const std::string& id : {first.id, second.id}) {
    sim_->AnswerNext("GET", "/api/v1/statuses/" + id + "/context", Raw(std::string(kTooMuch, ' ')));
  }
  Drain(*connector, collected);
  EXPECT_EQ(collected.messages.size(), 2u);
  EXPECT_EQ(collected.gaps, 1);
}

// A server that fails at a parent, too, stops nothing.
TEST_F(MastodonConnector, AParentThatTheServerCannotShowStopsNothing) {
  const auto open = Say("bob", "in public", {.visibility = "public"});
  const auto first = Answer("ann@far.example", open.id, "@office@social.example first");
  for (int i = 0; i < 50; ++i) {
    sim_->AnswerNext("GET", "/api/v1/statuses/" + first.id + "/context", Raw("", 500));
    sim_->AnswerNext("GET", "/api/v1/statuses/" + open.id, Raw("", i % 2 == 0 ? 500 : 403));
  }
  auto connector = Make();
  Collected collected;
  for (int i = 0; i < 20 && !collected.caught_up; ++i) {
    const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
    if (page) collected.Add(*page);
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first"}));
}

// What stood around a message in a page that was lost comes again with it.
TEST_F(MastodonConnector, APageThatWasLostIsReadAgainWithItsThread) {
  const auto first = Say("ann@far.example", "@office@social.example question");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto ours = Answer("office", first.id, "@ann@far.example from the app");
  Answer("ann@far.example", ours.id, "@office@social.example thanks");
  // As if its entry had been removed in the app: notifications are all that there is.
  for (int i = 0; i < 4; ++i) sim_->AnswerNext("GET", "/api/v1/conversations", Raw("[]"));
  const auto lost = connector->Fetch(After(collected.cursor), stop_.get_token());
  ASSERT_OK(lost);
  EXPECT_EQ(lost->messages.size(), 2u);
  Drain(*connector, collected);
  EXPECT_TRUE(collected.messages.contains(ours.id));
}

// One page is too large; fewer entries at a time are not.
TEST_F(MastodonConnector, APageThatIsTooLargeIsAskedForInSmallerOnes) {
  Say("bob", "@office first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  for (int i = 0; i < 30; ++i) Say("bob", "@office text " + std::to_string(i));
  for (const char* path : {"/api/v1/notifications", "/api/v1/conversations"}) {
    sim_->AnswerNext("GET", path, Raw(std::string(kTooMuch, ' ')));
    sim_->AnswerNext("GET", path, Raw(std::string(kTooMuch, ' ')));
  }
  Drain(*connector, collected);
  EXPECT_EQ(collected.messages.size(), 31u);
  EXPECT_EQ(collected.gaps, 0);
  for (const auto& [id, times] : collected.times) EXPECT_EQ(times, 1);
}

TEST_F(MastodonConnector, AnEntryThatIsTooLargeIsAHoleAndStopsNothing) {
  Say("bob", "@office first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  const auto huge = [&](int times) {
    for (int i = 0; i < times; ++i) {
      sim_->AnswerNext("GET", "/api/v1/notifications", Raw(std::string(kTooMuch, ' ')));
    }
  };
  // The newest one: at each of four sizes of a page, behind the position and from the top.
  for (int i = 0; i < 2; ++i) {
    huge(8);
    EXPECT_FAILS(connector->Fetch(After(collected.cursor), stop_.get_token()),
                 ErrorCode::kProtocol);
  }
  // Then something newer stands above it, and is read from there down to it.
  const std::string newer =
      R"([{"id":"999999","type":"mention","created_at":"2026-11-22T12:00:00Z","status":)"
      R"({"id":"999999999999999999","created_at":"2026-11-22T12:00:00Z","visibility":"direct",)"
      R"("content":"newer","account":{"id":"77","acct":"dan@far.example"},"mentions":[]}}])";
  huge(4);
  sim_->AnswerNext("GET", "/api/v1/notifications", Raw(newer));
  sim_->AnswerNext("GET", "/api/v1/notifications", Raw(newer));
  huge(4);
  Drain(*connector, collected);
  EXPECT_TRUE(collected.messages.contains("999999999999999999"));
  EXPECT_EQ(collected.gaps, 1);
  EXPECT_TRUE(collected.history_complete);
}

TEST_F(MastodonConnector, AListThatFailsIsNotAskedForWithoutAPause) {
  Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  sim_->AnswerNext("GET", "/api/v1/conversations", Raw("", 502));
  EXPECT_FAILS(connector->Fetch(After(collected.cursor), stop_.get_token()),
               ErrorCode::kPlatformUnavailable);
  Drain(*connector, collected);
}

TEST_F(MastodonConnector, AStatusThatTheServerCannotShowStopsNoPoll) {
  StartSimulator({.before_4_3 = true});
  const auto first = Say("ann@far.example", "@office@social.example first");
  auto connector = Make();
  for (int i = 0; i < 100; ++i) {
    sim_->AnswerNext("GET", "/api/v1/statuses/" + first.id, Raw("", 500));
  }
  Collected collected;
  int failed = 0;
  for (int i = 0; i < 10 && !collected.caught_up; ++i) {
    const auto page = connector->Fetch(After(collected.cursor), stop_.get_token());
    if (page) {
      collected.Add(*page);
    } else {
      ++failed;
    }
  }
  EXPECT_TRUE(collected.caught_up);
  EXPECT_GT(failed, 0);
  EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"first"}));
}

// As snac itself writes it: people who are mentioned are numbered from 0, and we are not among
// them.
TEST_F(MastodonConnector, PeopleOnSnacAreTheirAddresses) {
  StartSimulator({.flavour = MastodonFlavour::kSnac});
  const auto notification = [](const std::string& id, const std::string& author,
                               const std::string& mentions) {
    return R"({"id":")" + id + R"(","type":"mention","created_at":"2026-11-22T11:00:00.000Z",)" +
           R"("status":{"id":"17638092)" + id + R"(abc","created_at":"2026-11-22T11:00:00.000Z",)" +
           R"("visibility":"private","in_reply_to_id":null,"content":"text )" + id +
           R"(","account":{"id":"d41d8cd98f00b204e9800998ecf8427)" + id + R"(","acct":")" + author +
           R"(@far.example","url":"https://far.example/)" + author + R"("},"mentions":[)" +
           mentions + "]}}";
  };
  const std::string cleo =
      R"({"id":"0","acct":"cleo@other.example","url":"https://other.example/cleo"})";
  const std::string dan =
      R"({"id":"0","acct":"dan@other.example","url":"https://other.example/dan"})";
  const std::string list = "[" + notification("3", "ann", "") + "," +
                           notification("2", "ann", cleo) + "," + notification("1", "ann", dan) +
                           "]";
  for (int i = 0; i < 3; ++i) sim_->AnswerNext("GET", "/api/v1/notifications", Raw(list));
  for (const char* id : {"1", "2", "3"}) {
    sim_->AnswerNext("GET", "/api/v1/statuses/17638092" + std::string(id) + "abc/context",
                     Raw(R"({"ancestors":[],"descendants":[]})"));
  }
  auto connector = Make();
  const auto page = connector->Fetch(After({}), stop_.get_token());
  ASSERT_OK(page);
  Collected collected;
  collected.Add(*page);
  EXPECT_EQ(collected.messages.size(), 3u);
  EXPECT_EQ(collected.Conversations().size(), 3u);
  std::set<std::string> people;
  for (const auto& [id, conversation] : collected.conversations) {
    for (const Contact& contact : conversation.participants) {
      people.insert(contact.platform_id.Reveal());
    }
  }
  EXPECT_EQ(people, (std::set<std::string>{"https://far.example/ann", "https://other.example/cleo",
                                           "https://other.example/dan"}));
}

TEST_F(MastodonConnector, AStrangersHtmlIsText) {
  const auto posted =
      Say("ann@far.example", "x",
          {.html = "<p><a href=\"https://social.example/@office\" class=\"u-url mention\">@<span>"
                   "office</span></a> see <a href=\"https://evil.example/x\">my bank</a><br>"
                   "line<script>alert(1)</script></p>",
           .mentions = {"office"}});
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);
  EXPECT_EQ(collected.messages.at(posted.id).text.Reveal(),
            "see my bank <https://evil.example/x>\nline");
}

TEST_F(MastodonConnector, ACursorThatIsNotOursIsAPositionLost) {
  Say("bob", "@office hello");
  auto connector = Make();
  for (const std::string& value : {std::string("{}"), std::string("junk"),
                                   std::string(R"({"v":2})"), std::string(20'000, 'x')}) {
    Collected collected;
    collected.cursor.value = value;
    Drain(*connector, collected);
    EXPECT_EQ(collected.lost, 1);
    EXPECT_EQ(collected.Texts(), (std::multiset<std::string>{"hello"}));
  }
}

TEST_F(MastodonConnector, TheCursorStaysSmallWithManyConversations) {
  for (int i = 0; i < 180; ++i) {
    const std::string acct = "person" + std::to_string(i) + "@far.example";
    sim_->AddAccount(acct);
    Say(acct, "@office@social.example hello");
  }
  auto connector = Make();
  Collected collected;
  Drain(*connector, collected);  // Collected looks at each cursor
  EXPECT_EQ(collected.messages.size(), 180u);
}

TEST_F(MastodonConnector, StopIsObeyedBeforeAnyCall) {
  auto connector = Make();
  stop_.request_stop();
  EXPECT_FAILS(connector->Fetch(After({}), stop_.get_token()), ErrorCode::kCancelled);
  EXPECT_FAILS(connector->Check(stop_.get_token()), ErrorCode::kCancelled);
  EXPECT_EQ(sim_->CountRequests(), 0u);
}

TEST_F(MastodonConnector, BadOptionsAreNamed) {
  const auto field = [&](const std::function<void(ConnectorContext&)>& change) {
    ConnectorContext context = Context();
    change(context);
    const auto made = mastodon::Make(context);
    EXPECT_FALSE(made.has_value());
    if (made) return std::string("accepted");
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    return made.error().field;
  };
  EXPECT_EQ(field([](auto& c) { c.options["server"] = "ftp://social.example"; }), "server");
  EXPECT_EQ(field([](auto& c) { c.options["server"] = "http://social.example"; }), "server");
  EXPECT_EQ(field([](auto& c) { c.options["server"] = "social.example"; }), "server");
  EXPECT_EQ(field([](auto& c) { c.options.erase("server"); }), "server");
  EXPECT_EQ(field([](auto& c) { c.options["colour"] = "blue"; }), "colour");
  EXPECT_EQ(field([](auto& c) { c.credential = Credential(""); }), "access_token");
  EXPECT_EQ(field([](auto& c) { c.credential = Credential(R"({"access_token":"a b"})"); }),
            "access_token");
  EXPECT_EQ(sim_->CountRequests(), 0u);
}

}  // namespace
}  // namespace mayfly::connectors
