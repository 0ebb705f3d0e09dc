// kill -9 of supervisor, core and worker at random points of a busy run, over many midnights and on
// each platform: nothing acknowledged is lost, nothing is stored or sent twice, nothing that
// expired comes back. And the same at each step of a purge.
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/config.h"
#include "store/expiry/purge.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using ::testing::IsEmpty;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr int kPersons = 5;
constexpr const char* kRetention = "P7D";  // so that many dates end within one run
constexpr int kKillsPerDay = 5;
constexpr int kTokensRenewedAfter = 60;  // days
constexpr int kUnknownDaysMax = 3;       // of the seven that a reply lives
constexpr std::chrono::minutes kLookingTakes{6};

// Of each platform; 200 or MAYFLY_KILLS in all.
int KillsWanted() {
  const char* wanted = std::getenv("MAYFLY_KILLS");
  const int all = wanted != nullptr ? std::atoi(wanted) : 200;
  const int platforms = static_cast<int>(Platforms().size());
  return (all + platforms - 1) / platforms;
}

class Kill : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto config = service::LoadConfig(service_.config_file());
    ASSERT_TRUE(config) << config.error().message;
    rule_ = {.zone = config->zone, .period = RetentionPeriod::Parse(kRetention).value()};
    platform_ = StartPlatform(GetParam(), service_);
    service_.Start();
    service_.MakeTokens();
    service_.ConnectAccount(GetParam(), platform_->office(), kRetention);
  }

  struct Written {          // by a citizen, on the platform
    TimePoint lives_until;  // at least
    TimePoint gone_from;    // at the latest: writing takes a moment, perhaps over midnight
    connectors::PlatformSimulator::Written ids;
  };
  struct Accepted {  // a reply that the API acknowledged
    std::string id;
    int day = 0;        // of the test, on which it was
    std::string state;  // the final one, once it was seen
  };

  TimePoint EndOf(TimePoint sent_at) const { return StartOf(ExpiryDayOf(sent_at, rule_)); }

  void WriteSome() {
    for (int i = 0; i < kPersons; ++i, ++number_) {
      const std::string text = "question number " + std::to_string(number_);
      Written written;
      written.lives_until = EndOf(service_.clock().Now());
      const auto ids = platform_->Write(i, text);
      ASSERT_TRUE(ids);
      written.ids = *ids;
      written.gone_from = EndOf(service_.clock().Now());
      written_[text] = written;
    }
  }

  void ReplyToSome() {
    const Answer inbox = service_.Ask("comms", "GET", "/v1/conversations?limit=3");
    for (const json::Value& conversation : inbox.Items()) {
      const std::string text = "answer number " + std::to_string(number_++);
      asked_.insert(text);
      const Answer queued =
          service_.Ask("comms", "POST",
                       "/v1/conversations/" + conversation.String("id").value_or("") + "/replies",
                       ReplyBody(text, conversation.String("last_message").value_or("")),
                       {{"Idempotency-Key", "kill-test-" + std::to_string(number_)}});
      if (queued.status == 202) accepted_[text] = {.id = queued.Text("id"), .day = days_};
    }
  }

  // Somebody dies, at a moment that is drawn so that each kill meets another one.
  void KillSomebody() {
    const auto pause = std::chrono::microseconds(random_() % 300'000);
    Eventually([begin = std::chrono::steady_clock::now(), pause] {
      return std::chrono::steady_clock::now() - begin >= pause;
    });
    switch (random_() % 3) {
      case 0:
        kills_ += service_.KillWorker() ? 1 : 0;
        break;
      case 1:
        kills_ += service_.KillCore() ? 1 : 0;
        break;
      default:
        service_.KillSupervisor();
        ++kills_;
        service_.StartWithoutWaiting();
    }
    ASSERT_TRUE(service_.AwaitAnswer()) << "after " << kills_ << " kills";
  }

  // What can be read at one instant: all that must be there, once, and nothing that has ended.
  // False when something has not arrived yet.
  bool EverythingIsThere() {
    const TimePoint before = service_.clock().Now();
    std::map<std::string, int> seen;
    for (const auto& [id, text] : service_.ReadAll()) ++seen[text];
    const TimePoint after = service_.clock().Now();
    for (const auto& [text, times] : seen) {
      EXPECT_EQ(times, 1) << text << " is stored more than once";
      const auto written = written_.find(text);
      if (written != written_.end()) {
        EXPECT_LT(before, written->second.gone_from) << text << " is back";
      } else {
        EXPECT_TRUE(asked_.contains(text)) << text << " was never there";
      }
    }
    for (const auto& [text, written] : written_) {
      if (after < written.lives_until && seen[text] == 0) return false;
    }
    return true;
  }

  // Compares what a reply is shown as with what arrived, once it is final. True when all are that
  // were accepted on a day up to `last_day`. Those that were final before are compared again only
  // when `all`.
  bool RepliesAreSettled(bool all, int last_day = std::numeric_limits<int>::max()) {
    bool settled = true;
    for (auto& [text, reply] : accepted_) {
      if (!all && !reply.state.empty()) continue;
      // First what is shown, then what arrived: a reply may leave between the two questions.
      if (reply.state.empty()) {
        const Answer answer = service_.Ask("comms", "GET", "/v1/replies/" + reply.id);
        EXPECT_NE(answer.status, 410) << text << " died with an unknown end";
        const std::string state = answer.Text("state");
        if (state == "sent" || state == "failed") reply.state = state;
      }
      std::size_t received = 0;
      for (int person = 0; person < kPersons; ++person) {
        received += platform_->CountReceived(person, text);
      }
      EXPECT_LE(received, 1u) << text << " was sent more than once";
      if (reply.state.empty()) {
        settled = settled && reply.day > last_day;
      } else {
        EXPECT_EQ(reply.state, received == 1 ? "sent" : "failed") << text;
      }
    }
    return settled;
  }

  // Somebody changes what has expired, so that the platform serves it as news, where it can.
  void EditSomethingExpired() {
    for (const auto& [text, written] : written_) {
      if (service_.clock().Now() < written.gone_from || !edited_.insert(text).second) continue;
      edits_ += platform_->Edit(written.ids, text + ", once more") ? 1 : 0;
      return;
    }
  }

  // At the end of a day nothing is missing, and what has ended is not there although the platform
  // still serves it. Then the clock goes on to just before midnight, so that dates end while
  // processes die.
  void EndOfDay() {
    ASSERT_TRUE(Eventually([&] { return EverythingIsThere(); }, 60)) << "something is lost";
    // Unknown replies are settled by looking, for which a day has hours and this one had seconds.
    if (!RepliesAreSettled(/*all=*/false, days_ - kUnknownDaysMax)) {
      service_.clock().Set(service_.clock().Now() + kLookingTakes, RateFor(GetParam()));
      EXPECT_TRUE(
          Eventually([&] { return RepliesAreSettled(/*all=*/false, days_ - kUnknownDaysMax); }, 60))
          << "a reply stays unknown";
    }
    EditSomethingExpired();
    if (++days_ % 3 == 0) {
      // Not every platform forgets positions; where one does, all that it has is read again.
      const Status forgotten = platform_->Inject(connectors::PlatformFault::kPositionForgotten);
      reread_ += forgotten ? 1 : 0;
    }
    const TimePoint midnight = StartOf(std::chrono::floor<days>(service_.clock().Now()) + days(1));
    const auto left = std::chrono::duration_cast<milliseconds>(milliseconds(random_() % 600) *
                                                               RateFor(GetParam()));
    service_.clock().Set(std::max(service_.clock().Now(), midnight - left), RateFor(GetParam()));
    if (days_ % kTokensRenewedAfter == 0) service_.MakeTokens();
  }

  ServiceProcess service_{kStart, RateFor(GetParam())};
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  RetentionRule rule_;
  std::mt19937 random_{20261122};
  std::map<std::string, Written> written_;
  std::map<std::string, Accepted> accepted_;
  std::set<std::string> asked_;   // replies, acknowledged or not
  std::set<std::string> edited_;  // of the written ones
  int number_ = 0;
  int kills_ = 0;
  int days_ = 0;
  int reread_ = 0;
  int edits_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, Kill, ::testing::ValuesIn(Platforms()), PlatformName);

