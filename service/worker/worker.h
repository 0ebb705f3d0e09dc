// mayfly-worker: one connector behind the link. Holds no store and no keys; may reach its platform
// and nothing else.
#ifndef MAYFLY_SERVICE_WORKER_WORKER_H_
#define MAYFLY_SERVICE_WORKER_WORKER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "connectors/connector.h"

namespace mayfly::service {

using ConnectorMaker = std::function<Result<std::unique_ptr<connectors::Connector>>(
    std::string_view platform, const connectors::ConnectorContext& context)>;

// What the worker tells the core about its sandbox; shown on /v1/about.
struct WorkerSandboxState {
  bool landlock = false;
  std::uint32_t landlock_abi = 0;
};

// Serves frames from `from_core` to `to_core` until the pipe closes. Returns the process exit code:
// 0 at a clean end (the core closed the pipe or is gone), 70 for frames that break the protocol.
// The connector runs on the calling thread. A second thread watches for the end of the core and
// then asks the request under way to stop. The descriptors stay the caller's.
int RunWorker(int from_core, int to_core, std::uint64_t epoch, const ConnectorMaker& make,
              const WorkerSandboxState& sandbox = {});

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_WORKER_WORKER_H_
