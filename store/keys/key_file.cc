#include "store/keys/key_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "store/keys/descriptor.h"
#include "store/keys/internal.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;
using internal::WipeAtEnd;

constexpr std::string_view kLiveMagic{"mayfly-key-file\0", 16};
constexpr std::string_view kDestroyedMagic{"mayfly-destroyed", 16};
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kKindAt = 17;
constexpr std::size_t kGenerationAt = 18;
constexpr std::size_t kNumberAt = 20;
constexpr std::size_t kNonceAt = 32;
constexpr std::size_t kCommitmentAt = 56;
constexpr std::size_t kSealedKeysAt = 88;
constexpr std::size_t kCheckAt = 168;
constexpr std::size_t kHeaderEnd = 200;
static_assert(kSealedKeysAt + 64 + crypto_aead_xchacha20poly1305_ietf_ABYTES == kCheckAt);

constexpr std::uint8_t kSubjectKeySlot = 1;
constexpr std::uint8_t kDestroyedSlot = 2;
constexpr std::size_t kSlotNonceAt = 4;
constexpr std::size_t kSlotSealedAt = 16;
constexpr std::size_t kSlotBoundBytes = 12;
static_assert(kSlotSealedAt + 32 + crypto_aead_chacha20poly1305_ietf_ABYTES == kSlotBytes);

constexpr std::uint64_t kPagesMax = 1 + kSlotsMax / kSlotsPerBlock;
constexpr std::size_t kChunkPages = 64;  // of one read or write: 256 KiB

std::array<std::uint8_t, 32> Check(const Page& page) {
  std::array<std::uint8_t, 32> check;
  crypto_generichash_blake2b(check.data(), check.size(), page.bytes.data(), kCheckAt, nullptr, 0);
  return check;
}

void PutIdentity(std::string_view magic, KeyFileId id, Page* page) {
  std::copy(magic.begin(), magic.end(), page->bytes.begin());
  page->bytes[kVersionAt] = kKeyFileVersion;
  page->bytes[kKindAt] = static_cast<std::uint8_t>(id.kind);
  internal::Put32(page->bytes.data() + kNumberAt, id.number);
}

void PutCheck(Page* page) {
  const auto check = Check(*page);
  std::copy(check.begin(), check.end(), page->bytes.begin() + kCheckAt);
}

std::array<std::uint8_t, 32> Commitment(const SecretKey& master, const Page& page) {
  return P32(master.bytes(), "mf-commit-1", std::span(page.bytes).first(kCommitmentAt));
}

std::array<std::uint8_t, kSlotBoundBytes> SlotBound(std::uint32_t days, Slot slot) {
  std::array<std::uint8_t, kSlotBoundBytes> bound;
  bound[0] = kSlotVersion;
  bound[1] = kSubjectKeySlot;
  internal::Put16(bound.data() + 2, slot.generation);
  internal::Put32(bound.data() + 4, days);
  internal::Put32(bound.data() + 8, slot.number);
  return bound;
}

std::uint64_t PageOffset(std::uint64_t page) { return page * kPageBytes; }
std::uint64_t SlotOffset(std::uint32_t number) {
  return kPageBytes + std::uint64_t{number} * kSlotBytes;
}

tl::unexpected<Error> FailErrno(const char* step, const fs::path& path, int error) {
  return Fail(ErrorCode::kIo, fmt::format("cannot {} key file {}: {}", step, path.string(),
                                          std::generic_category().message(error)));
}

// One mirror, opened for one operation. Writes are on the device, and proven to be, when they
// return.
class Mirror {
 public:
  enum class Access { kRead, kWrite, kCreate };

