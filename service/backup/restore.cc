#include "service/backup/restore.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <system_error>
#include <utility>

#include "service/open_store.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> Altered(const fs::path& file) {
  return Fail(ErrorCode::kCorrupt, file.string() + ": is missing, cut off or was altered");
}

Result<std::pair<fs::path, Manifest>> Find(const fs::path& dir, const store::KeyVault& vault) {
  MAYFLY_ASSIGN_OR_RETURN(fs::path backup, FindBackup(dir));
  MAYFLY_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(backup));
  if (manifest.keys_print != store::KeysPrintOf(vault)) {
    return Fail(ErrorCode::kInvalidArgument,
                backup.string() + ": belongs to other keys than those of this configuration");
  }
  return std::pair(std::move(backup), std::move(manifest));
}

class Restorer {
 public:
  Restorer(const Config& config, const RestoreOptions& options)
      : config_(config), options_(options), incoming_(IncomingDir(config)) {}

  Result<Manifest> Run() {
    MAYFLY_ASSIGN_OR_RETURN(const KeysToLookAt keys, OpenKeysReadOnly(config_));
    const auto& vault = keys.vault;
    MAYFLY_ASSIGN_OR_RETURN(const auto found, Find(options_.dir, *vault));
    std::error_code error;
    std::shared_ptr<void> lock;
    const bool present = fs::is_directory(config_.store_dir(), error);
    if (present) {
      MAYFLY_ASSIGN_OR_RETURN(lock, LockStore(config_.store_dir()));
      if (!options_.force && fs::exists(config_.store_dir() / "CURRENT", error)) {
        return Fail(ErrorCode::kPreconditionFailed,
                    config_.store_dir().string() +
                        ": there is a store, and restoring destroys it with all that came since "
                        "the backup; if it still opens, make a backup of it; then --force");
      }
    }
    Reached(RestoreStep::kLocked);
    auto copied = CopyIn(found.first, found.second);
    if (!copied) {
      MAYFLY_RETURN_IF_ERROR(RemoveTree(incoming_));
      return Fail(std::move(copied).error());
    }
    MAYFLY_RETURN_IF_ERROR(Exchange(present));
    Reached(RestoreStep::kInPlace);
    lock.reset();
    MAYFLY_RETURN_IF_ERROR(RemoveTree(incoming_));
    MAYFLY_RETURN_IF_ERROR(SyncDir(config_.data_dir));
    Reached(RestoreStep::kOldRemoved);
    return found.second;
  }

 private:
  void Reached(RestoreStep step) const {
    if (options_.hook) options_.hook(step);
  }

  Status CopyIn(const fs::path& backup, const Manifest& manifest) {
    MAYFLY_RETURN_IF_ERROR(RemoveTree(incoming_));
    std::error_code error;
    fs::create_directory(incoming_, error);
    if (!error) fs::permissions(incoming_, fs::perms::owner_all, error);
    if (error) return Fail(ErrorCode::kIo, incoming_.string() + ": cannot be made");
    for (const BackupFile& file : manifest.files) {
      const fs::path from = backup / "store" / file.name;
      auto copied = CopyFile(from, incoming_ / file.name);
      if (!copied && copied.error().code == ErrorCode::kNotFound) return Altered(from);
      if (!copied) return Fail(std::move(copied).error());
      if (copied->bytes != file.bytes || copied->hash != file.hash) return Altered(from);
      Reached(RestoreStep::kFileCopied);
    }
    MAYFLY_RETURN_IF_ERROR(SyncDir(incoming_));
    auto opened = OpenEngineReadOnly(incoming_);
    if (!opened) return Fail(std::move(opened).error());
    Reached(RestoreStep::kFilesCopied);
    return {};
  }

  // One step for the file system: at no instant is there no store.
  Status Exchange(bool present) const {
    const fs::path store = config_.store_dir();
    const unsigned how = present ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, incoming_.c_str(), AT_FDCWD, store.c_str(), how) == 0) {
      return SyncDir(config_.data_dir);
    }
    const int failed = errno;
    MAYFLY_RETURN_IF_ERROR(RemoveTree(incoming_));
    return Fail(ErrorCode::kIo,
                store.string() + ": cannot be exchanged (" +
                    std::generic_category().message(failed) +
                    "); if the file system cannot exchange directories, remove it by hand, then "
                    "repeat");
  }

  const Config& config_;
  const RestoreOptions& options_;
  const fs::path incoming_;
};

}  // namespace

Result<BackupCheck> CheckBackup(const Config& config, const fs::path& dir, std::size_t sample,
                                TimePoint now) {
  MAYFLY_ASSIGN_OR_RETURN(const KeysToLookAt keys, OpenKeysReadOnly(config));
  const auto& vault = keys.vault;
  MAYFLY_ASSIGN_OR_RETURN(auto found, Find(dir, *vault));
  BackupCheck check{.backup = std::move(found.first), .manifest = std::move(found.second)};
  for (const BackupFile& file : check.manifest.files) {
    const fs::path path = check.backup / "store" / file.name;
    auto read = HashFile(path);
    if (!read && read.error().code != ErrorCode::kNotFound) return Fail(std::move(read).error());
    if (!read || read->bytes != file.bytes || read->hash != file.hash) return Altered(path);
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto engine, OpenEngineReadOnly(check.backup / "store"));
  MAYFLY_ASSIGN_OR_RETURN(check.families,
                          store::Inspect(*engine, *vault, {.now = now, .sample = sample}));
  return check;
}

Result<Manifest> RestoreBackup(const Config& config, const RestoreOptions& options) {
  return Restorer(config, options).Run();
}

}  // namespace mayfly::service
