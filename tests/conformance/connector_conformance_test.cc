// Every connector against its simulator, by the same laws: what the platform served before its
// expiry is stored exactly once as it was said, whatever goes wrong in between; a reply reaches its
// person once or never, and what we say of it is true. There is no code for any single platform
// here. What a platform does not have is skipped, with the reason.
#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/connected_office.h"

namespace mayfly {
namespace {

using connectors::PlatformFault;
using std::chrono::hours;
using std::chrono::minutes;
using testing::ConnectedOffice;
using ::testing::Each;
using ::testing::IsEmpty;
using testing::Must;
using testing::OfficeOptions;
using testing::Polled;
using testing::Polls;
using testing::Said;

constexpr const char* kPlatforms[] = {
#define MAYFLY_CONNECTOR(name) #name,
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
};

// One Fetch that asks more often than this could wear out a platform's patience alone.
constexpr std::size_t kRequestsPerFetchMax = 60;
// As many as a poll makes when three people have written.
constexpr int kRequestsOfSmallPoll = 8;

class ConnectorConformance : public ::testing::TestWithParam<const char*> {
 protected:
  std::string platform() const { return GetParam(); }
};

std::string Numbered(const char* what, int number) { return what + std::to_string(number); }

// More than an answer holds from one person, and two people more.
void TellHistory(ConnectedOffice& office) {
  const int burst = static_cast<int>(office.platform().MessagesPerAnswer()) + 5;
  for (int i = 0; i < burst; ++i) office.Write(0, Numbered("burst ", i));
  for (int i = 0; i < 3; ++i) office.Write(1, Numbered("second ", i));
  office.WriteElsewhere(1, "not for the office");
  office.Write(2, "a single one");
}

void ExpectAllCollected(ConnectedOffice& office) {
  const Polls polls = office.PollUntilQuiet();
  EXPECT_TRUE(polls.quiet);
  EXPECT_THAT(office.Wrongs(), IsEmpty());
}

std::vector<ErrorCode> CodesOf(const Polls& polls) {
  std::vector<ErrorCode> codes;
  for (const Error& error : polls.errors) codes.push_back(error.code);
  return codes;
}

#define MAYFLY_INJECT_OR_SKIP(office, ...)                                          \
  if (const Status injected = (office).platform().Inject(__VA_ARGS__); !injected) { \
    ASSERT_EQ(injected.error().code, ErrorCode::kPlatformRejected);                 \
    GTEST_SKIP() << "the platform cannot do this to anybody: " #__VA_ARGS__;        \
  }

// ---- what is served is stored once

TEST_P(ConnectorConformance, ChecksWhoWeAre) {
  ConnectedOffice office(platform());
  const auto report = Must(office.connector().Check({}));
  EXPECT_FALSE(report.own_platform_id.empty());
  EXPECT_FALSE(report.own_handle.empty());
  EXPECT_FALSE(report.permissions_held.empty());
  EXPECT_THAT(report.permissions_missing, IsEmpty());
}

TEST_P(ConnectorConformance, CollectsHistoryAndThenNews) {
  ConnectedOffice office(platform());
  TellHistory(office);
  ExpectAllCollected(office);
  for (int i = 0; i < 4; ++i) office.Write(i, Numbered("news ", i));
  office.WriteElsewhere(3, "news for somebody else");
  ExpectAllCollected(office);
  const Coverage coverage = Must(office.store()->collection().Coverage(office.account()));
  EXPECT_TRUE(coverage.history_complete);
  EXPECT_THAT(coverage.holes, IsEmpty());
}

TEST_P(ConnectorConformance, AnEmptyAccountIsComplete) {
  ConnectedOffice office(platform());
  office.WriteElsewhere(0, "not for the office");
  ExpectAllCollected(office);
  office.Write(0, "the first one");
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, KeepsTextsAsTheyWereWritten) {
  ConnectedOffice office(platform());
  const std::vector<std::string> texts = {
      "a",
      "1 < 2 && 3 > 2; <b>not bold</b> &amp; &lt;",
      "Grüße, 你好, مرحبا, 👩‍👩‍👧‍👦 e\u0301",
      "two\nlines",
      "a paragraph\n\nand another",
      R"("quoted" and \back\slashed\ and 'single' {"json": [1]})",
      "see https://www.example.org/a?b=c&d=e#f",
      "#hash and 100 % and under_score *star* `tick`",
      std::string(400, 'x'),
  };
  for (std::size_t i = 0; i < texts.size(); ++i) office.Write(static_cast<int>(i % 2), texts[i]);
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, CollectsABurstThatIsLargerThanAnAnswer) {
  ConnectedOffice office(platform());
  office.Write(0, "before");
  ExpectAllCollected(office);
  const int burst = static_cast<int>(office.platform().MessagesPerAnswer()) * 2 + 7;
  for (int i = 0; i < burst; ++i) office.Write(i % 2, Numbered("burst ", i));
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, CollectsMoreConversationsThanAnAnswerHolds) {
  ConnectedOffice office(platform());
  const int people = static_cast<int>(office.platform().MessagesPerAnswer()) + 15;
  for (int i = 0; i < people; ++i) office.Write(i, Numbered("history of ", i));
  ExpectAllCollected(office);
  for (int i = 0; i < people; ++i) office.Write(people - i, Numbered("news of ", i));
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, CollectsWhatArrivesBetweenPages) {
  ConnectedOffice office(platform());
  TellHistory(office);
  for (int i = 0; i < 12; ++i) {
    Must(office.Poll());
    office.Write(i % 4, Numbered("meanwhile ", i));
    office.WriteAsOffice(0, Numbered("typed meanwhile ", i));
  }
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, WhatIsServedTwiceIsStoredOnce) {
  ConnectedOffice office(platform());
  TellHistory(office);
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kServedTwice, 1'000);
  ExpectAllCollected(office);
  office.Write(0, "once");
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, TheOrderOfServingDoesNotMatter) {
  ConnectedOffice office(platform());
  TellHistory(office);
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kServedReordered, 1'000);
  ExpectAllCollected(office);
  for (int i = 0; i < 5; ++i) office.Write(i % 2, Numbered("mixed ", i));
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, AReplyTypedInThePlatformsAppIsStoredOnceAsOutgoing) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  office.WriteAsOffice(0, "typed before we looked");
  ExpectAllCollected(office);
  office.WriteAsOffice(0, "typed afterwards");
  ExpectAllCollected(office);
}

// ---- when a request goes wrong

struct ReadFault {
  PlatformFault fault;
  const char* name;
  int count;
  std::set<ErrorCode> codes;
  bool always_seen;       // by whoever asks first
  bool may_pass = false;  // a connector may ask for less at once, and get it
};
const std::vector<ReadFault>& ReadFaults() {
  static const std::vector<ReadFault> faults = {
      {PlatformFault::kRateLimited, "rate limited", 1, {ErrorCode::kRateLimited}, true},
      {PlatformFault::kUnavailable, "unavailable", 1, {ErrorCode::kPlatformUnavailable}, true},
      {PlatformFault::kTruncatedAnswer, "truncated", 1, {ErrorCode::kProtocol}, true},
      {PlatformFault::kHugeAnswer, "huge", 1, {ErrorCode::kProtocol}, false, true},
      {PlatformFault::kNotJson, "HTML", 1, {ErrorCode::kProtocol}, true},
      {PlatformFault::kWrongShape, "wrong shape", 1, {ErrorCode::kProtocol}, true},
      {PlatformFault::kRedirect, "redirect", 1, {ErrorCode::kProtocol}, true},
      // A read may be repeated on a fresh connection by the HTTP library, once.
      {PlatformFault::kConnectionClosed, "closed", 3, {ErrorCode::kPlatformUnavailable}, false},
  };
  return faults;
}

TEST_P(ConnectorConformance, EveryFailureIsTypedLeavesThePositionAndHeals) {
  ConnectedOffice office(platform());
  office.Write(0, "before");
  ExpectAllCollected(office);
  for (const ReadFault& each : ReadFaults()) {
    SCOPED_TRACE(each.name);
    office.Write(0, std::string("during ") + each.name);
    Must(office.platform().Inject(each.fault, each.count));
    const std::string before = office.cursor();
    const std::size_t requests = office.platform().CountRequests();
    const auto polled = office.Poll();
    if (polled.has_value() && each.may_pass) {
      ExpectAllCollected(office);
      continue;
    }
    EXPECT_LE(office.platform().CountRequests() - requests, 4u);
    EXPECT_EQ(office.cursor(), before);
    ASSERT_FALSE(polled.has_value());
    EXPECT_TRUE(each.codes.contains(polled.error().code)) << ToString(polled.error().code);
    Must(office.platform().Inject(each.fault, 0));
    ExpectAllCollected(office);
  }
}

TEST_P(ConnectorConformance, AFailureAtAnyRequestLosesNothing) {
  std::size_t requests = 0;
  {
    ConnectedOffice office(platform());
    TellHistory(office);
    const std::size_t before = office.platform().CountRequests();
    ExpectAllCollected(office);
    requests = office.platform().CountRequests() - before;
  }
  ASSERT_GT(requests, 2u);
  for (const ReadFault& each : ReadFaults()) {
    // At every request of a short reading, at some thirty of a long one.
    const int step =
        (1 + static_cast<int>(requests) / 30) * (each.fault == PlatformFault::kHugeAnswer ? 3 : 1);
    for (int after = 0; after < static_cast<int>(requests); after += step) {
      SCOPED_TRACE(std::string(each.name) + " after " + std::to_string(after) + " requests");
      ConnectedOffice office(platform());
      TellHistory(office);
      Must(office.platform().Inject(each.fault, each.count, after));
      const Polls polls = office.PollUntilQuiet();
      EXPECT_TRUE(polls.quiet);
      EXPECT_THAT(office.Wrongs(), IsEmpty());
      for (const ErrorCode code : CodesOf(polls)) {
        EXPECT_TRUE(each.codes.contains(code)) << ToString(code);
      }
      if (after == 0 && each.always_seen) {
        EXPECT_EQ(polls.errors.size(), 1u);
      }
      if (HasFailure()) return;
    }
  }
}

TEST_P(ConnectorConformance, ALastingFailureEndsWhenThePlatformIsBack) {
  for (const ReadFault& each : ReadFaults()) {
    SCOPED_TRACE(each.name);
    ConnectedOffice office(platform());
    TellHistory(office);
    const int lasting = each.fault == PlatformFault::kHugeAnswer ? 3 : 9;
    Must(office.platform().Inject(each.fault, lasting, 2));
    ExpectAllCollected(office);
  }
}

TEST_P(ConnectorConformance, ARateLimitSaysUntilWhen) {
  ConnectedOffice office(platform());
  office.Write(0, "before");
  ExpectAllCollected(office);
  Must(office.platform().Inject(PlatformFault::kRateLimited));
  office.Write(0, "during");
  const auto polled = office.Poll();
  ASSERT_FALSE(polled.has_value());
  ASSERT_EQ(polled.error().code, ErrorCode::kRateLimited);
  const TimePoint now = office.clock().Now();
  ASSERT_TRUE(polled.error().retry_at || polled.error().retry_after);
  const TimePoint until =
      polled.error().retry_at ? *polled.error().retry_at : now + *polled.error().retry_after;
  EXPECT_GT(until, now);
  EXPECT_LE(until, now + hours(24));
  ExpectAllCollected(office);
}

// ---- credentials

TEST_P(ConnectorConformance, ATokenThatExpiresAtAnyRequestIsRenewed) {
  std::size_t requests = 0;
  {
    ConnectedOffice office(platform());
    TellHistory(office);
    MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kTokenExpired);
    const std::size_t before = office.platform().CountRequests();
    ExpectAllCollected(office);
    requests = office.platform().CountRequests() - before;
  }
  for (int after = 0; after < static_cast<int>(requests); ++after) {
    SCOPED_TRACE("after " + std::to_string(after) + " requests");
    ConnectedOffice office(platform());
    TellHistory(office);
    const Credential before = Must(office.store()->accounts().RevealCredential(office.account()));
    Must(office.platform().Inject(PlatformFault::kTokenExpired, 1, after));
    const Polls polls = office.PollUntilQuiet();
    EXPECT_TRUE(polls.quiet);
    EXPECT_THAT(polls.errors, IsEmpty());
    EXPECT_THAT(office.Wrongs(), IsEmpty());
    if (after + 2 < static_cast<int>(requests)) {
      EXPECT_NE(Must(office.store()->accounts().RevealCredential(office.account())), before)
          << "a renewed credential was not handed over";
    }
    // What was handed over works for the next process.
    office.RestartConnector();
    office.Write(0, "after the restart");
    ExpectAllCollected(office);
    if (HasFailure()) return;
  }
}

