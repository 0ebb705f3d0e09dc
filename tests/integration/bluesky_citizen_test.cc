// The simulated platform, judged by a client library that was written elsewhere and checks every
// answer against the platform's lexicons.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/bluesky/simulator.h"
#include "store/model/clock.h"
#include "store/model/json.h"
#include "tests/support/citizen.h"

namespace mayfly::connectors {
namespace {

using mayfly::testing::CitizenMissing;
using mayfly::testing::RunCitizen;
using ::testing::HasSubstr;

class BlueskyCitizen : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = CitizenMissing(); !reason.empty()) GTEST_SKIP() << reason;
    auto sim = BlueskySimulator::Start(clock_);
    ASSERT_TRUE(sim.has_value());
    sim_ = *std::move(sim);
    sim_->AddActor("council.test", "pw");
    sim_->AddActor("ann.test", "ann-pw",
                   {{.password = "no-dm", .direct_messages = false},
                    {.password = "dm", .direct_messages = true}});
  }
  json::Value Ann(std::vector<std::string> step, const std::string& password = "dm") {
    std::vector<std::string> arguments = {sim_->origin(), "ann.test", password};
    arguments.insert(arguments.end(), step.begin(), step.end());
    const auto result = RunCitizen(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    // value() throws where there is none, which fails the test.
    return json::Parse(result.out).value();
  }

  SystemClock clock_;
  std::unique_ptr<BlueskySimulator> sim_;
};

TEST_F(BlueskyCitizen, EveryAnswerHoldsItsLexicon) {
  ASSERT_TRUE(sim_->SendAs("council.test", "ann.test", "with a quote", {.embed = true}));
  const auto gone = sim_->SendAs("council.test", "ann.test", "deleted");
  ASSERT_TRUE(gone.has_value());
  ASSERT_TRUE(sim_->DeleteForBoth(gone->conversation_id, gone->message_id));
  ASSERT_TRUE(sim_->CreateGroup("council.test", {"ann.test"}, "Allotments"));
  const json::Value tour = Ann({"tour", "council.test"});
  EXPECT_EQ(tour.Bool("canChat").value(), true);
  EXPECT_EQ(tour.Int("messages").value(), 16);
  EXPECT_EQ(tour.Find("first")->String("text").value(), "with a quote");
  EXPECT_EQ(tour.Int("page").value(), 5);
  const json::Array& kinds = *tour.Find("kinds")->AsArray();
  std::vector<std::string> names;
  for (const json::Value& kind : kinds) names.push_back(*kind.AsString());
  EXPECT_THAT(names, ::testing::IsSupersetOf({"logCreateMessage", "logDeleteMessage",
                                              "logReadConvo", "logMuteConvo", "logUnmuteConvo",
                                              "logAcceptConvo", "logSomethingNew"}));
  const json::Value& refusals = *tour.Find("refusals");
  EXPECT_EQ(refusals.String("proxy").value(), "400 InvalidRequest");
  EXPECT_EQ(refusals.String("convo").value(), "400 InvalidConvo");
  EXPECT_EQ(refusals.String("cursor").value(), "400 InvalidRequest");
  EXPECT_EQ(refusals.String("limit").value(), "400 InvalidRequest");
  EXPECT_EQ(refusals.String("long").value(), "400 InvalidRequest");
  EXPECT_EQ(refusals.String("target").value(), "400 ReplyTargetNotFound");
}

TEST_F(BlueskyCitizen, WritesAndReadsStepByStep) {
  const json::Value sent = Ann({"send", "council.test", "hello \xF0\x9F\x91\x8B"});
  EXPECT_EQ(sim_->CountSends("hello \xF0\x9F\x91\x8B"), 1u);
  ASSERT_TRUE(sim_->SendAs("council.test", "ann.test", "good day"));
  const json::Value read = Ann({"read", "council.test"});
  const json::Array& messages = *read.Find("messages")->AsArray();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].String("id").value(), sent.Find("message")->String("id").value());
  EXPECT_EQ(messages[1].String("text").value(), "good day");
  EXPECT_EQ(Ann({"list"}).Find("accepted")->AsArray()->size(), 1u);
  EXPECT_EQ(Ann({"log"}).Find("logs")->AsArray()->size(), 0u) << "the log starts now";
}

TEST_F(BlueskyCitizen, AppPasswordWithoutDirectMessagesIsRefused) {
  const auto result =
      RunCitizen({sim_->origin(), "ann.test", "no-dm", "send", "council.test", "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("400 InvalidToken: Bad token method"));
}

// A client that checks nothing would prove nothing.
TEST_F(BlueskyCitizen, TheClientNoticesAnAnswerThatBreaksItsLexicon) {
  SimulatorResponse wrong;
  wrong.body = R"({"cursor":"x"})";
  sim_->AnswerNext("chat.bsky.convo.getLog", wrong);
  EXPECT_EQ(RunCitizen({sim_->origin(), "ann.test", "dm", "log"}).exit_code, 1);
}

}  // namespace
}  // namespace mayfly::connectors
