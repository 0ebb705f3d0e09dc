// What of the store must never go back, kept beside the keys.
//
// A backup holds store/ and no keys; keys/ therefore never goes back when an older store is put in
// the place of a newer one. So the few facts that only ever move forward are written here as well,
// before the commit that brings them into the store: receipts of ended dates, forgotten_until,
// fingerprints, what was erased and must not be collected again, who is restricted and who is not
// any more, the next account id, revoked tokens, retired accounts, retention periods; and the
// generation, which tells the present store from every copy of it (returned.h).
//
// keys/forward: "mayfly-forward1\n", then frames: size[4], big-endian, and a frame sealed under the
// purpose key "mf-forward", bound to its number. Appended to and synced; written anew, and put in
// its place by a rename, when it has gathered what is no longer needed. A last frame that was cut
// off is a write that nobody was told had happened; it is dropped.
#ifndef MAYFLY_STORE_FORWARD_LEDGER_H_
#define MAYFLY_STORE_FORWARD_LEDGER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/keys/key_vault.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

struct LedgerEntry {
  enum class Kind : std::uint8_t {
    kPut = 1,           // a row of sys as it stands
    kRemoved = 2,       // a row of sys that is gone for good
    kRetention = 3,     // key: account row; value: the period
    kGeneration = 4,    // value: two numbers, see Generations
    kOnDate = 5,        // key: date[4], then the key of a row `f` or `r` in its family
    kGoneFromDate = 6,  // the same, when such a row moved to a later date or was lifted
  };
  Kind kind = Kind::kPut;
  std::string key;
  std::string value;
  TimePoint at;
};

// The generation that the present store has: `low`, or `high` when a step to it was cut off.
struct Generations {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool Include(std::uint64_t generation) const { return generation == low || generation == high; }
};

// One caller at a time: whoever holds the commit lock.
class ForwardLedger {
 public:
  // An absent file is an empty ledger. `key` is the vault's purpose key and is wiped. kCorrupt
  // names the file. With `read_only` nothing is created or repaired, and nothing can be written.
  static Result<std::unique_ptr<ForwardLedger>> Open(const std::filesystem::path& file, Pair& key,
                                                     bool read_only = false);
  ~ForwardLedger();
  ForwardLedger(const ForwardLedger&) = delete;
  ForwardLedger& operator=(const ForwardLedger&) = delete;

  // Nothing until the first generation was written.
  const std::optional<Generations>& generations() const { return generations_; }
  // The latest time of any entry; the epoch when there is none.
  TimePoint latest() const { return latest_; }

  // All of them, synced, or an error; then it is not known how many.
  Status Append(const std::vector<LedgerEntry>& entries);
  Status AppendGenerations(Generations generations, TimePoint now);
  // In the order in which they were written, until `visit` fails.
  using Visitor = std::function<Status(const LedgerEntry&)>;
  Status Replay(const Visitor& visit) const;
  // Writes a new file with what `produce` gives to its sink, and puts it in the place of this one.
  using Producer = std::function<Status(const Visitor& sink)>;
  Status Rewrite(const Producer& produce);

 private:
  ForwardLedger(std::filesystem::path file, Pair& key, bool read_only);
  Status Load();
  Status Write(int fd, std::uint64_t* frames, std::uint64_t* bytes,
               const std::vector<LedgerEntry>& entries);
  std::string SealFrame(std::uint64_t number, const std::vector<LedgerEntry>& entries) const;
  Result<std::vector<LedgerEntry>> OpenFrame(std::uint64_t number, std::string_view sealed) const;
  void Note(const LedgerEntry& entry);
  Error Named(ErrorCode code, const std::string& what) const;

  const std::filesystem::path file_;
  Pair key_;
  const bool read_only_;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;  // up to which the file is good
  std::optional<Generations> generations_;
  TimePoint latest_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_FORWARD_LEDGER_H_
