// The coverage record moves as design.md section 1, P4, promises: a hole has a start, an end, a
// reason.
#include "service/ingest/coverage.h"

#include <gtest/gtest.h>

namespace mayfly::service {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr milliseconds kInterval{20'000};
const TimePoint kNow = *ParseRfc3339("2026-11-22T12:00:00Z");
const TimePoint kHorizon = kNow - hours(24 * 90);

connectors::Page CaughtUp(bool history_complete) {
  connectors::Page page;
  page.caught_up = true;
  page.history_complete = history_complete;
  return page;
}

Coverage Healthy() { return AfterPage({}, CaughtUp(true), kNow, kHorizon); }

TEST(Coverage, IsCoveredFromTheHorizonOnceHistoryWasRead) {
  const Coverage coverage = Healthy();
  EXPECT_EQ(coverage.covered_from, kHorizon);
  EXPECT_EQ(coverage.covered_until, kNow);
  EXPECT_TRUE(coverage.history_complete);
  EXPECT_TRUE(coverage.holes.empty());
}

TEST(Coverage, ClaimsNothingWhileHistoryIsStillBeingRead) {
  const Coverage coverage = AfterPage({}, CaughtUp(false), kNow, kHorizon);
  EXPECT_FALSE(coverage.covered_until.has_value());
  EXPECT_FALSE(coverage.history_complete);
}

TEST(Coverage, AShortFailureIsNoHole) {
  const Coverage coverage = AfterFailure(Healthy(), "unavailable", kNow + seconds(30), kInterval);
  EXPECT_TRUE(coverage.holes.empty());
}

TEST(Coverage, ALongFailureOpensOneHoleThatSuccessFills) {
  Coverage coverage = AfterFailure(Healthy(), "unavailable", kNow + minutes(5), kInterval);
  coverage = AfterFailure(coverage, "unavailable", kNow + minutes(6), kInterval);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].from, kNow);
  EXPECT_FALSE(coverage.holes[0].until.has_value());
  EXPECT_EQ(coverage.holes[0].reason, "unavailable");

  const TimePoint later = kNow + minutes(10);
  coverage = AfterPage(coverage, CaughtUp(false), later, kHorizon);
  EXPECT_EQ(coverage.holes[0].until, later);
  EXPECT_EQ(coverage.holes[0].filled_at, later);
  EXPECT_EQ(coverage.covered_until, later);
}

TEST(Coverage, AnUnfinishedPageFillsNothing) {
  Coverage coverage = AfterFailure(Healthy(), "unavailable", kNow + minutes(5), kInterval);
  coverage = AfterPage(coverage, {}, kNow + minutes(10), kHorizon);
  EXPECT_FALSE(coverage.holes.at(0).filled_at.has_value());
  EXPECT_EQ(coverage.covered_until, kNow);
}

TEST(Coverage, ALostPositionIsFilledOnlyWhenHistoryWasReadAgain) {
  connectors::Page lost;
  lost.position_lost = true;
  lost.caught_up = true;
  Coverage coverage = AfterPage(Healthy(), lost, kNow + minutes(1), kHorizon);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].reason, "position-lost");
  EXPECT_FALSE(coverage.holes[0].filled_at.has_value());
  EXPECT_EQ(coverage.covered_until, kNow);

  coverage = AfterPage(coverage, CaughtUp(true), kNow + minutes(2), kHorizon);
  EXPECT_EQ(coverage.holes[0].filled_at, kNow + minutes(2));
  EXPECT_EQ(coverage.covered_until, kNow + minutes(2));
}

TEST(Coverage, AServiceThatWasDownSaysSo) {
  const Coverage coverage = AfterStart(Healthy(), kNow + hours(3), kInterval);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].reason, "service-down");
  EXPECT_EQ(coverage.holes[0].from, kNow);
}

TEST(Coverage, WhatThePlatformNoLongerShowsIsAHoleThatNothingFills) {
  connectors::Page page = CaughtUp(false);
  page.gap = true;
  Coverage coverage = AfterPage(Healthy(), page, kNow + minutes(7), kHorizon);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].reason, "not-served");
  EXPECT_EQ(coverage.holes[0].from, kNow);
  EXPECT_EQ(coverage.holes[0].until, kNow + minutes(7));
  EXPECT_FALSE(coverage.holes[0].fillable);

  coverage = AfterPage(coverage, CaughtUp(true), kNow + minutes(8), kHorizon);
  EXPECT_FALSE(coverage.holes[0].filled_at.has_value());
  EXPECT_EQ(coverage.covered_until, kNow + minutes(8));
}

TEST(Coverage, AGapAfterAnOutageIsOneHole) {
  Coverage coverage = AfterStart(Healthy(), kNow + hours(3), kInterval);
  connectors::Page page = CaughtUp(false);
  page.gap = true;
  coverage = AfterPage(coverage, page, kNow + hours(3), kHorizon);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].reason, "not-served");
  EXPECT_EQ(coverage.holes[0].from, kNow);
  EXPECT_EQ(coverage.holes[0].until, kNow + hours(3));
  EXPECT_FALSE(coverage.holes[0].filled_at.has_value());
}

TEST(Coverage, AGapInHistoryBeginsAtTheHorizon) {
  connectors::Page page = CaughtUp(true);
  page.gap = true;
  const Coverage coverage = AfterPage({}, page, kNow, kHorizon);
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].from, kHorizon);
}

TEST(Coverage, HolesStayBoundedAndKeepTheUnfilledOnes) {
  Coverage coverage = Healthy();
  TimePoint now = kNow;
  for (int i = 0; i < 500; ++i) {
    coverage = AfterFailure(coverage, "unavailable", now + minutes(5), kInterval);
    now += minutes(10);
    coverage = AfterPage(coverage, CaughtUp(false), now, kHorizon);
  }
  EXPECT_LE(coverage.holes.size(), kHolesMax);
  coverage = AfterFailure(coverage, "unavailable", now + minutes(5), kInterval);
  EXPECT_FALSE(coverage.holes.back().filled_at.has_value());
}

TEST(Coverage, HolesOlderThanTheHorizonAreForgotten) {
  Coverage coverage = AfterFailure(Healthy(), "unavailable", kNow + minutes(5), kInterval);
  coverage = AfterPage(coverage, CaughtUp(false), kNow + minutes(6), kHorizon);
  coverage = AfterPage(coverage, CaughtUp(false), kNow + hours(24 * 100), kNow + hours(24 * 10));
  EXPECT_TRUE(coverage.holes.empty());
}

}  // namespace
}  // namespace mayfly::service
