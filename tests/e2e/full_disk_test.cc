// A disk that becomes full, and one that fails, as the people see it.
#include <csignal>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/bluesky/simulator.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kOffice = "stats-office.test";
constexpr const char* kCitizen = "citizen-heliotrope.test";
constexpr std::uint64_t kGiB = 1u << 30;
const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = connectors::BlueskySimulator::Start(service_.clock()).value();
    platform_->AddActor(kOffice, "office-password", {{"office-app-pass-word", true}});
    platform_->AddActor(kCitizen, "citizen-password");
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(
        "bluesky",
        {.options = {{"service", platform_->origin()}, {"identifier", kOffice}},
         .credential = Credential(R"({"password":"office-app-pass-word"})")},
        "P7D");
    ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "before"));
    message_ = service_.AwaitMessage("before");
  }

  Answer Read(const std::string& message) {
    return service_.Ask("comms", "GET", "/v1/messages/" + message);
  }
  Answer Reply(const std::string& message, const std::string& conversation) {
    return service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                        ReplyBody("We have read it.", message), {{"Idempotency-Key", "one-key"}});
  }
  std::string Coverage() { return service_.Ask("operator", "GET", "/v1/coverage").body; }
  bool SoonReady(const char* reason, bool there) {
    return Eventually([&] {
      return (service_.Ask("", "GET", "/readyz").body.find(reason) != std::string::npos) == there;
    });
  }
  bool SoonInState(const char* state) {
    return Eventually([&] {
      return service_.Ask("administrator", "GET", "/v1/accounts/" + account_).Text("state") ==
             state;
    });
  }

  const double rate_ = 10.0;  // so that nothing is waited for long
  ServiceProcess service_{kStart, rate_};
  std::unique_ptr<connectors::BlueskySimulator> platform_;
  std::string account_, message_;
};

TEST_F(FullDisk, CollectingStopsEndingGoesOnAndWhatWaitedIsCollectedOnce) {
  service_.clock().SetRoom(kGiB);  // of 50: a tenth is kept
  ASSERT_TRUE(SoonReady("disk-full", true));
  ASSERT_TRUE(SoonInState("disk-full"));
  EXPECT_THAT(service_.Ask("operator", "GET", "/metrics").body,
              AllOf(HasSubstr("mayfly_collecting_stopped 1"),
                    HasSubstr("mayfly_disk_free_bytes 1073741824"),
                    HasSubstr("mayfly_disk_ballast_bytes 16777216")));
  const Answer before = Read(message_);
  EXPECT_EQ(before.status, 200) << "reading goes on";
  const Answer refused = Reply(message_, before.Text("conversation"));
  EXPECT_EQ(refused.status, 507) << refused.body;
  EXPECT_THAT(refused.Text("type"), HasSubstr("disk-full"));

  service_.clock().Set(kStart + days(5), rate_);
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "waits"));
  service_.clock().Set(kStart + days(8), rate_);
  EXPECT_EQ(Read(message_).status, 410);
  EXPECT_TRUE(Eventually([&] {
    return !service_.Ask("operator", "GET", "/v1/ops/receipts").Items().empty();
  })) << "its date ends, with a receipt";
  EXPECT_THAT(service_.ReadAll(), IsEmpty());
  const std::string hole = R"("reason":"disk-full","fillable":true,"filled_at":null)";
  EXPECT_TRUE(Eventually([&] { return Coverage().find(hole) != std::string::npos; }));

  service_.clock().SetRoom(40 * kGiB);
  const std::string waited = service_.AwaitMessage("waits");
  ASSERT_TRUE(SoonInState("ok"));
  ASSERT_TRUE(SoonReady("disk-full", false));
  EXPECT_THAT(service_.ReadAll(), SizeIs(1));
  EXPECT_THAT(Coverage(), AllOf(HasSubstr(R"("reason":"disk-full")"), Not(HasSubstr(hole))))
      << "nothing is missing";
  EXPECT_TRUE(Eventually(
      [&] { return service_.Log().find("disk.collecting-again") != std::string::npos; }));
  EXPECT_THAT(service_.Log(), HasSubstr(R"("disk.collecting-stopped","free_mib":1024)"));
  // The key that was refused stays good.
  EXPECT_EQ(Reply(waited, Read(waited).Text("conversation")).status, 202);
}

TEST_F(FullDisk, ALogThatCannotBeWrittenEndsTheCoreAndTheNextOneGoesOn) {
  const auto core = service_.CorePid();
  ASSERT_TRUE(core);
  // No file of this process may grow any more; the next one has its own limit.
  const rlimit none = {1, 1};
  ASSERT_EQ(::prlimit(*core, RLIMIT_FSIZE, &none, nullptr), 0);
  // A look is recorded before it is granted, and that cannot be written.
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/search?q=before").status, 503);
  ASSERT_TRUE(Eventually([&] {
    const auto now = service_.CorePid();
    return now && now != core;
  }));
  ASSERT_TRUE(service_.AwaitAnswer());
  EXPECT_TRUE(Eventually([&] { return Read(message_).status == 200; })) << "nothing was lost";
  EXPECT_THAT(service_.Log(), HasSubstr(R"("supervisor.core_ended","exit_code":75)"));
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "after"));
  service_.AwaitMessage("after");
  EXPECT_THAT(service_.ReadAll(), SizeIs(2));
}

}  // namespace
}  // namespace mayfly::testing
