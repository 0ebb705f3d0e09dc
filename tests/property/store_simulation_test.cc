// 400 simulated days of a platform that serves pages late, twice, undated, from the future and in
// any order, and edits them; of files that are fetched or not; of staff who answer and destroy; of
// people who are erased and write again, are restricted for a while, or object; of crashes, failed
// commits and late purges. After each step: everything that was collected and lives is readable
// exactly once, and nothing else is; and no restriction has made a life longer or shorter.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

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

class Simulation {
 public:
  Simulation(EngineKind kind, std::uint64_t seed)
      : random_(seed), store_(kind), clock_(At("2026-01-20T08:00:00.000Z")) {
    store_.options().zone = Must(Zone::Load(seed % 2 == 0 ? "Europe/Brussels" : "Asia/Tokyo"));
    // Processes end here, power does not: nothing is lost that was written.
    store_.options().durability = store::Durability::kBuffered;
    store_.Reopen();
    account_ = Connect(*store_, clock_.Now());
    rule_ = {.zone = store_.options().zone, .period = account_.retention};
  }

  void Run(int day_count) {
    const TimePoint end = clock_.Now() + days(day_count);
    while (clock_.Now() < end && !::testing::Test::HasFailure()) {
      clock_.Advance(minutes(1 + Pick(16 * 60)));
      ForgetEndedRestrictions();
      const int what = Pick(28);
      if (fault_) store_.engine().FailNextCommit(*std::exchange(fault_, std::nullopt));
      if (what < 12) {
        Collect();
      } else if (what < 15) {
        Answer();
      } else if (what < 17) {
        Purge();
      } else if (what < 18) {
        store_.Reopen();
        // What a restart does: half-sent replies are unknown from then on.
        Must(store_->outbox().RecoverInterrupted(clock_.Now()));
      } else if (what < 19) {
        fault_ = static_cast<Fault>(Pick(3));  // in what is done next
      } else if (what < 21) {
        FinishErasures();
      } else if (what < 22) {
        ErasePerson();
      } else if (what < 24) {
        DestroyOne();
      } else if (what < 26) {
        Fetch();
      } else {
        RestrictOrLift();
      }
      Check();
    }
    clock_.Advance(days(100));
    Purge();
    Check();
    EXPECT_THAT(Inbox(*store_, clock_.Now()), ::testing::IsEmpty());
    EXPECT_THAT(store_.vault().Dates(), ::testing::IsEmpty());
    EXPECT_THAT(store_.engine().Families(store::Family::Kind::kDay), ::testing::IsEmpty());
    EXPECT_EQ(store_->damaged_records(), 0u);
    EXPECT_GT(stored_, 100u) << "the simulation did something";
    EXPECT_GT(ended_.size(), 50u);
    EXPECT_GT(edited_, 20u);
    EXPECT_GT(erased_, 3u);
    EXPECT_GT(destroyed_, 10u);
    EXPECT_GT(fetched_, 20u);
    EXPECT_GT(restricted_, 3u);
    if (day_count >= 400) {
      EXPECT_GT(kept_out_, 3u);  // rare: one who objected has to write
    }
    EXPECT_THAT(store_->rights().List(clock_.Now()), ::testing::IsEmpty());
    Must(store_->erasure().RunOnce(clock_.Now()));
    EXPECT_EQ(Must(store_->erasure().Unfinished()), 0u);
  }

 private:
  struct Known {  // a message as the platform has it
    std::string conversation;
    std::optional<TimePoint> sent_at;
    Direction direction = Direction::kIncoming;
    std::optional<TimePoint> first_seen;  // stored
    TimePoint born{};
    bool withdrawn = false;  // by the platform
    bool destroyed = false;  // here, by staff or with its person
    ExpiryDay end{};         // of its one life
    // Its texts on the platform, each with the time at which it became that; the first has none.
    std::vector<std::pair<std::optional<TimePoint>, std::string>> texts;
    std::size_t shown = 0;  // which of them we must show
    bool has_file = false;
    bool file_refused = false;
    std::optional<std::string> file;  // what was fetched
  };

  // In an order that the seed decides: that of the store comes from its random keys where two
  // conversations were active at the same instant.
  std::vector<Conversation> SortedInbox(TimePoint now) {
    auto inbox = Inbox(*store_, now, PrivacyOfficer());
    std::sort(inbox.begin(), inbox.end(), [](const Conversation& a, const Conversation& b) {
      return a.platform_id < b.platform_id;
    });
    return inbox;
  }

