// Each answer of the simulated Mastodon holds the schema that Mastodon's OpenAPI description gives
// for it.
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/mastodon/simulator.h"
#include "tests/support/platform_contract.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/simulator_client.h"

namespace mayfly::connectors {
namespace {

using mayfly::testing::PlatformContract;
using mayfly::testing::RawResponse;
using mayfly::testing::SimulatedClock;
using mayfly::testing::SimulatorClient;
using ::testing::HasSubstr;

class MastodonContract : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    contract_ = PlatformContract::Open("mastodon/openapi.dm.json", &reason);
    if (contract_ == nullptr) GTEST_SKIP() << reason;
    sim_ = MastodonSimulator::Start(clock_).value();
    sim_->AddAccount(MastodonSimulator::AccountOptions{.acct = "office", .display_name = "Office"});
    sim_->AddAccount("ann");
    sim_->AddAccount("bob@far.example");
    office_ = std::make_unique<SimulatorClient>(sim_->port(),
                                                sim_->IssueToken("office", "read write").value());
    nobody_ = std::make_unique<SimulatorClient>(sim_->port(), "");
  }

  // Asks for `target` and holds the answer to the schema of `path`.
  RawResponse Holds(const SimulatorClient& client, const std::string& method,
                    const std::string& target, const std::string& path,
                    const std::string& body = "", int status = 200) {
    RawResponse response = client.Ask(method, target, body);
    EXPECT_EQ(response.status, status) << method << " " << target << ": " << response.body;
    EXPECT_EQ(contract_->Check(method, path, response.status, response.body), "")
        << method << " " << target << ": " << response.body;
    return response;
  }
  RawResponse Get(const std::string& target, const std::string& path) {
    return Holds(*office_, "GET", target, path);
  }

  SimulatedClock clock_{ParseRfc3339("2026-11-24T12:00:00Z").value()};
  std::unique_ptr<PlatformContract> contract_;
  std::unique_ptr<MastodonSimulator> sim_;
  std::unique_ptr<SimulatorClient> office_;
  std::unique_ptr<SimulatorClient> nobody_;
};

TEST_F(MastodonContract, WhatIsRead) {
  ASSERT_TRUE(sim_->SetPrivateMentions("office", "accept").has_value());
  const auto first = sim_->Post("ann", "@office hello", {.images = 2}).value();
  const auto second =
      sim_->Post("bob@far.example", "@office@social.example @ann@social.example see #this",
                 {.in_reply_to_id = first.id, .spoiler_text = "careful", .poll = true})
          .value();
  clock_.Advance(std::chrono::minutes(1));
  ASSERT_TRUE(sim_->Edit(first.id, "@office good day").has_value());
  Get("/api/v1/conversations", "/api/v1/conversations");
  Get("/api/v1/notifications?types[]=mention", "/api/v1/notifications");
  Get("/api/v1/statuses/" + first.id, "/api/v1/statuses/{id}");
  Get("/api/v1/statuses/" + second.id, "/api/v1/statuses/{id}");
  Get("/api/v1/statuses/" + first.id + "/context", "/api/v1/statuses/{id}/context");
  Get("/api/v1/statuses/" + first.id + "/history", "/api/v1/statuses/{id}/history");
  Get("/api/v1/statuses/" + first.id + "/source", "/api/v1/statuses/{id}/source");
  Get("/api/v1/statuses?id[]=" + first.id + "&id[]=" + second.id, "/api/v1/statuses");
  Get("/api/v1/accounts/verify_credentials", "/api/v1/accounts/verify_credentials");
  Get("/api/v2/instance", "/api/v2/instance");
  Get("/api/v1/instance", "/api/v1/instance");
  Get("/api/v2/notifications/policy", "/api/v2/notifications/policy");
  Get("/api/v1/apps/verify_credentials", "/api/v1/apps/verify_credentials");
  const json::Value list = office_->GetJson("/api/v1/notifications");
  const std::string id = mayfly::testing::Column(list, "id").at(0);
  Get("/api/v1/notifications/" + id, "/api/v1/notifications/{id}");
}

TEST_F(MastodonContract, WhatIsFilteredAndLetThrough) {
  ASSERT_TRUE(sim_->Post("bob@far.example", "@office@social.example hello").has_value());
  Get("/api/v1/notifications?include_filtered=true", "/api/v1/notifications");
  const RawResponse requests =
      Get("/api/v1/notifications/requests", "/api/v1/notifications/requests");
  const std::string id = mayfly::testing::Column(SimulatorClient::Parse(requests), "id").at(0);
  Get("/api/v1/notifications/requests/" + id, "/api/v1/notifications/requests/{id}");
  Get("/api/v1/notifications/requests/merged", "/api/v1/notifications/requests/merged");
  EXPECT_EQ(office_->Ask("POST", "/api/v1/notifications/requests/" + id + "/accept").status, 200);
  Holds(*office_, "PATCH", "/api/v2/notifications/policy", "/api/v2/notifications/policy",
        R"({"for_private_mentions":"accept"})");
}

