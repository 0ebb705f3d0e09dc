// Makes what a single stranger can put into a platform's answer harmless to the strict JSON parser,
// so that one message cannot stop an account. Pure, linear, safe on any input.
#ifndef MAYFLY_CONNECTORS_REPAIR_JSON_H_
#define MAYFLY_CONNECTORS_REPAIR_JSON_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace mayfly::connectors {

// Deep enough for every field that a connector reads, and well below the strict parser's own limit.
inline constexpr std::size_t kRepairDepthKept = 24;

// Ill-formed UTF-8 and lone surrogate escapes become U+FFFD, and what is nested deeper than
// kRepairDepthKept (a quoted record may hold anything) becomes null. Not a validation: the result
// goes through the strict door, store/model/json.h.
std::string RepairJson(std::string_view body);

// The length of the well-formed UTF-8 sequence at the start of `bytes`, or 0 where there is none.
std::size_t SequenceLength(std::string_view bytes);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_REPAIR_JSON_H_
