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

TEST(Config, HowMuchOfTheDiskIsKept) {
  const auto usual = ParseConfig(Good(), "/etc/m.toml");
  ASSERT_TRUE(usual) << usual.error().message;
  EXPECT_EQ(usual->room.percent, 10);
  EXPECT_EQ(usual->ballast_mib, 64u);
  const auto config = ParseConfig(
      Good() + "\n[store]\ningest_stops_at_free_percent = 25\nballast_mib = 256\n", "/etc/m.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->room.percent, 25);
  EXPECT_EQ(config->ballast_mib, 256u);
  for (const char* key : {"ingest_stops_at_free_percent", "ballast_mib"}) {
    for (const char* value : {"0", "-1", "70000", "\"10%\"", "12.5", "true"}) {
      const auto wrong =
          ParseConfig(Good() + "\n[store]\n" + key + " = " + value + "\n", "/etc/m.toml");
      ASSERT_FALSE(wrong) << key << value;
      EXPECT_THAT(wrong.error().message, HasSubstr(std::string("store.") + key));
      EXPECT_THAT(wrong.error().message, HasSubstr("must be a whole number from"));
    }
  }
}

// What init writes for each source is accepted, and names a file only where there is one.
TEST(Config, TheSourcesOfTheMasterKey) {
  for (const auto& [source, word] : {std::pair(KeySource::kCredential, "\"credential\""),
                                     std::pair(KeySource::kPassphrase, "\"passphrase\"")}) {
    const std::string text = RenderConfig({.data_dir = "/var/lib/mayfly",
                                           .master_key = "/etc/mayfly/master.key",
                                           .run_dir = "/run/mayfly",
                                           .listen = {"127.0.0.1:8080"},
                                           .key_source = source});
    EXPECT_THAT(text, HasSubstr(word));
    const auto config = ParseConfig(text, "/etc/mayfly/mayfly.toml");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->key_source, source);
    EXPECT_TRUE(config->master_key.empty());
    EXPECT_TRUE(MayBeReadWhole("/etc/mayfly/tls", *config));
    EXPECT_FALSE(MayBeReadWhole("/var/lib", *config));
  }
}

TEST(Config, TheLanguagesOfSearchAreRead) {
  EXPECT_THAT(ParseConfig(Good(), "/etc/m.toml")->search_languages, ::testing::ElementsAre("en"));
  for (const auto& [given, expected] : std::map<std::string, std::vector<std::string>>{
           {"[]", {}}, {"[\"nl\", \"fr\"]", {"nl", "fr"}}}) {
    const auto config =
        ParseConfig(Good() + "\n[search]\nlanguages = " + given + "\n", "/etc/m.toml");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->search_languages, expected);
  }
  for (const char* wrong : {"[\"xx\"]", "\"en\"", "[1]", "[\"en\", \"en\"]",
                            "[\"en\", \"fr\", \"de\", \"nl\", \"es\"]"}) {
    const auto config =
        ParseConfig(Good() + "\n[search]\nlanguages = " + wrong + "\n", "/etc/m.toml");
    ASSERT_FALSE(config) << wrong;
    EXPECT_THAT(config.error().message, HasSubstr("languages"));
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
        Wrong{"public_address_6", "127.0.0.1:8080", "[2001:db8::1]:8080", "http.listen"},
        Wrong{"every_address_6", "127.0.0.1:8080", "[::]:8080", "http.listen"},
        Wrong{"mapped_address", "127.0.0.1:8080", "[::ffff:10.0.0.1]:8080", "http.listen"},
        Wrong{"address_6_without_brackets", "127.0.0.1:8080", "::1:8080", "http.listen"},
        Wrong{"address_4_in_brackets", "127.0.0.1:8080", "[127.0.0.1]:8080", "http.listen"},
        Wrong{"address_with_scheme", "127.0.0.1:8080", "https://127.0.0.1:8080", "http.listen"},
        Wrong{"no_port", "127.0.0.1:8080", "127.0.0.1", "http.listen"},
        Wrong{"proxy_name", "[http]", "[http]\ntrusted_proxies = [\"SECRETVALUE\"]",
              "http.trusted_proxies"},
        Wrong{"proxy_net", "[http]", "[http]\ntrusted_proxies = [\"10.0.0.0/8\"]",
              "http.trusted_proxies"},
        Wrong{"proxy_type", "[http]", "[http]\ntrusted_proxies = \"10.0.0.7\"",
              "http.trusted_proxies"},
        Wrong{"handshake", "[http]", "[http]\nhandshake_deadline = \"0s\"",
              "http.handshake_deadline"},
        Wrong{"tls_type", "[http]", "[http]\ntls = true", "http.tls"},
        Wrong{"tls_without_key", "[http]",
              "[http.tls]\ncertificate = \"/etc/mayfly/tls/SECRETVALUE\"\n[http]",
              "http.tls.private_key"},
        Wrong{"tls_without_certificate", "[http]",
              "[http.tls]\nprivate_key = \"/etc/mayfly/tls/SECRETVALUE\"\n[http]",
              "http.tls.certificate"},
        Wrong{"tls_unknown", "[http]",
              "[http.tls]\ncertificate = \"/a/b/c\"\nprivate_key = \"/a/b/d\"\nSECRETVALUE = 1\n"
              "[http]",
              "http.tls"},
        Wrong{"tls_beside_the_master_key", "[http]",
              "[http.tls]\ncertificate = \"/etc/mayfly/c\"\nprivate_key = \"/a/b/d\"\n[http]",
              "http.tls.certificate"},
        Wrong{"tls_above_the_data", "[http]",
              "[http.tls]\ncertificate = \"/a/b/c\"\nprivate_key = \"/var/lib/key\"\n[http]",
              "http.tls.private_key"},
        Wrong{"tls_in_a_directory_of_the_system", "[http]",
              "[http.tls]\ncertificate = \"/etc/c\"\nprivate_key = \"/a/b/d\"\n[http]",
              "http.tls.certificate"},
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
        Wrong{"key_source", "[http]", "[keys]\nsource = \"SECRETVALUE\"\n[http]", "keys.source"},
        Wrong{"key_file_and_another_source", "[http]", "[keys]\nsource = \"passphrase\"\n[http]",
              "paths.master_key"},
        Wrong{"no_key_file", "master_key = ", "run_at = ", "paths.master_key"},
        Wrong{"credential_from", "[http]", "[keys]\ncredential_from = \"SECRETVALUE\"\n[http]",
              "keys.credential_from"},
        Wrong{"credential_from_without_credential", "[http]",
              "[keys]\ncredential_from = \"elsewhere\"\n[http]", "keys.credential_from"},
        Wrong{"any_file_system", "[http]", "[keys]\nany_file_system = \"yes\"\n[http]",
              "keys.any_file_system"},
        Wrong{"empty_name", "\"Example Statistics Office\"", "\"\"", "organisation.name"},
        Wrong{"no_toml", "[paths]", "paths SECRETVALUE", "mayfly.toml:11"}),
    [](const auto& info) { return std::string(info.param.name); });