  // kNotFound when there is no such file.
  static Result<Mirror> Open(const fs::path& path, Access access, bool sync) {
    Mirror mirror(path, sync);
    const int flags = (access == Access::kRead ? O_RDONLY : O_RDWR) |
                      (access == Access::kCreate ? O_CREAT : 0) | O_CLOEXEC | O_NOFOLLOW;
    mirror.direct_ = access != Access::kRead && sync;
    mirror.fd_ = Descriptor(::open(path.c_str(), flags | (mirror.direct_ ? O_DIRECT : 0), 0600));
    if (!mirror.fd_.open() && errno == EINVAL && mirror.direct_) {
      mirror.direct_ = false;
      mirror.fd_ = Descriptor(::open(path.c_str(), flags, 0600));
    }
    if (!mirror.fd_.open()) {
      const int error = errno;
      if (error == ENOENT) return Fail(ErrorCode::kNotFound, "no such key file");
      return FailErrno("open", path, error);
    }
    struct stat info = {};
    if (::fstat(mirror.fd_.get(), &info) != 0) return FailErrno("look at", path, errno);
    if (!S_ISREG(info.st_mode)) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("key file {} is not a regular file", path.string()));
    }
    if (access == Access::kCreate && ::fchmod(mirror.fd_.get(), 0600) != 0) {
      return FailErrno("protect", path, errno);
    }
    mirror.bytes_ = static_cast<std::uint64_t>(info.st_size);
    return mirror;
  }

  std::uint64_t bytes() const { return bytes_; }

  // What lies behind the end reads as zeros.
  Status Read(std::uint64_t page, std::span<Page> out) const {
    auto* const to = out.data()->bytes.data();
    std::size_t got = 0;
    MAYFLY_RETURN_IF_ERROR(ReadBytes(PageOffset(page), to, out.size_bytes(), &got));
    std::fill(to + got, to + out.size_bytes(), std::uint8_t{0});
    return {};
  }

  Status ReadSlot(std::uint32_t number, SlotBytes* out) const {
    std::size_t got = 0;
    MAYFLY_RETURN_IF_ERROR(ReadBytes(SlotOffset(number), out->data(), out->size(), &got));
    std::fill(out->begin() + static_cast<std::ptrdiff_t>(got), out->end(), std::uint8_t{0});
    return {};
  }

  Status Write(std::uint64_t page, std::span<const Page> pages) {
    const auto* const from = pages.data()->bytes.data();
    const std::size_t size = pages.size_bytes();
    std::size_t done = 0;
    while (done < size) {
      const ssize_t put = ::pwrite(fd_.get(), from + done, size - done,
                                   static_cast<off_t>(PageOffset(page) + done));
      if (put > 0) {
        done += static_cast<std::size_t>(put);
        continue;
      }
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EINVAL && direct_) {
        MAYFLY_RETURN_IF_ERROR(LeaveDirect());
        continue;
      }
      return FailErrno("write", path_, put < 0 ? errno : EIO);
    }
    bytes_ = std::max(bytes_, PageOffset(page) + size);
    if (!sync_) return {};
    if (::fdatasync(fd_.get()) != 0) return FailErrno("sync", path_, errno);
    // Reading back through the page cache would prove nothing about the device.
    if (!direct_) {
      const int error = ::posix_fadvise(fd_.get(), static_cast<off_t>(PageOffset(page)),
                                        static_cast<off_t>(size), POSIX_FADV_DONTNEED);
      if (error != 0) return FailErrno("drop the cached copy of", path_, error);
    }
    std::vector<Page> back(pages.size());
    MAYFLY_RETURN_IF_ERROR(Read(page, back));
    if (std::memcmp(back.data(), from, size) != 0) {
      return Fail(ErrorCode::kIo,
                  fmt::format("key file {} does not read back as it was written", path_.string()));
    }
    return {};
  }

 private:
  Mirror(fs::path path, bool sync) : path_(std::move(path)), sync_(sync) {}

  // Some file systems accept O_DIRECT at open and refuse it at the first write.
  Status LeaveDirect() {
    Descriptor fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.open()) return FailErrno("open", path_, errno);
    fd_ = std::move(fd);
    direct_ = false;
    return {};
  }

  Status ReadBytes(std::uint64_t offset, std::uint8_t* to, std::size_t size,
                   std::size_t* got) const {
    *got = 0;
    // A direct read stops at the end of the file; asking again from there would not be aligned.
    while (*got < size && offset + *got < bytes_) {
      const ssize_t n =
          ::pread(fd_.get(), to + *got, size - *got, static_cast<off_t>(offset + *got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FailErrno("read", path_, errno);
      if (n == 0) break;
      *got += static_cast<std::size_t>(n);
    }
    return {};
  }

  fs::path path_;
  bool sync_;
  bool direct_ = false;
  Descriptor fd_;
  std::uint64_t bytes_ = 0;
};

// A mirror as found. A page that the device refuses to read counts as damaged: the other may be
// whole.
struct Found {
  bool exists = false;
  std::uint64_t bytes = 0;
  Page header;
  HeaderState state = HeaderState::kZero;
};

Result<Found> Look(const fs::path& path, KeyFileId id) {
  Found found;
  Result<Mirror> mirror = Mirror::Open(path, Mirror::Access::kRead, false);
  if (!mirror) {
    if (mirror.error().code == ErrorCode::kNotFound) return found;
    return Fail(std::move(mirror).error());
  }
  found.exists = true;
  found.bytes = mirror->bytes();
  found.state = mirror->Read(0, std::span(&found.header, 1)) ? ClassifyHeader(id, found.header)
                                                             : HeaderState::kDamaged;
  return found;
}

// Whether every byte from `first_page` on is zero. An absent mirror is.
Result<bool> AllZero(const fs::path& path, std::uint64_t first_page) {
  Result<Mirror> mirror = Mirror::Open(path, Mirror::Access::kRead, false);
  if (!mirror) {
    if (mirror.error().code == ErrorCode::kNotFound) return true;
    return Fail(std::move(mirror).error());
  }
  std::vector<Page> chunk(kChunkPages);
  for (std::uint64_t page = first_page; PageOffset(page) < mirror->bytes(); page += chunk.size()) {
    MAYFLY_RETURN_IF_ERROR(mirror->Read(page, chunk));
    for (const Page& p : chunk) {
      if (!p.IsZero()) return false;
    }
  }
  return true;
}

bool IsLiveSlotOfOtherGeneration(const std::uint8_t* bytes, Slot slot) {
  return bytes[0] == kSlotVersion && bytes[1] == kSubjectKeySlot &&
         internal::Get16(bytes + 2) != slot.generation;
}

}  // namespace

