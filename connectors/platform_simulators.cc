// From a platform's name to its simulator, by the same line that registers the connector.
#include "connectors/platform_simulator.h"
#include "connectors/simulator_headers.h"

namespace mayfly::connectors {

Result<std::unique_ptr<PlatformSimulator>> StartPlatformSimulator(
    std::string_view platform, const Clock& clock, const PlatformSimulatorOptions& options) {
#define MAYFLY_CONNECTOR(name) \
  if (platform == #name) return name::StartPlatform(clock, options);
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
  return Fail(ErrorCode::kNotFound, "there is no simulator of this platform");
}

}  // namespace mayfly::connectors
