// From a name to a living connector. Linked into mayfly-worker and tests only: it pulls in
// cpprestsdk.
#ifndef MAYFLY_CONNECTORS_FACTORY_H_
#define MAYFLY_CONNECTORS_FACTORY_H_

#include <memory>
#include <string_view>

#include "connectors/connector.h"

namespace mayfly::connectors {

// kInvalidArgument or kOptionUnusable, with `field`, for an unknown platform or a bad option. Opens
// no connection.
Result<std::unique_ptr<Connector>> MakeConnector(std::string_view platform,
                                                 const ConnectorContext& context);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_FACTORY_H_
