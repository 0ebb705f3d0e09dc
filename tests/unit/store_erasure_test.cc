// Destroying less than a date: what is gone, what stays, what an old copy tells, and what happens
// when the process ends in between.
#include <chrono>
#include <filesystem>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/codec.h"
#include "store/keys/seal.h"
#include "store/schema.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using store::DestructionKind;
using store::ErasureStep;
using store::Family;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");
const ExpiryDay kEnd = DayAt("2026-06-05");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

// Anna on three dates with an answer that is under way; Bert beside her; both in one group.
class Office {
 public:
  explicit Office(EngineKind kind) : store(kind), account(Connect(*store, kNow - days(2))) {
    Serve(kNow - days(2), {Incoming("anna", "a0", kNow - days(2), "anna-zero"),
                           Incoming("bert", "b0", kNow - days(2), "bert-zero")});
    Serve(kNow - days(1),
          {Incoming("anna", "a1", kNow - days(1), "anna-one"),
           Outgoing("anna", "o1", kNow - days(1) + hours(1), "to-anna"),
           Of("group", "g1", "person-of-anna", kNow - days(1), "anna-in-group"),
           Of("group", "g2", "person-of-bert", kNow - days(1) + hours(1), "bert-in-group")});
    Serve(kNow, {Incoming("anna", "a2", kNow, "anna-two"), Incoming("bert", "b2", kNow, "bert-two"),
                 Outgoing("group", "g3", kNow, "ours-in-group"),
                 Of("group", "g4", "person-of-anna", kNow + minutes(1), "anna-last-in-group")});
    for (const char* to : {"anna", "bert"}) {
      const Conversation conversation = Find(to);
      replies.push_back(Must(store->outbox().Enqueue({.conversation = conversation.id,
                                                      .after_message = *conversation.last_message,
                                                      .text = MessageBody("unsent"),
                                                      .idempotency_key = std::string("k-") + to},
                                                     Officer(), Now()))
                            .reply.id);
    }
  }

  static TimePoint Now() { return kNow + minutes(5); }

  static store::CollectedMessage Of(const std::string& conversation, const std::string& id,
                                    const std::string& sender, TimePoint at,
                                    const std::string& text) {
    auto message = Incoming(conversation, id, at, text);
    message.sender = PlatformId(sender);
    return message;
  }
  store::CollectOutcome Serve(TimePoint now, std::vector<store::CollectedMessage> messages) {
    auto page = PageOf(account.id, std::move(messages));
    for (auto& conversation : page.conversations) {
      if (conversation.id != PlatformId("group")) continue;
      conversation.group = true;
      conversation.participants.clear();
      for (const std::string who : {"anna", "bert"}) {
        conversation.participants.push_back({.platform_id = PlatformId("person-of-" + who),
                                             .handle = ContactHandle(who + ".example"),
                                             .display_name = ContactHandle("Name of " + who)});
      }
    }
    return Must(store->collection().Collect(page, now));
  }
  // Everything that the platform still has, served once more.
  store::CollectOutcome ServeAgain(TimePoint now) {
    return Serve(now,
                 {Incoming("anna", "a0", kNow - days(2)), Incoming("anna", "a1", kNow - days(1)),
                  Outgoing("anna", "o1", kNow - days(1) + hours(1)), Incoming("anna", "a2", kNow),
                  Incoming("bert", "b0", kNow - days(2)), Incoming("bert", "b2", kNow),
                  Of("group", "g1", "person-of-anna", kNow - days(1), "x"),
                  Of("group", "g2", "person-of-bert", kNow - days(1) + hours(1), "x"),
                  Outgoing("group", "g3", kNow),
                  Of("group", "g4", "person-of-anna", kNow + minutes(1), "x")});
  }
  Conversation Find(const std::string& platform_id, TimePoint now = Now()) {
    for (const Conversation& conversation : Inbox(*store, now)) {
      if (conversation.platform_id == PlatformId(platform_id)) return conversation;
    }
    throw std::runtime_error("no conversation " + platform_id);
  }
  std::vector<std::string> Conversations(TimePoint now = Now()) {
    std::vector<std::string> names;
    for (const Conversation& conversation : Inbox(*store, now)) {
      names.push_back(conversation.platform_id.Reveal());
    }
    return names;
  }
  std::vector<std::string> Texts(const std::string& platform_id, TimePoint now = Now()) {
    std::vector<std::string> texts;
    for (const Message& message : Thread(*store, Find(platform_id, now).id, now)) {
      texts.push_back(message.text.Reveal());
    }
    return texts;
  }
  MessageId IdOf(const std::string& conversation, const std::string& text) {
    for (const Message& message : Thread(*store, Find(conversation).id, Now())) {
      if (message.text.Reveal() == text) return message.id;
    }
    throw std::runtime_error("no message " + text);
  }
  void Withdraw(const std::string& conversation, const std::string& id) {
    store::CollectedPage page = PageOf(account.id, {});
    page.withdrawals.push_back({PlatformId(conversation), PlatformId(id)});
    EXPECT_EQ(Must(store->collection().Collect(page, Now())).withdrawn, 1u);
  }
  void Edit(const std::string& conversation, const std::string& id, const std::string& text) {
    store::CollectedPage page = PageOf(account.id, {});
    page.edits.push_back({.conversation = PlatformId(conversation),
                          .id = PlatformId(id),
                          .edited_at = Now(),
                          .text = MessageBody(text)});
    EXPECT_EQ(Must(store->collection().Collect(page, Now())).edited, 1u);
  }
  ErasureId EraseAnna() {
    const auto anna = Must(store->erasure().PersonOf(Find("anna").id, Now()));
    return Must(store->erasure().ErasePerson(anna, Officer("tok_privacy"), Now()));
  }

