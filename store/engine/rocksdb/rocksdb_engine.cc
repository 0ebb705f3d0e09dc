#include "store/engine/rocksdb/rocksdb_engine.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/iterator.h>
#include <rocksdb/listener.h>
#include <rocksdb/metadata.h>
#include <rocksdb/options.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/status.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include "store/engine/key_range.h"
#include "store/keys/descriptor.h"
#include "store/model/mutex.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTotalLogBytesMax = 64u << 20;
constexpr int kOpenFilesMax = 512;  // stays below the usual limit of 1,024 descriptors
constexpr std::chrono::seconds kResumeInterval(1);
// How long a drop and a release wait for files that RocksDB is still letting go of.
constexpr int kUnlinkAttempts = 200;
constexpr int kManifestAttempts = 20;
constexpr int kNudgeAttempt = 4;
constexpr std::chrono::milliseconds kUnlinkPause(25);
// On a full disk a drop still has to write a new manifest and options file, and RocksDB the live
// rows in memory, before it lets go of anything. A file of ours keeps the room for both, and the
// ballast.
constexpr const char* kReserveName = "reserve";
constexpr std::size_t kReserveForDrop = 4u << 20;
// Commits end while there is still room for what they began: RocksDB cannot go on with a log that
// it failed to write, whatever Resume says (its issue 11643).
constexpr std::size_t kRoomForLogs = 8u << 20;

// Rows of the default family, one for each date whose two containers have exchanged their names.
constexpr std::string_view kSwapped = "swapped/";
constexpr const char* kOptionsPrefix = "OPTIONS-";

constexpr const char* kNoRoom = "disk full: the store takes no more";
constexpr const char* kLogFailed = "the log could not be written, open the store anew";

// --- errors

Error FromRocks(const rocksdb::Status& status, const std::string& doing) {
  ErrorCode code = ErrorCode::kIo;
  if (status.IsCorruption()) code = ErrorCode::kCorrupt;
  if (status.IsColumnFamilyDropped()) code = ErrorCode::kExpired;
  if (status.IsShutdownInProgress()) code = ErrorCode::kUnavailable;
  if (status.IsInvalidArgument() || status.IsNotSupported()) code = ErrorCode::kInternal;
  // RocksDB names files and system errors here, and withholds keys (allow_data_in_errors is off).
  return Error{
      .code = code,
      .message = doing + ": " + (status.IsNoSpace() ? "disk full: " : "") + status.ToString()};
}

tl::unexpected<Error> Absent(Family family) {
  return Fail(ErrorCode::kExpired, "there is no family " + family.Name());
}
tl::unexpected<Error> Closed(Family family) {
  return Fail(ErrorCode::kExpired, "family " + family.Name() + " is closed");
}
tl::unexpected<Error> SysStays() {
  return Fail(ErrorCode::kInvalidArgument, "family sys can be neither closed nor dropped");
}

// --- what RocksDB calls back

// Without a logger of ours RocksDB writes a LOG file, which holds key bounds as hex.
class NoLog final : public rocksdb::Logger {
 public:
  NoLog() : Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
  void LogHeader(const char*, va_list) override {}
};

// Remembers a background error until the engine has resumed.
class Watch final : public rocksdb::EventListener {
 public:
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override {
    MutexLock lock(mutex_);
    ++errors_;
    if (reason == rocksdb::BackgroundErrorReason::kWriteCallback ||
        reason == rocksdb::BackgroundErrorReason::kMemTable) {
      log_failed_ = true;
    }
    // As RocksDB does: a failed compaction does not hide that writes are stopped.
    if (error_.ok() || error->severity() > error_.severity()) error_ = *error;
  }
  // We resume ourselves, in the moment when a drop or a commit has use for it. RocksDB would look
  // for free space every few seconds on a thread of its own, and refuse us meanwhile.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
  rocksdb::Status error() const {
    MutexLock lock(mutex_);
    return error_;
  }
  // The log could not be written. Only opening anew helps.
  bool log_failed() const {
    MutexLock lock(mutex_);
    return log_failed_;
  }
  int errors() const {
    MutexLock lock(mutex_);
    return errors_;
  }
  // Unless there was another error since `errors` were counted.
  void ClearIf(int errors) {
    MutexLock lock(mutex_);
    if (errors_ == errors) error_ = rocksdb::Status::OK();
  }

 private:
  mutable Mutex mutex_;
  int errors_ MAYFLY_GUARDED_BY(mutex_) = 0;
  bool log_failed_ MAYFLY_GUARDED_BY(mutex_) = false;
  rocksdb::Status error_ MAYFLY_GUARDED_BY(mutex_);
};

// --- options

rocksdb::DBOptions DbOptions(const RocksDbOptions& options, std::shared_ptr<Watch> watch) {
  rocksdb::DBOptions db;
  db.create_if_missing = options.create_if_missing;
  db.create_missing_column_families = true;  // `sys`, in a new store
  db.paranoid_checks = true;
  db.db_write_buffer_size = options.write_buffer_bytes;
  db.max_open_files = kOpenFilesMax;
  db.max_background_jobs = 2;
  // What has been written must be able to go: no archive, no reuse, logs bounded, and a manifest
  // that starts afresh with every change, since it holds the first and last key of every table.
  db.WAL_ttl_seconds = 0;
  db.WAL_size_limit_MB = 0;
  db.recycle_log_file_num = 0;
  db.max_total_wal_size = kTotalLogBytesMax;
  db.max_manifest_file_size = 1;
  db.manifest_preallocation_size = 64u << 10;
  db.allow_fallocate = false;  // a store close to a full disk reserves nothing
  // A drop has to have unlinked its files when it returns, so they are not left to a later moment.
  db.avoid_unnecessary_blocking_io = false;
  db.info_log = std::make_shared<NoLog>();
  db.info_log_level = rocksdb::InfoLogLevel::FATAL_LEVEL;
  db.keep_log_file_num = 2;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.allow_mmap_reads = false;
  db.allow_mmap_writes = false;
  db.listeners.push_back(std::move(watch));
  return db;
}

rocksdb::ColumnFamilyOptions FamilyOptions(const RocksDbOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.cache_index_and_filter_blocks = true;  // inside the one bound
  table.filter_policy.reset(
      rocksdb::NewBloomFilterPolicy(10, false));  // dedup asks for absent keys
  table.format_version = 5;                       // the same files with RocksDB 7 and 9

  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.compression = rocksdb::kNoCompression;  // sealed records do not compress
  family.bottommost_compression = rocksdb::kNoCompression;
  family.write_buffer_size = options.write_buffer_bytes;
  // Dedup and look-ups of new conversations ask every date for keys that are not there. 32 KiB for
  // each of about 93 families say so without a search; only in memory, like the rows themselves.
  family.memtable_prefix_bloom_size_ratio = 0.001;
  family.memtable_whole_key_filtering = true;
  family.arena_block_size = 64u << 10;  // by default 1 MiB for each of about 93 families
  family.level_compaction_dynamic_level_bytes = true;
  return family;
}

// --- handles

struct HandleDeleter {
  rocksdb::DB* db = nullptr;
  void operator()(rocksdb::ColumnFamilyHandle* handle) const {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();  // fails for null only
  }
};
using Handle = std::unique_ptr<rocksdb::ColumnFamilyHandle, HandleDeleter>;

struct FamilyState {
  Handle handle;
  bool closed = false;    // refuses commits
  bool dropping = false;  // refuses reads too
  int readers = 0;
  int writers = 0;
};

