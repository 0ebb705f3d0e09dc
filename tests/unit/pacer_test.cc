#include "connectors/pacer.h"

#include <set>

#include <gtest/gtest.h>

namespace mayfly::connectors {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr TimePoint kNow{milliseconds(1'800'000'000'000)};

PacerOptions Options() {
  return {.interval = seconds(20),
          .backoff_first = seconds(1),
          .backoff_max = minutes(5),
          .jitter_seed = 7};
}

Error Transient() { return {.code = ErrorCode::kPlatformUnavailable, .message = "down"}; }

TEST(Pacer, AsksAgainAtOnceWhileThereIsMore) {
  Pacer pacer(Options());
  EXPECT_EQ(pacer.AfterSuccess(kNow, false), kNow);
}

TEST(Pacer, WaitsAnIntervalLessUpToTenPercentWhenCaughtUp) {
  Pacer pacer(Options());
  std::set<TimePoint> seen;
  for (int i = 0; i < 1000; ++i) {
    const TimePoint next = pacer.AfterSuccess(kNow, true);
    EXPECT_GE(next, kNow + seconds(18));
    EXPECT_LE(next, kNow + seconds(20));
    seen.insert(next);
  }
  EXPECT_GT(seen.size(), 100u);  // it does spread
}

TEST(Pacer, TheSameSeedGivesTheSameTimesAndAnotherSeedOthers) {
  PacerOptions other = Options();
  other.jitter_seed = 8;
  Pacer a(Options()), b(Options()), c(other);
  bool differs = false;
  for (int i = 0; i < 20; ++i) {
    const TimePoint first = a.AfterSuccess(kNow, true);
    EXPECT_EQ(first, b.AfterSuccess(kNow, true));
    differs = differs || first != c.AfterSuccess(kNow, true);
  }
  EXPECT_TRUE(differs);
}

TEST(Pacer, BackOffDoublesUpToItsMaximum) {
  Pacer pacer(Options());
  const int expected[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300};
  std::uint32_t failures = 0;
  for (const int wanted : expected) {
    const auto delay = pacer.AfterError(kNow, Transient()) - kNow;
    EXPECT_GE(delay, milliseconds(wanted * 900)) << wanted;
    EXPECT_LE(delay, milliseconds(wanted * 1100)) << wanted;
    EXPECT_EQ(pacer.failures(), ++failures);
  }
}

TEST(Pacer, ManyFailuresDoNotOverflow) {
  Pacer pacer(Options());
  for (int i = 0; i < 100'000; ++i) {
    const auto delay = pacer.AfterError(kNow, Transient()) - kNow;
    ASSERT_GE(delay, milliseconds(900));
    ASSERT_LE(delay, milliseconds(330'000));
  }
}

TEST(Pacer, SuccessForgetsTheFailures) {
  Pacer pacer(Options());
  for (int i = 0; i < 8; ++i) (void)pacer.AfterError(kNow, Transient());
  pacer.AfterSuccess(kNow, true);
  EXPECT_EQ(pacer.failures(), 0u);
  EXPECT_LE(pacer.AfterError(kNow, Transient()) - kNow, milliseconds(1100));
}

TEST(Pacer, FollowsThePlatformsHint) {
  Pacer pacer(Options());
  Error at = {.code = ErrorCode::kRateLimited, .retry_at = kNow + minutes(7)};
  EXPECT_EQ(pacer.AfterError(kNow, at), kNow + minutes(7));
  Error after = {.code = ErrorCode::kRateLimited, .retry_after = seconds(90)};
  EXPECT_EQ(pacer.AfterError(kNow, after), kNow + seconds(90));
}

TEST(Pacer, OfTwoHintsTheLaterCounts) {
  Pacer pacer(Options());
  Error both = {
      .code = ErrorCode::kRateLimited, .retry_at = kNow + minutes(1), .retry_after = minutes(2)};
  EXPECT_EQ(pacer.AfterError(kNow, both), kNow + minutes(2));
}

TEST(Pacer, AHintIsNeverSoonerThanTheFirstBackOffNorLaterThanADay) {
  Pacer pacer(Options());
  const milliseconds too_soon[] = {milliseconds(0), milliseconds(-1), -hours(100),
                                   milliseconds::min(), milliseconds(999)};
  for (const milliseconds hint : too_soon) {
    Error error = {.code = ErrorCode::kRateLimited, .retry_after = hint};
    EXPECT_EQ(pacer.AfterError(kNow, error), kNow + seconds(1)) << hint.count();
  }
  const milliseconds too_late[] = {hours(24) + milliseconds(1), hours(24 * 365),
                                   milliseconds::max()};
  for (const milliseconds hint : too_late) {
    Error error = {.code = ErrorCode::kRateLimited, .retry_after = hint};
    EXPECT_EQ(pacer.AfterError(kNow, error), kNow + hours(24)) << hint.count();
  }
  Error past = {.code = ErrorCode::kRateLimited, .retry_at = TimePoint::min()};
  EXPECT_EQ(pacer.AfterError(kNow, past), kNow + seconds(1));
  Error far = {.code = ErrorCode::kRateLimited, .retry_at = TimePoint::max()};
  EXPECT_EQ(pacer.AfterError(kNow, far), kNow + hours(24));
}

TEST(Pacer, KnowsWhatOnlyAPersonCanRepair) {
  for (const ErrorCode code : {ErrorCode::kCredentialDead, ErrorCode::kMissingPrivilege,
                               ErrorCode::kOptionUnusable, ErrorCode::kHostForbidden}) {
    EXPECT_TRUE(OnlyAPersonHelps(code)) << ToString(code);
  }
  for (const ErrorCode code : {ErrorCode::kPlatformUnavailable, ErrorCode::kRateLimited,
                               ErrorCode::kProtocol, ErrorCode::kUnavailable}) {
    EXPECT_FALSE(OnlyAPersonHelps(code)) << ToString(code);
  }
}

}  // namespace
}  // namespace mayfly::connectors
