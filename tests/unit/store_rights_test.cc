// What people may ask of us: that they are found, that they are restricted, that nothing more is
// kept. Who sees what then, what is sent, and when it ends.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/schema.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using store::Family;
using store::HeldPerson;
using store::Restriction;
using store::RestrictionKind;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");
const ExpiryDay kEnd = DayAt("2026-06-05");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

class Told final : public store::ChangeObserver {
 public:
  void OnCommitted(const std::vector<store::ChangeNotice>& changes) override {
    for (const auto& change : changes) {
      const auto& conversation = change.conversation;
      words.push_back(std::string(store::ToString(change.kind)) + " " + change.id + " " +
                      (conversation ? conversation->ToString() : ""));
    }
  }
  void OnDoubt() override {}
  std::vector<std::string> words;
};

// Anna and Bert, each alone with us, and both in a group. Whatever is of Anna says so.
class Office {
 public:
  explicit Office(EngineKind kind) : store(kind), account(Connect(*store, kNow - days(1))) {
    Serve(kNow, {Incoming("anna", "a1", kNow - hours(20), "letter of anna"),
                 Outgoing("anna", "o1", kNow - hours(19), "letter to anna"),
                 Incoming("anna", "a2", kNow, "second letter of anna"),
                 Incoming("bert", "b1", kNow, "letter of bert"),
                 Of("group", "g1", "person-of-anna", kNow - hours(2), "letter of anna in group"),
                 Of("group", "g2", "person-of-bert", kNow - hours(1), "letter of bert in group")});
  }

