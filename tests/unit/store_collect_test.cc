// Collecting and reading, on both engines.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/keys/seal.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using store::Family;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

std::vector<std::string> TextsOf(const std::vector<Message>& messages) {
  std::vector<std::string> texts;
  for (const Message& message : messages) texts.push_back(message.text.Reveal());
  return texts;
}

class StoreCollect : public ::testing::TestWithParam<EngineKind> {
 protected:
  StoreCollect() : store_(GetParam()), account_(Connect(*store_, kNow)) {}

  store::CollectOutcome Collect(std::vector<store::CollectedMessage> messages,
                                TimePoint now = kNow) {
    return Must(store_->collection().Collect(PageOf(account_.id, std::move(messages)), now));
  }
  std::size_t Edit(std::vector<store::CollectedEdit> edits, TimePoint now = kNow) {
    auto page = PageOf(account_.id, {});
    page.edits = std::move(edits);
    return Must(store_->collection().Collect(page, now)).edited;
  }
  static store::CollectedEdit EditOf(const std::string& id, std::optional<TimePoint> edited_at,
                                     const std::string& text) {
    return {.conversation = PlatformId("anna"),
            .id = PlatformId(id),
            .edited_at = edited_at,
            .text = MessageBody(text)};
  }
  // All rows of all dates, as they lie in the engine.
  std::vector<std::pair<std::string, std::string>> AllRows() {
    std::vector<std::pair<std::string, std::string>> all;
    for (const Family family : store_.engine().Families(Family::Kind::kDay)) {
      for (const char kind : std::string("mdshkcioqyb")) {
        for (auto& row : store_.Rows(family, kind)) {
          all.emplace_back(family.Name() + row.first, std::move(row.second));
        }
      }
    }
    return all;
  }
  Message Only(TimePoint now) {
    const auto inbox = Inbox(*store_, now);
    if (inbox.size() != 1) throw std::runtime_error("one conversation was expected");
    const auto thread = Thread(*store_, inbox.front().id, now);
    if (thread.size() != 1) throw std::runtime_error("one message was expected");
    return thread.front();
  }

  TempStore store_;
  Account account_;
};
INSTANTIATE_TEST_SUITE_P(, StoreCollect,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb), KindName);

TEST_P(StoreCollect, AMessageIsReadFromInboxToItsText) {
  const TimePoint sent = kNow - minutes(3);
  const auto outcome = Collect({Incoming("anna", "m1", sent, "Where do I send form 12?")});
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(outcome.duplicates, 0u);

  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(1));
  const Conversation& conversation = inbox.front();
  EXPECT_TRUE(conversation.unread);
  EXPECT_EQ(conversation.status, ConversationStatus::kOpen);
  EXPECT_EQ(conversation.account, account_.id);
  EXPECT_EQ(conversation.platform_id, PlatformId("anna"));
  EXPECT_EQ(conversation.last_activity_at, sent);
  EXPECT_EQ(conversation.expires_at, At("2026-06-05T00:00:00.000Z"));
  ASSERT_THAT(conversation.participants, SizeIs(1));
  EXPECT_EQ(conversation.participants.front().handle, ContactHandle("anna.example"));

  const auto thread = Thread(*store_, conversation.id, kNow);
  ASSERT_THAT(thread, SizeIs(1));
  EXPECT_EQ(thread.front().id, conversation.last_message);
  const auto look = LookAt(*store_, conversation.id, kNow);
  const Message message = Must(store_->conversations().GetMessage(look, thread.front().id, kNow));
  EXPECT_EQ(message.text, MessageBody("Where do I send form 12?"));
  EXPECT_EQ(message.sender_handle, ContactHandle("anna.example"));
  EXPECT_EQ(message.sender_name, ContactHandle("Name of anna"));
  EXPECT_EQ(message.platform_id, PlatformId("m1"));
  EXPECT_EQ(message.sent_at, sent);
  EXPECT_EQ(message.received_at, kNow);
  EXPECT_EQ(message.expires_at, conversation.expires_at);
  EXPECT_EQ(message.direction, Direction::kIncoming);
  EXPECT_EQ(Must(store_->conversations().ConversationOf(message.id, kNow)), conversation.id);
  EXPECT_TRUE(Must(store_->conversations().Exists(conversation.id, kNow)));
  EXPECT_FALSE(Must(store_->conversations().Exists(ConversationId::Random(), kNow)));
}

TEST_P(StoreCollect, CursorAndCoverageComeWithTheMessages) {
  EXPECT_EQ(Must(store_->collection().Cursor(account_.id)), "");
  auto page = PageOf(account_.id, {Incoming("anna", "m1", kNow)});
  page.cursor = "after-m1";
  page.coverage.covered_from = kNow - days(2);
  page.coverage.covered_until = kNow;
  page.coverage.unreadable = 3;
  page.coverage.holes.push_back({.from = kNow - hours(3),
                                 .until = kNow - hours(2),
                                 .reason = "worker-down",
                                 .fillable = false,
                                 .filled_at = std::nullopt});
  Must(store_->collection().Collect(page, kNow));
  store_.Reopen();
  EXPECT_EQ(Must(store_->collection().Cursor(account_.id)), "after-m1");
  const Coverage coverage = Must(store_->collection().Coverage(account_.id));
  EXPECT_EQ(coverage.covered_from, page.coverage.covered_from);
  EXPECT_EQ(coverage.covered_until, page.coverage.covered_until);
  EXPECT_EQ(coverage.unreadable, 3u);
  EXPECT_EQ(coverage.holes, page.coverage.holes);
  EXPECT_EQ(FailureOf(store_->collection().Cursor(AccountId{99})), ErrorCode::kNotFound);
}

