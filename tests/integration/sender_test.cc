// The sender over a real store and the real link, with a connector of the test's.
#include "service/outbox/sender.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/linked_worker.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"

namespace mayfly::service {
namespace {

using connectors::ConnectorContext;
using connectors::OutgoingReply;
using connectors::SentReply;
using testing::FakeConnector;
using testing::LinkedWorker;
using testing::Must;

class SenderTest : public ::testing::Test {
 protected:
  SenderTest()
      : store_(testing::EngineKind::kMemory),
        clock_(testing::At("2026-03-05T10:00:00.000Z")),
        account_(testing::Connect(*store_, clock_.Now())) {
    Must(store_->collection().Collect(
        testing::PageOf(account_.id, {testing::Incoming("anna", "m1", clock_.Now())}),
        clock_.Now()));
    conversation_ = testing::Inbox(*store_, clock_.Now()).front();
  }

  ReplyId Queue(const std::string& text) {
    const auto queued = Must(store_->outbox().Enqueue({.conversation = conversation_.id,
                                                       .after_message = *conversation_.last_message,
                                                       .text = MessageBody(text),
                                                       .idempotency_key = text},
                                                      testing::Officer(), clock_.Now()));
    return queued.reply.id;
  }
  Reply Load(const ReplyId& id) {
    const auto look = testing::LookAt(*store_, conversation_.id, clock_.Now());
    return Must(store_->outbox().Get(look, id, clock_.Now()));
  }
  // Sends what is due through a connector that answers with `send`.
  void Run(const std::function<Result<SentReply>(const OutgoingReply&)>& send) {
    LinkedWorker worker(testing::Make([&](FakeConnector& connector, const ConnectorContext&) {
      connector.on_send = [&](const OutgoingReply& reply, std::stop_token) { return send(reply); };
    }));
    Must(worker.link().Hello("fake", {}));
    Sender(*store_, clock_, account_.id).RunOnce(&worker.link());
  }

  // Loses the answer of `id`, then looks until there is a verdict, with a platform that shows what
  // `find` says. Returns since when each look went back.
  std::vector<TimePoint> LoseAndLook(
      const ReplyId& id,
      const std::function<std::vector<SentReply>(const connectors::FindSentRequest&)>& find) {
    Run([](const OutgoingReply&) -> Result<SentReply> {
      return Fail(ErrorCode::kOutcomeUnknown, "no answer");
    });
    std::vector<TimePoint> since;
    LinkedWorker worker(testing::Make([&](FakeConnector& connector, const ConnectorContext&) {
      connector.on_find =
          [&](const connectors::FindSentRequest& request) -> Result<std::vector<SentReply>> {
        since.push_back(request.not_before);
        return find(request);
      };
    }));
    Must(worker.link().Hello("fake", {}));
    Sender sender(*store_, clock_, account_.id);
    for (int i = 0; i < 20 && Load(id).state == ReplyState::kUnknown; ++i) {
      clock_.Advance(std::chrono::minutes(1));
      sender.RunOnce(&worker.link());
    }
    return since;
  }

  testing::TempStore store_;
  testing::SimulatedClock clock_;
  Account account_;
  Conversation conversation_;
};

TEST_F(SenderTest, TheConnectorIsToldWhatIsAnsweredAndWhoGetsIt) {
  const ReplyId id = Queue("answer");
  std::vector<OutgoingReply> sent;
  Run([&](const OutgoingReply& reply) -> Result<SentReply> {
    sent.push_back(reply);
    return SentReply{PlatformId("p1"), clock_.Now()};
  });
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].conversation, PlatformId("anna"));
  EXPECT_EQ(sent[0].in_reply_to, PlatformId("m1"));
  EXPECT_EQ(sent[0].text, MessageBody("answer"));
  EXPECT_EQ(sent[0].idempotency_key, id.ToString());
  ASSERT_EQ(sent[0].recipients.size(), 1u);
  EXPECT_EQ(sent[0].recipients[0].platform_id, PlatformId("person-of-anna"));
  EXPECT_EQ(sent[0].recipients[0].handle, ContactHandle("anna.example"));
  EXPECT_EQ(Load(id).state, ReplyState::kSent);
}

TEST_F(SenderTest, AConnectorThatSeesAFurtherRecipientFailsTheReplyForGood) {
  const ReplyId id = Queue("answer to @eve");
  int calls = 0;
  const auto refuse = [&](const OutgoingReply&) -> Result<SentReply> {
    ++calls;
    return Fail(ErrorCode::kAddsRecipient, "the text mentions somebody else");
  };
  Run(refuse);
  EXPECT_EQ(Load(id).state, ReplyState::kFailed);
  EXPECT_EQ(Load(id).reason, "adds-recipient");
  clock_.Advance(std::chrono::hours(1));
  Run(refuse);
  EXPECT_EQ(calls, 1);
}

TEST_F(SenderTest, ALostAnswerIsUnknownAndNotSentAgain) {
  const ReplyId id = Queue("answer");
  int calls = 0;
  const auto lose = [&](const OutgoingReply&) -> Result<SentReply> {
    ++calls;
    return Fail(ErrorCode::kOutcomeUnknown, "no answer");
  };
  Run(lose);
  EXPECT_EQ(Load(id).state, ReplyState::kUnknown);
  clock_.Advance(std::chrono::hours(1));
  Run(lose);
  EXPECT_EQ(Load(id).state, ReplyState::kUnknown) << "looking is not finding out";
  EXPECT_EQ(calls, 1);
}

TEST_F(SenderTest, TheVerdictOnALostReplyDoesNotRestOnOurClock) {
  const TimePoint asked_at = clock_.Now();
  clock_.Advance(std::chrono::hours(3));
  const ReplyId id = Queue("answer");
  const TimePoint sent_at = clock_.Now();
  const std::vector<TimePoint> since =
      LoseAndLook(id, [](const auto&) { return std::vector<SentReply>(); });
  EXPECT_EQ(Load(id).state, ReplyState::kFailed);
  EXPECT_EQ(Load(id).reason, "not-delivered");
  ASSERT_EQ(since.size(), SenderOptions().looks.size());
  for (std::size_t i = 0; i + 1 < since.size(); ++i) {
    EXPECT_EQ(since[i], sent_at - std::chrono::minutes(1));
  }
  EXPECT_EQ(since.back(), asked_at - std::chrono::minutes(1)) << "the message that was answered";
}

TEST_F(SenderTest, TheSameWordsThatStoodThereBeforeAreNotTheLostReply) {
  Must(store_->collection().Collect(
      testing::PageOf(account_.id,
                      {testing::Outgoing("anna", "p0", clock_.Now(), "answer"),
                       testing::Incoming("anna", "m2", clock_.Now() + std::chrono::seconds(1))}),
      clock_.Now() + std::chrono::seconds(1)));
  clock_.Advance(std::chrono::seconds(2));
  conversation_ = testing::Inbox(*store_, clock_.Now()).front();
  const ReplyId id = Queue("answer");
  const auto find = [&](const auto&) {
    return std::vector<SentReply>{{PlatformId("p0"), clock_.Now()}, {PlatformId("p1"), {}}};
  };
  LoseAndLook(id, find);
  const Reply reply = Load(id);
  ASSERT_EQ(reply.state, ReplyState::kSent);
  const auto look = testing::LookAt(*store_, conversation_.id, clock_.Now());
  EXPECT_EQ(
      Must(store_->conversations().GetMessage(look, *reply.message, clock_.Now())).platform_id,
      PlatformId("p1"));
}

}  // namespace
}  // namespace mayfly::service
