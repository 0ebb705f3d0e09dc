#include "store/keys/key_vault.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "store/keys/compression.h"
#include "store/keys/internal.h"
#include "store/keys/key_file.h"
#include "store/keys/ledger.h"
#include "store/keys/pair_cache.h"
#include "store/model/mutex.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;
using internal::WipeAtEnd;

constexpr std::uint32_t kCachedPairsMax = 16'384;

std::uint32_t DaysOf(ExpiryDay day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

Status CheckDay(ExpiryDay day) {
  const auto days = day.time_since_epoch().count();
  if (days >= 0 && days < 2'932'897) return {};  // 1970-01-01 to 9999-12-31
  return Fail(ErrorCode::kInvalidArgument, "a date outside the years 1970 to 9999");
}

Status CheckMonth(AuditMonth month) {
  if (month >= 197'001 && month <= 999'912 && month % 100 >= 1 && month % 100 <= 12) return {};
  return Fail(ErrorCode::kInvalidArgument, "an audit month that is no month");
}

Status CheckDirectory(const fs::path& dir) {
  struct stat info = {};
  if (::stat(dir.c_str(), &info) != 0) {
    const int error = errno;
    return Fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                fmt::format("cannot look at the key directory {}: {}", dir.string(),
                            std::generic_category().message(error)));
  }
  if (!S_ISDIR(info.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("the key directory {} is not a directory", dir.string()));
  }
  if ((info.st_mode & 0777) != 0700) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("the key directory {} has mode {:04o} and must be its owner's alone; "
                            "run: chmod 0700 {}",
                            dir.string(), info.st_mode & 0777, dir.string()));
  }
  if (info.st_uid != ::geteuid()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("the key directory {} belongs to another user; run: chown it to the "
                            "user of the service",
                            dir.string()));
  }
  return {};
}

// Key files of any kind in `dir`, mirrors counted once. Other names are left alone.
Result<std::vector<KeyFileId>> ListKeyFiles(const fs::path& dir) {
  std::set<std::pair<KeyFileKind, std::uint32_t>> found;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::optional<KeyFileId> id = KeyFile::ParseFileName(entry->path().filename().string());
    if (id) found.emplace(id->kind, id->number);
  }
  if (error) {
    return Fail(ErrorCode::kIo,
                fmt::format("cannot list the key directory {}: {}", dir.string(), error.message()));
  }
  std::vector<KeyFileId> ids;
  ids.reserve(found.size());
  for (const auto& [kind, number] : found) ids.push_back({kind, number});
  return ids;
}

// Whether overwriting destroys here. The root stands for the directory.
Status CheckFileSystem(const KeyVaultOptions& options) {
  if (options.any_file_system || options.read_only) return {};
  MAYFLY_ASSIGN_OR_RETURN(const FileSystemFacts facts, LookAtFileSystem(options.dir / "root.a"));
  const FileSystemVerdict verdict = Judge(facts);
  if (verdict.holds()) return {};
  return Fail(ErrorCode::kUnavailable,
              fmt::format("the key directory {} lies on {}: {}. ([keys] any_file_system = true "
                          "starts without that promise, and says so on /v1/about)",
                          options.dir.string(), verdict.name, verdict.reason));
}

// One lock of a pair. Fixed width: date, slot, generation.
std::array<std::uint8_t, 32> Lock(KeyBytes key, const char* label, std::uint32_t days, Slot slot) {
  std::array<std::uint8_t, 10> id;
  internal::Put32(id.data(), days);
  internal::Put32(id.data() + 4, slot.number);
  internal::Put16(id.data() + 8, slot.generation);
  return P32(key, label, id);
}

Result<std::array<std::uint8_t, 16>> BlindBy(KeyBytes key, const char* label,
                                             std::string_view input) {
  std::array<std::uint8_t, crypto_generichash_blake2b_PERSONALBYTES> personal = {};
  const std::size_t length = std::strlen(label);
  if (length > personal.size()) {
    return Fail(ErrorCode::kInvalidArgument, "a label is longer than 16 bytes");
  }
  std::memcpy(personal.data(), label, length);
  std::array<std::uint8_t, 16> blind;
  crypto_generichash_blake2b_salt_personal(
      blind.data(), blind.size(), reinterpret_cast<const std::uint8_t*>(input.data()), input.size(),
      key.data(), key.size(), nullptr, personal.data());
  return blind;
}

