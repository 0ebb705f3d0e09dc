// Where a connector may connect to. Policy only: it resolves nothing and opens nothing. Every
// origin and every address that http_client.cc uses has passed through here.
#ifndef MAYFLY_CONNECTORS_EGRESS_H_
#define MAYFLY_CONNECTORS_EGRESS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/connector.h"
#include "store/model/result.h"

namespace mayfly::connectors {

enum class AddressKind {
  kPublic,     // an ordinary host of the internet
  kLoopback,   // this machine
  kPrivate,    // an inside network: RFC 1918, shared (CGNAT), unique local
  kForbidden,  // all else, never connected to: link-local (where clouds keep their secrets),
               // multicast, unspecified, reserved, documentation, and the forms that hide another
               // address: IPv4-mapped, NAT64, 6to4, Teredo
};

// Of an address in text form; a text that is none is kForbidden.
AddressKind ClassifyAddress(std::string_view address);

struct Origin {
  bool tls = true;
  std::string host;  // lower case; a name or an IPv4 literal
  std::uint16_t port = 443;
  bool private_allowed = false;  // named in EgressPolicy::private_hosts
};

// https://host[:port] with port 443 unless private_hosts names host:port (an entry without a port
// means 443); with insecure_loopback also http://127.x.y.z:port. A host that cannot lead outside
// (an address, localhost) must be listed too, and forbidden addresses never help. kInvalidArgument
// (field "origin"), with a sentence for the person who wrote it.
Result<Origin> ParseOrigin(std::string_view origin, const EgressPolicy& egress);

// Whether EgressPolicy::private_hosts may hold it: host or host:port.
bool IsHostEntry(std::string_view entry);

// Those of the `addresses` of its host that the origin may be reached at, in their order.
// kHostForbidden when there are none: a person must see to it.
Result<std::vector<std::string>> PermittedAddresses(const Origin& origin,
                                                    const std::vector<std::string>& addresses);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_EGRESS_H_
