// The two kinds of time in Mayfly: an instant in UTC milliseconds, and the date on which things
// end.
#ifndef MAYFLY_STORE_MODEL_TIME_H_
#define MAYFLY_STORE_MODEL_TIME_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace mayfly {

using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;
// The UTC date at whose 00:00 a family of records expires.
using ExpiryDay = std::chrono::sys_days;

inline TimePoint StartOf(ExpiryDay day) { return TimePoint(day); }

// RFC 3339 in UTC with milliseconds: 2026-11-22T12:00:00.000Z.
std::string FormatRfc3339(TimePoint at);
// Accepts RFC 3339 with any offset and any number of fractional digits (cut to milliseconds).
// Refuses leap seconds past :59 being anything but :60, and years outside 1970..9999.
std::optional<TimePoint> ParseRfc3339(std::string_view text);

// The form that RFC 9110 section 5.6.7 lets a sender write (IMF-fixdate), in 1970 to 9999.
std::optional<TimePoint> ParseHttpDate(std::string_view text);

std::string FormatDay(ExpiryDay day);         // 2027-02-22
std::string FormatDayCompact(ExpiryDay day);  // 20270222
std::optional<ExpiryDay> ParseDay(std::string_view text);
std::optional<ExpiryDay> ParseDayCompact(std::string_view text);

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_TIME_H_
