// Promise P2: the end of a date, interrupted anywhere, and what is left on disk.
#include <chrono>
#include <filesystem>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/keys/seal.h"
#include "store/schema.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using store::Family;
using store::PurgeStep;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");
const ExpiryDay kEnd = DayAt("2026-06-05");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

class StorePurge : public ::testing::TestWithParam<EngineKind> {
 protected:
  StorePurge() : store_(GetParam()), account_(Connect(*store_, kNow)) {}
  void Collect(std::vector<store::CollectedMessage> messages, TimePoint now = kNow) {
    Must(store_->collection().Collect(PageOf(account_.id, std::move(messages)), now));
  }

  TempStore store_;
  Account account_;
};
INSTANTIATE_TEST_SUITE_P(, StorePurge, ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb),
                         KindName);

TEST_P(StorePurge, ADateEndsAndLeavesItsReceipt) {
  Collect({Incoming("anna", "m1", kNow), Incoming("bert", "m2", kNow)});
  Collect({Incoming("anna", "m3", kNow + days(1))}, kNow + days(1));
  const auto inbox = Inbox(*store_, kNow);
  const MessageId gone = Thread(*store_, inbox.back().id, kNow).back().id;
  const TimePoint end = StartOf(kEnd);

  EXPECT_THAT(store_->purge().Due(end - milliseconds(1)), IsEmpty());
  EXPECT_THAT(store_->purge().Due(end), ElementsAre(kEnd));
  const auto preview = Must(store_->purge().DryRun(end));
  ASSERT_THAT(preview, SizeIs(1));
  EXPECT_EQ(preview[0].messages, 2u);
  EXPECT_GT(preview[0].bytes, 0u);
  EXPECT_EQ(store_->View(end).due_not_destroyed, std::vector{kEnd});
  EXPECT_EQ(store_->View(end).oldest_living, kEnd + days(1));

  const TimePoint late = end + minutes(7);
  const auto receipts = Must(store_->purge().RunOnce(late));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].day, kEnd);
  EXPECT_EQ(receipts[0].messages, 2u);
  EXPECT_GE(receipts[0].keys_destroyed_at, late);
  EXPECT_GE(receipts[0].late_ms, milliseconds(minutes(7)).count());
  EXPECT_THAT(store_->purge().Due(late), IsEmpty());
  EXPECT_THAT(Must(store_->purge().RunOnce(late)), IsEmpty());
  EXPECT_FALSE(store_.vault().HasDate(kEnd));
  EXPECT_THAT(store_.vault().DestroyedDates(), IsEmpty());
  EXPECT_THAT(store_->View(late).due_not_destroyed, IsEmpty());

  const auto look = LookAt(*store_, inbox.front().id, late);
  EXPECT_EQ(FailureOf(store_->conversations().GetMessage(look, gone, late)), ErrorCode::kExpired);
  const MessageId never{kEnd + days(30), gone.bytes};
  EXPECT_EQ(FailureOf(store_->conversations().GetMessage(look, never, late)), ErrorCode::kNotFound);
  EXPECT_THAT(Inbox(*store_, late), SizeIs(1));

  store_.Reopen();
  const auto kept = Must(store_->purge().Receipts(std::nullopt, 10));
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_EQ(kept[0].day, kEnd);
  EXPECT_GE(kept[0].finished_at, late);
  EXPECT_THAT(Must(store_->purge().Receipts(kEnd, 10)), IsEmpty());
  // Served once more, also by a clock that was set back, the messages stay away.
  const auto again = Must(store_->collection().Collect(
      PageOf(account_.id, {Incoming("anna", "m1", kNow)}), end - hours(1)));
  EXPECT_EQ(again.stored, 0u);
  EXPECT_EQ(again.past_horizon, 1u);
}