TEST_P(StoreCollect, TheSamePageTwiceStoresOnce) {
  const auto messages = std::vector{Incoming("anna", "m1", kNow - hours(1), "one"),
                                    Incoming("anna", "m2", kNow - minutes(1), "two"),
                                    Incoming("anna", "m1", kNow - hours(1), "one")};
  EXPECT_EQ(Collect(messages).stored, 2u);
  const auto again = Collect(messages, kNow + minutes(1));
  EXPECT_EQ(again.stored, 0u);
  EXPECT_EQ(again.duplicates, 3u);
  store_.Reopen();
  EXPECT_EQ(Collect(messages, kNow + minutes(2)).duplicates, 3u);
  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(1));
  EXPECT_THAT(TextsOf(Thread(*store_, inbox.front().id, kNow)), ElementsAre("two", "one"));
  EXPECT_EQ(inbox.front().revision, 1u) << "a repeated page changes nothing";
}

TEST_P(StoreCollect, HiddenAtItsExpiryOnEveryPathBeforeAnyPurge) {
  Collect({Incoming("anna", "m1", kNow)});
  const Message message = Only(kNow);
  const TimePoint last = message.expires_at - milliseconds(1);
  const TimePoint end = message.expires_at;
  const auto look = LookAt(*store_, message.conversation, kNow);
  auto& conversations = store_->conversations();

  EXPECT_THAT(Inbox(*store_, last), SizeIs(1));
  EXPECT_TRUE(conversations.GetMessage(look, message.id, last));
  EXPECT_TRUE(conversations.Get(look, message.conversation, last));

  EXPECT_THAT(Inbox(*store_, end), IsEmpty());
  EXPECT_EQ(FailureOf(conversations.GetMessage(look, message.id, end)), ErrorCode::kExpired);
  EXPECT_EQ(FailureOf(conversations.ConversationOf(message.id, end)), ErrorCode::kExpired);
  EXPECT_EQ(FailureOf(conversations.Get(look, message.conversation, end)), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(conversations.Messages(look, message.conversation, "", 10, end)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(conversations.Update(message.conversation, {.unread = false}, std::nullopt,
                                           Officer(), end)),
            ErrorCode::kNotFound);
  EXPECT_FALSE(Must(conversations.Exists(message.conversation, end)));
  EXPECT_EQ(FailureOf(store_->outbox().Enqueue({.conversation = message.conversation,
                                                .after_message = message.id,
                                                .text = MessageBody("late"),
                                                .idempotency_key = "k"},
                                               Officer(), end)),
            ErrorCode::kExpired);
  EXPECT_FALSE(Must(store_->outbox().IsSomethingElse(
      message.platform_id, {.account = account_.id, .send_started_at = end}, end)));
}

TEST_P(StoreCollect, AnIdWhoseDateHasComeIsExpiredWhetherOrNotItEverWas) {
  const auto look = Must(store_->audit().LookAtInbox(Officer(), kNow));
  auto& conversations = store_->conversations();
  const MessageId past{std::chrono::floor<days>(kNow), {}};
  const MessageId never{std::chrono::floor<days>(kNow) + days(1), {}};
  const std::uint64_t gets = store_.engine().gets();
  EXPECT_EQ(FailureOf(conversations.GetMessage(look, past, kNow)), ErrorCode::kExpired);
  EXPECT_EQ(store_.engine().gets(), gets) << "the date alone answers";
  EXPECT_EQ(FailureOf(conversations.GetMessage(look, never, kNow)), ErrorCode::kNotFound);
}

TEST_P(StoreCollect, PastTheHorizonIsCountedAndNotStored) {
  const auto outcome = Collect({Incoming("anna", "old", At("2025-12-04T23:00:00.000Z")),
                                Incoming("anna", "ancient", At("1970-01-01T00:00:00.000Z")),
                                Incoming("anna", "young", At("2025-12-06T00:00:00.000Z"))});
  EXPECT_EQ(outcome.past_horizon, 2u);
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(Only(kNow).platform_id, PlatformId("young"));
  EXPECT_LE(Must(store_->collection().Horizon(account_.id, kNow)), At("2025-12-06T00:00:00.000Z"));
}

TEST_P(StoreCollect, ALateMessageTakesItsPlaceInTheThread) {
  Collect({Incoming("anna", "m1", kNow - days(20), "first"),
           Incoming("anna", "m3", kNow - days(1), "third")});
  Collect({Incoming("anna", "m2", kNow - days(10), "second")}, kNow + minutes(5));
  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(1));
  EXPECT_EQ(inbox.front().last_activity_at, kNow - days(1));
  const auto thread = Thread(*store_, inbox.front().id, kNow, 1);
  EXPECT_THAT(TextsOf(thread), ElementsAre("third", "second", "first"));
  EXPECT_EQ(inbox.front().last_message, thread.front().id);
  EXPECT_GT(thread[1].sequence, thread[0].sequence) << "arrival order is another order";
}