bool Page::IsZero() const { return sodium_is_zero(bytes.data(), bytes.size()) == 1; }

Page EncodeHeader(KeyFileId id, const SecretKey& master, const KeyFileKeys& keys,
                  std::span<const std::uint8_t, 24> nonce) {
  Page page;
  PutIdentity(kLiveMagic, id, &page);
  auto* const out = page.bytes.data();
  internal::Put16(out + kGenerationAt, kGeneration);
  std::copy(nonce.begin(), nonce.end(), out + kNonceAt);
  const auto commitment = Commitment(master, page);
  std::copy(commitment.begin(), commitment.end(), out + kCommitmentAt);
  std::array<std::uint8_t, 64> plain;
  const WipeAtEnd wipe(plain.data(), plain.size());
  std::copy_n(keys.first.bytes().begin(), 32, plain.begin());
  std::copy_n(keys.second.bytes().begin(), 32, plain.begin() + 32);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out + kSealedKeysAt, nullptr, plain.data(),
                                             plain.size(), out, kSealedKeysAt, nullptr,
                                             nonce.data(), master.bytes().data());
  PutCheck(&page);
  return page;
}

Page EncodeDestroyedHeader(KeyFileId id) {
  Page page;
  PutIdentity(kDestroyedMagic, id, &page);
  PutCheck(&page);
  return page;
}

HeaderState ClassifyHeader(KeyFileId id, const Page& page) {
  if (page.IsZero()) return HeaderState::kZero;
  const auto check = Check(page);
  const auto* const in = page.bytes.data();
  if (!std::equal(check.begin(), check.end(), in + kCheckAt) ||
      sodium_is_zero(in + kHeaderEnd, kPageBytes - kHeaderEnd) != 1 ||
      in[kVersionAt] != kKeyFileVersion || in[kKindAt] != static_cast<std::uint8_t>(id.kind) ||
      internal::Get32(in + kNumberAt) != id.number) {
    return HeaderState::kDamaged;
  }
  const std::string_view magic(reinterpret_cast<const char*>(in), kLiveMagic.size());
  if (magic == kDestroyedMagic) return HeaderState::kDestroyed;
  return magic == kLiveMagic ? HeaderState::kWhole : HeaderState::kDamaged;
}

Result<KeyFileKeys> DecodeHeader(KeyFileId id, const Page& page, const SecretKey& master) {
  if (ClassifyHeader(id, page) != HeaderState::kWhole) {
    return Fail(ErrorCode::kCorrupt, "the header is damaged");
  }
  const auto* const in = page.bytes.data();
  const auto commitment = Commitment(master, page);
  if (sodium_memcmp(commitment.data(), in + kCommitmentAt, commitment.size()) != 0) {
    return Fail(ErrorCode::kSealed, "it was wrapped by another master key");
  }
  std::array<std::uint8_t, 64> plain;
  const WipeAtEnd wipe(plain.data(), plain.size());
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), nullptr, nullptr, in + kSealedKeysAt,
                                                 kCheckAt - kSealedKeysAt, in, kSealedKeysAt,
                                                 in + kNonceAt, master.bytes().data()) != 0) {
    return Fail(ErrorCode::kCorrupt, "the header does not authenticate");
  }
  return KeyFileKeys{.first = SecretKey::FromBytes(KeyBytes(plain.data(), 32)),
                     .second = SecretKey::FromBytes(KeyBytes(plain.data() + 32, 32))};
}

SlotBytes EncodeSlot(const SecretKey& day_key, std::uint32_t days, Slot slot, KeyBytes subject_key,
                     std::span<const std::uint8_t, 12> nonce) {
  auto slot_key = P32(day_key.bytes(), "mf-slot-1", {});
  const WipeAtEnd wipe(slot_key.data(), slot_key.size());
  const auto bound = SlotBound(days, slot);
  SlotBytes out = {};
  std::copy_n(bound.begin(), kSlotNonceAt, out.begin());  // version, kind, generation
  std::copy(nonce.begin(), nonce.end(), out.begin() + kSlotNonceAt);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data() + kSlotSealedAt, nullptr, subject_key.data(),
                                            subject_key.size(), bound.data(), bound.size(), nullptr,
                                            nonce.data(), slot_key.data());
  return out;
}

