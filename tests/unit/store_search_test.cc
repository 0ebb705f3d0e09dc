// Search over a store: what it finds, when it stops finding it, and what of it lies on disk.
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/codec.h"
#include "store/keys/seal.h"
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
    for (auto& head : Must(search::ReadHeads(store_.engine(), kDay, keys))) {
      search::SegmentReader reader(store_.engine(), keys, kDay, head);
      for (std::uint32_t i = 0; i < reader.buckets(); ++i) {
        for (const auto& postings : Must(reader.ReadBucket(i))) {
          terms.emplace(postings.term);
        }
      }
    }
    return terms;
  }
  std::set<std::string> TermsOnDisk() {
    return TermsOnDisk(search::VaultPostingKeys(store_.vault(), kDay, Index()));
  }
  // The slot of the date's index, as its row says.
  Slot Index() {
    return Must(codec::DecodeSlot(store_.Rows(Family::Day(kDay), schema::kIndex).front().second));
  }
  // How many rows of postings of an earlier copy open with today's keys.
  std::size_t Opening(const std::vector<std::pair<std::string, std::string>>& copy) {
    std::size_t opening = 0;
    for (const auto& [key, sealed] : copy) {
      const auto header = PeekSealed(sealed);
      if (header && store_.vault().PairFor(kDay, header->slot)) ++opening;
    }
    return opening;
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

// --- words that are destroyed before their date

TEST_P(StoreSearch, WhatAWithdrawnMessageSaidOpensInNoOldCopy) {
  std::vector<CollectedMessage> messages;
  for (int i = 0; i < 300; ++i) {
    messages.push_back(Incoming("c1", "m" + std::to_string(i), kNow - minutes(i),
                                "letter word" + std::to_string(i)));
  }
  Collect(messages);
  Must(store_->search_index().WriteOut(kNow));
  auto expected = TermsOnDisk();
  ASSERT_TRUE(expected.contains("word7"));
  const auto copy = store_.Rows(Family::Day(kDay), schema::kPosting);
  ASSERT_GT(copy.size(), 2u);
  EXPECT_EQ(Opening(copy), copy.size());

  auto page = PageOf(account_, {});
  page.withdrawals = {{PlatformId("c1"), PlatformId("m7")}};
  Must(store_->collection().Collect(page, kNow));
  EXPECT_THAT(Find("word7").items, SizeIs(0));
  expected.erase("word7");
  EXPECT_EQ(TermsOnDisk(), expected);
  Must(store_->erasure().RunOnce(kNow));
  EXPECT_EQ(Opening(copy), 0u);
  EXPECT_EQ(TermsOnDisk(), expected);
  EXPECT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(299));
  store_.Reopen();
  EXPECT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(299));
  EXPECT_EQ(store_->damaged_records(), 0u);
}

TEST_P(StoreSearch, WhatAnErasedPersonSaidIsFoundInNothing) {
  std::vector<CollectedMessage> messages;
  for (int i = 0; i < 300; ++i) {
    messages.push_back(Incoming(i % 3 == 0 ? "anna" : "bert", "m" + std::to_string(i),
                                kNow - minutes(i), "letter word" + std::to_string(i)));
  }
  Collect({messages.begin(), messages.begin() + 200});
  Must(store_->search_index().WriteOut(kNow));
  Collect({messages.begin() + 200, messages.end()});  // in memory only
  ASSERT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(300));
  const auto copy = store_.Rows(Family::Day(kDay), schema::kPosting);
  const Slot old_index = Index();

  Must(store_->erasure().ErasePerson({.account = account_, .id = PlatformId("person-of-anna")},
                                     Officer(), kNow));
  EXPECT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(200)) << "unreadable at once";
  Must(store_->erasure().RunOnce(kNow));
  EXPECT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(200));
  EXPECT_THAT(Find("word6").items, SizeIs(0));
  EXPECT_THAT(Find("word7").items, SizeIs(1));
  Must(store_->search_index().WriteOut(kNow));
  EXPECT_FALSE(TermsOnDisk().contains("word6"));
  EXPECT_TRUE(TermsOnDisk().contains("word7"));
  EXPECT_EQ(Opening(copy), 0u);
  EXPECT_FALSE(store_.vault().BlindUnder(kDay, old_index, schema::kBlindTerm, "word6"))
      << "nobody can look a word up in an old copy either";
  store_.Reopen();
  EXPECT_THAT(Find("letter", kNow, {}, "", 400).items, SizeIs(200));
  EXPECT_EQ(store_->damaged_records(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Engines, StoreSearch,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb),
                         [](const auto& info) {
                           return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
                         });

}  // namespace
}  // namespace mayfly::testing
