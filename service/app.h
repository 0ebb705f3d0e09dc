// The core: everything that may see messages, in one process that cannot open a connection.
//
// Start order, each step only when the one before holds:
//   configuration -> logging -> not dumpable -> master key -> sandbox on all threads -> keys ->
//   store -> overdue expiry -> interrupted replies -> certificate -> port -> accounts ->
//   expiry thread -> search thread
// Stop is the reverse. Without a usable master key the service is sealed: it answers health and
// nothing else, and touches no file.
#ifndef MAYFLY_SERVICE_APP_H_
#define MAYFLY_SERVICE_APP_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "service/config.h"
#include "store/expiry/purge.h"

namespace mayfly::service {

// What differs between `mayfly` and `mayfly-demo`. `mayfly` has nothing but the defaults.
struct CoreHooks {
  // The machine's clock when empty. Called before the sandbox is entered.
  std::function<std::unique_ptr<Clock>()> make_clock;
  std::function<void(store::PurgeStep, ExpiryDay)> purge_fail_point;
  std::optional<std::chrono::milliseconds> worker_restart_delay;  // instead of a growing one
};

// Exit codes that the supervisor does not answer with a restart (sysexits.h).
inline constexpr int kExitConfig = 78;
inline constexpr int kExitNoPermission = 77;

// Runs the core in this process, started by the supervisor with the descriptors of supervisor.h.
// Returns the exit code: 0 after a drain.
int RunCore(const std::filesystem::path& config_file, const CoreHooks& hooks);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_APP_H_