// Ends one DisableFileDeletions. By default RocksDB 7 ends all of them at once, its own too, with
// which it keeps the manifest that CURRENT names when the one after it could not be written: that
// manifest was then removed, and the store did not open any more.
template <class Db>
rocksdb::Status AllowFileDeletions(Db& db) {
  if constexpr (requires { db.EnableFileDeletions(/*force=*/false); }) {
    return db.EnableFileDeletions(/*force=*/false);
  } else {
    return db.EnableFileDeletions();  // RocksDB 9 has no other
  }
}

// --- commits side by side

// Admits commits together, so that RocksDB writes them as one group, unless one has a condition on
// a key that the other changes.
class KeyGate {
 public:
  class Hold {
   public:
    // `batch` outlives the hold.
    Hold(KeyGate& gate, const Batch& batch) : gate_(gate), batch_(batch) { gate_.Enter(*this); }
    ~Hold() { gate_.Leave(*this); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    friend class KeyGate;
    KeyGate& gate_;
    const Batch& batch_;
  };

 private:
  static bool Asks(const Batch& asking, const Batch& changing) {
    for (const Condition& condition : asking.conditions) {
      const bool changed =
          std::any_of(changing.changes.begin(), changing.changes.end(), [&](const Change& change) {
            return change.family == condition.family && change.key == condition.key;
          });
      if (changed) return true;
    }
    return false;
  }

  // Few commits are under way at once, and few of them have conditions.
  bool Conflicts(const Hold& hold) const MAYFLY_REQUIRES(mutex_) {
    return std::any_of(holds_.begin(), holds_.end(), [&](const Hold* other) {
      return Asks(hold.batch_, other->batch_) || Asks(other->batch_, hold.batch_);
    });
  }

  void Enter(const Hold& hold) {
    MutexLock lock(mutex_);
    while (Conflicts(hold)) {
      ++waiting_;
      left_.wait(mutex_);
      --waiting_;
    }
    holds_.push_back(&hold);
  }

  void Leave(const Hold& hold) {
    MutexLock lock(mutex_);
    std::erase(holds_, &hold);
    if (waiting_ > 0) left_.notify_all();
  }

  Mutex mutex_;
  std::condition_variable_any left_;
  int waiting_ MAYFLY_GUARDED_BY(mutex_) = 0;
  std::vector<const Hold*> holds_ MAYFLY_GUARDED_BY(mutex_);
};

// --- reading a range

// ReadOptions refer to their bounds, so both live here and stay in place.
class RangeRead {
 public:
  RangeRead(KeyRange range, const rocksdb::Snapshot* snapshot) : range_(std::move(range)) {
    begin_ = range_.begin;
    options_.iterate_lower_bound = &begin_;
    if (range_.end) {
      end_ = *range_.end;
      options_.iterate_upper_bound = &end_;
    }
    options_.snapshot = snapshot;
  }
  RangeRead(const RangeRead&) = delete;
  RangeRead& operator=(const RangeRead&) = delete;
  const rocksdb::ReadOptions& options() const { return options_; }

 private:
  KeyRange range_;
  rocksdb::Slice begin_, end_;
  rocksdb::ReadOptions options_;
};

class Walk {
 public:
  Walk(Family family, std::unique_ptr<rocksdb::Iterator> at, bool reverse)
      : family_(family), at_(std::move(at)), reverse_(reverse) {
    if (reverse_) {
      at_->SeekToLast();  // the last one within the bounds
    } else {
      at_->SeekToFirst();
    }
  }
  Family family() const { return family_; }
  bool valid() const { return at_->Valid(); }
  std::string_view key() const { return at_->key().ToStringView(); }
  std::string_view value() const { return at_->value().ToStringView(); }
  void Next() {
    if (reverse_) {
      at_->Prev();
    } else {
      at_->Next();
    }
  }
  Status status() const {
    const rocksdb::Status status = at_->status();
    if (!status.ok()) return Fail(FromRocks(status, "scan of family " + family_.Name()));
    return {};
  }

 private:
  Family family_;
  std::unique_ptr<rocksdb::Iterator> at_;
  bool reverse_;
};

// Walks over several families, merged by key. A family is opened only when the merge has come to
// its `not_before`: stepping over what was removed from it can cost more than all the rest.
class Merge {
 public:
  using Open = std::function<std::unique_ptr<rocksdb::Iterator>()>;

  explicit Merge(bool reverse) : reverse_(reverse) {}

  // `order` decides between equal keys.
  void Add(std::size_t order, const MergeSource& source, Open open) {
    waiting_.push_back({order, source.not_before, source.family, std::move(open)});
    std::push_heap(waiting_.begin(), waiting_.end(), Later{});
  }

  // The walk that stands at the next entry, or null at the end. Valid until the next call.
  Result<Walk*> Next() {
    if (current_) {
      current_->walk.Next();
      Arrived arrived = *std::exchange(current_, std::nullopt);
      MAYFLY_RETURN_IF_ERROR(Take(std::move(arrived)));
    }
    while (!waiting_.empty() &&
           (walks_.empty() || waiting_.front().not_before <= walks_.front().walk.key())) {
      std::pop_heap(waiting_.begin(), waiting_.end(), Later{});
      const Waiting next = std::move(waiting_.back());
      waiting_.pop_back();
      MAYFLY_RETURN_IF_ERROR(
          Take({.order = next.order, .walk = Walk(next.family, next.open(), reverse_)}));
    }
    if (walks_.empty()) return nullptr;
    std::pop_heap(walks_.begin(), walks_.end(), Behind{reverse_});
    current_ = std::move(walks_.back());
    walks_.pop_back();
    return &current_->walk;
  }

 private:
  struct Waiting {
    std::size_t order;
    std::string not_before;
    Family family;
    Open open;
  };
  struct Later {
    bool operator()(const Waiting& a, const Waiting& b) const {
      return a.not_before != b.not_before ? a.not_before > b.not_before : a.order > b.order;
    }
  };
  struct Arrived {
    std::size_t order;
    Walk walk;
  };
  struct Behind {
    bool reverse;
    bool operator()(const Arrived& a, const Arrived& b) const {
      const int order = a.walk.key().compare(b.walk.key());
      if (order == 0) return a.order > b.order;
      return reverse ? order < 0 : order > 0;
    }
  };

  Status Take(Arrived arrived) {
    if (!arrived.walk.valid()) return arrived.walk.status();
    walks_.push_back(std::move(arrived));
    std::push_heap(walks_.begin(), walks_.end(), Behind{reverse_});
    return {};
  }

  const bool reverse_;
  std::vector<Waiting> waiting_;  // a heap, the smallest `not_before` in front
  std::vector<Arrived> walks_;    // a heap of those that are not at their end
  std::optional<Arrived> current_;
};

// --- room on the disk

std::function<DiskRoom()> RoomOf(const RocksDbOptions& options) {
  return [dir = options.dir, source = options.room] {
    if (source) {
      if (const std::optional<DiskRoom> said = source()) return *said;
    }
    std::error_code error;
    const fs::space_info space = fs::space(dir, error);
    if (error) return DiskRoom{};
    return DiskRoom{.available = space.available, .capacity = space.capacity};
  };
}

std::uint64_t LastPartOf(const RocksDbOptions& options) {
  return options.write_buffer_bytes + kReserveForDrop;
}

// The file that keeps room: the ballast, and before it the last part. Thread-safe.
class Reserve {
 public:
  Reserve(const fs::path& dir, std::uint64_t ballast, std::uint64_t last)
      : path_(dir / kReserveName), ballast_(ballast), last_(last) {}