TEST_P(Kill, NothingIsLostDoubledSentTwiceOrBack) {
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; kills_ < KillsWanted() && round < 20 * KillsWanted(); ++round) {
    WriteSome();
    ReplyToSome();
    KillSomebody();
    if (kills_ >= kKillsPerDay * (days_ + 1)) EndOfDay();
    if (HasFailure()) return;
  }
  EXPECT_GE(kills_, KillsWanted());
  EXPECT_GE(accepted_.size(), static_cast<std::size_t>(KillsWanted()) / 2)
      << "too little was at stake";

  EXPECT_TRUE(Eventually([&] { return EverythingIsThere(); }, 120)) << "something is lost";
  service_.clock().Set(service_.clock().Now() + kLookingTakes, RateFor(GetParam()));
  EXPECT_TRUE(Eventually([&] { return RepliesAreSettled(/*all=*/false); }, 60))
      << "a reply stays unknown";
  EXPECT_TRUE(RepliesAreSettled(/*all=*/true));
  std::size_t sent = 0, expired = 0;
  for (const auto& [text, reply] : accepted_) sent += reply.state == "sent" ? 1 : 0;
  for (const auto& [text, written] : written_) {
    expired += service_.clock().Now() >= written.gone_from ? 1 : 0;
  }
  if (days_ > rule_.period.days()) {
    EXPECT_GT(expired, 0u) << "nothing could come back";
    EXPECT_GT(edits_ + reread_, 0) << "the platform served nothing of it again";
  }
  EXPECT_TRUE(EverythingIsThere());
  const auto took = std::chrono::steady_clock::now() - begin;
  std::cout << GetParam() << ": kills: " << kills_ << ", messages: " << written_.size() << " ("
            << expired << " expired over " << days_ << " midnights, history read again " << reread_
            << " times, " << edits_ << " edited after their end), replies: " << accepted_.size()
            << " (" << sent << " sent, the others shown as failed), seconds: "
            << std::chrono::duration_cast<std::chrono::seconds>(took).count() << "\n";
  EXPECT_EQ(service_.Stop(), 0);
}

