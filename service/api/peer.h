// Who is at the other end: addresses as values, and what a trusted proxy says about them. Pure
// functions: no socket.
#ifndef MAYFLY_SERVICE_API_PEER_H_
#define MAYFLY_SERVICE_API_PEER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr_storage;

namespace mayfly::service::api {

// An IP address: 4 or 16 bytes in network order. An IPv4 address that is written as IPv6 is the
// IPv4 address.
struct IpAddress {
  std::string bytes;
  bool operator==(const IpAddress&) const = default;
};

// A literal such as "10.0.0.7" or "2001:db8::7", nothing around it.
std::optional<IpAddress> ParseIpAddress(std::string_view text);
// Of an accepted TCP connection.
IpAddress AddressOf(const sockaddr_storage& peer);
// 127.0.0.0/8 and ::1.
bool IsLoopback(const IpAddress& address);

// The key under which an address is counted: an IPv4 address, or the /64 that one IPv6 customer
// has. Not for people's eyes.
std::string CountingKey(const IpAddress& address);

using TrustedProxies = std::vector<IpAddress>;
bool IsTrusted(const TrustedProxies& proxies, const IpAddress& address);

// The client behind the trusted `proxy`: the right-most address of X-Forwarded-For that is not a
// trusted proxy itself. What stands to the left of it was written by the client and is not read.
// The proxy itself when there is no such field or it names only proxies. Nothing when an element
// that has to be read is no address: then the proxy is not what the setting says.
std::optional<IpAddress> ClientBehind(const IpAddress& proxy, const TrustedProxies& proxies,
                                      const std::string* forwarded_for);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_PEER_H_
