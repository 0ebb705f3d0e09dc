// Search over a store: what it finds, when it stops finding it, and what of it lies on disk.
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/schema.h"
#include "store/search/segment.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using namespace store;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-11-22T12:00:00.000Z");
const ExpiryDay kDay = DayAt("2027-02-22");  // of what is sent now

class StoreSearch : public ::testing::TestWithParam<EngineKind> {
 protected:
  StoreSearch() : store_(GetParam()), account_(Connect(*store_, kNow).id) {}

  void Collect(const std::vector<CollectedMessage>& messages) {
    Must(store_->collection().Collect(PageOf(account_, messages), kNow));
  }
  search::Search::Page Find(const std::string& text, TimePoint now = kNow,
                            const search::Search::Filter& filter = {},
                            const std::string& after = "", std::size_t limit = 50) {
    const auto query = Must(search::Query::Parse(search::QueryText(text)));
    const Look look = Must(store_->audit().LookAtSearch(Officer(), now));
    return Must(store_->search().Find(look, query, filter, after, limit, now));
  }
  std::vector<std::string> Ids(const std::string& text, TimePoint now = kNow,
                               const search::Search::Filter& filter = {}) {
    std::vector<std::string> ids;
    for (const Message& message : Find(text, now, filter).items) {
      ids.push_back(message.platform_id.Reveal());
    }
    return ids;
  }
  // Every term that stands in rows of the date.
  std::set<std::string> TermsOnDisk(const search::PostingKeys& keys) {
    std::set<std::string> terms;
    const Pair pair = Must(keys.PairOfKeys());
    for (auto& head : Must(search::ReadHeads(store_.engine(), kDay, pair))) {
      search::SegmentReader reader(store_.engine(), keys, kDay, pair, head);
      for (std::uint32_t i = 0; i < reader.buckets(); ++i) {
        for (const auto& postings : Must(reader.ReadBucket(i))) {
          terms.emplace(postings.term);
        }
      }
    }
    return terms;
  }
  std::set<std::string> TermsOnDisk() {
    return TermsOnDisk(search::VaultPostingKeys(store_.vault(), kDay));
  }

  TempStore store_;
  const AccountId account_;
};

TEST_P(StoreSearch, FindsNewestFirstInMemoryOnDiskAndAfterARestart) {
  Collect({Incoming("c1", "m1", kNow - hours(3), "A letter about postcodes"),
           Incoming("c2", "m2", kNow - hours(1), "Two letters, one postcode"),
           Incoming("c2", "m3", kNow - hours(2), "Nothing of that")});
  EXPECT_THAT(Ids("letter postcode"), ElementsAre("m2", "m1"));
  store_.Reopen();
  EXPECT_THAT(Ids("letter postcode"), ElementsAre("m2", "m1"));
  Must(store_->search_index().WriteOut(kNow));
  EXPECT_THAT(store_.Rows(Family::Day(kDay), schema::kWaiting), IsEmpty());
  EXPECT_THAT(Ids("letter postcode"), ElementsAre("m2", "m1"));
  store_.Reopen();
  EXPECT_THAT(Ids("letter postcode"), ElementsAre("m2", "m1"));
  Collect({Incoming("c3", "m4", kNow, "My letter: postcode!")});
  EXPECT_THAT(Ids("letter postcode"), ElementsAre("m4", "m2", "m1"));
  EXPECT_EQ(Find("letter").reaches_back_to, kNow - hours(3));
  EXPECT_EQ(Find("zebra").reaches_back_to, kNow - hours(3));
}

TEST_P(StoreSearch, SaysNothingOfAnEmptyStore) {
  const auto page = Find("letter");
  EXPECT_THAT(page.items, IsEmpty());
  EXPECT_EQ(page.next, "");
  EXPECT_EQ(page.reaches_back_to, std::nullopt);
}

