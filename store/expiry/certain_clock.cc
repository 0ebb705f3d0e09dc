#include "store/expiry/certain_clock.h"

#include <algorithm>

namespace mayfly::store {
namespace {

using std::chrono::milliseconds;

// A person reads a watch and types.
constexpr std::chrono::minutes kPersonTolerance{5};
// Two clocks that are both cut down to milliseconds.
constexpr milliseconds kJitter{2};
constexpr std::chrono::hours kAllowanceRefill{24};

milliseconds Distance(milliseconds a, milliseconds b) { return a < b ? b - a : a - b; }

}  // namespace

const char* ToString(ClockDoubt doubt) {
  switch (doubt) {
    case ClockDoubt::kNone:
      return "none";
    case ClockDoubt::kWallAhead:
      return "wall-ahead";
    case ClockDoubt::kPowerOff:
      return "power-off";
  }
  return "none";
}

CertainClock::CertainClock(const Clock& wall, BootTimer& timer) : wall_(wall), timer_(timer) {
  Restore(std::nullopt);
}

CertainClock::Reading CertainClock::Read() const {
  Reading reading;
  reading.before = timer_.SinceBoot();
  reading.wall = wall_.Now();
  reading.after = timer_.SinceBoot();
  return reading;
}

void CertainClock::Restore(const std::optional<ClockRecord>& record) {
  const MutexLock lock(mutex_);
  const Reading reading = Read();
  last_read_ = refilled_at_ = reading.after;
  greatest_ = TimePoint::min();
  doubt_ = ClockDoubt::kNone;
  if (!record) {
    ahead_of_boot_ = reading.wall.time_since_epoch() - reading.before;
    return;
  }
  const std::string boot_id = timer_.BootId();
  const bool same_start =
      !boot_id.empty() && boot_id == record->boot_id && record->since_boot <= reading.after;
  if (same_start) {
    ahead_of_boot_ = record->certain.time_since_epoch() - record->since_boot;
  } else {
    ahead_of_boot_ = record->certain.time_since_epoch() - reading.after;
    if (reading.wall - record->certain > kClockTolerance) doubt_ = ClockDoubt::kPowerOff;
  }
  (void)Advance();
}

CertainClock::Reading CertainClock::Advance() const {
  const Reading reading = Read();
  const milliseconds elapsed = std::max(reading.after - last_read_, milliseconds(0));
  last_read_ = std::max(last_read_, reading.after);
  // Ten minutes for each day that passed.
  constexpr auto kRefillDivisor = kAllowanceRefill / kClockTolerance;
  const milliseconds refill = (reading.after - refilled_at_) / kRefillDivisor;
  if (refill >= milliseconds(1)) {
    allowance_ = std::min<milliseconds>(allowance_ + refill, kClockTolerance);
    refilled_at_ = reading.after;
  }
  // The wall was read somewhere between the two readings of the timer, so its distance is known
  // only within bounds: on a busy machine they are far apart, and nothing is concluded from that.
  const milliseconds wall = reading.wall.time_since_epoch();
  const milliseconds least = wall - reading.after - ahead_of_boot_ - kJitter;
  const milliseconds most = wall - reading.before - ahead_of_boot_ + kJitter;
  if (least > milliseconds(0)) {
    Follow(elapsed, least);
  } else if (most < milliseconds(0)) {
    Follow(elapsed, most);
  } else {
    doubt_ = ClockDoubt::kNone;  // they agree
  }
  if (doubt_ != ClockDoubt::kNone) Settle(reading);
  return reading;
}

// `ahead` of certain time is the wall; negative when it is behind.
void CertainClock::Follow(milliseconds elapsed, milliseconds ahead) const {
  if (ahead < milliseconds(0)) {
    // Certain time waits for a clock that was a little fast. It does not go back.
    doubt_ = ClockDoubt::kNone;
    if (-ahead > kClockTolerance) return;
    const milliseconds waited = std::min({elapsed, -ahead, allowance_});
    ahead_of_boot_ -= waited;
    allowance_ -= waited;
  } else if (ahead <= allowance_) {
    doubt_ = ClockDoubt::kNone;
    ahead_of_boot_ += ahead;
    allowance_ -= ahead;
  } else if (doubt_ == ClockDoubt::kNone) {
    doubt_ = ClockDoubt::kWallAhead;
  }
}

CertainClock::Tally CertainClock::Count(const Reading& reading) const {
  const milliseconds wall = reading.wall.time_since_epoch();
  const auto is_fresh = [&](const Vote& vote) {
    return reading.after - vote.given_at <= kClockVoteLife;
  };
  const auto agrees = [&](const Vote& vote) {
    return Distance(vote.ahead_of_boot + reading.after, wall) <= kClockTolerance;
  };
  Tally tally;
  tally.kernel = kernel_ && is_fresh(*kernel_) && agrees(*kernel_);
  tally.person = person_ && is_fresh(*person_) && agrees(*person_);
  for (const auto& [account, vote] : platforms_) {
    if (is_fresh(vote)) ++(agrees(vote) ? tally.platforms_for : tally.platforms_against);
  }
  return tally;
}

void CertainClock::Settle(const Reading& reading) const {
  const Tally tally = Count(reading);
  const int votes = static_cast<int>(tally.kernel) + static_cast<int>(tally.person) +
                    static_cast<int>(tally.platforms_for >= kClockPlatformsMin);
  if (votes < 2 || tally.blocked()) return;
  ahead_of_boot_ = reading.wall.time_since_epoch() - reading.after;
  doubt_ = ClockDoubt::kNone;
}

TimePoint CertainClock::CertainAt(const Reading& reading) const {
  TimePoint certain(ahead_of_boot_ + reading.after);
  // So that a date ends at its millisecond, not at the next look.
  const bool agree = doubt_ == ClockDoubt::kNone && reading.wall - certain <= kJitter;
  if (agree) certain = std::max(certain, reading.wall);
  greatest_ = std::max(greatest_, certain);
  return greatest_;
}

TimePoint CertainClock::Now() const {
  const MutexLock lock(mutex_);
  const Reading reading = Advance();
  return std::max(reading.wall, CertainAt(reading));
}

TimePoint CertainClock::Certain() const {
  const MutexLock lock(mutex_);
  return CertainAt(Advance());
}

bool CertainClock::IsCertain() const {
  const MutexLock lock(mutex_);
  (void)Advance();
  return doubt_ == ClockDoubt::kNone;
}

bool CertainClock::SleepUntil(TimePoint until, std::stop_token stop) {
  TimePoint last = Now();
  while (!stop.stop_requested()) {
    const TimePoint now = Now();
    const auto left = until - now;
    // A wall that was ahead was mended: what `until` was reckoned from is not so any more.
    if (left <= left.zero() || now < last) return true;
    last = now;
    if (!timer_.WaitFor(left, stop)) return false;
  }
  return false;
}

ClockView CertainClock::view() const {
  const MutexLock lock(mutex_);
  const Reading reading = Advance();
  const Tally tally = Count(reading);
  ClockView view;
  view.certain = CertainAt(reading);
  view.wall = reading.wall;
  view.doubt = doubt_;
  view.wall_behind = view.certain - view.wall > kClockTolerance;
  view.kernel_votes = tally.kernel;
  view.person_votes = tally.person;
  view.platforms_for = tally.platforms_for;
  view.platforms_against = tally.platforms_against;
  view.blocked = doubt_ != ClockDoubt::kNone && tally.blocked();
  return view;
}

ClockRecord CertainClock::Record() const {
  const MutexLock lock(mutex_);
  const Reading reading = Advance();
  return {.certain = CertainAt(reading), .boot_id = timer_.BootId(), .since_boot = reading.after};
}

void CertainClock::NoteKernel(bool synchronised) {
  const MutexLock lock(mutex_);
  const Reading reading = Read();
  kernel_.reset();
  if (synchronised) {
    kernel_ = Vote{reading.wall.time_since_epoch() - reading.after, reading.after};
  }
  (void)Advance();
}

void CertainClock::NotePlatform(AccountId account, TimePoint said) {
  const MutexLock lock(mutex_);
  const milliseconds now = timer_.SinceBoot();
  platforms_[account] = Vote{said.time_since_epoch() - now, now};
  (void)Advance();
}

Status CertainClock::MayConfirm(TimePoint read) const {
  const TimePoint wall = wall_.Now();
  if (Distance(read.time_since_epoch(), wall.time_since_epoch()) <= kPersonTolerance) return {};
  return Fail(ErrorCode::kInvalidArgument,
              "It is not what this machine's clock shows, which is " + FormatRfc3339(wall) +
                  "; set that clock right first.",
              "time");
}

Status CertainClock::Confirm(TimePoint read) {
  MAYFLY_RETURN_IF_ERROR(MayConfirm(read));
  const MutexLock lock(mutex_);
  const Reading reading = Read();
  person_ = Vote{reading.wall.time_since_epoch() - reading.after, reading.after};
  (void)Advance();
  return {};
}

}  // namespace mayfly::store