  TempStore store;
  Account account;
  std::vector<ReplyId> replies;
};

class StoreErasure : public ::testing::TestWithParam<EngineKind> {};
INSTANTIATE_TEST_SUITE_P(, StoreErasure,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb), KindName);

// --- one message

TEST_P(StoreErasure, AWithdrawnMessageIsHiddenAtOnceAndThenDestroyedByKey) {
  Office office(GetParam());
  office.Withdraw("anna", "a2");
  EXPECT_THAT(office.Texts("anna"), ElementsAre("to-anna", "anna-one", "anna-zero"));
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 1u);

  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  EXPECT_THAT(office.Texts("anna"), ElementsAre("to-anna", "anna-one", "anna-zero"));
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
  const auto receipts = Must(office.store->erasure().Receipts(std::nullopt, 10));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].kind, DestructionKind::kMessages);
  EXPECT_EQ(receipts[0].messages, 1u);
  EXPECT_EQ(receipts[0].keys, 1u);
  EXPECT_GE(receipts[0].keys_destroyed_at, Office::Now());
  EXPECT_GE(receipts[0].finished_at, receipts[0].keys_destroyed_at);
  EXPECT_THAT(Must(office.store->erasure().Receipts(receipts[0].id, 10)), IsEmpty());
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_THAT(Must(office.store->erasure().Receipts(std::nullopt, 10)), SizeIs(1));

  // It does not come back, and what is written from now on is as ever.
  EXPECT_EQ(office.ServeAgain(Office::Now()).duplicates, 10u);
  office.Serve(Office::Now(), {Incoming("anna", "a9", Office::Now(), "anna-nine")});
  EXPECT_THAT(office.Texts("anna"), ElementsAre("anna-nine", "to-anna", "anna-one", "anna-zero"));
  office.store.Reopen();
  EXPECT_THAT(office.Texts("anna"), ElementsAre("anna-nine", "to-anna", "anna-one", "anna-zero"));
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

// What would have ended last takes the conversation's end along, and the names in it.
TEST_P(StoreErasure, AConversationEndsWithTheLastMessageThatIsLeft) {
  Office office(GetParam());
  const ExpiryDay before = DayAt("2026-06-04");
  const auto contacts_at = [&](ExpiryDay day) {
    std::size_t rows = 0;
    Must(office.store.engine().Scan(
        Family::Day(day), {.prefix = store::schema::Key(store::schema::kContact)},
        [&](std::string_view, std::string_view) { return ++rows > 0; }));
    return rows;
  };
  ASSERT_EQ(office.Find("anna").expires_at, StartOf(kEnd));
  ASSERT_EQ(contacts_at(kEnd), 2u);

  // Anna's name is needed on the last date as long as the group ends then.
  office.Withdraw("anna", "a2");
  EXPECT_EQ(office.Find("anna").expires_at, StartOf(before));
  EXPECT_EQ(contacts_at(kEnd), 2u);
  office.Withdraw("group", "g4");
  EXPECT_EQ(office.Find("group").expires_at, StartOf(kEnd));
  office.Withdraw("group", "g3");
  EXPECT_EQ(office.Find("group").expires_at, StartOf(before));
  EXPECT_EQ(contacts_at(kEnd), 1u) << "Bert's own conversation ends then";

  const TimePoint last = StartOf(before) - minutes(1);
  for (const char* name : {"anna", "group"}) {
    for (const Contact& contact : office.Find(name, last).participants) {
      EXPECT_FALSE(contact.display_name.empty());
    }
  }
  EXPECT_THAT(office.Conversations(StartOf(before)), ElementsAre("bert"));
  // The next message carries it on.
  office.Serve(Office::Now(), {Incoming("anna", "a9", Office::Now(), "anna-nine")});
  EXPECT_EQ(office.Find("anna").expires_at, StartOf(kEnd));
  EXPECT_EQ(contacts_at(kEnd), 2u);
  office.store.Reopen();
  EXPECT_EQ(office.Find("anna").expires_at, StartOf(kEnd));
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

// Their slot on a date was being replaced when somebody asked for them to be erased: what had not
// moved yet is sealed under the slot before.
TEST_P(StoreErasure, APersonIsErasedInTheMiddleOfARenewal) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownDone, Fault::kUnknownNotDone}) {
    Office office(GetParam());
    const MessageId left = office.IdOf("anna", "anna-one");
    office.Withdraw("anna", "a2");
    // The new slot is written down, and the rows are not moved.
    office.store.engine().FailNextCommit(fault, 1);
    EXPECT_FALSE(office.store->erasure().RunOnce(Office::Now()));
    EXPECT_THAT(office.Texts("anna"), ElementsAre("to-anna", "anna-one", "anna-zero"));

    office.EraseAnna();
    office.store.engine().FailNoCommit();
    EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
    const auto look = Must(office.store->audit().LookAtInbox(Officer(), Office::Now()));
    EXPECT_EQ(FailureOf(office.store->conversations().GetMessage(look, left, Office::Now())),
              ErrorCode::kNotFound);
    Must(office.store->erasure().RunOnce(Office::Now()));
    EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
    office.store.Reopen();
    EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
    EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
    EXPECT_EQ(office.store->damaged_records(), 0u);
  }
}

