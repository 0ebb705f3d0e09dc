// A backup on disk, and the means by which it is written and read.
//
//   DIR/20261122T120000.000Z/          one backup, by the time at which it was begun
//     store/...                        the files of the store; never a key
//     manifest                         one line of JSON, and its hash; written last
//   DIR/20261122T120000.000Z.part/     one that is being written, or was cut off: never read
//   DIR/.lock                          held by the one process that writes
//
// Hashes are BLAKE2b-256 (RFC 7693), as 64 hex digits. They tell damage, not a forger: a record
// that somebody changed does not open.
#ifndef MAYFLY_SERVICE_BACKUP_FILES_H_
#define MAYFLY_SERVICE_BACKUP_FILES_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::service {

inline constexpr int kBackupFormat = 1;

struct BackupFile {
  std::string name;  // below store/
  std::uint64_t bytes = 0;
  std::string hash;
};

struct Manifest {
  int format = kBackupFormat;
  TimePoint created_at;
  std::string engine;      // rocksdb 7.8.3
  std::string program;     // of Mayfly
  std::string keys_print;  // which keys open it: Store::KeysPrint
  std::vector<std::string> families;
  std::vector<BackupFile> files;
  const BackupFile* Find(const std::string& name) const;
};

// Synced.
Status WriteManifest(const std::filesystem::path& backup, const Manifest& manifest);
// kNotFound when there is none: the backup was never finished. kCorrupt when it was altered or cut
// off. kInvalidArgument when it is of a later format.
Result<Manifest> ReadManifest(const std::filesystem::path& backup);

// Finished backups in `dir`, oldest first.
std::vector<std::filesystem::path> ListBackups(const std::filesystem::path& dir);
// `dir` itself when it is a backup, else the newest in it. kNotFound, saying what is there instead.
Result<std::filesystem::path> FindBackup(const std::filesystem::path& dir);
std::string BackupName(TimePoint at);

// Hash of a file. kNotFound when it is gone, kIo.
Result<BackupFile> HashFile(const std::filesystem::path& file);
// Copies, syncs and hashes. Leaves nothing at `to` when it fails. kNotFound when `from` is gone;
// kIo says when the disk is full.
Result<BackupFile> CopyFile(const std::filesystem::path& from, const std::filesystem::path& to);
Status SyncDir(const std::filesystem::path& dir);
Status RemoveTree(const std::filesystem::path& dir);  // idempotent

// Held until the value is gone. kUnavailable when another process holds it.
Result<std::shared_ptr<void>> LockDir(const std::filesystem::path& dir);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_BACKUP_FILES_H_