SlotBytes EncodeDestroyedSlot(std::uint16_t generation) {
  SlotBytes out = {};
  out[0] = kSlotVersion;
  out[1] = kDestroyedSlot;
  internal::Put16(out.data() + 2, generation);
  return out;
}

Status DecodeSlot(const SecretKey& day_key, std::uint32_t days, Slot slot, const SlotBytes& bytes,
                  std::array<std::uint8_t, 32>* subject_key) {
  if (bytes == EncodeDestroyedSlot(slot.generation)) {
    return Fail(ErrorCode::kExpired, "the key of this person on this date is destroyed");
  }
  const auto bound = SlotBound(days, slot);
  auto slot_key = P32(day_key.bytes(), "mf-slot-1", {});
  const WipeAtEnd wipe(slot_key.data(), slot_key.size());
  if (!std::equal(bytes.begin(), bytes.begin() + kSlotNonceAt, bound.begin()) ||
      crypto_aead_chacha20poly1305_ietf_decrypt(
          subject_key->data(), nullptr, nullptr, bytes.data() + kSlotSealedAt,
          bytes.size() - kSlotSealedAt, bound.data(), bound.size(), bytes.data() + kSlotNonceAt,
          slot_key.data()) != 0) {
    return Fail(ErrorCode::kCorrupt, fmt::format("slot {} does not authenticate", slot.number));
  }
  return {};
}

KeyFile::KeyFile(const fs::path& dir, KeyFileId id, bool sync, bool read_only)
    : dir_(dir), id_(id), sync_(sync), read_only_(read_only) {
  switch (id.kind) {
    case KeyFileKind::kRoot:
      name_ = "root";
      break;
    case KeyFileKind::kDate:
      name_ = fmt::format("D{}", FormatDayCompact(ExpiryDay(std::chrono::days(id.number))));
      break;
    case KeyFileKind::kMonth:
      name_ = fmt::format("M{:06}", id.number);
      break;
    case KeyFileKind::kPrevious:
      name_ = "previous";
      break;
  }
}

std::optional<KeyFileId> KeyFile::ParseFileName(const std::string& file_name) {
  std::string_view name = file_name;
  if (!name.ends_with(".a") && !name.ends_with(".b")) return std::nullopt;
  name.remove_suffix(2);
  if (name == "root") return KeyFileId{KeyFileKind::kRoot, 0};
  if (name == "previous") return KeyFileId{KeyFileKind::kPrevious, 0};
  if (name.starts_with('D')) {
    const std::optional<ExpiryDay> day = ParseDayCompact(name.substr(1));
    if (!day || day->time_since_epoch().count() < 0) return std::nullopt;
    return KeyFileId{KeyFileKind::kDate,
                     static_cast<std::uint32_t>(day->time_since_epoch().count())};
  }
  if (name.size() != 7 || name[0] != 'M') return std::nullopt;
  std::uint32_t month = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), month);
  if (error != std::errc() || end != name.data() + name.size() || month % 100 < 1 ||
      month % 100 > 12) {
    return std::nullopt;
  }
  return KeyFileId{KeyFileKind::kMonth, month};
}

fs::path KeyFile::MirrorPath(int mirror) const {
  return dir_ / (name_ + (mirror == 0 ? ".a" : ".b"));
}

Error KeyFile::Named(Error error) const {
  error.message = fmt::format("key file {}: {}", (dir_ / name_).string(), error.message);
  return error;
}

Status SyncDirectory(const fs::path& dir, bool sync) {
  if (!sync) return {};
  const Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.open() && ::fsync(fd.get()) == 0) return {};
  const int failed = errno;
  return Fail(ErrorCode::kIo, fmt::format("cannot sync the directory {}: {}", dir.string(),
                                          std::generic_category().message(failed)));
}

namespace {

fs::path MirrorOf(const fs::path& dir, const std::string& name, int mirror) {
  return dir / (name + (mirror == 0 ? ".a" : ".b"));
}

}  // namespace

Status WriteMirroredPage(const fs::path& dir, const std::string& name, const Page& page,
                         bool sync) {
  for (int m = 0; m < 2; ++m) {
    const fs::path path = MirrorOf(dir, name, m);
    std::error_code ignored;
    const bool is_new = !fs::exists(path, ignored);
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror, Mirror::Open(path, Mirror::Access::kCreate, sync));
    MAYFLY_RETURN_IF_ERROR(mirror.Write(0, std::span(&page, 1)));
    if (is_new) MAYFLY_RETURN_IF_ERROR(SyncDirectory(dir, sync));
  }
  return {};
}