TEST_P(StoreCollect, AFutureMessageLivesFromFirstSeenAndOnlyOnce) {
  const TimePoint claimed = kNow + days(30);
  const auto outcome = Collect({Incoming("anna", "m1", claimed, "from tomorrow")});
  EXPECT_EQ(outcome.future, 1u);
  EXPECT_EQ(outcome.stored, 1u);
  const Message message = Only(kNow);
  EXPECT_EQ(message.expires_at, At("2026-06-05T00:00:00.000Z"));
  EXPECT_EQ(message.sent_at, claimed);
  EXPECT_EQ(Inbox(*store_, kNow).front().last_activity_at, kNow);

  // While it lives, under whatever time it is served: nothing new.
  EXPECT_EQ(Collect({Incoming("anna", "m1", claimed)}, kNow + days(1)).duplicates, 1u);
  EXPECT_EQ(Collect({Incoming("anna", "m1", claimed)}, claimed + hours(1)).duplicates, 1u);
  EXPECT_EQ(Collect({Incoming("anna", "m1", claimed + days(9))}, kNow + days(2)).duplicates, 1u);

  // After its end the claimed time still lies within the horizon. No second life.
  const TimePoint after_end = message.expires_at + hours(1);
  Must(store_->purge().RunOnce(after_end));
  store_.Reopen();
  const auto again = Collect({Incoming("anna", "m1", claimed)}, after_end);
  EXPECT_EQ(again.stored, 0u);
  EXPECT_EQ(again.duplicates, 1u);
  // The fingerprint goes once the claimed time itself is past the horizon.
  const TimePoint forgotten = claimed + days(100);
  Must(store_->purge().RunOnce(forgotten));
  EXPECT_THAT(store_.Rows(Family::Sys(), 'f'), IsEmpty());
  const auto much_later = Collect({Incoming("anna", "m1", claimed)}, forgotten);
  EXPECT_EQ(much_later.stored, 0u);
  EXPECT_EQ(much_later.past_horizon, 1u);
}

TEST_P(StoreCollect, AnUndatedMessageLivesFromFirstSeenAndOnlyOnce) {
  EXPECT_EQ(Collect({Incoming("anna", "m1", std::nullopt)}).stored, 1u);
  const Message message = Only(kNow);
  EXPECT_EQ(message.sent_at, kNow);
  EXPECT_EQ(message.received_at, kNow);
  EXPECT_EQ(Collect({Incoming("anna", "m1", std::nullopt)}, kNow + days(3)).duplicates, 1u);
  EXPECT_EQ(Collect({Incoming("anna", "m1", kNow + days(2))}, kNow + days(3)).duplicates, 1u)
      << "dated later on";
  const TimePoint after_end = message.expires_at + days(40);
  Must(store_->purge().RunOnce(after_end));
  const auto again = Collect({Incoming("anna", "m1", std::nullopt)}, after_end);
  EXPECT_EQ(again.stored, 0u);
  EXPECT_EQ(again.duplicates, 1u);
  Must(store_->accounts().Retire(account_.id, std::nullopt, Officer(), after_end));
  EXPECT_THAT(store_.Rows(Family::Sys(), 'f'), IsEmpty()) << "kept as long as the account";
}

TEST_P(StoreCollect, WhatWasForgottenStaysForgottenUnderALongerPeriod) {
  Account brief = Connect(*store_, kNow, "P7D");
  Must(store_->collection().Collect(PageOf(brief.id, {Incoming("bert", "b1", kNow)}), kNow));
  const TimePoint after = kNow + days(8);
  const auto receipts = Must(store_->purge().RunOnce(after));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts.front().messages, 1u);
  const Account known = Must(store_->accounts().Get(brief.id));
  ASSERT_TRUE(known.forgotten_until);
  EXPECT_EQ(*known.forgotten_until, kNow);
  EXPECT_GE(Must(store_->collection().Horizon(brief.id, after)), kNow);
  store_.Reopen();
  EXPECT_EQ(Must(store_->accounts().Get(brief.id)).forgotten_until, kNow);
  EXPECT_EQ(Must(store_->accounts().Get(account_.id)).forgotten_until, std::nullopt);
}

TEST_P(StoreCollect, AChangeOfTheZoneDoesNotStoreTwice) {
  // An instant that the two rules end on different dates.
  const RetentionRule changed{.zone = Must(Zone::Load("Pacific/Auckland"))};
  TimePoint sent = kNow;
  while (ExpiryDayOf(sent, changed) == ExpiryDayOf(sent, {}) && sent < kNow + days(400)) {
    sent += hours(1);
  }
  ASSERT_NE(ExpiryDayOf(sent, changed), ExpiryDayOf(sent, {}));
  const TimePoint now = sent + hours(1);
  Collect({Incoming("anna", "m1", sent)}, now);
  const ExpiryDay first_day = Only(now).id.day;
  store_.options().zone = changed.zone;
  store_.Reopen();
  EXPECT_EQ(Collect({Incoming("anna", "m1", sent)}, now + hours(1)).duplicates, 1u);
  EXPECT_EQ(Only(now).id.day, first_day);
}

TEST_P(StoreCollect, HeadsContactsAndInboxRowsMoveToTheLaterDate) {
  Collect({Incoming("anna", "m1", kNow)});
  const Family first = Family::Day(DayAt("2026-06-05"));
  const Family second = Family::Day(DayAt("2026-06-06"));
  for (const char kind : {'h', 'k', 'i', 'c', 's', 'm', 'd', 'b'}) {
    EXPECT_THAT(store_.Rows(first, kind), SizeIs(1)) << kind;
  }
  const ConversationId id = Inbox(*store_, kNow).front().id;

  const TimePoint next_day = kNow + days(1);
  Collect({Incoming("anna", "m2", next_day)}, next_day);
  for (const char kind : {'h', 'k', 'i', 'c'}) {
    EXPECT_THAT(store_.Rows(first, kind), IsEmpty()) << kind;
    EXPECT_THAT(store_.Rows(second, kind), SizeIs(1)) << kind;
  }
  for (const char kind : {'m', 'd', 's', 'b'}) {
    EXPECT_THAT(store_.Rows(first, kind), SizeIs(1)) << kind;
    EXPECT_THAT(store_.Rows(second, kind), SizeIs(1)) << kind;
  }
  const auto inbox = Inbox(*store_, next_day);
  ASSERT_THAT(inbox, SizeIs(1));
  EXPECT_EQ(inbox.front().id, id);
  EXPECT_EQ(inbox.front().revision, 2u);
  EXPECT_EQ(inbox.front().participants.front().handle, ContactHandle("anna.example"));

  // The first date ends; the conversation lives on with what is left.
  const TimePoint end = StartOf(first.day());
  Must(store_->purge().RunOnce(end));
  store_.Reopen();
  const auto left = Inbox(*store_, end);
  ASSERT_THAT(left, SizeIs(1));
  const auto thread = Thread(*store_, id, end);
  ASSERT_THAT(thread, SizeIs(1));
  EXPECT_EQ(thread.front().platform_id, PlatformId("m2"));
  EXPECT_EQ(thread.front().sender_handle, ContactHandle("anna.example"));
}

