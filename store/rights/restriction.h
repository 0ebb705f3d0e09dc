// A person who asked that what we hold of them is restricted, or who objected to our having it.
#ifndef MAYFLY_STORE_RIGHTS_RESTRICTION_H_
#define MAYFLY_STORE_RIGHTS_RESTRICTION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "store/model/ids.h"
#include "store/model/time.h"

namespace mayfly::store {

enum class RestrictionKind : std::uint8_t {
  kRestriction = 1,  // kept, and shown to the privacy officer only
  kObjection = 2,    // the same, and what they write from now on is counted and not kept
};
const char* ToString(RestrictionKind kind);  // "restriction", "objection"
std::optional<RestrictionKind> ParseRestrictionKind(const std::string& word);

// Says of nobody who it is: the person is known by a keyed hash (Rights::Find names theirs).
struct Restriction {
  RestrictionId id;
  RestrictionKind kind = RestrictionKind::kRestriction;
  AccountId account;
  TimePoint since;
  TimePoint expires_at;             // it ends by itself then, if nothing comes of them meanwhile
  std::uint64_t not_collected = 0;  // messages that the objection kept out
  std::optional<TimePoint> last_attempt_at;  // when the latest of them was sent
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_RIGHTS_RESTRICTION_H_
