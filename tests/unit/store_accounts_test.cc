// Accounts, credentials, tokens, the audit log and the clock.
#include <chrono>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/keys/seal.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using store::Family;
using store::Tokens;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");

class StoreAccounts : public ::testing::Test {
 protected:
  std::vector<store::AuditEntry> Audit() { return Must(store_->audit().Read(0, 1'000)); }
  TempStore store_{EngineKind::kRocksDb};
};

TEST_F(StoreAccounts, AnAccountKeepsWhatItWasGiven) {
  const Account created = Connect(*store_, kNow, "P30D");
  EXPECT_EQ(created.id.ToString(), "acc_1");
  const Account second = Connect(*store_, kNow + seconds(1));
  EXPECT_EQ(second.id, AccountId{2});
  store_.Reopen();
  const Account account = Must(store_->accounts().Get(created.id));
  EXPECT_EQ(account.platform, "bluesky");
  EXPECT_EQ(account.label, "Press office");
  EXPECT_EQ(account.options.at("service"), "https://example.invalid");
  EXPECT_EQ(account.retention.days(), 30);
  EXPECT_EQ(account.created_at, kNow);
  EXPECT_EQ(account.state, AccountState::kOk);
  EXPECT_EQ(account.own_handle, "press.example");
  EXPECT_THAT(account.credential_fingerprint, SizeIs(8));
  EXPECT_EQ(Must(store_->accounts().RevealCredential(created.id)).Reveal(),
            "credential-of-the-account");
  EXPECT_THAT(Must(store_->accounts().List()), SizeIs(2));
  EXPECT_EQ(FailureOf(store_->accounts().Get(AccountId{3})), ErrorCode::kNotFound);
  EXPECT_EQ(Connect(*store_, kNow).id, AccountId{3});
}

TEST_F(StoreAccounts, RenamingMovesTheRevision) {
  const Account account = Connect(*store_, kNow);
  auto& accounts = store_->accounts();
  const Account renamed = Must(accounts.Rename(account.id, "Help desk", 1, Officer(), kNow));
  EXPECT_EQ(renamed.revision, 2u);
  EXPECT_EQ(FailureOf(accounts.Rename(account.id, "X", 1, Officer(), kNow)),
            ErrorCode::kPreconditionFailed);
  EXPECT_EQ(Must(accounts.Rename(account.id, "Help desk", 2, Officer(), kNow)).revision, 2u);
  EXPECT_EQ(FailureOf(accounts.Rename(AccountId{9}, "X", std::nullopt, Officer(), kNow)),
            ErrorCode::kNotFound);
}

TEST_F(StoreAccounts, AnUnchangedStateIsNotWrittenAgain) {
  const Account account = Connect(*store_, kNow);
  auto& accounts = store_->accounts();
  Must(accounts.SetState(account.id, {.state = AccountState::kOk, .last_success_at = kNow}, kNow));
  const std::uint64_t commits = store_.engine().commits();
  for (int i = 1; i < 60; ++i) {
    const TimePoint at = kNow + seconds(i);
    Must(accounts.SetState(account.id, {.state = AccountState::kOk, .last_success_at = at}, at));
    EXPECT_EQ(Must(accounts.Get(account.id)).last_success_at, at);
  }
  EXPECT_EQ(store_.engine().commits(), commits);
  const TimePoint at = kNow + seconds(61);
  Must(accounts.SetState(account.id, {.state = AccountState::kOk, .last_success_at = at}, at));
  EXPECT_EQ(store_.engine().commits(), commits + 1);
  Must(accounts.SetState(account.id, {.state = AccountState::kThrottled, .reason = "rate-limited"},
                         at));
  const Account throttled = Must(accounts.Get(account.id));
  EXPECT_EQ(throttled.state_since, at);
  EXPECT_EQ(throttled.revision, 1u);
  EXPECT_EQ(throttled.last_success_at, at);
}

TEST_F(StoreAccounts, ARetiredAccountHasNoCredential) {
  const Account account = Connect(*store_, kNow);
  auto& accounts = store_->accounts();
  Must(accounts.ReplaceCredential(account.id, Credential("rotated"), kNow));
  EXPECT_EQ(Must(accounts.RevealCredential(account.id)).Reveal(), "rotated");
  EXPECT_NE(Must(accounts.Get(account.id)).credential_fingerprint, account.credential_fingerprint);
  EXPECT_EQ(FailureOf(accounts.Retire(account.id, 7, Officer(), kNow)),
            ErrorCode::kPreconditionFailed);
  Must(accounts.Retire(account.id, 1, Officer(), kNow));
  Must(accounts.Retire(account.id, 1, Officer(), kNow));
  EXPECT_EQ(FailureOf(accounts.RevealCredential(account.id)), ErrorCode::kCredentialDead);
  EXPECT_EQ(FailureOf(accounts.ReplaceCredential(account.id, Credential("late"), kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(accounts.SetState(account.id, {.state = AccountState::kOk}, kNow)),
            ErrorCode::kNotFound);
  store_.Reopen();
  EXPECT_EQ(Must(store_->accounts().Get(account.id)).state, AccountState::kRetired);
  EXPECT_THAT(store_.Rows(Family::Sys(), 'c'), IsEmpty());
  EXPECT_EQ(FailureOf(store_->accounts().RevealCredential(account.id)), ErrorCode::kCredentialDead);
}

TEST_F(StoreAccounts, ADamagedAccountLeavesTheOthersAlone) {
  const Account first = Connect(*store_, kNow);
  const Account second = Connect(*store_, kNow);
  auto row = store_.Rows(Family::Sys(), 'a').front();
  row.second.back() = static_cast<char>(row.second.back() ^ 1);
  store::Batch batch;
  batch.Put(Family::Sys(), row.first, row.second);
  Must(store_.engine().Commit(batch, store::Durability::kSynced));
  store_.Reopen();
  EXPECT_EQ(FailureOf(store_->accounts().Get(first.id)), ErrorCode::kCorrupt);
  EXPECT_TRUE(store_->accounts().Get(second.id));
  EXPECT_THAT(Must(store_->accounts().List()), SizeIs(1));
  EXPECT_EQ(store_->damaged_records(), 1u);
}

// --- tokens

TEST_F(StoreAccounts, ATokenOpensUntilItEnds) {
  const auto created =
      Must(store_->tokens().Create(Role::kComms, "desk", days(30), Officer("cli:0"), kNow));
  EXPECT_THAT(created.info.id, ::testing::MatchesRegex("tok_[0-9a-f]{16}"));
  EXPECT_THAT(created.token.Reveal(), ::testing::MatchesRegex("mfy_[0-9A-Za-z]{49}"));
  EXPECT_TRUE(Tokens::LooksLikeToken(created.token.Reveal()));
  store_.Reopen();
  const auto info = Must(store_->tokens().Verify(created.token, kNow));
  EXPECT_EQ(info.id, created.info.id);
  EXPECT_EQ(info.role, Role::kComms);
  EXPECT_EQ(info.label, "desk");
  EXPECT_TRUE(store_->tokens().Verify(created.token, kNow + days(30) - milliseconds(1)));
  EXPECT_EQ(FailureOf(store_->tokens().Verify(created.token, kNow + days(30))),
            ErrorCode::kNotFound);
}

TEST_F(StoreAccounts, AWrongTokenOpensNothing) {
  const auto created =
      Must(store_->tokens().Create(Role::kComms, "desk", days(1), Officer("cli:0"), kNow));
  std::set<std::string> messages;
  const auto refused = [&](std::string text) {
    const auto verified = store_->tokens().Verify(AccessToken(std::move(text)), kNow);
    EXPECT_EQ(FailureOf(verified), ErrorCode::kNotFound);
    if (!verified) messages.insert(verified.error().message);
  };
  const std::string& text = created.token.Reveal();
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(Tokens::LooksLikeToken(changed)) << i;
    refused(changed);
  }
  refused("");
  refused(text + "A");
  refused(text.substr(0, text.size() - 1));
  // The right form, from another store.
  TempStore other(EngineKind::kMemory);
  const auto foreign =
      Must(other->tokens().Create(Role::kComms, "desk", days(1), Officer("cli:0"), kNow));
  EXPECT_TRUE(Tokens::LooksLikeToken(foreign.token.Reveal()));
  refused(foreign.token.Reveal());
  Must(store_->tokens().Revoke(created.info.id, Officer("cli:0"), kNow));
  refused(text);
  EXPECT_THAT(messages, SizeIs(1)) << "nobody can tell one refusal from another";
}

TEST_F(StoreAccounts, OnlyAHashOfTheTokenIsStored) {
  const auto created =
      Must(store_->tokens().Create(Role::kPrivacy, "officer", days(90), Officer("cli:0"), kNow));
  Must(store_->tokens().Verify(created.token, kNow));
  Must(store_->FlushBeforeExpiry());
  const std::string& text = created.token.Reveal();
  EXPECT_THAT(
      FilesWith(store_.dir(), {text, text.substr(4, 43), text.substr(4, 12), text.substr(20, 12)}),
      IsEmpty());
}

TEST_F(StoreAccounts, TokensAreListedAndRevoked) {
  auto& tokens = store_->tokens();
  EXPECT_EQ(FailureOf(tokens.Create(Role::kComms, "x", days(0), Officer(), kNow)),
            ErrorCode::kInvalidArgument);
  const auto too_long = tokens.Create(Role::kComms, "x", days(91), Officer(), kNow);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().field, "days");
  const auto first = Must(tokens.Create(Role::kComms, "one", days(1), Officer(), kNow));
  const auto second =
      Must(tokens.Create(Role::kAuditor, "two", days(2), Officer(), kNow + seconds(1)));
  auto listed = Must(tokens.List());
  ASSERT_THAT(listed, SizeIs(2));
  EXPECT_EQ(listed[0].label, "one");
  EXPECT_EQ(listed[1].role, Role::kAuditor);
  Must(tokens.Revoke(first.info.id, Officer(), kNow));
  EXPECT_EQ(FailureOf(tokens.Revoke(first.info.id, Officer(), kNow)), ErrorCode::kNotFound);
  EXPECT_THAT(Must(tokens.List()), SizeIs(1));
  EXPECT_TRUE(tokens.Verify(second.token, kNow));
}

// --- audit

TEST_F(StoreAccounts, TheFirstLookInFiveMinutesIsRecorded) {
  const ConversationId one = ConversationId::Random();
  const ConversationId two = ConversationId::Random();
  const auto looks = [&] { return Audit().size(); };
  EXPECT_EQ(looks(), 0u);
  Must(store_->audit().LookAtConversation(Officer(), one, kNow));
  Must(store_->audit().LookAtConversation(Officer(), one, kNow + minutes(5) - milliseconds(1)));
  EXPECT_EQ(looks(), 1u);
  Must(store_->audit().LookAtConversation(Officer(), one, kNow + minutes(5)));
  EXPECT_EQ(looks(), 2u) << "the five minutes run from the recorded look";
  Must(store_->audit().LookAtConversation(Officer("tok_other"), one, kNow));
  Must(store_->audit().LookAtConversation(Officer(), two, kNow));
  Must(store_->audit().LookAtInbox(Officer(), kNow));
  Must(store_->audit().LookAtInbox(Officer(), kNow));
  EXPECT_EQ(looks(), 5u);
  EXPECT_EQ(Audit()[0].action, "conversation.look");
  EXPECT_EQ(Audit()[0].object, one.ToString());
  EXPECT_EQ(Audit()[0].actor, "tok_officer");
  EXPECT_EQ(Audit()[0].request_id, "req_1");
  EXPECT_EQ(Audit()[4].action, "inbox.look");
}

TEST_F(StoreAccounts, AnUnrecordedLookIsNoLook) {
  store_.engine().FailNextCommit(Fault::kRefused);
  EXPECT_EQ(FailureOf(store_->audit().LookAtInbox(Officer(), kNow)), ErrorCode::kIo);
  EXPECT_THAT(Audit(), IsEmpty());
  Must(store_->audit().LookAtInbox(Officer(), kNow));
  EXPECT_THAT(Audit(), SizeIs(1)) << "the failed one does not cover the next";
}

TEST_F(StoreAccounts, TheAuditReadsOnAcrossMonthsWithoutGaps) {
  for (int i = 0; i < 10; ++i) {
    Must(store_->audit().LookAtConversation(Officer(), ConversationId::Random(),
                                            kNow + days(9 * i)));
  }
  store_.Reopen();
  Must(store_->audit().LookAtInbox(Officer(), kNow + days(100)));
  const auto all = Audit();
  ASSERT_THAT(all, SizeIs(11));
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].sequence, i + 1);
  const auto some = Must(store_->audit().Read(4, 3));
  ASSERT_THAT(some, SizeIs(3));
  EXPECT_EQ(some[0].sequence, 5u);
  EXPECT_THAT(store_.vault().Months(), ElementsAre(202603u, 202604u, 202605u, 202606u));
}

TEST_F(StoreAccounts, TheAuditHoldsNoContent) {
  const Account account = Connect(*store_, kNow);
  const std::vector<std::string> markers = {
      "marker-text",   "marker-conversation", "marker-message", "marker-person", "marker-handle",
      "marker-answer", "marker-sent",         "marker-key",     "marker-label"};
  auto message = Incoming("marker-conversation", "marker-message", kNow, "marker-text");
  message.sender = PlatformId("marker-person");
  auto page = PageOf(account.id, {message});
  page.conversations[0].participants[0] = {.platform_id = PlatformId("marker-person"),
                                           .handle = ContactHandle("marker-handle"),
                                           .display_name = ContactHandle("marker-handle")};
  Must(store_->collection().Collect(page, kNow));
  const auto shown = Inbox(*store_, kNow).front();
  Thread(*store_, shown.id, kNow);
  const auto reply = Must(store_->outbox().Enqueue({.conversation = shown.id,
                                                    .after_message = *shown.last_message,
                                                    .text = MessageBody("marker-answer"),
                                                    .idempotency_key = "marker-key"},
                                                   Officer(), kNow));
  Must(store_->outbox().StartSending(reply.reply.id, kNow));
  Must(store_->outbox().MarkSent(reply.reply.id, PlatformId("marker-sent"), kNow, kNow));
  Must(store_->conversations().Update(shown.id, {.unread = false}, std::nullopt, Officer(), kNow));
  Must(store_->accounts().Rename(account.id, "marker-label", std::nullopt, Officer(), kNow));
  Must(store_->purge().RunOnce(kNow + days(120)));
  Must(store_->accounts().Retire(account.id, std::nullopt, Officer(), kNow + days(120)));

  std::set<std::string> actions;
  for (const auto& entry : Audit()) {
    actions.insert(entry.action);
    for (const std::string& field :
         {entry.actor, entry.request_id, entry.action, entry.object, entry.outcome}) {
      for (const std::string& marker : markers) EXPECT_THAT(field, Not(HasSubstr(marker)));
    }
  }
  EXPECT_THAT(actions, ElementsAre("account.change", "account.connect", "account.disconnect",
                                   "conversation.change", "conversation.look", "date.purged",
                                   "inbox.look", "reply.queue", "reply.sent"));
  // The raw rows, opened with the month's key: every byte that was sealed.
  for (const Family& family : store_.engine().Families(Family::Kind::kAudit)) {
    const auto pair = Must(store_.vault().PairForMonth(family.number));
    for (const auto& [key, sealed] : store_.Rows(family, 'z')) {
      const std::string body = Must(store::Unseal(pair,
                                                  {.organisation = 1,
                                                   .family = family.Name(),
                                                   .column = 'z',
                                                   .engine_key = key,
                                                   .expires_at = TimePoint()},
                                                  sealed));
      for (const std::string& marker : markers) EXPECT_THAT(body, Not(HasSubstr(marker)));
    }
  }
}

TEST_F(StoreAccounts, AWordFromOutsideDoesNotReachTheAudit) {
  const Account account = Connect(*store_, kNow);
  Must(store_->collection().Collect(PageOf(account.id, {Incoming("anna", "m1", kNow)}), kNow));
  const auto shown = Inbox(*store_, kNow).front();
  const auto reply = Must(store_->outbox().Enqueue({.conversation = shown.id,
                                                    .after_message = *shown.last_message,
                                                    .text = MessageBody("answer"),
                                                    .idempotency_key = "k"},
                                                   Officer(), kNow));
  Must(store_->outbox().MarkFailed(reply.reply.id, "Anna blocked you!", "", kNow));
  EXPECT_EQ(Audit().back().outcome, "other");
}

// --- clock

TEST_F(StoreAccounts, CertainTimeIsKeptAndOnlyRises) {
  EXPECT_EQ(Must(store_->LoadClock()), std::nullopt);
  const store::ClockRecord record = {
      .certain = kNow, .boot_id = "boot-1", .since_boot = std::chrono::hours(7)};
  Must(store_->SaveClock(record));
  Must(store_->SaveClock({.certain = kNow - days(1), .boot_id = "boot-2", .since_boot = {}}));
  store_.Reopen();
  EXPECT_EQ(Must(store_->LoadClock()), record);
}

}  // namespace
}  // namespace mayfly::testing