TEST_P(StoreErasure, AnEditedTextIsDestroyedAndTheNewOneStays) {
  Office office(GetParam());
  office.Edit("group", "g2", "bert-changed-in-group");
  const MessageId id = office.IdOf("group", "bert-changed-in-group");
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_EQ(office.IdOf("group", "bert-changed-in-group"), id);
  const auto receipts = Must(office.store->erasure().Receipts(std::nullopt, 10));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].edited, 1u);
  EXPECT_EQ(receipts[0].messages, 0u);
  // Once more under the slot that it has now.
  office.Edit("group", "g2", "bert-changed-again");
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_EQ(office.IdOf("group", "bert-changed-again"), id);
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreErasure, StaffDestroyAMessageAndTheReplyThatItCameFrom) {
  Office office(GetParam());
  const ReplyId reply = office.replies[1];
  Must(office.store->outbox().StartSending(reply, Office::Now()));
  const Reply sent =
      Must(office.store->outbox().MarkSent(reply, PlatformId("o9"), Office::Now(), Office::Now()));
  ASSERT_TRUE(sent.message);
  Must(office.store->erasure().DestroyMessage(*sent.message, Officer(), Office::Now()));
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
  EXPECT_EQ(
      FailureOf(office.store->erasure().DestroyMessage(*sent.message, Officer(), Office::Now())),
      ErrorCode::kNotFound);
  const auto look = LookAt(*office.store, office.Find("bert").id, Office::Now());
  EXPECT_EQ(FailureOf(office.store->conversations().GetMessage(look, *sent.message, Office::Now())),
            ErrorCode::kNotFound);
  EXPECT_TRUE(Must(office.store->outbox().Get(look, reply, Office::Now())).text.empty());
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_EQ(Must(office.store->outbox().Get(look, reply, Office::Now())).state, ReplyState::kSent);
  std::vector<std::string> acts;
  for (const auto& entry : Must(office.store->audit().Read(0, 1'000))) acts.push_back(entry.action);
  EXPECT_THAT(acts, Contains("message.destroy"));
  EXPECT_THAT(acts, Contains("messages.destroyed"));
}

TEST_P(StoreErasure, AConversationOfWhichNothingWasLeftEndsWithWhatComesNext) {
  TempStore store(GetParam());
  const Account account = Connect(*store, kNow);
  const auto serve = [&](const std::string& id, TimePoint at) {
    Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", id, at)}), kNow));
    return Inbox(*store, kNow).front();
  };
  const Conversation first = serve("a1", kNow);
  Must(store->erasure().DestroyMessage(*first.last_message, Officer(), kNow));
  const Conversation second = serve("a0", kNow - days(30));
  EXPECT_EQ(second.id, first.id);
  EXPECT_LT(second.expires_at, first.expires_at);
  EXPECT_EQ(second.expires_at, Thread(*store, second.id, kNow).front().expires_at);
}

// --- too many at once

TEST_P(StoreErasure, TooManyWithdrawalsAtOnceAreHiddenAndDestroyedADayLater) {
  TempStore store(GetParam());
  const Account account = Connect(*store, kNow);
  const auto id_of = [](int i) { return "m" + std::to_string(100 + i); };
  const auto serve = [&] {
    std::vector<store::CollectedMessage> messages;
    for (int i = 0; i < 60; ++i) {
      messages.push_back(Incoming("anna", id_of(i), kNow - minutes(100 - i), "text " + id_of(i)));
    }
    return Must(store->collection().Collect(PageOf(account.id, messages), kNow));
  };
  ASSERT_EQ(serve().stored, 60u);
  const ConversationId anna = Inbox(*store, kNow).front().id;
  const auto withdraw = [&](int from, int to, TimePoint now) {
    store::CollectedPage page = PageOf(account.id, {});
    for (int i = from; i < to; ++i) {
      page.withdrawals.push_back({PlatformId("anna"), PlatformId(id_of(i))});
    }
    return Must(store->collection().Collect(page, now));
  };
  // Four pages of five are believed, the twenty-first within the hour is not.
  for (int i = 0; i < 20; i += 5) EXPECT_EQ(withdraw(i, i + 5, kNow).held, 0u);
  EXPECT_EQ(withdraw(20, 21, kNow + minutes(59)).held, 1u);
  store.Reopen();
  EXPECT_EQ(withdraw(21, 22, kNow + minutes(59)).held, 1u) << "a restart does not open the brake";
  EXPECT_EQ(withdraw(22, 23, kNow + minutes(60)).held, 0u);
  // Six of sixty at once.
  EXPECT_EQ(withdraw(23, 29, kNow + hours(3)).held, 6u);
  const TimePoint now = kNow + hours(3);
  EXPECT_THAT(Thread(*store, anna, now), SizeIs(60 - 29)) << "hidden like the others";
  EXPECT_EQ(Must(store->erasure().HeldOf(account.id)).messages, 8u);
  EXPECT_EQ(Must(store->erasure().HeldOf(account.id)).since, kNow + minutes(59));
  EXPECT_EQ(withdraw(23, 29, now).withdrawn, 0u) << "told again";
  Must(store->erasure().RunOnce(now));
  EXPECT_EQ(Must(store->erasure().HeldOf(account.id)).messages, 8u);
  // The first two are destroyed by time, the others are brought back.
  Must(store->erasure().RunOnce(kNow + minutes(59) + hours(24)));
  EXPECT_EQ(Must(store->erasure().HeldOf(account.id)).messages, 6u);
  EXPECT_EQ(Must(store->erasure().RestoreHeld(account.id, Officer(), now)), 6u);
  EXPECT_EQ(Must(store->erasure().HeldOf(account.id)).messages, 0u);
  const auto thread = Thread(*store, anna, now);
  EXPECT_THAT(thread, SizeIs(60 - 23));
  EXPECT_EQ(thread.back().text.Reveal(), "text " + id_of(23));
  EXPECT_EQ(Inbox(*store, now).front().last_message, thread.front().id);
  // And the newest ones, at once: the head goes back and forth with them.
  EXPECT_EQ(withdraw(50, 60, now).held, 10u);
  EXPECT_EQ(Inbox(*store, now).front().last_message, Thread(*store, anna, now).front().id);
  EXPECT_EQ(Must(store->erasure().DestroyHeld(account.id, Officer(), now)), 10u);
  EXPECT_EQ(Must(store->erasure().RestoreHeld(account.id, Officer(), now)), 0u);
  Must(store->erasure().RunOnce(now));
  EXPECT_EQ(serve().stored, 0u);
  EXPECT_THAT(Thread(*store, anna, now), SizeIs(60 - 33));
  EXPECT_EQ(store->damaged_records(), 0u);
}

// --- one person

void ExpectAnnaGone(Office& office) {
  EXPECT_THAT(office.Conversations(), ::testing::UnorderedElementsAre("bert", "group"));
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
  EXPECT_THAT(office.Texts("group"), ElementsAre("ours-in-group", "bert-in-group"));
}

TEST_P(StoreErasure, APersonIsUnreadableAtOnceAndGoneSoonAfter) {
  Office office(GetParam());
  const Conversation anna = office.Find("anna");
  const Conversation bert = office.Find("bert");
  const Conversation group = office.Find("group");
  const MessageId one = office.IdOf("anna", "anna-one");
  const MessageId berts = office.IdOf("bert", "bert-two");
  const MessageId in_group = office.IdOf("group", "bert-in-group");
  const auto id = office.EraseAnna();

  const auto look = LookAt(*office.store, bert.id, Office::Now());
  for (int pass = 0; pass < 2; ++pass) {
    SCOPED_TRACE(pass == 0 ? "keys destroyed" : "bytes gone");
    ExpectAnnaGone(office);
    EXPECT_EQ(FailureOf(office.store->conversations().Get(look, anna.id, Office::Now())),
              ErrorCode::kNotFound);
    EXPECT_EQ(FailureOf(office.store->conversations().GetMessage(look, one, Office::Now())),
              ErrorCode::kNotFound);
    EXPECT_EQ(FailureOf(office.store->outbox().Get(look, office.replies[0], Office::Now())),
              ErrorCode::kNotFound);
    EXPECT_THAT(Must(office.store->outbox().Pending(Office::Now())), SizeIs(1));
    // The others have their ids.
    EXPECT_EQ(office.Find("bert").id, bert.id);
    EXPECT_EQ(office.Find("group").id, group.id);
    EXPECT_EQ(office.IdOf("bert", "bert-two"), berts);
    EXPECT_EQ(office.IdOf("group", "bert-in-group"), in_group);
    EXPECT_TRUE(office.store->conversations().GetMessage(look, berts, Office::Now()));
    EXPECT_EQ(Must(office.store->erasure().Find(id)).finished, pass == 1);
    Must(office.store->erasure().RunOnce(Office::Now()));
  }
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  EXPECT_EQ(office.Find("group").last_message, office.IdOf("group", "ours-in-group"));
  EXPECT_THAT(office.Find("group").participants, SizeIs(1));
  const auto receipt = Must(office.store->erasure().Find(id)).receipt;
  EXPECT_EQ(receipt.kind, DestructionKind::kPerson);
  EXPECT_EQ(receipt.messages, 6u) << "a0 a1 o1 a2 g1 g4";
  EXPECT_EQ(receipt.replies, 1u);
  EXPECT_EQ(receipt.dates, 3u);
  EXPECT_GE(receipt.finished_at, receipt.keys_destroyed_at);
  EXPECT_THAT(office.store.engine().Families(Family::Kind::kTwin), IsEmpty());

  office.store.Reopen();
  ExpectAnnaGone(office);
  EXPECT_EQ(office.Find("bert").id, bert.id);
  EXPECT_EQ(Must(office.store->erasure().Find(id)).receipt.messages, 6u);
  // Bert's unsent reply can still be sent, under the slot that it has.
  Must(office.store->outbox().StartSending(office.replies[1], Office::Now()));
  EXPECT_EQ(office.store->damaged_records(), 0u);
  // The receipt of the date's end counts what was there until then.
  Must(office.store->purge().RunOnce(StartOf(kEnd)));
  std::uint64_t ended = 0;
  for (const auto& of : Must(office.store->purge().Receipts(std::nullopt, 10)))
    ended += of.messages;
  EXPECT_EQ(ended, 4u) << "b0 b2 g2 g3";
}

TEST_P(StoreErasure, AnErasedPersonComesBackOnlyWithWhatTheyWriteAnew) {
  Office office(GetParam());
  const ConversationId before = office.Find("anna").id;
  office.EraseAnna();
  for (int pass = 0; pass < 2; ++pass) {
    const auto outcome = office.ServeAgain(Office::Now() + minutes(1));
    EXPECT_EQ(outcome.stored, 0u);
    ExpectAnnaGone(office);
    Must(office.store->erasure().RunOnce(Office::Now()));
  }
  // Two of the six had claimed to be sent later than first seen: their fingerprints know them.
  EXPECT_EQ(office.ServeAgain(Office::Now() + minutes(2)).erased, 4u);
  office.store.Reopen();
  EXPECT_EQ(office.ServeAgain(Office::Now() + minutes(2)).erased, 4u);
  // History that had never been served before is refused as well.
  EXPECT_EQ(office.Serve(Office::Now(), {Incoming("anna", "a-old", kNow - days(20))}).erased, 1u);
  // The group is shown as the platform says it is, but for her name.
  const auto in_group = office.Find("group").participants;
  ASSERT_THAT(in_group, SizeIs(2));
  for (const Contact& contact : in_group) {
    EXPECT_EQ(contact.handle.empty(), contact.platform_id == PlatformId("person-of-anna"));
  }

  const TimePoint later = Office::Now() + hours(1);
  office.Serve(later, {Incoming("anna", "a-new", later, "anna-new")});
  EXPECT_THAT(office.Texts("anna", later), ElementsAre("anna-new"));
  EXPECT_NE(office.Find("anna", later).id, before);
  EXPECT_EQ(office.Find("anna", later).participants.front().handle, ContactHandle("anna.example"));
  // And can be erased again.
  const auto anna = Must(office.store->erasure().PersonOf(office.Find("anna", later).id, later));
  Must(office.store->erasure().ErasePerson(anna, Officer(), later));
  Must(office.store->erasure().RunOnce(later));
  EXPECT_EQ(office.Serve(later, {Incoming("anna", "a-new", later)}).erased, 1u);
  EXPECT_THAT(office.Conversations(later), ::testing::UnorderedElementsAre("bert", "group"));
  EXPECT_EQ(office.store->damaged_records(), 0u);
  // The blocks go with the last date on which anything of hers could have ended.
  Must(office.store->purge().RunOnce(later + days(100)));
  EXPECT_THAT(office.store.engine().Families(Family::Kind::kDay), IsEmpty());
}

// The request could not be written down, and the keys went all the same. Asked again, nothing can
// tell any more which conversation was theirs.
TEST_P(StoreErasure, AnErasureThatHadToBeAskedForTwiceBringsNothingBack) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownDone, Fault::kUnknownNotDone}) {
    Office office(GetParam());
    const auto anna = Must(office.store->erasure().PersonOf(office.Find("anna").id, Office::Now()));
    office.store.engine().FailNextCommit(fault);
    EXPECT_FALSE(office.store->erasure().ErasePerson(anna, Officer("tok_privacy"), Office::Now()));
    EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
    const auto again =
        office.store->erasure().ErasePerson(anna, Officer("tok_privacy"), Office::Now());
    EXPECT_TRUE(again || again.error().code == ErrorCode::kNotFound);
    EXPECT_EQ(office.ServeAgain(Office::Now()).stored, 0u) << "what we wrote to her included";
    Must(office.store->erasure().RunOnce(Office::Now()));
    EXPECT_EQ(office.ServeAgain(Office::Now()).stored, 0u);
    EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
    // What she writes from now on is welcome, and what we wrote before stays gone.
    office.Serve(Office::Now() + minutes(1),
                 {Incoming("anna", "a9", Office::Now() + minutes(1), "anna-nine")});
    EXPECT_EQ(office.ServeAgain(Office::Now() + minutes(1)).stored, 0u);
  }
}

