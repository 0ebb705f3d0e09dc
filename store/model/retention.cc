#include "store/model/retention.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include <date/tz.h>
#include <fmt/format.h>

namespace mayfly {

namespace {

using std::chrono::days;
using std::chrono::local_days;
using std::chrono::milliseconds;
using std::chrono::months;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;
using LocalTime = std::chrono::local_time<milliseconds>;

// Any three calendar months in a row last at least this long (1 February to 1 May). So this many
// days never pass the ceiling.
constexpr int kPeriodDaysMax = 89;

// The calendar types hold years up to 32767 and wrap silently past them. Real births lie well
// within; what a hostile platform claims need not.
constexpr TimePoint kCalendarFirst = sys_days(year(1) / 1 / 1);
constexpr TimePoint kCalendarLast = sys_days(year(9999) / 1 / 1);

// The day is clamped to the month's length: 30 November + 3 months is 28 or 29 February.
year_month_day AddMonths(year_month_day date, int count) {
  const year_month_day moved = date + months(count);
  if (moved.ok()) return moved;
  return moved.year() / moved.month() / std::chrono::last;
}

// `Days` is sys_days or local_days.
template <class Days, class Time>
Time AddPeriod(Time born, int month_count, int day_count) {
  const Days date = std::chrono::floor<days>(born);
  const auto time_of_day = born - date;
  return Days(AddMonths(year_month_day(date), month_count)) + days(day_count) + time_of_day;
}

TimePoint LimitUtc(TimePoint born, int month_count, int day_count) {
  return AddPeriod<sys_days, TimePoint>(born, month_count, day_count);
}

TimePoint LimitInZone(TimePoint born, const Zone& zone, int month_count, int day_count) {
  return zone.ToUtc(AddPeriod<local_days, LocalTime>(zone.ToLocal(born), month_count, day_count));
}

const date::time_zone* Handle(const void* zone) {
  return static_cast<const date::time_zone*>(zone);
}

date::sys_seconds SysSeconds(TimePoint at) { return std::chrono::floor<seconds>(at); }

tl::unexpected<Error> CeilingExceeded() {
  return Fail(ErrorCode::kCeilingExceeded,
              "A retention period may be three calendar months at most: P3M, or 89 days.");
}

}  // namespace

Result<RetentionPeriod> RetentionPeriod::Parse(std::string_view text) {
  const auto invalid = [] {
    return Fail(ErrorCode::kInvalidArgument,
                "A retention period is P<n>D with n from 7 to 89, P<n>W with n from 1 to 12, P1M, "
                "P2M or P3M.");
  };
  if (text.size() < 3 || text.front() != 'P') return invalid();
  const char unit = text.back();
  if (unit != 'D' && unit != 'W' && unit != 'M' && unit != 'Y') return invalid();
  const std::string_view digits = text.substr(1, text.size() - 2);
  if (digits.front() == '0') return invalid();
  int count = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return invalid();
    // Large enough to be refused, small enough never to overflow.
    count = std::min(count * 10 + (c - '0'), 1'000'000);
  }
  RetentionPeriod period;
  switch (unit) {
    case 'M':
      if (count > kCeilingMonths) return CeilingExceeded();
      period.months_ = count;
      period.days_ = 0;
      return period;
    case 'D':
    case 'W': {
      const int day_count = unit == 'W' ? count * 7 : count;
      if (day_count > kPeriodDaysMax) return CeilingExceeded();
      if (day_count < kPeriodDaysMin) return invalid();
      period.months_ = 0;
      period.days_ = day_count;
      return period;
    }
    default:  // years
      return CeilingExceeded();
  }
}

std::string RetentionPeriod::ToString() const {
  if (months_ != 0) return fmt::format("P{}M", months_);
  return fmt::format("P{}D", days_);
}

Result<Zone> Zone::Load(const std::string& name) {
  if (name == "UTC") return Utc();
  const date::time_zone* found = nullptr;
  try {
    // Debian builds this library to read /usr/share/zoneinfo (package tzdata); it has no
    // downloader.
    found = date::locate_zone(name);
    // Zone files are read at first use. Use it now: afterwards a sandbox may stand before the
    // files.
    found->get_info(date::sys_seconds{});
  } catch (const std::exception&) {
    return Fail(ErrorCode::kInvalidArgument,
                "This time zone is not in the zone database (package tzdata). Give an IANA name "
                "such as Europe/Brussels, or UTC.");
  }
  Zone zone;
  zone.name_ = name;
  zone.zone_ = found;
  return zone;
}

Zone Zone::Utc() { return Zone(); }

LocalTime Zone::ToLocal(TimePoint at) const {
  if (zone_ == nullptr) return LocalTime(at.time_since_epoch());
  const seconds offset = Handle(zone_)->get_info(SysSeconds(at)).offset;
  return LocalTime(at.time_since_epoch() + offset);
}

TimePoint Zone::ToUtc(LocalTime local) const {
  if (zone_ == nullptr) return TimePoint(local.time_since_epoch());
  const date::local_seconds second(std::chrono::floor<seconds>(local.time_since_epoch()));
  const date::local_info info = Handle(zone_)->get_info(second);
  // In a gap no instant has this local time. The jump itself is the instant that every earlier
  // local time precedes and every later one follows.
  if (info.result == date::local_info::nonexistent) return info.first.end;
  // In an overlap `first` is the offset before the clocks went back: the earlier instant.
  return TimePoint(local.time_since_epoch() - info.first.offset);
}

ExpiryDay ExpiryDayOf(TimePoint born, const RetentionRule& rule) {
  // Before the calendar: no life at all. After it: the calendar's last word. Both keep the ceiling.
  if (born < kCalendarFirst) return std::chrono::floor<days>(born);
  born = std::min(born, kCalendarLast);
  const int month_count = rule.period.months();
  const int day_count = rule.period.days();
  // The ceiling is applied on its own, whatever the period says.
  const TimePoint limit = std::min({
      LimitUtc(born, month_count, day_count),
      LimitInZone(born, rule.zone, month_count, day_count),
      LimitUtc(born, kCeilingMonths, 0),
      LimitInZone(born, rule.zone, kCeilingMonths, 0),
  });
  return std::chrono::floor<days>(limit);
}

TimePoint HorizonAt(TimePoint now, const RetentionRule& rule) {
  // Within one UTC date of birth the zone can only bring the end forward, so a date whose end in
  // UTC has come is over for everybody. The first date for which it has not is the horizon.
  const RetentionRule utc{.zone = Zone::Utc(), .period = rule.period};
  constexpr days kLongestLife{92};
  ExpiryDay date = std::chrono::floor<days>(now) - kLongestLife - days(1);
  while (date < now && ExpiresAt(StartOf(date), utc) <= now) date += days(1);
  return StartOf(date);
}

}  // namespace mayfly
