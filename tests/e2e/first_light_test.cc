// A direct message is collected, read, answered and forgotten, on the real programs and on each
// platform.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

constexpr int kCitizen = 7;
const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

class FirstLight : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    platform_ = StartPlatform(GetParam(), service_);
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(GetParam(), platform_->office());
  }

  Answer Reply(const std::string& text, const std::string& message) {
    const std::string conversation =
        service_.Ask("comms", "GET", "/v1/messages/" + message).Text("conversation");
    return service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                        ReplyBody(text, message), {{"Idempotency-Key", "k"}});
  }
  bool IsSent(const std::string& reply) {
    return Eventually([&] {
      return service_.Ask("comms", "GET", "/v1/replies/" + reply).Text("state") == "sent";
    });
  }
  int CountStored(const std::string& text) {
    int count = 0;
    for (const auto& [id, stored] : service_.ReadAll()) count += stored == text;
    return count;
  }

  ServiceProcess service_{kStart, RateFor(GetParam())};
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::string account_;
};
INSTANTIATE_TEST_SUITE_P(, FirstLight, ::testing::ValuesIn(Platforms()), PlatformName);

TEST_P(FirstLight, AMessageIsCollectedReadAnsweredAndForgotten) {
  const std::string question = "marker-vermilion-4417 where are the census tables";
  const std::string reply_text = "marker-cerulean-9902 they are on our website";
  ASSERT_TRUE(platform_->Write(kCitizen, question));
  const std::vector<std::string> markers = {"marker-vermilion-4417", "marker-cerulean-9902",
                                            platform_->HandleOf(kCitizen)};

  // Read, with the date of its death.
  const std::string message = service_.AwaitMessage(question);
  const Answer read = service_.Ask("comms", "GET", "/v1/messages/" + message);
  ASSERT_EQ(read.status, 200) << read.body;
  EXPECT_EQ(read.Text("expires_at"), "2027-02-22T00:00:00.000Z");
  EXPECT_THAT(message, HasSubstr("20270222"));
  const std::string conversation = read.Text("conversation");

  // An administrator may connect accounts and never reads.
  EXPECT_EQ(service_.Ask("administrator", "GET", "/v1/messages/" + message).status, 403);
  // Found in the sandboxed core by a word of it; what was looked for is in no log either.
  const Answer found = service_.Ask("comms", "GET", "/v1/search?q=vermilion+table");
  EXPECT_EQ(found.status, 200) << found.body;
  EXPECT_THAT(found.body, HasSubstr(message));

  // Answered: the citizen sees it, exactly once.
  const Answer queued = Reply(reply_text, message);
  ASSERT_EQ(queued.status, 202) << queued.body;
  const std::string reply = queued.Text("id");
  ASSERT_TRUE(IsSent(reply)) << service_.Ask("comms", "GET", "/v1/replies/" + reply).body;
  EXPECT_EQ(platform_->CountReceived(kCitizen, reply_text), 1u);
  // The same key again is the same reply, not a second one.
  EXPECT_EQ(Reply(reply_text, message).Text("id"), reply);
  EXPECT_EQ(platform_->CountReceived(kCitizen, reply_text), 1u);
  EXPECT_EQ(CountStored(reply_text), 1) << "it stands in the thread once";

  // Before its death no plain text lies on disk or in logs either.
  for (const std::string& marker : markers) {
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
  // Whoever keeps the receipt can show that it is ours, and that nobody touched it.
  const std::string key = service_.Ask("", "GET", "/v1/about").Text("receipt_key");
  std::string receipts = service_.Ask("operator", "GET", "/v1/ops/receipts").body;
  const auto check = [&](const std::string& text) {
    const std::filesystem::path file = service_.dir() / "receipts.json";
    std::ofstream(file) << text;
    return RunProgram({ProgramDir() + "/mayfly", "check-receipt", file.string(), "--key", key});
  };
  EXPECT_EQ(check(receipts).exit_code, 0) << check(receipts).err;
  EXPECT_EQ(check(receipts).out, "2027-02-22  holds\n");
  const std::size_t counted = receipts.find("\"messages\":") + 11;
  receipts[counted] = receipts[counted] == '9' ? '8' : '9';
  EXPECT_EQ(check(receipts).exit_code, 3);
  EXPECT_EQ(check("{}").exit_code, 1);
  const std::string metrics = service_.Ask("operator", "GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("mayfly_dates_due_not_destroyed 0"));
  service_.Stop();

  // No byte of it is left anywhere, raw or as hex.
  const auto files = ReadTree(service_.data_dir());
  EXPECT_THAT(files, Not(IsEmpty()));
  for (const std::string& marker : markers) {
    EXPECT_THAT(FindMarker(files, marker), IsEmpty()) << marker;
    EXPECT_THAT(service_.Log(), Not(HasSubstr(marker)));
    EXPECT_THAT(metrics, Not(HasSubstr(marker)));
  }
}

TEST_P(FirstLight, AWithdrawnMessageIsHiddenAtOnce) {
  const auto sent = platform_->Write(kCitizen, "I regret this already");
  ASSERT_TRUE(sent);
  const std::string message = service_.AwaitMessage("I regret this already");
  const Status withdrawn = platform_->Delete(*sent);
  if (!withdrawn && withdrawn.error().code == ErrorCode::kPlatformRejected) {
    GTEST_SKIP() << GetParam() << " has no deletions that others see";
  }
  ASSERT_TRUE(withdrawn) << withdrawn.error().message;
  EXPECT_TRUE(Eventually(
      [&] { return service_.Ask("comms", "GET", "/v1/messages/" + message).status == 404; }));
  EXPECT_THAT(service_.ReadAll(), Not(Contains(Key(message))));
}

TEST_P(FirstLight, AnEditedMessageShowsItsNewTextAndKeepsItsDeath) {
  const auto sent = platform_->Write(kCitizen, "see you on Munday");
  ASSERT_TRUE(sent);
  const std::string message = service_.AwaitMessage("see you on Munday");
  const std::string path = "/v1/messages/" + message;
  const Answer before = service_.Ask("comms", "GET", path);
  const Status edited = platform_->Edit(*sent, "see you on Monday");
  if (!edited && edited.error().code == ErrorCode::kPlatformRejected) {
    GTEST_SKIP() << GetParam() << " has no edits";
  }
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(before.Text("edited_at"), "");
  ASSERT_TRUE(Eventually(
      [&] { return service_.Ask("comms", "GET", path).Text("text") == "see you on Monday"; }));
  const Answer after = service_.Ask("comms", "GET", path);
  EXPECT_NE(after.Text("edited_at"), "");
  EXPECT_EQ(after.Text("expires_at"), before.Text("expires_at"));
  EXPECT_EQ(after.Text("sent_at"), before.Text("sent_at"));
  EXPECT_EQ(CountStored("see you on Munday"), 0);
  EXPECT_EQ(CountStored("see you on Monday"), 1);
}

TEST_P(FirstLight, ALostAnswerBecomesUnknownAndIsSettledByLooking) {
  ASSERT_TRUE(platform_->Write(kCitizen, "Are you there?"));
  const std::string message = service_.AwaitMessage("Are you there?");
  ASSERT_TRUE(platform_->Inject(connectors::PlatformFault::kSendAnswerLost));
  const Answer queued = Reply("Yes, we are.", message);
  ASSERT_EQ(queued.status, 202) << queued.body;
  ASSERT_TRUE(IsSent(queued.Text("id")));
  EXPECT_EQ(platform_->CountReceived(kCitizen, "Yes, we are."), 1u);
  EXPECT_EQ(CountStored("Yes, we are."), 1);
}

TEST_P(FirstLight, DisconnectingStopsCollectingAndKeepsWhatIsThere) {
  ASSERT_TRUE(platform_->Write(kCitizen, "kept until it expires"));
  const std::string message = service_.AwaitMessage("kept until it expires");
  EXPECT_EQ(
      service_.Ask("administrator", "DELETE", "/v1/accounts/" + account_, "", {{"If-Match", "*"}})
          .status,
      204);
  ASSERT_TRUE(platform_->Write(kCitizen, "never collected"));
  EXPECT_TRUE(Eventually([&] { return !service_.WorkerPid().has_value(); }));
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + message).status, 200);
  EXPECT_THAT(service_.ReadAll(), Not(Contains(Pair(::testing::_, "never collected"))));
  const auto files = ReadTree(service_.data_dir());
  for (const std::string& secret : SecretsOf(platform_->office())) {
    EXPECT_THAT(FindMarker(files, secret), IsEmpty());
  }
}

}  // namespace
}  // namespace mayfly::testing
