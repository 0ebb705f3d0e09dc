// A direct message is collected, read, answered and forgotten, on the real programs.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/api_raw_client.h"
#include "tests/support/citizen.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

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

class FirstLight : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool through_proxy = std::getenv("MAYFLY_VALIDATING_PROXY") != nullptr;
    if (through_proxy && !ServiceProcess::ProxyMissing().empty()) {
      GTEST_SKIP() << ServiceProcess::ProxyMissing();
    }
    service_.platform().AddActor(kCitizen, "citizen-password");
    service_.Start();
    if (through_proxy) service_.AskThroughProxy();
    service_.MakeTokens();
    account_ = service_.ConnectAccount();
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
  std::string account_;
};

TEST_F(FirstLight, AMessageIsCollectedReadAnsweredAndForgotten) {
  const std::string question = "marker-vermilion-4417 where are the census tables";
  const std::string reply_text = "marker-cerulean-9902 they are on our website";
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, question));

  // Read, with the date of its death.
  const std::string message = Await(question);
  const Answer read = service_.Ask("comms", "GET", "/v1/messages/" + message);
  ASSERT_EQ(read.status, 200) << read.body;
  EXPECT_EQ(read.Text("expires_at"), "2027-02-22T00:00:00.000Z");
  EXPECT_THAT(message, HasSubstr("20270222"));
  const std::string conversation = read.Text("conversation");

  // An administrator may connect accounts and never reads.
  EXPECT_EQ(service_.Ask("administrator", "GET", "/v1/messages/" + message).status, 403);

  // Answered: the citizen sees it, exactly once.
  const std::string replies = "/v1/conversations/" + conversation + "/replies";
  const Answer queued = service_.Ask("comms", "POST", replies, ReplyBody(reply_text, message),
                                     {{"Idempotency-Key", "first-light-1"}});
  ASSERT_EQ(queued.status, 202) << queued.body;
  const std::string reply = queued.Text("id");
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("comms", "GET", "/v1/replies/" + reply).Text("state") == "sent";
  })) << service_.Ask("comms", "GET", "/v1/replies/" + reply).body;
  EXPECT_EQ(service_.platform().CountSends(reply_text), 1u);
  // The same key again is the same reply, not a second one.
  const Answer again = service_.Ask("comms", "POST", replies, ReplyBody(reply_text, message),
                                    {{"Idempotency-Key", "first-light-1"}});
  EXPECT_EQ(again.Text("id"), reply);
  EXPECT_EQ(service_.platform().CountSends(reply_text), 1u);
  // It stands in the thread as outgoing, once.
  int outgoing = 0;
  for (const auto& [id, text] : service_.ReadAll()) outgoing += text == reply_text;
  EXPECT_EQ(outgoing, 1);

  // Before its death no plain text lies on disk or in logs either.
  for (const char* marker : {"marker-vermilion-4417", "marker-cerulean-9902", "heliotrope"}) {
    EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), marker), IsEmpty()) << marker;
    EXPECT_THAT(service_.Log(), Not(HasSubstr(marker)));
  }

  // A millisecond before midnight it is there; then nothing finds it any more.
  service_.clock().Set(*ParseRfc3339("2027-02-21T23:59:00Z"), 0.0);
  service_.MakeTokens();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 200);
  service_.clock().Set(*ParseRfc3339("2027-02-22T00:00:00.000Z"), 0.0);
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 410);
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/replies/" + reply).status, 410);
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations/" + conversation).status, 404);
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations/" + conversation + "/messages").status,
            404);
  EXPECT_THAT(service_.Ask("comms", "GET", "/v1/conversations").Items(), IsEmpty());

  // Its keys end at the same instant, with a receipt.
  service_.clock().Set(*ParseRfc3339("2027-02-22T00:00:01Z"), 1.0);
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("2027-02-22") !=
           std::string::npos;
  }));
  EXPECT_TRUE(Eventually(
      [&] { return !std::filesystem::exists(service_.data_dir() / "keys" / "D20270222.a"); }));
  const std::string metrics = service_.Ask("operator", "GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("mayfly_dates_due_not_destroyed 0"));
  service_.Stop();

  // No byte of it is left anywhere, raw or as hex.
  const auto files = ReadTree(service_.data_dir());
  EXPECT_THAT(files, Not(IsEmpty()));
  for (const char* marker : {"marker-vermilion-4417", "marker-cerulean-9902", "heliotrope"}) {
    EXPECT_THAT(FindMarker(files, marker), IsEmpty()) << marker;
    EXPECT_THAT(service_.Log(), Not(HasSubstr(marker)));
    EXPECT_THAT(metrics, Not(HasSubstr(marker)));
  }
}

// The citizen's side is a client library that was written elsewhere.
TEST_F(FirstLight, ACitizenWithAnotherClientWritesAndSeesTheReply) {
  if (const std::string reason = CitizenMissing(); !reason.empty()) GTEST_SKIP() << reason;
  const auto citizen = [&](std::vector<std::string> step) {
    step.insert(step.begin(), {service_.platform().origin(), kCitizen, "citizen-password"});
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

TEST_F(FirstLight, AWithdrawnMessageIsHiddenAtOnce) {
  const auto sent = service_.platform().SendAs(kCitizen, kOffice, "I regret this already");
  ASSERT_TRUE(sent);
  const std::string message = Await("I regret this already");
  ASSERT_TRUE(service_.platform().DeleteForBoth(sent->conversation_id, sent->message_id));
  EXPECT_TRUE(Eventually(
      [&] { return service_.Ask("comms", "GET", "/v1/messages/" + message).status == 404; }));
  EXPECT_THAT(service_.ReadAll(), Not(Contains(Key(message))));
}

TEST_F(FirstLight, ALostAnswerBecomesUnknownAndIsSettledByLooking) {
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "Are you there?"));
  const std::string message = Await("Are you there?");
  const std::string conversation =
      service_.Ask("comms", "GET", "/v1/messages/" + message).Text("conversation");
  service_.platform().DropNextSendAnswer();
  const Answer queued =
      service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                   ReplyBody("Yes, we are.", message), {{"Idempotency-Key", "k"}});
  ASSERT_EQ(queued.status, 202) << queued.body;
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("comms", "GET", "/v1/replies/" + queued.Text("id")).Text("state") == "sent";
  }));
  EXPECT_EQ(service_.platform().CountSends("Yes, we are."), 1u);
  int outgoing = 0;
  for (const auto& [id, text] : service_.ReadAll()) outgoing += text == "Yes, we are.";
  EXPECT_EQ(outgoing, 1);
}

