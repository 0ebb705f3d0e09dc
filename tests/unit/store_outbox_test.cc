// Replies: at most once, and their true state.
#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using store::Family;
using store::OutboxQueue;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

class StoreOutbox : public ::testing::TestWithParam<EngineKind> {
 protected:
  StoreOutbox() : store_(GetParam()), account_(Connect(*store_, kNow)) {
    Collect({Incoming("anna", "m1", kNow - minutes(5), "A question")});
    conversation_ = Inbox(*store_, kNow).front();
  }

  store::CollectOutcome Collect(std::vector<store::CollectedMessage> messages,
                                TimePoint now = kNow) {
    return Must(store_->collection().Collect(PageOf(account_.id, std::move(messages)), now));
  }
  OutboxQueue& outbox() { return store_->outbox(); }
  OutboxQueue::NewReply Draft(const std::string& key = "key-1",
                              const std::string& text = "An answer") {
    return {.conversation = conversation_.id,
            .after_message = *conversation_.last_message,
            .text = MessageBody(text),
            .idempotency_key = key};
  }
  Reply Queue(const std::string& key = "key-1", TimePoint now = kNow) {
    return Must(outbox().Enqueue(Draft(key), Officer(), now)).reply;
  }
  Reply Load(const ReplyId& id, TimePoint now = kNow) {
    return Must(outbox().Get(LookAt(*store_, conversation_.id, now), id, now));
  }
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    for (const auto& entry : Must(store_->audit().Read(0, 1'000))) {
      actions.push_back(entry.action + " " + entry.outcome);
    }
    return actions;
  }

  TempStore store_;
  Account account_;
  Conversation conversation_;
};
INSTANTIATE_TEST_SUITE_P(, StoreOutbox,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb), KindName);

TEST_P(StoreOutbox, AReplyGoesFromQueuedToSentAndStandsInTheThreadOnce) {
  const Reply queued = Queue();
  EXPECT_EQ(queued.state, ReplyState::kQueued);
  EXPECT_EQ(queued.expires_at, conversation_.expires_at);
  EXPECT_EQ(queued.author, "tok_officer");
  EXPECT_THAT(Must(outbox().Pending(kNow)), SizeIs(1));
  EXPECT_EQ(Must(outbox().ConversationOf(queued.id, kNow)), conversation_.id);

  const auto job = Must(outbox().StartSending(queued.id, kNow + seconds(1)));
  EXPECT_EQ(job.conversation, PlatformId("anna"));
  EXPECT_EQ(job.in_reply_to, PlatformId("m1"));
  ASSERT_THAT(job.recipients, SizeIs(1));
  EXPECT_EQ(job.recipients.front().platform_id, PlatformId("person-of-anna"));
  EXPECT_EQ(job.recipients.front().handle, ContactHandle("anna.example"));
  EXPECT_EQ(job.reply.state, ReplyState::kSending);
  EXPECT_EQ(job.reply.attempts, 1u);
  EXPECT_EQ(job.reply.send_started_at, kNow + seconds(1));
  EXPECT_EQ(job.reply.text, MessageBody("An answer"));

  const TimePoint sent = kNow + seconds(2);
  const Reply done = Must(outbox().MarkSent(queued.id, PlatformId("p9"), sent, sent));
  EXPECT_EQ(done.state, ReplyState::kSent);
  ASSERT_TRUE(done.message);
  EXPECT_EQ(Load(queued.id).message, done.message);
  EXPECT_THAT(Must(outbox().Pending(sent)), IsEmpty());
  EXPECT_THAT(store_.Rows(Family::Day(queued.id.day), 'q'), IsEmpty());

  auto thread = Thread(*store_, conversation_.id, sent);
  ASSERT_THAT(thread, SizeIs(2));
  EXPECT_EQ(thread.front().id, done.message);
  EXPECT_EQ(thread.front().direction, Direction::kOutgoing);
  EXPECT_EQ(thread.front().text, MessageBody("An answer"));
  EXPECT_EQ(thread.front().reply, queued.id);
  EXPECT_EQ(thread.front().sender_handle, ContactHandle("press.example"));
  EXPECT_EQ(Inbox(*store_, sent).front().last_message, done.message);

  // The poll serves it as well.
  EXPECT_EQ(Collect({Outgoing("anna", "p9", sent, "An answer")}, sent + minutes(1)).duplicates, 1u);
  EXPECT_THAT(Thread(*store_, conversation_.id, sent), SizeIs(2));
  // What of the platform may be what came of a reply: its own message, or one not seen before.
  EXPECT_FALSE(Must(outbox().IsSomethingElse(PlatformId("p9"), queued, sent)));
  EXPECT_FALSE(Must(outbox().IsSomethingElse(PlatformId("none"), queued, sent)));
  Reply other = queued;
  other.id.bytes[0] ^= 1;
  EXPECT_TRUE(Must(outbox().IsSomethingElse(PlatformId("p9"), other, sent)));
  other.send_started_at = sent;  // m1 was stored long before
  EXPECT_TRUE(Must(outbox().IsSomethingElse(PlatformId("m1"), other, sent)));
  // Told twice, it changes nothing.
  EXPECT_EQ(Must(outbox().MarkSent(queued.id, PlatformId("p9"), sent, sent)).message, done.message);
  EXPECT_EQ(FailureOf(outbox().MarkSent(queued.id, PlatformId("p10"), sent, sent)),
            ErrorCode::kPreconditionFailed);
}

