#include "connectors/pacer.h"

#include <algorithm>
#include <limits>

namespace mayfly::connectors {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHintMax = std::chrono::hours(24);

// SplitMix64: enough to spread accounts, and the same on every machine.
std::uint64_t NextRandom(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

bool OnlyAPersonHelps(ErrorCode code) {
  return code == ErrorCode::kCredentialDead || code == ErrorCode::kMissingPrivilege ||
         code == ErrorCode::kOptionUnusable || code == ErrorCode::kHostForbidden;
}

std::optional<TimePoint> RetryHint(TimePoint now, const Error& error) {
  if (!error.retry_at && !error.retry_after) return std::nullopt;
  // With two, the one that asks for more patience. The delay is cut before it is added, since a
  // hostile one could overflow.
  TimePoint wanted = error.retry_at.value_or(now);
  if (error.retry_after) wanted = std::max(wanted, now + std::min(*error.retry_after, kHintMax));
  return std::min(wanted, now + kHintMax);
}

TimePoint Pacer::AfterSuccess(TimePoint now, bool caught_up) {
  failures_ = 0;
  return caught_up ? now + Jittered(options_.interval) : now;
}

TimePoint Pacer::AfterError(TimePoint now, const Error& error) {
  if (failures_ < std::numeric_limits<std::uint32_t>::max()) ++failures_;
  const TimePoint earliest = now + options_.backoff_first;
  if (const auto hint = RetryHint(now, error)) return std::max(*hint, earliest);
  milliseconds delay = options_.backoff_first;
  for (std::uint32_t i = 1; i < failures_ && delay < options_.backoff_max; ++i) delay *= 2;
  return now + Jittered(std::min(delay, options_.backoff_max));
}

milliseconds Pacer::Jittered(milliseconds base) {
  const auto spread = static_cast<std::uint64_t>(std::max<milliseconds::rep>(base.count() / 10, 0));
  return base - milliseconds(NextRandom(random_) % (spread + 1));
}

}  // namespace mayfly::connectors