  static store::CollectedMessage Of(const std::string& conversation, const std::string& id,
                                    const std::string& sender, TimePoint at,
                                    const std::string& text) {
    auto message = Incoming(conversation, id, at, text);
    message.sender = PlatformId(sender);
    return message;
  }
  store::CollectOutcome Serve(TimePoint now, std::vector<store::CollectedMessage> messages,
                              const std::string& name = "Name of ") {
    for (auto& message : messages) {
      message.attachments.push_back({.name = AttachmentName("file beside " + message.text.Reveal()),
                                     .locator = AttachmentLocator("at " + message.id.Reveal())});
    }
    auto page = PageOf(account.id, std::move(messages));
    for (auto& conversation : page.conversations) {
      const bool group = conversation.id == PlatformId("group");
      if (group) {
        conversation.group = true;
        conversation.participants.clear();
        for (const std::string who : {"anna", "bert"}) {
          conversation.participants.push_back({.platform_id = PlatformId("person-of-" + who),
                                               .handle = ContactHandle(who + ".example"),
                                               .display_name = {}});
        }
      }
      for (auto& contact : conversation.participants) {
        contact.display_name = ContactHandle(name + contact.handle.Reveal());
      }
    }
    return Must(store->collection().Collect(page, now));
  }
  store::Erasure::Person Anna() const { return {account.id, PlatformId("person-of-anna")}; }
  store::Erasure::Person Bert() const { return {account.id, PlatformId("person-of-bert")}; }
  Restriction Restrict(RestrictionKind kind = RestrictionKind::kRestriction, TimePoint now = kNow) {
    return Must(store->rights().Restrict(Anna(), kind, PrivacyOfficer(), now));
  }
  Conversation Find(const std::string& platform_id, TimePoint now = kNow) {
    for (const Conversation& conversation : Inbox(*store, now, PrivacyOfficer())) {
      if (conversation.platform_id == PlatformId(platform_id)) return conversation;
    }
    throw std::runtime_error("no conversation " + platform_id);
  }
  std::vector<std::string> Texts(const std::string& platform_id, TimePoint now,
                                 const Actor& actor) {
    std::vector<std::string> texts;
    for (const Message& message : Thread(*store, Find(platform_id, now).id, now, 5, actor)) {
      texts.push_back(message.text.Reveal());
    }
    return texts;
  }
  Result<store::OutboxQueue::Queued> Answer(const std::string& to, const std::string& key,
                                            TimePoint now = kNow) {
    const Conversation conversation = Find(to, now);
    return store->outbox().Enqueue({.conversation = conversation.id,
                                    .after_message = *conversation.last_message,
                                    .text = MessageBody("answer to " + to),
                                    .idempotency_key = key},
                                   Officer(), now);
  }
  std::vector<std::string> Acts() {
    std::vector<std::string> acts;
    for (const auto& entry : Must(store->audit().Read(0, 1'000))) acts.push_back(entry.action);
    return acts;
  }
  std::size_t RowsOn(ExpiryDay day) {
    return store.Rows(Family::Day(day), store::schema::kRestriction).size();
  }

  TempStore store;
  Account account;
};

class StoreRights : public ::testing::TestWithParam<EngineKind> {};
INSTANTIATE_TEST_SUITE_P(, StoreRights,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb), KindName);

// --- every read path

std::string Said(const Message& message) {
  return message.text.Reveal() + "|" + message.sender_handle.Reveal() + "|" +
         message.sender_name.Reveal() + "|" + message.sender_platform_id.Reveal() + "\n";
}
std::string Said(const Conversation& conversation) {
  std::string said = conversation.platform_id.Reveal() + "\n";
  for (const Contact& contact : conversation.participants) {
    said += contact.platform_id.Reveal() + "|" + contact.handle.Reveal() + "|" +
            contact.display_name.Reveal() + "\n";
  }
  return said;
}
std::string Said(const Error& error) { return std::string(ToString(error.code)) + "\n"; }
template <class T>
std::string SaidOf(const Result<T>& result) {
  return result ? Said(*result) : Said(result.error());
}

// What somebody is given by each function of the store that gives people's words or names.
struct Reader {
  store::Store& store;
  std::vector<ConversationId> conversations;
  std::vector<MessageId> messages;
  ReplyId reply;
  Actor actor;

  store::Look look() const { return Must(store.audit().LookAtInbox(actor, kNow)); }
};
using ReadPath = std::function<std::string(const Reader&)>;

const std::map<std::string, ReadPath>& ReadPaths() {
  static const std::map<std::string, ReadPath> kPaths = {
      {"conversations.h List",
       [](const Reader& reader) {
         std::string said;
         for (const auto& item : Inbox(reader.store, kNow, reader.actor)) said += Said(item);
         return said;
       }},
      {"conversations.h Get",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.conversations) {
           said += SaidOf(reader.store.conversations().Get(reader.look(), id, kNow));
         }
         return said;
       }},
      {"conversations.h Messages",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.conversations) {
           const auto page = reader.store.conversations().Messages(reader.look(), id, "", 50, kNow);
           if (!page) said += Said(page.error());
           if (!page) continue;
           for (const Message& message : page->items) said += Said(message);
         }
         return said;
       }},
      {"conversations.h GetMessage",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.messages) {
           said += SaidOf(reader.store.conversations().GetMessage(reader.look(), id, kNow));
         }
         return said;
       }},
      {"conversations.h Update",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.conversations) {
           said += SaidOf(reader.store.conversations().Update(id, {.unread = false}, std::nullopt,
                                                              reader.actor, kNow));
         }
         return said;
       }},
      {"search.h Find",
       [](const Reader& reader) {
         std::string said;
         const auto query = Must(store::search::Query::Parse(store::search::QueryText("letter")));
         const auto page = Must(reader.store.search().Find(reader.look(), query, {}, "", 50, kNow));
         for (const Message& message : page.items) said += Said(message);
         return said;
       }},
      {"attachments.h Get",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.messages) {
           const auto found = reader.store.attachments().Get(reader.look(), id, 1, kNow);
           said += found ? found->name.Reveal() + "\n" : Said(found.error());
         }
         return said;
       }},
      {"attachments.h Read",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.messages) {
           const auto found = reader.store.attachments().Read(reader.look(), id, 1, 0, kNow);
           said += found ? *found + "\n" : Said(found.error());
         }
         return said;
       }},
      {"outbox_queue.h Get",
       [](const Reader& reader) {
         const auto reply = reader.store.outbox().Get(reader.look(), reader.reply, kNow);
         return reply ? reply->text.Reveal() : Said(reply.error());
       }},
      {"outbox_queue.h PendingOf",
       [](const Reader& reader) {
         std::string said;
         for (const auto& id : reader.conversations) {
           const auto replies = reader.store.outbox().PendingOf(reader.look(), id, kNow);
           if (!replies) said += Said(replies.error());
           if (!replies) continue;
           for (const Reply& reply : *replies) said += reply.text.Reveal() + "\n";
         }
         return said;
       }},
  };
  return kPaths;
}

