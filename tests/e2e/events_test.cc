// /v1/events on the real programs: behind the core's sandbox, with a worker that collects.
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/admin_client.h"
#include "tests/support/api_raw_client.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Events : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    platform_ = StartPlatform(GetParam(), service_);
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(GetParam(), platform_->office());
  }
  RawClient Listen(const std::string& last_seen = "") {
    RawClient client((service_.dir() / "run" / "api.sock").string());
    client.Send("GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                service_.token("comms") + "\r\n" +
                (last_seen.empty() ? "" : "Last-Event-ID: " + last_seen + "\r\n") + "\r\n");
    return client;
  }
  // Everything up to the first event of this kind, and the event.
  static std::string ReadTo(RawClient& client, const std::string& kind) {
    const auto before = client.ReadUntil("\nevent: " + kind + "\n");
    const auto data = before ? client.ReadUntil("\n\n") : std::nullopt;
    return data ? *before + *data : "the stream ended";
  }

  ServiceProcess service_{*ParseRfc3339("2026-11-22T12:00:00Z"), RateFor(GetParam())};
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::string account_;
};
INSTANTIATE_TEST_SUITE_P(, Events, ::testing::ValuesIn(Platforms()), PlatformName);

TEST_P(Events, AMessageIsToldWhenItArrivesWithoutAWordOfIt) {
  RawClient client = Listen();
  const std::string head = client.ReadUntil("\r\n\r\n").value_or("");
  ASSERT_THAT(head, HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(head, HasSubstr("Content-Type: text/event-stream\r\n"));
  ASSERT_TRUE(client.ReadUntil("id: "));  // where to go on from, at once

  ASSERT_TRUE(platform_->Write(7, "marker-umber-5512"));
  const std::string told = ReadTo(client, "message.received");
  const std::string message = service_.AwaitMessage("marker-umber-5512");
  EXPECT_THAT(told, HasSubstr("\"message\":\"" + message + "\""));
  EXPECT_THAT(told, Not(HasSubstr("marker-umber-5512")));
  EXPECT_THAT(told, Not(HasSubstr(platform_->HandleOf(7))));

  EXPECT_THAT(service_.Log(), Not(HasSubstr("marker-umber-5512")));

  // A stop ends the stream in order.
  std::jthread stop([&] { EXPECT_EQ(service_.Stop(), 0); });
  const auto end = client.ReadUntil("0\r\n\r\n");
  EXPECT_TRUE(end.has_value()) << "it was broken off";
  client.HalfClose();
  stop.join();
}

TEST_P(Events, ARevokedTokenHearsNothingMore) {
  RawClient client = Listen();
  ASSERT_TRUE(client.ReadUntil("id: "));
  const auto admin = [&](const std::string& method, const std::string& target) {
    return service::CallUnixSocket(service_.dir() / "run" / "admin.sock", method, target, {}, "");
  };
  const auto listed = admin("GET", "/admin/tokens");
  ASSERT_TRUE(listed && listed->status == 200);
  const json::Value tokens = json::Parse(listed->body).value();
  std::string id;
  for (const json::Value& token : *tokens.Find("items")->AsArray()) {
    if (token.String("role").value_or("") == "comms") id = token.String("id").value_or("");
  }
  const auto revoked = admin("DELETE", "/admin/tokens/" + id);
  ASSERT_TRUE(revoked && revoked->status == 204);
  ASSERT_TRUE(platform_->Write(7, "said afterwards"));
  const std::string rest = client.ReadUntil("0\r\n\r\n").value_or("broken off");
  EXPECT_TRUE(rest.ends_with("0\r\n\r\n"));
  EXPECT_THAT(rest, Not(HasSubstr("message.received")));
}

}  // namespace
}  // namespace mayfly::testing
