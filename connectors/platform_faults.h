// The bookkeeping of PlatformSimulator::Inject, the same for every simulator, and the broken
// answers that are alike on all platforms. Tests and mayfly-demo only.
#ifndef MAYFLY_CONNECTORS_PLATFORM_FAULTS_H_
#define MAYFLY_CONNECTORS_PLATFORM_FAULTS_H_

#include <map>
#include <optional>
#include <vector>

#include "connectors/platform_simulator.h"
#include "connectors/simulator_server.h"

namespace mayfly::connectors {

// Not thread-safe: the simulator holds its lock. For each request: first Arrived(), then Take() for
// what fits the request.
class PlatformFaults {
 public:
  void Inject(PlatformFault fault, int count, int after);
  // A request arrived, of whatever kind.
  void Arrived();
  // Uses up one of `fault`, if there is one and its time has come.
  bool Take(PlatformFault fault);
  // The same for the faults of requests that read, whichever is due first in the enum's order.
  std::optional<PlatformFault> TakeForRead();

 private:
  struct Armed {
    int count = 0;
    int after = 0;  // counts one more than was asked for: the request that is next begins it
  };
  std::map<PlatformFault, Armed> armed_;
};

// What becomes of the right answer to a request that reads. kRateLimited is left to the simulator,
// in its own dialect; any other fault returns `right` as it is.
SimulatorResponse BrokenAnswer(PlatformFault fault, SimulatorResponse right);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_PLATFORM_FAULTS_H_