// Text is given to who shows that their look was recorded; so every function that takes a Look is a
// read path. A new one has to be walked here as well.
TEST(StoreRightsList, EveryFunctionThatTakesALookIsWalked) {
  std::set<std::string> found;
  const std::regex takes_a_look(R"((\w+)\(const Look& )");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           std::filesystem::path(MAYFLY_SOURCE_DIR) / "store")) {
    if (entry.path().extension() != ".h") continue;
    std::ifstream file(entry.path());
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    for (std::sregex_iterator at(text.begin(), text.end(), takes_a_look), end; at != end; ++at) {
      const std::string name = entry.path().filename().string() + " " + (*at)[1].str();
      found.insert(name);
      EXPECT_TRUE(ReadPaths().contains(name)) << name << " is not walked by this test";
    }
  }
  EXPECT_EQ(found.size(), 9u);
}

TEST_P(StoreRights, NoReadPathGivesStaffAnythingOfARestrictedPerson) {
  Office office(GetParam());
  Reader reader{.store = *office.store};
  for (const char* name : {"anna", "bert", "group"}) {
    reader.conversations.push_back(office.Find(name).id);
    for (const Message& message : Thread(*office.store, office.Find(name).id, kNow)) {
      reader.messages.push_back(message.id);
    }
  }
  for (const auto& wanted : Must(office.store->attachments().Wanted(office.account.id, 50, kNow))) {
    const auto writer = Must(office.store->attachments().Write(wanted.message, 1, kNow));
    const bool annas = wanted.platform_message.Reveal().starts_with("a");
    Must(writer->Append(annas ? "bytes of anna" : "bytes of bert", kNow));
    Must(writer->Finish(kNow));
  }
  // One that is on its way, so that the outbox has something to tell.
  reader.reply = Must(office.Answer("anna", "k1")).reply.id;
  Must(office.store->outbox().StartSending(reader.reply, kNow));
  Must(office.store->outbox().MarkUnknown(reader.reply, "outcome-unknown", kNow));

  const auto walk = [&](const Actor& actor, const std::string& when, bool given) {
    reader.actor = actor;
    for (const auto& [name, path] : ReadPaths()) {
      SCOPED_TRACE(name + " " + when);
      const std::string said = path(reader);
      EXPECT_EQ(said.find("anna") != std::string::npos, given) << said;
      if (name.find("outbox") == std::string::npos) {
        EXPECT_THAT(said, HasSubstr("bert"));
      }
    }
  };
  walk(Officer(), "before", true);
  const Restriction restriction = office.Restrict();
  walk(Officer(), "after", false);
  walk(PrivacyOfficer(), "for the officer", true);
  office.store.Reopen();
  Reader again{*office.store, reader.conversations, reader.messages, reader.reply, Officer()};
  for (const auto& [name, path] : ReadPaths()) {
    EXPECT_THAT(path(again), Not(HasSubstr("anna"))) << name << " after a restart";
  }
  Must(office.store->rights().Lift(restriction.id, PrivacyOfficer(), kNow));
  for (const auto& [name, path] : ReadPaths()) EXPECT_THAT(path(again), HasSubstr("anna")) << name;
  EXPECT_THAT(office.Acts(), Contains("person.restrict"));
  EXPECT_THAT(office.Acts(), Contains("restriction.lift"));
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreRights, TheListShowsThatAConversationIsRestrictedAndNothingElse) {
  Office office(GetParam());
  const Conversation before = office.Find("anna");
  office.Restrict();
  std::size_t restricted = 0;
  for (const Conversation& conversation : Inbox(*office.store, kNow)) {
    restricted += conversation.restricted;
    if (conversation.id == before.id) {
      EXPECT_TRUE(conversation.restricted);
      EXPECT_TRUE(conversation.platform_id.empty());
      EXPECT_THAT(conversation.participants, IsEmpty());
      EXPECT_FALSE(conversation.last_message);
      EXPECT_EQ(conversation.expires_at, before.expires_at);
      EXPECT_GT(conversation.revision, before.revision) << "an old tag is worth nothing";
    } else if (conversation.group) {
      EXPECT_TRUE(conversation.restricted);
      ASSERT_THAT(conversation.participants, SizeIs(1));
      EXPECT_EQ(conversation.participants[0].handle.Reveal(), "bert.example");
    }
  }
  EXPECT_EQ(restricted, 2u);
  EXPECT_EQ(FailureOf(office.store->conversations().Messages(LookAt(*office.store, before.id, kNow),
                                                             before.id, "", 5, kNow)),
            ErrorCode::kRestricted);
  // Staff do not destroy what its person may want to be kept.
  EXPECT_EQ(
      FailureOf(office.store->erasure().DestroyMessage(*before.last_message, Officer(), kNow)),
      ErrorCode::kRestricted);
}