TEST_P(ConnectorConformance, ARevokedCredentialIsDeadAndAskedRarely) {
  ConnectedOffice office(platform());
  office.Write(0, "before");
  ExpectAllCollected(office);
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kTokenRevoked);
  std::size_t requests = office.platform().CountRequests();
  for (int i = 0; i < 10; ++i) {
    const auto polled = office.Poll();
    ASSERT_FALSE(polled.has_value());
    EXPECT_EQ(polled.error().code, ErrorCode::kCredentialDead);
    const std::size_t now = office.platform().CountRequests();
    EXPECT_LE(now - requests, i == 0 ? 4u : 1u) << "a dead credential is no reason to knock again";
    requests = now;
  }
  EXPECT_EQ(office.connector().Check({}).error().code, ErrorCode::kCredentialDead);
  const auto sent = office.connector().Send(office.Outgoing(0, "nobody gets this"), {});
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code, ErrorCode::kCredentialDead);
  EXPECT_EQ(office.platform().CountReceived(0, "nobody gets this"), 0u);
  EXPECT_LE(office.platform().CountRequests() - requests, 2u);
}

// An empty list is no proof of health: wherever the credential ends within a poll, nothing is taken
// for gone, for quiet or for read because it does not show any more.
TEST_P(ConnectorConformance, ACredentialThatIsRevokedAtAnyRequestIsNoQuietPlatform) {
  for (int after = 0; after < kRequestsOfSmallPoll; ++after) {
    SCOPED_TRACE("after " + std::to_string(after) + " requests");
    ConnectedOffice office(platform());
    TellHistory(office);
    ExpectAllCollected(office);
    for (int i = 0; i < 3; ++i) office.Write(i, Numbered("unseen ", i));
    MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kTokenRevoked, 1, after);
    const TimePoint covered =
        Must(office.store()->collection().Coverage(office.account())).covered_until.value();
    bool dead = false;
    for (int i = 0; i < 20 && !dead; ++i) {
      office.clock().Advance(minutes(1));
      const auto polled = office.Poll();
      dead = !polled && polled.error().code == ErrorCode::kCredentialDead;
    }
    EXPECT_TRUE(dead);
    const Coverage coverage = Must(office.store()->collection().Coverage(office.account()));
    EXPECT_TRUE(coverage.covered_until == covered || office.Wrongs().empty())
        << "said to be covered, and is not";
  }
}

