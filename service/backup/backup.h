// `mayfly backup`: copies a checkpoint of the store into a directory. The core, which may write
// nowhere but into its own data, makes the checkpoint there out of hard links; this process copies
// it out and has it dropped.
#ifndef MAYFLY_SERVICE_BACKUP_BACKUP_H_
#define MAYFLY_SERVICE_BACKUP_BACKUP_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "service/backup/files.h"

namespace mayfly::service {

// What the running service gives, or the store that was opened because none runs.
struct BackupSource {
  struct Checkpoint {
    std::filesystem::path dir;
    std::string keys_print;
  };
  std::function<Result<Checkpoint>()> take;
  std::function<Status()> drop;
};

enum class BackupStep {
  kCheckpointTaken = 1,
  kFileCopied,  // of each file
  kManifestWritten,
  kInPlace,  // it counts from here
  kCheckpointDropped,
  kPruned,
};

struct BackupOptions {
  std::filesystem::path dir;
  std::size_t keep = 7;  // finished backups that stay, this one included; at least 1
  std::string program;   // version
  std::function<void(BackupStep)> hook;
};

struct BackupReport {
  std::filesystem::path backup;
  std::size_t files = 0;
  std::size_t linked = 0;  // unchanged since an earlier backup: one more name for the same file
  std::uint64_t bytes_copied = 0;
  std::size_t removed = 0;  // old backups
};

// A file that an earlier backup has, with the same bytes on both sides, is linked to and not
// copied. When the checkpoint is dropped meanwhile, because a date ended, it begins again. Whatever
// was cut off leaves a directory `.part`, which is never read and goes with the next backup.
Result<BackupReport> TakeBackup(const BackupSource& source, const BackupOptions& options,
                                TimePoint now);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_BACKUP_BACKUP_H_