TEST_P(StoreCollect, WhoReturnsAfterEverythingExpiredGetsANewId) {
  Collect({Incoming("anna", "m1", kNow)});
  const ConversationId before = Inbox(*store_, kNow).front().id;
  const TimePoint later = kNow + days(100);
  // Without a purge first: invisible is enough.
  Collect({Incoming("anna", "m9", later)}, later);
  const auto inbox = Inbox(*store_, later);
  ASSERT_THAT(inbox, SizeIs(1));
  EXPECT_NE(inbox.front().id, before);
}

TEST_P(StoreCollect, OneContactInTwoConversationsKeepsItsNameInBoth) {
  auto one = Incoming("direct", "m1", kNow - days(2));
  auto two = Incoming("other", "m2", kNow - days(1));
  two.sender = one.sender;
  auto page = PageOf(account_.id, {one, two});
  page.conversations[1].participants = page.conversations[0].participants;
  Must(store_->collection().Collect(page, kNow));
  // Both heads move; each move takes the contact along.
  auto three = Incoming("direct", "m3", kNow + days(1));
  Collect({three}, kNow + days(1));
  for (const Conversation& conversation : Inbox(*store_, kNow + days(1))) {
    ASSERT_THAT(conversation.participants, SizeIs(1));
    EXPECT_EQ(conversation.participants.front().handle, ContactHandle("direct.example"));
  }
}

TEST_P(StoreCollect, AnOutgoingMessageDoesNotMakeUnread) {
  Collect({Incoming("anna", "m1", kNow - hours(2))});
  const ConversationId id = Inbox(*store_, kNow).front().id;
  Must(store_->conversations().Update(id, {.status = ConversationStatus::kClosed, .unread = false},
                                      std::nullopt, Officer(), kNow));
  Collect({Outgoing("anna", "m2", kNow - hours(1))}, kNow);
  auto conversation = Inbox(*store_, kNow).front();
  EXPECT_FALSE(conversation.unread);
  EXPECT_EQ(conversation.status, ConversationStatus::kClosed);
  EXPECT_EQ(Thread(*store_, id, kNow).front().sender_handle, ContactHandle("press.example"));
  // An incoming one opens it again.
  Collect({Incoming("anna", "m3", kNow)}, kNow);
  conversation = Inbox(*store_, kNow).front();
  EXPECT_TRUE(conversation.unread);
  EXPECT_EQ(conversation.status, ConversationStatus::kOpen);
}

TEST_P(StoreCollect, HistoryIsStoredAndNeverUnread) {
  auto page = PageOf(account_.id, {Incoming("anna", "m1", kNow - days(5))});
  page.backfilled = true;
  Must(store_->collection().Collect(page, kNow));
  EXPECT_FALSE(Inbox(*store_, kNow).front().unread);
  EXPECT_TRUE(Only(kNow).backfilled);
}

TEST_P(StoreCollect, AStubKeepsItsTimeAndNoText) {
  auto message = Incoming("anna", "m1", kNow, "must not be stored");
  message.unreadable = UnreadableReason::kEncrypted;
  EXPECT_EQ(Collect({message}).unreadable, 1u);
  const Message stub = Only(kNow);
  EXPECT_EQ(stub.unreadable, UnreadableReason::kEncrypted);
  EXPECT_TRUE(stub.text.empty());
}

TEST_P(StoreCollect, AWithdrawnMessageIsGoneAtOnceAndForGood) {
  Collect({Incoming("anna", "m1", kNow - hours(3), "stays"),
           Incoming("anna", "m2", kNow - hours(2), "taken back")});
  const ConversationId id = Inbox(*store_, kNow).front().id;
  const auto before = Thread(*store_, id, kNow);
  auto page = PageOf(account_.id, {});
  page.withdrawals.push_back({PlatformId("anna"), PlatformId("m2")});
  page.withdrawals.push_back({PlatformId("anna"), PlatformId("never-seen")});
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).withdrawn, 1u);

  const auto look = LookAt(*store_, id, kNow);
  EXPECT_EQ(FailureOf(store_->conversations().GetMessage(look, before.front().id, kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(store_->conversations().ConversationOf(before.front().id, kNow)),
            ErrorCode::kNotFound);
  EXPECT_THAT(TextsOf(Thread(*store_, id, kNow, 1)), ElementsAre("stays"));
  auto conversation = Must(store_->conversations().Get(look, id, kNow));
  EXPECT_EQ(conversation.last_message, before.back().id);
  EXPECT_EQ(conversation.last_activity_at, kNow - hours(3));

  // Served again, it is not new; withdrawn again, nothing happens.
  EXPECT_EQ(Collect({Incoming("anna", "m2", kNow - hours(2), "taken back")}).duplicates, 1u);
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).withdrawn, 0u);
  EXPECT_THAT(TextsOf(Thread(*store_, id, kNow)), ElementsAre("stays"));

  // The last one goes too: an empty thread, no last message.
  page.withdrawals = {{PlatformId("anna"), PlatformId("m1")}};
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).withdrawn, 1u);
  EXPECT_THAT(Thread(*store_, id, kNow), IsEmpty());
  conversation = Must(store_->conversations().Get(look, id, kNow));
  EXPECT_EQ(conversation.last_message, std::nullopt);
}

