#include "store/keys/file_system.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <system_error>

#include "store/keys/descriptor.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

// Not in linux/magic.h of Debian 12.
constexpr long kXfs = 0x58465342;
constexpr long kZfs = 0x2FC12FC1;
constexpr long kBcachefs = 0xCA451A4E;

struct Known {
  long type;
  const char* name;
  const char* reason;  // nullptr: Judge looks further
};
constexpr const char* kCopies =
    "it writes new bytes to a new place and keeps the old ones; put the keys on ext4 or xfs";
constexpr const char* kRemote =
    "what the other side does with overwritten bytes cannot be seen; put the keys on a local disk "
    "with ext4 or xfs";
constexpr std::array kKnown = {
    Known{EXT4_SUPER_MAGIC, "ext4", nullptr},
    Known{kXfs, "xfs", nullptr},
    Known{BTRFS_SUPER_MAGIC, "btrfs", nullptr},
    Known{TMPFS_MAGIC, "tmpfs", nullptr},
    Known{RAMFS_MAGIC, "ramfs", nullptr},
    Known{kZfs, "zfs", kCopies},
    Known{kBcachefs, "bcachefs", kCopies},
    Known{F2FS_SUPER_MAGIC, "f2fs", kCopies},
    Known{NILFS_SUPER_MAGIC, "nilfs2", kCopies},
    Known{OVERLAYFS_SUPER_MAGIC, "overlayfs",
          "its lower layer may keep a copy; put the keys on a volume of their own, with ext4 or "
          "xfs"},
    Known{NFS_SUPER_MAGIC, "nfs", kRemote},
    Known{SMB_SUPER_MAGIC, "smb", kRemote},
    Known{CIFS_SUPER_MAGIC, "cifs", kRemote},
    Known{SMB2_SUPER_MAGIC, "smb", kRemote},
    Known{CEPH_SUPER_MAGIC, "ceph", kRemote},
    Known{AFS_SUPER_MAGIC, "afs", kRemote},
    Known{V9FS_MAGIC, "9p", kRemote},
    Known{FUSE_SUPER_MAGIC, "fuse", kRemote},
};

const Known* Find(long type) {
  // Types are 32 bits; some kernels and C libraries extend the sign.
  for (const Known& known : kKnown) {
    if (static_cast<std::uint32_t>(known.type) == static_cast<std::uint32_t>(type)) return &known;
  }
  return nullptr;
}

std::string SharedReason(const FileSystemFacts& facts) {
  if (!facts.shared) {
    return "the kernel does not say whether a snapshot or a reflink shares the blocks of the key "
           "files; put the keys on ext4";
  }
  if (*facts.shared) {
    return "a snapshot or a reflink shares the blocks of a key file, so that overwriting makes a "
           "copy; delete that snapshot, and exclude the key directory from the next ones";
  }
  return {};
}

// Whether any extent is shared; nothing where the kernel does not map extents. A key file has few.
std::optional<bool> HasSharedExtent(int fd) {
  constexpr std::uint32_t kExtents = 32;
  alignas(fiemap) std::array<std::uint8_t, sizeof(fiemap) + kExtents * sizeof(fiemap_extent)> bytes;
  std::uint64_t start = 0;
  while (true) {
    bytes.fill(0);
    auto* const map = reinterpret_cast<fiemap*>(bytes.data());
    map->fm_start = start;
    map->fm_length = FIEMAP_MAX_OFFSET - start;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kExtents;
    if (::ioctl(fd, FS_IOC_FIEMAP, map) != 0) return std::nullopt;
    for (std::uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      if ((extent.fe_flags & FIEMAP_EXTENT_SHARED) != 0) return true;
      if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) return false;
      start = extent.fe_logical + extent.fe_length;
    }
    if (map->fm_mapped_extents == 0) return false;
  }
}

}  // namespace

FileSystemVerdict Judge(const FileSystemFacts& facts) {
  const Known* const known = Find(facts.type);
  if (known == nullptr) {
    return {.name = "an unknown file system",
            .reason =
                "nobody has tried whether overwritten bytes are gone on it; put the keys on "
                "ext4 or xfs"};
  }
  FileSystemVerdict verdict{.name = known->name, .reason = {}};
  if (known->reason != nullptr) {
    verdict.reason = known->reason;
  } else if (known->type == EXT4_SUPER_MAGIC) {
    if (!facts.direct_io) {
      verdict.reason =
          "the kernel is older than 6.1 and does not say whether data goes through the journal; "
          "use a newer one";
    } else if (!*facts.direct_io) {
      verdict.reason =
          "data goes through the journal, which keeps copies of it; mount it with data=ordered "
          "(tune2fs -o ^journal_data), without chattr +j on the keys";
    }
  } else if (known->type == BTRFS_SUPER_MAGIC && facts.copy_on_write.value_or(true)) {
    verdict.reason =
        "it copies on write; make the key directory without: chattr +C on it while it is empty, "
        "then mayfly init, or put the keys on ext4 or xfs";
  } else if (known->type == BTRFS_SUPER_MAGIC || known->type == kXfs) {
    verdict.reason = SharedReason(facts);
  }
  return verdict;
}

Result<FileSystemFacts> LookAtFileSystem(const fs::path& file) {
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  const auto failed = [&](int error) {
    return Fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                "cannot look at the file system of " + file.string() + ": " +
                    std::generic_category().message(error));
  };
  if (fd.get() < 0) return failed(errno);
  struct statfs info = {};
  if (::fstatfs(fd.get(), &info) != 0) return failed(errno);
  FileSystemFacts facts;
  facts.type = info.f_type;
  struct statx more = {};
  if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &more) == 0 &&
      (more.stx_mask & STATX_DIOALIGN) != 0) {
    facts.direct_io = more.stx_dio_offset_align != 0;
  }
  int flags = 0;
  if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0) {
    facts.copy_on_write = (flags & FS_NOCOW_FL) == 0;
  }
  facts.shared = HasSharedExtent(fd.get());
  return facts;
}

}  // namespace mayfly::store
