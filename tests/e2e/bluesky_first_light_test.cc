// What only Bluesky's own simulator can show: a client library that was written elsewhere, and
// an answer that breaks the HTTP client.
#include <cstddef>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/bluesky/simulator.h"
#include "service/supervisor/supervisor.h"
#include "tests/support/api_raw_client.h"
#include "tests/support/citizen.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kOffice = "stats-office.test";
constexpr const char* kCitizen = "citizen-heliotrope.test";
const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

class BlueskyFirstLight : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = connectors::BlueskySimulator::Start(service_.clock()).value();
    platform_->AddActor(kOffice, "office-password", {{"office-app-pass-word", true}});
    platform_->AddActor(kCitizen, "citizen-password");
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(
        "bluesky", {.options = {{"service", platform_->origin()}, {"identifier", kOffice}},
                    .credential = Credential(R"({"password":"office-app-pass-word"})")});
  }

  ServiceProcess service_{kStart};
  std::string account_;
  std::unique_ptr<connectors::BlueskySimulator> platform_;
};

// The citizen's side is a client library that was written elsewhere.
TEST_F(BlueskyFirstLight, ACitizenWithAnotherClientWritesAndSeesTheReply) {
  if (const std::string reason = CitizenMissing(); !reason.empty()) GTEST_SKIP() << reason;
  const auto citizen = [&](std::vector<std::string> step) {
    step.insert(step.begin(), {platform_->origin(), kCitizen, "citizen-password"});
    return RunCitizen(step);
  };
  const std::string question = "written with another client";
  const CitizenResult sent = citizen({"send", kOffice, question});
  ASSERT_EQ(sent.exit_code, 0) << sent.errors;
  const std::string message = service_.AwaitMessage(question);
  const std::string conversation =
      service_.Ask("comms", "GET", "/v1/messages/" + message).Text("conversation");
  const Answer queued =
      service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                   ReplyBody("read and answered", message), {{"Idempotency-Key", "citizen"}});
  ASSERT_EQ(queued.status, 202) << queued.body;
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("comms", "GET", "/v1/replies/" + queued.Text("id")).Text("state") == "sent";
  }));
  const CitizenResult read = citizen({"read", kOffice});
  ASSERT_EQ(read.exit_code, 0) << read.errors;
  EXPECT_THAT(read.out, HasSubstr("read and answered"));
  EXPECT_THAT(read.out, HasSubstr(question));
}

TEST_F(BlueskyFirstLight, AWorkerAbortedByAHostileAnswerLeavesApiAndExpiryRunning) {
  if (service::kWorkerDataBytesMax == std::numeric_limits<std::size_t>::max()) {
    GTEST_SKIP() << "Under a sanitizer, workers have no memory limit that could end them.";
  }
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "before the attack"));
  const std::string message = service_.AwaitMessage("before the attack");
  // Header lines without end: the client library keeps them all, until the worker's memory limit.
  std::string lines;
  while (lines.size() < 64 * 1024) lines += "X-Header: value\r\n";
  int left = 100'000;
  platform_->AnswerNext("chat.bsky.convo.getLog",
                        {.raw_bytes = "HTTP/1.1 200 OK\r\n", .raw_stream = [lines, left]() mutable {
                           return left-- > 0 ? lines : std::string();
                         }});
  ASSERT_TRUE(
      Eventually([&] { return service_.Log().find("\"worker.ended\"") != std::string::npos; }));
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 200);
  // Another worker takes over and nothing was lost.
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "after the attack"));
  service_.AwaitMessage("after the attack");
  service_.clock().Set(kStart + std::chrono::days(92), 1.0);
  service_.MakeTokens();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 410);
  EXPECT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("2027-02-22") !=
           std::string::npos;
  }));
}

// The new one is tried at the platform before it takes the old one's place.
TEST_F(BlueskyFirstLight, ACredentialIsReplacedWhenItWorksAndBelongsToTheSameAccount) {
  const std::string old_password = "office-app-pass-word";
  const std::string target = "/v1/accounts/" + account_ + "/credential";
  const auto put = [&](const std::string& password) {
    return service_.Ask("administrator", "PUT", target, "{\"password\":\"" + password + "\"}",
                        {{"If-Match", "*"}});
  };
  const auto fingerprint = [&] {
    return service_.Ask("administrator", "GET", "/v1/accounts/" + account_)
        .Text("credential_fingerprint");
  };
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "before"));
  service_.AwaitMessage("before");
  const std::string old_print = fingerprint();

  // Refused by the platform, lacking a permission, or somebody else's: the old one goes on.
  platform_->AddActor(kOffice, "office-password", {{old_password, true}, {"no-messages", false}});
  const Answer wrong = put("never-an-app-password");
  EXPECT_EQ(wrong.status, 409) << wrong.body;
  EXPECT_EQ(wrong.Text("type"), "/problems/credential-dead");
  const Answer poor = put("no-messages");
  EXPECT_EQ(poor.Text("type"), "/problems/missing-privilege") << poor.body;
  RawClient client(platform_->port());
  const std::string login =
      std::string(R"({"identifier":")") + kCitizen + R"(","password":"citizen-password"})";
  const auto session = client.Ask(
      "POST /xrpc/com.atproto.server.createSession HTTP/1.1\r\nHost: 127.0.0.1\r\n"
      "Content-Type: application/json\r\nContent-Length: " +
      std::to_string(login.size()) + "\r\n\r\n" + login);
  ASSERT_TRUE(session.has_value());
  ASSERT_EQ(session->status, 200) << session->body;
  platform_->AnswerNext("com.atproto.server.createSession", {.body = session->body});
  const Answer other = put(old_password);
  EXPECT_EQ(other.status, 400) << other.body;
  EXPECT_THAT(other.Text("detail"), HasSubstr("another account"));
  EXPECT_EQ(fingerprint(), old_print);
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "meanwhile"));
  service_.AwaitMessage("meanwhile");

  // One that works: from now on the old one may go.
  const std::string fresh = "office-new-app-pass";
  platform_->AddActor(kOffice, "office-password", {{old_password, true}, {fresh, true}});
  const Answer replaced = put(fresh);
  EXPECT_EQ(replaced.status, 200) << replaced.body;
  EXPECT_NE(fingerprint(), old_print);
  platform_->AddActor(kOffice, "office-password", {{fresh, true}});
  platform_->ExpireSessions();
  platform_->RevokeRefresh();
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "after"));
  service_.AwaitMessage("after");
  // Both would be found if either lay anywhere in the clear.
  for (const std::string& secret : {old_password, fresh}) {
    EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), secret), IsEmpty());
    EXPECT_THAT(service_.Log(), Not(HasSubstr(secret)));
  }
}

}  // namespace
}  // namespace mayfly::testing
