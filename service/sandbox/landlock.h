// Landlock by its system calls: Debian 12's headers know ABI 2, its successors' kernels more.
#ifndef MAYFLY_SERVICE_SANDBOX_LANDLOCK_H_
#define MAYFLY_SERVICE_SANDBOX_LANDLOCK_H_

#include <filesystem>
#include <vector>

#include "store/model/result.h"

namespace mayfly::service {

struct LandlockRules {
  std::vector<std::filesystem::path> read_write;  // missing ones are an error
  std::vector<std::filesystem::path> read_only;   // missing ones are left out
  bool refuse_tcp_connect = false;  // from ABI 4; binding is always refused from there
};

// 0 when the kernel has none or has it switched off.
int LandlockAbi();

// Applies to the calling thread and all that it starts later. Needs no_new_privs. Everything that
// the kernel's ABI can refuse and the rules do not grant is refused, among it, from ABI 6, abstract
// Unix sockets and signals to processes outside. Call only when LandlockAbi() > 0; kUnavailable
// when it fails.
Status EnterLandlock(int abi, const LandlockRules& rules);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SANDBOX_LANDLOCK_H_