TEST_P(StoreCollect, WrittenAndWithdrawnInOnePageLeavesOnlyATombstone) {
  auto page = PageOf(account_.id, {Incoming("anna", "m1", kNow - hours(1), "stays"),
                                   Incoming("anna", "m2", kNow, "taken back"),
                                   Incoming("bert", "m3", kNow, "taken back too")});
  page.withdrawals = {{PlatformId("anna"), PlatformId("m2")},
                      {PlatformId("bert"), PlatformId("m3")}};
  const auto outcome = Must(store_->collection().Collect(page, kNow));
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(outcome.withdrawn, 2u);
  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(1)) << "a conversation of nothing but withdrawn messages is not made";
  EXPECT_EQ(inbox.front().last_activity_at, kNow - hours(1));
  EXPECT_THAT(TextsOf(Thread(*store_, inbox.front().id, kNow)), ElementsAre("stays"));
  page.withdrawals.clear();
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).duplicates, 3u);
}

TEST_P(StoreCollect, AnEditChangesTheTextAndNothingElse) {
  Collect({Incoming("anna", "m1", kNow - hours(30), "frist"),
           Incoming("anna", "m2", kNow - hours(2), "second"), Incoming("bert", "m3", kNow)});
  const auto inbox = Inbox(*store_, kNow);
  const ConversationId id = inbox.back().id;
  Must(store_->conversations().Update(id, {.status = std::nullopt, .unread = false}, std::nullopt,
                                      Officer(), kNow));
  const auto look = LookAt(*store_, id, kNow);
  const auto before = Must(store_->conversations().Get(look, id, kNow));
  const auto thread_before = Thread(*store_, id, kNow);
  const auto rows_before = AllRows();

  const TimePoint edited_at = kNow - minutes(5);
  EXPECT_EQ(Edit({EditOf("m1", edited_at, "first")}, kNow + minutes(1)), 1u);
  const auto thread = Thread(*store_, id, kNow + minutes(1));
  EXPECT_THAT(TextsOf(thread), ElementsAre("second", "first"));
  const Message& edited = thread.back();
  const Message& was = thread_before.back();
  EXPECT_EQ(edited.edited_at, edited_at);
  EXPECT_EQ(was.edited_at, std::nullopt);
  EXPECT_EQ(thread.front().edited_at, std::nullopt);
  EXPECT_EQ(edited.id, was.id);
  EXPECT_EQ(edited.sent_at, was.sent_at);
  EXPECT_EQ(edited.received_at, was.received_at);
  EXPECT_EQ(edited.expires_at, was.expires_at);
  EXPECT_EQ(edited.sequence, was.sequence);
  EXPECT_EQ(edited.platform_id, was.platform_id);
  EXPECT_EQ(edited.sender_handle, was.sender_handle);

  // Whoever read the conversation sees that it changed. It neither moves nor is it unread.
  const auto after = Must(store_->conversations().Get(look, id, kNow + minutes(1)));
  EXPECT_EQ(after.revision, before.revision + 1);
  EXPECT_EQ(after.last_message, before.last_message);
  EXPECT_EQ(after.last_activity_at, before.last_activity_at);
  EXPECT_EQ(after.expires_at, before.expires_at);
  EXPECT_FALSE(after.unread);
  EXPECT_EQ(Inbox(*store_, kNow + minutes(1)).back().id, id);

  // The same keys and the same slots; sealed afresh where it lay, and the head with it.
  const auto rows = AllRows();
  ASSERT_EQ(rows.size(), rows_before.size());
  std::string changed;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].first, rows_before[i].first);
    if (rows[i].second == rows_before[i].second) continue;
    changed += rows[i].first[std::string("D20260101").size() + 2];
    const auto header = store::PeekSealed(rows[i].second);
    const auto header_before = store::PeekSealed(rows_before[i].second);
    ASSERT_TRUE(header && header_before);
    EXPECT_EQ(header->slot.number, header_before->slot.number);
    EXPECT_EQ(header->slot.generation, header_before->slot.generation);
  }
  EXPECT_THAT(changed, ::testing::UnorderedElementsAre('m', 'h', 'i'));
  store_.Reopen();
  EXPECT_THAT(TextsOf(Thread(*store_, id, kNow + minutes(1))), ElementsAre("second", "first"));
}

TEST_P(StoreCollect, AnEditThatSaysNothingNewWritesNothing) {
  Collect({Incoming("anna", "m1", kNow - hours(3), "one")});
  EXPECT_EQ(Edit({EditOf("m1", kNow - minutes(5), "two")}), 1u);
  const auto rows = AllRows();
  const TimePoint later = kNow + minutes(1);
  EXPECT_EQ(Edit({EditOf("m1", kNow - minutes(5), "two")}, later), 0u) << "the same again";
  EXPECT_EQ(Edit({EditOf("m1", std::nullopt, "two")}, later), 0u) << "the same, undated";
  EXPECT_EQ(Edit({EditOf("m1", kNow + days(900), "two")}, later), 0u) << "the same, of the future";
  EXPECT_EQ(Edit({EditOf("m1", kNow - minutes(6), "one")}, later), 0u) << "an older one";
  EXPECT_EQ(AllRows(), rows);
  // Served again with another text and without an edit, it stays as well.
  EXPECT_EQ(Collect({Incoming("anna", "m1", kNow - hours(3), "three")}, later).duplicates, 1u);
  EXPECT_EQ(AllRows(), rows);
  EXPECT_EQ(Only(later).text, MessageBody("two"));
}

