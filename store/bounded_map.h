// A cache with a ceiling: the oldest entry makes room. Not thread-safe.
#ifndef MAYFLY_STORE_BOUNDED_MAP_H_
#define MAYFLY_STORE_BOUNDED_MAP_H_

#include <cstddef>
#include <deque>
#include <unordered_map>
#include <utility>

namespace mayfly::store {

template <class K, class V, class Hash>
class BoundedMap {
 public:
  explicit BoundedMap(std::size_t capacity) : capacity_(capacity) {}

  // Null when absent. Valid until the next change.
  const V* Find(const K& key) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }
  void Put(const K& key, V value) {
    const auto [entry, inserted] = entries_.insert_or_assign(key, std::move(value));
    if (!inserted) return;
    order_.push_back(key);
    // Erased keys leave their place in the queue behind; a queue of nothing else is not kept.
    if (order_.size() > 2 * capacity_) {
      Clear();
      return;
    }
    while (entries_.size() > capacity_) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }
  void Erase(const K& key) { entries_.erase(key); }
  void Clear() {
    entries_.clear();
    order_.clear();
  }
  std::size_t size() const { return entries_.size(); }

 private:
  const std::size_t capacity_;
  std::unordered_map<K, V, Hash> entries_;
  std::deque<K> order_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_BOUNDED_MAP_H_