TEST_P(StoreErasure, WhoIsMeantIsClearOrRefused) {
  Office office(GetParam());
  auto& erasure = office.store->erasure();
  const auto by_message =
      Must(erasure.PersonOf(office.IdOf("group", "anna-last-in-group"), Office::Now()));
  EXPECT_EQ(by_message.id, PlatformId("person-of-anna"));
  EXPECT_EQ(FailureOf(erasure.PersonOf(office.Find("group").id, Office::Now())),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(erasure.PersonOf(office.IdOf("group", "ours-in-group"), Office::Now())),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(erasure.PersonOf(ConversationId::Random(), Office::Now())),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(erasure.ErasePerson({office.account.id, PlatformId("nobody")}, Officer(),
                                          Office::Now())),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(erasure.ErasePerson({AccountId{9}, by_message.id}, Officer(), Office::Now())),
            ErrorCode::kNotFound);
}

// A commit that meets the copying of a date is in its successor.
TEST_P(StoreErasure, CommitsGoOnWhileADateIsWrittenAnew) {
  Office office(GetParam());
  // Bert's conversation is moved away from its date, one row changes, one is new, one reply ends.
  const TimePoint later = Office::Now() + minutes(1);
  office.EraseAnna();
  int copies = 0;
  office.store.engine().OnTwinCommit([&] {
    if (++copies > 1) return;
    office.store.engine().OnTwinCommit(nullptr);
    office.Edit("bert", "b0", "bert-zero-changed");
    office.Serve(later, {Incoming("bert", "b-old", kNow - days(2) + hours(2), "bert-served-late"),
                         Incoming("cleo", "c0", kNow - days(2) + hours(3), "cleo-zero")});
    Must(office.store->outbox().MarkFailed(office.replies[1], "injected", "", later));
    // A day later than everything else: head, contact, lookup and inbox row leave their date.
    office.Serve(later + days(1), {Incoming("bert", "b-new", later + days(1), "bert-new")});
  });
  Must(office.store->erasure().RunOnce(later));
  EXPECT_EQ(copies, 1);
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u)
      << "the text that the edit replaced too";
  const TimePoint after = later + days(1);
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_THAT(office.Texts("bert", after),
                ElementsAre("bert-new", "bert-two", "bert-served-late", "bert-zero-changed"));
    EXPECT_THAT(office.Texts("cleo", after), ElementsAre("cleo-zero"));
    EXPECT_THAT(office.Conversations(after),
                ::testing::UnorderedElementsAre("bert", "cleo", "group"));
    EXPECT_THAT(Must(office.store->outbox().Pending(after)), IsEmpty());
    office.store.Reopen();
  }
  // No row of the head was left where it had been.
  std::size_t heads = 0;
  for (const Family& family : office.store.engine().Families(Family::Kind::kDay)) {
    heads += office.store.Rows(family, 'h').size();
    EXPECT_EQ(office.store.Rows(family, 'h').size(), office.store.Rows(family, 'i').size());
    EXPECT_EQ(office.store.Rows(family, 'h').size(), office.store.Rows(family, 'k').size());
    EXPECT_EQ(office.store.Rows(family, 'm').size(), office.store.Rows(family, 'd').size());
  }
  EXPECT_EQ(heads, 3u);
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreErasure, AnAccountIsErasedAsAWhole) {
  Office office(GetParam());
  const Account other = Connect(*office.store, kNow);
  Must(office.store->collection().Collect(PageOf(other.id, {Incoming("dora", "d1", kNow, "dora")}),
                                          Office::Now()));
  const auto id = Must(
      office.store->erasure().EraseAccount(office.account.id, Officer("cli:0"), Office::Now()));
  EXPECT_THAT(office.Conversations(), ElementsAre("dora"));
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_THAT(office.Conversations(), ElementsAre("dora"));
  EXPECT_THAT(office.Texts("dora"), ElementsAre("dora"));
  const auto receipt = Must(office.store->erasure().Find(id)).receipt;
  EXPECT_EQ(receipt.kind, DestructionKind::kAccount);
  EXPECT_EQ(receipt.messages, 10u);
  EXPECT_EQ(receipt.replies, 2u);
  EXPECT_EQ(office.ServeAgain(Office::Now()).past_horizon, 10u);
  EXPECT_THAT(office.Conversations(), ElementsAre("dora"));
}

