#include "service/api/rate_limiter.h"

#include <gtest/gtest.h>

#include "tests/support/api_clock.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::ApiClock;
using std::chrono::milliseconds;
using std::chrono::seconds;

const RateLimits kLimits{.per_minute = {6, 2, 60'000, 7}};

class RateLimiterTest : public ::testing::Test {
 protected:
  int Admitted(RateLimiter& limiter, const std::string& token, Budget budget, int tries) {
    int admitted = 0;
    for (int i = 0; i < tries; ++i) admitted += limiter.Take(token, budget).admitted;
    return admitted;
  }
  ApiClock clock_{TimePoint(seconds(1'000'000))};
};

TEST_F(RateLimiterTest, AMinutesWorthMayBeUsedAtOnceAndComesBackBitByBit) {
  RateLimiter limiter(kLimits, clock_);
  for (std::uint32_t left = 6; left-- > 0;) {
    const auto verdict = limiter.Take("tok", Budget::kReading);
    EXPECT_TRUE(verdict.admitted);
    EXPECT_EQ(verdict.quota, 6u);
    EXPECT_EQ(verdict.remaining, left);
    EXPECT_EQ(verdict.wait, seconds(60 - 10 * left));
  }
  const auto refused = limiter.Take("tok", Budget::kReading);
  EXPECT_FALSE(refused.admitted);
  EXPECT_EQ(refused.remaining, 0u);
  EXPECT_EQ(refused.wait, seconds(10));
  // A refusal costs nothing: whoever hammers is not shut out for longer.
  clock_.Set(clock_.Now() + milliseconds(9'999));
  EXPECT_EQ(limiter.Take("tok", Budget::kReading).wait, seconds(1));
  clock_.Set(clock_.Now() + milliseconds(1));
  EXPECT_EQ(Admitted(limiter, "tok", Budget::kReading, 10), 1);
  clock_.Set(clock_.Now() + seconds(3'600));
  EXPECT_EQ(Admitted(limiter, "tok", Budget::kReading, 10), 6);
}

TEST_F(RateLimiterTest, NoMinuteHoldsMoreThanTwiceTheQuota) {
  RateLimiter limiter(kLimits, clock_);
  int admitted = 0;
  for (int second = 0; second < 600; ++second) {
    admitted += Admitted(limiter, "tok", Budget::kReading, 5);
    clock_.Set(clock_.Now() + seconds(1));
  }
  EXPECT_EQ(admitted, 6 + 59);  // the burst, then one every ten seconds
}

TEST_F(RateLimiterTest, TokensAndBudgetsAreSeparate) {
  RateLimiter limiter(kLimits, clock_);
  EXPECT_EQ(Admitted(limiter, "a", Budget::kReading, 10), 6);
  EXPECT_EQ(Admitted(limiter, "a", Budget::kReplying, 10), 2);
  EXPECT_EQ(Admitted(limiter, "a", Budget::kAdministration, 100'000), 60'000);
  EXPECT_EQ(Admitted(limiter, "a", Budget::kPrivacy, 10), 7);  // a minute does not divide by 7
  EXPECT_EQ(Admitted(limiter, "b", Budget::kReading, 10), 6);
}

TEST_F(RateLimiterTest, WhatIsGivenBackCanBeTakenAgain) {
  RateLimiter limiter(kLimits, clock_);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(limiter.Take("tok", Budget::kReplying).admitted);
    EXPECT_EQ(limiter.GiveBack("tok", Budget::kReplying).remaining, 2u);
  }
  EXPECT_EQ(Admitted(limiter, "tok", Budget::kReplying, 10), 2);
}

TEST_F(RateLimiterTest, AClockThatWasSetBackLocksNobodyOut) {
  RateLimiter limiter(kLimits, clock_);
  Admitted(limiter, "tok", Budget::kReading, 10);
  clock_.Set(clock_.Now() - std::chrono::hours(24));
  EXPECT_FALSE(limiter.Take("tok", Budget::kReading).admitted);
  clock_.Set(clock_.Now() + seconds(60));
  EXPECT_EQ(Admitted(limiter, "tok", Budget::kReading, 10), 6);
}

TEST_F(RateLimiterTest, ItRemembersABoundedNumberOfTokensAndForgetsTheIdleFirst) {
  RateLimiter limiter(kLimits, clock_, 3);
  Admitted(limiter, "busy", Budget::kReading, 10);
  Admitted(limiter, "idle", Budget::kReading, 1);
  clock_.Set(clock_.Now() + seconds(11));  // idle is full again
  Admitted(limiter, "third", Budget::kReading, 1);
  EXPECT_EQ(limiter.tokens(), 3u);
  Admitted(limiter, "fourth", Budget::kReading, 2);
  EXPECT_EQ(limiter.tokens(), 3u);
  EXPECT_EQ(Admitted(limiter, "busy", Budget::kReading, 10), 1);  // not forgotten
  for (int i = 0; i < 100; ++i) Admitted(limiter, std::to_string(i), Budget::kReading, 1);
  EXPECT_EQ(limiter.tokens(), 3u);
  EXPECT_EQ(Admitted(limiter, "busy", Budget::kReading, 10), 0);
}

}  // namespace
}  // namespace mayfly::service::api
