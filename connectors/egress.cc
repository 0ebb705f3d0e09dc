#include "connectors/egress.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>

namespace mayfly::connectors {
namespace {

constexpr std::size_t kHostBytesMax = 253;
constexpr std::size_t kLabelBytesMax = 63;

struct Block4 {
  std::uint32_t network;
  int bits;
  AddressKind kind;
};

constexpr std::uint32_t V4(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// The special-purpose blocks of IANA's registry; what is in none of them is public.
constexpr Block4 kBlocks4[] = {
    {V4(0, 0, 0, 0), 8, AddressKind::kForbidden},        // this network
    {V4(10, 0, 0, 0), 8, AddressKind::kPrivate},         //
    {V4(100, 64, 0, 0), 10, AddressKind::kPrivate},      // shared, CGNAT
    {V4(127, 0, 0, 0), 8, AddressKind::kLoopback},       //
    {V4(169, 254, 0, 0), 16, AddressKind::kForbidden},   // link-local
    {V4(172, 16, 0, 0), 12, AddressKind::kPrivate},      //
    {V4(192, 0, 0, 0), 24, AddressKind::kForbidden},     // protocol assignments
    {V4(192, 0, 2, 0), 24, AddressKind::kForbidden},     // documentation
    {V4(192, 31, 196, 0), 24, AddressKind::kForbidden},  // AS112
    {V4(192, 52, 193, 0), 24, AddressKind::kForbidden},  // AMT relays
    {V4(192, 88, 99, 0), 24, AddressKind::kForbidden},   // 6to4 relays
    {V4(192, 168, 0, 0), 16, AddressKind::kPrivate},     //
    {V4(192, 175, 48, 0), 24, AddressKind::kForbidden},  // AS112
    {V4(198, 18, 0, 0), 15, AddressKind::kForbidden},    // benchmarking
    {V4(198, 51, 100, 0), 24, AddressKind::kForbidden},  // documentation
    {V4(203, 0, 113, 0), 24, AddressKind::kForbidden},   // documentation
    {V4(224, 0, 0, 0), 4, AddressKind::kForbidden},      // multicast
    {V4(240, 0, 0, 0), 4, AddressKind::kForbidden},      // reserved, broadcast
};

struct Block6 {
  std::array<std::uint8_t, 16> network;
  int bits;
  AddressKind kind;
};

// The first match counts. Only 2000::/3 is handed out to hosts, so that all the rest is forbidden
// without being named: IPv4-mapped, NAT64, link-local, site-local, multicast, discard, segments.
constexpr Block6 kBlocks6[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, AddressKind::kLoopback},
    {{0xfc}, 7, AddressKind::kPrivate},                          // unique local
    {{0x20, 0x01, 0x00, 0x00}, 23, AddressKind::kForbidden},     // Teredo, ORCHID, benchmarking
    {{0x20, 0x01, 0x0d, 0xb8}, 32, AddressKind::kForbidden},     // documentation
    {{0x20, 0x02}, 16, AddressKind::kForbidden},                 // 6to4
    {{0x26, 0x20, 0, 0x4f, 0x80}, 48, AddressKind::kForbidden},  // AS112
    {{0x3f, 0xff}, 20, AddressKind::kForbidden},                 // documentation
    {{0x3f, 0xfe}, 16, AddressKind::kForbidden},                 // returned 6bone
    {{0x20}, 3, AddressKind::kPublic},
};

bool Covers(const Block6& block, const std::uint8_t* address) {
  const int whole = block.bits / 8;
  if (!std::equal(block.network.begin(), block.network.begin() + whole, address)) return false;
  const int rest = block.bits % 8;
  return rest == 0 || (address[whole] ^ block.network[whole]) >> (8 - rest) == 0;
}

AddressKind Classify4(std::uint32_t address) {
  for (const Block4& block : kBlocks4) {
    if ((address ^ block.network) >> (32 - block.bits) == 0) return block.kind;
  }
  return AddressKind::kPublic;
}

AddressKind Classify6(const in6_addr& address) {
  for (const Block6& block : kBlocks6) {
    if (Covers(block, address.s6_addr)) return block.kind;
  }
  return AddressKind::kForbidden;
}

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// A name of letters, digits and hyphens in labels: what DNS and a certificate can carry.
bool IsHost(std::string_view host) {
  if (host.empty() || host.size() > kHostBytesMax) return false;
  std::size_t label = 0;
  for (const char c : host) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!IsHostCharacter(c) || ++label > kLabelBytesMax) {
      return false;
    }
  }
  return label != 0;
}

struct HostAndPort {
  std::string host;
  std::optional<std::uint16_t> port;
};