class FileKeyVault final : public KeyVault {
 public:
  FileKeyVault(const KeyVaultOptions& options, SecretKey master, SecretKey root)
      : options_(options),
        dir_(options.dir),
        sync_(options.sync),
        read_only_(options.read_only),
        master_(std::move(master)),
        root_(std::move(root)),
        ledger_(options.dir, options.sync),
        pairs_(kCachedPairsMax) {}

  // Ends an interrupted rotation, then opens every key file there is. Damage is noted with its
  // date; only the directory can fail here.
  Status LoadAll();

  Status OpenDate(ExpiryDay day) override;
  std::vector<ExpiryDay> Dates() const override;
  bool HasDate(ExpiryDay day) const override;
  Result<std::array<std::uint8_t, 16>> BlindId(ExpiryDay day, const char* label,
                                               std::string_view input) const override;
  Result<std::array<std::uint8_t, 16>> BlindUnder(ExpiryDay day, Slot slot, const char* label,
                                                  std::string_view input) const override;
  Result<Slot> TakeSlot(ExpiryDay day) override;
  Result<Pair> PairFor(ExpiryDay day, Slot slot) const override;
  Status DestroySlots(ExpiryDay day, const std::vector<Slot>& slots) override;
  Status DestroyDate(ExpiryDay day) override;
  Status UnlinkDate(ExpiryDay day) override;
  std::vector<ExpiryDay> DestroyedDates() const override;

  Result<Pair> PairForMonth(AuditMonth month) override;
  std::vector<AuditMonth> Months() const override;
  Status DestroyMonth(AuditMonth month) override;

  Status RotateMaster(const SecretKey& next) override;
  std::uint64_t Generation() const override { return ledger_.generation(); }
  FileSystemVerdict FileSystem() const override;

  Pair PurposeKey(const char* label) const override { return P32(root_.bytes(), label, {}); }

 private:
  enum class State {
    kOpen,
    kDamaged,     // `error` says how
    kDestroying,  // its keys are wiped here, and not yet proven gone on disk
    kDestroyed,   // only its marked file is left
    kUnlinked,    // nothing is left; remembered so that it is not made anew while we run
  };
  struct Entry {
    State state = State::kOpen;
    KeyFileKeys keys;  // when kOpen
    Error error;       // when kDamaged
    std::uint32_t blocks = 0;
    std::uint32_t next_block = 0;
    std::uint32_t next_slot = 0;  // to hand out, up to end_slot
    std::uint32_t end_slot = 0;
    bool write_failed = false;  // of next_block: it may hold keys that nobody was given
  };

  KeyFile FileOf(ExpiryDay day) const {
    return KeyFile(dir_, {KeyFileKind::kDate, DaysOf(day)}, sync_, read_only_);
  }
  KeyFile FileOf(AuditMonth month) const {
    return KeyFile(dir_, {KeyFileKind::kMonth, month}, sync_, read_only_);
  }
  // nullopt when there is nothing on disk that counts.
  std::optional<Entry> Load(KeyFile& file) const MAYFLY_REQUIRES(file_mutex_);
  static Entry MakeEntry(KeyFile::Opened opened);
  // The entry when it can be used, else the reason as an Error.
  Result<Entry*> FindOpen(ExpiryDay day) const MAYFLY_REQUIRES(mutex_);
  // A creation that was cut off leaves files without keys; with their date they go.
  Status UnlinkUnfinished(KeyFile file) const MAYFLY_REQUIRES(file_mutex_);
  static void EraseFromMemory(Entry& entry);

