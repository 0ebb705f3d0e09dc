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
  std::vector<std::string>
      missing;  // sentences for /v1/about, one for each kernel feature not there
};

struct CoreSandboxOptions {
  std::vector<std::filesystem::path> read_write;  // store/, keys/, log directory; must exist
  std::vector<std::filesystem::path> read_only;   // configuration, zone data, libraries, CA files;
                                                  // those that do not exist are left out
};

// Dumpable 0, no core files, no new privileges, no swap for locked keys as far as limits allow.
// Before any secret is read.
Status HardenProcess();

// Landlock first, then the allow-list filter with TSYNC on all threads. After it there is no
// socket, connect, exec or fork. kUnavailable when the filter cannot be loaded: the process must
// end. A kernel without Landlock is not an error; it stands in the report.
//
// Call it before the first thread starts: the filter reaches threads that run already, Landlock
// does not (then that stands in the report, too). Besides the paths given, the core may read
// /proc/self, /proc/sys/kernel/random (boot id), /dev/null and /dev/urandom; what lies under /proc
// is certain at start only, because the kernel may forget those inodes, so keep such files open.
Result<SandboxReport> EnterCoreSandbox(const CoreSandboxOptions& options);

// Landlock read-only on `read_only`, deny of writing anywhere, and from ABI 4 TCP binding refused.
// A worker keeps its sockets. Before the first thread starts, for the same reason.
Result<SandboxReport> EnterWorkerSandbox(const std::vector<std::filesystem::path>& read_only);

// CA certificates, resolver files, zone data and libraries, where Debian has them. A resolver file
// that is replaced by another while a worker runs is not seen by that worker, because Landlock
// names files, not paths; a directory, such as systemd-resolved's, does not have that limit.
std::vector<std::filesystem::path> DefaultWorkerReadPaths();

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SANDBOX_SANDBOX_H_
