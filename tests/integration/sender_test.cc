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

}  // namespace
}  // namespace mayfly::service
