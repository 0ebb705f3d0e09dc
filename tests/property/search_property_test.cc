// Search against a naive reader: whatever was collected, edited, withdrawn, written out, restarted
// or ended, a search finds exactly the visible messages that say what is looked for, newest first.
#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
namespace search = store::search;

// Few enough that they meet, in several scripts and forms.
const std::vector<std::string>& Vocabulary() {
  static const std::vector<std::string> words = {
      "letter", "letters", "written", "writing", "Postcode", "the",    "a",
      "depot",  "Dépôt",   "dépôts",  "naïve",   "naive",    "Straße", "strasse",
      "東京",   "東京都",  "大学",    "สวัสดี",    "ครับ",      "שלום",   "שָׁלוֹם",
      "مرحبا",  "привет",  "ёлка",    "елка",    "👍",        "🇧🇪",     "e\u0301te\u0301",
      "été",    "42",      "m3",      "x"};
  return words;
}

struct Known {
  std::string conversation;
  TimePoint sent_at;
  std::string text;
  AccountId account;
  ExpiryDay end{};
  bool withdrawn = false;
};

class Simulation {
 public:
  Simulation(EngineKind kind, std::uint64_t seed)
      : random_(seed), store_(kind), clock_(At("2026-02-10T08:00:00.000Z")) {
    store_.options().durability = store::Durability::kBuffered;
    if (seed % 3 == 1) store_.options().search_languages = {"en", "fr"};
    if (seed % 3 == 2) store_.options().search_languages = {};
    // So small that every path is taken.
    store_.options().search_limits = {.day_messages_max = 12,
                                      .messages_max = 40,
                                      .bytes_max = 1u << 20,
                                      .joined_messages_max = 200};
    store_.Reopen();
    for (const char* period : {"P7D", "P3M"}) {
      accounts_.push_back(Connect(*store_, clock_.Now(), period));
    }
    tokenizer_ = Must(search::Tokenizer::Make(store_.options().search_languages));
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      clock_.Advance(minutes(1 + Pick(20 * 60)));
      const int what = Pick(20);
      if (what < 12) {
        Collect();
      } else if (what < 13) {
        Must(store_->purge().RunOnce(clock_.Now()));
      } else if (what < 15) {
        store_.Reopen();
      } else if (what < 16) {
        Must(store_->search_index().WriteOut(clock_.Now()));
      } else if (what < 17) {
        store_.engine().FailNextCommit(static_cast<Fault>(Pick(3)));
        (void)store_->search_index().WriteOut(clock_.Now());
        store_.engine().FailNoCommit();
      } else {
        Must(store_->search_index().CatchUp(clock_.Now()));
      }
      for (int q = 0; q < 4; ++q) Check();
    }
    EXPECT_GT(found_, 0u) << "some search found something";
  }

 private:
  int Pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  std::string Word() {
    // The first ones much more often than the last.
    const auto& words = Vocabulary();
    const auto below = static_cast<unsigned>(1 + Pick(static_cast<int>(words.size())));
    return words[random_() % below];
  }
  std::string Text() {
    std::string text;
    for (int i = 1 + Pick(9); i > 0; --i) {
      text += Word();
      text += Pick(6) == 0 ? "… " : Pick(6) == 0 ? "'" : " ";
    }
    return text;
  }

  void Collect() {
    const TimePoint now = clock_.Now();
    const Account& account = accounts_[static_cast<std::size_t>(Pick(2))];
    std::vector<store::CollectedMessage> served;
    std::map<std::string, Known> fresh;
    for (int i = Pick(9); i > 0; --i) {
      const std::string id = "m" + std::to_string(messages_.size() + fresh.size());
      Known known{.conversation = "c" + std::to_string(Pick(5)) + account.id.ToString(),
                  .sent_at = now - minutes(Pick(60 * 24 * 5)),
                  .text = Text(),
                  .account = account.id};
      known.end =
          ExpiryDayOf(known.sent_at, {.zone = store_.options().zone, .period = account.retention});
      served.push_back(Incoming(known.conversation, id, known.sent_at, known.text));
      if (StartOf(known.end) > now) fresh.emplace(id, known);
    }
    auto page = PageOf(account.id, served);
    std::vector<std::string> ids;
    for (const auto& [id, known] : messages_) {
      if (known.account == account.id && !known.withdrawn && StartOf(known.end) > now) {
        ids.push_back(id);
      }
    }
    std::shuffle(ids.begin(), ids.end(), random_);
    std::map<std::string, std::string> edited;
    std::set<std::string> withdrawn;
    for (int i = Pick(4); i > 0 && !ids.empty(); --i, ids.pop_back()) {
      const std::string& id = ids.back();
      const PlatformId conversation(messages_.at(id).conversation);
      if (Pick(2) == 0) {
        withdrawn.insert(id);
        page.withdrawals.push_back({conversation, PlatformId(id)});
      } else {
        edited[id] = Text();
        page.edits.push_back({.conversation = conversation,
                              .id = PlatformId(id),
                              .edited_at = std::nullopt,
                              .text = MessageBody(edited[id])});
      }
    }
    Must(store_->collection().Collect(page, now));
    messages_.merge(fresh);
    for (const auto& [id, text] : edited) messages_.at(id).text = text;
    for (const std::string& id : withdrawn) messages_.at(id).withdrawn = true;
  }

  std::string QueryText() {
    std::string text;
    for (int i = 1 + Pick(2); i > 0; --i) text += Word() + " ";
    if (Pick(3) == 0) text += "\"" + Word() + (Pick(2) == 0 ? " " + Word() : std::string()) + "\"";
    return text;
  }

  void Check() {
    TimePoint now = clock_.Now();
    // Often just around an end, to the millisecond, with nothing purged.
    if (Pick(3) == 0) now = TimePoint(std::chrono::ceil<days>(now)) - milliseconds(Pick(2));
    clock_.Set(now);
    const std::string text = QueryText();
    SCOPED_TRACE(text + " at " + FormatRfc3339(now));
    const auto query = Must(search::Query::Parse(search::QueryText(text)));
    const search::Matcher matcher(query, tokenizer_);
    search::Search::Filter filter;
    if (Pick(4) == 0) filter.account = accounts_[static_cast<std::size_t>(Pick(2))].id;
    if (Pick(5) == 0) filter.sent_from = now - hours(Pick(24 * 90));
    if (Pick(5) == 0) filter.sent_before = now - hours(Pick(24 * 30));
    std::string conversation;
    if (Pick(5) == 0) {
      const auto inbox = Inbox(*store_, now);
      if (!inbox.empty()) {
        const auto& chosen = inbox[static_cast<std::size_t>(Pick(static_cast<int>(inbox.size())))];
        filter.conversation = chosen.id;
        conversation = chosen.platform_id.Reveal();
      }
    }
    std::multiset<std::string> expected;
    for (const auto& [id, known] : messages_) {
      if (known.withdrawn || now >= StartOf(known.end)) continue;
      if (filter.account && known.account != *filter.account) continue;
      if (filter.conversation && known.conversation != conversation) continue;
      if (filter.sent_from && known.sent_at < *filter.sent_from) continue;
      if (filter.sent_before && known.sent_at >= *filter.sent_before) continue;
      if (matcher.Matches(MessageBody(known.text))) expected.insert(id);
    }
    std::multiset<std::string> seen;
    std::optional<TimePoint> last;
    const auto look = Must(store_->audit().LookAtSearch(Officer(), now));
    const std::size_t limit = static_cast<std::size_t>(1 + Pick(12));
    std::string after;
    do {
      const auto page = Must(store_->search().Find(look, query, filter, after, limit, now));
      EXPECT_LE(page.items.size(), limit);
      for (const Message& message : page.items) {
        seen.insert(message.platform_id.Reveal());
        EXPECT_LT(now, message.expires_at);
        if (last) {
          EXPECT_GE(*last, message.sent_at);
        }
        last = message.sent_at;
        ASSERT_TRUE(page.reaches_back_to);
        EXPECT_LE(*page.reaches_back_to, message.sent_at);
      }
      after = page.next;
    } while (!after.empty());
    EXPECT_EQ(seen, expected);
    found_ += seen.size();
  }

  std::mt19937_64 random_;
  TempStore store_;
  SimulatedClock clock_;
  std::vector<Account> accounts_;
  std::shared_ptr<const search::Tokenizer> tokenizer_;
  std::map<std::string, Known> messages_;
  std::size_t found_ = 0;
};

TEST(SearchProperty, FindsWhatANaiveReaderFindsInMemory) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation(EngineKind::kMemory, seed).Run(150);
    if (HasFailure()) return;
  }
}

TEST(SearchProperty, FindsWhatANaiveReaderFindsOnDisk) {
  SCOPED_TRACE("seed 7");
  Simulation(EngineKind::kRocksDb, 7).Run(80);
}

}  // namespace
}  // namespace mayfly::testing