TEST_F(MastodonContract, WhatIsWritten) {
  const RawResponse posted = Holds(*office_, "POST", "/api/v1/statuses", "/api/v1/statuses",
                                   R"({"status":"@ann yes","visibility":"direct"})");
  const std::string id = SimulatorClient::Parse(posted).String("id").value();
  const std::string conversation = sim_->ConversationOf("office", id).value();
  Holds(*office_, "POST", "/api/v1/conversations/" + conversation + "/read",
        "/api/v1/conversations/{id}/read");
  Holds(*office_, "PUT", "/api/v1/statuses/" + id, "/api/v1/statuses/{id}",
        R"({"status":"@ann no"})");
  // The description asks for `content` here; Mastodon's status_serializer.rb writes `text` in its
  // place, and all else holds.
  std::string gone = office_->Ask("DELETE", "/api/v1/statuses/" + id).body;
  EXPECT_THAT(contract_->Check("DELETE", "/api/v1/statuses/{id}", 200, gone),
              HasSubstr("required"));
  const std::size_t text = gone.find("\"text\":");
  ASSERT_NE(text, std::string::npos);
  gone.replace(text, 6, "\"content\"");
  EXPECT_EQ(contract_->Check("DELETE", "/api/v1/statuses/{id}", 200, gone), "");
}

TEST_F(MastodonContract, Applications) {
  const RawResponse made =
      Holds(*nobody_, "POST", "/api/v1/apps", "/api/v1/apps",
            R"({"client_name":"t","redirect_uris":"urn:ietf:wg:oauth:2.0:oob","scopes":"read"})");
  const json::Value app = SimulatorClient::Parse(made);
  const std::string client = "\"client_id\":\"" + app.String("client_id").value() +
                             "\",\"client_secret\":\"" + app.String("client_secret").value() + "\"";
  Holds(*nobody_, "POST", "/oauth/token", "/oauth/token",
        "{\"grant_type\":\"client_credentials\"," + client + "}");
}

TEST_F(MastodonContract, WhatIsRefused) {
  Holds(*nobody_, "GET", "/api/v1/conversations", "/api/v1/conversations", "", 401);
  Holds(*office_, "GET", "/api/v1/statuses/1", "/api/v1/statuses/{id}", "", 404);
  Holds(*office_, "POST", "/api/v1/statuses", "/api/v1/statuses", R"({"status":""})", 422);
}

// Its description asks for little, but knows the names of GoToSocial's members and their types.
TEST(GoToSocialContract, WhatIsReadAndWritten) {
  std::string reason;
  const auto contract = PlatformContract::Open("gotosocial/swagger.dm.json", &reason);
  if (contract == nullptr) GTEST_SKIP() << reason;
  const SimulatedClock clock(ParseRfc3339("2026-11-24T12:00:00Z").value());
  const auto sim =
      MastodonSimulator::Start(clock, {.flavour = MastodonFlavour::kGoToSocial}).value();
  sim->AddAccount("office");
  sim->AddAccount("bob@far.example");
  const SimulatorClient office(sim->port(), sim->IssueToken("office", "read write").value());
  const auto posted =
      sim->Post("bob@far.example", "@office@social.example hello", {.images = 1}).value();
  const auto holds = [&](const std::string& method, const std::string& target,
                         const std::string& path, const std::string& body = "") {
    const RawResponse response = office.Ask(method, target, body);
    EXPECT_EQ(response.status, 200) << method << " " << target << ": " << response.body;
    EXPECT_EQ(contract->Check(method, path, response.status, response.body), "")
        << method << " " << target << ": " << response.body;
  };
  holds("GET", "/api/v1/conversations", "/api/v1/conversations");
  holds("GET", "/api/v1/notifications", "/api/v1/notifications");
  holds("GET", "/api/v1/statuses/" + posted.id, "/api/v1/statuses/{id}");
  holds("GET", "/api/v1/statuses/" + posted.id + "/context", "/api/v1/statuses/{id}/context");
  holds("GET", "/api/v1/accounts/verify_credentials", "/api/v1/accounts/verify_credentials");
  holds("GET", "/api/v2/instance", "/api/v2/instance");
  // The description has "conversation" in this path; GoToSocial's conversations.go names all of
  // them below "/v1/conversations".
  holds("POST", "/api/v1/conversations/" + posted.conversation_id + "/read",
        "/api/v1/conversation/{id}/read");
  holds("POST", "/api/v1/statuses", "/api/v1/statuses",
        R"({"status":"@bob@far.example yes","visibility":"direct"})");
  EXPECT_NE(contract->Check("GET", "/api/v1/conversations", 200, R"([{"id":1}])"), "");
}

// A check that lets everything through would prove nothing.
TEST_F(MastodonContract, ABrokenAnswerIsNoticed) {
  const std::string path = "/api/v1/conversations";
  EXPECT_EQ(contract_->Check("GET", path, 200, "[]"), "");
  EXPECT_THAT(contract_->Check("GET", path, 200, "{}"), HasSubstr("type"));
  EXPECT_THAT(contract_->Check("GET", path, 200, R"([{"id":"1","unread":false}])"),
              HasSubstr("required"));
  EXPECT_THAT(contract_->Check("GET", path, 200, R"([{"id":1,"unread":false,"accounts":[]}])"),
              HasSubstr("type"));
  EXPECT_THAT(
      contract_->Check("GET", path, 200, R"([{"id":"1","unread":false,"accounts":[{"id":"1"}]}])"),
      HasSubstr("/0/accounts/0"));
  EXPECT_NE(contract_->Check("GET", "/api/v1/nothing", 200, "[]"), "");
}

}  // namespace
}  // namespace mayfly::connectors
