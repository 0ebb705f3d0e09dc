// What of an account has been collected, and what is missing (promise P4).
#ifndef MAYFLY_STORE_MODEL_COVERAGE_H_
#define MAYFLY_STORE_MODEL_COVERAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/model/time.h"

namespace mayfly {

// A stretch of time of which we cannot say that everything served was stored.
struct Hole {
  TimePoint from;
  std::optional<TimePoint> until;      // still open when absent
  std::string reason;                  // an ErrorCode word, or `position-lost`, `worker-down`,
                                       // `service-down`, `not-served`, `store-returned`
  bool fillable = true;                // the platform can still serve it
  std::optional<TimePoint> filled_at;  // read afterwards; then nothing is missing
  friend bool operator==(const Hole&, const Hole&) = default;
};

struct Coverage {
  std::optional<TimePoint> covered_from;   // oldest instant read back to
  std::optional<TimePoint> covered_until;  // newest instant up to which everything was stored
  bool history_complete = false;           // history was read back to the horizon
  std::vector<Hole> holes;                 // newest last; those older than the ceiling are dropped
  std::uint64_t unreadable = 0;            // stored as stubs
  std::uint64_t past_horizon = 0;          // served, already expired or forgotten, not stored
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_COVERAGE_H_
