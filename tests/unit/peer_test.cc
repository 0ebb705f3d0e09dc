// Who is counted, and what a trusted proxy may say about it.
#include "service/api/peer.h"

#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

namespace mayfly::service::api {
namespace {

IpAddress Ip(const char* text) { return ParseIpAddress(text).value(); }

TEST(Peer, OnlyLiteralsAreAddresses) {
  for (const char* text : {"10.0.0.7", "::1", "2001:db8::7", "::ffff:10.0.0.7"}) {
    EXPECT_TRUE(ParseIpAddress(text)) << text;
  }
  for (const char* text : {"", "10.0.0", "10.0.0.07", "10.0.0.256", "localhost", "[::1]", "::1%lo",
                           "10.0.0.7:80", " 10.0.0.7", "10.0.0.0/8", "0x0a.0.0.7"}) {
    EXPECT_FALSE(ParseIpAddress(text)) << text;
  }
  EXPECT_FALSE(ParseIpAddress(std::string_view("10.0.0.7\0", 9)));
}

TEST(Peer, AnAddressIsOneHoweverItIsWritten) {
  EXPECT_EQ(Ip("::ffff:10.0.0.7"), Ip("10.0.0.7"));
  sockaddr_storage mapped{};
  auto& in6 = reinterpret_cast<sockaddr_in6&>(mapped);
  in6.sin6_family = AF_INET6;
  const unsigned char bytes[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7};
  std::memcpy(&in6.sin6_addr, bytes, sizeof bytes);
  EXPECT_EQ(AddressOf(mapped), Ip("10.0.0.7"));
}

TEST(Peer, ACustomerOfIpv6IsOneClient) {
  EXPECT_EQ(CountingKey(Ip("2001:db8:1:2::3")), CountingKey(Ip("2001:db8:1:2:ffff::4")));
  EXPECT_NE(CountingKey(Ip("2001:db8:1:2::3")), CountingKey(Ip("2001:db8:1:3::3")));
  EXPECT_NE(CountingKey(Ip("10.0.0.7")), CountingKey(Ip("10.0.0.8")));
}

TEST(Peer, LoopbackIsAWholeNetOfIpv4AndOneAddressOfIpv6) {
  for (const char* text : {"127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLoopback(Ip(text))) << text;
  }
  for (const char* text : {"0.0.0.0", "::", "128.0.0.1", "10.0.0.7", "fe80::1"}) {
    EXPECT_FALSE(IsLoopback(Ip(text))) << text;
  }
}

struct Forwarded {
  const char* field;     // null: there is none
  const char* expected;  // null: refused
};

TEST(Peer, TheRightMostUntrustedAddressIsTheClient) {
  const TrustedProxies proxies = {Ip("10.0.0.7"), Ip("10.0.0.8")};
  for (const Forwarded& one : {
           Forwarded{nullptr, "10.0.0.7"},
           Forwarded{"192.0.2.1", "192.0.2.1"},
           Forwarded{"6.6.6.6, 192.0.2.1", "192.0.2.1"},
           Forwarded{"6.6.6.6,192.0.2.1", "192.0.2.1"},
           Forwarded{"192.0.2.1, 10.0.0.8", "192.0.2.1"},
           Forwarded{"6.6.6.6, 192.0.2.1 ,\t10.0.0.8 , 10.0.0.7", "192.0.2.1"},
           Forwarded{"10.0.0.8", "10.0.0.7"},
           Forwarded{"rubbish<>, , 192.0.2.1", "192.0.2.1"},  // the client's own words
           Forwarded{"2001:db8::7", "2001:db8::7"},
           Forwarded{"", nullptr},
           Forwarded{"192.0.2.1,", nullptr},
           Forwarded{"unknown", nullptr},
           Forwarded{"192.0.2.1:4711", nullptr},
           Forwarded{"rubbish, 10.0.0.8", nullptr},
       }) {
    const std::string field = one.field == nullptr ? "" : one.field;
    const auto client =
        ClientBehind(Ip("10.0.0.7"), proxies, one.field == nullptr ? nullptr : &field);
    ASSERT_EQ(client.has_value(), one.expected != nullptr) << field;
    if (client) {
      EXPECT_EQ(*client, Ip(one.expected)) << field;
    }
  }
}

}  // namespace
}  // namespace mayfly::service::api