  // Before every destruction: whether overwriting this file destroys what was in it.
  Status CheckOverwriting(const KeyFile& file) const;
  // After every destruction. A failure is made up for by the next call.
  Status NoteDestruction() MAYFLY_REQUIRES(file_mutex_);
  Status MakeUpForNotes() MAYFLY_REQUIRES(file_mutex_) {
    if (note_owed_) return NoteDestruction();
    return {};
  }
  Status BeginRotation(const SecretKey& next);
  // Takes back what did not reach the root; completes what did.
  Status FinishRotation();
  KeyFile PreviousFile() const { return KeyFile(dir_, {KeyFileKind::kPrevious, 0}, sync_); }
  void Reached(RotationStep step) const {
    if (options_.rotation_fail_point) options_.rotation_fail_point(step);
  }

  const KeyVaultOptions options_;
  const fs::path dir_;
  const bool sync_;
  const bool read_only_;

  Mutex rotation_mutex_;  // taken before the others
  // Taken first. Held during every use of a key file, so for milliseconds while one is synced.
  mutable Mutex file_mutex_;
  SecretKey master_ MAYFLY_GUARDED_BY(file_mutex_);
  const SecretKey root_;
  Ledger ledger_;
  bool note_owed_ MAYFLY_GUARDED_BY(file_mutex_) = false;
  // Never held during I/O. Entries and their keys are added, wiped and removed only with both locks
  // held, so whoever holds file_mutex_ may go on using the keys of an entry without this one.
  mutable Mutex mutex_;
  mutable std::map<ExpiryDay, Entry> dates_ MAYFLY_GUARDED_BY(mutex_);
  mutable std::map<AuditMonth, Entry> months_ MAYFLY_GUARDED_BY(mutex_);
  mutable PairCache pairs_ MAYFLY_GUARDED_BY(mutex_);
};

FileKeyVault::Entry FileKeyVault::MakeEntry(KeyFile::Opened opened) {
  Entry entry;
  entry.keys = std::move(opened.keys);
  entry.blocks = opened.blocks;
  entry.next_block = opened.next_block;
  return entry;
}

std::optional<FileKeyVault::Entry> FileKeyVault::Load(KeyFile& file) const {
  Result<KeyFile::Opened> opened = file.Open(master_);
  Entry entry;
  if (!opened) {
    entry.state = State::kDamaged;
    entry.error = std::move(opened).error();
    // The root has opened, so the master key is the right one and this file is the odd one out.
    if (entry.error.code == ErrorCode::kSealed) entry.error.code = ErrorCode::kCorrupt;
    return entry;
  }
  switch (opened->state) {
    case KeyFile::State::kAbsent:
    case KeyFile::State::kUnfinished:
      return std::nullopt;
    case KeyFile::State::kWhole:
      return MakeEntry(*std::move(opened));
    case KeyFile::State::kDestroyed:
      entry.state = State::kDestroyed;
      return entry;
    case KeyFile::State::kHalfDestroyed:
      entry.state = State::kDestroying;
      return entry;
  }
  return std::nullopt;
}

Status FileKeyVault::LoadAll() {
  // Without its file of the old key a rotation cannot be finished; what it had not reached is
  // listed as damaged, and the rest works.
  if (!read_only_) {
    const Status finished = FinishRotation();
    if (!finished && finished.error().code != ErrorCode::kCorrupt) return finished;
  }
  const MutexLock files(file_mutex_);
  MAYFLY_RETURN_IF_ERROR(ledger_.Load(root_.bytes()));
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<KeyFileId> ids, ListKeyFiles(dir_));
  for (const KeyFileId id : ids) {
    if (id.kind != KeyFileKind::kDate && id.kind != KeyFileKind::kMonth) continue;
    KeyFile file(dir_, id, sync_, read_only_);
    std::optional<Entry> entry = Load(file);
    if (!entry) continue;
    // Whoever destroyed it may have died before it was noted.
    if (entry->state == State::kDestroyed) note_owed_ = true;
    const MutexLock lock(mutex_);
    if (id.kind == KeyFileKind::kDate) {
      dates_[ExpiryDay(std::chrono::days(id.number))] = *std::move(entry);
    } else {
      // A destroyed month is unlinked by whoever destroys it again; until then it is listed.
      if (entry->state == State::kDestroyed) entry->state = State::kDestroying;
      months_[id.number] = *std::move(entry);
    }
  }
  // On a disk that takes no writes it stays owed, and the next destruction fails for it.
  if (!read_only_) (void)MakeUpForNotes();
  return {};
}

