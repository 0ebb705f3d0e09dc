#include "store/model/time.h"

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "store/model/clock.h"

namespace mayfly {
namespace {

using std::chrono::milliseconds;
using std::chrono::sys_days;
using std::chrono::year;

std::string Again(std::string_view text) {
  const std::optional<TimePoint> at = ParseRfc3339(text);
  return at ? FormatRfc3339(*at) : "refused";
}

TEST(Rfc3339, IsWrittenInUtcWithMilliseconds) {
  EXPECT_EQ(FormatRfc3339(TimePoint(milliseconds(0))), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatRfc3339(sys_days(year(2026) / 11 / 22) + milliseconds(43'200'007)),
            "2026-11-22T12:00:00.007Z");
  EXPECT_EQ(FormatRfc3339(TimePoint(milliseconds(-1))), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(FormatRfc3339(sys_days(year(5) / 1 / 2)), "0005-01-02T00:00:00.000Z");
  EXPECT_EQ(FormatRfc3339(sys_days(year(12'026) / 1 / 2)), "12026-01-02T00:00:00.000Z");
}

TEST(Rfc3339, AcceptsOffsetsFractionsAndSmallLetters) {
  EXPECT_EQ(Again("2026-11-22T12:00:00Z"), "2026-11-22T12:00:00.000Z");
  EXPECT_EQ(Again("2026-11-22t12:00:00z"), "2026-11-22T12:00:00.000Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00+00:00"), "2026-11-22T12:00:00.000Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00-00:00"), "2026-11-22T12:00:00.000Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00+14:00"), "2026-11-21T22:00:00.000Z");
  EXPECT_EQ(Again("2026-12-31T23:00:00-03:30"), "2027-01-01T02:30:00.000Z");
  EXPECT_EQ(Again("2024-02-29T00:00:00Z"), "2024-02-29T00:00:00.000Z");
}

TEST(Rfc3339, CutsFractionsToMilliseconds) {
  EXPECT_EQ(Again("2026-11-22T12:00:00.5Z"), "2026-11-22T12:00:00.500Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00.05Z"), "2026-11-22T12:00:00.050Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00.1239999Z"), "2026-11-22T12:00:00.123Z");
  EXPECT_EQ(Again("2026-11-22T12:00:00." + std::string(5000, '9') + "Z"),
            "2026-11-22T12:00:00.999Z");
}

TEST(Rfc3339, KeepsALeapSecondInItsOwnDate) {
  EXPECT_EQ(Again("2016-12-31T23:59:60Z"), "2016-12-31T23:59:59.999Z");
  EXPECT_EQ(Again("2016-12-31T23:59:60.75Z"), "2016-12-31T23:59:59.999Z");
  EXPECT_EQ(Again("2017-01-01T00:59:60+01:00"), "2016-12-31T23:59:59.999Z");
  EXPECT_EQ(Again("2016-12-31T12:00:60Z"), "refused");
  EXPECT_EQ(Again("2016-12-31T23:59:60+01:00"), "refused");
  EXPECT_EQ(Again("2016-12-31T23:59:61Z"), "refused");
}

TEST(Rfc3339, RefusesEverythingElse) {
  for (const char* text : {"",
                           "2026",
                           "2026-11-22",
                           "2026-11-22T12:00Z",
                           "2026-11-22 12:00:00Z",
                           "2026-11-22T12:00:00",
                           "2026-11-22T12:00:00.Z",
                           "2026-11-22T12:00:00,5Z",
                           "2026-11-22T24:00:00Z",
                           "2026-11-22T12:60:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-11-31T00:00:00Z",
                           "2026-02-29T00:00:00Z",
                           "2026-11-00T00:00:00Z",
                           "2026-11-22T12:00:00+1:00",
                           "2026-11-22T12:00:00+0100",
                           "2026-11-22T12:00:00+24:00",
                           "2026-11-22T12:00:00+01:60",
                           "2026-11-22T12:00:00Zx",
                           " 2026-11-22T12:00:00Z",
                           "2026-11-22T12:00:00Z ",
                           "+026-11-22T12:00:00Z",
                           "2026-11-22T-2:00:00Z",
                           "20261122T120000Z"}) {
    EXPECT_EQ(Again(text), "refused") << text;
  }
}

TEST(Rfc3339, RefusesYearsOutside1970To9999EvenThroughAnOffset) {
  EXPECT_EQ(Again("1970-01-01T00:00:00Z"), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(Again("1969-12-31T23:59:59Z"), "refused");
  EXPECT_EQ(Again("1970-01-01T00:30:00+01:00"), "refused");
  EXPECT_EQ(Again("1969-12-31T23:30:00-01:00"), "1970-01-01T00:30:00.000Z");
  EXPECT_EQ(Again("9999-12-31T23:59:59.999Z"), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(Again("9999-12-31T23:30:00-01:00"), "refused");
  EXPECT_EQ(Again("0000-01-01T00:00:00Z"), "refused");
}

TEST(Days, HaveALongAndACompactText) {
  const ExpiryDay day = year(2027) / 2 / 22;
  EXPECT_EQ(FormatDay(day), "2027-02-22");
  EXPECT_EQ(FormatDayCompact(day), "20270222");
  EXPECT_EQ(ParseDay("2027-02-22"), day);
  EXPECT_EQ(ParseDayCompact("20270222"), day);
  EXPECT_EQ(StartOf(day), ParseRfc3339("2027-02-22T00:00:00Z"));
}

TEST(Days, RefuseWhatIsNoDate) {
  for (const char* text : {"", "2027-2-22", "2027-02-30", "2027-02-22 ", "20270222", "1969-12-31",
                           "2027/02/22", "2027-02-22T00:00:00Z"}) {
    EXPECT_FALSE(ParseDay(text)) << text;
  }
  for (const char* text :
       {"", "2027022", "202702222", "20270230", "2027-02-22", "19691231", "2027 222"}) {
    EXPECT_FALSE(ParseDayCompact(text)) << text;
  }
}

TEST(SystemClock, ReturnsAtOnceWhenTheTimeHasCome) {
  SystemClock clock;
  EXPECT_TRUE(clock.SleepUntil(clock.Now(), std::stop_token()));
  EXPECT_TRUE(clock.SleepUntil(TimePoint::min(), std::stop_token()));
}

TEST(SystemClock, WaitsUntilTheTimeHasCome) {
  SystemClock clock;
  const TimePoint until = clock.Now() + milliseconds(20);
  EXPECT_TRUE(clock.SleepUntil(until, std::stop_token()));
  EXPECT_GE(clock.Now(), until);
}

TEST(SystemClock, StopsWaitingWhenAsked) {
  SystemClock clock;
  std::stop_source stop;
  bool came = true;
  {
    std::jthread sleeper([&] { came = clock.SleepUntil(TimePoint::max(), stop.get_token()); });
    stop.request_stop();
  }
  EXPECT_FALSE(came);
  EXPECT_FALSE(clock.SleepUntil(TimePoint::min(), stop.get_token()));
}

TEST(HttpDate, IsReadInTheOneFormThatMayBeWritten) {
  EXPECT_EQ(ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), ParseRfc3339("1994-11-06T08:49:37Z"));
  EXPECT_EQ(ParseHttpDate("Thu, 29 Feb 2024 23:59:59 GMT"), ParseRfc3339("2024-02-29T23:59:59Z"));
  for (const char* text :
       {"", "Sun", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT",
        "Sun, 30 Feb 2025 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT"}) {
    EXPECT_EQ(ParseHttpDate(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace mayfly
