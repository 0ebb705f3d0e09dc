#include "store/forward_ledger.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "store/codec.h"
#include "store/keys/descriptor.h"
#include "store/keys/key_file.h"
#include "store/keys/seal.h"
#include "store/schema.h"

namespace mayfly::store {
namespace {

constexpr std::string_view kMagic = "mayfly-forward1\n";
constexpr char kFrame = 'L';
constexpr std::size_t kSizeBytes = 4;
constexpr std::size_t kFrameBytesMax = 1u << 20;
constexpr std::size_t kEntriesMax = 4'096;  // of one frame
constexpr std::size_t kEntriesOfRewrite = 256;

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// As many bytes as there are, up to `size`. Empty at the end of the file.
std::optional<std::string> ReadAt(int fd, std::uint64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    const ssize_t n = ::pread(fd, bytes.data() + got, size - got, static_cast<off_t>(at + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

SealContext FrameContext(std::string_view number) {
  return {.organisation = schema::kOrganisation,
          .family = "ledger",
          .column = kFrame,
          .engine_key = number,
          .expires_at = TimePoint()};
}

}  // namespace

ForwardLedger::ForwardLedger(std::filesystem::path file, Pair& key, bool read_only)
    : file_(std::move(file)), key_(key), read_only_(read_only) {
  sodium_memzero(key.data(), key.size());
}

ForwardLedger::~ForwardLedger() { sodium_memzero(key_.data(), key_.size()); }

Result<std::unique_ptr<ForwardLedger>> ForwardLedger::Open(const std::filesystem::path& file,
                                                           Pair& key, bool read_only) {
  std::unique_ptr<ForwardLedger> ledger(new ForwardLedger(file, key, read_only));
  MAYFLY_RETURN_IF_ERROR(ledger->Load());
  return ledger;
}

Error ForwardLedger::Named(ErrorCode code, const std::string& what) const {
  return {.code = code, .message = file_.string() + ": " + what};
}

void ForwardLedger::Note(const LedgerEntry& entry) {
  latest_ = std::max(latest_, entry.at);
  if (entry.kind != LedgerEntry::Kind::kGeneration) return;
  generations_ = Generations{.low = schema::ReadU64(entry.value),
                             .high = schema::ReadU64(std::string_view(entry.value).substr(8))};
}

// Reads the frames through, as far as they are whole.
Status ForwardLedger::Load() {
  const auto visit = [this](const LedgerEntry& entry) -> Status {
    Note(entry);
    return {};
  };
  const Descriptor file(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return {};
    return Fail(Named(ErrorCode::kIo, "cannot be opened"));
  }
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0) return Fail(Named(ErrorCode::kIo, "cannot be looked at"));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const auto magic = ReadAt(file.get(), 0, kMagic.size());
  if (!magic) return Fail(Named(ErrorCode::kIo, "cannot be read"));
  // Cut off before it held anything.
  if (size < kMagic.size() && kMagic.starts_with(*magic)) return {};
  if (*magic != kMagic) return Fail(Named(ErrorCode::kCorrupt, "is no ledger of this version"));
  bytes_ = kMagic.size();
  while (bytes_ < size) {
    const auto head = ReadAt(file.get(), bytes_, kSizeBytes);
    if (!head) return Fail(Named(ErrorCode::kIo, "cannot be read"));
    const std::size_t length = schema::ReadU32(*head);
    const std::uint64_t end = bytes_ + kSizeBytes + length;
    if (head->size() < kSizeBytes || end > size) break;  // the last one, cut off
    if (length > kFrameBytesMax) return Fail(Named(ErrorCode::kCorrupt, "is damaged"));
    const auto sealed = ReadAt(file.get(), bytes_ + kSizeBytes, length);
    if (!sealed) return Fail(Named(ErrorCode::kIo, "cannot be read"));
    const auto entries = OpenFrame(frames_, *sealed);
    if (!entries) {
      if (end == size) break;  // written in part, in whatever order its pages reached the disk
      return Fail(Named(ErrorCode::kCorrupt, "is damaged"));
    }
    for (const LedgerEntry& entry : *entries) MAYFLY_RETURN_IF_ERROR(visit(entry));
    bytes_ = end;
    ++frames_;
  }
  return {};
}

std::string ForwardLedger::SealFrame(std::uint64_t number,
                                     const std::vector<LedgerEntry>& entries) const {
  codec::Encoder out(64 * entries.size() + 16);
  out.Varint(entries.size());
  for (const LedgerEntry& entry : entries) {
    out.Byte(static_cast<std::uint8_t>(entry.kind))
        .Time(entry.at)
        .String(entry.key)
        .String(entry.value);
  }
  std::string body = std::move(out).Take();
  const std::string bound = schema::U64(number);
  std::string sealed = Seal(key_, FrameContext(bound), {}, body);
  WipeString(body);
  return schema::U32(static_cast<std::uint32_t>(sealed.size())) + sealed;
}

Result<std::vector<LedgerEntry>> ForwardLedger::OpenFrame(std::uint64_t number,
                                                          std::string_view sealed) const {
  const std::string bound = schema::U64(number);
  MAYFLY_ASSIGN_OR_RETURN(const std::string body, Unseal(key_, FrameContext(bound), sealed));
  codec::Decoder in(body, "a ledger frame");
  std::vector<LedgerEntry> entries(in.Count(kEntriesMax));
  for (LedgerEntry& entry : entries) {
    entry.kind = static_cast<LedgerEntry::Kind>(in.Enum(1, 6));
    entry.at = in.Time();
    entry.key = in.String();
    entry.value = in.String();
    if (entry.kind == LedgerEntry::Kind::kGeneration && entry.value.size() != 16) in.Spoil();
  }
  MAYFLY_RETURN_IF_ERROR(in.Finish());
  return entries;
}

Status ForwardLedger::Append(const std::vector<LedgerEntry>& entries) {
  if (entries.empty()) return {};
  if (read_only_) return Fail(Named(ErrorCode::kInternal, "is opened for reading"));
  if (entries.size() > kEntriesMax) {
    for (std::size_t from = 0; from < entries.size(); from += kEntriesMax) {
      const std::size_t to = std::min(entries.size(), from + kEntriesMax);
      MAYFLY_RETURN_IF_ERROR(Append({entries.begin() + static_cast<std::ptrdiff_t>(from),
                                     entries.begin() + static_cast<std::ptrdiff_t>(to)}));
    }
    return {};
  }
  const Descriptor file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return Fail(Named(ErrorCode::kIo, "cannot be opened"));
  const bool is_new = bytes_ == 0;
  const std::string bytes = (is_new ? std::string(kMagic) : "") + SealFrame(frames_, entries);
  // What stands behind the good part is a write that was cut off.
  const bool written = ::ftruncate(file.get(), static_cast<off_t>(bytes_)) == 0 &&
                       ::lseek(file.get(), static_cast<off_t>(bytes_), SEEK_SET) >= 0 &&
                       WriteAll(file.get(), bytes) && ::fsync(file.get()) == 0;
  if (!written) return Fail(Named(ErrorCode::kIo, "cannot be written"));
  if (is_new) MAYFLY_RETURN_IF_ERROR(SyncDirectory(file_.parent_path(), true));
  bytes_ += bytes.size();
  ++frames_;
  for (const LedgerEntry& entry : entries) Note(entry);
  return {};
}

Status ForwardLedger::AppendGenerations(Generations generations, TimePoint now) {
  return Append({{.kind = LedgerEntry::Kind::kGeneration,
                  .value = schema::U64(generations.low) + schema::U64(generations.high),
                  .at = now}});
}

Status ForwardLedger::Replay(const Visitor& visit) const {
  if (bytes_ == 0) return {};
  const Descriptor file(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return Fail(Named(ErrorCode::kIo, "cannot be opened"));
  std::uint64_t at = kMagic.size();
  for (std::uint64_t number = 0; at < bytes_; ++number) {
    const auto head = ReadAt(file.get(), at, kSizeBytes);
    if (!head) return Fail(Named(ErrorCode::kIo, "cannot be read"));
    const std::size_t length = std::min<std::size_t>(schema::ReadU32(*head), kFrameBytesMax);
    const auto sealed = ReadAt(file.get(), at + kSizeBytes, length);
    if (!sealed) return Fail(Named(ErrorCode::kIo, "cannot be read"));
    MAYFLY_ASSIGN_OR_RETURN(const auto entries, OpenFrame(number, *sealed));
    for (const LedgerEntry& entry : entries) MAYFLY_RETURN_IF_ERROR(visit(entry));
    at += kSizeBytes + length;
  }
  return {};
}

Status ForwardLedger::Rewrite(const Producer& produce) {
  if (read_only_) return Fail(Named(ErrorCode::kInternal, "is opened for reading"));
  std::filesystem::path next = file_;
  next += ".new";
  std::uint64_t frames = 0;
  std::uint64_t bytes = kMagic.size();
  {
    const Descriptor file(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0 || !WriteAll(file.get(), kMagic)) {
      return Fail(Named(ErrorCode::kIo, "cannot be written anew"));
    }
    std::vector<LedgerEntry> gathered;
    MAYFLY_RETURN_IF_ERROR(produce([&](const LedgerEntry& entry) -> Status {
      gathered.push_back(entry);
      if (gathered.size() < kEntriesOfRewrite) return {};
      return Write(file.get(), &frames, &bytes, std::exchange(gathered, {}));
    }));
    MAYFLY_RETURN_IF_ERROR(Write(file.get(), &frames, &bytes, gathered));
    if (::fsync(file.get()) != 0) return Fail(Named(ErrorCode::kIo, "cannot be written anew"));
  }
  if (::rename(next.c_str(), file_.c_str()) != 0) {
    return Fail(Named(ErrorCode::kIo, "cannot be put in its place"));
  }
  frames_ = frames;
  bytes_ = bytes;
  return SyncDirectory(file_.parent_path(), true);
}

Status ForwardLedger::Write(int fd, std::uint64_t* frames, std::uint64_t* bytes,
                            const std::vector<LedgerEntry>& entries) {
  if (entries.empty()) return {};
  const std::string frame = SealFrame(*frames, entries);
  if (!WriteAll(fd, frame)) return Fail(Named(ErrorCode::kIo, "cannot be written anew"));
  ++*frames;
  *bytes += frame.size();
  for (const LedgerEntry& entry : entries) Note(entry);
  return {};
}

}  // namespace mayfly::store