FileSystemVerdict FileKeyVault::FileSystem() const {
  const auto facts = LookAtFileSystem(dir_ / "root.a");
  if (facts) return Judge(*facts);
  return {.name = "an unknown file system", .reason = facts.error().message};
}

Status FileKeyVault::CheckOverwriting(const KeyFile& file) const {
  if (options_.any_file_system) return {};
  for (int m = 0; m < 2; ++m) {
    const auto facts = LookAtFileSystem(file.MirrorPath(m));
    if (!facts && facts.error().code == ErrorCode::kNotFound) continue;
    if (!facts) return Fail(facts.error());
    const FileSystemVerdict verdict = Judge(*facts);
    if (verdict.holds()) continue;
    return Fail(ErrorCode::kUnavailable,
                fmt::format("key file {} lies on {}: {}. Nothing was overwritten. "
                            "([keys] any_file_system = true goes on without that promise)",
                            file.MirrorPath(m).string(), verdict.name, verdict.reason));
  }
  return {};
}

Status FileKeyVault::NoteDestruction() {
  note_owed_ = true;
  MAYFLY_RETURN_IF_ERROR(ledger_.Raise(root_.bytes()));
  note_owed_ = false;
  return {};
}

Status FileKeyVault::RotateMaster(const SecretKey& next) {
  const MutexLock rotating(rotation_mutex_);
  MAYFLY_RETURN_IF_ERROR(FinishRotation());
  MAYFLY_RETURN_IF_ERROR(BeginRotation(next));
  return FinishRotation();
}

Status FileKeyVault::BeginRotation(const SecretKey& next) {
  const MutexLock files(file_mutex_);
  if (sodium_memcmp(next.bytes().data(), master_.bytes().data(), 32) == 0) return {};
  KeyFile previous = PreviousFile();
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<KeyFileId> ids, ListKeyFiles(dir_));
  for (const KeyFileId id : ids) {
    MAYFLY_RETURN_IF_ERROR(CheckOverwriting(KeyFile(dir_, id, sync_)));
  }
  MAYFLY_RETURN_IF_ERROR(previous.Create(
      next, {.first = SecretKey::FromBytes(master_.bytes()), .second = SecretKey::Random()}));
  Reached(RotationStep::kPreviousWritten);
  KeyFile root(dir_, {KeyFileKind::kRoot, 0}, sync_);
  MAYFLY_RETURN_IF_ERROR(
      root.Rewrap(master_, next, [&](int) { Reached(RotationStep::kRootWrapped); }));
  master_ = SecretKey::FromBytes(next.bytes());
  return {};
}

Status FileKeyVault::FinishRotation() {
  KeyFile previous = PreviousFile();
  Result<KeyFile::Opened> opened = KeyFile::Opened();
  std::vector<KeyFileId> ids;
  {
    const MutexLock files(file_mutex_);
    opened = previous.Open(master_);
    if (opened && opened->state == KeyFile::State::kAbsent) return {};
    // It is the old key under a new one that we do not have: the root was not reached. A root that
    // was reached in one mirror is put right first, so that no other key opens it any more.
    if (!opened && opened.error().code != ErrorCode::kSealed) return Fail(opened.error());
    if (!opened) {
      KeyFile root(dir_, {KeyFileKind::kRoot, 0}, sync_);
      MAYFLY_RETURN_IF_ERROR(root.Open(master_));
    }
    MAYFLY_ASSIGN_OR_RETURN(ids, ListKeyFiles(dir_));
  }
  if (opened && opened->state == KeyFile::State::kWhole) {
    for (const KeyFileId id : ids) {
      if (id.kind != KeyFileKind::kDate && id.kind != KeyFileKind::kMonth) continue;
      const MutexLock files(file_mutex_);
      const Status wrapped = KeyFile(dir_, id, sync_).Rewrap(opened->keys.first, master_, [&](int) {
        Reached(RotationStep::kFileWrapped);
      });
      // A file that nothing opens was damaged before; it is listed with its date.
      if (!wrapped && wrapped.error().code != ErrorCode::kCorrupt) return wrapped;
    }
  }
  const MutexLock files(file_mutex_);
  MAYFLY_RETURN_IF_ERROR(previous.Destroy());
  Reached(RotationStep::kPreviousDestroyed);
  return previous.Unlink();
}

