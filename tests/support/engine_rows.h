// Short words for engine tests: one row, all rows, what a scan saw.
#ifndef MAYFLY_TESTS_SUPPORT_ENGINE_ROWS_H_
#define MAYFLY_TESTS_SUPPORT_ENGINE_ROWS_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/engine/engine.h"

namespace mayfly::testing {

using Row = std::pair<std::string, std::string>;

inline store::Family DayFamily(int n) {
  using namespace std::chrono;
  return store::Family::Day(sys_days(year(2027) / January / 1) + days(n));
}

inline Status PutRow(store::Engine& engine, store::Family family, std::string key,
                     std::string value) {
  store::Batch batch;
  batch.Put(family, std::move(key), std::move(value));
  return engine.Commit(batch, store::Durability::kSynced);
}

// The value, or "(absent)", or the error's word in brackets.
inline std::string ValueOf(const store::Engine& engine, store::Family family,
                           std::string_view key) {
  const auto value = engine.Get(family, key);
  if (!value) return std::string("(") + ToString(value.error().code) + ")";
  return value->value_or("(absent)");
}

inline Result<std::vector<Row>> RowsOf(const store::Engine& engine, store::Family family,
                                       const store::ScanOptions& options = {}) {
  std::vector<Row> rows;
  const Status status =
      engine.Scan(family, options, [&](std::string_view key, std::string_view value) {
        rows.emplace_back(key, value);
        return true;
      });
  if (!status) return Fail(status.error());
  return rows;
}

inline std::vector<std::string> KeysOf(const store::Engine& engine, store::Family family,
                                       const store::ScanOptions& options = {}) {
  std::vector<std::string> keys;
  const auto rows = RowsOf(engine, family, options);
  if (!rows) return {std::string("(") + ToString(rows.error().code) + ")"};
  for (const Row& row : *rows) keys.push_back(row.first);
  return keys;
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_ENGINE_ROWS_H_
