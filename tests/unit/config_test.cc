// A wrong value names file, line, key and what is allowed, and is never quoted.
#include "service/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly::service {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Good() {
  return RenderConfig({.data_dir = "/var/lib/mayfly",
                       .master_key = "/etc/mayfly/master.key",
                       .run_dir = "/run/mayfly",
                       .listen = {"127.0.0.1:8080", "unix:/run/mayfly/api.sock"},
                       .insecure_loopback = false});
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

TEST(Config, WhatInitWritesIsAccepted) {
  const auto config = ParseConfig(Good(), "/etc/mayfly/mayfly.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->zone_name, "Europe/London");
  ASSERT_EQ(config->listen.size(), 2u);
  EXPECT_EQ(config->listen[0].port, 8080);
  EXPECT_EQ(config->listen[1].unix_path, "/run/mayfly/api.sock");
  EXPECT_TRUE(config->sandbox_required);
  EXPECT_FALSE(config->egress.insecure_loopback);
}

TEST(Config, TheExampleFileIsAccepted) {
  const auto config = LoadConfig(MAYFLY_SOURCE_DIR "/config/mayfly.example.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->rate_limits.per_minute, api::RateLimits().per_minute);
}

TEST(Config, TheBudgetsOfTokensAreRead) {
  const auto config =
      ParseConfig(Good() + "\n[rate_limits]\nreading = 1\nprivacy = 1000000\n", "/etc/m.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_THAT(config->rate_limits.per_minute, ::testing::ElementsAre(1, 60, 120, 1'000'000));
  for (const char* wrong : {"reading = 0", "replying = \"60\"", "reading = 1.5", "writing = 60"}) {
    EXPECT_FALSE(ParseConfig(Good() + "\n[rate_limits]\n" + wrong + "\n", "/etc/m.toml")) << wrong;
  }
}

struct Wrong {
  const char* name;
  const char* from;
  const char* to;
  const char* key;
};

class WrongValue : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongValue, NamesFileLineAndKeyAndDoesNotQuote) {
  const auto config =
      ParseConfig(Replace(Good(), GetParam().from, GetParam().to), "/etc/mayfly/mayfly.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(config.error().message, HasSubstr("/etc/mayfly/mayfly.toml"));
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().key));
  EXPECT_THAT(config.error().message, Not(HasSubstr("SECRETVALUE")));
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongValue,
    ::testing::Values(
        Wrong{"zone", "\"Europe/London\"", "\"Europe/SECRETVALUE\"", "organisation.zone"},
        Wrong{"zone_type", "\"Europe/London\"", "7", "organisation.zone"},
        Wrong{"public_address", "127.0.0.1:8080", "0.0.0.0:8080", "http.listen"},
        Wrong{"name_address", "127.0.0.1:8080", "SECRETVALUE:80", "http.listen"},
        Wrong{"port", "127.0.0.1:8080", "127.0.0.1:99999", "http.listen"},
        Wrong{"relative_socket", "unix:/run/mayfly/api.sock", "unix:api.sock", "http.listen"},
        Wrong{"unknown_key", "[http]", "[http]\nSECRETVALUE = 1", "http"},
        Wrong{"unknown_section", "[http]", "[SECRETVALUE]\n[http]", "not a section"},
        Wrong{"limit_low", "[http]", "[http]\nhead_bytes_max = 1", "http.head_bytes_max"},
        Wrong{"limit_type", "[http]", "[http]\nhead_bytes_max = \"16k\"", "http.head_bytes_max"},
        Wrong{"duration", "[http]", "[http]\nidle_deadline = \"1 SECRETVALUE\"",
              "http.idle_deadline"},
        Wrong{"duration_high", "[http]", "[http]\nidle_deadline = \"900m\"", "http.idle_deadline"},
        Wrong{"key_inside_data", "/etc/mayfly/master.key", "/var/lib/mayfly/keys/master.key",
              "paths.master_key"},
        Wrong{"empty_name", "\"Example Statistics Office\"", "\"\"", "organisation.name"},
        Wrong{"no_toml", "[paths]", "paths SECRETVALUE", "mayfly.toml:11"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Config, TheLineOfAWrongValueIsNamed) {
  const auto config = ParseConfig(Replace(Good(), "127.0.0.1:8080", "10.0.0.1:8080"), "/m.toml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("/m.toml:1"));
}

TEST(Config, AMissingFileNamesTheRemedy) {
  const auto config = LoadConfig("/nonexistent/mayfly.toml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("mayfly init"));
}

}  // namespace
}  // namespace mayfly::service
