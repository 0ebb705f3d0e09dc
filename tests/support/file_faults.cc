#include "tests/support/file_faults.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace mayfly::testing {
namespace {

template <class Function>
Function Real(const char* name) {
  auto* const found = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (found == nullptr) std::abort();
  return found;
}

// The C library's own, whatever this program defines.
struct RealFunctions {
  int (*open)(const char*, int, ...) = Real<int (*)(const char*, int, ...)>("open");
  int (*close)(int) = Real<int (*)(int)>("close");
  ssize_t (*read)(int, void*, size_t) = Real<ssize_t (*)(int, void*, size_t)>("read");
  ssize_t (*pread)(int, void*, size_t,
                   off_t) = Real<ssize_t (*)(int, void*, size_t, off_t)>("pread");
  ssize_t (*write)(int, const void*, size_t) = Real<ssize_t (*)(int, const void*, size_t)>("write");
  ssize_t (*pwrite)(int, const void*, size_t,
                    off_t) = Real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  int (*fsync)(int) = Real<int (*)(int)>("fsync");
  int (*fdatasync)(int) = Real<int (*)(int)>("fdatasync");
  int (*ftruncate)(int, off_t) = Real<int (*)(int, off_t)>("ftruncate");
  int (*posix_fallocate)(int, off_t, off_t) = Real<int (*)(int, off_t, off_t)>("posix_fallocate");
  int (*rename)(const char*, const char*) = Real<int (*)(const char*, const char*)>("rename");
  int (*unlink)(const char*) = Real<int (*)(const char*)>("unlink");
  int (*link)(const char*, const char*) = Real<int (*)(const char*, const char*)>("link");
  int (*mkdir)(const char*, mode_t) = Real<int (*)(const char*, mode_t)>("mkdir");
  size_t (*fread_unlocked)(void*, size_t, size_t, FILE*) =
      Real<size_t (*)(void*, size_t, size_t, FILE*)>("fread_unlocked");
};

const RealFunctions& The() {
  static const RealFunctions real;
  return real;
}

enum class Kind { kOther, kRead, kWrite };

// What the caller does about one operation.
enum class Verdict { kDo, kFail, kFlip, kTear };

struct Disk {
  std::mutex mutex;
  std::string root;  // with a slash at its end; empty: nothing is watched
  std::uint64_t operations = 0;
  std::optional<std::uint64_t> fail_at;
  FileFault fault = FileFault::kIoError;
  bool happened = false;
  bool waiting = false;  // the fault waits for a read, or for a write
  bool full = false;
  bool power = true;

  // A file is a number that survives its renaming; names lead to it.
  std::uint64_t next_file = 1;
  std::map<std::string, std::uint64_t> names;          // as they are
  std::map<std::string, std::uint64_t> durable_names;  // as of each directory's last fsync
  std::map<std::uint64_t, std::string> durable_bytes;  // as of each file's last fsync
  std::map<int, std::string> directories;              // open descriptors
  std::map<int, std::uint64_t> files;

  bool IsBelow(const std::string& path) const {
    return !root.empty() && path.size() > root.size() && path.compare(0, root.size(), root) == 0;
  }
  bool IsWatched(const std::string& path) const { return IsBelow(path) || path + "/" == root; }
  bool IsWatched(int fd) const { return files.contains(fd) || directories.contains(fd); }
};

Disk& TheDisk() {
  static Disk disk;
  return disk;
}

std::string ReadAll(int fd) {
  std::string bytes;
  std::vector<char> piece(1u << 16);
  for (off_t at = 0;;) {
    const ssize_t got = The().pread(fd, piece.data(), piece.size(), at);
    if (got <= 0) return bytes;
    bytes.append(piece.data(), static_cast<std::size_t>(got));
    at += got;
  }
}

std::string ReadAll(const std::string& path) {
  const int fd = The().open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string bytes = ReadAll(fd);
  The().close(fd);
  return bytes;
}

void WriteAll(const std::string& path, const std::string& bytes) {
  const int fd = The().open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) std::abort();
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t put = The().write(fd, bytes.data() + done, bytes.size() - done);
    if (put <= 0) std::abort();
    done += static_cast<std::size_t>(put);
  }
  The().close(fd);
}

