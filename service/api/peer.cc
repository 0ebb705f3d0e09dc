#include "service/api/peer.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <sys/socket.h>

namespace mayfly::service::api {
namespace {

constexpr std::size_t kLiteralBytesMax = 45;
constexpr std::string_view kMappedPrefix("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);

IpAddress FromBytes(std::string_view bytes) {
  if (bytes.size() == 16 && bytes.substr(0, 12) == kMappedPrefix) bytes.remove_prefix(12);
  return {std::string(bytes)};
}

std::string_view Trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<IpAddress> ParseIpAddress(std::string_view text) {
  if (text.empty() || text.size() > kLiteralBytesMax || text.find('\0') != text.npos) {
    return std::nullopt;
  }
  const std::string literal(text);
  std::array<char, 16> bytes;
  if (inet_pton(AF_INET, literal.c_str(), bytes.data()) == 1) {
    return FromBytes({bytes.data(), 4});
  }
  if (inet_pton(AF_INET6, literal.c_str(), bytes.data()) == 1) {
    return FromBytes({bytes.data(), 16});
  }
  return std::nullopt;
}

IpAddress AddressOf(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(peer);
    return FromBytes({reinterpret_cast<const char*>(&in.sin_addr), 4});
  }
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(peer);
  return FromBytes({reinterpret_cast<const char*>(&in6.sin6_addr), 16});
}

bool IsLoopback(const IpAddress& address) {
  if (address.bytes.size() == 4) return address.bytes[0] == 127;
  return address == ParseIpAddress("::1");
}

std::string CountingKey(const IpAddress& address) {
  if (address.bytes.size() == 4) return "4" + address.bytes;
  return "6" + address.bytes.substr(0, 8);
}

bool IsTrusted(const TrustedProxies& proxies, const IpAddress& address) {
  return std::find(proxies.begin(), proxies.end(), address) != proxies.end();
}

std::optional<IpAddress> ClientBehind(const IpAddress& proxy, const TrustedProxies& proxies,
                                      const std::string* forwarded_for) {
  if (forwarded_for == nullptr) return proxy;
  std::string_view rest = *forwarded_for;
  while (true) {
    const std::size_t comma = rest.rfind(',');
    const std::string_view last =
        Trim(comma == std::string_view::npos ? rest : rest.substr(comma + 1));
    const auto address = ParseIpAddress(last);
    if (!address) return std::nullopt;
    if (!IsTrusted(proxies, *address)) return address;
    if (comma == std::string_view::npos) return proxy;
    rest = rest.substr(0, comma);
  }
}

}  // namespace mayfly::service::api
