// What only Mastodon's own simulator can show: a policy that hides strangers is told while their
// messages are collected, an edit shows, and a reply keeps to its recipients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/mastodon/simulator.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

class MastodonFirstLight : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = connectors::MastodonSimulator::Start(service_.clock()).value();
    platform_->AddAccount("office");
    platform_->AddAccount("ann@far.example");
    ASSERT_TRUE(platform_->SetPrivateMentions("office", "filter"));
    const std::string token =
        platform_
            ->IssueToken("office", "read:accounts read:statuses read:notifications write:statuses")
            .value();
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(
        "mastodon", {.options = {{"server", platform_->origin()}},
                     .credential = Credential(R"({"access_token":")" + token + "\"}")});
  }

  Answer Reply(const std::string& text, const std::string& message) {
    const std::string conversation =
        service_.Ask("comms", "GET", "/v1/messages/" + message).Text("conversation");
    return service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                        ReplyBody(text, message),
                        {{"Idempotency-Key", "k" + std::to_string(text.size())}});
  }

  ServiceProcess service_{kStart, RateFor("mastodon")};
  std::unique_ptr<connectors::MastodonSimulator> platform_;
  std::string account_;
};

TEST_F(MastodonFirstLight, AFilteredStrangerIsCollectedAndThePolicyIsTold) {
  ASSERT_TRUE(platform_->Post("ann@far.example", "@office@social.example Are you open?"));
  service_.AwaitMessage("Are you open?");
  const auto account = [&] {
    return service_.Ask("administrator", "GET", "/v1/accounts/" + account_);
  };
  EXPECT_TRUE(Eventually([&] {
    return account().Text("state_reason") == "notification-policy-filters";
  })) << account().body;
  EXPECT_EQ(account().Text("state"), "ok");
  ASSERT_TRUE(platform_->SetPrivateMentions("office", "accept"));
  EXPECT_TRUE(Eventually([&] { return account().Text("state_reason").empty(); }));
}

TEST_F(MastodonFirstLight, AReplyKeepsToItsRecipientsAndAnEditShows) {
  const auto posted = platform_->Post("ann@far.example", "@office@social.example Are you oepn?");
  ASSERT_TRUE(posted);
  const std::string message = service_.AwaitMessage("Are you oepn?");
  ASSERT_TRUE(platform_->Edit(posted->id, "@office@social.example Are you open?"));
  EXPECT_EQ(service_.AwaitMessage("Are you open?"), message);
  const Answer refused = Reply("Ask @bob@other.example.", message);
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(refused.body, HasSubstr("adds-recipient"));
  const Answer queued = Reply("Yes, we are.", message);
  ASSERT_EQ(queued.status, 202) << queued.body;
  EXPECT_TRUE(Eventually([&] {
    return service_.Ask("comms", "GET", "/v1/replies/" + queued.Text("id")).Text("state") == "sent";
  }));
  const auto seen = platform_->StatusesSeenBy("ann@far.example");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1].text, "@ann@far.example Yes, we are.");
  EXPECT_EQ(seen[1].visibility, "direct");
}

}  // namespace
}  // namespace mayfly::testing
