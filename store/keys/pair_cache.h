// A bounded cache of pairs, so that reading a record seldom touches a key file. The pairs lie in
// one piece of guarded, locked memory; a pair is wiped when it is evicted or its key is destroyed.
#ifndef MAYFLY_STORE_KEYS_PAIR_CACHE_H_
#define MAYFLY_STORE_KEYS_PAIR_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "store/keys/key_vault.h"

namespace mayfly::store {

// Not thread-safe: its owner's lock guards it. Evicts the pair that was used longest ago.
class PairCache {
 public:
  explicit PairCache(std::uint32_t entries_max);
  PairCache(const PairCache&) = delete;
  PairCache& operator=(const PairCache&) = delete;
  ~PairCache();

  // False when absent.
  bool Find(std::uint32_t date, Slot slot, Pair* pair);
  void Insert(std::uint32_t date, Slot slot, const Pair& pair);
  void Remove(std::uint32_t date, Slot slot);
  void RemoveDate(std::uint32_t date);
  std::size_t size() const { return index_.size(); }

 private:
  struct Key {
    std::uint32_t date = 0;
    Slot slot;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };
  struct Entry {
    Key key;
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    bool used = false;
  };
  std::uint8_t* PairAt(std::uint32_t entry) { return pairs_ + std::size_t{entry} * 32; }
  void Unlink(std::uint32_t entry);
  void LinkNewest(std::uint32_t entry);
  void Release(std::uint32_t entry);

  // entries_[0] is the ring's anchor: its `older` is the newest entry, its `newer` the oldest.
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<Key, std::uint32_t, Hash> index_;
  std::uint8_t* pairs_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_PAIR_CACHE_H_
