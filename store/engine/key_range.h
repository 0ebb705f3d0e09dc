// The keys that a scan visits, as one half-open range: what both engines make of ScanOptions.
#ifndef MAYFLY_STORE_ENGINE_KEY_RANGE_H_
#define MAYFLY_STORE_ENGINE_KEY_RANGE_H_

#include <optional>
#include <string>
#include <string_view>

#include "store/engine/engine.h"

namespace mayfly::store {

// begin <= key < end; without an end, all keys from begin.
struct KeyRange {
  std::string begin;
  std::optional<std::string> end;
  bool empty() const { return end && *end <= begin; }
};

// The first key behind all keys with this prefix. Absent when there is none (empty or all 0xff).
std::optional<std::string> PrefixEnd(std::string_view prefix);

// Prefix and `after` in the direction of the scan. `after` need not have the prefix.
KeyRange RangeOf(const ScanOptions& options);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_KEY_RANGE_H_
