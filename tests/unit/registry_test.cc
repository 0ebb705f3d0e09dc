#include "connectors/registry.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "connectors/factory.h"
#include "connectors/options.h"

namespace mayfly::connectors {
namespace {

TEST(Registry, KnowsThePlatformsOfTheDefinitionFile) {
  const std::set<std::string> expected = {
#define MAYFLY_CONNECTOR(name) #name,
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
  };
  std::set<std::string> found;
  for (const ConnectorInfo* info : AllConnectors()) {
    EXPECT_TRUE(found.insert(info->name).second) << info->name;
    EXPECT_EQ(FindConnector(info->name), info);
  }
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(found.contains("bluesky"));
}

TEST(Registry, DescribesEachPlatformWhole) {
  for (const ConnectorInfo* info : AllConnectors()) {
    EXPECT_FALSE(info->display_name.empty()) << info->name;
    EXPECT_FALSE(info->data_location.empty()) << info->name;
    EXPECT_GT(info->capabilities.text_bytes_max, 0u) << info->name;
    EXPECT_GT(info->capabilities.poll_interval_min.count(), 0) << info->name;
    EXPECT_GE(info->capabilities.poll_interval_default, info->capabilities.poll_interval_min);
    EXPECT_GT(info->capabilities.send_deadline.count(), 0) << info->name;
    std::set<std::string> names;
    for (const OptionInfo& option : info->options) {
      EXPECT_TRUE(names.insert(option.name).second) << info->name << " " << option.name;
      EXPECT_FALSE(option.help.empty()) << info->name << " " << option.name;
    }
  }
}

TEST(Registry, AnUnknownNameIsNothing) {
  for (const char* name : {"", "blue", "Bluesky", "bluesky ", "nosuch"}) {
    EXPECT_EQ(FindConnector(name), nullptr) << name;
  }
}

ConnectorContext GoodContext() {
  ConnectorContext context;
  context.options = {{"identifier", "council.example.org"}};
  context.credential = Credential(R"({"password":"app-password"})");
  context.renew = [](const Credential&) { return Status(); };
  return context;
}

void ExpectRefused(std::string_view platform, const ConnectorContext& context, const char* field) {
  const auto made = MakeConnector(platform, context);
  ASSERT_FALSE(made) << field;
  EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument) << field;
  EXPECT_EQ(made.error().field, field);
}

TEST(Factory, MakesAConnectorWithoutAConnection) {
  EXPECT_TRUE(MakeConnector("bluesky", GoodContext()));
}

TEST(Factory, RefusesWhatItDoesNotKnow) {
  ExpectRefused("nosuch", GoodContext(), "platform");
  ConnectorContext unknown = GoodContext();
  unknown.options["colour"] = "blue";
  ExpectRefused("bluesky", unknown, "colour");
}

TEST(Factory, RefusesASecretAmongTheOpenOptions) {
  ConnectorContext context = GoodContext();
  context.options["password"] = "app-password";
  ExpectRefused("bluesky", context, "password");
}

TEST(Factory, RefusesAValueThatCanNeverWork) {
  ConnectorContext context = GoodContext();
  context.options["service"] = "https://10.0.0.1";
  const auto made = MakeConnector("bluesky", context);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kOptionUnusable);
  EXPECT_EQ(made.error().field, "service");
}

OptionInfo OptionOf(const char* platform, std::string_view name) {
  for (const OptionInfo& option : FindConnector(platform)->options) {
    if (option.name == name) return option;
  }
  ADD_FAILURE() << name;
  return {};
}

TEST(Options, AreJudgedWithoutTheConnector) {
  struct Case {
    const char* platform;
    const char* option;
    std::string value;
    bool usable;
  };
  const EgressPolicy egress = {.private_hosts = {"social.internal:8443"}};
  const Case cases[] = {
      {"mastodon", "server", "https://social.example.org", true},
      {"mastodon", "server", "HTTPS://Social.Example.org/", true},
      {"mastodon", "server", "https://social.internal:8443", true},
      {"mastodon", "server", "social.example.org", false},
      {"mastodon", "server", "http://social.example.org", false},
      {"mastodon", "server", "http://127.0.0.1:3000", false},
      {"mastodon", "server", "https://127.0.0.1", false},
      {"mastodon", "server", "https://social.example.org/@office", false},
      {"mastodon", "server", "https://social.example.org:8443", false},
      {"mastodon", "server", "https://social.example.org:99999", false},
      {"mastodon", "server", "///", false},
      {"mastodon", "access_token", std::string(4096, 'x'), true},
      {"mastodon", "access_token", std::string(4097, 'x'), false},
      {"mastodon", "access_token", "two words", false},
      {"bluesky", "identifier", "@council.example.org", true},
      {"bluesky", "identifier", "did:plc:abc", true},
      {"bluesky", "identifier", "@", false},
      {"bluesky", "identifier", "the council", false},
      {"bluesky", "identifier", "\xc3\xbc.example", false},
      {"bluesky", "identifier", std::string(254, 'x'), false},
      {"bluesky", "password", "a pass phrase \xc3\xbc", true},
      {"bluesky", "password", std::string(513, 'x'), false},
  };
  for (const Case& c : cases) {
    const Status judged = CheckOption(OptionOf(c.platform, c.option), c.value, egress);
    EXPECT_EQ(judged.has_value(), c.usable) << c.option << " " << c.value;
    if (judged) continue;
    EXPECT_EQ(judged.error().code, ErrorCode::kOptionUnusable) << c.value;
    EXPECT_EQ(judged.error().field, c.option);
    EXPECT_EQ(judged.error().message.find(c.value), std::string::npos) << "quoted: " << c.value;
    EXPECT_TRUE(judged.error().message.ends_with('.')) << judged.error().message;
  }
}

TEST(Factory, RefusesAMissingOption) {
  ConnectorContext context = GoodContext();
  context.options.clear();
  ExpectRefused("bluesky", context, "identifier");
}

}  // namespace
}  // namespace mayfly::connectors