Result<std::vector<Page>> ReadMirroredPage(const fs::path& dir, const std::string& name) {
  std::vector<Page> pages;
  for (int m = 0; m < 2; ++m) {
    Result<Mirror> mirror = Mirror::Open(MirrorOf(dir, name, m), Mirror::Access::kRead, false);
    if (!mirror && mirror.error().code == ErrorCode::kNotFound) continue;
    if (!mirror) return Fail(std::move(mirror).error());
    Page page;
    if (mirror->Read(0, std::span(&page, 1))) pages.push_back(page);
  }
  return pages;
}

Status RemoveMirroredPage(const fs::path& dir, const std::string& name, bool sync) {
  const Page zeros;
  for (int m = 0; m < 2; ++m) {
    const fs::path path = MirrorOf(dir, name, m);
    Result<Mirror> mirror = Mirror::Open(path, Mirror::Access::kWrite, sync);
    if (!mirror && mirror.error().code == ErrorCode::kNotFound) continue;
    if (!mirror) return Fail(std::move(mirror).error());
    MAYFLY_RETURN_IF_ERROR(mirror->Write(0, std::span(&zeros, 1)));
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno("unlink", path, errno);
  }
  return SyncDirectory(dir, sync);
}

Result<KeyFile::Opened> KeyFile::Open(const SecretKey& master) {
  std::array<Found, 2> found;
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(found[m], Look(MirrorPath(m), id_));
  }
  Opened opened;
  if (!found[0].exists && !found[1].exists) return opened;

  // A mark outranks everything: somebody was told, or was about to be, that these keys are gone.
  if (found[0].state == HeaderState::kDestroyed || found[1].state == HeaderState::kDestroyed) {
    opened.state = State::kDestroyed;
    for (const Found& mirror : found) {
      if (mirror.exists && mirror.state != HeaderState::kDestroyed && !Destroy()) {
        opened.state = State::kHalfDestroyed;
      }
    }
    return opened;
  }

  std::optional<Error> foreign;
  for (int m = 0; m < 2; ++m) {
    if (found[m].state != HeaderState::kWhole) continue;
    Result<KeyFileKeys> keys = DecodeHeader(id_, found[m].header, master);
    if (!keys) {
      if (keys.error().code == ErrorCode::kSealed) foreign = keys.error();
      continue;
    }
    MAYFLY_RETURN_IF_ERROR(EqualiseMirrors(found[m].header));
    opened.state = State::kWhole;
    opened.keys = *std::move(keys);
    if (id_.kind == KeyFileKind::kDate) {
      const std::uint64_t pages = std::max<std::uint64_t>(
          {1 + kBlocksPerGrowth, (found[0].bytes + kPageBytes - 1) / kPageBytes,
           (found[1].bytes + kPageBytes - 1) / kPageBytes});
      opened.blocks = static_cast<std::uint32_t>(pages - 1);
      MAYFLY_ASSIGN_OR_RETURN(opened.next_block, FindNextBlock(opened.blocks));
    }
    return opened;
  }
  if (foreign) return Fail(Named(*std::move(foreign)));

  const auto was_whole = [](const Found& mirror) { return mirror.state == HeaderState::kWhole; };
  if (!was_whole(found[0]) && !was_whole(found[1])) {
    MAYFLY_ASSIGN_OR_RETURN(const bool no_slots, AllZero(MirrorPath(0), 1));
    MAYFLY_ASSIGN_OR_RETURN(const bool untouched, AllZero(MirrorPath(1), 0));
    if (no_slots && untouched) {
      opened.state = State::kUnfinished;
      return opened;
    }
  }
  return Fail(Named({.code = ErrorCode::kCorrupt, .message = "both mirrors are damaged"}));
}

Status KeyFile::MayWrite() const {
  if (!read_only_) return {};
  return Fail(Named({.code = ErrorCode::kInternal, .message = "is opened for reading only"}));
}