  std::uint64_t last() const { return last_; }
  std::uint64_t ballast() const {
    MutexLock lock(mutex_);
    const std::uint64_t held = Held();
    return held > last_ ? held - last_ : 0;
  }
  // False when there is none any more.
  bool GiveUpBallast() {
    MutexLock lock(mutex_);
    return Held() > last_ && ::truncate(path_.c_str(), static_cast<off_t>(last_)) == 0;
  }
  bool GiveUpAll() {
    MutexLock lock(mutex_);
    std::error_code error;
    return fs::remove(path_, error);
  }
  // Makes up what is missing, as far as `needed` stays twice beside it; the last part sooner. Best
  // effort: without it, a drop on a full disk has to wait for somebody to make room.
  void MakeUp(std::uint64_t available, std::uint64_t needed) {
    MutexLock lock(mutex_);
    const std::uint64_t held = Held();
    std::uint64_t wanted = ballast_ + last_;
    if (held == wanted) return;
    if (held < wanted && available < wanted - held + 2 * needed) {
      if (held >= last_ || available < last_ - held + kReserveForDrop) return;
      wanted = last_;
    }
    const Descriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!file.open()) return;
    const auto size = static_cast<off_t>(wanted);
    // Longer than it is wanted now: somebody asked for less.
    const bool made = held < wanted ? ::posix_fallocate(file.get(), 0, size) == 0
                                    : ::ftruncate(file.get(), size) == 0;
    // Others were faster. What was there stays.
    std::error_code error;
    if (!made && (held == 0 || ::ftruncate(file.get(), static_cast<off_t>(held)) != 0)) {
      fs::remove(path_, error);
    }
  }

 private:
  std::uint64_t Held() const MAYFLY_REQUIRES(mutex_) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path_, error);
    return error ? 0 : size;
  }

  const fs::path path_;
  const std::uint64_t ballast_;
  const std::uint64_t last_;  // what a drop, and a flush of everything, may need
  mutable Mutex mutex_;
};

// Write-ahead logs and manifests.
Result<std::vector<fs::path>> LogFiles(const fs::path& dir) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (at->path().extension() == ".log" || name.rfind("MANIFEST-", 0) == 0) {
      found.push_back(at->path());
    }
  }
  if (error) return Fail(ErrorCode::kIo, "listing of the store: " + error.message());
  return found;
}

// The family that a container of this name holds, or the other way round.
Family Exchanged(Family family, const std::set<ExpiryDay>& swapped) {
  const bool day = family.kind == Family::Kind::kDay;
  if (!day && family.kind != Family::Kind::kTwin) return family;
  if (!swapped.contains(family.day())) return family;
  return day ? Family::Twin(family.day()) : Family::Day(family.day());
}

// Which dates' containers have exchanged their names. Rows of dates of which nothing is left go.
Result<std::set<ExpiryDay>> ReadSwapped(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle,
                                        const std::vector<std::string>& names, bool read_only) {
  std::set<ExpiryDay> swapped;
  const std::unique_ptr<rocksdb::Iterator> at(db.NewIterator(rocksdb::ReadOptions(), handle));
  for (at->Seek(rocksdb::Slice(kSwapped.data(), kSwapped.size()));
       at->Valid() && at->key().starts_with(rocksdb::Slice(kSwapped.data(), kSwapped.size()));
       at->Next()) {
    const auto family = Family::Parse(at->key().ToStringView().substr(kSwapped.size()));
    if (!family) continue;
    const auto exists = [&](Family one) {
      return std::find(names.begin(), names.end(), one.Name()) != names.end();
    };
    if (exists(*family) || exists(Family::Twin(family->day()))) {
      swapped.insert(family->day());
    } else if (read_only) {
      continue;
    } else if (const auto removed = db.Delete(rocksdb::WriteOptions(), handle, at->key());
               !removed.ok()) {
      return Fail(FromRocks(removed, "opening"));
    }
  }
  if (!at->status().ok()) return Fail(FromRocks(at->status(), "opening"));
  return swapped;
}

// --- the engine

class RocksDbEngine final : public Engine {
 public:
  RocksDbEngine(const RocksDbOptions& options, std::unique_ptr<rocksdb::DB> db,
                rocksdb::ColumnFamilyOptions tuning, std::shared_ptr<Watch> watch,
                Handle default_handle, std::map<Family, FamilyState> families,
                std::set<ExpiryDay> swapped)
      : dir_(options.dir),
        read_only_(options.read_only),
        tuning_(std::move(tuning)),
        room_(RoomOf(options)),
        room_bytes_(options.write_buffer_bytes + kRoomForLogs),
        reserve_(options.dir, options.ballast_bytes, LastPartOf(options)),
        watch_(std::move(watch)),
        db_(std::move(db)),
        default_handle_(std::move(default_handle)),
        families_(std::move(families)),
        swapped_(std::move(swapped)) {}

  // RocksDB would leave its last manifest but one, and the options before the present ones, to the
  // next start. Best effort: that one removes them as well.
  ~RocksDbEngine() override {
    if (read_only_) return;
    MutexLock files(files_mutex_);
    if (UnlinkObsolete()) RemoveOldOptions();
  }

  Status Commit(const Batch& batch, Durability durability) override {
    MAYFLY_RETURN_IF_ERROR(EnsureWritable());
    MAYFLY_RETURN_IF_ERROR(MakeRoom(room_bytes_));
    Pins pins(*this, Pins::kWrite);
    for (const Change& change : batch.changes) MAYFLY_RETURN_IF_ERROR(pins.Add(change.family));
    for (const Condition& condition : batch.conditions) {
      MAYFLY_RETURN_IF_ERROR(pins.Add(condition.family));
    }
    KeyGate::Hold hold(gate_, batch);
    for (const Condition& condition : batch.conditions) {
      MAYFLY_ASSIGN_OR_RETURN(const std::optional<std::string> value,
                              Read(pins.Find(condition.family), condition.family, condition.key));
      if (value != condition.value) {
        return Fail(ErrorCode::kPreconditionFailed, "a condition did not hold");
      }
    }
    if (batch.changes.empty()) return {};

    constexpr std::size_t kAroundRow = 16;  // what RocksDB writes around key and value
    std::size_t bytes = kAroundRow;
    for (const Change& change : batch.changes) {
      bytes += kAroundRow + change.key.size() + (change.value ? change.value->size() : 0);
    }
    rocksdb::WriteBatch writes(bytes);
    for (const Change& change : batch.changes) {
      rocksdb::ColumnFamilyHandle* handle = pins.Find(change.family);
      const rocksdb::Status added = change.value ? writes.Put(handle, change.key, *change.value)
                                                 : writes.Delete(handle, change.key);
      if (!added.ok()) return Fail(FromRocks(added, "commit"));
    }
    rocksdb::WriteOptions options;
    options.sync = durability == Durability::kSynced;
    options.disableWAL = durability == Durability::kUnlogged;
    const rocksdb::Status written = db_->Write(options, &writes);
    if (written.ok()) return {};
    Error error = FromRocks(written, "commit");
    // The log may hold the batch although its write or sync failed, and then a restart brings it.
    if (error.code == ErrorCode::kIo || error.code == ErrorCode::kCorrupt) {
      error.code = ErrorCode::kOutcomeUnknown;
    }
    return Fail(std::move(error));
  }

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override {
    Pins pins(*this, Pins::kRead);
    MAYFLY_RETURN_IF_ERROR(pins.Add(family));
    return Read(pins.Find(family), family, key);
  }

