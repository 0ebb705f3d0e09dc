// The core: everything that may see messages, in one process that cannot open a connection.
//
// Start order, each step only when the one before holds:
//   configuration -> logging -> not dumpable -> master key -> sandbox on all threads -> (sealed:
//   health and unseal only, until a master key comes) -> keys -> store -> overdue expiry ->
//   interrupted replies -> certificate -> port -> accounts -> expiry thread ->
//   erasure thread -> search thread -> disk thread
// Stop is the reverse. Without a usable master key the service is sealed: it answers health, takes
// a key over the admin socket or a descriptor, and touches no file.
#ifndef MAYFLY_SERVICE_APP_H_
#define MAYFLY_SERVICE_APP_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "service/config.h"
#include "store/engine/engine.h"
#include "store/expiry/purge.h"
#include "store/keys/key_vault.h"

namespace mayfly::service {

// What differs between `mayfly` and `mayfly-demo`. `mayfly` has nothing but the defaults.
struct CoreHooks {
  // The machine's clock when empty. Called before the sandbox is entered.
  std::function<std::unique_ptr<Clock>()> make_clock;
  std::function<std::unique_ptr<BootTimer>()> make_boot_timer;  // likewise
  bool kernel_keeps_time = true;  // false when make_clock's clock is not the kernel's
  std::function<void(store::PurgeStep, ExpiryDay)> purge_fail_point;
  std::function<void(store::RotationStep)> rotation_fail_point;
  store::RoomSource room;  // instead of what the file system says
  std::optional<std::chrono::milliseconds> worker_restart_delay;  // instead of a growing one
  int passphrase_fd = -1;  // where lines with passphrases come from while it is sealed
};

// Exit codes that the supervisor does not answer with a restart (sysexits.h).
inline constexpr int kExitConfig = 78;
inline constexpr int kExitNoPermission = 77;
// One that it does: the store can only be read until it is opened anew.
inline constexpr int kExitReopen = 75;

// Runs the core in this process, started by the supervisor with the descriptors of supervisor.h.
// Returns the exit code: 0 after a drain, kExitReopen when the store has to be opened anew and that
// needs nobody.
int RunCore(const std::filesystem::path& config_file, const CoreHooks& hooks);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_APP_H_
