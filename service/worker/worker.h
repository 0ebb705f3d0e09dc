// mayfly-worker: one connector behind the link. Holds no store and no keys; may reach its platform and
// nothing else.
#ifndef MAYFLY_SERVICE_WORKER_WORKER_H_
#define MAYFLY_SERVICE_WORKER_WORKER_H_

#include <functional>
#include <memory>
#include <string_view>

#include "connectors/connector.h"

namespace mayfly::service {

using ConnectorMaker = std::function<Result<std::unique_ptr<connectors::Connector>>(
    std::string_view platform, const connectors::ConnectorContext& context)>;

// Serves frames from `from_core` to `to_core` until the pipe closes. Returns the process exit code: 0
// at a clean end, 70 for frames that break the protocol.
int RunWorker(int from_core, int to_core, std::uint64_t epoch, const ConnectorMaker& make);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_WORKER_WORKER_H_
