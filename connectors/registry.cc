#include "connectors/registry.h"

#include <array>

// Generated from connectors.def: the connector.h of each platform folder, for its kInfo.
#include "connectors/platform_headers.h"

namespace mayfly::connectors {
namespace {

constexpr auto kConnectors = std::to_array<const ConnectorInfo*>({
#define MAYFLY_CONNECTOR(name) &name::kInfo,
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
});

}  // namespace

std::span<const ConnectorInfo* const> AllConnectors() { return kConnectors; }

const ConnectorInfo* FindConnector(std::string_view name) {
  for (const ConnectorInfo* info : kConnectors) {
    if (info->name == name) return info;
  }
  return nullptr;
}

}  // namespace mayfly::connectors
