// Says when to ask a platform again. Pure: the caller passes the time and does the waiting.
#ifndef MAYFLY_CONNECTORS_PACER_H_
#define MAYFLY_CONNECTORS_PACER_H_

#include <chrono>
#include <cstdint>
#include <optional>

#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::connectors {

struct PacerOptions {
  std::chrono::milliseconds interval{20'000};      // between polls that found nothing newer
  std::chrono::milliseconds backoff_first{1'000};  // after the first transient failure; doubles
  std::chrono::milliseconds backoff_max{300'000};  //
  std::uint64_t jitter_seed = 0;                   // spreads accounts: up to 10 % sooner
};

// How long to leave an account alone that only a person can repair. It is asked again, rarely,
// because a platform, or a resolver, may have been wrong about it.
inline constexpr std::chrono::minutes kRepairInterval{60};
// kCredentialDead, kMissingPrivilege, kOptionUnusable, kHostForbidden.
bool OnlyAPersonHelps(ErrorCode code);

// When the platform wants to be asked again at the soonest: the later of retry_at and retry_after,
// but no later than a day from `now`, whatever it says. nullopt when it said nothing.
std::optional<TimePoint> RetryHint(TimePoint now, const Error& error);

// Not thread-safe.
class Pacer {
 public:
  explicit Pacer(const PacerOptions& options) : options_(options), random_(options.jitter_seed) {}
  // When to call again after a page. At once while there is more; else within the interval, which
  // is what a person was promised, and seldom just at its end.
  TimePoint AfterSuccess(TimePoint now, bool caught_up);
  // When to call again after an error: retry_at or retry_after where given (never sooner than the
  // first back-off, never later than a day), else a growing back-off.
  TimePoint AfterError(TimePoint now, const Error& error);
  std::uint32_t failures() const { return failures_; }

 private:
  std::chrono::milliseconds Jittered(std::chrono::milliseconds base);
  PacerOptions options_;
  std::uint64_t random_;
  std::uint32_t failures_ = 0;
};

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_PACER_H_