Result<FileKeyVault::Entry*> FileKeyVault::FindOpen(ExpiryDay day) const {
  const auto found = dates_.find(day);
  if (found == dates_.end()) {
    return Fail(ErrorCode::kExpired, fmt::format("there is no key for {}", FormatDay(day)));
  }
  if (found->second.state == State::kOpen) return &found->second;
  if (found->second.state == State::kDamaged) return Fail(found->second.error);
  return Fail(ErrorCode::kExpired, fmt::format("the key for {} is destroyed", FormatDay(day)));
}

Status FileKeyVault::OpenDate(ExpiryDay day) {
  MAYFLY_RETURN_IF_ERROR(CheckDay(day));
  const MutexLock files(file_mutex_);
  {
    const MutexLock lock(mutex_);
    if (dates_.contains(day)) {
      MAYFLY_RETURN_IF_ERROR(FindOpen(day));
      return {};
    }
  }
  KeyFile file = FileOf(day);
  std::optional<Entry> entry = Load(file);
  if (!entry) {
    MAYFLY_ASSIGN_OR_RETURN(KeyFile::Opened created, file.Create(master_));
    entry = MakeEntry(std::move(created));
  }
  const MutexLock lock(mutex_);
  dates_[day] = *std::move(entry);
  MAYFLY_RETURN_IF_ERROR(FindOpen(day));
  return {};
}

std::vector<ExpiryDay> FileKeyVault::Dates() const {
  const MutexLock lock(mutex_);
  std::vector<ExpiryDay> days;
  for (const auto& [day, entry] : dates_) {
    if (entry.state != State::kDestroyed && entry.state != State::kUnlinked) days.push_back(day);
  }
  return days;
}

bool FileKeyVault::HasDate(ExpiryDay day) const {
  const MutexLock lock(mutex_);
  const auto found = dates_.find(day);
  return found != dates_.end() && found->second.state != State::kDestroyed &&
         found->second.state != State::kUnlinked;
}

Result<std::array<std::uint8_t, 16>> FileKeyVault::BlindId(ExpiryDay day, const char* label,
                                                           std::string_view input) const {
  const MutexLock lock(mutex_);
  MAYFLY_ASSIGN_OR_RETURN(const Entry* const entry, FindOpen(day));
  return BlindBy(entry->keys.second.bytes(), label, input);
}

Result<std::array<std::uint8_t, 16>> FileKeyVault::BlindUnder(ExpiryDay day, Slot slot,
                                                              const char* label,
                                                              std::string_view input) const {
  MAYFLY_ASSIGN_OR_RETURN(Pair pair, PairFor(day, slot));
  const WipeAtEnd wipe(pair.data(), pair.size());
  return BlindBy(KeyBytes(pair), label, input);
}

Result<Slot> FileKeyVault::TakeSlot(ExpiryDay day) {
  const auto take = [](Entry& entry) -> std::optional<Slot> {
    if (entry.next_slot == entry.end_slot) return std::nullopt;
    return Slot{.number = entry.next_slot++, .generation = kGeneration};
  };
  {
    const MutexLock lock(mutex_);
    MAYFLY_ASSIGN_OR_RETURN(Entry* const entry, FindOpen(day));
    if (const std::optional<Slot> slot = take(*entry)) return *slot;
  }
  const MutexLock files(file_mutex_);
  Entry* entry = nullptr;
  std::uint32_t block = 0;
  std::uint32_t blocks = 0;
  bool again = false;
  {
    const MutexLock lock(mutex_);
    MAYFLY_ASSIGN_OR_RETURN(entry, FindOpen(day));
    if (const std::optional<Slot> slot = take(*entry)) return *slot;  // somebody was faster
    block = entry->next_block;
    blocks = entry->blocks;
    again = entry->write_failed;
  }
  KeyFile file = FileOf(day);
  const Status written = file.WriteBlock(entry->keys.first, block, again, &blocks);
  const MutexLock lock(mutex_);
  entry->blocks = blocks;
  entry->write_failed = !written;
  if (!written) return Fail(written.error());
  entry->next_block = block + 1;
  entry->next_slot = block * kSlotsPerBlock;
  entry->end_slot = entry->next_slot + kSlotsPerBlock;
  return *take(*entry);
}

