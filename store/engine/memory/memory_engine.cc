#include "store/engine/memory/memory_engine.h"

#include <condition_variable>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

#include "store/engine/key_range.h"
#include "store/model/mutex.h"

namespace mayfly::store {
namespace {

using Table = std::map<std::string, std::string, std::less<>>;

// Readers hold the table that they found; a commit that meets readers writes into a copy. Visitors
// run without the lock, so they may read and commit, as with RocksDB.
struct FamilyState {
  std::shared_ptr<Table> table = std::make_shared<Table>();
  bool closed = false;
  bool dropping = false;
  int scans = 0;
};

// The entries of one family within a range, walked in either direction.
class Walk {
 public:
  Walk(const Table& table, const KeyRange& range, bool reverse) : reverse_(reverse) {
    if (range.empty()) return;
    begin_ = table.lower_bound(range.begin);
    end_ = range.end ? table.lower_bound(*range.end) : table.end();
    valid_ = begin_ != end_;
    if (valid_) at_ = reverse_ ? std::prev(end_) : begin_;
  }
  bool valid() const { return valid_; }
  const std::string& key() const { return at_->first; }
  const std::string& value() const { return at_->second; }
  void Next() {
    if (reverse_) {
      valid_ = at_ != begin_;
      if (valid_) --at_;
    } else {
      valid_ = ++at_ != end_;
    }
  }

 private:
  bool reverse_;
  bool valid_ = false;
  Table::const_iterator begin_, end_, at_;
};

class MemoryEngine final : public Engine {
 public:
  MemoryEngine() { families_.try_emplace(Family::Sys()); }

  Status Commit(const Batch& batch, Durability) override {
    MutexLock lock(mutex_);
    for (const Change& change : batch.changes) {
      MAYFLY_RETURN_IF_ERROR(CheckWritable(change.family));
    }
    for (const Condition& condition : batch.conditions) {
      MAYFLY_RETURN_IF_ERROR(CheckWritable(condition.family));
    }
    for (const Condition& condition : batch.conditions) {
      const Table& table = *families_.at(condition.family).table;
      const auto found = table.find(condition.key);
      const bool holds = condition.value ? found != table.end() && found->second == *condition.value
                                         : found == table.end();
      if (!holds) return Fail(ErrorCode::kPreconditionFailed, "a condition did not hold");
    }
    for (const Change& change : batch.changes) {
      FamilyState& state = families_.at(change.family);
      // Scans let go of their table under the same lock, so one owner means nobody reads it.
      if (state.table.use_count() > 1) state.table = std::make_shared<Table>(*state.table);
      if (change.value) {
        state.table->insert_or_assign(change.key, *change.value);
      } else {
        state.table->erase(change.key);
      }
    }
    return {};
  }

  Result<std::optional<std::string>> Get(Family family, std::string_view key) const override {
    MutexLock lock(mutex_);
    const auto state = families_.find(family);
    if (state == families_.end() || state->second.dropping) return Absent(family);
    const auto found = state->second.table->find(key);
    if (found == state->second.table->end()) return std::optional<std::string>();
    return std::optional<std::string>(found->second);
  }

  Status Scan(Family family, const ScanOptions& options, const Visitor& visit) const override {
    Snapshot snapshot(*this, {family});
    if (snapshot.tables().empty()) return Absent(family);
    const KeyRange range = RangeOf(options);
    std::size_t left = options.limit;
    for (Walk walk(*snapshot.tables().front().second, range, options.reverse);
         walk.valid() && left > 0; walk.Next(), --left) {
      if (!visit(walk.key(), walk.value())) break;
    }
    return {};
  }

  // Reads all of them at once: there is no cost that `not_before` could save.
  Status MergeScan(const std::vector<MergeSource>& sources, const ScanOptions& options,
                   const MergeVisitor& visit) const override {
    std::vector<Family> families;
    families.reserve(sources.size());
    for (const MergeSource& source : sources) families.push_back(source.family);
    Snapshot snapshot(*this, families);
    const KeyRange range = RangeOf(options);
    std::vector<Walk> walks;
    walks.reserve(snapshot.tables().size());
    for (const auto& [family, table] : snapshot.tables()) {
      walks.emplace_back(*table, range, options.reverse);
    }
    for (std::size_t left = options.limit; left > 0; --left) {
      std::size_t best = walks.size();
      for (std::size_t i = 0; i < walks.size(); ++i) {
        if (!walks[i].valid()) continue;
        if (best == walks.size() || (options.reverse ? walks[i].key() > walks[best].key()
                                                     : walks[i].key() < walks[best].key())) {
          best = i;
        }
      }
      if (best == walks.size()) break;
      if (!visit(snapshot.tables()[best].first, walks[best].key(), walks[best].value())) break;
      walks[best].Next();
    }
    return {};
  }