// ---- positions

TEST_P(ConnectorConformance, AForgottenPositionIsToldAndEverythingReadAgain) {
  ConnectedOffice office(platform());
  TellHistory(office);
  ExpectAllCollected(office);
  for (int i = 0; i < 5; ++i) office.Write(i, Numbered("unseen ", i));
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kPositionForgotten);
  const Polls polls = office.PollUntilQuiet();
  EXPECT_TRUE(polls.quiet);
  EXPECT_EQ(polls.positions_lost, 1);
  EXPECT_THAT(office.Wrongs(), IsEmpty());
  const Coverage coverage = Must(office.store()->collection().Coverage(office.account()));
  ASSERT_EQ(coverage.holes.size(), 1u);
  EXPECT_EQ(coverage.holes[0].reason, "position-lost");
  EXPECT_TRUE(coverage.holes[0].filled_at);
}

// A platform that leads in a circle, or nowhere, must not keep a worker or the platform busy.
void ExpectBoundedAndHealing(ConnectedOffice& office, PlatformFault fault) {
  for (int i = 0; i < 10; ++i) {
    const std::size_t before = office.platform().CountRequests();
    const auto polled = office.Poll();  // a page or a typed error
    EXPECT_LE(office.platform().CountRequests() - before, kRequestsPerFetchMax);
    office.clock().Advance(minutes(1));
  }
  Must(office.platform().Inject(fault, 0));
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, ARepeatingCursorEndsInBoundedCalls) {
  for (const bool history : {true, false}) {
    SCOPED_TRACE(history ? "in history" : "in the news");
    ConnectedOffice office(platform());
    TellHistory(office);
    if (!history) {
      ExpectAllCollected(office);
      for (int i = 0; i < 20; ++i) office.Write(i % 3, Numbered("news ", i));
    }
    MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kCursorRepeats, 100'000);
    ExpectBoundedAndHealing(office, PlatformFault::kCursorRepeats);
  }
}

