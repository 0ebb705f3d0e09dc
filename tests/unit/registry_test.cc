#include "connectors/registry.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "connectors/factory.h"

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

TEST(Factory, RefusesAMissingOption) {
  ConnectorContext context = GoodContext();
  context.options.clear();
  ExpectRefused("bluesky", context, "identifier");
}

}  // namespace
}  // namespace mayfly::connectors
