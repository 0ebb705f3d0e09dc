// RocksDB as it comes: DBWithTTL, and a compaction filter that reads the expiry in each row.
#include <algorithm>
#include <atomic>
#include <thread>

#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/system_clock.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/db_ttl.h>
#include <rocksdb/write_batch.h>

#include "store/schema.h"
#include "tests/bench/measure.h"
#include "tests/bench/rival.h"

namespace mayfly::bench {
namespace {

using std::chrono::seconds;

void Must(const rocksdb::Status& status) {
  if (!status.ok()) Die("RocksDB: " + status.ToString());
}

// Stands where it is put, so that three months pass while the messages are written.
class MovedClock final : public rocksdb::SystemClockWrapper {
 public:
  MovedClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "MovedClock"; }
  rocksdb::Status GetCurrentTime(std::int64_t* unix_time) override {
    *unix_time = at_;
    return rocksdb::Status::OK();
  }
  void Set(TimePoint at) {
    at_ = std::chrono::duration_cast<seconds>(at.time_since_epoch()).count();
  }

 private:
  std::atomic<std::int64_t> at_{0};
};

class MovedEnv final : public rocksdb::EnvWrapper {
 public:
  explicit MovedEnv(const std::shared_ptr<MovedClock>& clock)
      : EnvWrapper(rocksdb::Env::Default()), clock_(clock) {
    system_clock_ = clock;
  }
  const char* Name() const override { return "MovedEnv"; }
  rocksdb::Status GetCurrentTime(std::int64_t* unix_time) override {
    return clock_->GetCurrentTime(unix_time);
  }

 private:
  const std::shared_ptr<MovedClock> clock_;
};

// Rows begin with their expiry.
class ExpiryFilter final : public rocksdb::CompactionFilter {
 public:
  explicit ExpiryFilter(MovedClock& clock) : clock_(clock) {}
  const char* Name() const override { return "ExpiryFilter"; }
  bool Filter(int, const rocksdb::Slice&, const rocksdb::Slice& value, std::string*,
              bool*) const override {
    std::int64_t now = 0;
    Must(clock_.GetCurrentTime(&now));
    return store::schema::ReadU64(value.ToStringView()) <= static_cast<std::uint64_t>(now);
  }

 private:
  MovedClock& clock_;
};

class RocksDbRival final : public Rival {
 public:
  enum class Way { kTtl, kFilter };

  RocksDbRival(Way way, seconds idle) : way_(way), idle_(idle), filter_(*clock_) {
    clock_->Set(kEnd - kDates);
    rocksdb::Options options;
    options.create_if_missing = true;
    options.env = &env_;
    options.compression = rocksdb::kNoCompression;
    options.write_buffer_size = 32u << 20;
    options.level_compaction_dynamic_level_bytes = true;
    options.periodic_compaction_seconds = 24 * 3600;
    rocksdb::BlockBasedTableOptions table;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    const std::string name = (dir_.path() / "db").string();
    if (way == Way::kTtl) {
      const auto ttl = std::chrono::duration_cast<seconds>(kDates);
      rocksdb::DBWithTTL* db = nullptr;
      Must(rocksdb::DBWithTTL::Open(options, name, &db, static_cast<std::int32_t>(ttl.count())));
      db_.reset(db);
    } else {
      options.compaction_filter = &filter_;
      rocksdb::DB* db = nullptr;
      Must(rocksdb::DB::Open(options, name, &db));
      db_.reset(db);
    }
  }

