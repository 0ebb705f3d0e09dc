// A platform's answer after repair: what the strict parser took before means the same, and what is
// well-formed apart from a stranger's text gets through.
#include <algorithm>
#include <string>

#include "connectors/repair_json.h"
#include "store/model/json.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using json::Value;

int Depth(const Value& value) {
  int deepest = 0;
  if (value.AsArray()) {
    for (const Value& item : *value.AsArray()) deepest = std::max(deepest, Depth(item));
  }
  if (value.AsObject()) {
    for (const auto& [key, member] : *value.AsObject()) deepest = std::max(deepest, Depth(member));
  }
  return value.is_array() || value.is_object() ? deepest + 1 : 0;
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  const std::string_view text = fuzz::Text(data, size);
  const std::string repaired = connectors::RepairJson(text);
  fuzz::Check(json::IsValidUtf8(repaired), "what is repaired is valid UTF-8");
  fuzz::Check(repaired.size() <= 4 * size + 4, "repair is linear");
  fuzz::Check(connectors::RepairJson(repaired) == repaired, "what is repaired needs no repair");
  const auto before = json::Parse(text);
  const auto after = json::Parse(repaired);
  if (!before) return 0;
  fuzz::Check(after.has_value(), "repair breaks nothing");
  const auto depth_kept = static_cast<int>(connectors::kRepairDepthKept);
  fuzz::Check(fuzz::Depth(*after) <= depth_kept, "repair cuts what is too deep");
  if (fuzz::Depth(*before) <= depth_kept) {
    fuzz::Check(repaired == text, "repair leaves alone what is whole");
  }
  return 0;
}