TEST_P(StoreOutbox, APollThatIsFasterIsMergedWith) {
  const Reply queued = Queue();
  Must(outbox().StartSending(queued.id, kNow));
  const TimePoint sent = kNow + seconds(1);
  EXPECT_EQ(Collect({Outgoing("anna", "p9", sent, "An answer")}, kNow + seconds(2)).stored, 1u);
  const Reply done =
      Must(outbox().MarkSent(queued.id, PlatformId("p9"), std::nullopt, kNow + seconds(3)));
  const auto thread = Thread(*store_, conversation_.id, kNow + seconds(3));
  ASSERT_THAT(thread, SizeIs(2));
  EXPECT_EQ(thread.front().id, done.message);
  EXPECT_EQ(thread.front().reply, queued.id);
}

TEST_P(StoreOutbox, AReplyToAWithdrawnMessageNamesNone) {
  const Reply queued = Queue();
  auto page = PageOf(account_.id, {});
  page.withdrawals = {{PlatformId("anna"), PlatformId("m1")}};
  Must(store_->collection().Collect(page, kNow));
  const auto job = Must(outbox().StartSending(queued.id, kNow));
  EXPECT_EQ(job.in_reply_to, PlatformId());
  EXPECT_THAT(job.recipients, SizeIs(1));
  EXPECT_EQ(Must(outbox().JobOf(queued.id, kNow)).in_reply_to, PlatformId());
}

TEST_P(StoreOutbox, AnEditedMessageOfOursStaysItsReplys) {
  const Reply queued = Queue();
  Must(outbox().StartSending(queued.id, kNow));
  const Reply done = Must(outbox().MarkSent(queued.id, PlatformId("p9"), kNow, kNow));
  auto page = PageOf(account_.id, {});
  page.edits = {{.conversation = PlatformId("anna"),
                 .id = PlatformId("p9"),
                 .edited_at = kNow + seconds(5),
                 .text = MessageBody("A better answer")}};
  EXPECT_EQ(Must(store_->collection().Collect(page, kNow + minutes(1))).edited, 1u);
  const auto thread = Thread(*store_, conversation_.id, kNow + minutes(1));
  ASSERT_THAT(thread, SizeIs(2));
  EXPECT_EQ(thread.front().id, done.message);
  EXPECT_EQ(thread.front().direction, Direction::kOutgoing);
  EXPECT_EQ(thread.front().text, MessageBody("A better answer"));
  EXPECT_EQ(thread.front().edited_at, kNow + seconds(5));
  EXPECT_EQ(thread.front().reply, queued.id);
  EXPECT_EQ(Load(queued.id).text, MessageBody("An answer"))
      << "what staff wrote is what they wrote";
}

TEST_P(StoreOutbox, SentWithoutATimeIsRecognisedWhenThePollServesOne) {
  const Reply queued = Queue();
  // Sent in the last second of a date, answered in the first of the next.
  const TimePoint sent = At("2026-03-05T23:59:59.500Z");
  const TimePoint answered = At("2026-03-06T00:00:00.200Z");
  Must(outbox().StartSending(queued.id, sent));
  Must(outbox().MarkSent(queued.id, PlatformId("p9"), std::nullopt, answered));
  EXPECT_EQ(Collect({Outgoing("anna", "p9", sent)}, answered + minutes(1)).duplicates, 1u);
  EXPECT_THAT(Thread(*store_, conversation_.id, answered), SizeIs(2));
}

