// The sender over a real store and the real link, with a connector of the test's.
#include "service/outbox/sender.h"

#include <cstddef>
#include <functional>
#include <optional>
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
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::FakeConnector;
using testing::LinkedWorker;
using testing::Must;
using ::testing::SizeIs;

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

// Looks for one unknown reply that the platform does not answer.
class FailedLooksTest : public SenderTest {
 protected:
  FailedLooksTest() : id_(Queue("answer")) {
    Run([](const OutgoingReply&) -> Result<SentReply> {
      return Fail(ErrorCode::kOutcomeUnknown, "no answer");
    });
  }
  // The times of the looks until `until` or a verdict, by a sender that is called whenever it asks
  // for it. `answer` gets the number of the look; without an error the platform shows the reply.
  std::vector<TimePoint> Looks(TimePoint until,
                               const std::function<std::optional<Error>(std::size_t)>& answer) {
    std::vector<TimePoint> looks;
    LinkedWorker worker(testing::Make([&](FakeConnector& connector, const ConnectorContext&) {
      connector.on_find =
          [&](const connectors::FindSentRequest&) -> Result<std::vector<SentReply>> {
        looks.push_back(clock_.Now());
        if (auto error = answer(looks.size() - 1)) return Fail(*std::move(error));
        return std::vector<SentReply>{{PlatformId("p1"), clock_.Now()}};
      };
    }));
    Must(worker.link().Hello("fake", {}));
    int calls = 0;
    while (Load(id_).state == ReplyState::kUnknown && ++calls < 10'000) {
      const auto due = sender_.RunOnce(&worker.link());
      if (!due || *due > until) break;
      clock_.Set(*due);
    }
    EXPECT_LT(calls, 10'000);
    return looks;
  }
  static std::vector<std::chrono::milliseconds> GapsOf(const std::vector<TimePoint>& looks) {
    std::vector<std::chrono::milliseconds> gaps;
    for (std::size_t i = 1; i < looks.size(); ++i) gaps.push_back(looks[i] - looks[i - 1]);
    return gaps;
  }

  const ReplyId id_;
  Sender sender_{*store_, clock_, account_.id};
};

TEST_F(FailedLooksTest, ComeEverMoreSeldomAndAreNoVerdict) {
  using std::chrono::seconds;
  const TimePoint begin = clock_.Now();
  const std::vector<TimePoint> looks = Looks(begin + std::chrono::hours(24), [](std::size_t) {
    return Error{.code = ErrorCode::kPlatformUnavailable, .message = "down"};
  });
  const std::vector<std::chrono::milliseconds> gaps = GapsOf(looks);
  ASSERT_GE(gaps.size(), 11u);
  EXPECT_THAT(std::vector(gaps.begin(), gaps.begin() + 11),
              ElementsAre(seconds(2), seconds(4), seconds(8), seconds(16), seconds(32), seconds(64),
                          seconds(128), seconds(256), seconds(512), seconds(600), seconds(600)));
  EXPECT_LE(looks.size(), 24u * 6 + 10);
  EXPECT_GT(clock_.Now(), begin + std::chrono::hours(23)) << "it goes on looking";
  EXPECT_EQ(Load(id_).state, ReplyState::kUnknown) << "nothing was seen, so nothing is known";
  EXPECT_EQ(Load(id_).looks, 0u);

  // The platform is back: one look settles it, and nothing is left to do.
  EXPECT_THAT(Looks(clock_.Now() + std::chrono::minutes(20),
                    [](std::size_t) { return std::optional<Error>(); }),
              SizeIs(1));
  EXPECT_EQ(Load(id_).state, ReplyState::kSent);
  EXPECT_EQ(sender_.RunOnce(nullptr), std::nullopt);
}

TEST_F(FailedLooksTest, WaitAsLongAsThePlatformAsksButNoLongerThanADay) {
  using std::chrono::hours;
  using std::chrono::milliseconds;
  using std::chrono::minutes;
  using std::chrono::seconds;
  const auto looks = Looks(clock_.Now() + hours(100), [&](std::size_t look) {
    Error error{.code = ErrorCode::kRateLimited, .message = "slow down"};
    switch (look) {
      case 0:
        error.retry_after = minutes(40);
        return std::optional(error);
      case 1:
        error.retry_at = clock_.Now() + hours(3);
        return std::optional(error);
      case 2:
        error.retry_after = milliseconds::max();  // of a worker that has been taken over
        return std::optional(error);
      case 3:
        error.retry_at = clock_.Now() + hours(1'000);
        return std::optional(error);
      case 4:
        error.retry_after = milliseconds(1);  // never more often than without it
        return std::optional(error);
      default:
        return std::optional<Error>();
    }
  });
  EXPECT_THAT(GapsOf(looks), ElementsAre(minutes(40), hours(3), hours(24), hours(24), seconds(32)));
  EXPECT_EQ(Load(id_).state, ReplyState::kSent);
}

TEST_F(FailedLooksTest, AreRareWhileOnlyAPersonCanHelp) {
  const auto looks = Looks(clock_.Now() + std::chrono::hours(24), [](std::size_t look) {
    return Error{.code = look % 2 == 0 ? ErrorCode::kCredentialDead : ErrorCode::kMissingPrivilege,
                 .message = "no"};
  });
  EXPECT_THAT(GapsOf(looks), AllOf(SizeIs(23), Each(std::chrono::minutes(60))));
  // A new credential comes with a new sender, which does not wait.
  Sender fresh(*store_, clock_, account_.id);
  EXPECT_EQ(fresh.RunOnce(nullptr), clock_.Now() + std::chrono::seconds(1));
}

TEST_F(FailedLooksTest, DoNotHoldUpOtherReplies) {
  Looks(clock_.Now() + std::chrono::minutes(1),
        [](std::size_t) { return Error{.code = ErrorCode::kCredentialDead, .message = "no"}; });
  const ReplyId other = Queue("another answer");
  int sent = 0;
  LinkedWorker worker(testing::Make([&](FakeConnector& connector, const ConnectorContext&) {
    connector.on_send = [&](const OutgoingReply&, std::stop_token) -> Result<SentReply> {
      ++sent;
      return SentReply{PlatformId("p2"), clock_.Now()};
    };
  }));
  Must(worker.link().Hello("fake", {}));
  sender_.RunOnce(&worker.link());
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(Load(other).state, ReplyState::kSent);
  EXPECT_EQ(Load(id_).state, ReplyState::kUnknown);
}

}  // namespace
}  // namespace mayfly::service
