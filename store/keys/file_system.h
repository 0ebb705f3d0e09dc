// Whether bytes that are overwritten in place are gone. A key is destroyed by overwriting it, so a
// file system that writes somewhere else keeps what we say is destroyed.
//
// Seen on real disks: old keys were gone on ext4 (data=ordered), xfs, and unshared btrfs files
// without copy-on-write; all of them were still there on ext4 with data=journal, plain btrfs, btrfs
// after a snapshot, xfs after a reflink. What lies below a file system (thin volumes, disk images,
// flash) cannot be seen from here. Sources: statx(2) STATX_DIOALIGN, ioctl_fiemap
// (Documentation/filesystems/fiemap.rst), ioctl_iflags(2).
#ifndef MAYFLY_STORE_KEYS_FILE_SYSTEM_H_
#define MAYFLY_STORE_KEYS_FILE_SYSTEM_H_

#include <filesystem>
#include <optional>
#include <string>

#include "store/model/result.h"

namespace mayfly::store {

// What the kernel says about a file. Empty where it says nothing.
struct FileSystemFacts {
  long type = 0;                      // statfs f_type
  std::optional<bool> direct_io;      // possible; on ext4 not, when data goes through the journal
  std::optional<bool> copy_on_write;  // btrfs: unless the file says otherwise
  std::optional<bool> shared;         // a snapshot or a reflink holds the same blocks
};

struct FileSystemVerdict {
  std::string name;    // "ext4", "xfs", ..., or "an unknown file system"
  std::string reason;  // empty when overwriting holds; else why not, and what to do
  bool holds() const { return reason.empty(); }
};

// A pure function.
FileSystemVerdict Judge(const FileSystemFacts& facts);
// kIo when the file cannot be looked at; kNotFound when there is none.
Result<FileSystemFacts> LookAtFileSystem(const std::filesystem::path& file);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_FILE_SYSTEM_H_