// Gives both mirrors the header and the same length. What one of them lost at its end comes from
// the other one; slots inside are repaired when they are read.
Status KeyFile::EqualiseMirrors(const Page& header) {
  if (read_only_) return {};
  std::array<std::optional<Mirror>, 2> readers;
  std::array<std::uint64_t, 2> bytes = {};
  std::uint64_t pages = id_.kind == KeyFileKind::kDate ? 1 + kBlocksPerGrowth : 1;
  for (int m = 0; m < 2; ++m) {
    Result<Mirror> reader = Mirror::Open(MirrorPath(m), Mirror::Access::kRead, false);
    if (reader) {
      bytes[m] = reader->bytes();
      pages = std::max(pages, (bytes[m] + kPageBytes - 1) / kPageBytes);
      readers[m].emplace(*std::move(reader));
    } else if (reader.error().code != ErrorCode::kNotFound) {
      return Fail(std::move(reader).error());
    }
  }
  if (pages > kPagesMax) {
    return Fail(Named({.code = ErrorCode::kCorrupt, .message = "it is longer than any key file"}));
  }
  for (int m = 0; m < 2; ++m) {
    Page present;
    // An unreadable header is one to rewrite.
    const bool header_holds = bytes[m] >= kPageBytes &&
                              readers[m]->Read(0, std::span(&present, 1)) &&
                              present.bytes == header.bytes;
    if (header_holds && bytes[m] == PageOffset(pages)) continue;
    MAYFLY_ASSIGN_OR_RETURN(
        Mirror writer,
        Mirror::Open(MirrorPath(m), readers[m] ? Mirror::Access::kWrite : Mirror::Access::kCreate,
                     sync_));
    std::vector<Page> chunk;
    for (std::uint64_t page = std::max<std::uint64_t>(1, bytes[m] / kPageBytes); page < pages;
         page += chunk.size()) {
      chunk.assign(std::min<std::uint64_t>(kChunkPages, pages - page), Page());
      const std::uint64_t kept =
          bytes[m] > PageOffset(page) ? bytes[m] - PageOffset(page) : std::uint64_t{0};
      if (readers[m]) MAYFLY_RETURN_IF_ERROR(readers[m]->Read(page, chunk));
      if (bytes[1 - m] > bytes[m] && bytes[1 - m] > PageOffset(page)) {
        std::vector<Page> other(chunk.size());
        MAYFLY_RETURN_IF_ERROR(readers[1 - m]->Read(page, other));
        auto* const to = chunk.data()->bytes.data();
        const auto* const from = other.data()->bytes.data();
        std::copy(from + kept, from + other.size() * kPageBytes, to + kept);
      }
      MAYFLY_RETURN_IF_ERROR(writer.Write(page, chunk));
    }
    // Last, so that a mirror with a header has its slots.
    if (!header_holds) MAYFLY_RETURN_IF_ERROR(writer.Write(0, std::span(&header, 1)));
    if (!readers[m]) MAYFLY_RETURN_IF_ERROR(SyncDirectory(dir_, sync_));
  }
  return {};
}

Result<std::uint32_t> KeyFile::FindNextBlock(std::uint32_t blocks) const {
  std::uint32_t next = 0;
  for (int m = 0; m < 2; ++m) {
    Result<Mirror> opened = Mirror::Open(MirrorPath(m), Mirror::Access::kRead, false);
    if (!opened && read_only_) continue;  // else it would have been repaired
    if (!opened) return Fail(std::move(opened).error());
    const Mirror& mirror = *opened;
    std::vector<Page> chunk;
    // From the end: files grow only when they are full, so this ends after a few pages.
    for (std::uint32_t end = blocks; end > next;) {
      const std::uint32_t begin =
          std::max(next, end > kBlocksPerGrowth ? end - kBlocksPerGrowth : 0);
      chunk.assign(end - begin, Page());
      if (!mirror.Read(std::uint64_t{1} + begin, chunk)) {
        next = end;  // what the device does not show may have been used: skip it
        break;
      }
      const auto last = std::find_if(chunk.rbegin(), chunk.rend(),
                                     [](const Page& page) { return !page.IsZero(); });
      if (last != chunk.rend()) {
        next = begin + static_cast<std::uint32_t>(chunk.rend() - last);
        break;
      }
      end = begin;
    }
  }
  return next;
}

Result<KeyFile::Opened> KeyFile::Create(const SecretKey& master) {
  return Create(master, {.first = SecretKey::Random(), .second = SecretKey::Random()});
}

Result<KeyFile::Opened> KeyFile::Create(const SecretKey& master, KeyFileKeys keys) {
  MAYFLY_RETURN_IF_ERROR(MayWrite());
  Opened opened;
  opened.state = State::kWhole;
  opened.keys = std::move(keys);
  opened.blocks = id_.kind == KeyFileKind::kDate ? kBlocksPerGrowth : 0;
  std::array<std::uint8_t, 24> nonce;
  randombytes_buf(nonce.data(), nonce.size());
  const Page header = EncodeHeader(id_, master, opened.keys, nonce);
  const std::vector<Page> zeros(1 + opened.blocks);
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kCreate, sync_));
    MAYFLY_RETURN_IF_ERROR(mirror.Write(0, zeros));
  }
  MAYFLY_RETURN_IF_ERROR(SyncDirectory(dir_, sync_));
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_));
    MAYFLY_RETURN_IF_ERROR(mirror.Write(0, std::span(&header, 1)));
  }
  return opened;
}

