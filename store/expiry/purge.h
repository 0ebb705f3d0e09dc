// Promise P2: the end of a date. Numbered, idempotent steps; each may be interrupted by a kill and
// is repeated at start before the port opens. None of them needs free disk.
#ifndef MAYFLY_STORE_EXPIRY_PURGE_H_
#define MAYFLY_STORE_EXPIRY_PURGE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "store/model/ids.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

class Core;

enum class PurgeStep : int {
  kHidden = 1,      // the date is closed: no commit may touch it; forgotten_until raised, synced
  kKeysDestroyed,   // P2: from here its bytes are noise
  kFamilyDropped,   // table files unlinked
  kReceiptWritten,  // receipt in `sys`, logs released
  kKeyFileUnlinked,
};
const char* ToString(PurgeStep step);

// What the destruction of a key is worth against copies of the whole machine. A: the master key
// sits in a token and is replaced at each destruction. B: it is kept apart from the machine. C: it
// lies on the same disk. None: not even overwriting holds on this disk.
enum class P2Grade : std::uint8_t { kNone = 0, kC = 1, kB = 2, kA = 3 };
const char* ToString(P2Grade grade);  // "none", "C", "B", "A"

// Content-free proof of one date's end. Kept 12 months in `sys`.
struct PurgeReceipt {
  ExpiryDay day;
  std::uint64_t messages = 0;  // stored under this date, all accounts
  TimePoint keys_destroyed_at;
  TimePoint finished_at;
  std::int64_t late_ms = 0;  // keys_destroyed_at - expiry
  std::uint64_t bytes_dropped = 0;
  std::uint64_t replies_expired = 0;  // unsent replies that ended as failed: expired
  P2Grade p2_grade = P2Grade::kC;     // as it was at that moment
};

// What of a date outlives it, counted before its keys go.
struct DateEnd {
  std::uint64_t messages = 0;
  std::vector<std::pair<AccountId, TimePoint>> greatest_born;
  std::vector<ReplyId> unsent;
};

class Purge {
 public:
  explicit Purge(Core& core) : core_(core) {}
  // Dates whose expiry is at or before `now` and which are not wholly gone, ascending.
  std::vector<ExpiryDay> Due(TimePoint now) const;
  struct Preview {
    ExpiryDay day;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
  };
  // What would be purged at `now`; changes nothing. The same query as RunOnce.
  Result<std::vector<Preview>> DryRun(TimePoint now) const;
  // Ends every due date. A date that fails (kIo: its keys are not destroyed) does not keep the
  // others from ending; the first error is returned once all were tried. Finishes what a crash left
  // half done, and removes receipts, audit months and fingerprints that have served their time.
  // Called at start before anybody is let in. One caller at a time; others wait.
  Result<std::vector<PurgeReceipt>> RunOnce(TimePoint now);
  // Oldest first; those with day > after, at most `limit`.
  Result<std::vector<PurgeReceipt>> Receipts(std::optional<ExpiryDay> after,
                                             std::size_t limit) const;
  // Called after each step of each date; tests end the process in it.
  void set_fail_point(std::function<void(PurgeStep, ExpiryDay)> hook) { hook_ = std::move(hook); }

 private:
  Result<PurgeReceipt> EndDate(ExpiryDay day, TimePoint now);
  Status Hide(ExpiryDay day, TimePoint now);
  Result<PurgeReceipt> WriteReceipt(PurgeReceipt receipt);
  Status ForgetOld(TimePoint now);

  Core& core_;
  std::function<void(PurgeStep, ExpiryDay)> hook_;
  std::mutex running_;
  // Ends whose journal could not be written when they began; their receipt takes it along.
  std::map<ExpiryDay, DateEnd> unwritten_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_EXPIRY_PURGE_H_
