// When a message ends. "Three months" is decided here and nowhere else.
//
//   born       = min(platform's sent time, first seen)
//   limit      = the earlier of born + 3 calendar months in UTC and in the configured zone, the day
//                clamped to the month's length
//   expires_at = limit cut down to 00:00 UTC of its date
//
// So all records of one date expire at one instant, 88 to 92 days after birth (87.96 where the
// clocks go forward by an hour in between), and never later than three calendar months in either
// zone. A later birth never ends on an earlier date, save on the clamped last days of a month in
// zones east of Greenwich, and there by one date at most.
//
// Cutting down, not rounding, is what keeps the ceiling: rounding up, or adding the months to a
// date in UTC alone, passes it in the local zone.
#ifndef MAYFLY_STORE_MODEL_RETENTION_H_
#define MAYFLY_STORE_MODEL_RETENTION_H_

#include <string>
#include <string_view>

#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly {

// P3: the ceiling. There is no setting, argument or row that raises it.
inline constexpr int kCeilingMonths = 3;
inline constexpr int kPeriodDaysMin = 7;

// How long an account's messages live: a whole number of days or of months, never above the
// ceiling.
class RetentionPeriod {
 public:
  RetentionPeriod() = default;  // the ceiling, P3M
  // ISO 8601: P<n>D with n >= 7, P<n>W, P1M..P3M. kCeilingExceeded above three calendar months
  // (more than 89 days can pass them: February), kInvalidArgument for everything else.
  static Result<RetentionPeriod> Parse(std::string_view text);
  std::string ToString() const;
  int months() const { return months_; }
  int days() const { return days_; }
  friend bool operator==(const RetentionPeriod&, const RetentionPeriod&) = default;

 private:
  int months_ = kCeilingMonths;  // exactly one of the two is non-zero
  int days_ = 0;
};

// A time zone of the IANA database by name. Loaded once; thread-safe; copies share.
class Zone {
 public:
  static Result<Zone> Load(const std::string& name);  // kInvalidArgument for an unknown name
  static Zone Utc();
  const std::string& name() const { return name_; }
  std::chrono::local_time<std::chrono::milliseconds> ToLocal(TimePoint at) const;
  // The earlier instant where local time is ambiguous or skipped: never lengthens a life.
  TimePoint ToUtc(std::chrono::local_time<std::chrono::milliseconds> local) const;

 private:
  std::string name_ = "UTC";
  const void* zone_ = nullptr;  // date::time_zone; null for UTC
};

// The rule under which a message was stamped.
struct RetentionRule {
  Zone zone = Zone::Utc();
  RetentionPeriod period = {};
};

// Pure. Always 00:00 UTC of a date; always <= born + three calendar months in UTC and in the zone.
// May be <= born only for a born in the past of the caller; the caller compares with now.
ExpiryDay ExpiryDayOf(TimePoint born, const RetentionRule& rule);
inline TimePoint ExpiresAt(TimePoint born, const RetentionRule& rule) {
  return StartOf(ExpiryDayOf(born, rule));
}

// The horizon: everything born before it has expired by `now` under `rule`. Ingest uses ExpiryDayOf
// to decide; this is for telling a platform how far back to read. Never later than the true one.
TimePoint HorizonAt(TimePoint now, const RetentionRule& rule);

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_RETENTION_H_