// --- nothing is sent

TEST_P(StoreRights, NothingIsSentToARestrictedPerson) {
  Office office(GetParam());
  const ReplyId queued = Must(office.Answer("anna", "k1")).reply.id;
  const ReplyId sending = Must(office.Answer("anna", "k2")).reply.id;
  const ReplyId to_bert = Must(office.Answer("bert", "k3")).reply.id;
  Must(office.store->outbox().StartSending(sending, kNow));
  office.Restrict();
  const auto look = Must(office.store->audit().LookAtInbox(PrivacyOfficer(), kNow));
  const auto reply = Must(office.store->outbox().Get(look, queued, kNow));
  EXPECT_EQ(reply.state, ReplyState::kFailed);
  EXPECT_EQ(reply.reason, "restricted");
  EXPECT_FALSE(office.store->outbox().StartSending(queued, kNow));
  // The one that did not leave is not tried again.
  Must(office.store->outbox().Requeue(sending, kNow + minutes(1), kNow));
  EXPECT_EQ(Must(office.store->outbox().Get(look, sending, kNow)).reason, "restricted");
  EXPECT_EQ(FailureOf(office.Answer("anna", "k4")), ErrorCode::kRestricted);
  EXPECT_EQ(FailureOf(office.Answer("anna", "k1")), ErrorCode::kRestricted) << "said before";
  EXPECT_EQ(FailureOf(office.Answer("group", "k5")), ErrorCode::kRestricted);
  EXPECT_EQ(Must(office.store->outbox().StartSending(to_bert, kNow)).reply.text.Reveal(),
            "answer to bert");
}

TEST_P(StoreRights, AReplyToWhomARestrictedPersonJoinsFailsBeforeItIsSent) {
  Office office(GetParam());
  office.Restrict();
  const ReplyId id = Must(office.Answer("bert", "k1")).reply.id;
  auto page = PageOf(office.account.id, {});
  page.conversations = {Described("bert")};
  page.conversations[0].group = true;
  page.conversations[0].participants.push_back({.platform_id = PlatformId("person-of-anna")});
  Must(office.store->collection().Collect(page, kNow));
  EXPECT_EQ(FailureOf(office.store->outbox().StartSending(id, kNow)),
            ErrorCode::kPreconditionFailed);
  const auto look = Must(office.store->audit().LookAtInbox(Officer(), kNow));
  EXPECT_EQ(Must(office.store->outbox().Get(look, id, kNow)).reason, "restricted");
  EXPECT_THAT(Must(office.store->outbox().Pending(kNow)), IsEmpty());
}

// --- what is told

TEST_P(StoreRights, TheFeedTellsThatAConversationChangedAndNotWhatCame) {
  Office office(GetParam());
  Told told;
  office.store->SetObserver(&told);
  const std::string anna = office.Find("anna").id.ToString();
  const std::string group = office.Find("group").id.ToString();
  office.Restrict();
  EXPECT_THAT(told.words, ::testing::UnorderedElementsAre("conversation.updated " + anna + " ",
                                                          "conversation.updated " + group + " "));
  told.words.clear();
  store::CollectedPage page = PageOf(office.account.id, {});
  page.edits.push_back({.conversation = PlatformId("anna"),
                        .id = PlatformId("a1"),
                        .edited_at = kNow,
                        .text = MessageBody("changed letter of anna")});
  page.withdrawals.push_back({PlatformId("anna"), PlatformId("a2")});
  Must(office.store->collection().Collect(page, kNow));
  office.Serve(kNow, {Incoming("anna", "a9", kNow, "ninth"), Outgoing("anna", "o9", kNow, "ours"),
                      Office::Of("group", "g8", "person-of-anna", kNow, "eighth")});
  for (const std::string& words : told.words) {
    EXPECT_THAT(words, ::testing::StartsWith("conversation.updated ")) << words;
  }
  EXPECT_THAT(told.words, Contains("conversation.updated " + anna + " "));
  told.words.clear();
  office.Serve(kNow, {Office::Of("group", "g9", "person-of-bert", kNow, "ninth")});
  EXPECT_THAT(told.words, Contains(::testing::StartsWith("message.received ")));
  EXPECT_THAT(
      office.Texts("anna", kNow, PrivacyOfficer()),
      ::testing::UnorderedElementsAre("ninth", "ours", "letter to anna", "changed letter of anna"))
      << "edited and withdrawn as ever";
  office.store->SetObserver(nullptr);
}

