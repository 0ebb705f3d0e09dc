// kill -9 of supervisor, core and worker at random points of a busy run: nothing acknowledged is
// lost, nothing is stored or sent twice, nothing comes back. And the same at each step of a purge.
#include <cstdlib>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/expiry/purge.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

int KillsWanted() {
  const char* wanted = std::getenv("MAYFLY_KILLS");
  return wanted != nullptr ? std::atoi(wanted) : 20;
}

std::string Person(int i) { return "citizen-" + std::to_string(i) + ".test"; }

std::string ReplyBody(const std::string& text, const std::string& after) {
  std::string body;
  json::Writer(&body)
      .StartObject()
      .Field("text", text)
      .Field("after_message_id", after)
      .EndObject();
  return body;
}

TEST(Kill, NothingIsLostDoubledOrSentTwice) {
  ServiceProcess service(kStart);
  for (int i = 0; i < 5; ++i) service.platform().AddActor(Person(i), "citizen-password");
  service.Start();
  service.MakeTokens();
  service.ConnectAccount();

  const unsigned seed = 20261122;
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::set<std::string> written;                 // on the platform, by citizens
  std::set<std::string> accepted;                // replies that the API acknowledged
  std::map<std::string, std::string> reply_ids;  // their ids, by text
  int number = 0, kills = 0;
  for (int round = 0; kills < KillsWanted() && round < 20 * KillsWanted(); ++round) {
    // A burst of messages, and replies to whatever can be read.
    for (int i = 0; i < 5; ++i, ++number) {
      const std::string text = "question number " + std::to_string(number);
      ASSERT_TRUE(service.platform().SendAs(Person(number % 5), kOffice, text));
      written.insert(text);
    }
    const Answer inbox = service.Ask("comms", "GET", "/v1/conversations?limit=3");
    for (const json::Value& conversation : inbox.Items()) {
      const std::string text = "answer number " + std::to_string(number++);
      const Answer queued =
          service.Ask("comms", "POST",
                      "/v1/conversations/" + conversation.String("id").value_or("") + "/replies",
                      ReplyBody(text, conversation.String("last_message").value_or("")),
                      {{"Idempotency-Key", "kill-test-" + std::to_string(number)}});
      if (queued.status != 202) continue;
      accepted.insert(text);
      reply_ids[text] = queued.Text("id");
    }
    // Somewhere in the middle of it, somebody dies. The pause is drawn, so that each kill meets
    // another moment.
    const auto pause = std::chrono::microseconds(random() % 300'000);
    Eventually([begin = std::chrono::steady_clock::now(), pause] {
      return std::chrono::steady_clock::now() - begin >= pause;
    });
    switch (random() % 3) {
      case 0:
        kills += service.KillWorker() ? 1 : 0;
        break;
      case 1:
        kills += service.KillCore() ? 1 : 0;
        break;
      default:
        service.KillSupervisor();
        ++kills;
        service.StartWithoutWaiting();
    }
    ASSERT_TRUE(service.AwaitAnswer()) << "after " << kills << " kills";
  }
  std::cout << "kills: " << kills << ", messages: " << written.size()
            << ", replies accepted: " << accepted.size() << "\n";
  EXPECT_GE(kills, KillsWanted());
  EXPECT_GE(accepted.size(), static_cast<std::size_t>(KillsWanted()) / 2)
      << "too little was at stake";

  // Everything that was written is there in the end, once.
  std::map<std::string, int> seen;
  EXPECT_TRUE(Eventually(
      [&] {
        seen.clear();
        for (const auto& [id, text] : service.ReadAll()) ++seen[text];
        for (const std::string& text : written) {
          if (seen[text] == 0) return false;
        }
        return true;
      },
      120));
  for (const std::string& text : written) EXPECT_EQ(seen[text], 1) << text;
  // Unknown replies are settled by looking, which takes minutes of the service's clock.
  for (int minutes = 0; minutes < 20; ++minutes) {
    service.clock().Set(service.clock().Now() + std::chrono::minutes(1), 1.0);
    const std::string metrics = service.Ask("comms", "GET", "/v1/conversations?limit=1").body;
    if (Eventually(
            [&] {
              for (const std::string& text : accepted) {
                if (service.platform().CountSends(text) == 0) return false;
              }
              return true;
            },
            1)) {
      break;
    }
  }
  std::size_t sent = 0;
  for (const std::string& text : accepted) {
    const std::size_t times = service.platform().CountSends(text);
    EXPECT_LE(times, 1u) << text << " was sent " << times << " times";
    sent += times;
    // What is shown is what happened: sent, or failed when the platform does not have it.
    const std::string wanted = times == 1 ? "sent" : "failed";
    EXPECT_TRUE(Eventually([&] {
      return service.Ask("comms", "GET", "/v1/replies/" + reply_ids[text]).Text("state") == wanted;
    })) << text
        << " should be shown as " << wanted << ": "
        << service.Ask("comms", "GET", "/v1/replies/" + reply_ids[text]).Text("state");
  }
  std::cout << "replies sent: " << sent << " of " << accepted.size()
            << " accepted; the others are shown as failed\n";
  for (const auto& [text, times] : seen) EXPECT_LE(times, 1) << text << " is stored more than once";
  EXPECT_EQ(service.Stop(), 0);
}

class PurgeStepKill : public ::testing::TestWithParam<int> {};

TEST_P(PurgeStepKill, APurgeThatWasInterruptedIsFinishedAtStart) {
  ServiceProcess service(kStart);
  service.platform().AddActor(Person(0), "citizen-password");
  service.Start();
  service.MakeTokens();
  service.ConnectAccount();
  const std::string text = "marker-ochre-5521 please answer";
  ASSERT_TRUE(service.platform().SendAs(Person(0), kOffice, text));
  std::string message;
  ASSERT_TRUE(Eventually([&] {
    for (const auto& [id, body] : service.ReadAll()) message = body == text ? id : message;
    return !message.empty();
  }));

  service.clock().SetFailPoint(GetParam());
  service.clock().Set(*ParseRfc3339("2027-02-22T00:00:01Z"), 1.0);
  // The core ends itself after the step; the supervisor starts another, which finishes the work.
  ASSERT_TRUE(Eventually([&] {
    return service.Log().find("\"core.ready\"", service.Log().find("\"core.ready\"") + 1) !=
           std::string::npos;
  })) << "the core was not restarted";
  ASSERT_TRUE(service.AwaitAnswer());
  service.MakeTokens();
  EXPECT_EQ(service.Ask("comms", "GET", "/v1/messages/" + message).status, 410);
  EXPECT_TRUE(Eventually([&] {
    const std::string body = service.Ask("operator", "GET", "/v1/ops/receipts").body;
    const std::size_t first = body.find("\"2027-02-22\"");
    return first != std::string::npos &&
           body.find("\"2027-02-22\"", first + 1) == std::string::npos;
  })) << "one receipt is expected";
  EXPECT_TRUE(Eventually([&] {
    return !std::filesystem::exists(service.data_dir() / "keys" / "D20270222.a") &&
           !std::filesystem::exists(service.data_dir() / "keys" / "D20270222.b");
  }));
  // Collecting goes on afterwards, and the platform's old copy is not stored again.
  ASSERT_TRUE(service.platform().SendAs(Person(0), kOffice, "a new question"));
  EXPECT_TRUE(Eventually([&] {
    for (const auto& [id, body] : service.ReadAll()) {
      if (body == "a new question") return true;
    }
    return false;
  }));
  for (const auto& [id, body] : service.ReadAll()) EXPECT_NE(body, text);
  service.Stop();
  EXPECT_THAT(FindMarker(ReadTree(service.data_dir()), "marker-ochre-5521"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(AllSteps, PurgeStepKill,
                         ::testing::Range(static_cast<int>(store::PurgeStep::kHidden),
                                          static_cast<int>(store::PurgeStep::kKeyFileUnlinked) +
                                              1));

}  // namespace
}  // namespace mayfly::testing