Result<Pair> FileKeyVault::PairFor(ExpiryDay day, Slot slot) const {
  Pair pair = {};
  const WipeAtEnd wipe_pair(pair.data(), pair.size());
  {
    const MutexLock lock(mutex_);
    MAYFLY_RETURN_IF_ERROR(FindOpen(day));
    if (pairs_.Find(DaysOf(day), slot, &pair)) return pair;
  }
  const MutexLock files(file_mutex_);
  const Entry* entry = nullptr;
  {
    const MutexLock lock(mutex_);
    MAYFLY_ASSIGN_OR_RETURN(entry, FindOpen(day));
    if (pairs_.Find(DaysOf(day), slot, &pair)) return pair;
    if (slot.number / kSlotsPerBlock >= entry->next_block) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("key file {} has no slot {}", (dir_ / FileOf(day).name()).string(),
                              slot.number));
    }
  }
  std::array<std::uint8_t, 32> subject_key;
  const WipeAtEnd wipe_subject(subject_key.data(), subject_key.size());
  MAYFLY_RETURN_IF_ERROR(FileOf(day).ReadSubjectKey(entry->keys.first, slot, &subject_key));
  pair = Lock(entry->keys.first.bytes(), "mf-pair-d1", DaysOf(day), slot);
  auto other = Lock(KeyBytes(subject_key), "mf-pair-s1", DaysOf(day), slot);
  const WipeAtEnd wipe_other(other.data(), other.size());
  for (std::size_t i = 0; i < pair.size(); ++i) pair[i] ^= other[i];
  const MutexLock lock(mutex_);
  pairs_.Insert(DaysOf(day), slot, pair);
  return pair;
}

Status FileKeyVault::DestroySlots(ExpiryDay day, const std::vector<Slot>& slots) {
  const MutexLock files(file_mutex_);
  {
    const MutexLock lock(mutex_);
    const auto found = dates_.find(day);
    // With its date gone, a slot is gone.
    if (found == dates_.end() || found->second.state == State::kDestroyed ||
        found->second.state == State::kUnlinked) {
      return {};
    }
    for (const Slot slot : slots) {
      if (slot.number >= kSlotsMax || (found->second.state == State::kOpen &&
                                       slot.number / kSlotsPerBlock >= found->second.next_block)) {
        return Fail(ErrorCode::kInvalidArgument,
                    fmt::format("key file {} has no slot {}", (dir_ / FileOf(day).name()).string(),
                                slot.number));
      }
      pairs_.Remove(DaysOf(day), slot);
    }
  }
  KeyFile file = FileOf(day);
  MAYFLY_RETURN_IF_ERROR(CheckOverwriting(file));
  internal::ForgetCompressed();
  MAYFLY_RETURN_IF_ERROR(file.DestroySlots(slots));
  return NoteDestruction();
}

Status FileKeyVault::UnlinkUnfinished(KeyFile file) const {
  MAYFLY_ASSIGN_OR_RETURN(const KeyFile::Opened opened, file.Open(master_));
  if (opened.state == KeyFile::State::kUnfinished) return file.Unlink();
  return {};
}

void FileKeyVault::EraseFromMemory(Entry& entry) {
  entry.keys = {};
  entry.next_slot = 0;
  entry.end_slot = 0;
  entry.state = State::kDestroying;
}