TEST_P(StoreOutbox, OneMessageOfThePlatformBelongsToOneReply) {
  const Reply first = Queue("key-1");
  const Reply second = Queue("key-2");
  Must(outbox().StartSending(first.id, kNow));
  Must(outbox().StartSending(second.id, kNow));
  Must(outbox().MarkSent(first.id, PlatformId("p9"), kNow, kNow));
  EXPECT_EQ(FailureOf(outbox().MarkSent(second.id, PlatformId("p9"), kNow, kNow)),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Load(second.id).state, ReplyState::kSending);
}

TEST_P(StoreOutbox, OnlyTheDrawnTransitionsHappen) {
  auto& queue = outbox();
  const ReplyId id = Queue().id;
  // queued
  EXPECT_EQ(FailureOf(queue.MarkSent(id, PlatformId("p"), kNow, kNow)),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.MarkUnknown(id, "unavailable", kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.Requeue(id, kNow, kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.CountLook(id, kNow)), ErrorCode::kPreconditionFailed);
  // sending
  Must(queue.StartSending(id, kNow));
  EXPECT_EQ(FailureOf(queue.StartSending(id, kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.CountLook(id, kNow)), ErrorCode::kPreconditionFailed);
  Must(queue.Requeue(id, kNow + minutes(1), kNow));
  EXPECT_EQ(Load(id).state, ReplyState::kQueued);
  EXPECT_EQ(Load(id).not_before, kNow + minutes(1));
  Must(queue.StartSending(id, kNow + minutes(1)));
  EXPECT_EQ(Load(id).attempts, 2u);
  EXPECT_EQ(Load(id).send_started_at, kNow) << "the first attempt's";
  EXPECT_EQ(Load(id).not_before, std::nullopt);
  // unknown
  Must(queue.MarkUnknown(id, "platform-unavailable", kNow + minutes(2)));
  EXPECT_EQ(FailureOf(queue.StartSending(id, kNow)), ErrorCode::kPreconditionFailed)
      << "an unknown one is never sent again";
  EXPECT_EQ(FailureOf(queue.Requeue(id, kNow, kNow)), ErrorCode::kPreconditionFailed);
  Must(queue.CountLook(id, kNow));
  Must(queue.CountLook(id, kNow));
  EXPECT_EQ(Load(id).looks, 2u);
  EXPECT_THAT(Must(queue.Pending(kNow)), SizeIs(1));
  EXPECT_EQ(Must(queue.JobOf(id, kNow)).conversation, PlatformId("anna"));
  Must(queue.MarkFailed(id, "not-delivered", "", kNow + minutes(3)));
  // failed
  Must(queue.MarkFailed(id, "not-delivered", "", kNow + minutes(3)));
  EXPECT_EQ(FailureOf(queue.MarkFailed(id, "internal", "", kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.MarkSent(id, PlatformId("p"), kNow, kNow)),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.MarkUnknown(id, "x", kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_EQ(FailureOf(queue.StartSending(id, kNow)), ErrorCode::kPreconditionFailed);
  EXPECT_THAT(Must(queue.Pending(kNow)), IsEmpty());
  // unknown ids
  const ReplyId nobody{id.day, {}};
  EXPECT_EQ(FailureOf(queue.StartSending(nobody, kNow)), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(queue.MarkFailed(nobody, "x", "", kNow)), ErrorCode::kNotFound);
}

TEST_P(StoreOutbox, TheSameKeyGivesTheSameAnswer) {
  const auto first = Must(outbox().Enqueue(Draft(), Officer(), kNow));
  EXPECT_FALSE(first.replayed);
  const auto again = Must(outbox().Enqueue(Draft(), Officer(), kNow + hours(23)));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.reply.id, first.reply.id);
  EXPECT_THAT(Must(outbox().Pending(kNow)), SizeIs(1));
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft("key-1", "Another text"), Officer(), kNow)),
            ErrorCode::kIdempotencyConflict);
  // The answer of today, also once it was sent and the conversation moved.
  Must(outbox().StartSending(first.reply.id, kNow));
  Must(outbox().MarkSent(first.reply.id, PlatformId("p9"), kNow, kNow));
  const auto sent = Must(outbox().Enqueue(Draft(), Officer(), kNow));
  EXPECT_TRUE(sent.replayed);
  EXPECT_EQ(sent.reply.state, ReplyState::kSent);
  store_.Reopen();
  EXPECT_TRUE(Must(outbox().Enqueue(Draft(), Officer(), kNow)).replayed);

  // The key's day is over: the text is a new one.
  conversation_ = Inbox(*store_, kNow).front();
  const auto next_day = Must(outbox().Enqueue(Draft(), Officer(), kNow + hours(24)));
  EXPECT_FALSE(next_day.replayed);
  EXPECT_NE(next_day.reply.id, first.reply.id);
}

TEST_P(StoreOutbox, AConversationThatMovedRefusesAndKeepsTheKey) {
  Collect({Incoming("anna", "m2", kNow - minutes(1), "One more thing")});
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft(), Officer(), kNow)), ErrorCode::kConversationMoved);
  const auto thread = Thread(*store_, conversation_.id, kNow);
  EXPECT_THAT(Must(outbox().NewerThan(conversation_.id, *conversation_.last_message, kNow)),
              ElementsAre(thread.front().id));
  conversation_ = Inbox(*store_, kNow).front();
  EXPECT_FALSE(Must(outbox().Enqueue(Draft(), Officer(), kNow)).replayed);
  EXPECT_THAT(Must(outbox().NewerThan(conversation_.id, *conversation_.last_message, kNow)),
              IsEmpty());
}

