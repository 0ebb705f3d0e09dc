// What a storage engine must offer. Store logic is written once above it; RocksDB today, PostgreSQL
// later, the same bytes. Engines see opaque keys and sealed values only.
#ifndef MAYFLY_STORE_ENGINE_ENGINE_H_
#define MAYFLY_STORE_ENGINE_ENGINE_H_

#include <compare>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/keys/key_vault.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

// A container that is created and dropped as a whole.
struct Family {
  // A twin is a second container of a date, in which its successor is made: see SwapTwin.
  enum class Kind : std::uint8_t { kSys, kDay, kAudit, kTwin };
  Kind kind = Kind::kSys;
  std::uint32_t number = 0;  // days since 1970 for kDay and kTwin, AuditMonth for kAudit
  auto operator<=>(const Family&) const = default;

  static Family Sys() { return {}; }
  static Family Day(ExpiryDay day) {
    return {Kind::kDay, static_cast<std::uint32_t>(day.time_since_epoch().count())};
  }
  static Family Twin(ExpiryDay day) {
    return {Kind::kTwin, static_cast<std::uint32_t>(day.time_since_epoch().count())};
  }
  static Family Audit(AuditMonth month) { return {Kind::kAudit, month}; }
  ExpiryDay day() const { return ExpiryDay(std::chrono::days(number)); }
  std::string Name() const;  // sys, D20270222, T20270222, A202611
  static std::optional<Family> Parse(std::string_view name);
};

struct Change {
  Family family;
  std::string key;
  std::optional<std::string> value;  // absent: remove
};

struct Condition {
  Family family;
  std::string key;
  std::optional<std::string> value;  // absent: the key must be absent; else it must equal this
};

struct Batch {
  std::vector<Change> changes;
  std::vector<Condition> conditions;
  void Put(Family family, std::string key, std::string value) {
    changes.push_back({family, std::move(key), std::move(value)});
  }
  void Remove(Family family, std::string key) {
    changes.push_back({family, std::move(key), std::nullopt});
  }
};

enum class Durability {
  kSynced,
  kBuffered,  // survives the process, not the power
  kUnlogged,  // survives neither, until SwapTwin or a flush; for twins alone
};

struct ScanOptions {
  std::string prefix;                // only keys that begin with it
  std::optional<std::string> after;  // exclusive; continue behind this key
  bool reverse = false;
  std::size_t limit = SIZE_MAX;
};

// One family of a merged scan. `not_before` is the caller's word that no key of the family sorts
// before it (in the order of the scan): the engine does not touch the family until the merge has
// come that far. A wrong word brings keys out of order, never loses one.
struct MergeSource {
  Family family;
  std::string not_before;  // empty: nothing is known
};

// The file system on which an engine keeps its files. By default: nothing to worry about.
struct DiskRoom {
  std::uint64_t available = UINT64_MAX;  // bytes that we may still write
  std::uint64_t capacity = UINT64_MAX;
  std::uint64_t needed = 0;   // available bytes below which the engine takes no commit
  std::uint64_t ballast = 0;  // bytes that it keeps occupied, and gives up when it needs them
};

// Says `available` and `capacity` from any thread; nothing: what the file system says.
using RoomSource = std::function<std::optional<DiskRoom>()>;

// What remains after a family was dropped, for its receipt.
struct DropReport {
  std::uint64_t bytes_dropped = 0;  // table files of the family
  bool log_released = false;        // no engine log holds a byte of it any more
};

// Thread-safe. Errors: kIo when the engine refused and nothing happened; kOutcomeUnknown when a
// commit may or may not have happened (commits are idempotent by key: repeat it); kExpired when a
// family is closed or absent; kPreconditionFailed when a condition did not hold.
class Engine {
 public:
  virtual ~Engine() = default;

  // Atomic across families; durable on return as asked. Conditions are checked under the same lock.
  virtual Status Commit(const Batch& batch, Durability durability) = 0;
  virtual Result<std::optional<std::string>> Get(Family family, std::string_view key) const = 0;
  // Calls `visit` in byte order (or reverse) until it returns false or the limit. One snapshot.
  using Visitor = std::function<bool(std::string_view key, std::string_view value)>;
  virtual Status Scan(Family family, const ScanOptions& options, const Visitor& visit) const = 0;
  // The same over several families at once, merged by key in byte order (ties: order of `sources`).
  // One snapshot of all of them. With `reverse`, `not_before` must be empty.
  using MergeVisitor =
      std::function<bool(Family family, std::string_view key, std::string_view value)>;
  virtual Status MergeScan(const std::vector<MergeSource>& sources, const ScanOptions& options,
                           const MergeVisitor& visit) const = 0;

  // Creates the family if there is none. Idempotent.
  virtual Status OpenFamily(Family family) = 0;
  // Ascending. Of one kind.
  virtual std::vector<Family> Families(Family::Kind kind) const = 0;
  // After this no commit may touch it; reads still may. Idempotent.
  virtual Status CloseFamily(Family family) = 0;
  // Drops the container. Idempotent: an absent family is success. Waits for scans under way.
  virtual Result<DropReport> DropFamily(Family family) = 0;
  // Exchanges what the families Day(day) and Twin(day) hold, in one durable step: a restart finds
  // it done or not begun, and all that was committed to the twin with it. Both must be open. Waits
  // for calls that are under way in either of them, so no visitor of theirs may call it.
  virtual Status SwapTwin(ExpiryDay day) = 0;
  // Removes from the disk what was overwritten or removed in the family before the call: when it
  // returns, every table that held its rows then is unlinked, and no other has taken over a value
  // that counts no more. Waits for scans that may still see one. Needs free disk of about the
  // family's size; after kIo nothing is lost and it is to be repeated. Logs: ReleaseLogs.
  virtual Status Erase(Family family) = 0;
  // Writes buffered records of all families into tables, so that a following drop writes little.
  virtual Status FlushAll() = 0;
  // Makes every engine log let go of dropped families: flushes what is live and rolls logs and
  // manifest. Call after `sys` received the receipt row.
  virtual Status ReleaseLogs() = 0;
  // A consistent copy that can be opened as a data directory's store/.
  virtual Status Checkpoint(const std::filesystem::path& dir) const = 0;
  // Healthy, or why not. Reads go on. `field` tells what helps: `disk-full`, room on the disk;
  // `reopen`, opening it anew, and nothing else; none, a disk that works again, as far as Mend
  // can tell.
  virtual Status Health() const = 0;
  // Does what helps while it is open: goes on after an error that has passed, makes up the ballast
  // when there is room for it. Then as Health. To be called every few seconds.
  virtual Status Mend() = 0;
  virtual DiskRoom Room() const = 0;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_ENGINE_H_