// --- interrupted

constexpr ErasureStep kPersonSteps[] = {
    ErasureStep::kRequested,         ErasureStep::kKeysDestroyed, ErasureStep::kHeadsCleared,
    ErasureStep::kSuccessorComplete, ErasureStep::kDateReplaced,  ErasureStep::kIndexDestroyed,
    ErasureStep::kOldDateDropped,    ErasureStep::kLogsReleased,  ErasureStep::kReceiptWritten};
constexpr ErasureStep kMessageSteps[] = {ErasureStep::kSlotMoved, ErasureStep::kSlotDestroyed,
                                         ErasureStep::kErased, ErasureStep::kLogsReleased,
                                         ErasureStep::kReceiptWritten};

TEST_P(StoreErasure, AnErasureIsFinishedWhereverItWasInterrupted) {
  for (const ErasureStep step : kPersonSteps) {
    for (int nth = 1; nth <= 3; ++nth) {  // the first, second or third date
      SCOPED_TRACE(std::string(store::ToString(step)) + " " + std::to_string(nth));
      Office office(GetParam());
      const Conversation bert = office.Find("bert");
      int reached = 0;
      office.store->erasure().set_fail_point([&](ErasureStep at) {
        if (at == step && ++reached == nth) throw std::runtime_error("the process ends here");
      });
      try {
        office.EraseAnna();
        Must(office.store->erasure().RunOnce(Office::Now()));
      } catch (const std::runtime_error&) {
      }
      if (reached < nth) break;  // this step happens once
      office.store.Reopen();
      Must(office.store->erasure().RunOnce(Office::Now()));
      ExpectAnnaGone(office);
      EXPECT_EQ(office.Find("bert").id, bert.id);
      EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
      EXPECT_THAT(office.store.engine().Families(Family::Kind::kTwin), IsEmpty());
      const auto receipts = Must(office.store->erasure().Receipts(std::nullopt, 10));
      ASSERT_THAT(receipts, SizeIs(1));
      EXPECT_EQ(receipts[0].messages, 6u);
      EXPECT_EQ(office.ServeAgain(Office::Now()).stored, 0u);
      EXPECT_EQ(office.store->damaged_records(), 0u);
    }
  }
}

