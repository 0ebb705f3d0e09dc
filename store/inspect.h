// Whether what a store, or a copy of one, holds can be opened with the keys that there are now.
// Reads; changes and shows nothing. For `mayfly verify` and `mayfly restore --check`.
#ifndef MAYFLY_STORE_INSPECT_H_
#define MAYFLY_STORE_INSPECT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/engine/engine.h"
#include "store/keys/key_vault.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

enum class Standing {
  kLiving,      // its date has not come, and its keys are there
  kEnded,       // it has no keys: noise
  kDue,         // its date has come, and its keys are still there
  kUnopenable,  // its keys are there, and nothing of it opens with them
};
const char* ToString(Standing standing);  // living, ended, due, unopenable

struct RowCounts {
  std::uint64_t rows = 0;     // looked at
  std::uint64_t opened = 0;   // sealed ones that opened
  std::uint64_t erased = 0;   // sealed ones whose person's key of that date is destroyed
  std::uint64_t damaged = 0;  // that did not open
};

struct FamilyReport {
  Family family;
  Standing standing = Standing::kEnded;
  RowCounts rows;
};

struct InspectOptions {
  TimePoint now;
  // Messages of each date, drawn at random, instead of every row.
  std::optional<std::size_t> sample;
};

// Ascending. Rows of `sys` are always all looked at. Memory does not grow with the store. An Error
// only when the engine itself cannot read (kIo, kCorrupt).
Result<std::vector<FamilyReport>> Inspect(const Engine& engine, KeyVault& vault,
                                          const InspectOptions& options);

// Of the root key: which keys open a store and its copies. 32 hex digits that say nothing else.
std::string KeysPrintOf(const KeyVault& vault);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_INSPECT_H_