  int Pick(int count) { return static_cast<int>(random_() % static_cast<std::uint64_t>(count)); }

  std::string Write() {
    const TimePoint now = clock_.Now();
    const std::string id = "m" + std::to_string(messages_.size());
    Known message;
    message.conversation = "c" + std::to_string(Pick(12));
    message.direction = Pick(5) == 0 ? Direction::kOutgoing : Direction::kIncoming;
    const int kind = Pick(20);
    if (kind == 0) {
      message.sent_at = std::nullopt;
    } else if (kind == 1) {
      message.sent_at = now + minutes(1 + Pick(40 * 24 * 60));  // claims the future
    } else if (kind == 2) {
      message.sent_at = now + milliseconds(1 + Pick(2'000));  // a clock that is a little ahead
    } else if (kind < 6) {
      message.sent_at = now - hours(Pick(120 * 24));  // served late, or too late
    } else {
      message.sent_at = now - milliseconds(Pick(3'600'000));
    }
    message.texts = {{std::nullopt, "text of " + id}};
    message.has_file = Pick(4) == 0;
    messages_.emplace(id, message);
    return id;
  }

  // The sender changes a message; the platform reports it at once, later, again, or not in order.
  void EditOne(store::CollectedPage& page, const std::set<std::string>& served) {
    auto& [id, message] = *std::next(messages_.begin(), Pick(static_cast<int>(messages_.size())));
    if (Pick(2) == 0) {
      message.texts.emplace_back(clock_.Now() - milliseconds(Pick(60'000)),
                                 std::to_string(message.texts.size()) + "th text of " + id);
      // Two edits of one instant have no order.
      auto& at = message.texts.back().first;
      const auto previous = message.texts[message.texts.size() - 2].first;
      if (previous && *at <= *previous) message.texts.pop_back();
    }
    if (served.contains(id) || message.texts.size() < 2) return;  // served as it stands
    const std::size_t which =
        1 + static_cast<std::size_t>(Pick(static_cast<int>(message.texts.size()) - 1));
    page.edits.push_back({.conversation = PlatformId(message.conversation),
                          .id = PlatformId(id),
                          .edited_at = message.texts[which].first,
                          .text = MessageBody(message.texts[which].second)});
    if (message.first_seen && StartOf(message.end) > clock_.Now() && which > message.shown) {
      message.shown = which;
      if (!message.withdrawn) ++edited_;
    }
  }

  void Collect() {
    const TimePoint now = clock_.Now();
    std::set<std::string> ids;
    for (int i = Pick(8); i > 0; --i) ids.insert(Write());
    if (!messages_.empty()) {
      for (int i = Pick(6); i > 0; --i) {  // served once more
        ids.insert(std::next(messages_.begin(), Pick(static_cast<int>(messages_.size())))->first);
      }
    }
    std::set<std::string> withdrawn;
    if (!messages_.empty() && Pick(4) == 0) {
      auto& [id, message] = *std::next(messages_.begin(), Pick(static_cast<int>(messages_.size())));
      withdrawn.insert(id);
      if (Pick(2) == 0) ids.insert(id);
    }
    std::vector<store::CollectedMessage> served;
    for (const std::string& id : ids) {
      const Known& message = messages_.at(id);
      if (message.withdrawn && !withdrawn.contains(id)) continue;  // the platform has it no more
      const std::string& text = message.texts.back().second;
      served.push_back(message.direction == Direction::kIncoming
                           ? Incoming(message.conversation, id, message.sent_at, text)
                           : Outgoing(message.conversation, id, message.sent_at, text));
      if (message.has_file) {
        served.back().attachments.push_back({.locator = AttachmentLocator("file of " + id)});
      }
    }
    std::shuffle(served.begin(), served.end(), random_);
    auto page = PageOf(account_.id, served);
    for (const auto& message : served) {
      // A connector tells of the edit with the message.
      Known& known = messages_.at(message.id.Reveal());
      if (known.texts.size() < 2) continue;
      page.edits.push_back({.conversation = message.conversation,
                            .id = message.id,
                            .edited_at = known.texts.back().first,
                            .text = message.text});
      if (!known.first_seen || StartOf(known.end) > now) known.shown = known.texts.size() - 1;
    }
    for (int i = messages_.empty() ? 0 : Pick(3); i > 0; --i) EditOne(page, ids);
    for (const std::string& id : withdrawn) {
      page.withdrawals.push_back({PlatformId(messages_.at(id).conversation), PlatformId(id)});
    }
    page.cursor = "cursor-" + std::to_string(++pages_);
    std::set<std::string> objected;
    for (const auto& [name, id] : restrictions_) {
      if (HasObjected(name, now)) objected.insert(name);
    }
    Result<store::CollectOutcome> outcome;
    for (int attempt = 0; attempt < 3; ++attempt) {  // a failed commit is repeated
      outcome = store_->collection().Collect(page, now);
      if (outcome) break;
    }
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_EQ(Must(store_->collection().Cursor(account_.id)), page.cursor);
    for (const auto& message : served) {
      Known& known = messages_.at(message.id.Reveal());
      if (known.first_seen) continue;
      const TimePoint born = std::min(known.sent_at.value_or(now), now);
      const auto until = erased_until_.find(known.conversation);
      if (until != erased_until_.end() && born <= until->second) continue;  // not again
      known.end = ExpiryDayOf(born, rule_);
      if (StartOf(known.end) <= now) continue;  // past the horizon: not stored
      // Nor what is not younger than anything that ended. That is more than the date alone would
      // say: in a zone ahead of UTC the 30th and the 31st of a month may end in the other order.
      if (forgotten_until_ && born <= *forgotten_until_) continue;
      if (objected.contains(known.conversation)) {
        ++kept_out_;
        continue;
      }
      known.first_seen = now;
      known.born = born;
      ++stored_;
    }
    for (const std::string& id : withdrawn) {
      Known& known = messages_.at(id);
      if (known.first_seen && StartOf(known.end) > now) known.withdrawn = true;
    }
  }

  void Answer() {
    const TimePoint now = clock_.Now();
    const auto inbox = SortedInbox(now);
    if (inbox.empty()) return;
    const Conversation& conversation = inbox[Pick(static_cast<int>(inbox.size()))];
    if (!conversation.last_message) return;
    const std::string key = "key-" + std::to_string(++answers_);
    const store::OutboxQueue::NewReply draft{.conversation = conversation.id,
                                             .after_message = *conversation.last_message,
                                             .text = MessageBody("answer " + key),
                                             .idempotency_key = key};
    auto queued = store_->outbox().Enqueue(draft, Officer(), now);
    if (!queued) queued = store_->outbox().Enqueue(draft, Officer(), now);
    if (conversation.restricted) {
      EXPECT_EQ(FailureOf(queued), ErrorCode::kRestricted);
      return;
    }
    ASSERT_TRUE(queued) << queued.error().message;
    const ReplyId id = queued->reply.id;
    auto job = store_->outbox().StartSending(id, now);
    if (!job) return;  // an injected failure: it stays queued, or sending, and is seen as such
    // The platform takes it. It is told with or without a time, and served by a poll as well.
    const std::string platform_id = "m" + std::to_string(messages_.size());
    Known message;
    message.conversation = conversation.platform_id.Reveal();
    message.direction = Direction::kOutgoing;
    message.sent_at = now - milliseconds(Pick(500));
    const bool dated = Pick(3) != 0;
    const auto sent_at = dated ? message.sent_at : std::nullopt;
    auto sent = store_->outbox().MarkSent(id, PlatformId(platform_id), sent_at, now);
    if (!sent) sent = store_->outbox().MarkSent(id, PlatformId(platform_id), sent_at, now);
    ASSERT_TRUE(sent) << sent.error().message;
    ASSERT_TRUE(sent->message);
    message.first_seen = now;
    message.born = dated ? *message.sent_at : now;
    message.texts = {{std::nullopt, "answer " + key}};
    message.end = sent->message->day;
    EXPECT_EQ(message.end, ExpiryDayOf(dated ? *message.sent_at : now, rule_));
    ++stored_;
    messages_.emplace(platform_id, message);
  }

  // Some of the files that are still wanted arrive, some never do.
  void Fetch() {
    const TimePoint now = clock_.Now();
    store_.engine().FailNoCommit();
    auto all = Must(store_->attachments().Wanted(account_.id, 10'000, now));
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a.platform_message < b.platform_message; });
    if (all.size() > 3) all.resize(3);
    for (const auto& wanted : all) {
      Known& known = messages_.at(wanted.platform_message.Reveal());
      EXPECT_TRUE(known.has_file && !known.file && !known.file_refused);
      if (Pick(5) == 0) {
        Must(store_->attachments().Refuse(wanted.message, wanted.number, AttachmentRefusal::kGone,
                                          now));
        known.file_refused = true;
        continue;
      }
      const std::string bytes(static_cast<std::size_t>(Pick(100'000)),
                              static_cast<char>('a' + Pick(26)));
      auto writer = Must(store_->attachments().Write(wanted.message, wanted.number, now));
      if (Pick(4) == 0) store_.engine().FailNextCommit(static_cast<Fault>(Pick(3)));
      const Status appended = writer->Append(bytes, now);
      const Status finished = appended ? writer->Finish(now) : appended;
      if (!finished) {
        // Tried again, unless it had worked.
        store_.engine().FailNoCommit();
        auto again = store_->attachments().Write(wanted.message, wanted.number, now);
        if (again) {
          Must((*again)->Append(bytes, now));
          Must((*again)->Finish(now));
        } else {
          EXPECT_EQ(again.error().code, ErrorCode::kNotFound);
        }
      }
      known.file = bytes;
      ++fetched_;
    }
  }

  void CheckFile(const Message& message, const Known& known, TimePoint now) {
    ASSERT_EQ(message.attachments.size(), known.has_file ? 1u : 0u);
    if (!known.has_file) return;
    EXPECT_EQ(message.attachments[0].state, known.file           ? AttachmentState::kKept
                                            : known.file_refused ? AttachmentState::kRefused
                                                                 : AttachmentState::kWaiting);
    // Each file now and then, or reading would be all that this test does.
    if (!known.file || Pick(8) != 0) return;
    const auto look = Must(store_->audit().LookAtInbox(PrivacyOfficer(), now));
    std::string bytes;
    for (;;) {
      const std::string piece =
          Must(store_->attachments().Read(look, message.id, 1, bytes.size(), now));
      if (piece.empty()) break;
      bytes += piece;
    }
    EXPECT_TRUE(bytes == *known.file) << "a file changed";
  }

  void FinishErasures() {
    for (int attempt = 0; attempt < 3; ++attempt) {
      if (store_->erasure().RunOnce(clock_.Now())) return;
    }
    Must(store_->erasure().RunOnce(clock_.Now()));
  }

  // What a lost answer left undone is done by asking again.
  void RestrictOrLift() {
    const TimePoint now = clock_.Now();
    const auto list = store_->rights().List(now);
    if (list.size() > 3 || (!list.empty() && Pick(3) == 0)) {
      const auto id = list[Pick(static_cast<int>(list.size()))].id;
      auto lifted = store_->rights().Lift(id, PrivacyOfficer(), now);
      if (!lifted) lifted = store_->rights().Lift(id, PrivacyOfficer(), now);
      if (!lifted && lifted.error().code != ErrorCode::kNotFound) {
        ADD_FAILURE() << lifted.error().message;
      }
      std::erase_if(restrictions_, [&](const auto& known) { return known.second == id; });
      return;
    }
    const auto inbox = SortedInbox(now);
    if (inbox.empty()) return;
    const Conversation& conversation = inbox[Pick(static_cast<int>(inbox.size()))];
    if (conversation.participants.empty()) return;
    const auto person = Must(store_->erasure().PersonOf(conversation.id, now));
    const auto kind =
        Pick(2) == 0 ? store::RestrictionKind::kRestriction : store::RestrictionKind::kObjection;
    const auto restrict = [&] {
      return store_->rights().Restrict(person, kind, PrivacyOfficer(), now);
    };
    auto restriction = restrict();
    if (!restriction) restriction = restrict();
    ASSERT_TRUE(restriction) << restriction.error().message;
    restrictions_[conversation.platform_id.Reveal()] = restriction->id;
    ++restricted_;
  }

  // With the last that was held of them, at its instant; who writes again is somebody new. That it
  // did not end before, CheckRestriction sees.
  void ForgetEndedRestrictions() {
    const TimePoint now = clock_.Now();
    store_.engine().FailNoCommit();  // so that looks succeed
    const auto inbox = SortedInbox(now);
    std::erase_if(restrictions_, [&](const auto& known) {
      const bool held =
          std::any_of(inbox.begin(), inbox.end(), [&](const Conversation& conversation) {
            return conversation.platform_id == PlatformId(known.first);
          });
      return !held && !store_->rights().Get(known.second, now);
    });
  }

  bool HasObjected(const std::string& conversation, TimePoint now) {
    const auto known = restrictions_.find(conversation);
    if (known == restrictions_.end()) return false;
    const auto found = store_->rights().Get(known->second, now);
    return found && found->kind == store::RestrictionKind::kObjection;
  }

  // A restriction lasts while there is something of its person.
  void CheckRestriction(const Conversation& conversation, TimePoint now) {
    const auto known = restrictions_.find(conversation.platform_id.Reveal());
    EXPECT_EQ(conversation.restricted, known != restrictions_.end());
    if (known == restrictions_.end()) return;
    const auto restriction = Must(store_->rights().Get(known->second, now));
    EXPECT_GE(restriction.expires_at, conversation.expires_at);
    EXPECT_LE(restriction.expires_at, StartOf(ExpiryDayOf(now, {})));
    const auto look = Must(store_->audit().LookAtInbox(Officer(), now));
    EXPECT_EQ(FailureOf(store_->conversations().Messages(look, conversation.id, "", 1, now)),
              ErrorCode::kRestricted);
    if (!conversation.last_message) return;
    EXPECT_EQ(FailureOf(store_->conversations().GetMessage(look, *conversation.last_message, now)),
              ErrorCode::kRestricted);
  }

  void ErasePerson() {
    const TimePoint now = clock_.Now();
    const auto inbox = SortedInbox(now);
    if (inbox.empty()) return;
    const Conversation& conversation = inbox[Pick(static_cast<int>(inbox.size()))];
    if (conversation.participants.empty()) return;
    const auto person = Must(store_->erasure().PersonOf(conversation.id, now));
    // An injected failure: repeated, as the answer says; what it destroyed is gone already.
    auto erased = store_->erasure().ErasePerson(person, Officer(), now);
    if (!erased) erased = store_->erasure().ErasePerson(person, Officer(), now);
    if (!erased && erased.error().code != ErrorCode::kNotFound) {
      ADD_FAILURE() << erased.error().message;
    }
    ++erased_;
    const std::string name = conversation.platform_id.Reveal();
    erased_until_[name] = now;
    if (!HasObjected(name, now)) restrictions_.erase(name);
    for (auto& [id, message] : messages_) {
      if (message.conversation == name && message.first_seen) message.destroyed = true;
    }
  }

  void DestroyOne() {
    const TimePoint now = clock_.Now();
    if (ids_.empty()) return;
    const auto& [platform_id, id] = *std::next(ids_.begin(), Pick(static_cast<int>(ids_.size())));
    Known& known = messages_.at(platform_id);
    // The privacy officer, for whom nothing is withheld.
    auto done = store_->erasure().DestroyMessage(id, PrivacyOfficer(), now);
    if (!done &&
        (done.error().code == ErrorCode::kIo || done.error().code == ErrorCode::kOutcomeUnknown)) {
      done = store_->erasure().DestroyMessage(id, PrivacyOfficer(), now);
      // The one before had worked.
      if (!done && done.error().code == ErrorCode::kNotFound) done = Status();
    }
    const bool lives = !known.withdrawn && !known.destroyed && now < StartOf(known.end);
    EXPECT_EQ(done.has_value(), lives) << platform_id;
    if (!lives) return;
    known.destroyed = true;
    ++destroyed_;
  }

  void Purge() {
    const TimePoint now = clock_.Now();
    auto receipts = store_->purge().RunOnce(now);
    if (!receipts) receipts = store_->purge().RunOnce(now);
    ASSERT_TRUE(receipts) << receipts.error().message;
    for (const auto& receipt : Must(store_->purge().Receipts(std::nullopt, 1'000))) {
      ended_.insert(receipt.day);
    }
    for (const auto& [id, message] : messages_) {
      if (!message.first_seen || StartOf(message.end) > now) continue;
      forgotten_until_ = std::max(forgotten_until_.value_or(message.born), message.born);
    }
    for (const ExpiryDay day : store_.vault().Dates()) {
      EXPECT_GT(StartOf(day), now) << "no key of a past date exists";
    }
    EXPECT_LE(store_.vault().Dates().size(), 94u);
  }

  void Check() {
    const TimePoint now = clock_.Now();
    std::multiset<std::string> expected;
    for (const auto& [id, message] : messages_) {
      if (message.first_seen && !message.withdrawn && !message.destroyed &&
          now < StartOf(message.end)) {
        expected.insert(id);
      }
    }
    store_.engine().FailNoCommit();  // so that looks succeed
    std::multiset<std::string> seen;
    const auto inbox = SortedInbox(now);
    for (const Conversation& conversation : inbox) {
      CheckRestriction(conversation, now);
      const auto thread = Thread(*store_, conversation.id, now, 20, PrivacyOfficer());
      EXPECT_EQ(conversation.last_message,
                thread.empty() ? std::nullopt : std::optional(thread.front().id));
      TimePoint last;
      for (std::size_t i = 0; i < thread.size(); ++i) {
        const Message& message = thread[i];
        last = std::max(last, message.expires_at);
        seen.insert(message.platform_id.Reveal());
        const Known& known = messages_.at(message.platform_id.Reveal());
        const auto id = ids_.emplace(message.platform_id.Reveal(), message.id).first;
        EXPECT_EQ(id->second, message.id) << "one id for one life";
        EXPECT_EQ(message.text.Reveal(), known.texts[known.shown].second);
        EXPECT_EQ(message.edited_at, known.texts[known.shown].first);
        EXPECT_EQ(message.expires_at, StartOf(known.end)) << "no edit lengthens a life";
        EXPECT_LT(now, message.expires_at);
        CheckFile(message, known, now);
        EXPECT_EQ(conversation.platform_id, PlatformId(known.conversation));
        if (i > 0) {
          EXPECT_GE(thread[i - 1].sent_at, message.sent_at);
        }
      }
      if (!thread.empty()) {
        EXPECT_EQ(conversation.expires_at, last) << "it ends with the last that is left";
      }
    }
    EXPECT_EQ(seen, expected);
    // By id: what has ended is expired, what lives is found, what was taken back is not.
    const auto look = Must(store_->audit().LookAtInbox(PrivacyOfficer(), now));
    for (int i = 0; i < 5 && !ids_.empty(); ++i) {
      const auto& [platform_id, id] = *std::next(ids_.begin(), Pick(static_cast<int>(ids_.size())));
      const auto found = store_->conversations().GetMessage(look, id, now);
      const Known& known = messages_.at(platform_id);
      if (now >= StartOf(known.end)) {
        EXPECT_EQ(FailureOf(found), ErrorCode::kExpired);
      } else if (known.withdrawn || known.destroyed) {
        EXPECT_EQ(FailureOf(found), ErrorCode::kNotFound);
      } else {
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(found->platform_id, PlatformId(platform_id));
      }
    }
  }

  std::mt19937_64 random_;
  TempStore store_;
  SimulatedClock clock_;
  Account account_;
  RetentionRule rule_;
  std::optional<Fault> fault_;
  std::map<std::string, Known> messages_;
  std::map<std::string, MessageId> ids_;
  std::set<ExpiryDay> ended_;
  std::optional<TimePoint> forgotten_until_;
  std::uint64_t stored_ = 0;
  std::uint64_t edited_ = 0;
  std::uint64_t erased_ = 0;
  std::uint64_t destroyed_ = 0;
  std::uint64_t fetched_ = 0;
  std::uint64_t restricted_ = 0;
  std::uint64_t kept_out_ = 0;
  std::map<std::string, RestrictionId> restrictions_;  // by conversation, each of one person
  std::map<std::string, TimePoint> erased_until_;      // conversations, each of one person
  int pages_ = 0;
  int answers_ = 0;
};

// MAYFLY_SEEDS asks for more of them.
std::uint64_t SeedsWanted() {
  const char* wanted = std::getenv("MAYFLY_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 2;
}

TEST(StoreSimulation, FourHundredDaysInMemory) {
  ASSERT_GT(SeedsWanted(), 0u) << "MAYFLY_SEEDS is no number";
  for (std::uint64_t seed = 1; seed <= SeedsWanted(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation(EngineKind::kMemory, seed).Run(400);
    if (HasFailure()) return;
  }
}

TEST(StoreSimulation, AHundredDaysOnDisk) {
  SCOPED_TRACE("seed 4");
  Simulation(EngineKind::kRocksDb, 4).Run(100);
}

}  // namespace
}  // namespace mayfly::testing