TEST_P(StoreCollect, TheLatestEditIsShown) {
  Collect({Incoming("anna", "m1", kNow - hours(3), "one")});
  EXPECT_EQ(
      Edit({EditOf("m1", kNow - minutes(3), "three"), EditOf("m1", kNow - minutes(5), "two")}), 1u);
  EXPECT_EQ(Only(kNow).text, MessageBody("three"));
  EXPECT_EQ(Only(kNow).edited_at, kNow - minutes(3));
  // Back to an earlier text is an edit too.
  EXPECT_EQ(Edit({EditOf("m1", kNow - minutes(2), "one")}), 1u);
  EXPECT_EQ(Only(kNow).text, MessageBody("one"));
  // Undated ones have the time at which they were seen; a claim from the future is no time.
  EXPECT_EQ(Edit({EditOf("m1", std::nullopt, "four")}), 1u);
  EXPECT_EQ(Only(kNow).edited_at, kNow);
  EXPECT_EQ(Edit({EditOf("m1", kNow + days(900), "five")}, kNow + minutes(1)), 1u);
  EXPECT_EQ(Only(kNow + minutes(1)).edited_at, kNow + minutes(1));
  EXPECT_EQ(Edit({EditOf("m1", kNow + minutes(2), "six")}, kNow + minutes(3)), 1u);
  EXPECT_EQ(Only(kNow + minutes(3)).text, MessageBody("six"));
  // What it is beside its text may change as well.
  auto with_picture = EditOf("m1", kNow + minutes(4), "six");
  with_picture.has_unsupported_content = true;
  EXPECT_EQ(Edit({with_picture}, kNow + minutes(5)), 1u);
  EXPECT_TRUE(Only(kNow + minutes(5)).has_unsupported_content);
}

TEST_P(StoreCollect, AnEditMakesNothingAndRevivesNothing) {
  auto stub = Incoming("anna", "m3", kNow - hours(1));
  stub.unreadable = UnreadableReason::kEncrypted;
  Collect({Incoming("anna", "m1", kNow - hours(3), "stays"),
           Incoming("anna", "m2", kNow - hours(2), "taken back"), stub,
           Incoming("bert", "m4", kNow - days(88), "ends soon")});
  auto page = PageOf(account_.id, {});
  page.withdrawals = {{PlatformId("anna"), PlatformId("m2")}};
  Must(store_->collection().Collect(page, kNow));
  const Message ends = Thread(*store_, Inbox(*store_, kNow).back().id, kNow).front();

  // Unknown, withdrawn, unreadable; past its limit when first served.
  const auto rows = AllRows();
  EXPECT_EQ(Edit({EditOf("never-seen", kNow, "back"), EditOf("m2", kNow, "back"),
                  EditOf("m3", kNow, "back")}),
            0u);
  EXPECT_EQ(AllRows(), rows);
  page = PageOf(account_.id, {Incoming("carla", "m5", kNow - days(100), "too old")});
  page.edits = {EditOf("m5", kNow, "back")};
  const auto outcome = Must(store_->collection().Collect(page, kNow));
  EXPECT_EQ(outcome.past_horizon, 1u);
  EXPECT_EQ(outcome.edited, 0u);
  EXPECT_EQ(AllRows(), rows);

  // At its expiry it is over, before any purge and after it.
  const TimePoint end = ends.expires_at;
  EXPECT_EQ(Edit({EditOf("m4", end - milliseconds(1), "until the end")}, end - milliseconds(1)),
            1u);
  EXPECT_EQ(Edit({EditOf("m4", end, "back")}, end), 0u);
  Must(store_->purge().RunOnce(end));
  EXPECT_EQ(Edit({EditOf("m4", end, "back")}, end), 0u);
  const auto look = Must(store_->audit().LookAtInbox(Officer(), end));
  EXPECT_EQ(FailureOf(store_->conversations().GetMessage(look, ends.id, end)), ErrorCode::kExpired);
  EXPECT_THAT(Inbox(*store_, end), SizeIs(1));
}

TEST_P(StoreCollect, WrittenAndEditedInOnePageIsStoredAsEdited) {
  auto page = PageOf(account_.id, {Incoming("anna", "m1", kNow - hours(1), "frist"),
                                   Incoming("anna", "m2", kNow, "taken back")});
  page.edits = {EditOf("m2", kNow, "taken back too"), EditOf("m1", kNow, "first")};
  page.withdrawals = {{PlatformId("anna"), PlatformId("m2")}};
  const auto outcome = Must(store_->collection().Collect(page, kNow));
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(outcome.edited, 0u);
  EXPECT_EQ(outcome.withdrawn, 1u);
  EXPECT_EQ(Only(kNow).text, MessageBody("first"));
  EXPECT_EQ(Only(kNow).edited_at, kNow);
  EXPECT_TRUE(Inbox(*store_, kNow).front().unread);
  EXPECT_EQ(Inbox(*store_, kNow).front().revision, 1u);
  // The same page again, and one that edits and withdraws what is stored.
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow)).edited, 0u);
  page = PageOf(account_.id, {});
  page.edits = {EditOf("m1", kNow + minutes(1), "third")};
  page.withdrawals = {{PlatformId("anna"), PlatformId("m1")}};
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow + minutes(2))).withdrawn, 1u);
  EXPECT_THAT(Thread(*store_, Inbox(*store_, kNow).front().id, kNow), IsEmpty());
}

