// The simulated Mastodon, judged by a client library that was written elsewhere: it chooses the
// paths and encodings, reads every answer and follows the pages by itself.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/mastodon/simulator.h"
#include "store/model/clock.h"
#include "store/model/json.h"
#include "tests/support/citizen.h"

namespace mayfly::connectors {
namespace {

using mayfly::testing::CitizenMissing;
using mayfly::testing::kMastodonCitizen;
using mayfly::testing::RunCitizen;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MastodonCitizen : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = CitizenMissing(kMastodonCitizen); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
    sim_ = MastodonSimulator::Start(clock_).value();
    sim_->AddAccount("office");
    sim_->AddAccount("ann");
    office_ = sim_->IssueToken("office", "read write").value();
    ann_ = sim_->IssueToken("ann", "read write").value();
  }
  json::Value Do(const std::string& token, std::vector<std::string> step) {
    step.insert(step.begin(), {sim_->origin(), token});
    const auto result = RunCitizen(step, kMastodonCitizen);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    // value() throws where there is none, which fails the test.
    return json::Parse(result.out).value();
  }
  // The server's answer, as the library reports it.
  std::string Refused(const std::string& token, std::vector<std::string> step) {
    step.insert(step.begin(), {sim_->origin(), token});
    const auto result = RunCitizen(step, kMastodonCitizen);
    EXPECT_EQ(result.exit_code, 1);
    return result.errors;
  }
  static const json::Array& Items(const json::Value& list) {
    return *list.Find("items")->AsArray();
  }

  SystemClock clock_;
  std::unique_ptr<MastodonSimulator> sim_;
  std::string office_;
  std::string ann_;
};

TEST_F(MastodonCitizen, ACitizenWritesAndTheOfficeAnswersOnce) {
  EXPECT_EQ(Do(office_, {"verify"}).Bool("same").value(), true);
  EXPECT_EQ(Do(office_, {"policy", "accept"}).String("before").value(), "filter");
  const json::Value question = Do(ann_, {"send", "@office is it open & free?"});
  EXPECT_EQ(question.String("visibility").value(), "direct");
  EXPECT_THAT(question.String("content").value(), HasSubstr("open &amp; free?</p>"));
  const std::string id = question.String("id").value();

  const json::Value mentions = Do(office_, {"mentions"});
  ASSERT_EQ(Items(mentions).size(), 1u);
  EXPECT_EQ(Items(mentions)[0].Find("status")->String("id").value(), id);

  const json::Value answer = Do(office_, {"send", "@ann yes", "key", id});
  EXPECT_EQ(Do(office_, {"send", "@ann yes", "key", id}).String("id").value(),
            answer.String("id").value());
  EXPECT_EQ(answer.String("inReplyToId").value(), id);
  EXPECT_EQ(sim_->StatusesSeenBy("ann").size(), 2u);

  const json::Value conversations = Do(ann_, {"conversations"});
  ASSERT_EQ(Items(conversations).size(), 1u);
  EXPECT_EQ(Items(conversations)[0].Bool("unread").value(), true);
  EXPECT_EQ(Items(conversations)[0].Find("last")->String("id").value(),
            answer.String("id").value());
  const std::string entry = Items(conversations)[0].String("id").value();
  EXPECT_EQ(Do(ann_, {"read", entry}).Bool("unread").value(), false);
}

TEST_F(MastodonCitizen, TheLibraryPagesToTheEndInBothDirections) {
  ASSERT_TRUE(sim_->SetPrivateMentions("office", "accept").has_value());
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(sim_->Post("ann", "@office " + std::to_string(i)).has_value());
  }
  const json::Value conversations = Do(office_, {"conversations", "2"});
  EXPECT_EQ(Items(conversations).size(), 6u);
  EXPECT_EQ(conversations.Int("pages").value(), 4) << "the last page is full, so one more is asked";
  EXPECT_EQ(Do(office_, {"conversations", "4"}).Int("pages").value(), 2);
  const json::Value mentions = Do(office_, {"mentions", "4"});
  EXPECT_EQ(Items(mentions).size(), 6u);
  EXPECT_EQ(mentions.Int("pages").value(), 3);
  const std::string lowest = Items(mentions)[5].String("id").value();
  const json::Value upwards = Do(office_, {"mentions", "2", lowest});
  EXPECT_EQ(Items(upwards).size(), 5u);
}

TEST_F(MastodonCitizen, EditsDeletesAndContext) {
  const std::string one = Do(ann_, {"send", "@office helo"}).String("id").value();
  const std::string two = Do(ann_, {"form", "@office by form"}).String("id").value();
  const json::Value edited = Do(ann_, {"edit", one, "@office hello"});
  EXPECT_FALSE(edited.Find("editedAt")->is_null());
  const std::string reply = Do(office_, {"send", "@ann hi", "", one}).String("id").value();
  const json::Value context = Do(office_, {"context", one});
  EXPECT_EQ(context.Int("versions").value(), 2);
  EXPECT_EQ(context.String("source").value(), "@office hello");
  ASSERT_EQ(context.Find("descendants")->AsArray()->size(), 1u);
  EXPECT_EQ(context.Find("descendants")->AsArray()->at(0).String("id").value(), reply);
  EXPECT_EQ(Do(ann_, {"delete", two}).String("text").value(), "@office by form");
  EXPECT_THAT(Refused(office_, {"context", two}), StartsWith("context: 404 "));
  EXPECT_THAT(Refused(office_, {"context", two}), HasSubstr("Record not found"));
}

TEST_F(MastodonCitizen, AStrangerWaitsUntilTheRequestIsAccepted) {
  Do(ann_, {"send", "@office hello"});
  EXPECT_EQ(Items(Do(office_, {"mentions"})).size(), 0u);
  EXPECT_EQ(Items(Do(office_, {"conversations"})).size(), 0u);
  EXPECT_EQ(Items(Do(office_, {"requests", "accept"})).size(), 1u);
  EXPECT_EQ(Items(Do(office_, {"mentions"})).size(), 1u);
  EXPECT_EQ(Items(Do(office_, {"conversations"})).size(), 1u);
}

TEST_F(MastodonCitizen, RefusalsAreUnderstoodByTheLibrary) {
  EXPECT_THAT(Refused("wrong", {"conversations"}), HasSubstr("The access token is invalid"));
  const std::string reader = sim_->IssueToken("office", "read").value();
  EXPECT_THAT(Refused(reader, {"send", "@ann x"}),
              HasSubstr("403 MastoHttpError: This action is outside the authorized scopes"));
  EXPECT_THAT(Refused(office_, {"send", std::string(501, 'x')}),
              HasSubstr("Validation failed: Text character limit of 500 exceeded"));
  const json::Value app = Do("-", {"register"});
  EXPECT_EQ(app.String("type").value(), "Bearer");
  EXPECT_EQ(app.Int("after").value(), 401);
}

// A client that reads nothing would prove nothing.
TEST_F(MastodonCitizen, TheLibraryNoticesHalfAnAnswer) {
  ASSERT_TRUE(sim_->Inject(PlatformFault::kTruncatedAnswer).has_value());
  EXPECT_THAT(Refused(office_, {"conversations"}), HasSubstr("MastoDeserializeError"));
}

}  // namespace
}  // namespace mayfly::connectors
