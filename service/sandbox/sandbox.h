// What the kernel enforces on the core and on workers (promise P5).
#ifndef MAYFLY_SERVICE_SANDBOX_SANDBOX_H_
#define MAYFLY_SERVICE_SANDBOX_SANDBOX_H_

#include <filesystem>
#include <string>
#include <vector>

#include "store/model/result.h"

namespace mayfly::service {

struct SandboxReport {
  bool seccomp = false;
  bool landlock = false;
  int landlock_abi = 0;
  bool no_new_privileges = false;
  bool not_dumpable = false;
  std::vector<std::string> missing;  // sentences for /v1/about, one for each kernel feature not there
};

struct CoreSandboxOptions {
  std::vector<std::filesystem::path> read_write;  // store/, keys/, log directory
  std::vector<std::filesystem::path> read_only;   // configuration, zone data, libraries, CA files
};

// Dumpable 0, no core files, no swap for locked keys as far as limits allow. Before any secret is read.
Status HardenProcess();

// Landlock first, then the allow-list filter with TSYNC on all threads. After it there is no socket,
// connect, exec or fork. kUnavailable when the filter cannot be loaded: the process must end. A
// kernel without Landlock is not an error; it stands in the report.
Result<SandboxReport> EnterCoreSandbox(const CoreSandboxOptions& options);

// Landlock read-only on `read_only`, deny of writing anywhere, and from ABI 4 TCP binding refused. A
// worker keeps its sockets.
Result<SandboxReport> EnterWorkerSandbox(const std::vector<std::filesystem::path>& read_only);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SANDBOX_SANDBOX_H_
