// A machine's clock that somebody set, as the people see it: hidden at once, destroyed by nobody.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/bluesky/simulator.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kOffice = "stats-office.test";
constexpr const char* kCitizen = "citizen-heliotrope.test";
const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

class DoubtedClock : public ::testing::Test {
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
    ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "before"));
    message_ = service_.AwaitMessage("before");
  }

  Answer Message() { return service_.Ask("comms", "GET", "/v1/messages/" + message_); }
  std::string Readiness() { return service_.Ask("", "GET", "/readyz").body; }
  RunResult Clock(std::vector<std::string> arguments) {
    std::vector<std::string> command = {ProgramDir() + "/mayfly-demo", "clock"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    command.insert(command.end(), {"--config", service_.config_file().string()});
    return RunProgram(command);
  }

  ServiceProcess service_{kStart};
  std::unique_ptr<connectors::BlueskySimulator> platform_;
  std::string message_;
};

TEST_F(DoubtedClock, AJumpPastTheExpiryHidesDestroysNothingAndIsUndone) {
  service_.clock().SetSkew(days(92));
  service_.MakeTokens();  // by that clock those from before have ended
  EXPECT_EQ(Message().status, 410);
  EXPECT_TRUE(Eventually([&] { return Readiness().find("clock-in-doubt") != std::string::npos; }));
  // A minute of passes later, and another run of the core, nothing of it is destroyed.
  service_.clock().Set(kStart + std::chrono::minutes(5), 1.0);
  ASSERT_TRUE(service_.KillCore());
  ASSERT_TRUE(service_.AwaitAnswer());
  EXPECT_EQ(service_.Ask("operator", "GET", "/v1/ops/receipts").Items().size(), 0u);
  EXPECT_THAT(service_.Log(), HasSubstr("clock.in-doubt"));
  EXPECT_THAT(service_.Ask("operator", "GET", "/metrics").body,
              HasSubstr("mayfly_clock_in_doubt 1"));
  // Nothing is collected that could get no date.
  ASSERT_TRUE(platform_->SendAs(kCitizen, kOffice, "meanwhile"));

  service_.clock().SetSkew({});
  service_.clock().Set(kStart + std::chrono::minutes(7), 1.0);  // its next look at the platform
  service_.MakeTokens();
  EXPECT_EQ(Message().Text("text"), "before");
  EXPECT_TRUE(Eventually([&] { return Readiness().find("clock-in-doubt") == std::string::npos; }));
  const std::string later = service_.AwaitMessage("meanwhile");
  EXPECT_THAT(later, HasSubstr("msg_20270222")) << "its date is that of the true time";
}

TEST_F(DoubtedClock, APersonIsAskedAndSaysWhatTheirWatchShows) {
  const std::string now = FormatRfc3339(kStart + days(30));
  service_.clock().SetSkew(days(30));
  EXPECT_TRUE(Eventually(
      [&] { return Clock({}).out.find(R"("doubt":"wall-ahead")") != std::string::npos; }));
  const RunResult wrong = Clock({"confirm", "--time", FormatRfc3339(kStart)});
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.err, HasSubstr("set that clock right first"));
  const RunResult none = Clock({"confirm", "--time", "noon"});
  EXPECT_NE(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("2026-11-22T12:00:00Z"));
  const RunResult right = Clock({"confirm", "--time", now});
  EXPECT_EQ(right.exit_code, 0) << right.err;
  EXPECT_THAT(right.out, HasSubstr(R"("person":true)"));
  EXPECT_THAT(right.out, HasSubstr(R"("doubt":"wall-ahead")")) << "one voter alone moves nothing";
}

}  // namespace
}  // namespace mayfly::testing
