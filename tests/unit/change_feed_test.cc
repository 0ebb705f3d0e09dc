#include "service/api/change_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/api_clock.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::ApiClock;
using store::ChangeKind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ChangeFeedTest : public ::testing::Test {
 protected:
  void Tell(ChangeFeed& feed, int count) {
    for (int i = 0; i < count; ++i) {
      feed.OnCommitted({{.kind = ChangeKind::kAccountState, .id = std::to_string(++told_)}});
    }
  }
  static std::vector<std::string> IdsOf(const ChangeFeed::Page& page) {
    std::vector<std::string> ids;
    for (const ChangeFeed::Entry& entry : page.entries) ids.push_back(entry.change.id);
    return ids;
  }
  ApiClock clock_{TimePoint(std::chrono::seconds(1'000'000))};
  int told_ = 0;
};

TEST_F(ChangeFeedTest, APositionOfNowIsFollowedByWhatComesAfterIt) {
  ChangeFeed feed(clock_);
  Tell(feed, 2);
  const ChangeFeed::Page now = feed.Read("", 10);
  EXPECT_FALSE(now.reset);
  EXPECT_THAT(now.entries, IsEmpty());
  EXPECT_EQ(feed.Read(now.next, 10).next, now.next);
  Tell(feed, 3);
  const ChangeFeed::Page first = feed.Read(now.next, 2);
  EXPECT_THAT(IdsOf(first), ElementsAre("3", "4"));
  EXPECT_EQ(first.entries[0].sequence, 3u);
  EXPECT_EQ(first.entries[0].at, clock_.Now());
  EXPECT_TRUE(first.has_more);
  const ChangeFeed::Page second = feed.Read(first.next, 2);
  EXPECT_THAT(IdsOf(second), ElementsAre("5"));
  EXPECT_FALSE(second.has_more);
  EXPECT_THAT(feed.Read(second.next, 2).entries, IsEmpty());
}

TEST_F(ChangeFeedTest, APositionThatIsTooOldIsResetOnceAndGoesOn) {
  ChangeFeed feed(clock_, 3);
  const std::string begin = feed.Read("", 1).next;
  Tell(feed, 3);
  EXPECT_THAT(IdsOf(feed.Read(begin, 10)), ElementsAre("1", "2", "3"));
  Tell(feed, 1);
  const ChangeFeed::Page lost = feed.Read(begin, 10);
  EXPECT_TRUE(lost.reset);
  EXPECT_THAT(lost.entries, IsEmpty());
  const ChangeFeed::Page after = feed.Read(lost.next, 10);
  EXPECT_FALSE(after.reset);
  EXPECT_THAT(after.entries, IsEmpty());
  Tell(feed, 1);
  EXPECT_THAT(IdsOf(feed.Read(lost.next, 10)), ElementsAre("5"));
}

TEST_F(ChangeFeedTest, APositionOfAnotherProcessIsReset) {
  ChangeFeed before(clock_), after(clock_);
  Tell(before, 1);
  Tell(after, 5);
  for (const std::string& position : {before.Read("", 1).next, std::string("x"), std::string("."),
                                      after.Read("", 1).next + "0", after.Read("", 1).next + "x"}) {
    EXPECT_TRUE(after.Read(position, 10).reset) << position;
  }
}

TEST_F(ChangeFeedTest, ACommitInDoubtResetsEveryPositionOnceAndTheFeedGoesOn) {
  ChangeFeed feed(clock_);
  const std::string begin = feed.Read("", 1).next;
  Tell(feed, 2);
  const std::string newest = feed.Read("", 1).next;
  feed.OnDoubt();
  for (const std::string& position : {begin, newest}) {
    const ChangeFeed::Page page = feed.Read(position, 10);
    EXPECT_TRUE(page.reset);
    EXPECT_THAT(page.entries, IsEmpty());
  }
  const std::string after = feed.Read(begin, 10).next;
  EXPECT_FALSE(feed.Read(after, 10).reset);
  Tell(feed, 1);
  const ChangeFeed::Page page = feed.Read(after, 10);
  EXPECT_THAT(IdsOf(page), ElementsAre("3"));
  EXPECT_EQ(page.entries[0].sequence, 3u);
  EXPECT_TRUE(feed.Read(newest, 10).reset) << "not found again by counting";
}

}  // namespace
}  // namespace mayfly::service::api