// A sender whose clock is ahead: their message is the newest, and ends before one that came later.
TEST_P(StoreOutbox, AConversationWhoseNewestMessageEndedIsAnsweredAtTheNextOne) {
  Collect({Incoming("anna", "ahead", kNow + days(80), "From a clock that is ahead")});
  const TimePoint later = kNow + days(60);
  Collect({Incoming("anna", "m2", later, "From a clock that is right")}, later);
  conversation_ = Inbox(*store_, later).front();
  EXPECT_THAT(*conversation_.last_message, Thread(*store_, conversation_.id, later).front().id);

  const TimePoint after = At("2026-06-07T00:00:00.000Z");
  Collect({}, after);  // caught up
  conversation_ = Inbox(*store_, after).front();
  const auto thread = Thread(*store_, conversation_.id, after);
  ASSERT_THAT(thread, SizeIs(1));
  EXPECT_EQ(thread.front().text.Reveal(), "From a clock that is right");
  EXPECT_EQ(conversation_.last_message, thread.front().id);
  EXPECT_EQ(conversation_.last_activity_at, later);
  EXPECT_EQ(Queue("key-1", after).state, ReplyState::kQueued);
}

TEST_P(StoreOutbox, AColleaguesPendingReplyMovesTheConversation) {
  const Reply mine = Queue("key-1");
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft("key-2"), Officer("tok_other"), kNow)),
            ErrorCode::kConversationMoved);
  EXPECT_TRUE(outbox().Enqueue(Draft("key-3"), Officer(), kNow)) << "one's own does not";
  const auto look = LookAt(*store_, conversation_.id, kNow);
  EXPECT_THAT(Must(outbox().PendingOf(look, conversation_.id, kNow)), SizeIs(2));
  store_.Reopen();
  EXPECT_THAT(Must(outbox().PendingOf(look, conversation_.id, kNow)), SizeIs(2));
  EXPECT_THAT(Must(outbox().PendingOf(look, ConversationId::Random(), kNow)), IsEmpty());
  for (const Reply& reply : Must(outbox().Pending(kNow))) {
    Must(outbox().MarkFailed(reply.id, "internal", "", kNow));
  }
  EXPECT_TRUE(outbox().Enqueue(Draft("key-4"), Officer("tok_other"), kNow));
}

TEST_P(StoreOutbox, RefusalsAreTyped) {
  auto draft = Draft();
  draft.conversation = ConversationId::Random();
  EXPECT_EQ(FailureOf(outbox().Enqueue(draft, Officer(), kNow)), ErrorCode::kNotFound);
  draft = Draft();
  draft.after_message.bytes = {};
  EXPECT_EQ(FailureOf(outbox().Enqueue(draft, Officer(), kNow)), ErrorCode::kNotFound);
  draft = Draft();
  draft.after_message.day = std::chrono::floor<days>(kNow);
  EXPECT_EQ(FailureOf(outbox().Enqueue(draft, Officer(), kNow)), ErrorCode::kExpired);
  Collect({Incoming("bert", "b1", kNow)});
  for (const auto& other : Inbox(*store_, kNow)) {
    if (other.platform_id != PlatformId("bert")) continue;
    draft = Draft();
    draft.after_message = *other.last_message;
    EXPECT_EQ(FailureOf(outbox().Enqueue(draft, Officer(), kNow)), ErrorCode::kNotFound)
        << "a message of another conversation";
  }
  auto page = PageOf(account_.id, {});
  page.conversations.push_back(Described("anna"));
  page.conversations[0].standing = PlatformStanding::kLocked;
  Must(store_->collection().Collect(page, kNow));
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft(), Officer(), kNow)), ErrorCode::kPlatformRejected);
  page.conversations[0].standing = PlatformStanding::kAccepted;
  Must(store_->collection().Collect(page, kNow));
  Must(store_->accounts().Retire(account_.id, std::nullopt, Officer(), kNow));
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft(), Officer(), kNow)), ErrorCode::kCredentialDead);
}