TEST_P(StoreErasure, AWithdrawalIsFinishedWhereverItWasInterrupted) {
  for (const ErasureStep step : kMessageSteps) {
    SCOPED_TRACE(store::ToString(step));
    Office office(GetParam());
    office.Withdraw("anna", "a1");
    office.store->erasure().set_fail_point([&](ErasureStep at) {
      if (at == step) throw std::runtime_error("the process ends here");
    });
    EXPECT_THROW((void)office.store->erasure().RunOnce(Office::Now()), std::runtime_error);
    office.store.Reopen();
    Must(office.store->erasure().RunOnce(Office::Now()));
    EXPECT_THAT(office.Texts("anna"), ElementsAre("anna-two", "to-anna", "anna-zero"));
    EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
    EXPECT_THAT(Must(office.store->erasure().Receipts(std::nullopt, 10)), SizeIs(1));
    EXPECT_EQ(office.store->damaged_records(), 0u);
  }
}

TEST_P(StoreErasure, KeysGoEvenWhenNothingCanBeWritten) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownNotDone, Fault::kUnknownDone}) {
    Office office(GetParam());
    const auto anna = Must(office.store->erasure().PersonOf(office.Find("anna").id, Office::Now()));
    office.store.engine().FailNextCommit(fault);
    EXPECT_FALSE(office.store->erasure().ErasePerson(anna, Officer(), Office::Now()))
        << "the failure is told";
    EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
    // Collecting goes on, for her too.
    const TimePoint later = Office::Now() + minutes(1);
    office.Serve(later, {Incoming("anna", "a-new", later, "anna-new")});
    EXPECT_THAT(office.Texts("anna", later), ElementsAre("anna-new"));
    Must(office.store->erasure().ErasePerson(anna, Officer(), later));
    Must(office.store->erasure().RunOnce(later));
    EXPECT_EQ(office.ServeAgain(later).stored, 0u);
    EXPECT_THAT(office.Conversations(later), ::testing::UnorderedElementsAre("bert", "group"));
    EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  }
}

