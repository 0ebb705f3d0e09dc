// mayfly serve: binds and listens, starts, restarts and stops the core and its workers. Knows no
// secret and reads no message.
#ifndef MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_
#define MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "store/model/result.h"

namespace mayfly::service {

// Descriptor numbers that the core finds itself started with.
inline constexpr int kControlFd = 3;
inline constexpr int kAdminListenFd = 4;  // Unix socket, mode 0600
inline constexpr int kListenFdFirst = 5;  // the configured listeners, in order
// Descriptor numbers of a worker.
inline constexpr int kWorkerFromCoreFd = 3;
inline constexpr int kWorkerToCoreFd = 4;

struct ListenAddress {
  // Exactly one of the two.
  std::string host;        // an IP address literal
  std::uint16_t port = 0;  // 0: the kernel chooses
  std::filesystem::path unix_path;
  // Of a host. An address that is not loopback is listened on only when one of them holds.
  bool tls = false;           // shown as https:// in the port file
  bool proxies_only = false;  // the core closes everybody but the trusted proxies
};

// RLIMIT_DATA of a worker. What the sanitizers set aside at start is more than any limit.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::size_t kWorkerDataBytesMax = std::numeric_limits<std::size_t>::max();
#else
inline constexpr std::size_t kWorkerDataBytesMax = 48u << 20;
#endif

struct SupervisorOptions {
  std::filesystem::path core_program;       // executed as: program + core_arguments
  std::vector<std::string> core_arguments;  // without program name
  std::filesystem::path worker_program;
  std::vector<ListenAddress> listen;
  std::filesystem::path admin_socket;
  std::filesystem::path port_file;  // written with the bound addresses, one a line, or empty
  // Extra descriptors kept open in the core under their own numbers (demo clock). Those have to lie
  // past the listeners; fcntl(F_DUPFD, 64) gives such a number.
  std::vector<int> inherit;
  std::chrono::milliseconds drain_deadline{10'000};
  std::chrono::milliseconds restart_delay_first{200};
  std::chrono::milliseconds restart_delay_max{30'000};
  std::size_t worker_data_bytes_max = kWorkerDataBytesMax;
  // Where the worker may read (Landlock): CA certificates, resolver files, zone data come by
  // default.
  std::vector<std::filesystem::path> worker_read_paths;
};

// Runs until SIGTERM or SIGINT and everything has ended. SIGHUP: the core is told to read its
// certificate again; one that does not run reads it when it starts. SIGTERM: core drains (told over
// the control descriptor), workers end, exit 0; whatever still runs at the deadline, or when a
// second SIGTERM or SIGINT comes, is killed, exit 1. A core that ends by itself is restarted with a
// growing delay (the first one again after it has been ready for a minute), its workers killed
// first. A core that exits with 78 (configuration) or 77 (sealed refusing) is not restarted; its
// code is returned. 78 also for options that cannot be used, 71 when a listener cannot be opened;
// each with one line on stderr.
//
// Children: environment empty but for PATH, LANG, TZ, MALLOC_ARENA_MAX and, for the core,
// CREDENTIALS_DIRECTORY; standard input
// /dev/null, output to stderr; no core files; no new privileges. SIGINT, SIGTERM and SIGHUP come to
// them ignored, so that Ctrl-C or a service manager that signals the whole group does not end a
// worker in the middle of a send: they end by the control descriptor and by their pipes. SIGPIPE is
// ignored, too. When the supervisor is gone the core gets SIGTERM (for a core that handles it) and
// the end of its control descriptor, and workers are killed. Must be called in a process with one
// thread.
int RunSupervisor(const SupervisorOptions& options);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SUPERVISOR_SUPERVISOR_H_