Status KeyFile::Rewrap(const SecretKey& from, const SecretKey& to,
                       const std::function<void(int mirror)>& written) {
  std::array<Found, 2> found;
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(found[m], Look(MirrorPath(m), id_));
    if (found[m].state == HeaderState::kDestroyed) return {};
  }
  // A mirror that is under the new key already was written by a try that was interrupted.
  std::optional<Page> header;
  for (const Found& mirror : found) {
    if (!header && DecodeHeader(id_, mirror.header, to)) header = mirror.header;
  }
  for (const Found& mirror : found) {
    if (header) break;
    const Result<KeyFileKeys> keys = DecodeHeader(id_, mirror.header, from);
    if (!keys) continue;
    std::array<std::uint8_t, 24> nonce;
    randombytes_buf(nonce.data(), nonce.size());
    header = EncodeHeader(id_, to, *keys, nonce);
  }
  if (!header) {
    return Fail(Named({.code = ErrorCode::kCorrupt, .message = "no master key opens it"}));
  }
  for (int m = 0; m < 2; ++m) {
    if (!found[m].exists || found[m].header.bytes == header->bytes) continue;
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_));
    MAYFLY_RETURN_IF_ERROR(mirror.Write(0, std::span(&*header, 1)));
    if (written) written(m);
  }
  return EqualiseMirrors(*header);
}

Status KeyFile::Grow(std::uint32_t blocks_before) {
  const std::vector<Page> zeros(kBlocksPerGrowth);
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_));
    MAYFLY_RETURN_IF_ERROR(mirror.Write(std::uint64_t{1} + blocks_before, zeros));
  }
  return {};
}

Status KeyFile::WriteBlock(const SecretKey& day_key, std::uint32_t block, bool again,
                           std::uint32_t* blocks) {
  MAYFLY_RETURN_IF_ERROR(MayWrite());
  if (block >= kSlotsMax / kSlotsPerBlock) {
    return Fail(Named({.code = ErrorCode::kTooLarge, .message = "the date has no slot left"}));
  }
  if (block >= *blocks) {
    MAYFLY_RETURN_IF_ERROR(Grow(*blocks));
    *blocks += kBlocksPerGrowth;
  }
  Page page;
  for (std::uint32_t i = 0; i < kSlotsPerBlock; ++i) {
    std::array<std::uint8_t, 32> subject_key;
    const WipeAtEnd wipe(subject_key.data(), subject_key.size());
    std::array<std::uint8_t, 12> nonce;
    randombytes_buf(subject_key.data(), subject_key.size());
    randombytes_buf(nonce.data(), nonce.size());
    const SlotBytes slot = EncodeSlot(
        day_key, id_.number, {.number = block * kSlotsPerBlock + i, .generation = kGeneration},
        KeyBytes(subject_key), nonce);
    std::copy(slot.begin(), slot.end(), page.bytes.begin() + i * kSlotBytes);
  }
  for (int m = 0; m < 2; ++m) {
    MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_));
    Page before;
    MAYFLY_RETURN_IF_ERROR(mirror.Read(std::uint64_t{1} + block, std::span(&before, 1)));
    if (!again && !before.IsZero()) {
      // Two programs on one directory would give two people one key.
      return Fail(Named({.code = ErrorCode::kInternal,
                         .message = "a block of slots was written by somebody else"}));
    }
    MAYFLY_RETURN_IF_ERROR(mirror.Write(std::uint64_t{1} + block, std::span(&page, 1)));
  }
  return {};
}

Status KeyFile::ReadSubjectKey(const SecretKey& day_key, Slot slot,
                               std::array<std::uint8_t, 32>* subject_key) {
  const auto read = [&](int m) -> Status {
    MAYFLY_ASSIGN_OR_RETURN(const Mirror mirror,
                            Mirror::Open(MirrorPath(m), Mirror::Access::kRead, false));
    SlotBytes bytes;
    MAYFLY_RETURN_IF_ERROR(mirror.ReadSlot(slot.number, &bytes));
    return DecodeSlot(day_key, id_.number, slot, bytes, subject_key);
  };
  const Status first = read(0);
  if (first) return {};
  const Status second = read(1);
  const auto expired = [](const Status& s) { return !s && s.error().code == ErrorCode::kExpired; };
  if (expired(first) || expired(second)) {
    sodium_memzero(subject_key->data(), subject_key->size());
    if (!read_only_ && (!expired(first) || !expired(second))) {
      MAYFLY_RETURN_IF_ERROR(DestroySlots({slot}));
    }
    return Fail(Named(expired(first) ? first.error() : second.error()));
  }
  if (!second) {
    return Fail(Named({.code = ErrorCode::kCorrupt, .message = second.error().message}));
  }
  return RepairSlot(slot);
}

