// mayfly serve: binds and listens, starts, restarts and stops the core and its workers. Knows no secret
// and reads no message.
#ifndef MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_
#define MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "store/model/result.h"

namespace mayfly::service {

// Descriptor numbers that the core finds itself started with.
inline constexpr int kControlFd = 3;
inline constexpr int kAdminListenFd = 4;     // Unix socket, mode 0600
inline constexpr int kListenFdFirst = 5;     // the configured listeners, in order
// Descriptor numbers of a worker.
inline constexpr int kWorkerFromCoreFd = 3;
inline constexpr int kWorkerToCoreFd = 4;

struct ListenAddress {
  // Exactly one of the two.
  std::string host;  // a loopback IP address literal
  std::uint16_t port = 0;  // 0: the kernel chooses
  std::filesystem::path unix_path;
};

struct SupervisorOptions {
  std::filesystem::path core_program;           // executed as: program + core_arguments
  std::vector<std::string> core_arguments;      // without program name
  std::filesystem::path worker_program;
  std::vector<ListenAddress> listen;
  std::filesystem::path admin_socket;
  std::filesystem::path port_file;              // written with the bound addresses, one a line, or empty
  std::vector<int> inherit;                     // extra descriptors kept open in the core (demo clock)
  std::chrono::milliseconds drain_deadline{10'000};
  std::chrono::milliseconds restart_delay_first{200};
  std::chrono::milliseconds restart_delay_max{30'000};
  std::size_t worker_data_bytes_max = 48u << 20;  // RLIMIT_DATA of a worker
  // Where the worker may read (Landlock): CA certificates, resolver files, zone data come by default.
  std::vector<std::filesystem::path> worker_read_paths;
};

// Runs until SIGTERM or SIGINT and everything has ended. SIGTERM: core drains (told over the control
// descriptor), workers end, exit 0; whatever still runs at the deadline is killed. A core that ends by
// itself is restarted with a growing delay, its workers killed first. A core that exits with 78
// (configuration) or 77 (sealed refusing) is not restarted; its code is returned. Environment of
// children is empty but for PATH, LANG, TZ and MALLOC_ARENA_MAX.
// Must be called in a process with one thread.
int RunSupervisor(const SupervisorOptions& options);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_