  Status OpenFamily(Family family) override {
    MutexLock lock(mutex_);
    const FamilyState& state = families_.try_emplace(family).first->second;
    if (state.closed || state.dropping) {
      return Fail(ErrorCode::kExpired, "family " + family.Name() + " is closed");
    }
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
    const auto found = families_.find(family);
    if (found != families_.end()) found->second.closed = true;
    return {};
  }

  Result<DropReport> DropFamily(Family family) override {
    if (family == Family::Sys()) return SysStays();
    MutexLock lock(mutex_);
    DropReport report{.bytes_dropped = 0, .log_released = true};
    const auto found = families_.find(family);
    if (found == families_.end()) return report;
    if (found->second.dropping) {  // by another caller: return when that one is done
      while (families_.contains(family)) changed_.wait(mutex_);
      return report;
    }
    found->second.dropping = true;  // refuses new reads, so the wait ends with those under way
    while (found->second.scans > 0) changed_.wait(mutex_);
    for (const auto& [key, value] : *found->second.table) {
      report.bytes_dropped += key.size() + value.size();
    }
    families_.erase(found);
    changed_.notify_all();
    return report;
  }

  Status SwapTwin(ExpiryDay day) override {
    MutexLock lock(mutex_);
    MAYFLY_RETURN_IF_ERROR(CheckWritable(Family::Day(day)));
    MAYFLY_RETURN_IF_ERROR(CheckWritable(Family::Twin(day)));
    FamilyState& ours = families_.at(Family::Day(day));
    FamilyState& twin = families_.at(Family::Twin(day));
    while (ours.scans > 0 || twin.scans > 0) changed_.wait(mutex_);
    std::swap(ours.table, twin.table);
    return {};
  }

  Status Erase(Family family) override {
    MutexLock lock(mutex_);
    return families_.contains(family) ? Status() : Absent(family);
  }

  Status FlushAll() override { return {}; }
  Status ReleaseLogs() override { return {}; }
  Status Checkpoint(const std::filesystem::path&) const override {
    return Fail(ErrorCode::kInvalidArgument, "the memory engine has no files to copy");
  }
  Status Health() const override { return {}; }
  Status Mend() override { return {}; }
  DiskRoom Room() const override { return {}; }

 private:
  // The tables of those families that exist, pinned so that a drop waits. In the order given.
  class Snapshot {
   public:
    Snapshot(const MemoryEngine& engine, const std::vector<Family>& families) : engine_(engine) {
      MutexLock lock(engine_.mutex_);
      tables_.reserve(families.size());
      for (const Family family : families) {
        const auto found = engine_.families_.find(family);
        if (found == engine_.families_.end() || found->second.dropping) continue;
        ++found->second.scans;
        tables_.emplace_back(family, found->second.table);
      }
    }
    ~Snapshot() {
      MutexLock lock(engine_.mutex_);
      for (const auto& [family, table] : tables_) --engine_.families_.at(family).scans;
      tables_.clear();
      engine_.changed_.notify_all();
    }
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;
    const std::vector<std::pair<Family, std::shared_ptr<const Table>>>& tables() const {
      return tables_;
    }

   private:
    const MemoryEngine& engine_;
    std::vector<std::pair<Family, std::shared_ptr<const Table>>> tables_;
  };

  static tl::unexpected<Error> Absent(Family family) {
    return Fail(ErrorCode::kExpired, "there is no family " + family.Name());
  }
  static tl::unexpected<Error> SysStays() {
    return Fail(ErrorCode::kInvalidArgument, "family sys can be neither closed nor dropped");
  }

  Status CheckWritable(Family family) const MAYFLY_REQUIRES(mutex_) {
    const auto found = families_.find(family);
    if (found == families_.end()) return Absent(family);
    if (found->second.closed || found->second.dropping) {
      return Fail(ErrorCode::kExpired, "family " + family.Name() + " is closed");
    }
    return {};
  }

  mutable Mutex mutex_;
  mutable std::condition_variable_any changed_;
  mutable std::map<Family, FamilyState> families_ MAYFLY_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Engine> MakeMemoryEngine() { return std::make_unique<MemoryEngine>(); }

}  // namespace mayfly::store