// Under the lock: counts one operation and says what becomes of it. `needs_room` operations fail on
// a full disk.
Verdict Judge(Disk& disk, Kind kind, bool needs_room) {
  const std::uint64_t number = disk.operations++;
  if (!disk.power) {
    errno = EIO;
    return Verdict::kFail;
  }
  if (disk.fail_at && number >= *disk.fail_at && !disk.happened) {
    switch (disk.fault) {
      case FileFault::kIoError:
        disk.happened = true;
        errno = EIO;
        return Verdict::kFail;
      case FileFault::kBadRead:
      case FileFault::kFlippedBit:
        if (kind != Kind::kRead) break;
        disk.happened = true;
        if (disk.fault == FileFault::kFlippedBit) return Verdict::kFlip;
        errno = EIO;
        return Verdict::kFail;
      case FileFault::kNoSpace:
        disk.happened = disk.full = true;
        break;
      case FileFault::kTornWrite:
        if (kind != Kind::kWrite) break;
        disk.happened = true;
        disk.power = false;
        return Verdict::kTear;
      case FileFault::kPowerCut:
        disk.happened = true;
        disk.power = false;
        errno = EIO;
        return Verdict::kFail;
    }
  }
  if (disk.full && needs_room) {
    errno = ENOSPC;
    return Verdict::kFail;
  }
  return Verdict::kDo;
}

Verdict JudgeFile(int fd, Kind kind, bool needs_room = false) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (!disk.IsWatched(fd)) return Verdict::kDo;
  return Judge(disk, kind, needs_room);
}

Verdict JudgePath(const char* path, bool needs_room = false) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (!disk.IsWatched(path)) return Verdict::kDo;
  return Judge(disk, Kind::kOther, needs_room);
}

bool IsWatched(int fd) {
  const std::lock_guard lock(TheDisk().mutex);
  return TheDisk().IsWatched(fd);
}

void NoteSynced(int fd) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (const auto file = disk.files.find(fd); file != disk.files.end()) {
    disk.durable_bytes[file->second] = ReadAll("/proc/self/fd/" + std::to_string(fd));
    return;
  }
  const auto directory = disk.directories.find(fd);
  if (directory == disk.directories.end()) return;
  const std::string prefix = directory->second + "/";
  const auto is_entry = [&](const std::string& path) {
    return path.compare(0, prefix.size(), prefix) == 0 &&
           path.find('/', prefix.size()) == std::string::npos;
  };
  std::erase_if(disk.durable_names, [&](const auto& entry) { return is_entry(entry.first); });
  for (const auto& [path, file] : disk.names) {
    if (is_entry(path)) disk.durable_names[path] = file;
  }
}

// The half of a write that reached the disk, in what is durable of its file.
void NoteTorn(int fd, const char* bytes, std::size_t size, off_t at) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  const auto file = disk.files.find(fd);
  if (file == disk.files.end()) return;
  std::string& durable = disk.durable_bytes[file->second];
  const std::size_t from = static_cast<std::size_t>(at);
  if (durable.size() < from + size) durable.resize(from + size, '\0');
  std::copy_n(bytes, size, durable.begin() + static_cast<std::ptrdiff_t>(from));
}

void Flip(void* bytes, ssize_t size) {
  if (size > 0) static_cast<unsigned char*>(bytes)[size / 2] ^= 0x10;
}

}  // namespace

const char* ToString(FileFault fault) {
  switch (fault) {
    case FileFault::kIoError:
      return "EIO";
    case FileFault::kBadRead:
      return "bad read";
    case FileFault::kFlippedBit:
      return "flipped bit";
    case FileFault::kNoSpace:
      return "ENOSPC";
    case FileFault::kTornWrite:
      return "torn write";
    case FileFault::kPowerCut:
      return "power cut";
  }
  return "";
}