// --- how long it lasts

TEST_P(StoreRights, ARestrictionCoversWhatComesAndEndsWithTheLastOfIt) {
  Office office(GetParam());
  Restriction restriction = office.Restrict();
  EXPECT_EQ(restriction.expires_at, StartOf(kEnd));
  EXPECT_EQ(office.RowsOn(kEnd), 1u);
  // A message that ends later takes it along, within a page of several dates too.
  const TimePoint later = kNow + days(10);
  office.Serve(later, {Incoming("anna", "a3", later - days(3), "third of anna"),
                       Incoming("anna", "a4", later, "fourth of anna"),
                       Incoming("bert", "b4", later, "fourth of bert")});
  restriction = Must(office.store->rights().Get(restriction.id, later));
  const ExpiryDay last = DayAt("2026-06-15");
  EXPECT_EQ(restriction.expires_at, StartOf(last));
  EXPECT_EQ(office.RowsOn(kEnd), 0u);
  EXPECT_EQ(office.RowsOn(last), 1u);
  const auto conversation = office.Find("anna", later).id;
  EXPECT_EQ(FailureOf(office.store->conversations().Messages(
                LookAt(*office.store, conversation, later), conversation, "", 5, later)),
            ErrorCode::kRestricted);
  EXPECT_THAT(office.Texts("anna", later, PrivacyOfficer()), SizeIs(5));
  office.store.Reopen();
  // Each message goes when it would have gone, and the last takes the restriction with it.
  const TimePoint first_end = StartOf(kEnd);
  EXPECT_THAT(office.Texts("anna", first_end, PrivacyOfficer()), SizeIs(2));
  Must(office.store->purge().RunOnce(first_end));
  EXPECT_THAT(office.store->rights().List(first_end), SizeIs(1));
  EXPECT_THAT(office.store->rights().List(StartOf(last)), IsEmpty());
  Must(office.store->purge().RunOnce(StartOf(last)));
  EXPECT_THAT(office.store.vault().Dates(), IsEmpty());
  EXPECT_THAT(office.store.engine().Families(Family::Kind::kDay), IsEmpty());
  // Nobody remembers; who writes again is somebody new.
  office.Serve(StartOf(last), {Incoming("anna", "a5", StartOf(last), "fifth of anna")});
  EXPECT_THAT(office.Texts("anna", StartOf(last), Officer()), ElementsAre("fifth of anna"));
}

TEST_P(StoreRights, AskingAgainChangesNothingAndWhatIsNotHeldIsNotRestricted) {
  Office office(GetParam());
  auto& rights = office.store->rights();
  const auto restrict = [&](const std::string& who, RestrictionKind kind) {
    return rights.Restrict({office.account.id, PlatformId(who)}, kind, PrivacyOfficer(), kNow);
  };
  EXPECT_EQ(FailureOf(restrict("nobody", RestrictionKind::kRestriction)), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(restrict("", RestrictionKind::kObjection)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(rights.Restrict({AccountId{99}, PlatformId("x")}, RestrictionKind::kObjection,
                                      PrivacyOfficer(), kNow)),
            ErrorCode::kNotFound);
  const Restriction first = office.Restrict();
  EXPECT_EQ(office.Restrict().id, first.id);
  const Restriction objection = office.Restrict(RestrictionKind::kObjection);
  EXPECT_EQ(objection.id, first.id);
  EXPECT_EQ(objection.kind, RestrictionKind::kObjection);
  EXPECT_EQ(office.Restrict().kind, RestrictionKind::kObjection);
  EXPECT_THAT(rights.List(kNow), SizeIs(1));
  Must(rights.Lift(first.id, PrivacyOfficer(), kNow));
  EXPECT_EQ(FailureOf(rights.Lift(first.id, PrivacyOfficer(), kNow)), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(rights.Get(first.id, kNow)), ErrorCode::kNotFound);
}

TEST_P(StoreRights, AFailedCommitIsRepeatedAndThenItHolds) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownDone, Fault::kUnknownNotDone}) {
    Office office(GetParam());
    office.store.engine().FailNextCommit(fault);
    EXPECT_FALSE(office.store->rights().Restrict(office.Anna(), RestrictionKind::kRestriction,
                                                 PrivacyOfficer(), kNow));
    const Restriction restriction = office.Restrict();
    EXPECT_EQ(FailureOf(office.Answer("anna", "k")), ErrorCode::kRestricted);
    EXPECT_EQ(office.RowsOn(kEnd), 1u);
    office.store.engine().FailNextCommit(fault);
    EXPECT_FALSE(office.store->rights().Lift(restriction.id, PrivacyOfficer(), kNow));
    (void)office.store->rights().Lift(restriction.id, PrivacyOfficer(), kNow);
    EXPECT_THAT(office.store->rights().List(kNow), IsEmpty());
    office.store.Reopen();
    EXPECT_THAT(office.store->rights().List(kNow), IsEmpty());
    EXPECT_THAT(office.Texts("anna", kNow, Officer()), SizeIs(3));
  }
}

