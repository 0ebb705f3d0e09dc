#include "store/expiry/certain_clock.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/simulated_clock.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using store::CertainClock;
using store::ClockDoubt;

const TimePoint kNow = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr AccountId kOne{1}, kTwo{2}, kThree{3};

class CertainClockTest : public ::testing::Test {
 protected:
  SimulatedMachine machine_{kNow};
  CertainClock clock_{machine_.wall, machine_.timer};

  void ExpectDoubt(ClockDoubt doubt) {
    EXPECT_EQ(clock_.view().doubt, doubt);
    EXPECT_EQ(clock_.IsCertain(), doubt == ClockDoubt::kNone);
  }
  void BothSay(TimePoint time) {
    clock_.NotePlatform(kOne, time);
    clock_.NotePlatform(kTwo, time);
  }
};

TEST_F(CertainClockTest, BothTimesAreTheWallWhileNobodyTouchesIt) {
  for (int i = 0; i < 1'000; ++i) {
    machine_.Pass(milliseconds(1 + i * 7 % 977));
    ASSERT_EQ(clock_.Certain(), machine_.wall.Now());
    ASSERT_EQ(clock_.Now(), machine_.wall.Now());
  }
  ExpectDoubt(ClockDoubt::kNone);
}

TEST_F(CertainClockTest, SmallCorrectionsAreFollowed) {
  machine_.SetWall(kNow + minutes(4));
  EXPECT_EQ(clock_.Certain(), kNow + minutes(4));
  ExpectDoubt(ClockDoubt::kNone);
  machine_.SetWall(kNow + minutes(9));
  EXPECT_EQ(clock_.Certain(), kNow + minutes(9));
  ExpectDoubt(ClockDoubt::kNone);
}

// Nine minutes, and nine minutes an hour later: nobody walks certain time through a date like that.
TEST_F(CertainClockTest, SmallCorrectionsAddUpToTenMinutesADay) {
  machine_.SetWall(machine_.wall.Now() + minutes(9));
  ExpectDoubt(ClockDoubt::kNone);
  machine_.Pass(hours(1));
  const TimePoint before = clock_.Certain();
  machine_.SetWall(machine_.wall.Now() + minutes(9));
  ExpectDoubt(ClockDoubt::kWallAhead);
  EXPECT_EQ(clock_.Certain(), before);
  machine_.Pass(days(1));
  ExpectDoubt(ClockDoubt::kNone);
  EXPECT_GE(clock_.Certain(), machine_.wall.Now() - milliseconds(9));
}

TEST_F(CertainClockTest, AJumpOf92DaysHidesForItsTimeAndDestroysNothing) {
  machine_.SetWall(kNow + days(92));
  for (int i = 0; i < 20; ++i) {
    machine_.Pass(minutes(1));
    EXPECT_EQ(clock_.Now(), machine_.wall.Now());
    EXPECT_EQ(clock_.Certain(), kNow + minutes(i + 1));
    ExpectDoubt(ClockDoubt::kWallAhead);
  }
  machine_.SetWall(kNow + minutes(20));
  EXPECT_EQ(clock_.Now(), kNow + minutes(20)) << "what was hidden is shown again";
  ExpectDoubt(ClockDoubt::kNone);
}

TEST_F(CertainClockTest, AWallSetBack85DaysShowsAndDelaysNothing) {
  machine_.SetWall(kNow - days(85));
  EXPECT_EQ(clock_.Now(), kNow);
  EXPECT_TRUE(clock_.view().wall_behind);
  machine_.Pass(days(1));
  EXPECT_EQ(clock_.Now(), kNow + days(1));
  EXPECT_EQ(clock_.Certain(), kNow + days(1));
  ExpectDoubt(ClockDoubt::kNone);
}

TEST_F(CertainClockTest, ASleepEndsThoughTheWallWasSetBackMeanwhile) {
  std::jthread mover([&](std::stop_token stop) {
    machine_.SetWall(kNow - days(85));
    while (!stop.stop_requested()) machine_.timer.Pass(seconds(1));
  });
  EXPECT_TRUE(clock_.SleepUntil(kNow + minutes(5), {}));
  EXPECT_GE(clock_.Now(), kNow + minutes(5));
}

TEST_F(CertainClockTest, ASleepFromAWrongTimeEndsWhenThatIsMended) {
  machine_.SetWall(kNow + days(92));
  const TimePoint until = clock_.Now() + minutes(1);
  std::jthread mover([&](std::stop_token stop) {
    machine_.SetWall(kNow);
    while (!stop.stop_requested()) machine_.timer.Pass(milliseconds(1));
  });
  EXPECT_TRUE(clock_.SleepUntil(until, {}));
  EXPECT_LT(clock_.Now(), kNow + days(1));
}