FileFaults::FileFaults(const std::filesystem::path& dir) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (!disk.root.empty()) std::abort();  // one at a time
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const std::uint64_t file = disk.next_file++;
    disk.names[entry.path().string()] = file;
    disk.durable_names[entry.path().string()] = file;
    disk.durable_bytes[file] = ReadAll(entry.path().string());
  }
  disk.root = dir.string() + "/";
}

FileFaults::~FileFaults() {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  disk.root.clear();
  disk.names.clear();
  disk.durable_names.clear();
  disk.durable_bytes.clear();
  disk.files.clear();
  disk.directories.clear();
  disk.fail_at.reset();
  disk.operations = 0;
  disk.happened = disk.full = false;
  disk.power = true;
}

void FileFaults::FailAt(std::uint64_t operation, FileFault fault) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  disk.fail_at = operation;
  disk.fault = fault;
  disk.happened = false;
}

std::uint64_t FileFaults::operations() const {
  const std::lock_guard lock(TheDisk().mutex);
  return TheDisk().operations;
}

bool FileFaults::happened() const {
  const std::lock_guard lock(TheDisk().mutex);
  return TheDisk().happened;
}

bool FileFaults::has_power() const {
  const std::lock_guard lock(TheDisk().mutex);
  return TheDisk().power;
}

void FileFaults::Repair() {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  disk.fail_at.reset();
  disk.full = false;
  if (disk.power) return;
  disk.power = true;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(disk.root)) {
    if (entry.is_regular_file()) The().unlink(entry.path().c_str());
  }
  disk.names = disk.durable_names;
  for (const auto& [path, file] : disk.names) WriteAll(path, disk.durable_bytes[file]);
  disk.files.clear();
  disk.directories.clear();
}

namespace {

int Open(const char* path, int flags, mode_t mode) {
  Disk& disk = TheDisk();
  bool watched = false;
  {
    const std::lock_guard lock(disk.mutex);
    watched = disk.IsWatched(path);
    const bool makes = (flags & O_CREAT) != 0 && !disk.names.contains(path);
    if (watched && Judge(disk, Kind::kOther, makes) != Verdict::kDo) return -1;
  }
  // O_DIRECT would wait for the real disk, which has no part in this.
  const int fd = The().open(path, watched ? flags & ~O_DIRECT : flags, mode);
  if (fd < 0 || !watched) return fd;
  const std::lock_guard lock(disk.mutex);
  struct stat info {};
  if (::fstat(fd, &info) != 0) std::abort();
  if (S_ISDIR(info.st_mode)) {
    std::string name(path);
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    disk.directories[fd] = name;
  } else {
    std::uint64_t& file = disk.names[path];
    if (file == 0) file = disk.next_file++;
    disk.files[fd] = file;
  }
  return fd;
}

}  // namespace
}  // namespace mayfly::testing

// --- in the place of the C library's

using namespace mayfly::testing;

extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return Open(path, flags, mode);
}

int close(int fd) {
  {
    const std::lock_guard lock(TheDisk().mutex);
    TheDisk().files.erase(fd);
    TheDisk().directories.erase(fd);
  }
  return The().close(fd);
}

ssize_t read(int fd, void* bytes, size_t size) {
  const Verdict verdict = JudgeFile(fd, Kind::kRead);
  if (verdict == Verdict::kFail) return -1;
  const ssize_t got = The().read(fd, bytes, size);
  if (verdict == Verdict::kFlip) Flip(bytes, got);
  return got;
}

ssize_t pread(int fd, void* bytes, size_t size, off_t at) {
  const Verdict verdict = JudgeFile(fd, Kind::kRead);
  if (verdict == Verdict::kFail) return -1;
  const ssize_t got = The().pread(fd, bytes, size, at);
  if (verdict == Verdict::kFlip) Flip(bytes, got);
  return got;
}