TEST_P(StoreErasure, ADateThatEndsTakesItsUnfinishedErasureAlong) {
  Office office(GetParam());
  office.Withdraw("bert", "b0");
  int reached = 0;
  office.store->erasure().set_fail_point([&](ErasureStep at) {
    if (at == ErasureStep::kSuccessorComplete && ++reached == 1) throw std::runtime_error("ends");
  });
  office.EraseAnna();
  EXPECT_THROW((void)office.store->erasure().RunOnce(Office::Now()), std::runtime_error);
  office.store->erasure().set_fail_point(nullptr);
  const TimePoint end = StartOf(kEnd) - days(2);  // of the first date
  Must(office.store->purge().RunOnce(end));
  EXPECT_THAT(office.store.engine().Families(Family::Kind::kTwin), IsEmpty());
  Must(office.store->erasure().RunOnce(end));
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  EXPECT_THAT(office.Texts("bert", end), ElementsAre("bert-two"));
  // The rest, with all dates gone before it was worked on.
  Office second(GetParam());
  second.EraseAnna();
  second.Withdraw("bert", "b0");
  Must(second.store->purge().RunOnce(end + days(100)));
  Must(second.store->erasure().RunOnce(end + days(100)));
  EXPECT_EQ(Must(second.store->erasure().Unfinished()), 0u);
}

TEST_P(StoreErasure, ReceiptsGoAfterTwelveMonths) {
  Office office(GetParam());
  office.EraseAnna();
  Must(office.store->erasure().RunOnce(Office::Now()));
  Must(office.store->purge().RunOnce(At("2027-03-04T23:00:00.000Z")));
  EXPECT_THAT(Must(office.store->erasure().Receipts(std::nullopt, 10)), SizeIs(1));
  Must(office.store->purge().RunOnce(At("2027-03-05T00:00:00.000Z")));
  EXPECT_THAT(Must(office.store->erasure().Receipts(std::nullopt, 10)), IsEmpty());
}

// --- bytes on a disk

// What today's keys still tell of a copy of the store: the content of every row that opens.
std::string ReadableIn(const std::filesystem::path& copy, store::KeyVault& vault) {
  std::string readable;
  const auto engine = Must(store::OpenRocksDbEngine({.dir = copy}));
  for (const Family& family : engine->Families(Family::Kind::kDay)) {
    const std::string name = family.Name();
    for (const char kind : {'m', 's', 'h', 'k', 'c', 'i', 'o', 'y'}) {
      Must(engine->Scan(family, {.prefix = store::schema::Key(kind)},
                        [&](std::string_view key, std::string_view sealed) {
                          const auto header = Must(store::PeekSealed(sealed));
                          const auto pair = vault.PairFor(family.day(), header.slot);
                          if (!pair) return true;
                          const auto body = store::Unseal(*pair,
                                                          {.organisation = 1,
                                                           .family = name,
                                                           .column = kind,
                                                           .engine_key = key,
                                                           .expires_at = StartOf(family.day())},
                                                          sealed);
                          if (body) readable += *body + "\n";
                          return true;
                        }));
    }
  }
  return readable;
}

std::filesystem::path CopyOf(TempStore& store, const std::string& name) {
  store.Close();
  const auto copy = store.dir() / name;
  std::filesystem::copy(store.store_dir(), copy, std::filesystem::copy_options::recursive);
  store.Open();
  return copy;
}

