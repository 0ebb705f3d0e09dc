#include "service/api/rate_limiter.h"

#include <algorithm>

namespace mayfly::service::api {
namespace {

constexpr std::chrono::microseconds kWindowMicros = RateLimiter::kWindow;

std::size_t IndexOf(Budget budget) { return static_cast<std::size_t>(budget); }

}  // namespace

const char* ToString(Budget budget) {
  switch (budget) {
    case Budget::kReading:
      return "reading";
    case Budget::kReplying:
      return "replying";
    case Budget::kAdministration:
      return "administration";
    case Budget::kPrivacy:
      return "privacy";
  }
  return "";
}

RateLimiter::RateLimiter(const RateLimits& limits, const Clock& clock, std::size_t tokens_max)
    : limits_(limits), clock_(clock), tokens_max_(std::max<std::size_t>(tokens_max, 1)) {}

RateLimiter::Verdict RateLimiter::Take(const std::string& token, Budget budget) {
  const Instant now = clock_.Now();
  const std::lock_guard lock(mutex_);
  Instant& full_at = FullAtOf(token, budget, now);
  const Micros cost = kWindowMicros / limits_.per_minute[IndexOf(budget)];
  const Instant after = std::max(full_at, now) + cost;
  const bool admitted = after - now <= kWindowMicros;
  if (admitted) full_at = after;
  Verdict verdict = Describe(budget, full_at, now);
  verdict.admitted = admitted;
  if (!admitted)
    verdict.wait = std::chrono::ceil<std::chrono::seconds>(after - now - kWindowMicros);
  return verdict;
}

RateLimiter::Verdict RateLimiter::GiveBack(const std::string& token, Budget budget) {
  const Instant now = clock_.Now();
  const std::lock_guard lock(mutex_);
  Instant& full_at = FullAtOf(token, budget, now);
  full_at -= kWindowMicros / limits_.per_minute[IndexOf(budget)];
  return Describe(budget, full_at, now);
}

std::size_t RateLimiter::tokens() const {
  const std::lock_guard lock(mutex_);
  return tokens_.size();
}

RateLimiter::Instant& RateLimiter::FullAtOf(const std::string& token, Budget budget, Instant now) {
  auto found = tokens_.find(token);
  if (found == tokens_.end()) {
    if (tokens_.size() >= tokens_max_) MakeRoom(now);
    found = tokens_.emplace(token, FullAt{now, now, now, now}).first;
  }
  Instant& full_at = found->second[IndexOf(budget)];
  // A clock that was set back locks nobody out for longer than a window.
  full_at = std::min(full_at, now + kWindowMicros);
  return full_at;
}

void RateLimiter::MakeRoom(Instant now) {
  const auto latest = [](const FullAt& budgets) {
    return *std::max_element(budgets.begin(), budgets.end());
  };
  std::erase_if(tokens_, [&](const auto& entry) { return latest(entry.second) <= now; });
  if (tokens_.size() < tokens_max_) return;
  tokens_.erase(std::min_element(tokens_.begin(), tokens_.end(), [&](const auto& a, const auto& b) {
    return latest(a.second) < latest(b.second);
  }));
}

RateLimiter::Verdict RateLimiter::Describe(Budget budget, Instant full_at, Instant now) const {
  Verdict verdict{.budget = budget, .quota = limits_.per_minute[IndexOf(budget)]};
  const Micros used = std::max(full_at - now, Micros(0));
  const Micros cost = kWindowMicros / verdict.quota;
  verdict.remaining = static_cast<std::uint32_t>((kWindowMicros - used) / cost);
  verdict.remaining = std::min(verdict.remaining, verdict.quota);
  verdict.wait = std::chrono::ceil<std::chrono::seconds>(used);
  return verdict;
}

}  // namespace mayfly::service::api