// Its end does not wait for the purge, as that of a message does not.
TEST_P(StoreRights, ItEndsAtItsInstantThoughThePurgeIsLate) {
  Office office(GetParam());
  const Restriction first = office.Restrict();
  const Restriction cora =
      Must(office.store->rights().Restrict({office.account.id, PlatformId("person-of-cora")},
                                           RestrictionKind::kObjection, PrivacyOfficer(), kNow));
  const TimePoint end = StartOf(kEnd);
  EXPECT_EQ(cora.expires_at, end);
  const auto last = office.Serve(end - minutes(1), {Incoming("cora", "c1", kNow)});
  EXPECT_EQ(last.objected, 1u);
  const auto outcome = office.Serve(
      end, {Incoming("anna", "a5", end, "fifth of anna"), Incoming("cora", "c2", end)});
  EXPECT_EQ(outcome.stored, 2u);
  EXPECT_THAT(office.Texts("anna", end, Officer()), ElementsAre("fifth of anna"));
  EXPECT_TRUE(office.Answer("anna", "k", end));
  EXPECT_THAT(office.store->rights().List(end), IsEmpty());
  // Asked for once more, it is another one; the end of the first does not take it along.
  const Restriction second = office.Restrict(RestrictionKind::kRestriction, end);
  EXPECT_NE(second.id, first.id);
  Must(office.store->purge().RunOnce(end));
  EXPECT_EQ(FailureOf(office.Answer("anna", "k2", end)), ErrorCode::kRestricted);
  office.store.Reopen();
  EXPECT_EQ(FailureOf(office.Answer("anna", "k2", end)), ErrorCode::kRestricted);
}

// --- beside erasure

TEST_P(StoreRights, ErasureEndsARestrictionAndAnotherPersonsHolds) {
  Office office(GetParam());
  office.Restrict();
  Must(office.store->rights().Restrict(office.Bert(), RestrictionKind::kRestriction,
                                       PrivacyOfficer(), kNow));
  Must(office.store->erasure().ErasePerson(office.Anna(), PrivacyOfficer(), kNow));
  EXPECT_THAT(office.store->rights().List(kNow), SizeIs(1));
  Must(office.store->erasure().RunOnce(kNow));
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  office.store.Reopen();
  ASSERT_THAT(office.store->rights().List(kNow), SizeIs(1)) << "its date was written anew";
  EXPECT_EQ(FailureOf(office.Answer("bert", "k")), ErrorCode::kRestricted);
  EXPECT_EQ(office.RowsOn(kEnd), 1u);
  Must(office.store->erasure().EraseAccount(office.account.id, Officer("cli:0"), kNow));
  EXPECT_THAT(office.store->rights().List(kNow), IsEmpty());
}

// --- objecting

