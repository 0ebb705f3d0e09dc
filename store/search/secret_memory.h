// Containers whose memory is wiped when they let go of it: words of people live in them.
#ifndef MAYFLY_STORE_SEARCH_SECRET_MEMORY_H_
#define MAYFLY_STORE_SEARCH_SECRET_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <sodium.h>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mayfly::store::search {

template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, std::size_t count) {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): a T may be a pointer, as in a hash table
    sodium_memzero(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};

// Only inside a container below: a short one keeps its bytes in the object, so they are wiped with
// the memory that holds the object.
using SecretString = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;
template <class T>
using SecretVector = std::vector<T, WipingAllocator<T>>;

struct SecretHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};
struct SecretEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};
template <class T>
using SecretMap = std::unordered_map<SecretString, T, SecretHash, SecretEqual,
                                     WipingAllocator<std::pair<const SecretString, T>>>;

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_SECRET_MEMORY_H_
