// `mayfly restore`: looks at a backup with the keys of today, or puts it in the place of the store.
// What does not come back with it: store/returned.h.
#ifndef MAYFLY_SERVICE_BACKUP_RESTORE_H_
#define MAYFLY_SERVICE_BACKUP_RESTORE_H_

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "service/backup/files.h"
#include "service/config.h"
#include "store/inspect.h"

namespace mayfly::service {

enum class RestoreStep { kLocked = 1, kFileCopied, kFilesCopied, kInPlace, kOldRemoved };

struct RestoreOptions {
  std::filesystem::path dir;  // a backup, or a directory of them: then the newest
  bool force = false;         // there is a store, and it may be destroyed
  std::function<void(RestoreStep)> hook;
};

struct BackupCheck {
  std::filesystem::path backup;
  Manifest manifest;
  std::vector<store::FamilyReport> families;
};

// Reads the manifest, every byte of every file, and `sample` records of each date with the present
// keys. Changes nothing; a service may run. kNotFound, kCorrupt (naming the file), kInvalidArgument
// when the backup belongs to other keys; kSealed.
Result<BackupCheck> CheckBackup(const Config& config, const std::filesystem::path& dir,
                                std::size_t sample, TimePoint now);

// Copies beside the store, compares every hash, then exchanges the two directories in one step and
// destroys the old store: it is never kept aside, because nothing would end its dates there. Cut
// off anywhere, the one or the other is there as a whole, and the rest goes with the next start.
// Besides what CheckBackup says: kPreconditionFailed when there is a store and not `force`; kIo
// when a process holds it.
Result<Manifest> RestoreBackup(const Config& config, const RestoreOptions& options);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_BACKUP_RESTORE_H_