TEST_F(CertainClockTest, ASleepStopsWhenAskedAndEndsAtOnceWhenItIsPast) {
  EXPECT_TRUE(clock_.SleepUntil(kNow - minutes(1), {}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(clock_.SleepUntil(kNow + minutes(9), stop.get_token()));
  EXPECT_FALSE(clock_.SleepUntil(kNow, stop.get_token()));
}

TEST_F(CertainClockTest, AWallThatWasALittleFastIsWaitedFor) {
  machine_.SetWall(kNow - minutes(3));
  EXPECT_EQ(clock_.Certain(), kNow) << "it does not go back";
  machine_.Pass(minutes(2));
  EXPECT_EQ(clock_.Certain(), kNow);
  machine_.Pass(minutes(2));
  EXPECT_LE(clock_.Certain() - machine_.wall.Now(), milliseconds(10));
}

TEST_F(CertainClockTest, AStoppedWallHoldsCertainTimeForTenMinutesAtMost) {
  for (int i = 0; i < 60; ++i) {
    machine_.timer.Pass(minutes(1));  // and the wall stands
    (void)clock_.Certain();
  }
  EXPECT_GE(clock_.Certain(), kNow + minutes(49));
}

// --- votes

TEST_F(CertainClockTest, TwoVotesOfDifferentKindsSettleADoubt) {
  const auto jump = [&] { machine_.SetWall(machine_.wall.Now() + days(30)); };
  const auto kernel = [&] { clock_.NoteKernel(true); };
  const auto platforms = [&] { BothSay(machine_.wall.Now()); };
  const auto person = [&] { EXPECT_TRUE(clock_.Confirm(machine_.wall.Now())); };
  const std::vector<std::pair<std::function<void()>, std::function<void()>>> pairs = {
      {kernel, platforms}, {platforms, person}, {person, kernel}};
  for (const auto& [first, second] : pairs) {
    jump();
    ExpectDoubt(ClockDoubt::kWallAhead);
    first();
    first();
    ExpectDoubt(ClockDoubt::kWallAhead);
    second();
    ExpectDoubt(ClockDoubt::kNone);
    EXPECT_EQ(clock_.Certain(), machine_.wall.Now());
  }
}

TEST_F(CertainClockTest, OnePlatformIsNoVote) {
  machine_.SetWall(kNow + days(30));
  clock_.NoteKernel(true);
  clock_.NotePlatform(kOne, kNow + days(30));
  clock_.NotePlatform(kOne, kNow + days(30));
  ExpectDoubt(ClockDoubt::kWallAhead);
  EXPECT_EQ(clock_.view().platforms_for, 1u);
}

TEST_F(CertainClockTest, AKernelThatIsNotSynchronisedTakesItsVoteBack) {
  machine_.SetWall(kNow + days(30));
  clock_.NoteKernel(true);
  clock_.NoteKernel(false);
  BothSay(kNow + days(30));
  ExpectDoubt(ClockDoubt::kWallAhead);
}

TEST_F(CertainClockTest, AContradictionBlocksUntilAPersonConfirms) {
  machine_.SetWall(kNow + days(92));
  clock_.NoteKernel(true);  // a false time service has set it
  BothSay(kNow + days(92));
  ExpectDoubt(ClockDoubt::kNone);

  machine_.SetWall(kNow + days(184));
  clock_.NotePlatform(kThree, kNow + days(92));
  BothSay(kNow + days(184));
  clock_.NoteKernel(true);
  ExpectDoubt(ClockDoubt::kWallAhead);
  EXPECT_TRUE(clock_.view().blocked);
  EXPECT_EQ(clock_.view().platforms_against, 1u);
  EXPECT_TRUE(clock_.Confirm(kNow + days(184) + minutes(2)));
  ExpectDoubt(ClockDoubt::kNone);
}

TEST_F(CertainClockTest, APlatformThatContradictsATimeInNoDoubtChangesNothing) {
  BothSay(kNow + days(92));
  clock_.NoteKernel(true);
  ExpectDoubt(ClockDoubt::kNone);
  EXPECT_EQ(clock_.Certain(), kNow);
  EXPECT_FALSE(clock_.view().blocked);
}

TEST_F(CertainClockTest, VotesAreOfTheTimeAtWhichTheyWereGiven) {
  machine_.SetWall(kNow + days(30));
  clock_.NoteKernel(true);
  machine_.SetWall(kNow + days(60));
  EXPECT_TRUE(clock_.Confirm(kNow + days(60)));
  EXPECT_FALSE(clock_.view().kernel_votes);
  ExpectDoubt(ClockDoubt::kWallAhead);
  machine_.Pass(hours(1) + seconds(1));
  EXPECT_FALSE(clock_.view().person_votes);
  clock_.NoteKernel(true);
  ExpectDoubt(ClockDoubt::kWallAhead);
}

TEST_F(CertainClockTest, APersonWhoseClockShowsAnotherTimeIsToldSo) {
  machine_.SetWall(kNow + days(30));
  const auto refused = clock_.Confirm(kNow);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused.error().field, "time");
  EXPECT_NE(refused.error().message.find("2026-12-22T12:00:00.000Z"), std::string::npos);
  EXPECT_FALSE(clock_.view().person_votes);
}

// --- what outlives the process

TEST_F(CertainClockTest, ARestartWithoutPowerOffCountsTheTimeBetween) {
  const store::ClockRecord record = clock_.Record();
  machine_.Pass(days(3));
  CertainClock next(machine_.wall, machine_.timer);
  next.Restore(record);
  EXPECT_EQ(next.Certain(), kNow + days(3));
  EXPECT_TRUE(next.IsCertain());

  machine_.SetWall(kNow + days(95));
  CertainClock third(machine_.wall, machine_.timer);
  third.Restore(next.Record());
  EXPECT_EQ(third.Certain(), kNow + days(3)) << "a restart is no way around the doubt";
  EXPECT_FALSE(third.IsCertain());
}

TEST_F(CertainClockTest, AfterAPowerOffAWallThatIsFarAheadIsInDoubt) {
  const store::ClockRecord record = clock_.Record();
  machine_.PowerOff(days(2));
  CertainClock next(machine_.wall, machine_.timer);
  next.Restore(record);
  EXPECT_EQ(next.view().doubt, ClockDoubt::kPowerOff);
  EXPECT_EQ(next.Certain(), kNow);
  EXPECT_EQ(next.Now(), kNow + days(2)) << "hidden all the same";
  next.NoteKernel(true);
  next.NotePlatform(kOne, machine_.wall.Now());
  next.NotePlatform(kTwo, machine_.wall.Now() + minutes(1));
  EXPECT_TRUE(next.IsCertain());
  EXPECT_EQ(next.Certain(), kNow + days(2));
}

TEST_F(CertainClockTest, AShortPowerOffIsBelieved) {
  const store::ClockRecord record = clock_.Record();
  machine_.PowerOff(minutes(3));
  CertainClock next(machine_.wall, machine_.timer);
  next.Restore(record);
  EXPECT_TRUE(next.IsCertain());
  EXPECT_GE(next.Certain(), kNow + minutes(3) - milliseconds(2));
}

TEST_F(CertainClockTest, AMachineThatForgotTheTimeWhileItWasOffKeepsWhatWasCertain) {
  const store::ClockRecord record = clock_.Record();
  machine_.PowerOff(minutes(1));
  machine_.SetWall(*ParseRfc3339("1970-01-01T00:00:00Z"));
  CertainClock next(machine_.wall, machine_.timer);
  next.Restore(record);
  EXPECT_EQ(next.Now(), kNow);
  EXPECT_TRUE(next.view().wall_behind);
}

// Somebody owns the machine's clock, its time service and one platform. Whatever they do, certain
// time passes the true time by no more than the ten minutes a day, and never goes back.
TEST(CertainClockProperty, NobodyAloneMovesItAhead) {
  for (unsigned seed = 1; seed <= 1'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto below = [&](std::int64_t bound) {
      return std::uniform_int_distribution<std::int64_t>(0, bound - 1)(random);
    };
    SimulatedMachine machine(kNow);
    CertainClock clock(machine.wall, machine.timer);
    TimePoint truth = kNow;
    TimePoint last = kNow;
    int starts = 0;
    for (int step = 0; step < 60; ++step) {
      const milliseconds passed = minutes(below(600));
      truth += passed;
      machine.Pass(passed);
      switch (below(6)) {
        case 0:
          machine.SetWall(truth + days(below(200) - 100));
          break;
        case 1:
          machine.SetWall(truth + minutes(below(19)));
          break;
        case 2:
          clock.NoteKernel(true);
          break;
        case 3:
          clock.NotePlatform(kOne, machine.wall.Now());
          break;
        case 4:
          clock.NotePlatform(kTwo, truth);  // the honest one
          break;
        default: {
          const store::ClockRecord record = clock.Record();
          ++starts;
          if (below(2) == 0) {
            const milliseconds off = minutes(below(3'000));
            truth += off;
            machine.PowerOff(off);
          }
          clock.Restore(record);
          break;
        }
      }
      const TimePoint certain = clock.Certain();
      ASSERT_GE(certain, last);
      last = certain;
      // Ten minutes a day; ten more with each start, which forgets what was used of them; and the
      // tolerance of the honest platform's vote.
      const minutes allowed =
          minutes(10) * (2 + starts) + std::chrono::duration_cast<minutes>((truth - kNow) / 144);
      ASSERT_LE(certain, truth + allowed);
      ASSERT_GE(clock.Now(), certain);
    }
  }
}

}  // namespace
}  // namespace mayfly::testing