struct Mode {
  const char* name;
  const char* address;
  const char* settings;  // before [http]'s listen
  bool accepted, tls, proxies_only;
};

constexpr const char* kTls =
    "[http.tls]\ncertificate = \"/etc/mayfly/tls/c.pem\"\nprivate_key = "
    "\"/etc/mayfly/tls/k.pem\"\n[http]\n";
constexpr const char* kProxies = "[http]\ntrusted_proxies = [\"10.0.0.7\", \"2001:db8::7\"]\n";

// Which addresses may be listened on, and what is spoken there.
TEST(Config, AnAddressThatOthersReachNeedsTlsOrTrustedProxies) {
  for (const Mode& mode : {
           Mode{"loopback", "127.0.0.1:1", "[http]\n", true, false, false},
           Mode{"loopback 6", "[::1]:1", "[http]\n", true, false, false},
           Mode{"loopback net", "127.8.8.8:1", "[http]\n", true, false, false},
           Mode{"every", "0.0.0.0:1", "[http]\n", false, false, false},
           Mode{"private", "10.0.0.1:1", "[http]\n", false, false, false},
           Mode{"link local", "[fe80::1]:1", "[http]\n", false, false, false},
           Mode{"loopback, TLS", "127.0.0.1:1", kTls, true, true, false},
           Mode{"every, TLS", "0.0.0.0:1", kTls, true, true, false},
           Mode{"every 6, TLS", "[::]:1", kTls, true, true, false},
           Mode{"loopback, proxies", "127.0.0.1:1", kProxies, true, false, false},
           Mode{"private, proxies", "10.0.0.1:1", kProxies, true, false, true},
           Mode{"public 6, proxies", "[2001:db8::1]:1", kProxies, true, false, true},
       }) {
    SCOPED_TRACE(mode.name);
    const auto config = ParseConfig(
        Replace(Replace(Good(), "127.0.0.1:8080", mode.address), "[http]\n", mode.settings),
        "/m.toml");
    ASSERT_EQ(config.has_value(), mode.accepted) << (config ? "" : config.error().message);
    if (!config) {
      EXPECT_THAT(config.error().message, HasSubstr("/m.toml:"));
      for (const char* remedy : {"http.listen", "[http.tls]", "trusted_proxies", "127.0.0.1"}) {
        EXPECT_THAT(config.error().message, HasSubstr(remedy));
      }
      continue;
    }
    EXPECT_EQ(config->listen[0].tls, mode.tls);
    EXPECT_EQ(config->listen[0].proxies_only, mode.proxies_only);
    // A Unix socket is for this machine, whatever else is set.
    EXPECT_FALSE(config->listen[1].tls);
    EXPECT_FALSE(config->listen[1].proxies_only);
  }
}

TEST(Config, PathsOfTheCertificateAreTakenFromTheFilesPlace) {
  const auto config = ParseConfig(
      Replace(Good(), "[http]\n",
              "[http.tls]\ncertificate = \"tls/c.pem\"\nprivate_key = \"tls/k.pem\"\n[http]\n"),
      "/srv/inbox/mayfly.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->tls->certificate, "/srv/inbox/tls/c.pem");
  EXPECT_EQ(config->tls->private_key, "/srv/inbox/tls/k.pem");
}

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