  std::string Name() const override {
    return way_ == Way::kTtl ? "RocksDB DBWithTTL" : "RocksDB compaction filter";
  }
  std::string Configuration() const override {
    return std::string(way_ == Way::kTtl ? "DBWithTTL of 92 days, so that the last message of a "
                                           "date ends a day later than with us"
                                         : "expiry in each row") +
           ", periodic_compaction_seconds one day, in plain text without compression, 32 MB write "
           "buffer, Bloom filter, dynamic levels; three rows a message; each page one WriteBatch "
           "with sync=true";
  }
  void Write(const std::vector<Letter>& page) override {
    clock_->Set(std::max(ended_, page.front().sent_at));
    rocksdb::WriteBatch batch;
    for (const Letter& letter : page) {
      std::string known;
      const rocksdb::Status status = db_->Get({}, "d" + letter.id, &known);
      if (status.ok()) continue;
      if (!status.IsNotFound()) Must(status);
      const std::string expiry = Expiry(letter);
      const std::string at = store::schema::NewestFirst(letter.sent_at) + letter.id;
      const std::string key = "m" + letter.conversation + '\0' + at;
      Must(batch.Put(key, expiry + letter.person + '\0' + letter.text));
      Must(batch.Put("d" + letter.id, expiry + key));
      Must(batch.Put("s" + letter.person + '\0' + at, expiry));
    }
    rocksdb::WriteOptions synced;
    synced.sync = true;
    Must(db_->Write(synced, &batch));
  }
  void Settle() override {
    Must(db_->Flush({}));
    WaitForCompactions();
  }
  Step EndDate() override {
    return {"its own compactions, " + std::to_string(idle_.count()) + " s", [this] {
              // DBWithTTL knows the age of a row, not its date.
              ended_ = way_ == Way::kTtl ? kEnd + std::chrono::days(1) : kEnd;
              clock_->Set(ended_);
              std::this_thread::sleep_for(idle_);
              return std::string();
            }};
  }
  std::vector<Step> CleanUps() override {
    return {{"a day later: flush, periodic compactions",
             [this] {
               clock_->Set(ended_ + std::chrono::days(2));
               Settle();
               return std::string("300 ms of it are spent waiting for one more");
             }},
            {"CompactRange of everything, forced", [this] {
               rocksdb::CompactRangeOptions all;
               all.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
               Must(db_->CompactRange(all, nullptr, nullptr));
               return std::string();
             }}};
  }
  std::uint64_t Written() const override { return WrittenBytes() - written_before_; }
  fs::path Files() const override { return dir_.path() / "db"; }

 private:
  // DBWithTTL knows when a row came; the other reads it in the row.
  std::string Expiry(const Letter& letter) const {
    if (way_ == Way::kTtl) return "";
    const TimePoint end = StartOf(DayOf(letter));
    return store::schema::U64(static_cast<std::uint64_t>(
        std::chrono::duration_cast<seconds>(end.time_since_epoch()).count()));
  }
  // Until none has run for a while: compaction-pending may stay up with nothing to come.
  void WaitForCompactions() {
    auto busy = Steady::now();
    while (SecondsSince(busy) < 0.3) {
      std::uint64_t running = 0, flushing = 0;
      if (!db_->GetIntProperty(rocksdb::DB::Properties::kNumRunningCompactions, &running) ||
          !db_->GetIntProperty(rocksdb::DB::Properties::kNumRunningFlushes, &flushing)) {
        Die("RocksDB does not say what it is doing");
      }
      if (running + flushing != 0) busy = Steady::now();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  const Way way_;
  const seconds idle_;
  TimePoint ended_ = kEnd - kDates;  // when everything of the date had expired
  const std::uint64_t written_before_ = WrittenBytes();
  Dir dir_;
  const std::shared_ptr<MovedClock> clock_ = std::make_shared<MovedClock>();
  MovedEnv env_{clock_};
  ExpiryFilter filter_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

std::unique_ptr<Rival> MakeRocksDbTtl(const RivalOptions& options) {
  return std::make_unique<RocksDbRival>(RocksDbRival::Way::kTtl, options.idle);
}
std::unique_ptr<Rival> MakeRocksDbFilter(const RivalOptions& options) {
  return std::make_unique<RocksDbRival>(RocksDbRival::Way::kFilter, options.idle);
}

}  // namespace mayfly::bench