TEST_P(StoreCollect, TheInboxPagesByLastActivityAndFilters) {
  Account second = Connect(*store_, kNow);
  std::vector<store::CollectedMessage> messages;
  for (int i = 0; i < 25; ++i) {
    // Several share an instant, and they lie on several dates.
    messages.push_back(Incoming("c" + std::to_string(i), "m" + std::to_string(i),
                                kNow - days(i / 5) - minutes(i % 2)));
  }
  Collect(messages);
  Must(store_->collection().Collect(
      PageOf(second.id, {Incoming("elsewhere", "x", kNow - hours(1))}), kNow));
  const auto all = Inbox(*store_, kNow);
  ASSERT_THAT(all, SizeIs(26));
  std::set<ConversationId> ids;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ids.insert(all[i].id);
    if (i > 0) {
      EXPECT_GE(all[i - 1].last_activity_at, all[i].last_activity_at);
    }
  }
  EXPECT_THAT(ids, SizeIs(26));

  const auto look = Must(store_->audit().LookAtInbox(Officer(), kNow));
  auto& conversations = store_->conversations();
  auto page = Must(conversations.List(look, {.account = second.id}, "", 10, kNow));
  ASSERT_THAT(page.items, SizeIs(1));
  EXPECT_EQ(page.next, "");
  Must(conversations.Update(page.items.front().id,
                            {.status = ConversationStatus::kClosed, .unread = false}, std::nullopt,
                            Officer(), kNow));
  EXPECT_THAT(
      Must(conversations.List(look, {.status = ConversationStatus::kClosed}, "", 10, kNow)).items,
      SizeIs(1));
  EXPECT_THAT(Must(conversations.List(look, {.unread = true}, "", 100, kNow)).items, SizeIs(25));
  EXPECT_THAT(Must(conversations.List(look, {.unread = false}, "", 1, kNow)).next, IsEmpty());

  EXPECT_EQ(FailureOf(conversations.List(look, {}, "nonsense", 10, kNow)),
            ErrorCode::kCursorInvalid);
  EXPECT_EQ(FailureOf(conversations.List(look, {}, std::string(48, 'x'), 10, kNow)),
            ErrorCode::kCursorInvalid);
  // A position in expired ground does not fail.
  const auto first = Must(conversations.List(look, {}, "", 25, kNow));
  EXPECT_TRUE(conversations.List(look, {}, first.next, 10, kNow + days(200)));
}

TEST_P(StoreCollect, ALongThreadPagesOverManyDates) {
  std::vector<store::CollectedMessage> messages;
  for (int i = 0; i < 40; ++i) {
    messages.push_back(
        Incoming("anna", "m" + std::to_string(i), kNow - days(i), std::to_string(i)));
  }
  std::reverse(messages.begin(), messages.end());
  Collect(messages);
  const ConversationId id = Inbox(*store_, kNow).front().id;
  for (const std::size_t page_size : {1u, 7u, 40u, 100u}) {
    const auto thread = Thread(*store_, id, kNow, page_size);
    ASSERT_THAT(thread, SizeIs(40));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(thread[i].text.Reveal(), std::to_string(i));
  }
  const auto look = LookAt(*store_, id, kNow);
  EXPECT_EQ(FailureOf(store_->conversations().Messages(look, id, "00", 5, kNow)),
            ErrorCode::kCursorInvalid);
  EXPECT_EQ(
      FailureOf(store_->conversations().Messages(look, ConversationId::Random(), "", 5, kNow)),
      ErrorCode::kNotFound);
}

TEST_P(StoreCollect, MessagesOfOneInstantAreAllShown) {
  std::vector<store::CollectedMessage> messages;
  for (int i = 0; i < 12; ++i) messages.push_back(Incoming("anna", "m" + std::to_string(i), kNow));
  Collect(messages);
  EXPECT_THAT(Thread(*store_, Inbox(*store_, kNow).front().id, kNow, 5), SizeIs(12));
}

TEST_P(StoreCollect, APatchKeepsItsRevisionRules) {
  Collect({Incoming("anna", "m1", kNow)});
  const Conversation before = Inbox(*store_, kNow).front();
  auto& conversations = store_->conversations();
  EXPECT_EQ(FailureOf(conversations.Update(before.id, {.unread = false}, before.revision + 1,
                                           Officer(), kNow)),
            ErrorCode::kPreconditionFailed);
  const auto changed =
      Must(conversations.Update(before.id, {.unread = false}, before.revision, Officer(), kNow));
  EXPECT_EQ(changed.revision, before.revision + 1);
  EXPECT_FALSE(changed.unread);
  EXPECT_EQ(changed.participants.size(), 1u);
  const auto same =
      Must(conversations.Update(before.id, {.unread = false}, std::nullopt, Officer(), kNow));
  EXPECT_EQ(same.revision, changed.revision);
  EXPECT_EQ(FailureOf(conversations.Update(ConversationId::Random(), {.unread = false},
                                           std::nullopt, Officer(), kNow)),
            ErrorCode::kNotFound);
  store_.Reopen();
  EXPECT_FALSE(Inbox(*store_, kNow).front().unread);
}

TEST_P(StoreCollect, AGroupHasOneOwnerForWhatIsOurs) {
  auto page = PageOf(account_.id, {Incoming("group", "m1", kNow - hours(1))});
  page.conversations[0].group = true;
  page.conversations[0].participants.clear();
  for (int i = 0; i < 60; ++i) {
    page.conversations[0].participants.push_back(
        {.platform_id = PlatformId("p" + std::to_string(i)),
         .handle = ContactHandle("h" + std::to_string(i)),
         .display_name = {}});
  }
  page.messages[0].sender = PlatformId("p3");
  Must(store_->collection().Collect(page, kNow));
  const auto conversation = Inbox(*store_, kNow).front();
  EXPECT_TRUE(conversation.group);
  EXPECT_THAT(conversation.participants, SizeIs(50));
  EXPECT_EQ(Only(kNow).sender_handle, ContactHandle("h3"));
}

