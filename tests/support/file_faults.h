// A disk that fails. The functions through which the store and RocksDB reach their files are
// replaced by ones that count, and that fail when a test says so; what a power cut would leave is
// kept beside.
//
// Linked into a program it takes the place of open, read, pread, pwrite, write, fsync, fdatasync,
// ftruncate, rename, unlink, link, mkdir, posix_fallocate and fread_unlocked for everything in it,
// shared libraries too. Only what lies below the watched directory is touched.
//
// The model of a power cut is the strict one of POSIX: of a file there is what it held at its last
// fsync or fdatasync, under the names that its directory had at that one's last fsync.
#ifndef MAYFLY_TESTS_SUPPORT_FILE_FAULTS_H_
#define MAYFLY_TESTS_SUPPORT_FILE_FAULTS_H_

#include <cstdint>
#include <filesystem>
#include <string>

namespace mayfly::testing {

enum class FileFault {
  kIoError,     // this operation fails with EIO, the next one works
  kBadRead,     // the next read fails with EIO; those after it work
  kFlippedBit,  // the next read gives one bit that is wrong
  kNoSpace,     // from here on nothing can be written that needs room
  kTornWrite,   // half of the next write reaches the disk, and the power is gone
  kPowerCut,    // the power is gone: from here on everything fails, and what was not synced is lost
};
const char* ToString(FileFault fault);

// One at a time in a process. Thread-safe.
class FileFaults {
 public:
  // What lies below `dir` now counts as synced.
  explicit FileFaults(const std::filesystem::path& dir);
  ~FileFaults();  // everything works again
  FileFaults(const FileFaults&) = delete;
  FileFaults& operator=(const FileFaults&) = delete;

  // Lets the operation with this number fail, counted from 0 since construction.
  void FailAt(std::uint64_t operation, FileFault fault);
  std::uint64_t operations() const;  // so far
  bool happened() const;             // whether the fault was met
  bool has_power() const;
  // Ends the fault. After a power cut: puts what survived it into the directory. Nothing may have a
  // file open there.
  void Repair();
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_FILE_FAULTS_H_