TEST_P(ConnectorConformance, EmptyPagesThatGoOnEndInBoundedCalls) {
  for (const bool history : {true, false}) {
    SCOPED_TRACE(history ? "in history" : "in the news");
    ConnectedOffice office(platform());
    TellHistory(office);
    if (!history) {
      ExpectAllCollected(office);
      for (int i = 0; i < 20; ++i) office.Write(i % 3, Numbered("news ", i));
    }
    MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kEmptyPageGoesOn, 100'000);
    ExpectBoundedAndHealing(office, PlatformFault::kEmptyPageGoesOn);
  }
}

TEST_P(ConnectorConformance, SomeEmptyPagesOnTheWayLoseNothing) {
  for (int after = 0; after < 8; ++after) {
    SCOPED_TRACE(after);
    ConnectedOffice office(platform());
    TellHistory(office);
    MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kEmptyPageGoesOn, 2, after);
    ExpectAllCollected(office);
  }
}

// Cursors of all phases: while history is read and afterwards.
std::vector<std::string> CursorsOf(ConnectedOffice& office) {
  std::vector<std::string> cursors;
  for (int i = 0; i < 50; ++i) {
    const Polled polled = Must(office.Poll());
    if (cursors.empty() || cursors.back() != office.cursor()) cursors.push_back(office.cursor());
    if (polled.caught_up && polled.history_complete) break;
    office.clock().Advance(std::chrono::seconds(1));
  }
  if (cursors.size() > 4) cursors = {cursors.front(), cursors[cursors.size() / 2], cursors.back()};
  return cursors;
}

TEST_P(ConnectorConformance, ATruncatedCursorIsAPositionLost) {
  ConnectedOffice large(platform());
  TellHistory(large);
  ConnectedOffice office(platform());  // where reading all again costs little
  office.Write(0, "a question");
  for (const std::string& cursor : CursorsOf(large)) {
    for (std::size_t length = 1; length < cursor.size(); ++length) {
      SCOPED_TRACE("the first " + std::to_string(length) + " bytes of " + cursor);
      const auto page = office.FetchAfter(cursor.substr(0, length), office.connector());
      ASSERT_TRUE(page.has_value()) << ToString(page.error().code);
      EXPECT_TRUE(page->position_lost);
      office.clock().Advance(minutes(1));
      if (HasFailure()) return;
    }
  }
}

// As after an upgrade and a way back. Cursors that are JSON carry their version as "v".
TEST_P(ConnectorConformance, ACursorOfAnotherVersionIsAPositionLost) {
  ConnectedOffice office(platform());
  TellHistory(office);
  for (std::string cursor : CursorsOf(office)) {
    const std::size_t at = cursor.find("\"v\":");
    ASSERT_NE(at, std::string::npos) << "a cursor without a version cannot change its form";
    const std::size_t end = cursor.find_first_not_of("0123456789", at + 4);
    cursor.replace(at + 4, end - at - 4, "77");
    const auto page = office.FetchAfter(cursor, office.connector());
    ASSERT_TRUE(page.has_value()) << ToString(page.error().code);
    EXPECT_TRUE(page->position_lost);
  }
}

TEST_P(ConnectorConformance, AHostileCursorBreaksNothing) {
  ConnectedOffice large(platform());
  TellHistory(large);
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  std::vector<std::string> hostile = {
      "x",
      "null",
      "{}",
      "[]",
      "\"\"",
      "0",
      R"({"v":0})",
      R"({"v":999999999999999999999})",
      R"({"version":2,"v":2,"log":"x"})",
      std::string("\0", 1),
      std::string(16 * 1024, 'a'),
      std::string(1 << 20, '{'),
      "\xff\xfe\xfd",
  };
  for (std::string cursor : CursorsOf(large)) {
    hostile.push_back(cursor + cursor);
    hostile.push_back(cursor + "x");
    // Some hundred places of a long one.
    const std::size_t step = 1 + cursor.size() / 150;
    for (std::size_t i = 0; i < cursor.size(); i += step) {
      for (const unsigned char change : {0x01, 0x80}) {
        std::string changed = cursor;
        changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ change);
        hostile.push_back(std::move(changed));
      }
    }
  }
  for (const std::string& cursor : hostile) {
    SCOPED_TRACE(cursor.substr(0, 300));
    const std::size_t before = office.platform().CountRequests();
    const auto page = office.FetchAfter(cursor, office.connector());
    EXPECT_LE(office.platform().CountRequests() - before, kRequestsPerFetchMax);
    office.clock().Advance(minutes(1));
    if (HasFailure()) return;
  }
  // And afterwards it goes on where it was.
  office.Write(0, "afterwards");
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, TwoPollersStoreEverythingOnce) {
  ConnectedOffice office(platform());
  TellHistory(office);
  const auto other = office.MakeConnector();
  // Both from the same position.
  for (int i = 0; i < 30; ++i) {
    const TimePoint now = office.clock().Now();
    auto theirs = Must(office.FetchAfter(office.cursor(), *other));
    const Polled ours = Must(office.Poll());
    Must(office.Ingest(std::move(theirs), now));
    if (i % 3 == 0) office.Write(i % 4, Numbered("meanwhile ", i));
    if (ours.caught_up && ours.history_complete && i > 10) break;
  }
  // One from its own.
  std::string own;
  for (int i = 0; i < 30; ++i) {
    const TimePoint now = office.clock().Now();
    auto theirs = Must(office.FetchAfter(own, *other));
    own = theirs.next.value;
    Must(office.Ingest(std::move(theirs), now));
    Must(office.Poll());
    office.clock().Advance(minutes(1));  // or the platform asks both of them to wait
  }
  ExpectAllCollected(office);
}