TEST_P(StoreCollect, NothingIsStoredForARetiredAccount) {
  Collect({Incoming("anna", "m1", kNow)});
  Must(store_->accounts().Retire(account_.id, std::nullopt, Officer(), kNow));
  const auto page = PageOf(account_.id, {Incoming("anna", "m2", kNow)});
  EXPECT_EQ(FailureOf(store_->collection().Collect(page, kNow)), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(store_->collection().Collect(PageOf(AccountId{42}, {}), kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(Only(kNow).platform_id, PlatformId("m1"))
      << "what was collected stays until it expires";
}

TEST_P(StoreCollect, ADamagedRecordIsNamedAndTheRestStaysReadable) {
  Collect({Incoming("anna", "m1", kNow - hours(2), "first"),
           Incoming("anna", "m2", kNow - hours(1), "second"),
           Incoming("bert", "m3", kNow, "third")});
  const auto inbox = Inbox(*store_, kNow);
  const auto anna = inbox.back();
  const auto thread = Thread(*store_, anna.id, kNow);
  const Family family = Family::Day(thread[0].id.day);
  // Flip one byte of the newest of Anna's messages.
  const std::string dkey(reinterpret_cast<const char*>(thread[0].id.bytes.data()), 16);
  for (auto [key, value] : store_.Rows(family, 'm')) {
    if (!key.ends_with(dkey)) continue;
    value[value.size() / 2] = static_cast<char>(value[value.size() / 2] ^ 1);
    store::Batch batch;
    batch.Put(family, key, value);
    Must(store_.engine().Commit(batch, store::Durability::kSynced));
  }
  const auto look = LookAt(*store_, anna.id, kNow);
  const auto damaged = store_->conversations().GetMessage(look, thread[0].id, kNow);
  ASSERT_EQ(FailureOf(damaged), ErrorCode::kCorrupt);
  EXPECT_THAT(damaged.error().message, ::testing::HasSubstr(family.Name()));
  EXPECT_THAT(TextsOf(Thread(*store_, anna.id, kNow)), ElementsAre("first"));
  EXPECT_GE(store_->damaged_records(), 2u);
  EXPECT_THAT(Inbox(*store_, kNow), SizeIs(2));

  // A damaged head: the other conversation works, and collecting rebuilds it.
  store_.Reopen();
  EXPECT_EQ(store_->damaged_records(), 0u);
  for (auto [key, value] : store_.Rows(family, 'h')) {
    value.back() = static_cast<char>(value.back() ^ 1);
    store::Batch batch;
    batch.Put(family, key, value);
    Must(store_.engine().Commit(batch, store::Durability::kSynced));
  }
  EXPECT_THAT(Inbox(*store_, kNow), IsEmpty());
  EXPECT_EQ(FailureOf(store_->conversations().Get(look, anna.id, kNow)), ErrorCode::kCorrupt);
  EXPECT_EQ(Must(store_->conversations().GetMessage(look, thread[1].id, kNow)).text,
            MessageBody("first"));
  Collect({Incoming("anna", "m4", kNow + minutes(1), "fourth")}, kNow + minutes(1));
  EXPECT_THAT(TextsOf(Thread(*store_, anna.id, kNow + minutes(1))), ElementsAre("fourth", "first"));
  EXPECT_THAT(Inbox(*store_, kNow + minutes(1)), SizeIs(1));
}

TEST_P(StoreCollect, AFailedCommitIsRepeatedWithoutLossOrDouble) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownNotDone, Fault::kUnknownDone}) {
    const std::string name = "c" + std::to_string(static_cast<int>(fault));
    const auto page =
        PageOf(account_.id, {Incoming(name, name + "-1", kNow), Incoming(name, name + "-2", kNow)});
    store_.engine().FailNextCommit(fault);
    EXPECT_FALSE(store_->collection().Collect(page, kNow));
    const auto outcome = Must(store_->collection().Collect(page, kNow));
    EXPECT_EQ(outcome.stored, fault == Fault::kUnknownDone ? 0u : 2u);
    EXPECT_EQ(outcome.stored + outcome.duplicates, 2u);
  }
  const auto inbox = Inbox(*store_, kNow);
  ASSERT_THAT(inbox, SizeIs(3));
  std::set<std::uint64_t> sequences;
  for (const auto& conversation : inbox) {
    for (const auto& message : Thread(*store_, conversation.id, kNow)) {
      sequences.insert(message.sequence);
    }
  }
  EXPECT_THAT(sequences, SizeIs(6)) << "each message has a sequence of its own";
  // The audit sequence has no gap either, whatever failed.
  store_.engine().FailNextCommit(Fault::kUnknownDone);
  EXPECT_FALSE(store_->accounts().Rename(account_.id, "A", std::nullopt, Officer(), kNow));
  store_.engine().FailNextCommit(Fault::kRefused);
  EXPECT_FALSE(store_->accounts().Rename(account_.id, "B", std::nullopt, Officer(), kNow));
  Must(store_->accounts().Rename(account_.id, "C", std::nullopt, Officer(), kNow));
  std::uint64_t expected = 1;
  for (const auto& entry : Must(store_->audit().Read(0, 1'000))) {
    EXPECT_EQ(entry.sequence, expected++);
  }
}

TEST_P(StoreCollect, ReadersMeetNoTornStateWhileHeadsMove) {
  Collect({Incoming("anna", "m0", kNow)});
  const ConversationId id = Inbox(*store_, kNow).front().id;
  const auto look = LookAt(*store_, id, kNow + days(30));
  std::atomic<bool> done{false};
  std::atomic<int> reads{0};
  std::vector<std::jthread> readers;
  std::atomic<int> failures{0};
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      while (!done) {
        const auto found = store_->conversations().Get(look, id, kNow + days(1));
        const auto thread = store_->conversations().Messages(look, id, "", 50, kNow + days(1));
        if (!found || !thread || thread->items.empty()) ++failures;
        ++reads;
      }
    });
  }
  for (int i = 1; i <= 20 || (reads < 20 && i < 100'000); ++i) {
    const TimePoint sent = kNow + days(std::min(i, 60));
    Collect({Incoming("anna", "m" + std::to_string(i), sent)}, sent);
  }
  done = true;
  readers.clear();
  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace mayfly::testing