TEST_P(StorePurge, AnEndIsFinishedWhereverItWasInterrupted) {
  const TimePoint end = StartOf(kEnd);
  for (const PurgeStep step :
       {PurgeStep::kHidden, PurgeStep::kKeysDestroyed, PurgeStep::kFamilyDropped,
        PurgeStep::kReceiptWritten, PurgeStep::kKeyFileUnlinked}) {
    SCOPED_TRACE(store::ToString(step));
    TempStore store(GetParam());
    const Account account = Connect(*store, kNow);
    Must(store->collection().Collect(
        PageOf(account.id, {Incoming("anna", "m1", kNow), Incoming("anna", "m2", kNow)}), kNow));
    Must(store->collection().Collect(PageOf(account.id, {Incoming("bert", "m3", kNow + days(9))}),
                                     kNow + days(9)));
    const auto conversation = Inbox(*store, kNow).back();
    Must(store->outbox().Enqueue({.conversation = conversation.id,
                                  .after_message = *conversation.last_message,
                                  .text = MessageBody("unsent"),
                                  .idempotency_key = "k"},
                                 Officer(), kNow));
    store->purge().set_fail_point([&](PurgeStep reached, ExpiryDay) {
      if (reached == step) throw std::runtime_error("the process ends here");
    });
    EXPECT_THROW((void)store->purge().RunOnce(end), std::runtime_error);
    store.Reopen();
    EXPECT_THAT(Inbox(*store, end), SizeIs(1));
    Must(store->purge().RunOnce(end + minutes(1)));
    Must(store->purge().RunOnce(end + minutes(2)));

    EXPECT_FALSE(store.vault().HasDate(kEnd));
    EXPECT_THAT(store.vault().DestroyedDates(), IsEmpty());
    for (const auto& file : std::filesystem::directory_iterator(store.keys_dir())) {
      EXPECT_THAT(file.path().filename().string(),
                  ::testing::Not(::testing::HasSubstr("D20260605")));
    }
    for (const Family& family : store.engine().Families(Family::Kind::kDay)) {
      EXPECT_NE(family.day(), kEnd);
    }
    const auto receipts = Must(store->purge().Receipts(std::nullopt, 10));
    ASSERT_THAT(receipts, SizeIs(1));
    EXPECT_EQ(receipts[0].messages, 2u);
    EXPECT_EQ(receipts[0].replies_expired, 1u);
    EXPECT_EQ(Must(store->accounts().Get(account.id)).forgotten_until, kNow);
    int purged = 0;
    int failed = 0;
    for (const auto& entry : Must(store->audit().Read(0, 1'000))) {
      purged += entry.action == "date.purged";
      failed += entry.action == "reply.failed";
    }
    EXPECT_EQ(purged, 1);
    EXPECT_EQ(failed, 1);
    EXPECT_THAT(store.Rows(Family::Sys(), 'j'), IsEmpty());
  }
}

TEST_P(StorePurge, KeysGoEvenWhenNothingCanBeWritten) {
  Collect({Incoming("anna", "m1", kNow)});
  const TimePoint end = StartOf(kEnd);
  store_.engine().FailNextCommit(Fault::kRefused);
  EXPECT_FALSE(store_->purge().RunOnce(end)) << "the failure is told";
  EXPECT_FALSE(store_.vault().HasDate(kEnd));
  const auto receipts = Must(store_->purge().Receipts(std::nullopt, 10));
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].messages, 1u);
  EXPECT_EQ(Must(store_->accounts().Get(account_.id)).forgotten_until, kNow);
  Must(store_->purge().RunOnce(end));
}

TEST_P(StorePurge, SeveralOverdueDatesEndInOrder) {
  for (int i = 0; i < 5; ++i) {
    Collect({Incoming("anna", "m" + std::to_string(i), kNow + days(i))}, kNow + days(i));
  }
  store_.Reopen();
  const TimePoint end = StartOf(kEnd) + days(3);
  const auto receipts = Must(store_->purge().RunOnce(end));
  ASSERT_THAT(receipts, SizeIs(4));
  for (std::size_t i = 1; i < receipts.size(); ++i) EXPECT_LT(receipts[i - 1].day, receipts[i].day);
  EXPECT_THAT(Inbox(*store_, end), SizeIs(1));
}