TEST_P(StoreRights, AnObjectionKeepsOutWhatComesAndRestrictsWhatIsThere) {
  Office office(GetParam());
  const Restriction objection = office.Restrict(RestrictionKind::kObjection);
  const TimePoint later = kNow + days(20);
  auto outcome = office.Serve(
      later,
      {Incoming("anna", "a8", later, "not kept"), Outgoing("anna", "o8", later, "ours, not kept"),
       Office::Of("group", "g8", "person-of-anna", later - hours(1), "not kept in group"),
       Office::Of("group", "g9", "person-of-bert", later, "kept")},
      "New name of ");
  EXPECT_EQ(outcome.objected, 3u);
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_THAT(office.Texts("anna", later, PrivacyOfficer()), SizeIs(3));
  EXPECT_THAT(office.Texts("group", later, Officer()),
              ElementsAre("kept", "letter of bert in group"));
  const auto held = Must(office.store->rights().FindById(
      office.account.id, PlatformId("person-of-anna"), PrivacyOfficer(), later));
  ASSERT_THAT(held, SizeIs(1));
  EXPECT_EQ(held[0].contact.display_name.Reveal(), "Name of anna.example");
  ASSERT_TRUE(held[0].restriction);
  EXPECT_EQ(held[0].restriction->not_collected, 3u);
  EXPECT_EQ(held[0].restriction->last_attempt_at, later);
  EXPECT_EQ(held[0].restriction->expires_at, StartOf(DayAt("2026-06-25")))
      << "as long as what it kept out could have been kept";

  // Decided by erasing: what was held is gone, and nothing more comes.
  Must(office.store->erasure().ErasePerson(office.Anna(), PrivacyOfficer(), later));
  Must(office.store->erasure().RunOnce(later));
  office.store.Reopen();
  outcome = office.Serve(later + hours(1), {Incoming("anna", "a9", later + hours(1), "not kept")});
  EXPECT_EQ(outcome.objected, 1u);
  EXPECT_EQ(outcome.stored, 0u);
  EXPECT_EQ(Must(office.store->rights().Get(objection.id, later)).not_collected, 4u);
  // Three months of silence end it.
  const TimePoint end = StartOf(DayAt("2026-06-25"));
  Must(office.store->purge().RunOnce(end));
  EXPECT_THAT(office.store->rights().List(end), IsEmpty());
  EXPECT_EQ(office.Serve(end, {Incoming("anna", "a10", end, "kept again")}).stored, 1u);
}

TEST_P(StoreRights, AnObjectionOfSomebodyUnknownIsTakenAndMayBeLifted) {
  Office office(GetParam());
  const Restriction objection =
      Must(office.store->rights().Restrict({office.account.id, PlatformId("person-of-cora")},
                                           RestrictionKind::kObjection, PrivacyOfficer(), kNow));
  EXPECT_EQ(objection.expires_at, StartOf(kEnd));
  EXPECT_EQ(office.Serve(kNow, {Incoming("cora", "c1", kNow)}).objected, 1u);
  office.store.Reopen();
  EXPECT_EQ(office.Serve(kNow, {Incoming("cora", "c1", kNow)}).objected, 1u);
  EXPECT_THAT(Inbox(*office.store, kNow), SizeIs(3)) << "not even an empty conversation";
  Must(office.store->rights().Lift(objection.id, PrivacyOfficer(), kNow));
  EXPECT_EQ(office.Serve(kNow, {Incoming("cora", "c2", kNow)}).stored, 1u);
  EXPECT_THAT(office.Acts(), Contains("person.object"));
}

// --- finding

