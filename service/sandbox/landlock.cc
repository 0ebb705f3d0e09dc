#include "service/sandbox/landlock.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "store/keys/descriptor.h"

namespace mayfly::service {
namespace {

// The kernel's interface, written out because Debian 12's linux/landlock.h ends at ABI 2. The
// structure grew at its end; the size given to the kernel says how much of it is meant.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;  // ABI 4
  std::uint64_t scoped = 0;              // ABI 6
};
constexpr std::size_t kAttributesSizeAbi1 = 8;
constexpr std::size_t kAttributesSizeAbi4 = 16;
constexpr std::size_t kAttributesSizeAbi6 = 24;

struct [[gnu::packed]] PathBeneathAttributes {
  std::uint64_t allowed_access = 0;
  std::int32_t parent_fd = -1;
};

constexpr unsigned kCreateRulesetVersion = 1u << 0;
constexpr int kRulePathBeneath = 1;

constexpr std::uint64_t kFsExecute = 1u << 0;
constexpr std::uint64_t kFsWriteFile = 1u << 1;
constexpr std::uint64_t kFsReadFile = 1u << 2;
constexpr std::uint64_t kFsReadDir = 1u << 3;
constexpr std::uint64_t kFsRemoveDir = 1u << 4;
constexpr std::uint64_t kFsRemoveFile = 1u << 5;
constexpr std::uint64_t kFsMakeChar = 1u << 6;
constexpr std::uint64_t kFsMakeDir = 1u << 7;
constexpr std::uint64_t kFsMakeReg = 1u << 8;
constexpr std::uint64_t kFsMakeSock = 1u << 9;
constexpr std::uint64_t kFsMakeFifo = 1u << 10;
constexpr std::uint64_t kFsMakeBlock = 1u << 11;
constexpr std::uint64_t kFsMakeSym = 1u << 12;
constexpr std::uint64_t kFsRefer = 1u << 13;     // ABI 2
constexpr std::uint64_t kFsTruncate = 1u << 14;  // ABI 3
constexpr std::uint64_t kFsIoctlDev = 1u << 15;  // ABI 5
constexpr std::uint64_t kNetBindTcp = 1u << 0;   // ABI 4
constexpr std::uint64_t kNetConnectTcp = 1u << 1;
constexpr std::uint64_t kScopeAbstractUnixSocket = 1u << 0;  // ABI 6
constexpr std::uint64_t kScopeSignal = 1u << 1;

constexpr std::uint64_t kReadOnly = kFsReadFile | kFsReadDir;
constexpr std::uint64_t kReadWrite = kReadOnly | kFsWriteFile | kFsRemoveDir | kFsRemoveFile |
                                     kFsMakeDir | kFsMakeReg | kFsRefer | kFsTruncate;
// What makes sense for a rule on a file; the kernel refuses the rest there.
constexpr std::uint64_t kFileRights =
    kFsExecute | kFsWriteFile | kFsReadFile | kFsTruncate | kFsIoctlDev;

std::uint64_t HandledFs(int abi) {
  std::uint64_t rights = kFsExecute | kFsWriteFile | kFsReadFile | kFsReadDir | kFsRemoveDir |
                         kFsRemoveFile | kFsMakeChar | kFsMakeDir | kFsMakeReg | kFsMakeSock |
                         kFsMakeFifo | kFsMakeBlock | kFsMakeSym;
  if (abi >= 2) rights |= kFsRefer;
  if (abi >= 3) rights |= kFsTruncate;
  if (abi >= 5) rights |= kFsIoctlDev;
  return rights;
}

Status Allow(int ruleset, const std::filesystem::path& path, std::uint64_t rights,
             bool must_exist) {
  const store::Descriptor at(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (at.get() < 0) {
    if (!must_exist && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) return {};
    return Fail(ErrorCode::kIo,
                "a directory that the sandbox must allow cannot be opened: " + path.string());
  }
  struct stat status = {};
  if (fstat(at.get(), &status) != 0) {
    return Fail(ErrorCode::kIo,
                "a path that the sandbox must allow cannot be looked at: " + path.string());
  }
  PathBeneathAttributes rule;
  rule.allowed_access = S_ISDIR(status.st_mode) ? rights : rights & kFileRights;
  rule.parent_fd = at.get();
  if (syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &rule, 0) != 0) {
    return Fail(ErrorCode::kUnavailable, "Landlock refused a rule for " + path.string());
  }
  return {};
}

}  // namespace

int LandlockAbi() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateRulesetVersion);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

Status EnterLandlock(int abi, const LandlockRules& rules) {
  RulesetAttributes attributes;
  attributes.handled_access_fs = HandledFs(abi);
  std::size_t size = kAttributesSizeAbi1;
  if (abi >= 4) {
    attributes.handled_access_net = kNetBindTcp;
    if (rules.refuse_tcp_connect) attributes.handled_access_net |= kNetConnectTcp;
    size = kAttributesSizeAbi4;
  }
  if (abi >= 6) {
    attributes.scoped = kScopeAbstractUnixSocket | kScopeSignal;
    size = kAttributesSizeAbi6;
  }
  const store::Descriptor ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
  if (ruleset.get() < 0) return Fail(ErrorCode::kUnavailable, "Landlock refused its rule set");

  const std::uint64_t handled = attributes.handled_access_fs;
  for (const auto& path : rules.read_write) {
    MAYFLY_RETURN_IF_ERROR(Allow(ruleset.get(), path, kReadWrite & handled, true));
  }
  for (const auto& path : rules.read_only) {
    MAYFLY_RETURN_IF_ERROR(Allow(ruleset.get(), path, kReadOnly & handled, false));
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return Fail(ErrorCode::kUnavailable, "Landlock could not be entered");
  }
  return {};
}

}  // namespace mayfly::service
