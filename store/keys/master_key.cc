#include "store/keys/master_key.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "store/keys/descriptor.h"
#include "store/keys/internal.h"
#include "store/model/sensitive.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

// mayfly-master-1 <64 hex digits> <8 hex digits>\n
constexpr std::string_view kPrefix = "mayfly-master-1 ";
constexpr std::size_t kKeyAt = kPrefix.size();
constexpr std::size_t kSumAt = kKeyAt + 64 + 1;
constexpr std::size_t kLineBytes = kSumAt + 8;

std::string Why(int error) { return std::generic_category().message(error); }

// Finds typing and copying errors in a key that people may carry on paper; no secret of its own.
std::array<std::uint8_t, 4> Checksum(KeyBytes key) {
  std::array<std::uint8_t, 32> hash = P32(key, "mf-master-sum-1", {});
  std::array<std::uint8_t, 4> sum;
  std::copy_n(hash.begin(), sum.size(), sum.begin());
  sodium_memzero(hash.data(), hash.size());
  return sum;
}

fs::path DirectoryOf(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

// The service manager hands credentials over as a file of root with an access list that names our
// user. The group bits of its mode then show the list's mask, so the list itself has to be read.
bool OnlyOwnerAndWeMayRead(int fd, const struct stat& info) {
  if ((info.st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) != 0) return false;
  if ((info.st_mode & S_IRGRP) == 0) return true;
  std::array<std::uint8_t, 4 + 8 * 16> list = {};
  const ssize_t size = ::fgetxattr(fd, "system.posix_acl_access", list.data(), list.size());
  if (size < 4 || (size - 4) % 8 != 0) return false;  // plain group bits, or a list we cannot judge
  const auto u16 = [&](std::size_t at) {
    return static_cast<unsigned>(list[at] | (list[at + 1] << 8));
  };
  if (u16(0) != 2 || u16(2) != 0) return false;
  for (std::size_t at = 4; at < static_cast<std::size_t>(size); at += 8) {
    const unsigned tag = u16(at);
    const unsigned permissions = u16(at + 2);
    const unsigned id = u16(at + 4) | (u16(at + 6) << 16);
    if (tag == 0x01 || tag == 0x10) continue;  // owner, mask
    if (tag == 0x02 && id == ::geteuid() && (permissions & ~4u) == 0) continue;
    if (permissions != 0) return false;
  }
  return true;
}

Status CheckDirectory(const fs::path& file, ErrorCode code) {
  const fs::path dir = DirectoryOf(file);
  struct stat info = {};
  if (::stat(dir.c_str(), &info) != 0) {
    return Fail(code, fmt::format("cannot look at the directory of the master key {}: {}",
                                  file.string(), Why(errno)));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Fail(code, fmt::format("the directory of the master key {} is writable by others; run: "
                                  "chmod go-w {}",
                                  file.string(), dir.string()));
  }
  return {};
}

}  // namespace

Result<SecretKey> LoadMasterKey(const fs::path& file) {
  internal::EnsureSodium();
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) {
    const int error = errno;
    if (error == ENOENT) {
      return Fail(ErrorCode::kSealed,
                  fmt::format("there is no master key at {}; put it there, or create the first one "
                              "with: mayfly init",
                              file.string()));
    }
    return Fail(ErrorCode::kSealed,
                fmt::format("cannot open the master key {}: {}", file.string(), Why(error)));
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return Fail(ErrorCode::kSealed,
                fmt::format("cannot look at the master key {}: {}", file.string(), Why(errno)));
  }
  if (!S_ISREG(info.st_mode)) {
    return Fail(ErrorCode::kSealed,
                fmt::format("the master key {} is not a regular file", file.string()));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return Fail(ErrorCode::kSealed,
                fmt::format("the master key {} belongs to another user; run: chown to root or to "
                            "the user of the service",
                            file.string()));
  }
  if (!OnlyOwnerAndWeMayRead(fd.get(), info)) {
    return Fail(ErrorCode::kSealed,
                fmt::format("the master key {} is open to others; run: chmod 0400 {}",
                            file.string(), file.string()));
  }
  MAYFLY_RETURN_IF_ERROR(CheckDirectory(file, ErrorCode::kSealed));

  std::array<char, kLineBytes + 2> text = {};
  const internal::WipeAtEnd wipe_text(text.data(), text.size());
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return Fail(ErrorCode::kSealed,
                  fmt::format("cannot read the master key {}: {}", file.string(), Why(errno)));
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  std::optional<SecretKey> key = ParseMasterKey(std::string_view(text.data(), size));
  if (key) return *std::move(key);
  return Fail(ErrorCode::kSealed,
              fmt::format("the master key {} is damaged: expected one line \"mayfly-master-1 \" "
                          "with 64 hex digits and a checksum; bring back your copy of it",
                          file.string()));
}