std::optional<HostAndPort> ParseHostAndPort(std::string_view text) {
  HostAndPort out;
  const std::size_t colon = text.find(':');
  out.host = std::string(text.substr(0, colon));
  for (char& c : out.host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (!IsHost(out.host)) return std::nullopt;
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size() || port == 0) {
      return std::nullopt;
    }
    out.port = port;
  }
  return out;
}

// Whether it can only be meant as a number: a resolver takes 127.1 and 0x7f000001 for addresses.
bool EndsInNumber(std::string_view host) {
  const std::string_view last = host.substr(host.rfind('.') + 1);
  if (last.starts_with("0x")) return true;
  return std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Where a host leads as far as that is known without asking. A name is public until it is resolved,
// except those that never leave this machine (RFC 6761, 6.3).
AddressKind KindOfHost(std::string_view host) {
  if (EndsInNumber(host)) return ClassifyAddress(host);
  const bool local = host == "localhost" || host.ends_with(".localhost");
  return local ? AddressKind::kLoopback : AddressKind::kPublic;
}

tl::unexpected<Error> Refuse(const char* reason) {
  return Fail(ErrorCode::kInvalidArgument, reason, "origin");
}

}  // namespace

AddressKind ClassifyAddress(std::string_view address) {
  const std::string text(address);
  in_addr four = {};
  if (inet_pton(AF_INET, text.c_str(), &four) == 1 && text.find('\0') == std::string::npos) {
    return Classify4(ntohl(four.s_addr));
  }
  in6_addr six = {};
  if (inet_pton(AF_INET6, text.c_str(), &six) == 1 && text.find('\0') == std::string::npos) {
    return Classify6(six);
  }
  return AddressKind::kForbidden;
}

bool IsHostEntry(std::string_view entry) { return ParseHostAndPort(entry).has_value(); }

Result<Origin> ParseOrigin(std::string_view origin, const EgressPolicy& egress) {
  constexpr std::string_view kSecure = "https://";
  constexpr std::string_view kPlain = "http://";
  Origin out;
  if (origin.starts_with(kSecure)) {
    origin.remove_prefix(kSecure.size());
  } else if (origin.starts_with(kPlain)) {
    origin.remove_prefix(kPlain.size());
    out.tls = false;
  } else {
    return Refuse("It must begin with https://.");
  }
  if (!out.tls && !egress.insecure_loopback) {
    return Refuse("Plain http is not allowed; it must begin with https://.");
  }
  const std::optional<HostAndPort> parsed = ParseHostAndPort(origin);
  if (!parsed) {
    return Refuse(
        "It must be a scheme, a host and at most a port, without a path or a user; IPv6 addresses "
        "are not supported.");
  }
  out.host = parsed->host;
  out.port = parsed->port.value_or(out.tls ? 443 : 80);
  if (!out.tls) {
    if (ClassifyAddress(out.host) == AddressKind::kLoopback) return out;
    return Refuse("Plain http is allowed to an address 127.x.y.z only; use https://.");
  }
  for (const std::string& entry : egress.private_hosts) {
    const std::optional<HostAndPort> allowed = ParseHostAndPort(entry);
    if (!allowed) {
      return Fail(ErrorCode::kInvalidArgument,
                  "An entry of [egress] allow is no host or host:port.", "private_hosts");
    }
    if (allowed->host == out.host && allowed->port.value_or(443) == out.port) {
      out.private_allowed = true;
    }
  }
  const AddressKind kind = KindOfHost(out.host);
  if (kind == AddressKind::kForbidden) {
    return Refuse("Nothing is ever connected to this address; give the server's name.");
  }
  if (kind != AddressKind::kPublic && !out.private_allowed) {
    return Refuse(
        "It is an address of this machine or of an inside network; such a server must be listed "
        "in [egress] allow.");
  }
  if (out.port != 443 && !out.private_allowed) {
    return Refuse(
        "Only port 443 is allowed; a server of your own on another port must be listed as "
        "host:port in [egress] allow.");
  }
  return out;
}

Result<std::vector<std::string>> PermittedAddresses(const Origin& origin,
                                                    const std::vector<std::string>& addresses) {
  std::vector<std::string> out;
  for (const std::string& address : addresses) {
    const AddressKind kind = ClassifyAddress(address);
    const bool inside = kind == AddressKind::kPrivate || kind == AddressKind::kLoopback;
    const bool permitted = origin.tls
                               ? kind == AddressKind::kPublic || (inside && origin.private_allowed)
                               : kind == AddressKind::kLoopback;
    if (permitted && std::find(out.begin(), out.end(), address) == out.end()) {
      out.push_back(address);
    }
  }
  if (out.empty()) {
    return Fail(ErrorCode::kHostForbidden,
                "the host name leads to no address that may be connected to");
  }
  return out;
}

}  // namespace mayfly::connectors