TEST_P(StoreSearch, FindsNothingOneMillisecondAfterTheEnd) {
  Collect({Incoming("c1", "m1", kNow, "a letter"), Incoming("c1", "m2", kNow, "a letter")});
  Must(store_->search_index().WriteOut(kNow));
  Collect({Incoming("c1", "m3", kNow, "a letter")});  // in memory
  const TimePoint end = StartOf(kDay);
  EXPECT_THAT(Ids("letter", end - milliseconds(1)), SizeIs(3));
  EXPECT_THAT(Ids("letter", end), IsEmpty()) << "before any purge";
  EXPECT_EQ(Find("letter", end).reaches_back_to, std::nullopt);
  Must(store_->purge().RunOnce(end));
  EXPECT_THAT(Ids("letter", end), IsEmpty());
  EXPECT_THAT(Ids("letter", end - milliseconds(1)), IsEmpty()) << "it is gone, not hidden";
}

TEST_P(StoreSearch, ForgetsTheWordsOfWithdrawnAndEditedMessagesOnDisk) {
  for (const bool written : {false, true}) {
    SCOPED_TRACE(written ? "written" : "in memory");
    const std::string tag = written ? "w" : "r";
    Collect({Incoming("c1", tag + "1", kNow - hours(2), "zebrafish one"),
             Incoming("c1", tag + "2", kNow - hours(1), "quagga two"),
             Incoming("c1", tag + "3", kNow, "letter three")});
    if (written) Must(store_->search_index().WriteOut(kNow));
    EXPECT_THAT(Ids("zebrafish"), ElementsAre(tag + "1"));
    auto page = PageOf(account_, {});
    page.withdrawals.push_back({PlatformId("c1"), PlatformId(tag + "1")});
    page.edits.push_back({.conversation = PlatformId("c1"),
                          .id = PlatformId(tag + "2"),
                          .edited_at = std::nullopt,
                          .text = MessageBody("okapi two")});
    Must(store_->collection().Collect(page, kNow));
    EXPECT_THAT(Ids("zebrafish"), IsEmpty());
    EXPECT_THAT(Ids("quagga"), IsEmpty());
    EXPECT_THAT(Ids("okapi"), ElementsAre(tag + "2"));
    for (const char* word : {"zebrafish", "quagga"}) EXPECT_FALSE(TermsOnDisk().contains(word));
    Must(store_->search_index().WriteOut(kNow));
    const auto terms = TermsOnDisk();
    for (const char* word : {"zebrafish", "quagga"}) EXPECT_FALSE(terms.contains(word));
    EXPECT_TRUE(terms.contains("okapi"));
    EXPECT_TRUE(terms.contains("letter"));
    page = PageOf(account_, {});
    page.withdrawals = {{PlatformId("c1"), PlatformId(tag + "2")},
                        {PlatformId("c1"), PlatformId(tag + "3")}};
    Must(store_->collection().Collect(page, kNow));
    EXPECT_THAT(TermsOnDisk(), IsEmpty()) << "several of one segment in one commit";
    EXPECT_THAT(store_.Rows(Family::Day(kDay), schema::kPosting), IsEmpty());
  }
}

TEST_P(StoreSearch, FiltersByAccountConversationAndTime) {
  Collect({Incoming("c1", "m1", kNow - hours(3), "letter"),
           Incoming("c2", "m2", kNow - hours(2), "letter"),
           Incoming("c1", "m3", kNow - hours(1), "letter")});
  const AccountId other = Connect(*store_, kNow).id;
  Must(store_->collection().Collect(PageOf(other, {Incoming("c9", "m9", kNow, "letter")}), kNow));
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_THAT(Ids("letter"), ElementsAre("m9", "m3", "m2", "m1"));
    EXPECT_THAT(Ids("letter", kNow, {.account = other}), ElementsAre("m9"));
    EXPECT_THAT(Ids("letter", kNow, {.account = AccountId{77}}), IsEmpty());
    for (const Conversation& conversation : Inbox(*store_, kNow)) {
      if (conversation.platform_id != PlatformId("c1")) continue;
      EXPECT_THAT(Ids("letter", kNow, {.conversation = conversation.id}), ElementsAre("m3", "m1"));
      EXPECT_THAT(Ids("letter", kNow, {.account = other, .conversation = conversation.id}),
                  IsEmpty());
    }
    EXPECT_THAT(Ids("letter", kNow, {.sent_from = kNow - hours(2)}), ElementsAre("m9", "m3", "m2"));
    EXPECT_THAT(Ids("letter", kNow, {.sent_before = kNow - hours(2)}), ElementsAre("m1"));
    Must(store_->search_index().WriteOut(kNow));
  }
}

