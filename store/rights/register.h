// Who is restricted, in memory: read paths ask it for each person that they are about to show.
//
// Loaded at start from the rows `r` of the open dates (schema.h), and changed by commits. It holds
// keyed hashes and no ids of people. Internal to the store.
#ifndef MAYFLY_STORE_RIGHTS_REGISTER_H_
#define MAYFLY_STORE_RIGHTS_REGISTER_H_

#include <atomic>
#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "store/codec.h"
#include "store/keys/key_vault.h"
#include "store/model/ids.h"
#include "store/model/mutex.h"

namespace mayfly::store {

// Thread-safe.
class RestrictionRegister {
 public:
  struct Entry {
    RestrictionId id;
    ExpiryDay day{};  // in whose family its row lies
    Slot slot;        // that seals it, and nothing else
    codec::RestrictionRecord record;
  };

  // Free of charge while nobody is restricted.
  bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }
  std::optional<Entry> Find(const Bytes16& person) const;
  std::optional<Entry> Find(const RestrictionId& id) const;
  std::vector<Entry> All() const;

  // Of two rows of one person the one that ends later counts.
  void Load(std::vector<Entry> entries);
  void Put(Entry entry);
  void Remove(const RestrictionId& id);
  void EndDate(ExpiryDay day);

 private:
  mutable Mutex mutex_;
  std::map<Bytes16, Entry> by_person_ MAYFLY_GUARDED_BY(mutex_);
  std::atomic<std::size_t> count_{0};
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_RIGHTS_REGISTER_H_