std::optional<SecretKey> ParseMasterKey(std::string_view line) {
  internal::EnsureSodium();
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.size() != kLineBytes || !line.starts_with(kPrefix) || line[kSumAt - 1] != ' ') {
    return std::nullopt;
  }
  std::array<std::uint8_t, 32> key;
  const internal::WipeAtEnd wipe_key(key.data(), key.size());
  std::array<std::uint8_t, 4> sum;
  std::size_t bytes = 0;
  if (sodium_hex2bin(key.data(), key.size(), line.data() + kKeyAt, 64, nullptr, &bytes, nullptr) !=
          0 ||
      bytes != key.size() ||
      sodium_hex2bin(sum.data(), sum.size(), line.data() + kSumAt, 8, nullptr, &bytes, nullptr) !=
          0 ||
      bytes != sum.size() || sum != Checksum(KeyBytes(key))) {
    return std::nullopt;
  }
  return SecretKey::FromBytes(KeyBytes(key));
}

std::string RenderMasterKey(const SecretKey& key) {
  std::array<char, 65> hex;
  const internal::WipeAtEnd wipe_hex(hex.data(), hex.size());
  // Of its full size at once, so that growing leaves no copy behind.
  std::string line(kLineBytes, ' ');
  std::copy(kPrefix.begin(), kPrefix.end(), line.begin());
  sodium_bin2hex(hex.data(), hex.size(), key.bytes().data(), 32);
  std::copy_n(hex.begin(), 64, line.begin() + kKeyAt);
  const std::array<std::uint8_t, 4> sum = Checksum(key.bytes());
  sodium_bin2hex(hex.data(), hex.size(), sum.data(), sum.size());
  std::copy_n(hex.begin(), 8, line.begin() + kSumAt);
  return line;
}

fs::path NextMasterKeyFile(const fs::path& file) { return file.string() + ".next"; }

Status AdoptNextMasterKey(const fs::path& file) {
  const fs::path next = NextMasterKeyFile(file);
  const auto failed = [&](const char* step, const fs::path& path) {
    return Fail(ErrorCode::kIo,
                fmt::format("cannot {} the master key {}: {}", step, path.string(), Why(errno)));
  };
  std::error_code ignored;
  if (!fs::exists(next, ignored)) {
    if (fs::exists(file, ignored)) return {};
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("there is no master key at {}", file.string()));
  }
  // A next key that is not whole must not cost the one that is.
  MAYFLY_RETURN_IF_ERROR(LoadMasterKey(next));
  if (fs::exists(file, ignored)) {
    if (::chmod(file.c_str(), 0600) != 0) return failed("write", file);
    const Descriptor old(::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (old.get() < 0) return failed("open", file);
    const std::array<char, kLineBytes + 1> zeros = {};
    if (::pwrite(old.get(), zeros.data(), zeros.size(), 0) != static_cast<ssize_t>(zeros.size())) {
      return failed("overwrite", file);
    }
    if (::fsync(old.get()) != 0) return failed("sync", file);
  }
  if (::rename(next.c_str(), file.c_str()) != 0) return failed("rename", next);
  const Descriptor dir(::open(DirectoryOf(file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) return failed("sync the directory of", file);
  return {};
}

Status CreateMasterKey(const fs::path& file) {
  MAYFLY_RETURN_IF_ERROR(CheckDirectory(file, ErrorCode::kInvalidArgument));
  const SecretKey key = SecretKey::Random();
  std::string line = RenderMasterKey(key);
  std::array<char, kLineBytes + 1> text = {};
  const internal::WipeAtEnd wipe_text(text.data(), text.size());
  std::copy(line.begin(), line.end(), text.begin());
  text[kLineBytes] = '\n';
  WipeString(line);
  const Descriptor fd(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400));
  if (fd.get() < 0) {
    const int error = errno;
    if (error == EEXIST) {
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} exists; an existing master key is never overwritten", file.string()));
    }
    return Fail(ErrorCode::kIo,
                fmt::format("cannot create the master key {}: {}", file.string(), Why(error)));
  }
  const auto give_up = [&](const char* step, int error) {
    // A half-written key would only be refused at start; the caller may try again.
    const bool removed = ::unlink(file.c_str()) == 0;
    return Fail(ErrorCode::kIo,
                fmt::format("cannot {} the master key {}: {}{}", step, file.string(), Why(error),
                            removed ? "" : "; remove that file"));
  };
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t put = ::write(fd.get(), text.data() + written, text.size() - written);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return give_up("write", errno);
    written += static_cast<std::size_t>(put);
  }
  if (::fchmod(fd.get(), 0400) != 0) return give_up("protect", errno);
  if (::fsync(fd.get()) != 0) return give_up("sync", errno);
  const Descriptor dir(::open(DirectoryOf(file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) return give_up("sync the directory of", errno);
  return {};
}

}  // namespace mayfly::store
