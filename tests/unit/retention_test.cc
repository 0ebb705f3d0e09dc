// The arithmetic of promise P3, by table and by brute force.
#include "store/model/retention.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <date/tz.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::sys_days;
using std::chrono::year;

TimePoint At(std::string_view text) { return ParseRfc3339(text).value(); }

RetentionRule Rule(const std::string& zone, std::string_view period = "P3M") {
  return RetentionRule{.zone = Zone::Load(zone).value(),
                       .period = RetentionPeriod::Parse(period).value()};
}

std::string Gone(std::string_view born, const RetentionRule& rule) {
  return FormatDay(ExpiryDayOf(At(born), rule));
}

TEST(Period, IsReadAndWrittenAsIso8601) {
  EXPECT_EQ(RetentionPeriod().ToString(), "P3M");
  EXPECT_EQ(RetentionPeriod::Parse("P3M").value(), RetentionPeriod());
  for (const char* text : {"P1M", "P2M", "P3M", "P7D", "P30D", "P89D"}) {
    const Result<RetentionPeriod> period = RetentionPeriod::Parse(text);
    ASSERT_TRUE(period) << text;
    EXPECT_EQ(period->ToString(), text);
  }
  EXPECT_EQ(RetentionPeriod::Parse("P1W").value().days(), 7);
  EXPECT_EQ(RetentionPeriod::Parse("P12W").value().ToString(), "P84D");
}

TEST(Period, NeverPassesTheCeiling) {
  for (const char* text : {"P4M", "P12M", "P90D", "P92D", "P13W", "P1Y", "P99999999999999999999D",
                           "P4294967296M", "P18446744073709551616W"}) {
    const Result<RetentionPeriod> period = RetentionPeriod::Parse(text);
    ASSERT_FALSE(period) << text;
    EXPECT_EQ(period.error().code, ErrorCode::kCeilingExceeded) << text;
  }
}

