#include "store/keys/pair_cache.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "store/keys/internal.h"

namespace mayfly::store {

PairCache::PairCache(std::uint32_t entries_max) : entries_(std::size_t{entries_max} + 1) {
  internal::EnsureSodium();
  pairs_ = static_cast<std::uint8_t*>(sodium_allocarray(entries_.size(), 32));
  if (pairs_ == nullptr) {
    std::fputs("out of memory for the cache of pairs\n", stderr);
    std::abort();
  }
  internal::LockOrCount(pairs_, entries_.size() * 32);
  free_.reserve(entries_max);
  for (std::uint32_t entry = entries_max; entry > 0; --entry) free_.push_back(entry);
  index_.reserve(entries_max);
}

PairCache::~PairCache() { sodium_free(pairs_); }

std::size_t PairCache::Hash::operator()(const Key& key) const {
  // Not chosen by strangers: slot numbers are given out by us, one after the other.
  std::uint64_t mixed = (std::uint64_t{key.date} << 32) ^ key.slot.number ^
                        (std::uint64_t{key.slot.generation} << 48);
  mixed *= 0x9E3779B97F4A7C15u;
  return static_cast<std::size_t>(mixed ^ (mixed >> 29));
}

void PairCache::Unlink(std::uint32_t entry) {
  Entry& e = entries_[entry];
  entries_[e.newer].older = e.older;
  entries_[e.older].newer = e.newer;
}

void PairCache::LinkNewest(std::uint32_t entry) {
  Entry& e = entries_[entry];
  e.newer = 0;
  e.older = entries_[0].older;
  entries_[e.older].newer = entry;
  entries_[0].older = entry;
}

void PairCache::Release(std::uint32_t entry) {
  sodium_memzero(PairAt(entry), 32);
  Unlink(entry);
  index_.erase(entries_[entry].key);
  entries_[entry].used = false;
  free_.push_back(entry);
}

bool PairCache::Find(std::uint32_t date, Slot slot, Pair* pair) {
  const auto found = index_.find(Key{date, slot});
  if (found == index_.end()) return false;
  Unlink(found->second);
  LinkNewest(found->second);
  std::copy_n(PairAt(found->second), pair->size(), pair->begin());
  return true;
}

void PairCache::Insert(std::uint32_t date, Slot slot, const Pair& pair) {
  Remove(date, slot);
  if (free_.empty()) Release(entries_[0].newer);
  const std::uint32_t entry = free_.back();
  free_.pop_back();
  entries_[entry].key = Key{date, slot};
  entries_[entry].used = true;
  std::copy(pair.begin(), pair.end(), PairAt(entry));
  LinkNewest(entry);
  index_.emplace(entries_[entry].key, entry);
}

void PairCache::Remove(std::uint32_t date, Slot slot) {
  const auto found = index_.find(Key{date, slot});
  if (found != index_.end()) Release(found->second);
}

void PairCache::RemoveDate(std::uint32_t date) {
  for (std::uint32_t entry = 1; entry < entries_.size(); ++entry) {
    if (entries_[entry].used && entries_[entry].key.date == date) Release(entry);
  }
}

}  // namespace mayfly::store
