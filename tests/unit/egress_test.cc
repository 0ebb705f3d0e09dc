#include "connectors/egress.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace mayfly::connectors {
namespace {

struct AddressCase {
  const char* address;
  AddressKind kind;
};

constexpr AddressKind kPublic = AddressKind::kPublic;
constexpr AddressKind kLoopback = AddressKind::kLoopback;
constexpr AddressKind kPrivate = AddressKind::kPrivate;
constexpr AddressKind kForbidden = AddressKind::kForbidden;

constexpr AddressCase kAddresses[] = {
    // Public, with the neighbours of the blocks below.
    {"1.1.1.1", kPublic},
    {"8.8.8.8", kPublic},
    {"9.255.255.255", kPublic},
    {"11.0.0.0", kPublic},
    {"100.63.255.255", kPublic},
    {"100.128.0.0", kPublic},
    {"126.255.255.255", kPublic},
    {"128.0.0.0", kPublic},
    {"169.253.255.255", kPublic},
    {"169.255.0.0", kPublic},
    {"172.15.255.255", kPublic},
    {"172.32.0.0", kPublic},
    {"192.167.255.255", kPublic},
    {"192.169.0.0", kPublic},
    {"198.17.255.255", kPublic},
    {"198.20.0.0", kPublic},
    {"223.255.255.255", kPublic},
    {"2606:4700:4700::1111", kPublic},
    {"2a00:1450:4001:80b::200e", kPublic},
    {"2001:4860:4860::8888", kPublic},
    {"2001:200::1", kPublic},
    // This machine.
    {"127.0.0.1", kLoopback},
    {"127.0.0.0", kLoopback},
    {"127.255.255.255", kLoopback},
    {"::1", kLoopback},
    {"0:0:0:0:0:0:0:1", kLoopback},
    // Inside networks.
    {"10.0.0.0", kPrivate},
    {"10.255.255.255", kPrivate},
    {"172.16.0.0", kPrivate},
    {"172.31.255.255", kPrivate},
    {"192.168.0.1", kPrivate},
    {"100.64.0.0", kPrivate},
    {"100.127.255.255", kPrivate},
    {"fc00::1", kPrivate},
    {"fdff:ffff::1", kPrivate},
    // Never.
    {"0.0.0.0", kForbidden},
    {"0.1.2.3", kForbidden},
    {"169.254.0.1", kForbidden},
    {"169.254.169.254", kForbidden},
    {"192.0.0.1", kForbidden},
    {"192.0.2.1", kForbidden},
    {"192.88.99.1", kForbidden},
    {"198.18.0.1", kForbidden},
    {"198.19.255.255", kForbidden},
    {"198.51.100.1", kForbidden},
    {"203.0.113.1", kForbidden},
    {"224.0.0.1", kForbidden},
    {"239.255.255.255", kForbidden},
    {"240.0.0.1", kForbidden},
    {"255.255.255.255", kForbidden},
    {"::", kForbidden},
    {"::2", kForbidden},
    {"::127.0.0.1", kForbidden},        // IPv4-compatible
    {"::ffff:127.0.0.1", kForbidden},   // IPv4-mapped
    {"::ffff:8.8.8.8", kForbidden},     //
    {"64:ff9b::10.0.0.1", kForbidden},  // NAT64
    {"64:ff9b:1::1", kForbidden},       // NAT64, local
    {"100::1", kForbidden},             // discard
    {"2001::1", kForbidden},            // Teredo
    {"2001:20::1", kForbidden},         // ORCHIDv2
    {"2001:1ff:ffff::1", kForbidden},   // the last of the protocol assignments
    {"2001:db8::1", kForbidden},        // documentation
    {"2002:7f00:1::1", kForbidden},     // 6to4 of 127.0.0.1
    {"3fff:fff::1", kForbidden},        // documentation
    {"5f00::1", kForbidden},            // segment routing
    {"fe80::1", kForbidden},            // link-local
    {"febf::1", kForbidden},            //
    {"fec0::1", kForbidden},            // site-local
    {"ff02::1", kForbidden},            // multicast
    {"ffff::1", kForbidden},            //
    {"4000::1", kForbidden},            // not handed out
    // No addresses in canonical form at all.
    {"", kForbidden},
    {"localhost", kForbidden},
    {"127.1", kForbidden},
    {"2130706433", kForbidden},
    {"0x7f.0.0.1", kForbidden},
    {"1.2.3.4.5", kForbidden},
    {"[::1]", kForbidden},
    {"fe80::1%eth0", kForbidden},
};

TEST(Egress, EveryAddressHasItsKind) {
  for (const AddressCase& c : kAddresses) {
    EXPECT_EQ(ClassifyAddress(c.address), c.kind) << c.address;
  }
  EXPECT_EQ(ClassifyAddress(std::string_view("8.8.8.8\0.evil", 13)), kForbidden);
}

TEST(Egress, OriginsThatAreTaken) {
  const EgressPolicy policy = {
      .insecure_loopback = true,
      .private_hosts = {"pds.internal:8443", "Chat.Internal", "10.0.0.5:8443", "localhost:9443"},
      .ca_file = ""};
  struct Case {
    const char* text;
    bool tls;
    const char* host;
    std::uint16_t port;
    bool private_allowed;
  };
  const Case cases[] = {
      {"https://bsky.social", true, "bsky.social", 443, false},
      {"https://BSKY.Social:443", true, "bsky.social", 443, false},
      {"https://pds.internal:8443", true, "pds.internal", 8443, true},
      {"https://chat.internal", true, "chat.internal", 443, true},
      {"https://pds.internal", true, "pds.internal", 443, false},  // that port is not listed
      {"https://10.0.0.5:8443", true, "10.0.0.5", 8443, true},
      {"https://localhost:9443", true, "localhost", 9443, true},
      {"https://8.8.8.8", true, "8.8.8.8", 443, false},
      {"http://127.0.0.1:8080", false, "127.0.0.1", 8080, false},
      {"http://127.8.8.8:1", false, "127.8.8.8", 1, false},
  };
  for (const Case& c : cases) {
    const Result<Origin> origin = ParseOrigin(c.text, policy);
    ASSERT_TRUE(origin) << c.text;
    EXPECT_EQ(origin->tls, c.tls) << c.text;
    EXPECT_EQ(origin->host, c.host) << c.text;
    EXPECT_EQ(origin->port, c.port) << c.text;
    EXPECT_EQ(origin->private_allowed, c.private_allowed) << c.text;
  }
}

TEST(Egress, OriginsThatAreRefused) {
  const EgressPolicy policy = {
      .insecure_loopback = true, .private_hosts = {"pds.internal:8443"}, .ca_file = ""};
  const char* const cases[] = {
      "",
      "bsky.social",
      "ftp://bsky.social",
      "HTTPS://bsky.social",
      "https://",
      "https://bsky.social/",
      "https://bsky.social/xrpc",
      "https://bsky.social?x=1",
      "https://bsky.social#x",
      "https://user@bsky.social",
      "https://user:secret@bsky.social",
      "https://bsky.social:",
      "https://bsky.social:0",
      "https://bsky.social:65536",
      "https://bsky.social:443a",
      "https://bsky.social:-1",
      "https://bsky.social:8443",
      "https://chat.internal:8443",
      "https://.bsky.social",
      "https://bsky.social.",
      "https://bsky..social",
      "https://bsky.social\r\nHost: evil",
      "https://bsky%2esocial",
      "https://\xc3\xbc.example",
      "https://[::1]",
      "https://[2606:4700::1111]:443",
      "http://bsky.social",
      "http://localhost:8080",
      "http://10.0.0.1:8080",
      "http://8.8.8.8",
      "http://127.1:8080",
      "http://2130706433:8080",
      "http://0.0.0.0:8080",
      "http://169.254.169.254",
      // What leads inside whatever a resolver says, unless it is listed.
      "https://localhost",
      "https://chat.localhost",
      "https://127.0.0.1",
      "https://10.0.0.1",
      "https://192.168.1.7",
      "https://100.64.0.1",
      // What is never connected to, and numbers that only a resolver takes for addresses.
      "https://169.254.169.254",
      "https://0.0.0.0",
      "https://203.0.113.7",
      "https://127.1",
      "https://2130706433",
      "https://0x7f.1",
      "https://0x7f000001",
      "https://010.0.0.1",
      "https://1.2.3.4.5",
      "https://bsky.1",
  };
  for (const char* const text : cases) {
    const Result<Origin> origin = ParseOrigin(text, policy);
    ASSERT_FALSE(origin) << text;
    EXPECT_EQ(origin.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_EQ(origin.error().field, "origin") << text;
  }
  EXPECT_FALSE(ParseOrigin("http://127.0.0.1:8080", EgressPolicy{}));
  EXPECT_FALSE(ParseOrigin("https://" + std::string(64, 'a') + ".example", policy));
  const EgressPolicy broken = {.private_hosts = {"pds.internal/8443"}};
  const Result<Origin> origin = ParseOrigin("https://bsky.social", broken);
  ASSERT_FALSE(origin);
  EXPECT_EQ(origin.error().field, "private_hosts");
}

const std::vector<std::string> kMixed = {"10.0.0.1",        "8.8.8.8",         "127.0.0.1",
                                         "169.254.169.254", "::ffff:10.0.0.1", "8.8.8.8",
                                         "fd00::1",         "1.1.1.1"};

// What a resolver answers decides nothing: a name of the platform that turns to the inside is not
// followed (DNS rebinding).
TEST(Egress, APublicHostIsReachedAtPublicAddressesOnly) {
  const Origin origin = {.host = "bsky.social"};
  EXPECT_EQ(*PermittedAddresses(origin, kMixed), (std::vector<std::string>{"8.8.8.8", "1.1.1.1"}));
  const auto inside = PermittedAddresses(origin, {"127.0.0.1", "10.1.2.3", "fe80::1"});
  ASSERT_FALSE(inside);
  EXPECT_EQ(inside.error().code, ErrorCode::kHostForbidden) << "a person must see to it";
}

TEST(Egress, APrivateHostMayBeInsideButNotEverywhere) {
  const Origin origin = {.host = "pds.internal", .private_allowed = true};
  EXPECT_EQ(*PermittedAddresses(origin, kMixed),
            (std::vector<std::string>{"10.0.0.1", "8.8.8.8", "127.0.0.1", "fd00::1", "1.1.1.1"}));
}

TEST(Egress, PlainHttpStaysOnThisMachine) {
  const Origin origin = {.tls = false, .host = "127.0.0.1", .port = 80};
  EXPECT_EQ(*PermittedAddresses(origin, kMixed), (std::vector<std::string>{"127.0.0.1"}));
}

TEST(Egress, AnEntryOfTheListIsAHostAndAtMostAPort) {
  for (const char* entry : {"pds.internal", "pds.internal:8443", "10.0.0.5:1"}) {
    EXPECT_TRUE(IsHostEntry(entry)) << entry;
  }
  for (const char* entry : {"", ":", "a:", "a:0", "a:65536", "a:b", "a/b", "https://a", "a..b"}) {
    EXPECT_FALSE(IsHostEntry(entry)) << entry;
  }
}

}  // namespace
}  // namespace mayfly::connectors