class PurgeStepKill : public ::testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(PurgeStepKill, APurgeThatWasInterruptedIsFinishedAtStart) {
  const auto& [name, step] = GetParam();
  ServiceProcess service(kStart, RateFor(name));
  const auto platform = StartPlatform(name, service);
  service.Start();
  service.MakeTokens();
  service.ConnectAccount(name, platform->office());
  const std::string text = "marker-ochre-5521 please answer";
  ASSERT_TRUE(platform->Write(0, text));
  std::string message;
  ASSERT_TRUE(Eventually([&] {
    for (const auto& [id, body] : service.ReadAll()) message = body == text ? id : message;
    return !message.empty();
  }));

  service.clock().SetFailPoint(step);
  service.clock().Set(*ParseRfc3339("2027-02-22T00:00:01Z"), RateFor(name));
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
  ASSERT_TRUE(platform->Write(0, "a new question"));
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

INSTANTIATE_TEST_SUITE_P(
    AllSteps, PurgeStepKill,
    ::testing::Combine(::testing::ValuesIn(Platforms()),
                       ::testing::Range(static_cast<int>(store::PurgeStep::kHidden),
                                        static_cast<int>(store::PurgeStep::kKeyFileUnlinked) + 1)),
    [](const auto& info) {
      return std::get<0>(info.param) + "_" + std::to_string(std::get<1>(info.param));
    });

}  // namespace
}  // namespace mayfly::testing