TEST_P(StoreRights, APersonIsFoundByWhatTheyGaveUs) {
  Office office(GetParam());
  office.Serve(kNow, {Incoming("cora", "c1", kNow)});
  // Somebody else with Anna's handle: both are shown.
  auto page = PageOf(office.account.id, {Incoming("double", "d1", kNow)});
  page.conversations = {Described("double", "Anna.Example")};
  Must(office.store->collection().Collect(page, kNow));
  auto& rights = office.store->rights();
  const AccountId account = office.account.id;
  const auto ids = [](const std::vector<HeldPerson>& held) {
    std::set<std::string> ids;
    for (const auto& person : held) ids.insert(person.person.id.Reveal());
    return ids;
  };

  const auto anna =
      Must(rights.FindById(account, PlatformId("person-of-anna"), PrivacyOfficer(), kNow));
  ASSERT_THAT(anna, SizeIs(1));
  EXPECT_EQ(anna[0].incoming, 3u);
  EXPECT_EQ(anna[0].outgoing, 1u);
  EXPECT_EQ(anna[0].oldest, kNow - hours(20));
  EXPECT_EQ(anna[0].newest, kNow);
  EXPECT_EQ(anna[0].ends_at, StartOf(kEnd));
  EXPECT_EQ(anna[0].contact.handle.Reveal(), "anna.example");
  EXPECT_FALSE(anna[0].restriction);
  std::map<std::string, std::uint64_t> messages;
  for (const auto& in : anna[0].conversations) {
    messages[in.conversation.ToString()] = in.messages;
    EXPECT_EQ(in.group, in.conversation == office.Find("group").id);
  }
  EXPECT_THAT(messages,
              ::testing::UnorderedElementsAre(std::pair(office.Find("anna").id.ToString(), 3u),
                                              std::pair(office.Find("group").id.ToString(), 1u)));

  EXPECT_EQ(ids(Must(rights.FindByHandle(account, ContactHandle("@ANNA.example"), PrivacyOfficer(),
                                         kNow))),
            (std::set<std::string>{"person-of-anna", "person-of-double"}));
  EXPECT_EQ(ids(Must(rights.FindIn(office.Find("group").id, PrivacyOfficer(), kNow))),
            (std::set<std::string>{"person-of-anna", "person-of-bert"}));
  const auto thread = Thread(*office.store, office.Find("anna").id, kNow);
  for (const Message& message : thread) {  // theirs, and ours to them
    EXPECT_EQ(ids(Must(rights.FindOf(message.id, PrivacyOfficer(), kNow))),
              (std::set<std::string>{"person-of-anna"}));
  }
  EXPECT_THAT(Must(rights.FindById(account, PlatformId("nobody"), PrivacyOfficer(), kNow)),
              IsEmpty());
  EXPECT_THAT(Must(rights.FindByHandle(account, ContactHandle("nobody"), PrivacyOfficer(), kNow)),
              IsEmpty());
  EXPECT_EQ(FailureOf(rights.FindIn(ConversationId::Random(), PrivacyOfficer(), kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(rights.FindOf(thread[0].id, PrivacyOfficer(), StartOf(kEnd))),
            ErrorCode::kExpired);
  EXPECT_THAT(
      Must(rights.FindById(account, PlatformId("person-of-anna"), PrivacyOfficer(), StartOf(kEnd))),
      IsEmpty())
      << "before any purge";
  EXPECT_THAT(office.Acts(), Contains("person.find"));
  office.store.engine().FailNextCommit(Fault::kRefused);
  EXPECT_FALSE(rights.FindById(account, PlatformId("person-of-anna"), PrivacyOfficer(), kNow))
      << "no look that is not recorded";
}

// Their slot is being replaced: what has not moved yet is counted all the same.
TEST_P(StoreRights, WhatSomebodyWroteIntoAGroupThatTheyLeftIsFound) {
  Office office(GetParam());
  store::CollectedPage page = PageOf(office.account.id, {});
  page.conversations.push_back({.id = PlatformId("group"),
                                .participants = {{.platform_id = PlatformId("person-of-bert")},
                                                 {.platform_id = PlatformId("person-of-carla")}},
                                .group = true});
  Must(office.store->collection().Collect(page, kNow));
  const auto anna = Must(office.store->rights().FindById(
      office.account.id, PlatformId("person-of-anna"), PrivacyOfficer(), kNow));
  ASSERT_THAT(anna, SizeIs(1));
  ASSERT_THAT(anna[0].conversations, SizeIs(2));
  std::uint64_t in_groups = 0;
  for (const auto& in : anna[0].conversations) in_groups += in.group ? in.messages : 0;
  EXPECT_EQ(in_groups, 1u);
}

TEST_P(StoreRights, APersonIsFoundWholeInTheMiddleOfARenewal) {
  Office office(GetParam());
  store::CollectedPage page = PageOf(office.account.id, {});
  page.withdrawals.push_back({PlatformId("anna"), PlatformId("a2")});
  Must(office.store->collection().Collect(page, kNow));
  office.store.engine().FailNextCommit(Fault::kRefused, 1);
  EXPECT_FALSE(office.store->erasure().RunOnce(kNow));
  office.store.engine().FailNoCommit();
  const auto anna = Must(office.store->rights().FindById(
      office.account.id, PlatformId("person-of-anna"), PrivacyOfficer(), kNow));
  ASSERT_THAT(anna, SizeIs(1));
  EXPECT_EQ(anna[0].incoming, 2u);
  EXPECT_EQ(anna[0].outgoing, 1u);
}

}  // namespace
}  // namespace mayfly::testing