  Status Scan(Family family, const ScanOptions& options, const Visitor& visit) const override {
    Pins pins(*this, Pins::kRead);
    MAYFLY_RETURN_IF_ERROR(pins.Add(family));
    KeyRange range = RangeOf(options);
    if (range.empty() || options.limit == 0) return {};
    const RangeRead read(std::move(range), nullptr);  // an iterator is a snapshot of its family
    Walk walk(family, Iterate(read, pins.Find(family)), options.reverse);
    for (std::size_t left = options.limit; walk.valid(); walk.Next()) {
      if (!visit(walk.key(), walk.value()) || --left == 0) return {};
    }
    return walk.status();
  }

  Status MergeScan(const std::vector<MergeSource>& sources, const ScanOptions& options,
                   const MergeVisitor& visit) const override {
    Pins pins(*this, Pins::kRead);
    for (const MergeSource& source : sources) {
      // A family that was dropped since the caller listed it has nothing left to show.
      const Status pinned = pins.Add(source.family);
      if (!pinned && pinned.error().code != ErrorCode::kExpired) return pinned;
    }
    KeyRange range = RangeOf(options);
    if (range.empty() || options.limit == 0) return {};
    rocksdb::ManagedSnapshot snapshot(db_.get());
    const RangeRead read(std::move(range), snapshot.snapshot());
    Merge merge(options.reverse);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      rocksdb::ColumnFamilyHandle* handle = pins.Find(sources[i].family);
      if (handle == nullptr) continue;
      merge.Add(i, sources[i], [this, &read, handle] { return Iterate(read, handle); });
    }
    for (std::size_t left = options.limit;; --left) {
      MAYFLY_ASSIGN_OR_RETURN(Walk* const walk, merge.Next());
      if (walk == nullptr) return {};
      if (!visit(walk->family(), walk->key(), walk->value()) || left == 1) return {};
    }
  }

  Status OpenFamily(Family family) override {
    const auto existing = [&]() -> std::optional<Status> {
      MutexLock lock(mutex_);
      const auto found = families_.find(family);
      if (found == families_.end()) return std::nullopt;
      if (found->second.closed) return Status(Closed(family));
      return Status();
    };
    if (const std::optional<Status> answer = existing()) return *answer;
    MutexLock files(files_mutex_);
    if (const std::optional<Status> answer = existing()) return *answer;
    rocksdb::ColumnFamilyHandle* created = nullptr;
    const rocksdb::Status status =
        db_->CreateColumnFamily(tuning_, NameOnDisk(family, swapped_), &created);
    Handle handle(created, HandleDeleter{db_.get()});
    if (!status.ok()) return Fail(FromRocks(status, "creation of family " + family.Name()));
    MutexLock lock(mutex_);
    families_[family].handle = std::move(handle);
    return {};
  }

  std::vector<Family> Families(Family::Kind kind) const override {
    MutexLock lock(mutex_);
    std::vector<Family> found;
    for (const auto& [family, state] : families_) {
      if (family.kind == kind && !state.dropping) found.push_back(family);
    }
    return found;
  }

  Status CloseFamily(Family family) override {
    if (family == Family::Sys()) return SysStays();
    MutexLock lock(mutex_);
    // Looks anew after each wait: the family may have been dropped meanwhile.
    for (auto found = families_.find(family); found != families_.end();
         found = families_.find(family)) {
      found->second.closed = true;
      if (found->second.writers == 0) break;
      changed_.wait(mutex_);
    }
    return {};
  }

  Result<DropReport> DropFamily(Family family) override {
    if (family == Family::Sys()) return SysStays();
    const bool ours = StartDrop(family);
    MutexLock files(files_mutex_);
    DropReport report;
    if (ours) {
      auto dropped = DropColumnFamily(family);
      EndDrop(family);
      if (!dropped) return Fail(std::move(dropped).error());
      report.bytes_dropped = *dropped;
      logs_hold_dropped_ = true;
    }
    ResumeAtOnce();
    // After a write error RocksDB's queues hold on to the family until it has resumed. If it
    // cannot, its files stay, and the wait below says so.
    const Status writable = EnsureWritable();
    // Files of an earlier attempt count as well: success means that they are gone.
    if (const auto files_left = remnants_.find(family); files_left != remnants_.end()) {
      MAYFLY_RETURN_IF_ERROR(AwaitGone(files_left->second, "files of a dropped family remain"));
      remnants_.erase(files_left);
    }
    report.log_released = !logs_hold_dropped_;
    if (writable) {
      ForgetSwap(family);
      MakeUpReserve();
    }
    return report;
  }

  Status SwapTwin(ExpiryDay day) override {
    const Family ours = Family::Day(day);
    const Family twin = Family::Twin(day);
    MutexLock files(files_mutex_);
    MAYFLY_RETURN_IF_ERROR(EnsureWritable());
    MAYFLY_RETURN_IF_ERROR(MakeRoom(room_bytes_));
    {
      // Its rows are in no log.
      Pins pins(*this, Pins::kRead);
      MAYFLY_RETURN_IF_ERROR(pins.Add(twin));
      MAYFLY_RETURN_IF_ERROR(Flush(pins.Find(twin), "flush of family " + twin.Name()));
    }
    MutexLock lock(mutex_);
    const auto busy = [this](Family family) MAYFLY_REQUIRES(mutex_) {
      const auto found = families_.find(family);
      return found != families_.end() && (found->second.readers > 0 || found->second.writers > 0);
    };
    while (busy(ours) || busy(twin)) {
      ++swaps_waiting_;
      changed_.wait(mutex_);
      --swaps_waiting_;
    }
    for (const Family family : {ours, twin}) {
      const auto found = families_.find(family);
      if (found == families_.end() || found->second.dropping) return Absent(family);
      if (found->second.closed) return Closed(family);
    }
    // Whether or not a failed write of the log is found by a restart: until then nothing more is
    // committed, so that either container is whole.
    rocksdb::WriteOptions synced;
    synced.sync = true;
    const bool swapped = swapped_.contains(day);
    const std::string key = std::string(kSwapped) + ours.Name();
    const rocksdb::Status written = swapped ? db_->Delete(synced, default_handle_.get(), key)
                                            : db_->Put(synced, default_handle_.get(), key, "");
    if (!written.ok()) return Fail(FromRocks(written, "exchange of family " + ours.Name()));
    if (swapped) {
      swapped_.erase(day);
    } else {
      swapped_.insert(day);
    }
    std::swap(families_.at(ours).handle, families_.at(twin).handle);
    return {};
  }

  Status Erase(Family family) override {
    Pins pins(*this, Pins::kRead);
    MAYFLY_RETURN_IF_ERROR(pins.Add(family));
    rocksdb::ColumnFamilyHandle* const handle = pins.Find(family);
    const std::string doing = "erasing in family " + family.Name();
    MutexLock files(files_mutex_);
    MAYFLY_RETURN_IF_ERROR(EnsureWritable());
    MAYFLY_RETURN_IF_ERROR(AwaitSnapshotsBefore(db_->GetLatestSequenceNumber()));
    MAYFLY_RETURN_IF_ERROR(Flush(handle, doing));
    const std::vector<fs::path> before = TablesOf(handle);
    std::uint64_t bytes = 0;
    for (const fs::path& table : before) {
      std::error_code error;
      const std::uintmax_t size = fs::file_size(table, error);
      if (!error) bytes += size;
    }
    // A compaction that runs into a full disk would stop all commits.
    if (!MakeRoom(bytes + room_bytes_)) return Fail(ErrorCode::kIo, doing + ": disk full");
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = true;
    options.allow_write_stall = true;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    const rocksdb::Status compacted = db_->CompactRange(options, handle, nullptr, nullptr);
    if (!compacted.ok()) return Fail(FromRocks(compacted, doing));
    for (const fs::path& table : TablesOf(handle)) {
      if (std::find(before.begin(), before.end(), table) != before.end()) {
        return Fail(ErrorCode::kIo, doing + ": a table was not rewritten");
      }
    }
    return AwaitGone(before, "tables that were rewritten remain");
  }

  Status FlushAll() override {
    MAYFLY_RETURN_IF_ERROR(EnsureWritable());
    return FlushFamilies(false);
  }

  Status ReleaseLogs() override {
    MutexLock files(files_mutex_);
    MAYFLY_ASSIGN_OR_RETURN(const std::vector<fs::path> old, LogFiles(dir_));
    return Release(old);
  }

  // Once, behind the opening, with the logs that were there before it. RocksDB has replayed them
  // into tables and begun new ones, but keeps an old one in which it found nothing live.
  void ReleaseOldLogs(const std::vector<fs::path>& old) {
    MutexLock files(files_mutex_);
    MakeUpReserve();
    if (UnlinkObsolete() && !AnyExists(old)) return;
    // A failure (a full disk) is no reason not to open. Drops then report that logs are not
    // released.
    logs_hold_dropped_ = !Release(old).has_value();
  }

  Status Checkpoint(const fs::path& dir) const override {
    std::error_code error;
    if (fs::exists(fs::symlink_status(dir, error))) {
      return Fail(ErrorCode::kInvalidArgument, "the target of a checkpoint must not exist");
    }
    MutexLock files(files_mutex_);
    rocksdb::Checkpoint* made = nullptr;
    rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    if (status.ok()) status = checkpoint->CreateCheckpoint(fs::absolute(dir).string());
    if (!status.ok()) return Fail(FromRocks(status, "checkpoint"));
    fs::permissions(dir, fs::perms::owner_all, error);
    if (error) return Fail(ErrorCode::kIo, "checkpoint: " + error.message());
    return {};
  }

  Status Health() const override {
    const rocksdb::Status error = watch_->error();
    if (error.ok()) {
      if (Available() >= room_bytes_ || Available() + reserve_.ballast() >= room_bytes_) return {};
      return Fail(ErrorCode::kIo, kNoRoom, "disk-full");
    }
    Error told = FromRocks(error, watch_->log_failed() ? kLogFailed : "engine");
    if (NeedsReopening(error)) {
      told.field = "reopen";
    } else if (error.IsNoSpace()) {
      told.field = "disk-full";
    }
    return Fail(std::move(told));
  }

  Status Mend() override {
    MutexLock files(files_mutex_);
    ResumeAtOnce();
    if (EnsureWritable()) MakeUpReserve();
    return Health();
  }

  DiskRoom Room() const override {
    DiskRoom room = room_();
    room.needed = room_bytes_;
    room.ballast = reserve_.ballast();
    return room;
  }

 private:
  using Handles = std::vector<std::pair<Family, rocksdb::ColumnFamilyHandle*>>;

  // Families in use by one call, each once: closing waits for writers, dropping for all.
  class Pins {
   public:
    enum Use { kRead, kWrite };
    Pins(const RocksDbEngine& engine, Use use) : engine_(engine), use_(use) {}
    ~Pins() {
      MutexLock lock(engine_.mutex_);
      bool awaited = false;
      for (const auto& [family, handle] : handles_) {
        FamilyState& state = engine_.families_.at(family);
        --CountOf(state);
        awaited |= state.closed;
      }
      awaited |= engine_.swaps_waiting_ > 0;
      if (awaited) engine_.changed_.notify_all();
    }
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;

    // kExpired when the family is absent or, for a write, closed.
    Status Add(Family family) {
      if (Find(family) != nullptr) return {};
      MutexLock lock(engine_.mutex_);
      const auto found = engine_.families_.find(family);
      if (found == engine_.families_.end() || found->second.dropping) return Absent(family);
      if (use_ == kWrite && found->second.closed) return Closed(family);
      Take(family, found->second);
      return {};
    }
    void AddAll(bool even_dropping) {
      MutexLock lock(engine_.mutex_);
      for (auto& [family, state] : engine_.families_) {
        if (even_dropping || !state.dropping) Take(family, state);
      }
    }
    rocksdb::ColumnFamilyHandle* Find(Family family) const {
      if (last_ < handles_.size() && handles_[last_].first == family) return handles_[last_].second;
      for (std::size_t i = 0; i < handles_.size(); ++i) {
        if (handles_[i].first != family) continue;
        last_ = i;  // rows of one family tend to follow each other
        return handles_[i].second;
      }
      return nullptr;
    }
    const Handles& handles() const { return handles_; }
    std::size_t size() const { return handles_.size(); }

   private:
    int& CountOf(FamilyState& state) const {
      return use_ == kWrite ? state.writers : state.readers;
    }
    void Take(Family family, FamilyState& state) MAYFLY_REQUIRES(engine_.mutex_) {
      handles_.emplace_back(family, state.handle.get());
      ++CountOf(state);
    }

    const RocksDbEngine& engine_;
    Use use_;
    Handles handles_;
    mutable std::size_t last_ = 0;
  };

  // Until the containers of a date have exchanged their names, each is called after its family.
  static std::string NameOnDisk(Family family, const std::set<ExpiryDay>& swapped) {
    return Exchanged(family, swapped).Name();
  }

  // When nothing of a date is left, what its containers were called says nothing any more.
  void ForgetSwap(Family family) MAYFLY_REQUIRES(files_mutex_) {
    if (family.kind != Family::Kind::kDay && family.kind != Family::Kind::kTwin) return;
    const ExpiryDay day = family.day();
    if (!swapped_.contains(day)) return;
    {
      MutexLock lock(mutex_);
      if (families_.contains(Family::Day(day)) || families_.contains(Family::Twin(day))) return;
    }
    // A failure leaves a row of no consequence, which the next opening removes.
    if (db_->Delete(rocksdb::WriteOptions(), default_handle_.get(),
                    std::string(kSwapped) + Family::Day(day).Name())
            .ok()) {
      swapped_.erase(day);
    }
  }

  std::vector<fs::path> TablesOf(rocksdb::ColumnFamilyHandle* handle) const {
    rocksdb::ColumnFamilyMetaData tables;
    db_->GetColumnFamilyMetaData(handle, &tables);
    std::vector<fs::path> paths;
    for (const rocksdb::LevelMetaData& level : tables.levels) {
      for (const rocksdb::SstFileMetaData& file : level.files) {
        paths.push_back(dir_ / fs::path(file.name).relative_path());
      }
    }
    return paths;
  }

  // A compaction keeps what a snapshot still sees.
  Status AwaitSnapshotsBefore(rocksdb::SequenceNumber now) const {
    for (int attempt = 0;; ++attempt) {
      std::uint64_t oldest = 0;
      if (!db_->GetIntProperty(rocksdb::DB::Properties::kOldestSnapshotSequence, &oldest)) {
        return Fail(ErrorCode::kInternal, "the engine does not tell its oldest snapshot");
      }
      if (oldest == 0 || oldest >= now) return {};
      if (attempt == kUnlinkAttempts) return Fail(ErrorCode::kIo, "a scan does not end");
      std::this_thread::sleep_for(kUnlinkPause);
    }
  }

  Result<std::optional<std::string>> Read(rocksdb::ColumnFamilyHandle* handle, Family family,
                                          std::string_view key) const {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get(rocksdb::ReadOptions(), handle, rocksdb::Slice(key.data(), key.size()), &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    if (!status.ok()) return Fail(FromRocks(status, "read from family " + family.Name()));
    return std::optional<std::string>(value.ToString());
  }

  std::unique_ptr<rocksdb::Iterator> Iterate(const RangeRead& read,
                                             rocksdb::ColumnFamilyHandle* handle) const {
    return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(read.options(), handle));
  }

  Status Flush(rocksdb::ColumnFamilyHandle* handle, const std::string& doing) {
    (void)MakeRoom(room_bytes_);  // it may need less
    rocksdb::Status status = FlushOnce(handle);
    if (status.IsNoSpace() && reserve_.GiveUpBallast()) {
      ResumeAtOnce();
      MAYFLY_RETURN_IF_ERROR(EnsureWritable());
      status = FlushOnce(handle);
    }
    if (!status.ok()) return Fail(FromRocks(status, doing));
    return {};
  }

  rocksdb::Status FlushOnce(rocksdb::ColumnFamilyHandle* handle) {
    rocksdb::FlushOptions options;
    options.wait = true;
    options.allow_write_stall = true;  // rather than wait for compactions first
    const rocksdb::Status status = db_->Flush(options, handle);
    if (!status.ok() || watch_->errors() == 0) return status;
    // Once RocksDB 7.8 has resumed from an error, its Flush may return while the rows are still on
    // their way, for as long as the store stays open.
    for (int attempt = 0; attempt < kUnlinkAttempts; ++attempt) {
      const rocksdb::Status error = watch_->error();
      if (error.severity() >= rocksdb::Status::Severity::kHardError) return error;
      std::uint64_t waiting = 0;
      if (db_->GetIntProperty(handle, rocksdb::DB::Properties::kNumImmutableMemTable, &waiting) &&
          waiting == 0) {
        return status;
      }
      std::this_thread::sleep_for(kUnlinkPause);
    }
    return rocksdb::Status::TimedOut("a flush does not end");
  }

  // A family that waits for its drop keeps the log alive too, so a release flushes it as well. That
  // takes files_mutex_, behind which the drop then waits.
  Status FlushFamilies(bool even_dropping) {
    Pins pins(*this, Pins::kRead);
    pins.AddAll(even_dropping);
    for (const auto& [family, handle] : pins.handles()) {
      MAYFLY_RETURN_IF_ERROR(Flush(handle, "flush of family " + family.Name()));
    }
    return {};
  }

  // Moves logs and manifest on until none of the `old` files is left.
  Status Release(const std::vector<fs::path>& old) MAYFLY_REQUIRES(files_mutex_) {
    MAYFLY_RETURN_IF_ERROR(EnsureWritable());
    MAYFLY_RETURN_IF_ERROR(FlushFamilies(true));
    MAYFLY_RETURN_IF_ERROR(UnlinkObsolete());
    if (AnyExists(old)) {
      // Nothing live was in the log, so that no flush moved it on, or a file is just going.
      MAYFLY_RETURN_IF_ERROR(MoveLogsOn());
      MAYFLY_RETURN_IF_ERROR(AwaitGone(old, "an old log or manifest remains"));
    }
    RemoveOldOptions();
    logs_hold_dropped_ = false;
    MakeUpReserve();
    return {};
  }

  // RocksDB keeps the options file before the present one, which names families that are gone. It
  // reads the newest only. Best effort: a name is all that it holds.
  void RemoveOldOptions() MAYFLY_REQUIRES(files_mutex_) {
    std::map<std::uint64_t, fs::path> found;
    std::error_code error;
    for (fs::directory_iterator at(dir_, error), end; !error && at != end; at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (name.rfind(kOptionsPrefix, 0) == 0 && at->path().extension().empty()) {
        found.emplace(std::strtoull(name.c_str() + std::strlen(kOptionsPrefix), nullptr, 10),
                      at->path());
      }
    }
    if (!found.empty()) found.erase(std::prev(found.end()));
    for (const auto& [number, path] : found) fs::remove(path, error);
  }

  // After a background error (a full disk, say) RocksDB stops, as far as the error is severe, until
  // it is told to resume. Nothing has happened when this fails.
  Status EnsureWritable() {
    if (watch_->error().ok()) return {};
    MutexLock lock(resume_mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (!NeedsReopening(watch_->error()) && now >= next_resume_) {
      next_resume_ = now + kResumeInterval;
      if (watch_->error().IsNoSpace()) reserve_.GiveUpBallast();
      const int errors = watch_->errors();
      if (db_->Resume().ok()) watch_->ClearIf(errors);
    }
    const rocksdb::Status error = watch_->error();
    if (error.severity() < rocksdb::Status::Severity::kHardError) return {};
    return Fail(FromRocks(error, watch_->log_failed() ? kLogFailed : "engine"));
  }

  void ResumeAtOnce() {
    MutexLock lock(resume_mutex_);
    next_resume_ = {};
  }

  // RocksDB resumes from no error that is worse than hard, and from none of its log whatever it
  // says. Tables that are damaged are still so when they are opened anew.
  bool NeedsReopening(const rocksdb::Status& error) const {
    return watch_->log_failed() ||
           (error.severity() > rocksdb::Status::Severity::kHardError && !error.IsCorruption());
  }

  // Gives up the ballast, if it comes to that.
  Status MakeRoom(std::uint64_t bytes) {
    if (Available() >= bytes) return {};
    if (reserve_.GiveUpBallast() && Available() >= bytes) return {};
    return Fail(ErrorCode::kIo, kNoRoom);
  }

  // Refuses new use of the family and waits for what is under way. False when there is none.
  bool StartDrop(Family family) {
    MutexLock lock(mutex_);
    for (auto found = families_.find(family); found != families_.end();
         found = families_.find(family)) {
      if (found->second.dropping) {  // by another caller: see how that ends
        changed_.wait(mutex_);
        continue;
      }
      found->second.closed = true;
      found->second.dropping = true;
      while (found->second.readers > 0 || found->second.writers > 0) changed_.wait(mutex_);
      return true;
    }
    return false;
  }

  // After a failure the family is closed, but there; the drop can be repeated.
  void EndDrop(Family family) {
    MutexLock lock(mutex_);
    const auto found = families_.find(family);
    if (found != families_.end()) found->second.dropping = false;
    changed_.notify_all();
  }

  // Bytes of its tables. Notes their names in `remnants_`.
  Result<std::uint64_t> DropColumnFamily(Family family) MAYFLY_REQUIRES(files_mutex_) {
    Handle handle;
    {
      MutexLock lock(mutex_);
      handle = std::move(families_.at(family).handle);
    }
    std::uint64_t bytes = 0;
    const rocksdb::Status status = TryDrop(family, handle, bytes);
    MutexLock lock(mutex_);
    if (handle) {
      families_.at(family).handle = std::move(handle);
    } else {
      families_.erase(family);
    }
    if (!status.ok()) return Fail(FromRocks(status, "drop of family " + family.Name()));
    return bytes;
  }

  // Leaves `handle` empty when the family is gone.
  rocksdb::Status TryDrop(Family family, Handle& handle, std::uint64_t& bytes)
      MAYFLY_REQUIRES(files_mutex_) {
    // A flush or compaction that is overtaken by a drop would leave its new table behind, known to
    // nobody, and on a full disk it would take the room that the drop needs. So there is none.
    const rocksdb::Status paused = db_->PauseBackgroundWork();
    if (!paused.ok()) return paused;
    if (Available() < reserve_.last()) reserve_.GiveUpAll();
    rocksdb::ColumnFamilyMetaData tables;
    db_->GetColumnFamilyMetaData(handle.get(), &tables);
    rocksdb::Status dropped = db_->DropColumnFamily(handle.get());
    if (!dropped.ok() && reserve_.GiveUpAll()) dropped = db_->DropColumnFamily(handle.get());
    if (dropped.ok()) {
      bytes = tables.size;
      std::vector<fs::path>& remnants = remnants_[family];
      for (const rocksdb::LevelMetaData& level : tables.levels) {
        for (const rocksdb::SstFileMetaData& file : level.files) {
          remnants.push_back(dir_ / fs::path(file.name).relative_path());
        }
      }
      handle.reset();  // as a rule the last reference: unlinks the tables
    }
    const rocksdb::Status resumed = db_->ContinueBackgroundWork();
    return dropped.ok() ? resumed : dropped;
  }

  std::uint64_t Available() const { return room_().available; }
  // Not while a drop uses what was given up for it.
  void MakeUpReserve() MAYFLY_REQUIRES(files_mutex_) { reserve_.MakeUp(Available(), room_bytes_); }

  // Unlinks at once what RocksDB no longer needs, after a look through the whole directory.
  // Callers hold the lock because a checkpoint relies on deletions being off.
  Status UnlinkObsolete() MAYFLY_REQUIRES(files_mutex_) {
    // When the next manifest could not be written RocksDB goes on with its number, and takes the
    // one before, which CURRENT names, for an old file. Without it the store does not open.
    // While a flush writes one, the two differ for a moment.
    for (int attempt = 0; !ManifestStands(); ++attempt) {
      if (attempt == kManifestAttempts) {
        return Fail(ErrorCode::kIo,
                    "the manifest could not be written: old files stay until a start");
      }
      std::this_thread::sleep_for(kUnlinkPause);
    }
    rocksdb::Status status = db_->DisableFileDeletions();
    if (status.ok()) status = AllowFileDeletions(*db_);
    if (!status.ok()) return Fail(FromRocks(status, "removal of old files"));
    return {};
  }

  // Whether the manifest that RocksDB writes to is the one with which a start would begin.
  bool ManifestStands() const {
    std::vector<std::string> live;
    std::uint64_t size = 0;
    if (!db_->GetLiveFiles(live, &size, /*flush_memtable=*/false).ok()) return false;
    std::string current;
    std::ifstream(dir_ / "CURRENT") >> current;
    return std::any_of(live.begin(), live.end(), [&](const std::string& name) {
      return fs::path(name).filename().string() == current;
    });
  }

  static bool AnyExists(const std::vector<fs::path>& files) {
    return std::any_of(files.begin(), files.end(), [](const fs::path& file) {
      std::error_code error;
      return fs::exists(fs::symlink_status(file, error)) || error.value() != ENOENT;
    });
  }

  Status AwaitGone(const std::vector<fs::path>& files, const char* complaint)
      MAYFLY_REQUIRES(files_mutex_) {
    for (int attempt = 0;; ++attempt) {
      MAYFLY_RETURN_IF_ERROR(UnlinkObsolete());
      if (!AnyExists(files)) return {};
      if (attempt == kUnlinkAttempts) return Fail(ErrorCode::kIo, complaint);
      if (attempt == kNudgeAttempt) MAYFLY_RETURN_IF_ERROR(Nudge());
      std::this_thread::sleep_for(kUnlinkPause);
    }
  }

  // A compaction that an error kept from running leaves its entry in RocksDB's queue, where it
  // holds on to a dropped family until another compaction is queued. So this makes one due.
  Status Nudge() {
    for (int i = 0; i < tuning_.level0_file_num_compaction_trigger; ++i) {
      MAYFLY_RETURN_IF_ERROR(MoveLogsOn());
    }
    return {};
  }

  // One row of our own, outside all families, and its flush: log and manifest then begin anew.
  Status MoveLogsOn() {
    rocksdb::WriteOptions synced;
    synced.sync = true;
    const rocksdb::Status put = db_->Put(synced, default_handle_.get(), "logs-released", "");
    if (!put.ok()) return Fail(FromRocks(put, "release of logs"));
    return Flush(default_handle_.get(), "release of logs");
  }

  const fs::path dir_;
  const bool read_only_;
  const rocksdb::ColumnFamilyOptions tuning_;
  const std::function<DiskRoom()> room_;
  const std::size_t room_bytes_;  // free space below which commits are refused
  Reserve reserve_;
  const std::shared_ptr<Watch> watch_;
  const std::unique_ptr<rocksdb::DB> db_;  // before the handles, which must go first
  const Handle default_handle_;
  KeyGate gate_;

  // Order of locks: files_mutex_, then mutex_. No visitor runs under either.
  mutable Mutex files_mutex_;  // families come and go, files are listed and unlinked
  mutable Mutex mutex_;
  mutable std::condition_variable_any changed_;
  mutable std::map<Family, FamilyState> families_ MAYFLY_GUARDED_BY(mutex_);
  mutable int swaps_waiting_ MAYFLY_GUARDED_BY(mutex_) = 0;
  // Dates whose containers bear each other's names on disk.
  std::set<ExpiryDay> swapped_ MAYFLY_GUARDED_BY(files_mutex_);
  std::map<Family, std::vector<fs::path>> remnants_ MAYFLY_GUARDED_BY(files_mutex_);
  // Opening replays the logs into tables and begins new ones, so they start clean.
  bool logs_hold_dropped_ MAYFLY_GUARDED_BY(files_mutex_) = false;
  Mutex resume_mutex_;
  std::chrono::steady_clock::time_point next_resume_ MAYFLY_GUARDED_BY(resume_mutex_);
};