TEST_P(StoreSearch, GivesPagesThatMeetEachMessageOnce) {
  std::vector<CollectedMessage> messages;
  for (int i = 0; i < 700; ++i) {
    messages.push_back(Incoming("c" + std::to_string(i % 9), "m" + std::to_string(i),
                                kNow - minutes(i / 3), i % 2 == 0 ? "letter even" : "letter odd"));
  }
  Collect({messages.begin(), messages.begin() + 400});
  Must(store_->search_index().WriteOut(kNow));
  Collect({messages.begin() + 400, messages.end()});
  std::set<std::string> seen;
  std::string after;
  TimePoint last = kNow;
  do {
    const auto page = Find("letter even", kNow, {}, after, 50);
    for (const Message& message : page.items) {
      EXPECT_TRUE(seen.insert(message.platform_id.Reveal()).second);
      EXPECT_LE(message.sent_at, last);
      last = message.sent_at;
    }
    EXPECT_EQ(page.items.size(), 50u);
    after = page.next;
  } while (!after.empty());
  EXPECT_THAT(seen, SizeIs(350));
  const auto query = Must(search::Query::Parse(search::QueryText("letter")));
  const Look look = Must(store_->audit().LookAtSearch(Officer(), kNow));
  for (const char* wrong : {"x", "00", "abcdef"}) {
    EXPECT_EQ(FailureOf(store_->search().Find(look, query, {}, wrong, 5, kNow)),
              ErrorCode::kCursorInvalid);
  }
}

TEST_P(StoreSearch, GoesOnWhenAPhraseIsRare) {
  std::vector<CollectedMessage> messages;
  for (int i = 0; i < 1'300; ++i) {
    messages.push_back(Incoming("c", "m" + std::to_string(i), kNow - minutes(i), "to the us of"));
  }
  messages.push_back(Incoming("c", "last", kNow - hours(30), "of the us to"));
  Collect(messages);
  std::vector<std::string> found;
  std::string after;
  int pages = 0;
  do {
    const auto page = Find("\"of the\"", kNow, {}, after, 10);
    for (const Message& message : page.items) found.push_back(message.platform_id.Reveal());
    after = page.next;
    ++pages;
  } while (!after.empty());
  EXPECT_THAT(found, ElementsAre("last"));
  EXPECT_EQ(pages, 2) << "a page ends when many messages were opened for nothing";
}

TEST_P(StoreSearch, RecordsThatSomebodySearchedAndWhatWasShown) {
  Collect({Incoming("c1", "m1", kNow, "zebrafish letter"), Incoming("c2", "m2", kNow, "quagga")});
  Find("zebrafish");
  std::vector<std::string> acts;
  for (const AuditEntry& entry : Must(store_->audit().Read(0, 100))) {
    acts.push_back(entry.action);
    EXPECT_THAT(entry.object, Not(::testing::HasSubstr("zebra")));
  }
  EXPECT_THAT(acts, Contains("search.look"));
  EXPECT_EQ(std::count(acts.begin(), acts.end(), "conversation.look"), 1) << "only what was shown";
  Find("zebrafish");
  EXPECT_EQ(Must(store_->audit().Read(0, 100)).size(), acts.size()) << "covered for five minutes";

  const auto query = Must(search::Query::Parse(search::QueryText("quagga")));
  const Look look = Must(store_->audit().LookAtSearch(Officer(), kNow));
  store_.engine().FailNextCommit(Fault::kRefused);
  EXPECT_FALSE(store_->search().Find(look, query, {}, "", 10, kNow))
      << "what cannot be recorded is not shown";
}

TEST_P(StoreSearch, LeavesNoWordOnDisk) {
  Collect({Incoming("c1", "m1", kNow, "zebrafish plainmarker"),
           Incoming("c1", "m2", kNow, "zebrafish othermarker")});
  Find("zebrafish");
  Must(store_->search_index().WriteOut(kNow));
  auto page = PageOf(account_, {});
  page.withdrawals.push_back({PlatformId("c1"), PlatformId("m2")});
  Must(store_->collection().Collect(page, kNow));
  EXPECT_THAT(Ids("zebrafish"), ElementsAre("m1"));
  Must(store_->FlushBeforeExpiry());
  EXPECT_THAT(FilesWith(store_.dir(), {"zebrafish", "plainmarker", "othermarker", "zebrafi"}),
              IsEmpty());
}

