// Which platforms there are. Links no connector code: `mayfly` needs the names, not the clients.
#ifndef MAYFLY_CONNECTORS_REGISTRY_H_
#define MAYFLY_CONNECTORS_REGISTRY_H_

#include <span>
#include <string_view>

#include "connectors/connector.h"

namespace mayfly::connectors {

std::span<const ConnectorInfo* const> AllConnectors();
// Null pointer for an unknown name.
const ConnectorInfo* FindConnector(std::string_view name);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_REGISTRY_H_
