#include "store/model/time.h"

#include <array>
#include <cstddef>
#include <cstdio>

namespace mayfly {

namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::month;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr TimePoint kFirst{milliseconds{0}};  // 1970-01-01
constexpr TimePoint kEnd = sys_days(year(10000) / 1 / 1);

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes exactly `count` digits off the front.
std::optional<int> TakeDigits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!IsDigit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool TakeChar(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// Takes yyyy, mm and dd with `separator` between them, or nothing between them when it is 0.
std::optional<sys_days> TakeDate(std::string_view& text, char separator) {
  const std::optional<int> y = TakeDigits(text, 4);
  if (!y || (separator != 0 && !TakeChar(text, separator))) return std::nullopt;
  const std::optional<int> m = TakeDigits(text, 2);
  if (!m || (separator != 0 && !TakeChar(text, separator))) return std::nullopt;
  const std::optional<int> d = TakeDigits(text, 2);
  if (!d) return std::nullopt;
  const year_month_day date(year(*y), month(static_cast<unsigned>(*m)),
                            day(static_cast<unsigned>(*d)));
  if (!date.ok()) return std::nullopt;
  return sys_days(date);
}

bool InRange(TimePoint at) { return at >= kFirst && at < kEnd; }

// Digits are written by hand: a page of messages holds hundreds of times and dates, and printf
// took a tenth of what it cost to answer.
template <std::size_t kDigits>
char* PutDigits(char* out, unsigned value) {
  for (std::size_t i = kDigits; i-- > 0;) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return out + kDigits;
}

constexpr std::size_t kDateCharsMax = 32;  // room for years that do not exist in ISO 8601

// yyyy, mm and dd, with `separator` between them unless it is 0. Gives the end of what it wrote.
char* PutDate(char* out, sys_days at, char separator) {
  const year_month_day date(at);
  const int y = static_cast<int>(date.year());
  if (y < 0 || y > 9999) {
    out += std::snprintf(out, 16, "%04d", y);
  } else {
    out = PutDigits<4>(out, static_cast<unsigned>(y));
  }
  if (separator != 0) *out++ = separator;
  out = PutDigits<2>(out, static_cast<unsigned>(date.month()));
  if (separator != 0) *out++ = separator;
  return PutDigits<2>(out, static_cast<unsigned>(date.day()));
}

std::string FormatDate(ExpiryDay at, char separator) {
  std::array<char, kDateCharsMax> text;
  return std::string(text.data(), PutDate(text.data(), at, separator));
}

}  // namespace

std::string FormatRfc3339(TimePoint at) {
  const auto date = std::chrono::floor<days>(at);
  const std::chrono::hh_mm_ss time(at - date);
  std::array<char, kDateCharsMax + 16> text;
  char* out = PutDate(text.data(), date, '-');
  *out++ = 'T';
  out = PutDigits<2>(out, static_cast<unsigned>(time.hours().count()));
  *out++ = ':';
  out = PutDigits<2>(out, static_cast<unsigned>(time.minutes().count()));
  *out++ = ':';
  out = PutDigits<2>(out, static_cast<unsigned>(time.seconds().count()));
  *out++ = '.';
  out = PutDigits<3>(out, static_cast<unsigned>(time.subseconds().count()));
  *out++ = 'Z';
  return std::string(text.data(), out);
}

std::optional<TimePoint> ParseRfc3339(std::string_view text) {
  const std::optional<sys_days> date = TakeDate(text, '-');
  if (!date || !(TakeChar(text, 'T') || TakeChar(text, 't'))) return std::nullopt;
  const std::optional<int> hour = TakeDigits(text, 2);
  if (!hour || *hour > 23 || !TakeChar(text, ':')) return std::nullopt;
  const std::optional<int> minute = TakeDigits(text, 2);
  if (!minute || *minute > 59 || !TakeChar(text, ':')) return std::nullopt;
  const std::optional<int> second = TakeDigits(text, 2);
  if (!second || *second > 60) return std::nullopt;

  milliseconds fraction{0};
  if (TakeChar(text, '.')) {
    if (text.empty() || !IsDigit(text[0])) return std::nullopt;
    int weight = 100;
    while (!text.empty() && IsDigit(text[0])) {
      fraction += milliseconds((text[0] - '0') * weight);
      weight /= 10;
      text.remove_prefix(1);
    }
  }

  minutes offset{0};
  if (!TakeChar(text, 'Z') && !TakeChar(text, 'z')) {
    const bool west = TakeChar(text, '-');
    if (!west && !TakeChar(text, '+')) return std::nullopt;
    const std::optional<int> offset_hour = TakeDigits(text, 2);
    if (!offset_hour || *offset_hour > 23 || !TakeChar(text, ':')) return std::nullopt;
    const std::optional<int> offset_minute = TakeDigits(text, 2);
    if (!offset_minute || *offset_minute > 59) return std::nullopt;
    offset = hours(*offset_hour) + minutes(*offset_minute);
    if (west) offset = -offset;
  }
  if (!text.empty()) return std::nullopt;

  const TimePoint start_of_minute = *date + hours(*hour) + minutes(*minute) - offset;
  TimePoint at = start_of_minute + seconds(*second) + fraction;
  if (*second == 60) {
    // A leap second is the last second of a UTC date. Our time has no name for it; the millisecond
    // before midnight stays in the date in which the message was sent.
    const auto in_day = start_of_minute - std::chrono::floor<days>(start_of_minute);
    if (in_day != hours(23) + minutes(59)) return std::nullopt;
    at = start_of_minute + minutes(1) - milliseconds(1);
  }
  if (!InRange(at)) return std::nullopt;
  return at;
}

std::optional<TimePoint> ParseHttpDate(std::string_view text) {
  static constexpr std::string_view kWeekdays = "SunMonTueWedThuFriSat";
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  // The place in `names`, three letters each.
  const auto take_name = [&text](std::string_view names) -> std::optional<unsigned> {
    if (text.size() < 3) return std::nullopt;
    const std::size_t at = names.find(text.substr(0, 3));
    if (at == std::string_view::npos || at % 3 != 0) return std::nullopt;
    text.remove_prefix(3);
    return static_cast<unsigned>(at / 3);
  };
  const std::optional<unsigned> weekday = take_name(kWeekdays);
  if (!weekday || !TakeChar(text, ',') || !TakeChar(text, ' ')) return std::nullopt;
  const std::optional<int> d = TakeDigits(text, 2);
  if (!d || !TakeChar(text, ' ')) return std::nullopt;
  const std::optional<unsigned> m = take_name(kMonths);
  if (!m || !TakeChar(text, ' ')) return std::nullopt;
  const std::optional<int> y = TakeDigits(text, 4);
  if (!y || !TakeChar(text, ' ')) return std::nullopt;
  const std::optional<int> hour = TakeDigits(text, 2);
  if (!hour || *hour > 23 || !TakeChar(text, ':')) return std::nullopt;
  const std::optional<int> minute = TakeDigits(text, 2);
  if (!minute || *minute > 59 || !TakeChar(text, ':')) return std::nullopt;
  const std::optional<int> second = TakeDigits(text, 2);
  if (!second || *second > 60 || text != " GMT") return std::nullopt;
  const year_month_day date(year(*y), month(*m + 1), day(static_cast<unsigned>(*d)));
  if (!date.ok() || std::chrono::weekday(sys_days(date)).c_encoding() != *weekday) {
    return std::nullopt;
  }
  const TimePoint at = sys_days(date) + hours(*hour) + minutes(*minute) + seconds(*second);
  if (!InRange(at)) return std::nullopt;
  return at;
}

std::string FormatDay(ExpiryDay day) { return FormatDate(day, '-'); }

std::string FormatDayCompact(ExpiryDay day) { return FormatDate(day, 0); }

std::optional<ExpiryDay> ParseDay(std::string_view text) {
  const std::optional<sys_days> date = TakeDate(text, '-');
  if (!date || !text.empty() || !InRange(StartOf(*date))) return std::nullopt;
  return *date;
}

std::optional<ExpiryDay> ParseDayCompact(std::string_view text) {
  const std::optional<sys_days> date = TakeDate(text, 0);
  if (!date || !text.empty() || !InRange(StartOf(*date))) return std::nullopt;
  return *date;
}

}  // namespace mayfly