TEST_P(StoreSearch, FindsWhatIsStoredWhenACommitOfTheIndexFails) {
  Collect({Incoming("c1", "m1", kNow, "letter")});
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownNotDone, Fault::kUnknownDone}) {
    store_.engine().FailNextCommit(fault);
    EXPECT_FALSE(store_->search_index().WriteOut(kNow));
    EXPECT_THAT(Ids("letter"), SizeIs(1));
  }
  Must(store_->search_index().WriteOut(kNow));
  Collect({Incoming("c1", "m2", kNow, "letter")});
  Must(store_->search_index().WriteOut(kNow));
  store_.Reopen();
  EXPECT_THAT(Ids("letter"), SizeIs(2));
  EXPECT_EQ(store_->damaged_records(), 0u);
}

TEST_P(StoreSearch, PassesOverRowsThatDoNotOpen) {
  Collect({Incoming("c1", "m1", kNow, "letter")});
  Must(store_->search_index().WriteOut(kNow));
  Batch batch;
  for (auto& [key, value] : store_.Rows(Family::Day(kDay), schema::kPosting)) {
    value.back() ^= 1;
    batch.Put(Family::Day(kDay), key, value);
  }
  Must(store_.engine().Commit(batch, Durability::kBuffered));
  EXPECT_THAT(Ids("letter"), IsEmpty());
  EXPECT_GT(store_->damaged_records(), 0u);
  Collect({Incoming("c1", "m2", kNow, "letter")});
  EXPECT_THAT(Ids("letter"), ElementsAre("m2"));
  auto page = PageOf(account_, {});
  page.withdrawals.push_back({PlatformId("c1"), PlatformId("m1")});
  EXPECT_TRUE(store_->collection().Collect(page, kNow)) << "withdrawing goes on";
}

TEST_P(StoreSearch, TakesOtherLanguagesFromThenOn) {
  Collect({Incoming("c1", "m1", kNow, "letters")});
  Must(store_->search_index().WriteOut(kNow));
  store_.options().search_languages = {};
  store_.Reopen();
  EXPECT_THAT(Ids("letter"), IsEmpty());
  EXPECT_THAT(Ids("letters"), ElementsAre("m1")) << "found by its old stem, judged by its text";
  store_.options().search_languages = {"xx"};
  store_.Close();
  EXPECT_THROW(store_.Open(), std::runtime_error);
}

TEST_P(StoreSearch, FindsAllThatWasCommittedBeforeWhileOthersWriteAndIndex) {
  store_.options().search_limits = {.day_messages_max = 20, .messages_max = 40};
  store_.Reopen();
  std::atomic<std::size_t> committed{0};
  std::atomic<bool> done{false};
  std::jthread writer([&] {
    for (int i = 0; i < 60; ++i) {
      std::vector<CollectedMessage> messages;
      for (int j = 0; j < 5; ++j) {
        messages.push_back(Incoming("c", "m" + std::to_string(i) + "-" + std::to_string(j),
                                    kNow - minutes(i), "letter"));
      }
      Collect(messages);
      committed += 5;
    }
    done = true;
  });
  std::jthread indexer([&] {
    while (!done) Must(store_->search_index().CatchUp(kNow));
  });
  for (bool last = false; !last;) {
    last = done;
    const std::size_t before = committed;
    std::set<MessageId> found;
    std::string after;
    do {
      const auto page = Find("letter", kNow, {}, after, 200);
      for (const Message& message : page.items) found.insert(message.id);
      after = page.next;
    } while (!after.empty());
    EXPECT_GE(found.size(), before);
  }
  EXPECT_EQ(store_->damaged_records(), 0u);
}

// --- a new index key