TEST_P(StoreOutbox, WhatACrashLeftSendingIsUnknown) {
  const Reply interrupted = Queue("key-1");
  const Reply waiting = Queue("key-2", kNow + seconds(1));
  Must(outbox().StartSending(interrupted.id, kNow + seconds(2)));
  store_.Reopen();
  EXPECT_EQ(Must(outbox().RecoverInterrupted(kNow + minutes(1))), 1u);
  EXPECT_EQ(Must(outbox().RecoverInterrupted(kNow + minutes(1))), 0u);
  EXPECT_EQ(Load(interrupted.id).state, ReplyState::kUnknown);
  EXPECT_EQ(Load(waiting.id).state, ReplyState::kQueued);
  const auto pending = Must(outbox().Pending(kNow + minutes(1)));
  ASSERT_THAT(pending, SizeIs(2));
  EXPECT_EQ(pending.front().id, interrupted.id) << "oldest first";
}

TEST_P(StoreOutbox, AReplyDiesWithTheMessageThatItAnswers) {
  const Reply queued = Queue();
  const Reply sending = Queue("key-2");
  Must(outbox().StartSending(sending.id, kNow));
  const TimePoint end = queued.expires_at;
  EXPECT_EQ(FailureOf(outbox().StartSending(queued.id, end)), ErrorCode::kExpired);
  EXPECT_THAT(Must(outbox().Pending(end)), IsEmpty());
  EXPECT_EQ(FailureOf(outbox().ConversationOf(queued.id, end)), ErrorCode::kExpired);
  const auto receipts = Must(store_->purge().RunOnce(end));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts.front().replies_expired, 2u);
  const auto actions = Actions();
  EXPECT_EQ(std::count(actions.begin(), actions.end(), "reply.failed expired"), 2);
}

TEST_P(StoreOutbox, RetiringTheAccountFailsWhatIsQueued) {
  const Reply queued = Queue("key-1");
  const Reply sending = Queue("key-2");
  Must(outbox().StartSending(sending.id, kNow));
  Must(store_->accounts().Retire(account_.id, std::nullopt, Officer(), kNow));
  EXPECT_EQ(Load(queued.id).state, ReplyState::kFailed);
  EXPECT_EQ(Load(queued.id).reason, "account-retired");
  EXPECT_EQ(Load(sending.id).state, ReplyState::kSending);
  Must(outbox().Requeue(sending.id, kNow, kNow));
  EXPECT_EQ(Load(sending.id).state, ReplyState::kFailed);
}

TEST_P(StoreOutbox, EveryStepIsAudited) {
  const Reply first = Queue("key-1");
  Must(outbox().StartSending(first.id, kNow));
  Must(outbox().MarkUnknown(first.id, "platform-unavailable", kNow));
  Must(outbox().MarkSent(first.id, PlatformId("p9"), kNow, kNow));
  conversation_ = Inbox(*store_, kNow).front();
  const Reply second = Queue("key-2");
  Must(outbox().MarkFailed(second.id, "platform-rejected", "Blocked", kNow));
  const auto actions = Actions();
  EXPECT_THAT(actions, ::testing::IsSupersetOf(
                           {"reply.queue ok", "reply.unknown platform-unavailable", "reply.sent ok",
                            "reply.queue ok", "reply.failed platform-rejected"}));
}

TEST_P(StoreOutbox, AFailedEnqueueIsRepeatedOnce) {
  store_.engine().FailNextCommit(Fault::kUnknownDone);
  EXPECT_EQ(FailureOf(outbox().Enqueue(Draft(), Officer(), kNow)), ErrorCode::kOutcomeUnknown);
  EXPECT_TRUE(Must(outbox().Enqueue(Draft(), Officer(), kNow)).replayed);
  EXPECT_THAT(Must(outbox().Pending(kNow)), SizeIs(1)) << "the sender sees it";
  store_.engine().FailNextCommit(Fault::kUnknownNotDone);
  EXPECT_FALSE(outbox().Enqueue(Draft("key-2"), Officer(), kNow));
  EXPECT_FALSE(Must(outbox().Enqueue(Draft("key-2"), Officer(), kNow)).replayed);
  EXPECT_THAT(Must(outbox().Pending(kNow)), SizeIs(2));
}

}  // namespace
}  // namespace mayfly::testing