// --- opening

bool IsLockedOut(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  return status.IsIOError() && (text.find("While lock file") != std::string::npos ||
                                text.find("lock hold by current process") != std::string::npos);
}

tl::unexpected<Error> OpenFailure(const rocksdb::Status& status, const fs::path& dir) {
  if (IsLockedOut(status)) {
    return Fail(ErrorCode::kIo, "another process holds " + dir.string());
  }
  Error error = FromRocks(status, "opening " + dir.string());
  if (error.code == ErrorCode::kInternal) error.code = ErrorCode::kIo;
  return Fail(std::move(error));
}

// The families on disk. Looks under the store's lock, because a process that holds it rewrites the
// manifest all the time.
Result<std::vector<std::string>> ListFamilies(const rocksdb::DBOptions& options,
                                              const fs::path& dir) {
  rocksdb::Env* env = rocksdb::Env::Default();
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status locked = env->LockFile((dir / "LOCK").string(), &lock);
  if (!locked.ok()) return OpenFailure(locked, dir);
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(options, dir.string(), &names);
  const rocksdb::Status unlocked = env->UnlockFile(lock);
  if (!listed.ok()) return OpenFailure(listed, dir);
  if (!unlocked.ok()) return OpenFailure(unlocked, dir);
  return names;
}

// The last change that a look at the store and its logs finds in this mode.
std::optional<rocksdb::SequenceNumber> LastChange(
    rocksdb::DBOptions db_options, rocksdb::WALRecoveryMode mode, const std::string& dir,
    const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors) {
  db_options.wal_recovery_mode = mode;
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  if (!rocksdb::DB::OpenForReadOnly(db_options, dir, descriptors, &handles, &opened).ok()) {
    return std::nullopt;
  }
  const std::unique_ptr<rocksdb::DB> db(opened);
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  return db->GetLatestSequenceNumber();
}