TEST(Period, RefusesEverythingElse) {
  for (const char* text :
       {"",        "P",     "PD",   "PM",   "P0M",   "P0D", "P6D",     "P1D",   "P0W",
        "P-7D",    "P+7D",  "P07D", "P7",   "7D",    "p7d", "P7d",     "P1M1D", "P1M10D",
        "PT2000H", "P7.5D", " P7D", "P7D ", "P3M\n", "P0Y", "3 months"}) {
    const Result<RetentionPeriod> period = RetentionPeriod::Parse(text);
    ASSERT_FALSE(period) << text;
    EXPECT_EQ(period.error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(ZoneTest, KnowsTheDatabaseAndRefusesOtherNames) {
  EXPECT_EQ(Zone::Load("Europe/London").value().name(), "Europe/London");
  EXPECT_EQ(Zone::Load("UTC").value().name(), "UTC");
  EXPECT_EQ(Zone().name(), "UTC");
  for (const char* name : {"", "Europe", "Europe/Atlantis", "../../../etc/passwd", "/etc/localtime",
                           "europe/london", "Europe/London "}) {
    const Result<Zone> zone = Zone::Load(name);
    ASSERT_FALSE(zone) << name;
    EXPECT_EQ(zone.error().code, ErrorCode::kInvalidArgument) << name;
  }
}

// A zone file in the slim format keeps its summer time in a rule that the library does not read.
// The ceiling in the zone would then be an hour off.
TEST(ZoneTest, KnowsTheSummerTimeOfTheYearsToCome) {
  const Zone london = Zone::Load("Europe/London").value();
  for (int y = 2026; y <= 2036; ++y) {
    const TimePoint summer = sys_days(year(y) / 7 / 1);
    const TimePoint winter = sys_days(year(y) / 1 / 1);
    EXPECT_EQ(london.ToLocal(summer).time_since_epoch() - summer.time_since_epoch(), hours(1)) << y;
    EXPECT_EQ(london.ToLocal(winter).time_since_epoch() - winter.time_since_epoch(), hours(0)) << y;
  }
}

TEST(ZoneTest, TakesTheEarlierInstantWhereLocalTimeIsAmbiguousOrSkipped) {
  const Zone london = Zone::Load("Europe/London").value();
  const auto local = [](std::string_view text) {
    return std::chrono::local_time<milliseconds>(At(text).time_since_epoch());
  };
  EXPECT_EQ(london.ToUtc(local("2026-07-01T12:00:00Z")), At("2026-07-01T11:00:00Z"));
  EXPECT_EQ(london.ToUtc(local("2026-10-25T01:30:00.250Z")), At("2026-10-25T00:30:00.250Z"));
  EXPECT_EQ(london.ToUtc(local("2026-03-29T01:30:00.250Z")), At("2026-03-29T01:00:00Z"));
  // Samoa skipped 30 December 2011.
  const Zone apia = Zone::Load("Pacific/Apia").value();
  EXPECT_EQ(apia.ToUtc(local("2011-12-30T12:00:00Z")), At("2011-12-30T10:00:00Z"));
}

TEST(Expiry, ByTable) {
  const RetentionRule utc = Rule("UTC");
  // "What was sent on 5 March is gone at midnight when 5 June begins."
  EXPECT_EQ(Gone("2026-03-05T00:00:00Z", utc), "2026-06-05");
  EXPECT_EQ(Gone("2026-03-05T12:00:00Z", utc), "2026-06-05");
  EXPECT_EQ(Gone("2026-03-05T23:59:59.999Z", utc), "2026-06-05");
  EXPECT_EQ(Gone("2026-03-06T00:00:00Z", utc), "2026-06-06");
  EXPECT_EQ(ExpiresAt(At("2026-03-05T12:00:00Z"), utc), At("2026-06-05T00:00:00Z"));
  // The day is clamped to the month's length.
  EXPECT_EQ(Gone("2026-11-27T12:00:00Z", utc), "2027-02-27");
  EXPECT_EQ(Gone("2026-11-28T12:00:00Z", utc), "2027-02-28");
  EXPECT_EQ(Gone("2026-11-29T12:00:00Z", utc), "2027-02-28");
  EXPECT_EQ(Gone("2026-11-30T12:00:00Z", utc), "2027-02-28");
  EXPECT_EQ(Gone("2026-12-01T00:00:00Z", utc), "2027-03-01");
  EXPECT_EQ(Gone("2026-03-31T12:00:00Z", utc), "2026-06-30");
  EXPECT_EQ(Gone("2026-08-31T12:00:00Z", utc), "2026-11-30");
  // Leap years.
  EXPECT_EQ(Gone("2027-11-28T12:00:00Z", utc), "2028-02-28");
  EXPECT_EQ(Gone("2027-11-29T12:00:00Z", utc), "2028-02-29");
  EXPECT_EQ(Gone("2027-11-30T12:00:00Z", utc), "2028-02-29");
  EXPECT_EQ(Gone("2028-02-29T12:00:00Z", utc), "2028-05-29");
  EXPECT_EQ(Gone("1999-11-30T12:00:00Z", utc), "2000-02-29");
  EXPECT_EQ(Gone("2099-11-30T12:00:00Z", utc), "2100-02-28");
  // Across the year.
  EXPECT_EQ(Gone("2026-12-31T23:59:59Z", utc), "2027-03-31");
}

TEST(Expiry, TakesTheEarlierOfUtcAndTheZone) {
  // 28 February 23:30 in Newfoundland is already March in UTC: there the limit is 28 May 23:30,
  // 29 May 02:00 UTC; in UTC it is 1 June. The zone decides.
  EXPECT_EQ(Gone("2026-03-01T03:00:00Z", Rule("America/St_Johns")), "2026-05-29");
  // 1 March in Kiritimati is still 28 February in UTC. UTC decides.
  EXPECT_EQ(Gone("2026-02-28T12:00:00Z", Rule("Pacific/Kiritimati")), "2026-05-28");
  // Summer time: the same local time three months later is an hour earlier in UTC.
  EXPECT_EQ(Gone("2026-01-15T00:30:00Z", Rule("Europe/London")), "2026-04-14");
  EXPECT_EQ(Gone("2026-01-15T01:30:00Z", Rule("Europe/London")), "2026-04-15");
  // The shortest life of all: clamped to 30 April, and the spring hour cuts it to the 29th.
  EXPECT_EQ(Gone("2026-01-31T00:30:00Z", Rule("Europe/London")), "2026-04-29");
}

TEST(Expiry, HoldsForShorterPeriods) {
  EXPECT_EQ(Gone("2026-03-05T12:00:00Z", Rule("UTC", "P7D")), "2026-03-12");
  EXPECT_EQ(Gone("2026-03-05T00:00:00Z", Rule("UTC", "P7D")), "2026-03-12");
  EXPECT_EQ(Gone("2026-03-05T12:00:00Z", Rule("UTC", "P2W")), "2026-03-19");
  EXPECT_EQ(Gone("2026-01-31T12:00:00Z", Rule("UTC", "P1M")), "2026-02-28");
  EXPECT_EQ(Gone("2026-12-31T12:00:00Z", Rule("UTC", "P2M")), "2027-02-28");
  // 89 days from 1 February of a common year are exactly three months.
  EXPECT_EQ(Gone("2026-02-01T12:00:00Z", Rule("UTC", "P89D")), "2026-05-01");
}

TEST(Expiry, KeepsTheCeilingForTimesThatNoCalendarHolds) {
  const RetentionRule rule = Rule("Pacific/Kiritimati");
  for (const TimePoint born :
       {TimePoint::min() + days(100), TimePoint(milliseconds(-9'000'000'000'000'000)),
        TimePoint(milliseconds(-1)), TimePoint(milliseconds(0)),
        TimePoint(milliseconds(9'000'000'000'000'000)), TimePoint::max()}) {
    EXPECT_LE(ExpiryDayOf(born, rule) - days(92), born);
  }
}

// An oracle of its own: the date library's calendar and its own choice, not ours.
TimePoint CeilingInZone(TimePoint born, const date::time_zone* zone) {
  const auto local = zone->to_local(born);
  const auto date = date::floor<date::days>(local);
  date::year_month_day moved = date::year_month_day(date) + date::months(3);
  if (!moved.ok()) moved = moved.year() / moved.month() / date::last;
  return zone->to_sys(date::local_days(moved) + (local - date), date::choose::earliest);
}

struct Extremes {
  TimePoint::duration shortest = TimePoint::duration::max();
  TimePoint::duration longest = TimePoint::duration::min();
};

// Every hour of four years, at `past` the hour.
Extremes Sweep(const std::string& name, int first_year, minutes past) {
  const RetentionRule rule = Rule(name);
  const date::time_zone* const zone = date::locate_zone(name);
  const date::time_zone* const utc = date::locate_zone("UTC");
  Extremes extremes;
  const TimePoint end = sys_days(year(first_year + 4) / 1 / 1);
  for (TimePoint born = sys_days(year(first_year) / 1 / 1) + past; born < end; born += hours(1)) {
    const TimePoint expires_at = ExpiresAt(born, rule);
    const bool kept = expires_at <= CeilingInZone(born, zone) &&
                      expires_at <= CeilingInZone(born, utc) &&
                      expires_at == std::chrono::floor<days>(expires_at);
    if (!kept) {
      ADD_FAILURE() << name << ": born " << FormatRfc3339(born) << " expires "
                    << FormatRfc3339(expires_at);
      return extremes;
    }
    extremes.shortest = std::min(extremes.shortest, expires_at - born);
    extremes.longest = std::max(extremes.longest, expires_at - born);
  }
  return extremes;
}

class BruteForce : public testing::TestWithParam<const char*> {};

TEST_P(BruteForce, NeverPassesTheCeilingInUtcOrInTheZone) {
  // Where no clock goes forward between birth and end the shortest life is 88 days and the minutes
  // to midnight. A spring change takes up to an hour of the limit, and with it perhaps the whole
  // date.
  const std::string zone = GetParam();
  const bool spring = zone == "America/St_Johns" || zone == "Europe/London";
  for (const int first_year : {2009, 2025}) {  // 2009 to 2012 hold Samoa's lost day
    const Extremes at_half = Sweep(zone, first_year, minutes(30));
    EXPECT_GE(at_half.shortest, days(88) + minutes(spring ? -30 : 30));
    EXPECT_LE(at_half.longest, days(91) + hours(23) + minutes(30));
  }
  const Extremes at_full = Sweep(zone, 2025, minutes(0));
  EXPECT_GE(at_full.shortest, days(88) + hours(spring ? 0 : 1));
  EXPECT_LE(at_full.longest, days(92));
}

INSTANTIATE_TEST_SUITE_P(Zones, BruteForce,
                         testing::Values("Pacific/Kiritimati", "America/St_Johns", "Europe/London",
                                         "Asia/Kathmandu", "Pacific/Apia"));

TEST(Horizon, NeverHidesWhatStillLivesAndLosesLittle) {
  for (const char* name : {"UTC", "Pacific/Kiritimati", "America/St_Johns"}) {
    for (const char* period : {"P3M", "P1M", "P7D", "P89D"}) {
      const RetentionRule rule = Rule(name, period);
      for (int step = 0; step < 565; ++step) {
        const TimePoint now = sys_days(year(2027) / 1 / 1) + step * hours(31) + minutes(1);
        const TimePoint horizon = HorizonAt(now, rule);
        ASSERT_LT(horizon, now);
        // Everything of the last days before it has expired.
        for (TimePoint born = horizon - days(4); born < horizon; born += hours(1)) {
          ASSERT_LE(ExpiresAt(born, rule), now) << name << " " << period << FormatRfc3339(born);
        }
        // Within two days after it something still lives.
        bool lives = false;
        for (TimePoint born = horizon; born < horizon + days(2) && !lives; born += hours(1)) {
          lives = ExpiresAt(born, rule) > now;
        }
        ASSERT_TRUE(lives) << name << " " << period << " " << FormatRfc3339(now);
      }
    }
  }
}

}  // namespace
}  // namespace mayfly
