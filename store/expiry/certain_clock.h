// Which time it is, when the machine's clock may be wrong (promises P1 to P3).
//
// Two times. The *wall* is the machine's clock: right most of the time, but it can be set, and a
// false time service can move it by years. *Certain* time only moves forward, as fast as
// CLOCK_BOOTTIME, which nobody can set. What has expired by either is hidden; keys are destroyed by
// certain time alone, because hiding can be taken back and destroying cannot.
//
// Certain time follows the wall's small corrections, ten minutes a day. A wall that is further
// ahead, or ahead after the machine was off, is *in doubt*, and moves certain time only when two
// voters of different kinds are for it:
//   kernel     the time service says that the clock is synchronised;
//   platforms  the Date fields of answers that the workers of at least two accounts got over TLS;
//   person     `mayfly clock confirm`.
// A platform that contradicts the wall while it is in doubt blocks that, until a person has
// confirmed. While in doubt nothing is collected, because nothing can be given a date
// (Clock::IsCertain).
//
// A wall that is behind hides and delays nothing: certain time goes on without it.
// Why so, and what it does not hold: docs/decisions/0024-two-times.md.
#ifndef MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_
#define MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "store/model/clock.h"
#include "store/model/ids.h"
#include "store/model/mutex.h"
#include "store/model/result.h"

namespace mayfly::store {

// How far wall and certain time may be apart without doubt, and a vote from the wall.
inline constexpr std::chrono::minutes kClockTolerance{10};
// Votes are of the time at which they were given; later the wall may have been moved again.
inline constexpr std::chrono::hours kClockVoteLife{1};
inline constexpr std::size_t kClockPlatformsMin = 2;

// What outlives the process (Store::SaveClock).
struct ClockRecord {
  TimePoint certain;
  std::string boot_id;  // of the machine's start in which it was written; empty if it has none
  std::chrono::milliseconds since_boot{};
  friend bool operator==(const ClockRecord&, const ClockRecord&) = default;
};

enum class ClockDoubt {
  kNone,
  kWallAhead,  // it was moved forward, or the machine stood still
  kPowerOff,   // the machine was off, for how long only the wall says
};
const char* ToString(ClockDoubt doubt);

struct ClockView {
  TimePoint certain;
  TimePoint wall;
  ClockDoubt doubt = ClockDoubt::kNone;
  bool wall_behind = false;  // by more than the tolerance
  // For the wall as it is now.
  bool kernel_votes = false;
  bool person_votes = false;
  std::size_t platforms_for = 0;
  std::size_t platforms_against = 0;
  bool blocked = false;  // in doubt, and a platform contradicts what no person has confirmed
};

// Thread-safe. Wall and timer must outlive it.
class CertainClock final : public Clock {
 public:
  // Until Restore, certain time is the wall's at construction: there is nothing yet to destroy.
  CertainClock(const Clock& wall, BootTimer& timer);

  // The later of both times: what hides.
  TimePoint Now() const override;
  // What destroys. Never less than it was before.
  TimePoint Certain() const;
  // By Now, and at once when it is past. Goes on when the wall is set back. Ends early when Now
  // goes back, because a wall that was ahead was mended: the caller reckons anew.
  bool SleepUntil(TimePoint until, std::stop_token stop) override;
  bool IsCertain() const override;
  ClockView view() const;

  // Once, before anything is destroyed. Without a record (a new store) the wall is believed.
  void Restore(const std::optional<ClockRecord>& record);
  ClockRecord Record() const;

  // The kernel's word on its own clock, of now.
  void NoteKernel(bool synchronised);
  // What the platform of this account says the time is, of now.
  void NotePlatform(AccountId account, TimePoint said);
  // A person's reading of another clock. kInvalidArgument (field "time") when it is not within five
  // minutes of the wall: then the wall is to be mended first. Outranks the platforms.
  Status Confirm(TimePoint read);
  Status MayConfirm(TimePoint read) const;  // the same judgement, and no vote

 private:
  struct Vote {
    std::chrono::milliseconds ahead_of_boot;  // the time voted for, as a distance to the timer
    std::chrono::milliseconds given_at;       // by the timer
  };
  struct Reading {
    TimePoint wall;
    std::chrono::milliseconds before, after;  // the timer, around the reading of the wall
  };
  struct Tally {
    bool kernel = false, person = false;
    std::size_t platforms_for = 0, platforms_against = 0;
    bool blocked() const { return platforms_against > 0 && !person; }
  };

  Reading Read() const;
  Reading Advance() const MAYFLY_REQUIRES(mutex_);
  void Follow(std::chrono::milliseconds elapsed, std::chrono::milliseconds ahead) const
      MAYFLY_REQUIRES(mutex_);
  Tally Count(const Reading& reading) const MAYFLY_REQUIRES(mutex_);
  void Settle(const Reading& reading) const MAYFLY_REQUIRES(mutex_);
  TimePoint CertainAt(const Reading& reading) const MAYFLY_REQUIRES(mutex_);

  const Clock& wall_;
  BootTimer& timer_;
  mutable Mutex mutex_;
  // Certain time as a distance to the timer; so it moves by itself.
  mutable std::chrono::milliseconds ahead_of_boot_ MAYFLY_GUARDED_BY(mutex_){};
  mutable std::chrono::milliseconds last_read_ MAYFLY_GUARDED_BY(mutex_){};  // by the timer
  mutable TimePoint greatest_ MAYFLY_GUARDED_BY(mutex_) = TimePoint::min();  // certain time, said
  // What is left of today's ten minutes.
  mutable std::chrono::milliseconds allowance_ MAYFLY_GUARDED_BY(mutex_) = kClockTolerance;
  mutable std::chrono::milliseconds refilled_at_ MAYFLY_GUARDED_BY(mutex_){};
  mutable ClockDoubt doubt_ MAYFLY_GUARDED_BY(mutex_) = ClockDoubt::kNone;
  std::optional<Vote> kernel_ MAYFLY_GUARDED_BY(mutex_);
  std::optional<Vote> person_ MAYFLY_GUARDED_BY(mutex_);
  std::map<AccountId, Vote> platforms_ MAYFLY_GUARDED_BY(mutex_);
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_EXPIRY_CERTAIN_CLOCK_H_
