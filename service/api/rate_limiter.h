// How much one token may ask in a minute, so that a busy screen or a script in a loop leaves room
// for everybody else's work.
//
// Each token has separate budgets: reading cannot use up what replying needs, nor either of them
// what administration and privacy work need. A budget is a token bucket, kept as the one instant at
// which it will be full again (the "virtual scheduling" form of GCRA, ITU-T I.371). A bucket, and
// not a window that begins anew each minute: whoever used it up waits for one request to become
// free, not for the rest of the minute, and nobody gets twice the quota across a boundary.
#ifndef MAYFLY_SERVICE_API_RATE_LIMITER_H_
#define MAYFLY_SERVICE_API_RATE_LIMITER_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "store/model/clock.h"
#include "store/model/time.h"

namespace mayfly::service::api {

enum class Budget : std::uint8_t { kReading, kReplying, kAdministration, kPrivacy };
inline constexpr std::size_t kBudgets = 4;
// As in the RateLimit fields and in [rate_limits]: reading, replying, administration, privacy.
const char* ToString(Budget budget);

// Requests a minute for each token, by Budget. All at once or one by one: a full minute's worth may
// be used in a burst. [rate_limits] of the configuration.
struct RateLimits {
  std::array<std::uint32_t, kBudgets> per_minute = {600, 60, 120, 120};
};

// Thread-safe. Its memory is bounded: tokens whose budgets are full are forgotten first, then those
// that will be full soonest, which can only give them more than their quota, never less.
class RateLimiter {
 public:
  static constexpr std::chrono::seconds kWindow{60};

  // `clock` must outlive it. `tokens_max` of at least 1.
  RateLimiter(const RateLimits& limits, const Clock& clock, std::size_t tokens_max = 4096);

  struct Verdict {
    Budget budget = Budget::kReading;
    bool admitted = true;
    std::uint32_t quota = 0;      // requests in kWindow
    std::uint32_t remaining = 0;  // that would be admitted now
    // Refused: until the next request is admitted. Admitted: until the whole quota is there again.
    std::chrono::seconds wait{0};
  };
  // Takes one request out of the budget. `token` is the id of the token, not its secret.
  Verdict Take(const std::string& token, Budget budget);
  // Puts back what Take took; for an answer that cost nothing (304).
  Verdict GiveBack(const std::string& token, Budget budget);

  std::size_t tokens() const;  // that are remembered

 private:
  using Micros = std::chrono::microseconds;
  using Instant = std::chrono::time_point<TimePoint::clock, Micros>;
  using FullAt = std::array<Instant, kBudgets>;

  Instant& FullAtOf(const std::string& token, Budget budget, Instant now);
  void MakeRoom(Instant now);
  Verdict Describe(Budget budget, Instant full_at, Instant now) const;

  const RateLimits limits_;
  const Clock& clock_;
  const std::size_t tokens_max_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, FullAt> tokens_;
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_RATE_LIMITER_H_