Status FileKeyVault::DestroyDate(ExpiryDay day) {
  MAYFLY_RETURN_IF_ERROR(CheckDay(day));
  const MutexLock files(file_mutex_);
  bool known = false;
  bool gone = false;
  {
    // Memory first: whatever the disk says, nothing of this date is readable here any more.
    const MutexLock lock(mutex_);
    const auto found = dates_.find(day);
    if (found != dates_.end()) {
      gone = found->second.state == State::kDestroyed || found->second.state == State::kUnlinked;
      if (!gone) {
        EraseFromMemory(found->second);
        pairs_.RemoveDate(DaysOf(day));
      }
      known = true;
    }
  }
  internal::ForgetCompressed();
  if (gone) return MakeUpForNotes();
  KeyFile file = FileOf(day);
  if (!known) return UnlinkUnfinished(file);
  MAYFLY_RETURN_IF_ERROR(CheckOverwriting(file));
  MAYFLY_RETURN_IF_ERROR(file.Destroy());
  {
    const MutexLock lock(mutex_);
    dates_[day].state = State::kDestroyed;
  }
  return NoteDestruction();
}

Status FileKeyVault::UnlinkDate(ExpiryDay day) {
  MAYFLY_RETURN_IF_ERROR(CheckDay(day));
  const MutexLock files(file_mutex_);
  {
    const MutexLock lock(mutex_);
    const auto found = dates_.find(day);
    if (found == dates_.end() || found->second.state == State::kUnlinked) return {};
    if (found->second.state != State::kDestroyed) {
      return Fail(ErrorCode::kInternal,
                  fmt::format("the key for {} is not destroyed yet", FormatDay(day)));
    }
  }
  MAYFLY_RETURN_IF_ERROR(FileOf(day).Unlink());
  internal::ForgetCompressed();  // what was being read when the keys went has been read by now
  const MutexLock lock(mutex_);
  dates_[day].state = State::kUnlinked;
  return {};
}

std::vector<ExpiryDay> FileKeyVault::DestroyedDates() const {
  const MutexLock lock(mutex_);
  std::vector<ExpiryDay> days;
  for (const auto& [day, entry] : dates_) {
    if (entry.state == State::kDestroyed) days.push_back(day);
  }
  return days;
}

Result<Pair> FileKeyVault::PairForMonth(AuditMonth month) {
  MAYFLY_RETURN_IF_ERROR(CheckMonth(month));
  std::array<std::uint8_t, 4> id;
  internal::Put32(id.data(), month);
  const auto pair_of = [&](const Entry& entry) -> Result<Pair> {
    if (entry.state == State::kDamaged) return Fail(entry.error);
    if (entry.state != State::kOpen) {
      return Fail(ErrorCode::kExpired, fmt::format("the key for month {} is destroyed", month));
    }
    return P32(entry.keys.first.bytes(), "mf-month-1", id);
  };
  {
    const MutexLock lock(mutex_);
    const auto found = months_.find(month);
    if (found != months_.end()) return pair_of(found->second);
  }
  const MutexLock files(file_mutex_);
  {
    const MutexLock lock(mutex_);
    const auto found = months_.find(month);
    if (found != months_.end()) return pair_of(found->second);
  }
  KeyFile file = FileOf(month);
  std::optional<Entry> entry = Load(file);
  if (!entry) {
    MAYFLY_ASSIGN_OR_RETURN(KeyFile::Opened created, file.Create(master_));
    entry = MakeEntry(std::move(created));
  }
  const MutexLock lock(mutex_);
  return pair_of(months_[month] = *std::move(entry));
}

std::vector<AuditMonth> FileKeyVault::Months() const {
  const MutexLock lock(mutex_);
  std::vector<AuditMonth> months;
  for (const auto& [month, entry] : months_) {
    if (entry.state != State::kUnlinked) months.push_back(month);
  }
  return months;
}