TEST_F(FirstLight, AWorkerAbortedByAHostileAnswerLeavesApiAndExpiryRunning) {
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "before the attack"));
  const std::string message = Await("before the attack");
  // Header lines without end: the client library keeps them all, until the worker's memory limit.
  std::string lines;
  while (lines.size() < 64 * 1024) lines += "X-Header: value\r\n";
  int left = 100'000;
  service_.platform().AnswerNext(
      "chat.bsky.convo.getLog",
      {.raw_bytes = "HTTP/1.1 200 OK\r\n",
       .raw_stream = [lines, left]() mutable { return left-- > 0 ? lines : std::string(); }});
  ASSERT_TRUE(
      Eventually([&] { return service_.Log().find("\"worker.ended\"") != std::string::npos; }));
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 200);
  // Another worker takes over and nothing was lost.
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "after the attack"));
  Await("after the attack");
  service_.clock().Set(kStart + std::chrono::days(92), 1.0);
  service_.MakeTokens();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 410);
  EXPECT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("2027-02-22") !=
           std::string::npos;
  }));
}

TEST_F(FirstLight, DisconnectingStopsCollectingAndKeepsWhatIsThere) {
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "kept until it expires"));
  const std::string message = Await("kept until it expires");
  EXPECT_EQ(
      service_.Ask("administrator", "DELETE", "/v1/accounts/" + account_, "", {{"If-Match", "*"}})
          .status,
      204);
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "never collected"));
  EXPECT_TRUE(Eventually([&] { return !service_.WorkerPid().has_value(); }));
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 200);
  EXPECT_THAT(service_.ReadAll(), Not(Contains(Pair(::testing::_, "never collected"))));
  EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), kOfficeAppPassword), IsEmpty());
}

// The new one is tried at the platform before it takes the old one's place.
TEST_F(FirstLight, ACredentialIsReplacedWhenItWorksAndBelongsToTheSameAccount) {
  const std::string target = "/v1/accounts/" + account_ + "/credential";
  const auto put = [&](const std::string& password) {
    return service_.Ask("administrator", "PUT", target, "{\"password\":\"" + password + "\"}",
                        {{"If-Match", "*"}});
  };
  const auto fingerprint = [&] {
    return service_.Ask("administrator", "GET", "/v1/accounts/" + account_)
        .Text("credential_fingerprint");
  };
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "before"));
  Await("before");
  const std::string old_print = fingerprint();

  // Refused by the platform, lacking a permission, or somebody else's: the old one goes on.
  service_.platform().AddActor(kOffice, "office-password",
                               {{kOfficeAppPassword, true}, {"no-messages", false}});
  const Answer wrong = put("never-an-app-password");
  EXPECT_EQ(wrong.status, 409) << wrong.body;
  EXPECT_EQ(wrong.Text("type"), "/problems/credential-dead");
  const Answer poor = put("no-messages");
  EXPECT_EQ(poor.Text("type"), "/problems/missing-privilege") << poor.body;
  RawClient platform(service_.platform().port());
  const std::string login =
      std::string(R"({"identifier":")") + kCitizen + R"(","password":"citizen-password"})";
  const auto session = platform.Ask(
      "POST /xrpc/com.atproto.server.createSession HTTP/1.1\r\nHost: 127.0.0.1\r\n"
      "Content-Type: application/json\r\nContent-Length: " +
      std::to_string(login.size()) + "\r\n\r\n" + login);
  ASSERT_TRUE(session.has_value());
  ASSERT_EQ(session->status, 200) << session->body;
  service_.platform().AnswerNext("com.atproto.server.createSession", {.body = session->body});
  const Answer other = put(kOfficeAppPassword);
  EXPECT_EQ(other.status, 400) << other.body;
  EXPECT_THAT(other.Text("detail"), HasSubstr("another account"));
  EXPECT_EQ(fingerprint(), old_print);
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "meanwhile"));
  Await("meanwhile");

  // One that works: from now on the old one may go.
  const std::string fresh = "office-new-app-pass";
  service_.platform().AddActor(kOffice, "office-password",
                               {{kOfficeAppPassword, true}, {fresh, true}});
  const Answer replaced = put(fresh);
  EXPECT_EQ(replaced.status, 200) << replaced.body;
  EXPECT_NE(fingerprint(), old_print);
  service_.platform().AddActor(kOffice, "office-password", {{fresh, true}});
  service_.platform().ExpireSessions();
  service_.platform().RevokeRefresh();
  ASSERT_TRUE(service_.platform().SendAs(kCitizen, kOffice, "after"));
  Await("after");
  // Both would be found if either lay anywhere in the clear.
  for (const std::string& secret : {std::string(kOfficeAppPassword), fresh}) {
    EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), secret), IsEmpty());
    EXPECT_THAT(service_.Log(), Not(HasSubstr(secret)));
  }
}

}  // namespace
}  // namespace mayfly::testing