size_t fread_unlocked(void* bytes, size_t size, size_t count, FILE* file) {
  const Verdict verdict = JudgeFile(::fileno(file), Kind::kRead);
  if (verdict == Verdict::kFail) {
    // Callers ask ferror, and only a read that fails sets it: one from a closed descriptor does.
    const int keep = ::dup(::fileno(file));
    if (keep < 0) std::abort();
    const int nothing = The().open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || ::dup2(nothing, ::fileno(file)) < 0) std::abort();
    const size_t got = The().fread_unlocked(bytes, size, count, file);
    if (::dup2(keep, ::fileno(file)) < 0) std::abort();
    The().close(keep);
    The().close(nothing);
    return got;
  }
  const size_t got = The().fread_unlocked(bytes, size, count, file);
  if (verdict == Verdict::kFlip) Flip(bytes, static_cast<ssize_t>(got * size));
  return got;
}

ssize_t write(int fd, const void* bytes, size_t size) {
  const Verdict verdict = JudgeFile(fd, Kind::kWrite, true);
  if (verdict == Verdict::kTear) {
    // Files that are written like this grow at their end.
    struct stat info {};
    if (::fstat(fd, &info) == 0) {
      NoteTorn(fd, static_cast<const char*>(bytes), size / 2, info.st_size);
    }
    errno = EIO;
    return -1;
  }
  if (verdict == Verdict::kFail) return -1;
  return The().write(fd, bytes, size);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  // In place it needs no room.
  struct stat info {};
  const bool grows = ::fstat(fd, &info) == 0 && at + static_cast<off_t>(size) > info.st_size;
  const Verdict verdict = JudgeFile(fd, Kind::kWrite, grows);
  if (verdict == Verdict::kTear) {
    NoteTorn(fd, static_cast<const char*>(bytes), size / 2, at);
    errno = EIO;
    return -1;
  }
  if (verdict == Verdict::kFail) return -1;
  return The().pwrite(fd, bytes, size, at);
}

// What is below the watched directory is synced into the model only: the real disk would take a
// thousand times as long, and nobody cuts its power.
int fsync(int fd) {
  if (!IsWatched(fd)) return The().fsync(fd);
  if (JudgeFile(fd, Kind::kOther) != Verdict::kDo) return -1;
  NoteSynced(fd);
  return 0;
}

int fdatasync(int fd) {
  if (!IsWatched(fd)) return The().fdatasync(fd);
  if (JudgeFile(fd, Kind::kOther) != Verdict::kDo) return -1;
  NoteSynced(fd);
  return 0;
}

int ftruncate(int fd, off_t size) {
  struct stat info {};
  const bool grows = ::fstat(fd, &info) == 0 && size > info.st_size;
  if (JudgeFile(fd, Kind::kOther, grows) != Verdict::kDo) return -1;
  return The().ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
  if (JudgeFile(fd, Kind::kOther, true) != Verdict::kDo) return errno;
  return The().posix_fallocate(fd, at, size);
}

int rename(const char* from, const char* to) {
  if (JudgePath(from, false) != Verdict::kDo) return -1;
  const int done = The().rename(from, to);
  if (done != 0) return done;
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (const auto found = disk.names.find(from); found != disk.names.end()) {
    disk.names[to] = found->second;
    disk.names.erase(from);
  }
  return done;
}

int unlink(const char* path) {
  if (JudgePath(path) != Verdict::kDo) return -1;
  const int done = The().unlink(path);
  if (done == 0) {
    const std::lock_guard lock(TheDisk().mutex);
    TheDisk().names.erase(path);
  }
  return done;
}

int link(const char* from, const char* to) {
  if (JudgePath(from, true) != Verdict::kDo) return -1;
  const int done = The().link(from, to);
  if (done != 0) return done;
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  if (const auto found = disk.names.find(from); found != disk.names.end()) {
    disk.names[to] = found->second;
  }
  return done;
}

int mkdir(const char* path, mode_t mode) {
  if (JudgePath(path, true) != Verdict::kDo) return -1;
  return The().mkdir(path, mode);
}

}  // extern "C"