// The keys of a date after its index key was replaced.
class OtherKeys final : public search::PostingKeys {
 public:
  explicit OtherKeys(std::uint8_t seed) {
    day_key_.fill(1);
    index_key_.fill(seed);
  }
  Result<Bytes16> Blind(std::string_view term) const override {
    const auto hash = P32(KeyBytes(index_key_), "mf-term",
                          {reinterpret_cast<const std::uint8_t*>(term.data()), term.size()});
    Bytes16 blind;
    std::copy_n(hash.begin(), blind.size(), blind.begin());
    return blind;
  }
  Result<Pair> PairOfKeys() const override {
    return PostingPair(KeyBytes(day_key_), KeyBytes(index_key_), kDay);
  }

 private:
  std::array<std::uint8_t, 32> day_key_{};
  std::array<std::uint8_t, 32> index_key_{};
};

TEST_P(StoreSearch, RewritesPostingsUnderANewIndexKey) {
  std::vector<CollectedMessage> messages;
  for (int i = 0; i < 300; ++i) {
    messages.push_back(Incoming("c1", "m" + std::to_string(i), kNow - minutes(i),
                                "letter word" + std::to_string(i)));
  }
  Collect({messages.begin(), messages.begin() + 250});
  Must(store_->search_index().WriteOut(kNow));
  Collect({messages.begin() + 250, messages.end()});
  Must(store_->search_index().WriteOut(kNow));
  const auto before = Find("word7");
  ASSERT_THAT(before.items, SizeIs(1));
  const std::set<Bytes16> gone = {before.items[0].id.bytes};

  const search::VaultPostingKeys from(store_.vault(), kDay);
  const OtherKeys to(9);
  auto expected = TermsOnDisk();
  EXPECT_TRUE(expected.contains("word7"));
  expected.erase("word7");
  const auto backup = store_.Rows(Family::Day(kDay), schema::kPosting);
  const auto changes = Must(search::RewritePostings(store_.engine(), kDay, from, to, gone));
  Batch batch;
  for (const auto& [key, value] : changes.put) batch.Put(Family::Day(kDay), key, value);
  for (const auto& key : changes.remove) batch.Remove(Family::Day(kDay), key);
  Must(store_.engine().Commit(batch, Durability::kBuffered));

  EXPECT_EQ(TermsOnDisk(to), expected);
  std::size_t documents = 0;
  const Pair pair = Must(to.PairOfKeys());
  for (auto& head : Must(search::ReadHeads(store_.engine(), kDay, pair))) {
    documents += head.meta.documents;
    search::SegmentReader reader(store_.engine(), to, kDay, pair, head);
    search::WordTable table;
    Must(search::ReadSegment(reader, {}, table));
    for (const auto& document : table.documents()) EXPECT_NE(document.message, *gone.begin());
    std::vector<std::uint32_t> found;
    Must(reader.Find("letter", found));
    EXPECT_EQ(found.size(), head.meta.documents);
  }
  EXPECT_EQ(documents, 299u);
  // What a copy from before holds is noise to whoever has today's keys.
  batch = {};
  for (const auto& [key, value] : backup) batch.Put(Family::Day(kDay), key, value);
  Must(store_.engine().Commit(batch, Durability::kBuffered));
  std::size_t damaged = 0;
  Must(search::ReadHeads(store_.engine(), kDay, pair, &damaged));
  EXPECT_EQ(damaged, 2u);
}

TEST(PostingPair, NeedsBothKeysAndTheDate) {
  std::array<std::uint8_t, 32> a{};
  std::array<std::uint8_t, 32> b{};
  a.fill(1);
  b.fill(2);
  const Pair pair = PostingPair(KeyBytes(a), KeyBytes(b), kDay);
  EXPECT_NE(pair, PostingPair(KeyBytes(b), KeyBytes(b), kDay));
  EXPECT_NE(pair, PostingPair(KeyBytes(a), KeyBytes(a), kDay));
  EXPECT_NE(pair, PostingPair(KeyBytes(b), KeyBytes(a), kDay));
  EXPECT_NE(pair, PostingPair(KeyBytes(a), KeyBytes(b), kDay + std::chrono::days(1)));
}

INSTANTIATE_TEST_SUITE_P(Engines, StoreSearch,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb),
                         [](const auto& info) {
                           return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
                         });

}  // namespace
}  // namespace mayfly::testing