// ---- when we go wrong

TEST_P(ConnectorConformance, APageThatWasNotCommittedIsReadAgain) {
  for (const bool dies : {true, false}) {
    SCOPED_TRACE(dies ? "and the worker died" : "and the worker lives");
    ConnectedOffice office(platform());
    TellHistory(office);
    for (int i = 0; i < 12; ++i) {
      Must(office.Fetch());
      if (dies) office.RestartConnector();
      Must(office.Poll());
      office.Write(i % 3, Numbered("meanwhile ", i));
    }
    ExpectAllCollected(office);
  }
}

// A connector may remember what it read, to save calls; what was not stored is read all the same.
TEST_P(ConnectorConformance, ManyPagesThatWereNotCommittedAreReadAgain) {
  ConnectedOffice office(platform());
  const int people = static_cast<int>(office.platform().MessagesPerAnswer()) + 15;
  for (int i = 0; i < people; ++i) office.Write(i, Numbered("history of ", i));
  for (int i = 0; i < 10; ++i) {
    Must(office.Poll());
    std::string ahead = office.cursor();
    for (int j = 0; j < 4; ++j) {
      ahead = Must(office.FetchAfter(ahead, office.connector())).next.value;
    }
    office.Write(i, Numbered("meanwhile ", i));
  }
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, ACommitThatFailsLosesNothing) {
  using testing::Fault;
  ConnectedOffice office(platform());
  TellHistory(office);
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownNotDone, Fault::kUnknownDone,
                            Fault::kRefused, Fault::kUnknownNotDone, Fault::kUnknownDone}) {
    const TimePoint now = office.clock().Now();
    auto page = Must(office.Fetch());
    office.store().engine().FailNextCommit(fault);
    EXPECT_FALSE(office.Ingest(std::move(page), now).has_value());
    office.store().engine().FailNoCommit();
    office.RestartAll();
    Must(office.Poll());
    office.Write(0, Numbered("meanwhile ", static_cast<int>(office.ledger().size())));
  }
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, ARestartInTheMiddleOfHistoryGoesOn) {
  ConnectedOffice office(platform());
  TellHistory(office);
  std::size_t served = 0;
  for (int i = 0; i < 30; ++i) {
    const Polled polled = Must(office.Poll());
    served += polled.messages;
    office.RestartAll();
    if (polled.caught_up && polled.history_complete) break;
  }
  ExpectAllCollected(office);
  // It went on, and did not begin again each time.
  EXPECT_LE(served, office.ledger().size() * 3);
}

TEST_P(ConnectorConformance, NothingIsAskedWhenAskedToStop) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  ExpectAllCollected(office);
  const auto reply = office.Outgoing(0, "nobody gets this");
  std::stop_source stop;
  stop.request_stop();
  for (const bool fresh : {false, true}) {
    SCOPED_TRACE(fresh ? "a new connector" : "a connector with a session");
    if (fresh) office.RestartConnector();
    const std::size_t before = office.platform().CountRequests();
    auto& connector = office.connector();
    const auto token = stop.get_token();
    const connectors::FetchRequest request{.after = {office.cursor()}, .horizon = office.horizon()};
    EXPECT_EQ(testing::FailureOf(connector.Fetch(request, token)), ErrorCode::kCancelled);
    EXPECT_EQ(testing::FailureOf(connector.Send(reply, token)), ErrorCode::kCancelled);
    EXPECT_EQ(testing::FailureOf(connector.FindSent({.conversation = reply.conversation,
                                                     .text = reply.text,
                                                     .not_before = office.horizon()},
                                                    token)),
              ErrorCode::kCancelled);
    EXPECT_EQ(testing::FailureOf(connector.Check(token)), ErrorCode::kCancelled);
    EXPECT_EQ(office.platform().CountRequests(), before);
  }
}

// ---- time