// Puts the slot of .b into .a; the whole page if the device does not show that of .a any more.
Status KeyFile::RepairSlot(Slot slot) {
  if (read_only_) return {};
  const std::uint64_t page_number = std::uint64_t{1} + slot.number / kSlotsPerBlock;
  const std::size_t at = slot.number % kSlotsPerBlock * kSlotBytes;
  Page good;
  {
    MAYFLY_ASSIGN_OR_RETURN(const Mirror mirror,
                            Mirror::Open(MirrorPath(1), Mirror::Access::kRead, false));
    MAYFLY_RETURN_IF_ERROR(mirror.Read(page_number, std::span(&good, 1)));
  }
  MAYFLY_ASSIGN_OR_RETURN(Mirror mirror,
                          Mirror::Open(MirrorPath(0), Mirror::Access::kWrite, sync_));
  Page page;
  if (mirror.Read(page_number, std::span(&page, 1))) {
    std::copy_n(good.bytes.begin() + at, kSlotBytes, page.bytes.begin() + at);
  } else {
    page = good;
  }
  return mirror.Write(page_number, std::span(&page, 1));
}

// Whether every mirror that can be read shows a living slot of another generation: one alone is
// damaged, and damage must not keep a key from being destroyed.
Result<bool> KeyFile::HasOtherGeneration(Slot slot) const {
  int seen = 0;
  for (int m = 0; m < 2; ++m) {
    const Result<Mirror> mirror = Mirror::Open(MirrorPath(m), Mirror::Access::kRead, false);
    if (!mirror && mirror.error().code == ErrorCode::kNotFound) continue;
    if (!mirror) return Fail(mirror.error());
    SlotBytes bytes;
    if (!mirror->ReadSlot(slot.number, &bytes)) continue;
    if (!IsLiveSlotOfOtherGeneration(bytes.data(), slot)) return false;
    ++seen;
  }
  return seen > 0;
}

Status KeyFile::DestroySlots(const std::vector<Slot>& slots) {
  MAYFLY_RETURN_IF_ERROR(MayWrite());
  std::map<std::uint32_t, std::vector<Slot>> by_block;
  for (const Slot slot : slots) {
    MAYFLY_ASSIGN_OR_RETURN(const bool other, HasOtherGeneration(slot));
    if (other) {
      return Fail(Named({.code = ErrorCode::kInvalidArgument,
                         .message = fmt::format("slot {} has another generation", slot.number)}));
    }
    by_block[slot.number / kSlotsPerBlock].push_back(slot);
  }
  std::optional<Error> failed;
  for (int m = 0; m < 2; ++m) {
    Result<Mirror> mirror = Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_);
    if (!mirror) {
      if (mirror.error().code != ErrorCode::kNotFound && !failed) failed = mirror.error();
      continue;
    }
    for (const auto& [block, members] : by_block) {
      const std::uint64_t page_number = std::uint64_t{1} + block;
      if (PageOffset(page_number) >= mirror->bytes()) continue;  // nothing is there to destroy
      Page page;
      Status status = mirror->Read(page_number, std::span(&page, 1));
      if (status) {
        bool changed = false;
        for (const Slot slot : members) {
          auto* const at = page.bytes.data() + slot.number % kSlotsPerBlock * kSlotBytes;
          const SlotBytes mark = EncodeDestroyedSlot(slot.generation);
          changed = changed || !std::equal(mark.begin(), mark.end(), at);
          std::copy(mark.begin(), mark.end(), at);
        }
        if (changed) status = mirror->Write(page_number, std::span(&page, 1));
      }
      if (!status && !failed) failed = status.error();
    }
  }
  if (failed) return Fail(Named(*std::move(failed)));
  return {};
}

Status KeyFile::Destroy() {
  MAYFLY_RETURN_IF_ERROR(MayWrite());
  const Page mark = EncodeDestroyedHeader(id_);
  std::optional<Error> failed;
  for (int m = 0; m < 2; ++m) {
    Result<Mirror> mirror = Mirror::Open(MirrorPath(m), Mirror::Access::kWrite, sync_);
    if (!mirror) {
      if (mirror.error().code != ErrorCode::kNotFound && !failed) failed = mirror.error();
      continue;
    }
    const Status written = mirror->Write(0, std::span(&mark, 1));
    if (!written && !failed) failed = written.error();
  }
  if (failed) return Fail(Named(*std::move(failed)));
  return {};
}

Status KeyFile::Unlink() {
  MAYFLY_RETURN_IF_ERROR(MayWrite());
  for (int m = 0; m < 2; ++m) {
    const fs::path path = MirrorPath(m);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno("unlink", path, errno);
  }
  return SyncDirectory(dir_, sync_);
}

}  // namespace mayfly::store
