#include <algorithm>
#include <chrono>
#include <rapidcheck.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "store/model/retention.h"

namespace mayfly {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::sys_days;
using std::chrono::year;

rc::Gen<TimePoint> Births() {
  const auto low = TimePoint(sys_days(year(1990) / 1 / 1)).time_since_epoch().count();
  const auto high = TimePoint(sys_days(year(2037) / 1 / 1)).time_since_epoch().count();
  return rc::gen::map(rc::gen::inRange(low, high),
                      [](auto count) { return TimePoint(milliseconds(count)); });
}

// Loaded once: a run asks for a zone thousands of times.
const std::vector<Zone>& Zones() {
  static const std::vector<Zone> zones = [] {
    std::vector<Zone> loaded;
    for (const char* name :
         {"UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/London", "Asia/Kathmandu",
          "Pacific/Apia", "America/Los_Angeles", "Australia/Lord_Howe", "Africa/Casablanca"}) {
      loaded.push_back(Zone::Load(name).value());
    }
    return loaded;
  }();
  return zones;
}

Zone AnyZone() { return *rc::gen::elementOf(Zones()); }

// Shortest first.
const std::vector<RetentionPeriod>& Periods() {
  static const std::vector<RetentionPeriod> periods = [] {
    std::vector<RetentionPeriod> parsed;
    for (const char* text : {"P7D", "P8D", "P2W", "P27D", "P1M", "P31D", "P58D", "P2M", "P62D",
                             "P12W", "P89D", "P3M"}) {
      parsed.push_back(RetentionPeriod::Parse(text).value());
    }
    return parsed;
  }();
  return periods;
}

RC_GTEST_PROP(RetentionProperty, EndsAtMidnightUtc, ()) {
  const RetentionRule rule{.zone = AnyZone(), .period = *rc::gen::elementOf(Periods())};
  const TimePoint expires_at = ExpiresAt(*Births(), rule);
  RC_ASSERT(expires_at == std::chrono::floor<days>(expires_at));
}

RC_GTEST_PROP(RetentionProperty, NeverPassesThreeMonthsInUtcOrInTheZone, ()) {
  const TimePoint born = *Births();
  const RetentionRule rule{.zone = AnyZone(), .period = *rc::gen::elementOf(Periods())};
  const TimePoint expires_at = ExpiresAt(born, rule);
  // Said differently from the code under test: the local date and time of the end may not be later
  // than the third month's last allowed date and the birth's time of day.
  const auto later = [](auto born_local, auto end_local) {
    const auto born_date = std::chrono::floor<days>(born_local);
    const auto end_date = std::chrono::floor<days>(end_local);
    const std::chrono::year_month_day from(born_date);
    const std::chrono::year_month_day to(end_date);
    const int month_count = (int(to.year()) - int(from.year())) * 12 + int(unsigned(to.month())) -
                            int(unsigned(from.month()));
    if (month_count != 3) return month_count > 3;
    if (to.day() != from.day()) return to.day() > from.day();
    return end_local - end_date > born_local - born_date;
  };
  RC_ASSERT(!later(born, expires_at));
  RC_ASSERT(!later(rule.zone.ToLocal(born), rule.zone.ToLocal(expires_at)));
}

RC_GTEST_PROP(RetentionProperty, TheLaterBornNeverEndsEarlierInUtc, ()) {
  const TimePoint one = *Births();
  const TimePoint other = one + milliseconds(*rc::gen::inRange<std::int64_t>(0, 400'000'000));
  const RetentionRule rule{.zone = Zone::Utc(), .period = *rc::gen::elementOf(Periods())};
  RC_ASSERT(ExpiryDayOf(one, rule) <= ExpiryDayOf(other, rule));
}

// East of Greenwich the clamped last days of a month are the one place where a later birth may end
// on the date before: the evening of the 28th and the morning of the 29th of November both end on
// 28 February, the morning at an earlier hour. Never more than that one date.
RC_GTEST_PROP(RetentionProperty, TheLaterBornEndsAtMostOneDateEarlierInAnyZone, ()) {
  const TimePoint one = *Births();
  const TimePoint other = one + milliseconds(*rc::gen::inRange<std::int64_t>(0, 400'000'000));
  const RetentionRule rule{.zone = AnyZone(), .period = *rc::gen::elementOf(Periods())};
  RC_ASSERT(ExpiryDayOf(one, rule) - days(1) <= ExpiryDayOf(other, rule));
}

RC_GTEST_PROP(RetentionProperty, AShorterPeriodNeverEndsLater, ()) {
  const TimePoint born = *Births();
  const Zone zone = AnyZone();
  const std::size_t longer = *rc::gen::inRange<std::size_t>(0, Periods().size());
  const std::size_t shorter = *rc::gen::inRange<std::size_t>(0, longer + 1);
  // Days and months are comparable only where the days are fewer than any such months have.
  RC_PRE(Periods()[shorter].days() == 0 || Periods()[longer].months() == 0 ||
         Periods()[shorter].days() <= Periods()[longer].months() * 30 - 2);
  RC_ASSERT(ExpiryDayOf(born, {.zone = zone, .period = Periods()[shorter]}) <=
            ExpiryDayOf(born, {.zone = zone, .period = Periods()[longer]}));
}

RC_GTEST_PROP(RetentionProperty, NoPeriodPassesTheCeilingsOwnDate, ()) {
  const TimePoint born = *Births();
  const Zone zone = AnyZone();
  RC_ASSERT(ExpiryDayOf(born, {.zone = zone, .period = *rc::gen::elementOf(Periods())}) <=
            ExpiryDayOf(born, {.zone = zone}));
}

RC_GTEST_PROP(RetentionProperty, TheHorizonHidesNothingThatLives, ()) {
  const TimePoint now = *Births();
  const RetentionRule rule{.zone = AnyZone(), .period = *rc::gen::elementOf(Periods())};
  const TimePoint born =
      HorizonAt(now, rule) - milliseconds(*rc::gen::inRange<std::int64_t>(1, 9'000'000'000));
  RC_ASSERT(ExpiresAt(born, rule) <= now);
}

}  // namespace
}  // namespace mayfly