TEST(StoreErasureOnDisk, AnOldCopyAndTodaysKeysTellNothingOfAnErasedPerson) {
  Office office(EngineKind::kRocksDb);
  // Her conversation has moved twice: old versions of its head lie on three dates.
  const auto copy = CopyOf(office.store, "copy");
  const std::vector<std::string> marks = {"anna-zero",    "anna-one",     "anna-two",
                                          "to-anna",      "anna.example", "person-of-anna",
                                          "anna-in-group"};
  const std::string before = ReadableIn(copy, office.store.vault());
  for (const std::string& mark : marks) EXPECT_THAT(before, ::testing::HasSubstr(mark));
  EXPECT_THAT(before, ::testing::HasSubstr("bert-two"));

  office.EraseAnna();
  const std::string at_once = ReadableIn(copy, office.store.vault());
  for (const char* const mark : {"anna-zero", "anna-one", "anna-two", "to-anna", "anna.example"}) {
    EXPECT_THAT(at_once, Not(::testing::HasSubstr(mark))) << "already unreadable";
  }
  Must(office.store->erasure().RunOnce(Office::Now()));
  const std::string after = ReadableIn(copy, office.store.vault());
  for (const std::string& mark : marks) EXPECT_THAT(after, Not(::testing::HasSubstr(mark)));
  EXPECT_THAT(after, ::testing::HasSubstr("bert-two")) << "the others are not touched";

  // No blind key of the copy can be computed any more: its indexes are destroyed.
  const auto old = Must(store::OpenRocksDbEngine({.dir = copy}));
  int indexes = 0;
  for (const Family& family : old->Families(Family::Kind::kDay)) {
    const auto row = Must(old->Get(family, store::schema::Key('x')));
    ASSERT_TRUE(row);
    const auto slot = Must(store::codec::DecodeSlot(*row));
    const auto blind = office.store.vault().BlindUnder(
        family.day(), slot, store::schema::kBlindSubject,
        store::schema::PersonInput(office.account.id, "person-of-anna"));
    EXPECT_EQ(FailureOf(blind), ErrorCode::kExpired);
    ++indexes;
  }
  EXPECT_EQ(indexes, 3);
}

TEST(StoreErasureOnDisk, ARestoredOldCopyRevivesNobodyAndLosesNobodyElse) {
  Office office(EngineKind::kRocksDb);
  const MessageId berts = office.IdOf("bert", "bert-two");
  const auto copy = CopyOf(office.store, "copy");
  office.EraseAnna();
  Must(office.store->erasure().RunOnce(Office::Now()));
  office.store.Close();
  std::filesystem::remove_all(office.store.store_dir());
  std::filesystem::copy(copy, office.store.store_dir(), std::filesystem::copy_options::recursive);
  office.store.Open();
  EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
  // Its indexes are destroyed; the dates are written anew as at any start.
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_THAT(office.Conversations(), Not(Contains("anna")));
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
  EXPECT_EQ(office.IdOf("bert", "bert-two"), berts);
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  office.store.Reopen();
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero"));
}

TEST(StoreErasureOnDisk, WhatWasWithdrawnOrReplacedIsNoiseInAnOldCopyAndGoneFromTheDisk) {
  Office office(EngineKind::kRocksDb);
  const MessageId withdrawn = office.IdOf("anna", "anna-two");
  const MessageId edited = office.IdOf("bert", "bert-zero");
  Must(office.store->FlushBeforeExpiry());
  const auto fragment_of = [&](const MessageId& id) {
    for (const auto& [key, value] : office.store.Rows(Family::Day(id.day), 'm')) {
      const std::string tail(store::schema::View(id.bytes));
      if (key.ends_with(tail)) return value.substr(value.size() / 2, 16);
    }
    throw std::runtime_error("no row");
  };
  const std::vector<std::string> fragments = {fragment_of(withdrawn), fragment_of(edited)};
  EXPECT_THAT(FilesWith(office.store.store_dir(), fragments), SizeIs(::testing::Ge(2u)));
  const auto copy = CopyOf(office.store, "copy");
  office.Withdraw("anna", "a2");
  office.Edit("bert", "b0", "bert-zero-changed");
  Must(office.store->erasure().RunOnce(Office::Now()));
  const std::string after = ReadableIn(copy, office.store.vault());
  EXPECT_THAT(after, Not(::testing::HasSubstr("anna-two")));
  EXPECT_THAT(after, Not(::testing::HasSubstr("bert-zero")));
  EXPECT_THAT(after, ::testing::HasSubstr("anna-one")) << "other dates are not touched";
  EXPECT_THAT(FilesWith(office.store.store_dir(), fragments), IsEmpty());
  EXPECT_THAT(office.Texts("bert"), ElementsAre("bert-two", "bert-zero-changed"));
}

TEST(StoreErasureOnDisk, TheSealedBytesOfAnErasedPersonAreGoneToo) {
  Office office(EngineKind::kRocksDb);
  Must(office.store->FlushBeforeExpiry());
  std::vector<std::string> fragments;
  for (const Family& family : office.store.engine().Families(Family::Kind::kDay)) {
    for (const char kind : {'m', 'h', 'k', 'c', 'i', 's'}) {
      for (const auto& [key, value] : office.store.Rows(family, kind)) {
        fragments.push_back(value.substr(value.size() / 2, 16));  // hers and others': all anew
        if (kind != 'm') fragments.push_back(key.substr(key.size() - 16));
      }
    }
  }
  ASSERT_THAT(FilesWith(office.store.store_dir(), fragments), Not(IsEmpty()));
  office.EraseAnna();
  Must(office.store->erasure().RunOnce(Office::Now()));
  EXPECT_THAT(FilesWith(office.store.store_dir(), fragments), IsEmpty());
  EXPECT_THAT(FilesWith(office.store.store_dir(), {"anna-", "anna.example", "person-of-anna"}),
              IsEmpty());
}

}  // namespace
}  // namespace mayfly::testing