TEST_P(ConnectorConformance, WhatHasExpiredIsCountedAndNeverStored) {
  ConnectedOffice office(platform(), {.period = "P7D"});
  const TimePoint start = office.clock().Now();
  for (int i = 0; i < 3; ++i) {
    office.Write(0, Numbered("old ", i), start - hours(24 * 10) + minutes(i)).expected = false;
  }
  office.Write(1, "old and alone", start - hours(24 * 9)).expected = false;
  office.Write(0, "fresh", start - hours(1));
  office.Write(0, "new");
  ExpectAllCollected(office);
  const auto counted = [&] {
    return Must(office.store()->collection().Coverage(office.account())).past_horizon;
  };
  EXPECT_GE(counted(), 3u);

  office.clock().Advance(hours(24 * 2));
  office.RestartAll();
  if (!office.platform().Inject(PlatformFault::kPositionForgotten)) {
    std::printf("SKIPPED: %s forgets no position\n", platform().c_str());
  }
  office.Write(0, "two days later");
  ExpectAllCollected(office);

  // Everything is over, and read again from the beginning by a process that knows nothing.
  office.clock().Advance(hours(24 * 9));
  Must(office.store()->purge().RunOnce(office.clock().Now()));
  for (Said& said : office.ledger()) said.expected = false;
  std::string after;
  for (int i = 0; i < 50; ++i) {
    auto page = Must(office.FetchAfter(after, office.connector()));
    after = page.next.value;
    const bool done = page.caught_up && page.history_complete;
    EXPECT_EQ(Must(office.Ingest(std::move(page), office.clock().Now())).stored, 0u);
    if (done) break;
  }
  EXPECT_THAT(office.Wrongs(), IsEmpty());
}

TEST_P(ConnectorConformance, APlatformWhoseClockIsWrongLosesNothing) {
  for (const auto ahead : {hours(5), hours(-5)}) {
    SCOPED_TRACE("ahead by " + std::to_string(ahead.count()) + " hours");
    ConnectedOffice office(platform(), {.platform_ahead = ahead});
    TellHistory(office);
    ExpectAllCollected(office);
    office.Write(0, "news");
    Must(office.platform().Inject(PlatformFault::kRateLimited));
    ExpectAllCollected(office);
    office.clock().Advance(hours(6));
    office.Write(0, "later");
    ExpectAllCollected(office);
  }
}

// ---- what the platform takes back or changes

TEST_P(ConnectorConformance, ADeletionOnThePlatformIsFollowed) {
  ConnectedOffice office(platform());
  Said& kept = office.Write(0, "kept");
  Said& late = office.Write(0, "deleted afterwards");
  // The newest: with a message in the middle a platform may lose what holds a thread together.
  Said& early = office.Write(0, "deleted before we looked");
  Said& alone = office.Write(1, "deleted, and the only one of its conversation");
  if (const Status deleted = office.platform().Delete(early.written); !deleted) {
    ASSERT_EQ(deleted.error().code, ErrorCode::kPlatformRejected);
    EXPECT_FALSE(office.info().capabilities.reports_withdrawals);
    GTEST_SKIP() << "the platform has no deletion";
  }
  early.expected = false;
  if (!office.info().capabilities.reports_withdrawals) {
    GTEST_SKIP() << "the platform does not tell of deletions";
  }
  ExpectAllCollected(office);
  office.Delete(late);
  office.Delete(alone);
  office.Write(0, "afterwards");
  ExpectAllCollected(office);
  EXPECT_EQ(office.StoredWithText(kept.text).size(), 1u);
}

TEST_P(ConnectorConformance, ADeletionIsFollowedThoughThePositionWasForgotten) {
  ConnectedOffice office(platform());
  if (!office.info().capabilities.reports_withdrawals) {
    GTEST_SKIP() << "the platform does not tell of deletions";
  }
  office.Write(0, "kept");
  Said& deleted = office.Write(0, "deleted");
  ExpectAllCollected(office);
  office.Delete(deleted);
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kPositionForgotten);
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, AnEditOnThePlatformIsFollowed) {
  ConnectedOffice office(platform());
  Said& early = office.Write(0, "to be edited before we look");
  Said& late = office.Write(0, "to be edited afterwards");
  office.Write(0, "left as it is");
  if (const Status edited = office.platform().Edit(early.written, "edited before"); !edited) {
    ASSERT_EQ(edited.error().code, ErrorCode::kPlatformRejected);
    EXPECT_FALSE(office.info().capabilities.reports_edits);
    GTEST_SKIP() << "the platform has no edits";
  }
  early.text = "edited before";
  ASSERT_TRUE(office.info().capabilities.reports_edits)
      << "a platform with edits whose connector does not tell of them shows staff old words";
  ExpectAllCollected(office);
  const auto stored = office.StoredWithText(late.text);
  ASSERT_EQ(stored.size(), 1u);
  office.Edit(late, "edited afterwards");
  office.Write(0, "news");
  ExpectAllCollected(office);
  office.Edit(late, "edited again");
  ExpectAllCollected(office);
  const auto now = office.StoredWithText("edited again");
  ASSERT_EQ(now.size(), 1u);
  EXPECT_EQ(now[0].id, stored[0].id);
  EXPECT_EQ(now[0].expires_at, stored[0].expires_at) << "no edit lengthens a life";
}

// ---- replies

TEST_P(ConnectorConformance, AReplyIsSentOnceAndIsOneMessage) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  office.Write(1, "of somebody else");
  ExpectAllCollected(office);
  const ReplyId reply = office.Enqueue(0, "an answer");
  office.RunSender();
  EXPECT_EQ(office.ReplyOf(reply).state, ReplyState::kSent);
  EXPECT_EQ(office.platform().CountReceived(0, "an answer"), 1u);
  EXPECT_EQ(office.platform().CountReceived(1, "an answer"), 0u);
  office.Expect(0, "an answer", Direction::kOutgoing);
  EXPECT_THAT(office.Wrongs(), IsEmpty()) << "before the next poll";
  ExpectAllCollected(office);
  const auto stored = office.StoredWithText("an answer");
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].reply, reply);
  // And the person goes on.
  office.Write(0, "thanks");
  ExpectAllCollected(office);
}