Status FileKeyVault::DestroyMonth(AuditMonth month) {
  MAYFLY_RETURN_IF_ERROR(CheckMonth(month));
  const MutexLock files(file_mutex_);
  bool known = false;
  {
    const MutexLock lock(mutex_);
    const auto found = months_.find(month);
    if (found != months_.end()) {
      if (found->second.state == State::kUnlinked) return {};
      EraseFromMemory(found->second);
      known = true;
    }
  }
  if (!known) return UnlinkUnfinished(FileOf(month));
  KeyFile file = FileOf(month);
  MAYFLY_RETURN_IF_ERROR(CheckOverwriting(file));
  MAYFLY_RETURN_IF_ERROR(file.Destroy());
  MAYFLY_RETURN_IF_ERROR(NoteDestruction());
  MAYFLY_RETURN_IF_ERROR(file.Unlink());
  const MutexLock lock(mutex_);
  months_[month].state = State::kUnlinked;
  return {};
}

}  // namespace

Status CreateKeyVault(const KeyVaultOptions& options, const SecretKey& master) {
  internal::EnsureSodium();
  if (::mkdir(options.dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return Fail(ErrorCode::kIo,
                fmt::format("cannot create the key directory {}: {}", options.dir.string(),
                            std::generic_category().message(errno)));
  }
  MAYFLY_RETURN_IF_ERROR(CheckDirectory(options.dir));
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<KeyFileId> ids, ListKeyFiles(options.dir));
  KeyFile root(options.dir, {KeyFileKind::kRoot, 0}, options.sync);
  const auto exists = [&] {
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} holds keys already; they are never overwritten", options.dir.string()));
  };
  for (const KeyFileId id : ids) {
    if (id.kind != KeyFileKind::kRoot) return exists();
  }
  const Result<KeyFile::Opened> opened = root.Open(master);
  if (!opened && opened.error().code == ErrorCode::kIo) return Fail(opened.error());
  if (!opened ||
      (opened->state != KeyFile::State::kAbsent && opened->state != KeyFile::State::kUnfinished)) {
    return exists();
  }
  MAYFLY_ASSIGN_OR_RETURN(const KeyFile::Opened created, root.Create(master));
  MAYFLY_RETURN_IF_ERROR(CheckFileSystem(options));
  Ledger ledger(options.dir, options.sync);
  MAYFLY_RETURN_IF_ERROR(ledger.Raise(created.keys.first.bytes()));
  // The directory's own name, in case it is new.
  return SyncDirectory(options.dir.has_parent_path() ? options.dir.parent_path() : ".",
                       options.sync);
}

Result<std::unique_ptr<KeyVault>> OpenKeyVault(const KeyVaultOptions& options, SecretKey master) {
  internal::EnsureSodium();
  MAYFLY_RETURN_IF_ERROR(CheckDirectory(options.dir));
  KeyFile root(options.dir, {KeyFileKind::kRoot, 0}, options.sync, options.read_only);
  MAYFLY_ASSIGN_OR_RETURN(KeyFile::Opened opened, root.Open(master));
  switch (opened.state) {
    case KeyFile::State::kWhole:
      break;
    case KeyFile::State::kAbsent: {
      MAYFLY_ASSIGN_OR_RETURN(const std::vector<KeyFileId> ids, ListKeyFiles(options.dir));
      if (ids.empty()) {
        return Fail(ErrorCode::kNotFound,
                    fmt::format("there are no keys in {} yet; create them with: mayfly init",
                                options.dir.string()));
      }
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("key file {} is missing", (options.dir / "root").string()));
    }
    case KeyFile::State::kUnfinished:
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("key file {} was never finished; if this is a new installation, run "
                              "mayfly init again",
                              (options.dir / "root").string()));
    case KeyFile::State::kDestroyed:
    case KeyFile::State::kHalfDestroyed:
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("key file {} is destroyed", (options.dir / "root").string()));
  }
  MAYFLY_RETURN_IF_ERROR(CheckFileSystem(options));
  std::error_code error;
  if (options.read_only && fs::exists(options.dir / "previous.a", error)) {
    return Fail(ErrorCode::kUnavailable,
                "the master key is being replaced; try again when that has ended");
  }
  auto vault =
      std::make_unique<FileKeyVault>(options, std::move(master), std::move(opened.keys.first));
  MAYFLY_RETURN_IF_ERROR(vault->LoadAll());
  return std::unique_ptr<KeyVault>(std::move(vault));
}

}  // namespace mayfly::store