// RocksDB's own way is to read its logs up to the first record that is not as it was written, and
// to go on from there. That is right for the torn end of what was never synced, and loses what was
// acknowledged when one bit is read wrongly in the middle. So every record has to be right; what is
// wrong once may be right the second time; and only where nothing can be read behind the wrong one
// it is taken for a torn end.
rocksdb::Status OpenWithLogs(rocksdb::DBOptions db_options, const std::string& dir,
                             const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors,
                             std::vector<rocksdb::ColumnFamilyHandle*>* handles,
                             rocksdb::DB** opened) {
  using Mode = rocksdb::WALRecoveryMode;
  db_options.wal_recovery_mode = Mode::kAbsoluteConsistency;
  rocksdb::Status status;
  for (int attempt = 0; attempt < 2; ++attempt) {
    status = rocksdb::DB::Open(db_options, dir, descriptors, handles, opened);
    if (!status.IsCorruption()) return status;
  }
  const auto before = LastChange(db_options, Mode::kPointInTimeRecovery, dir, descriptors);
  const auto all = LastChange(db_options, Mode::kSkipAnyCorruptedRecords, dir, descriptors);
  if (!before || before != all) return status;
  db_options.wal_recovery_mode = Mode::kPointInTimeRecovery;
  return rocksdb::DB::Open(db_options, dir, descriptors, handles, opened);
}

}  // namespace