TEST_P(ConnectorConformance, AReplyThatIsPolledBeforeItsEndIsKnownIsOneMessage) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  ExpectAllCollected(office);
  const ReplyId reply = office.Enqueue(0, "an answer");
  Must(office.platform().Inject(PlatformFault::kSendAnswerLost));
  office.RunSender(1);  // unknown from here on
  ASSERT_EQ(office.ReplyOf(reply).state, ReplyState::kUnknown);
  office.Expect(0, "an answer", Direction::kOutgoing);
  ExpectAllCollected(office);
  office.RunSender();
  EXPECT_EQ(office.ReplyOf(reply).state, ReplyState::kSent);
  ExpectAllCollected(office);
  EXPECT_EQ(office.platform().CountReceived(0, "an answer"), 1u);
}

struct SendFault {
  PlatformFault fault;
  const char* name;
  ErrorCode code;
  std::size_t received;
  ReplyState end;
};
const std::vector<SendFault>& SendFaults() {
  static const std::vector<SendFault> faults = {
      {PlatformFault::kSendAnswerLost, "answer lost", ErrorCode::kOutcomeUnknown, 1,
       ReplyState::kSent},
      {PlatformFault::kSendFailsAfter, "fails after", ErrorCode::kOutcomeUnknown, 1,
       ReplyState::kSent},
      {PlatformFault::kSendAnswerBroken, "answer broken", ErrorCode::kOutcomeUnknown, 1,
       ReplyState::kSent},
      {PlatformFault::kSendLost, "lost", ErrorCode::kOutcomeUnknown, 0, ReplyState::kFailed},
      {PlatformFault::kSendRefused, "refused", ErrorCode::kPlatformRejected, 0,
       ReplyState::kFailed},
  };
  return faults;
}

TEST_P(ConnectorConformance, WhatBecameOfASendIsToldTruly) {
  for (const SendFault& each : SendFaults()) {
    SCOPED_TRACE(each.name);
    ConnectedOffice office(platform());
    office.Write(0, "a question");
    office.Write(0, "an answer");  // the person's own words, which FindSent must not take for ours
    office.WriteAsOffice(0, "an answer").written = {};  // and an older one of ours
    office.clock().Advance(hours(1));
    office.PollUntilQuiet();
    const TimePoint begun = office.clock().Now();
    const auto reply = office.Outgoing(0, "an answer");
    Must(office.platform().Inject(each.fault));
    const auto sent = office.connector().Send(reply, {});
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code, each.code);
    EXPECT_EQ(office.platform().CountReceived(0, "an answer"), 1 + each.received);
    const auto found = Must(office.connector().FindSent(
        {.conversation = reply.conversation, .text = reply.text, .not_before = begun - minutes(1)},
        {}));
    EXPECT_EQ(found.size(), each.received);
    const auto all = Must(office.connector().FindSent(
        {.conversation = reply.conversation, .text = reply.text, .not_before = begun - hours(2)},
        {}));
    ASSERT_EQ(all.size(), 1 + each.received);
    if (each.received == 1) {
      EXPECT_EQ(all[1].id, found[0].id) << "oldest first";
    }
  }
}

// "Not found" makes a reply `not-delivered`, so it may be said only by who has really looked.
TEST_P(ConnectorConformance, LookingForASentReplyIsNotFooled) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  office.WriteAsOffice(0, "said twice");
  office.WriteAsOffice(0, "said once");
  office.clock().Advance(minutes(1));
  office.WriteAsOffice(0, "said twice");
  const int more = static_cast<int>(office.platform().MessagesPerAnswer()) + 3;
  for (int i = 0; i < more; ++i) office.Write(0, Numbered("a flood ", i));
  office.PollUntilQuiet();
  const auto find = [&](const std::string& text) {
    return office.connector().FindSent({.conversation = office.Outgoing(0, text).conversation,
                                        .text = MessageBody(text),
                                        .not_before = office.clock().Now() - hours(1)},
                                       {});
  };
  const auto right = Must(find("said twice"));
  ASSERT_EQ(right.size(), 2u);
  EXPECT_LT(*right[0].sent_at, *right[1].sent_at) << "oldest first";
  EXPECT_THAT(Must(find("never said")), IsEmpty());
  for (const PlatformFault fault : {PlatformFault::kServedTwice, PlatformFault::kServedReordered,
                                    PlatformFault::kEmptyPageGoesOn}) {
    SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)));
    const int count = fault == PlatformFault::kEmptyPageGoesOn ? 2 : 1'000;
    if (!office.platform().Inject(fault, count)) {
      std::printf("SKIPPED: %s cannot do this when a reply is looked for\n", platform().c_str());
      continue;
    }
    const auto found = Must(find("said twice"));
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].id, right[0].id);
    EXPECT_EQ(found[1].id, right[1].id);
    Must(office.platform().Inject(fault, 0));
  }
  for (const PlatformFault fault :
       {PlatformFault::kCursorRepeats, PlatformFault::kEmptyPageGoesOn}) {
    SCOPED_TRACE("endless fault " + std::to_string(static_cast<int>(fault)));
    if (!office.platform().Inject(fault, 100'000)) {
      std::printf("SKIPPED: %s cannot do this without end\n", platform().c_str());
      continue;
    }
    const std::size_t before = office.platform().CountRequests();
    const auto found = find("said once");
    EXPECT_TRUE(!found || found->size() == 1);
    EXPECT_LE(office.platform().CountRequests() - before, kRequestsPerFetchMax);
    Must(office.platform().Inject(fault, 0));
  }
  for (const ReadFault& each : ReadFaults()) {
    for (const int after : {0, 1}) {
      SCOPED_TRACE(std::string(each.name) + " after " + std::to_string(after));
      Must(office.platform().Inject(each.fault, each.count, after));
      const auto found = find("said once");
      if (found) {
        EXPECT_EQ(found->size(), 1u);
      } else {
        EXPECT_TRUE(each.codes.contains(found.error().code)) << ToString(found.error().code);
      }
      Must(office.platform().Inject(each.fault, 0));
    }
  }
  EXPECT_EQ(Must(find("said once")).size(), 1u);
}

