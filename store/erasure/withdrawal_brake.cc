#include "store/erasure/withdrawal_brake.h"

#include <optional>

namespace mayfly::store {
namespace {

constexpr std::size_t kFewAtOnce = 5;
constexpr std::uint64_t kShareAtOnce = 50;  // one in so many is 2 %

}  // namespace

Status WithdrawalBrake::Load(std::size_t at_once) {
  const Core& core = transaction_.core();
  MAYFLY_ASSIGN_OR_RETURN(
      const auto row,
      core.engine().Get(Family::Sys(), schema::Key(schema::kBelieved, account_.value)));
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(times_, core.Checked(codec::DecodeTimes(*row)));
  }
  const TimePoint now = transaction_.now();
  std::erase_if(times_, [&](TimePoint at) { return at + kWithdrawalWindow <= now || at > now; });
  if (at_once <= kFewAtOnce) return {};
  std::uint64_t messages = 0;
  for (const ExpiryDay day : core.VisibleDays(now)) {
    MAYFLY_ASSIGN_OR_RETURN(const auto stats,
                            core.Get(day, schema::Key(schema::kStats, account_.value)));
    if (!stats) continue;
    const auto decoded = core.Checked(codec::DecodeStats(*stats));
    if (decoded) messages += decoded->messages;
  }
  too_many_ = at_once * kShareAtOnce > messages;
  return {};
}

void WithdrawalBrake::Count() {
  times_.push_back(transaction_.now());
  changed_ = true;
}

void WithdrawalBrake::Put() {
  if (!changed_) return;
  transaction_.batch().Put(Family::Sys(), schema::Key(schema::kBelieved, account_.value),
                           codec::EncodeTimes(times_));
}

}  // namespace mayfly::store