Result<std::unique_ptr<Engine>> OpenRocksDbEngine(const RocksDbOptions& options) {
  std::error_code error;
  const bool exists = fs::exists(options.dir / "CURRENT", error);
  if (error)
    return Fail(ErrorCode::kIo, "opening " + options.dir.string() + ": " + error.message());
  std::vector<std::string> names = {rocksdb::kDefaultColumnFamilyName};
  const auto watch = std::make_shared<Watch>();
  const rocksdb::DBOptions db_options = DbOptions(options, watch);
  if (exists && options.read_only) {
    const rocksdb::Status listed =
        rocksdb::DB::ListColumnFamilies(db_options, options.dir.string(), &names);
    if (!listed.ok()) return OpenFailure(listed, options.dir);
  } else if (exists) {
    MAYFLY_ASSIGN_OR_RETURN(names, ListFamilies(db_options, options.dir));
  } else if (!options.create_if_missing || options.read_only) {
    return Fail(ErrorCode::kIo, "there is no store in " + options.dir.string());
  } else if (fs::create_directories(options.dir, error)) {
    fs::permissions(options.dir, fs::perms::owner_all, error);
  }
  if (error)
    return Fail(ErrorCode::kIo, "opening " + options.dir.string() + ": " + error.message());
  const std::string sys = Family::Sys().Name();
  if (!options.read_only && std::find(names.begin(), names.end(), sys) == names.end()) {
    names.push_back(sys);
  }

  const rocksdb::ColumnFamilyOptions tuning = FamilyOptions(options);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    if (name != rocksdb::kDefaultColumnFamilyName && !Family::Parse(name)) {
      return Fail(ErrorCode::kIo,
                  "opening " + options.dir.string() + ": it holds a family of another version");
    }
    descriptors.emplace_back(name, tuning);
  }
  std::vector<fs::path> old_logs;
  if (exists && !options.read_only) {
    MAYFLY_ASSIGN_OR_RETURN(old_logs, LogFiles(options.dir));
    // Opening turns the rows of the logs into tables, also on a full disk.
    Reserve reserve(options.dir, options.ballast_bytes, LastPartOf(options));
    if (RoomOf(options)().available < reserve.last()) reserve.GiveUpAll();
  }
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status =
      options.read_only
          ? rocksdb::DB::OpenForReadOnly(db_options, options.dir.string(), descriptors, &handles,
                                         &opened)
          : OpenWithLogs(db_options, options.dir.string(), descriptors, &handles, &opened);
  if (!status.ok()) return OpenFailure(status, options.dir);
  std::unique_ptr<rocksdb::DB> db(opened);
  Handle default_handle(nullptr, HandleDeleter{db.get()});
  std::vector<std::pair<Family, Handle>> found;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    Handle handle(handles[i], HandleDeleter{db.get()});
    if (const std::optional<Family> family = Family::Parse(names[i])) {
      found.emplace_back(*family, std::move(handle));
    } else {
      default_handle = std::move(handle);
    }
  }
  MAYFLY_ASSIGN_OR_RETURN(std::set<ExpiryDay> swapped,
                          ReadSwapped(*db, default_handle.get(), names, options.read_only));
  std::map<Family, FamilyState> families;
  for (auto& [name, handle] : found) {
    families[Exchanged(name, swapped)].handle = std::move(handle);
  }
  auto engine = std::make_unique<RocksDbEngine>(options, std::move(db), tuning, watch,
                                                std::move(default_handle), std::move(families),
                                                std::move(swapped));
  if (!options.read_only) engine->ReleaseOldLogs(old_logs);
  return engine;
}