TEST_P(StorePurge, ReceiptsAndAuditMonthsGoAfterTwelveMonths) {
  Collect({Incoming("anna", "m1", kNow)});
  Must(store_->purge().RunOnce(StartOf(kEnd)));
  Must(store_->purge().RunOnce(At("2027-03-31T23:59:59.999Z")));
  EXPECT_THAT(Must(store_->purge().Receipts(std::nullopt, 10)), SizeIs(1));
  EXPECT_THAT(store_.vault().Months(), ::testing::Contains(202603u));
  Must(store_->purge().RunOnce(At("2027-04-01T00:00:00.000Z")));
  EXPECT_THAT(store_.vault().Months(), ::testing::Not(::testing::Contains(202603u)));
  for (const auto& entry : Must(store_->audit().Read(0, 1'000))) {
    EXPECT_GE(entry.at, At("2026-04-01T00:00:00.000Z"));
  }
  Must(store_->purge().RunOnce(At("2027-06-05T00:00:00.000Z")));
  EXPECT_THAT(Must(store_->purge().Receipts(std::nullopt, 10)), IsEmpty());
  store_.Reopen();
  Must(store_->purge().RunOnce(At("2027-06-05T00:00:01.000Z")));
}

TEST_P(StorePurge, AFamilyWithoutKeysIsDroppedAtStart) {
  Collect({Incoming("anna", "m1", kNow), Incoming("bert", "m2", kNow - days(30))});
  Must(store_.vault().DestroyDate(kEnd));
  Must(store_.vault().UnlinkDate(kEnd));
  store_.Reopen();
  for (const Family& family : store_.engine().Families(Family::Kind::kDay)) {
    EXPECT_NE(family.day(), kEnd);
  }
  EXPECT_THAT(Inbox(*store_, kNow), SizeIs(1));
}

// --- bytes on a disk

TEST(StorePurgeOnDisk, NothingOfAPersonIsFoundBeforeOrAfter) {
  TempStore store(EngineKind::kRocksDb);
  const Account account = Connect(*store, kNow);
  const std::string text = "marker-text-Quetzalcoatlus-41";
  const std::string handle = "marker-handle-Archaeopteryx-42";
  const std::string name = "marker-name-Dimorphodon-43";
  const std::string conversation = "marker-conversation-Rhamphorhynchus-44";
  const std::string message = "marker-message-Pterodactylus-45";
  const std::string sender = "marker-sender-Anurognathus-46";
  const std::string answer = "marker-answer-Tapejara-47";
  auto incoming = Incoming(conversation, message, kNow, text);
  incoming.sender = PlatformId(sender);
  auto page = PageOf(account.id, {incoming});
  page.conversations[0].participants = {{.platform_id = PlatformId(sender),
                                         .handle = ContactHandle(handle),
                                         .display_name = ContactHandle(name)}};
  page.cursor = "marker-cursor-Nyctosaurus-48";
  Must(store->collection().Collect(page, kNow));
  const auto shown = Inbox(*store, kNow).front();
  const auto reply =
      Must(store->outbox().Enqueue({.conversation = shown.id,
                                    .after_message = *shown.last_message,
                                    .text = MessageBody(answer),
                                    .idempotency_key = "marker-key-Istiodactylus-49"},
                                   Officer(), kNow));
  Must(store->outbox().StartSending(reply.reply.id, kNow));
  Must(store->outbox().MarkSent(reply.reply.id, PlatformId("marker-sent-Germanodactylus-50"), kNow,
                                kNow));
  Must(store->FlushBeforeExpiry());
  const std::vector<std::string> markers = {text,
                                            handle,
                                            name,
                                            conversation,
                                            message,
                                            sender,
                                            answer,
                                            page.cursor,
                                            "marker-key-Istiodactylus-49",
                                            "marker-sent-Germanodactylus-50",
                                            "credential-of-the-account",
                                            "press.example"};
  EXPECT_THAT(FilesWith(store.dir(), markers), IsEmpty()) << "sealed, before the end";
  // The search itself finds what is there.
  EXPECT_THAT(FilesWith(store.dir(), {"D20260605"}), ::testing::Not(IsEmpty()));

  const std::string sealed = store.Rows(Family::Day(kEnd), 'm').front().second;
  const std::string sealed_part = sealed.substr(sealed.size() / 2, 16);
  EXPECT_THAT(FilesWith(store.store_dir(), {sealed_part}), ::testing::Not(IsEmpty()));
  Must(store->purge().RunOnce(StartOf(kEnd)));
  EXPECT_THAT(FilesWith(store.dir(), markers), IsEmpty()) << "after the end";
  EXPECT_THAT(FilesWith(store.dir(), {sealed_part}), IsEmpty()) << "even the sealed bytes are gone";
  store.Close();
  EXPECT_THAT(FilesWith(store.dir(), markers), IsEmpty()) << "after closing";
}

TEST(StorePurgeOnDisk, AnOldCopyDoesNotOpenWithTodaysKeys) {
  TempStore store(EngineKind::kRocksDb);
  const Account account = Connect(*store, kNow);
  Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", "m1", kNow)}), kNow));
  store.Close();
  const auto copy = store.dir() / "copy";
  std::filesystem::copy(store.store_dir(), copy, std::filesystem::copy_options::recursive);
  store.Open();
  // The head moves on to the next date; its old version is in the copy.
  Must(store->collection().Collect(PageOf(account.id, {Incoming("anna", "m2", kNow + days(1))}),
                                   kNow + days(1)));
  const auto open_all = [&](store::KeyVault& vault) {
    auto engine = Must(store::OpenRocksDbEngine({.dir = copy}));
    std::vector<std::optional<ErrorCode>> failures;
    for (const char kind : {'m', 'h', 'k', 'c', 'i'}) {
      int rows = 0;
      Must(engine->Scan(Family::Day(kEnd), {.prefix = store::schema::Key(kind)},
                        [&](std::string_view key, std::string_view sealed) {
                          ++rows;
                          const auto header = Must(store::PeekSealed(sealed));
                          const auto pair = vault.PairFor(kEnd, header.slot);
                          if (!pair) {
                            failures.push_back(pair.error().code);
                            return true;
                          }
                          const auto body = store::Unseal(*pair,
                                                          {.organisation = 1,
                                                           .family = "D20260605",
                                                           .column = kind,
                                                           .engine_key = key,
                                                           .expires_at = StartOf(kEnd)},
                                                          sealed);
                          failures.push_back(FailureOf(body));
                          return true;
                        }));
      EXPECT_EQ(rows, 1) << kind;
    }
    return failures;
  };
  EXPECT_THAT(open_all(store.vault()), ::testing::Each(::testing::Eq(std::nullopt)))
      << "while the date lives, the copy opens: the check below sees real records";
  const TimePoint end = StartOf(kEnd);
  store->purge().set_fail_point([&](PurgeStep step, ExpiryDay) {
    if (step != PurgeStep::kKeysDestroyed) return;
    EXPECT_THAT(open_all(store.vault()),
                ::testing::Each(::testing::Eq(std::optional(ErrorCode::kExpired))));
  });
  Must(store->purge().RunOnce(end));
  for (const auto& failure : open_all(store.vault())) EXPECT_NE(failure, std::nullopt);

  // A store that is restored from the copy revives nothing.
  store.Close();
  std::filesystem::remove_all(store.store_dir());
  std::filesystem::copy(copy, store.store_dir(), std::filesystem::copy_options::recursive);
  store.Open();
  EXPECT_THAT(Inbox(*store, kNow), IsEmpty());
  for (const Family& family : store.engine().Families(Family::Kind::kDay)) {
    EXPECT_NE(family.day(), kEnd);
  }
}

TEST(StorePurgeOnDisk, AnEndCostsTheSameHoweverManyMessages) {
  std::uint64_t commits[2] = {};
  for (const int count : {1, 300}) {
    TempStore store(EngineKind::kMemory);
    const Account account = Connect(*store, kNow);
    std::vector<store::CollectedMessage> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back(Incoming("c" + std::to_string(i % 20), std::to_string(i), kNow));
    }
    Must(store->collection().Collect(PageOf(account.id, messages), kNow));
    const std::uint64_t gets = store.engine().gets();
    const std::uint64_t before = store.engine().commits();
    EXPECT_EQ(Must(store->purge().RunOnce(StartOf(kEnd))).front().messages,
              static_cast<std::uint64_t>(count));
    commits[count == 1 ? 0 : 1] =
        (store.engine().commits() - before) * 1'000 + (store.engine().gets() - gets);
  }
  EXPECT_EQ(commits[0], commits[1]);
}

}  // namespace
}  // namespace mayfly::testing
