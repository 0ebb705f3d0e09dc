// What only Bluesky's own simulator can show: a client library that was written elsewhere, and
// an answer that breaks the HTTP client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/bluesky/simulator.h"
#include "tests/support/citizen.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kOffice = "stats-office.test";
constexpr const char* kCitizen = "citizen-heliotrope.test";
const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

std::string ReplyBody(const std::string& text, const std::string& after) {
  std::string body;
  json::Writer(&body)
      .StartObject()
      .Field("text", text)
      .Field("after_message_id", after)
      .EndObject();
  return body;
}

class BlueskyFirstLight : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = connectors::BlueskySimulator::Start(service_.clock()).value();
    platform_->AddActor(kOffice, "office-password", {{"office-app-pass-word", true}});
    platform_->AddActor(kCitizen, "citizen-password");
    service_.Start();
    service_.MakeTokens();
    service_.ConnectAccount("bluesky",
                            {.options = {{"service", platform_->origin()}, {"identifier", kOffice}},
                             .credential = Credential(R"({"password":"office-app-pass-word"})")});
  }

  // The id of the message with this text, once it was collected.
  std::string Await(const std::string& text) {
    std::string id;
    EXPECT_TRUE(Eventually([&] {
      for (const auto& [message, body] : service_.ReadAll()) {
        if (body == text) id = message;
      }
      return !id.empty();
    })) << "a message never arrived";
    return id;
  }

  ServiceProcess service_{kStart};
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
  const std::string message = Await(question);
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
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "before the attack"));
  const std::string message = Await("before the attack");
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
  Await("after the attack");
  service_.clock().Set(kStart + std::chrono::days(92), 1.0);
  service_.MakeTokens();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 410);
  EXPECT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("2027-02-22") !=
           std::string::npos;
  }));
}

}  // namespace
}  // namespace mayfly::testing