// A reply that arrived is found, by whatever clock the platform stamps it.
TEST_P(ConnectorConformance, AnUnknownReplyIsFoundThoughThePlatformsClockIsWrong) {
  for (const std::chrono::seconds ahead :
       {std::chrono::seconds(-5 * 3600), std::chrono::seconds(-50),
        std::chrono::seconds(5 * 3600)}) {
    SCOPED_TRACE("ahead by " + std::to_string(ahead.count()) + " s");
    ConnectedOffice office(platform(), {.platform_ahead = ahead});
    office.Write(0, "a question");
    ExpectAllCollected(office);
    const ReplyId reply = office.Enqueue(0, "an answer");
    Must(office.platform().Inject(PlatformFault::kSendAnswerLost));
    office.RunSender();
    EXPECT_EQ(office.ReplyOf(reply).state, ReplyState::kSent);
    office.Expect(0, "an answer", Direction::kOutgoing);
    ExpectAllCollected(office);
  }
}

TEST_P(ConnectorConformance, AnUnknownReplyIsSettledAndNeverSentTwice) {
  for (const SendFault& each : SendFaults()) {
    for (const bool restart : {false, true}) {
      SCOPED_TRACE(std::string(each.name) + (restart ? ", and we restart" : ""));
      ConnectedOffice office(platform());
      office.Write(0, "a question");
      ExpectAllCollected(office);
      const ReplyId reply = office.Enqueue(0, "an answer");
      Must(office.platform().Inject(each.fault));
      if (restart) {
        office.RunSender(1);
        office.RestartAll();
      }
      office.RunSender();
      EXPECT_EQ(office.ReplyOf(reply).state, each.end);
      EXPECT_EQ(office.platform().CountReceived(0, "an answer"), each.received);
      if (each.received == 1) office.Expect(0, "an answer", Direction::kOutgoing);
      ExpectAllCollected(office);
      office.RunSender();
      EXPECT_EQ(office.platform().CountReceived(0, "an answer"), each.received);
    }
  }
}

TEST_P(ConnectorConformance, ASendThatIsRateLimitedHasNotLeft) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  ExpectAllCollected(office);
  Must(office.platform().Inject(PlatformFault::kSendRateLimited));
  const auto sent = office.connector().Send(office.Outgoing(0, "a first try"), {});
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code, ErrorCode::kRateLimited);
  EXPECT_TRUE(sent.error().retry_at || sent.error().retry_after);
  EXPECT_EQ(office.platform().CountReceived(0, "a first try"), 0u);

  Must(office.platform().Inject(PlatformFault::kSendRateLimited, 2));
  const ReplyId reply = office.Enqueue(0, "an answer");
  office.RunSender();
  EXPECT_EQ(office.ReplyOf(reply).state, ReplyState::kSent);
  EXPECT_EQ(office.ReplyOf(reply).attempts, 3u);
  EXPECT_EQ(office.platform().CountReceived(0, "an answer"), 1u);
}

TEST_P(ConnectorConformance, ATokenThatExpiredIsRenewedBeforeASend) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  ExpectAllCollected(office);
  const auto reply = office.Outgoing(0, "an answer");
  MAYFLY_INJECT_OR_SKIP(office, PlatformFault::kTokenExpired);
  EXPECT_TRUE(office.connector().Send(reply, {}).has_value());
  EXPECT_EQ(office.platform().CountReceived(0, "an answer"), 1u);
}

TEST_P(ConnectorConformance, ATextThatThePlatformDoesNotTakeIsRefusedHere) {
  ConnectedOffice office(platform());
  office.Write(0, "a question");
  ExpectAllCollected(office);
  const std::size_t before = office.platform().CountRequests();
  const auto& capabilities = office.info().capabilities;
  std::vector<std::string> texts = {"", "\xff\xfe"};
  if (capabilities.text_bytes_max > 0) {
    texts.push_back(std::string(capabilities.text_bytes_max + 1, 'x'));
  }
  if (capabilities.text_graphemes_max > 0) {
    texts.push_back(std::string(capabilities.text_graphemes_max + 1, 'x'));
  }
  for (const std::string& text : texts) {
    const auto sent = office.connector().Send(office.Outgoing(0, text), {});
    ASSERT_FALSE(sent.has_value()) << text.size() << " bytes";
    EXPECT_EQ(sent.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(office.platform().CountRequests(), before);
}

INSTANTIATE_TEST_SUITE_P(Platforms, ConnectorConformance, ::testing::ValuesIn(kPlatforms),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mayfly