Result<std::set<std::string>> RocksDbFiles(const fs::path& dir) {
  const rocksdb::DBOptions db_options = DbOptions({.dir = dir}, std::make_shared<Watch>());
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(db_options, dir.string(), &names);
  if (!listed.ok()) return OpenFailure(listed, dir);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    descriptors.emplace_back(name, FamilyOptions({.dir = dir}));
  }
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> raw;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(db_options, dir.string(), descriptors, &raw, &opened);
  if (!status.ok()) return OpenFailure(status, dir);
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::vector<Handle> handles;
  for (rocksdb::ColumnFamilyHandle* handle : raw) {
    handles.emplace_back(handle, HandleDeleter{db.get()});
  }
  std::set<std::string> files = {"CURRENT", "IDENTITY", "LOCK", kReserveName};
  std::vector<rocksdb::LiveFileMetaData> tables;
  db->GetLiveFilesMetaData(&tables);
  for (const rocksdb::LiveFileMetaData& table : tables) {
    files.insert(fs::path(table.name).filename().string());
  }
  std::ifstream current(dir / "CURRENT");
  std::string manifest;
  std::getline(current, manifest);
  files.insert(manifest);
  std::uint64_t oldest_log = 0;
  if (!db->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &oldest_log)) {
    oldest_log = 0;
  }
  std::pair<std::uint64_t, std::string> newest_options;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool number = !name.empty() && name[0] >= '0' && name[0] <= '9';
    if (number && at->path().extension() == ".log" &&
        std::strtoull(name.c_str(), nullptr, 10) >= oldest_log) {
      files.insert(name);
    }
    if (name.rfind(kOptionsPrefix, 0) == 0) {
      newest_options =
          std::max(newest_options,
                   {std::strtoull(name.c_str() + std::strlen(kOptionsPrefix), nullptr, 10), name});
    }
  }
  if (error) return Fail(ErrorCode::kIo, "listing of the store: " + error.message());
  files.insert(newest_options.second);
  return files;
}

Result<std::shared_ptr<void>> LockRocksDb(const fs::path& dir) {
  rocksdb::Env* const env = rocksdb::Env::Default();
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status locked = env->LockFile((dir / "LOCK").string(), &lock);
  if (!locked.ok()) return OpenFailure(locked, dir);
  return std::shared_ptr<void>(lock, [env](void* held) {
    env->UnlockFile(static_cast<rocksdb::FileLock*>(held)).PermitUncheckedError();
  });
}

std::string RocksDbVersion() {
  return std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." +
         std::to_string(ROCKSDB_PATCH);
}

}  // namespace mayfly::store
