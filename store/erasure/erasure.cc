#include "store/erasure/erasure.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "store/core.h"
#include "store/erasure/date_rewriter.h"
#include "store/erasure/withdrawal_brake.h"
#include "store/thread_writer.h"

namespace mayfly::store {
namespace {

constexpr std::size_t kRowsAtOnce = 4'096;
constexpr std::size_t kBytesAtOnce = 4u << 20;  // pieces of attachments are large
constexpr std::size_t kHeadsAtOnce = 64;

const Actor& TheSystem() {
  static const Actor kSystem{.id = "system"};
  return kSystem;
}

std::uint32_t NumberOf(ExpiryDay day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

std::string RewritingKey(ExpiryDay day) { return schema::Key(schema::kRewriting, NumberOf(day)); }
std::string ErasureKey(const ErasureId& id) { return schema::Key(schema::kErasure, id.bytes); }

// What a receipt says happened when it happened, not when the pass began.
class Watch {
 public:
  explicit Watch(TimePoint now) : now_(now) {}
  TimePoint At() const {
    return now_ + std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::steady_clock::now() - begin_);
  }

 private:
  TimePoint now_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// The first of several errors; the others were tried all the same.
class FirstError {
 public:
  void Note(const Status& status) {
    if (status_ && !status) status_ = Fail(status.error());
  }
  bool any() const { return !status_; }
  Status Take() { return std::move(status_); }

 private:
  Status status_;
};

Result<std::vector<std::pair<std::string, std::string>>> SysRows(const Core& core, char kind) {
  std::vector<std::pair<std::string, std::string>> rows;
  MAYFLY_RETURN_IF_ERROR(core.engine().Scan(Family::Sys(), {.prefix = schema::Key(kind)},
                                            [&](std::string_view key, std::string_view value) {
                                              rows.emplace_back(key, value);
                                              return true;
                                            }));
  return rows;
}

// --- the row of an erasure: the day of its slot, then the record, sealed under that slot

SealContext ContextOf(const std::string& key, ExpiryDay day) {
  return {.organisation = schema::kOrganisation,
          .family = "sys",
          .column = schema::kErasure,
          .engine_key = key,
          .expires_at = StartOf(day)};
}

Status PutErasure(Transaction& transaction, const ErasureId& id, ExpiryDay day, Slot slot,
                  const codec::ErasureRecord& record) {
  const std::string key = ErasureKey(id);
  MAYFLY_ASSIGN_OR_RETURN(const Pair* const pair, transaction.pairs().For(day, slot));
  std::string body = codec::Encode(record);
  std::string sealed =
      Seal(*pair, ContextOf(key, day), {.slot = slot, .account = record.account}, body);
  WipeString(body);
  transaction.batch().Put(Family::Sys(), key, schema::U32(NumberOf(day)) + sealed);
  return {};
}

struct OpenErasure {
  ErasureId id;
  ExpiryDay day{};  // of its slot
  Slot slot;
  codec::ErasureRecord record;
};

// kExpired when the last date that it concerned has ended.
Result<OpenErasure> ReadErasure(const std::string& key, std::string_view value, Pairs& pairs) {
  OpenErasure erasure;
  const auto bytes = schema::Tail16(key, schema::kHeadBytes + 16);
  if (!bytes || value.size() < 4) return Fail(ErrorCode::kCorrupt, "An erasure's row is damaged.");
  erasure.id.bytes = *bytes;
  erasure.day = ExpiryDay(std::chrono::days(schema::ReadU32(value)));
  const std::string_view sealed = value.substr(4);
  MAYFLY_ASSIGN_OR_RETURN(const SealedHeader header, PeekSealed(sealed));
  erasure.slot = header.slot;
  MAYFLY_ASSIGN_OR_RETURN(const Pair* const pair, pairs.For(erasure.day, header.slot));
  MAYFLY_ASSIGN_OR_RETURN(std::string body, Unseal(*pair, ContextOf(key, erasure.day), sealed));
  auto record = codec::DecodeErasure(body);
  WipeString(body);
  if (!record) return Fail(std::move(record).error());
  erasure.record = *std::move(record);
  return erasure;
}

Result<OpenErasure> LoadErasure(const Core& core, const ErasureId& id, Pairs& pairs) {
  const std::string key = ErasureKey(id);
  MAYFLY_ASSIGN_OR_RETURN(const auto row, core.engine().Get(Family::Sys(), key));
  if (!row) return Fail(ErrorCode::kNotFound, "There is no such erasure under way.");
  return ReadErasure(key, *row, pairs);
}

std::set<ExpiryDay> DaysOf(const codec::ErasureRecord& record) {
  std::set<ExpiryDay> days;
  for (const auto& key : record.keys) days.insert(key.day);
  return days;
}

// Every date is tried, even if one of them fails.
Status DestroySlotsOf(Core& core, const codec::ErasureRecord& record) {
  std::map<ExpiryDay, std::vector<Slot>> by_day;
  for (const auto& key : record.keys) by_day[key.day].push_back(key.slot);
  FirstError error;
  const auto view = core.AwaitReaders();
  for (const auto& [day, slots] : by_day) error.Note(core.vault().DestroySlots(day, slots));
  core.ForgetRead();
  return error.Take();
}

// Marks the date as one to be written anew.
Status AskForRewriting(Transaction& transaction, ExpiryDay day) {
  const std::string key = RewritingKey(day);
  codec::RewritingRecord record;
  MAYFLY_ASSIGN_OR_RETURN(const auto row, transaction.core().engine().Get(Family::Sys(), key));
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(record, transaction.core().Checked(codec::DecodeRewriting(*row)));
    record.again = true;
  }
  transaction.batch().Put(Family::Sys(), key, codec::Encode(record));
  return {};
}

// --- what is held of somebody

struct Found {
  std::vector<codec::ErasureRecord::Key> keys;
  std::map<ConversationId, PlatformId> conversations;  // with that person alone
};

Status TakeSlot(Transaction& transaction, const Subject& subject, Found& held) {
  for (const ExpiryDay day : transaction.core().OpenDays()) {
    MAYFLY_ASSIGN_OR_RETURN(const auto slot, transaction.FindSlot(day, subject));
    if (!slot) continue;
    held.keys.push_back({day, *slot});
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, transaction.SubjectBlind(day, subject));
    // Who writes again gets another one.
    transaction.Remove(day, schema::Key(schema::kSubject, blind));
  }
  return {};
}

// Rows that a renewal has not moved yet are sealed under the slot before the one that is found.
Status AddUnmoved(Core& core, Found& held) {
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core, schema::kRenewal));
  for (std::size_t i = 0; i < held.keys.size(); ++i) {  // it grows: renewals follow each other
    for (const auto& [key, value] : rows) {
      const auto renewal = schema::ParseRenewalKey(key);
      const auto record = core.Checked(codec::DecodeRenewal(value));
      if (!renewal || !record || renewal->first != held.keys[i].day) continue;
      if (record->after == held.keys[i].slot)
        held.keys.push_back({renewal->first, renewal->second});
    }
  }
  return {};
}

Result<Found> HeldOfPerson(Transaction& transaction, AccountId account, const PlatformId& person) {
  Core& core = transaction.core();
  Found held;
  MAYFLY_RETURN_IF_ERROR(TakeSlot(transaction, Subject::Person(account, person), held));
  MAYFLY_RETURN_IF_ERROR(AddUnmoved(core, held));
  for (const auto& [day, slot] : held.keys) {
    const ExpiryDay at = day;
    const Slot theirs = slot;
    MAYFLY_RETURN_IF_ERROR(core.engine().Scan(
        Family::Day(at), {.prefix = schema::Key(schema::kHead)},
        [&](std::string_view key, std::string_view sealed) {
          const auto header = PeekSealed(sealed);
          if (!header || header->slot != theirs) return true;
          const auto row = core.OpenRow(at, schema::kHead, key, sealed, transaction.pairs());
          if (!row) return true;
          auto head = core.Checked(codec::DecodeHead(row->body));
          if (head) held.conversations.emplace(head->id, std::move(head->platform_id));
          return true;
        }));
  }
  // What was written before the platform had said with whom.
  for (const auto& [conversation, platform_id] : held.conversations) {
    MAYFLY_RETURN_IF_ERROR(TakeSlot(transaction, Subject::Pseudo(account, conversation), held));
  }
  MAYFLY_RETURN_IF_ERROR(AddUnmoved(core, held));
  std::sort(held.keys.begin(), held.keys.end(), [](const auto& a, const auto& b) {
    return std::pair(a.day, a.slot.number) < std::pair(b.day, b.slot.number);
  });
  held.keys.erase(
      std::unique(held.keys.begin(), held.keys.end(),
                  [](const auto& a, const auto& b) { return a.day == b.day && a.slot == b.slot; }),
      held.keys.end());
  return held;
}

Result<Found> HeldOfAccount(Transaction& transaction, AccountId account) {
  Core& core = transaction.core();
  Found held;
  for (const ExpiryDay day : core.OpenDays()) {
    MAYFLY_RETURN_IF_ERROR(
        core.engine().Scan(Family::Day(day), {.prefix = schema::Key(schema::kSubject)},
                           [&](std::string_view key, std::string_view sealed) {
                             const auto header = core.Checked(PeekSealed(sealed));
                             if (!header || header->account != account) return true;
                             held.keys.push_back({day, header->slot});
                             transaction.Remove(day, std::string(key));
                             return true;
                           }));
  }
  MAYFLY_RETURN_IF_ERROR(AddUnmoved(core, held));
  return held;
}

// Nothing of them that was born until now is stored again. Gone with the last date on which such a
// message could end, in whatever zone.
Status PutBlocks(Transaction& transaction, ExpiryDay last, AccountId account,
                 const PlatformId& person, const Found& held) {
  const auto put = [&](const std::string& input) -> Status {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                            transaction.core().BlindId(last, schema::kBlindBlock, input));
    transaction.Put(last, schema::Key(schema::kBlock, blind), codec::EncodeTime(transaction.now()));
    return {};
  };
  MAYFLY_RETURN_IF_ERROR(put(schema::PersonInput(account, person.Reveal())));
  for (const auto& [conversation, platform_id] : held.conversations) {
    MAYFLY_RETURN_IF_ERROR(put(schema::BlockInput(account, platform_id.Reveal())));
  }
  return {};
}

// There is nothing left to restrict. Of the whole account when `person` is empty.
Status EndRestrictions(Transaction& transaction, AccountId account, const PlatformId& person) {
  const Core& core = transaction.core();
  const auto theirs = core.RestrictionOf(account, person, transaction.now());
  for (const auto& entry : core.restrictions().All()) {
    if (entry.record.kind != RestrictionKind::kRestriction) continue;
    const bool ends =
        person.empty() ? entry.record.account == account : theirs && theirs->id == entry.id;
    if (ends) MAYFLY_RETURN_IF_ERROR(transaction.RemoveRestriction(entry.id));
  }
  return {};
}

Result<std::uint64_t> DropReplies(Transaction& transaction, AccountId account, bool all,
                                  const Found& held) {
  MAYFLY_ASSIGN_OR_RETURN(
      const auto pending,
      transaction.core().PendingReplies(std::nullopt, transaction.now(), transaction.pairs()));
  std::uint64_t dropped = 0;
  for (const StoredReply& stored : pending) {
    const Reply& reply = stored.reply;
    if (reply.account != account) continue;
    if (!all && !held.conversations.contains(reply.conversation)) continue;
    transaction.DropReply(reply.id, reply.conversation);
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "reply.failed", reply.id.ToString(), "erased"));
    ++dropped;
  }
  return dropped;
}

}  // namespace

const char* ToString(ErasureStep step) {
  switch (step) {
    case ErasureStep::kRequested:
      return "requested";
    case ErasureStep::kKeysDestroyed:
      return "keys-destroyed";
    case ErasureStep::kHeadsCleared:
      return "heads-cleared";
    case ErasureStep::kSuccessorComplete:
      return "successor-complete";
    case ErasureStep::kDateReplaced:
      return "date-replaced";
    case ErasureStep::kIndexDestroyed:
      return "index-destroyed";
    case ErasureStep::kOldDateDropped:
      return "old-date-dropped";
    case ErasureStep::kSlotMoved:
      return "slot-moved";
    case ErasureStep::kSlotDestroyed:
      return "slot-destroyed";
    case ErasureStep::kErased:
      return "erased";
    case ErasureStep::kLogsReleased:
      return "logs-released";
    case ErasureStep::kReceiptWritten:
      return "receipt-written";
  }
  return "unknown";
}

const char* ToString(DestructionKind kind) {
  switch (kind) {
    case DestructionKind::kMessages:
      return "messages";
    case DestructionKind::kPerson:
      return "person";
    case DestructionKind::kAccount:
      return "account";
  }
  return "unknown";
}

// --- who

Result<Erasure::Person> Erasure::PersonOf(ConversationId conversation, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(conversation, now, pairs));
  if (head == nullptr) return Fail(ErrorCode::kNotFound, "There is no such conversation.");
  if (head->record.group || head->record.participants.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "This is not a conversation with one person; name one of their messages.");
  }
  return Person{head->record.account, head->record.participants.front()};
}

Result<Erasure::Person> Erasure::PersonOf(const MessageId& message, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const StoredMessage stored, core_.FindMessage(message, now, pairs));
  if (stored.record.withdrawn) return Fail(ErrorCode::kNotFound, "There is no such message.");
  if (stored.header.direction != Direction::kIncoming || stored.record.sender.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "This message was not sent by a person.");
  }
  return Person{stored.header.account, stored.record.sender};
}

// --- beginning

Result<ErasureId> Erasure::ErasePerson(const Person& person, const Actor& actor, TimePoint now) {
  if (person.id.empty()) return Fail(ErrorCode::kInvalidArgument, "Nobody is named.");
  return Begin(person.account, person.id, actor, now);
}

Result<ErasureId> Erasure::EraseAccount(AccountId account, const Actor& actor, TimePoint now) {
  return Begin(account, PlatformId(), actor, now);
}

Result<ErasureId> Erasure::Begin(AccountId account, const PlatformId& person, const Actor& actor,
                                 TimePoint now) {
  const bool all = person.empty();
  const ErasureId id = ErasureId::Random();
  codec::ErasureRecord record{.account = account, .person = person, .requested_at = now};
  const auto request = [&]() -> Status {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    auto known = core_.GetAccount(account);
    if (!known) return Fail(std::move(known).error());
    MAYFLY_ASSIGN_OR_RETURN(const Found held, all ? HeldOfAccount(transaction, account)
                                                  : HeldOfPerson(transaction, account, person));
    record.keys = held.keys;
    if (record.keys.empty()) return Fail(ErrorCode::kNotFound, "Nothing is held.");
    MAYFLY_ASSIGN_OR_RETURN(record.replies, DropReplies(transaction, account, all, held));
    MAYFLY_RETURN_IF_ERROR(EndRestrictions(transaction, account, person));
    const ExpiryDay last = ExpiryDayOf(now, RetentionRule{});
    MAYFLY_RETURN_IF_ERROR(core_.EnsureDay(last));
    if (all) {
      transaction.RaiseForgottenUntil(account, now);
      transaction.Note(ChangeKind::kAccountState, account.ToString());
    } else {
      MAYFLY_RETURN_IF_ERROR(PutBlocks(transaction, last, account, person, held));
    }
    for (const auto& [conversation, platform_id] : held.conversations) {
      transaction.Note(ChangeKind::kConversationUpdated, conversation.ToString());
    }
    for (const ExpiryDay day : DaysOf(record)) {
      MAYFLY_RETURN_IF_ERROR(AskForRewriting(transaction, day));
    }
    MAYFLY_ASSIGN_OR_RETURN(const Slot slot, core_.vault().TakeSlot(last));
    MAYFLY_RETURN_IF_ERROR(PutErasure(transaction, id, last, slot, record));
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(actor, all ? "account.erase" : "person.erase", id.ToString(), "ok"));
    if (!all) core_.NoteBlocks(last);  // before it counts, so that a lost answer does no harm
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    core_.ForgetRead();
    return {};
  };
  const Status requested = request();
  if (record.keys.empty()) return Fail(requested.error());
  if (!requested) {
    // A full disk does not keep keys from being destroyed. What is left to do is told by the error.
    const Transaction alone(core_, now);
    (void)DestroySlotsOf(core_, record);
    return Fail(requested.error());
  }
  Reached(ErasureStep::kRequested);
  MAYFLY_RETURN_IF_ERROR(DestroyKeys(id, now));
  return id;
}

Status Erasure::DestroyMessage(const MessageId& message, const Actor& actor, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const StoredMessage stored,
                          core_.FindMessage(message, now, transaction.pairs()));
  if (core_.IsWithheld(actor, stored, now, transaction.pairs())) {
    return Fail(ErrorCode::kRestricted, "Its person had it restricted.");
  }
  MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(stored.header.account));
  ThreadWriter writer(transaction, account);
  MAYFLY_ASSIGN_OR_RETURN(const bool destroyed,
                          writer.Withdraw(message, Transaction::Reason::kDestroyed));
  if (!destroyed) return Fail(ErrorCode::kNotFound, "There is no such message.");
  MAYFLY_RETURN_IF_ERROR(writer.Flush());
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "message.destroy", message.ToString(), "ok"));
  return transaction.Commit();
}

// --- what is held

Result<Erasure::Held> Erasure::HeldOf(AccountId account) const {
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  Held held;
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kHeld));
  for (const auto& [key, value] : rows) {
    const auto record = core_.Checked(codec::DecodeHeld(value));
    if (!record || record->account != account) continue;
    ++held.messages;
    if (!held.since || record->since < *held.since) held.since = record->since;
  }
  return held;
}

// Of what is held for the account, that which came at `until` or before.
Result<std::size_t> Erasure::Decide(AccountId account, bool destroy, const Actor* actor,
                                    std::optional<TimePoint> until, TimePoint now) {
  MAYFLY_ASSIGN_OR_RETURN(const Account known, core_.GetAccount(account));
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kHeld));
  std::vector<MessageId> messages;
  for (const auto& [key, value] : rows) {
    const auto record = core_.Checked(codec::DecodeHeld(value));
    const auto parsed = schema::ParseHeldKey(key);
    if (!record || !parsed || record->account != account) continue;
    if (!until || record->since <= *until) messages.push_back({parsed->first, parsed->second});
  }
  std::size_t decided = 0;
  for (std::size_t at = 0; at < messages.size() || at == 0; at += kHeadsAtOnce) {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    ThreadWriter writer(transaction, known);
    for (std::size_t i = at; i < std::min(messages.size(), at + kHeadsAtOnce); ++i) {
      if (!core_.IsUsable(messages[i].day, now)) continue;  // it went with its date
      MAYFLY_ASSIGN_OR_RETURN(
          const bool done, destroy ? writer.DestroyHeld(messages[i]) : writer.Restore(messages[i]));
      decided += done;
    }
    MAYFLY_RETURN_IF_ERROR(writer.Flush());
    if (actor != nullptr && at == 0) {
      MAYFLY_RETURN_IF_ERROR(
          transaction.Audit(*actor, destroy ? "withdrawals.destroy" : "withdrawals.restore",
                            account.ToString(), "ok"));
    }
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  return decided;
}

Result<std::size_t> Erasure::DestroyHeld(AccountId account, const Actor& actor, TimePoint now) {
  return Decide(account, true, &actor, std::nullopt, now);
}

Result<std::size_t> Erasure::RestoreHeld(AccountId account, const Actor& actor, TimePoint now) {
  return Decide(account, false, &actor, std::nullopt, now);
}

Status Erasure::DestroyOverdue(TimePoint now) {
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kHeld));
  std::set<AccountId> accounts;
  for (const auto& [key, value] : rows) {
    const auto record = core_.Checked(codec::DecodeHeld(value));
    const auto parsed = schema::ParseHeldKey(key);
    if (!record || !parsed) continue;
    if (!core_.IsUsable(parsed->first, now) && !core_.vault().HasDate(parsed->first)) {
      Transaction transaction(core_, now);
      MAYFLY_RETURN_IF_ERROR(transaction.Begin());
      transaction.batch().Remove(Family::Sys(), key);
      MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    } else if (record->since + kWithdrawalsHeld <= now) {
      accounts.insert(record->account);
    }
  }
  FirstError error;
  for (const AccountId account : accounts) {
    auto done = Decide(account, true, nullptr, now - kWithdrawalsHeld, now);
    if (!done) error.Note(Fail(std::move(done).error()));
  }
  return error.Take();
}

// --- persons

// Again if it was done before: a slot that is gone is success.
Status Erasure::DestroyKeys(const ErasureId& id, TimePoint now) {
  const Watch watch(now);
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(OpenErasure erasure, LoadErasure(core_, id, transaction.pairs()));
  if (erasure.record.keys_destroyed_at) return {};
  MAYFLY_RETURN_IF_ERROR(DestroySlotsOf(core_, erasure.record));
  erasure.record.keys_destroyed_at = watch.At();
  Reached(ErasureStep::kKeysDestroyed);
  MAYFLY_RETURN_IF_ERROR(PutErasure(transaction, id, erasure.day, erasure.slot, erasure.record));
  return transaction.Commit();
}

// Heads of groups that name the person, or end with a message of theirs.
Status Erasure::ClearHeads(const ErasureId& id, TimePoint now) {
  codec::ErasureRecord record;
  std::vector<ConversationId> heads;
  {
    ReaderPairs pairs(core_);
    MAYFLY_ASSIGN_OR_RETURN(OpenErasure erasure, LoadErasure(core_, id, pairs));
    record = std::move(erasure.record);
    if (record.heads_cleared) return {};
    const std::vector<ExpiryDay> days =
        record.person.empty() ? std::vector<ExpiryDay>() : core_.VisibleDays(now);
    for (const ExpiryDay day : days) {
      MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
          Family::Day(day), {.prefix = schema::Key(schema::kHead)},
          [&](std::string_view key, std::string_view sealed) {
            const auto row = core_.OpenRow(day, schema::kHead, key, sealed, pairs);
            if (!row || row->header.account != record.account) return true;
            const auto head = codec::DecodeHead(row->body);
            if (!head || !head->group) return true;
            const auto& people = head->participants;
            bool concerned = std::find(people.begin(), people.end(), record.person) != people.end();
            if (!concerned && head->last_message) {
              const auto last = core_.FindMessage(*head->last_message, now, pairs);
              concerned = !last && last.error().code == ErrorCode::kNotFound;
            }
            if (concerned) heads.push_back(head->id);
            return true;
          }));
    }
  }
  for (std::size_t at = 0; at < heads.size(); at += kHeadsAtOnce) {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(record.account));
    ThreadWriter writer(transaction, account);
    for (std::size_t i = at; i < std::min(heads.size(), at + kHeadsAtOnce); ++i) {
      MAYFLY_ASSIGN_OR_RETURN(ThreadWriter::Thread* const thread, writer.FindById(heads[i]));
      if (thread == nullptr) continue;
      std::erase(thread->head.participants, record.person);
      thread->reread = true;
      thread->changed = true;
    }
    MAYFLY_RETURN_IF_ERROR(writer.Flush());
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(OpenErasure erasure, LoadErasure(core_, id, transaction.pairs()));
  erasure.record.heads_cleared = true;
  MAYFLY_RETURN_IF_ERROR(PutErasure(transaction, id, erasure.day, erasure.slot, erasure.record));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  Reached(ErasureStep::kHeadsCleared);
  return {};
}

// --- dates

Status Erasure::RewriteDate(ExpiryDay day, TimePoint now) {
  const Family twin = Family::Twin(day);
  const std::string key = RewritingKey(day);
  const auto read = [&]() -> Result<codec::RewritingRecord> {
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), key));
    if (!row) return Fail(ErrorCode::kInternal, "a date that was to be rewritten is not any more");
    return core_.Checked(codec::DecodeRewriting(*row));
  };
  MAYFLY_ASSIGN_OR_RETURN(const codec::RewritingRecord before, read());
  MAYFLY_ASSIGN_OR_RETURN(const Slot present, core_.IndexOf(day));
  // Its successor took over before a kill.
  if (before.index == present) return FinishRewriting(day, now);

  auto dropped = core_.engine().DropFamily(twin);
  if (!dropped) return Fail(std::move(dropped).error());
  MAYFLY_RETURN_IF_ERROR(core_.engine().OpenFamily(twin));
  {
    const Transaction alone(core_, now);
    core_.Track(day);
  }
  DateRewriter rewriter(core_, day);
  const auto replace = [&]() -> Status {
    MAYFLY_RETURN_IF_ERROR(rewriter.Prepare());
    MAYFLY_RETURN_IF_ERROR(rewriter.CopyAll());
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    if (!core_.IsUsable(day, now)) return Fail(ErrorCode::kExpired, "The date has ended.");
    MAYFLY_RETURN_IF_ERROR(rewriter.CatchUp(core_.TakeTracked()));
    MAYFLY_ASSIGN_OR_RETURN(const codec::RewritingRecord asked, read());
    codec::RewritingRecord outcome = rewriter.Outcome();
    outcome.again = asked.again;
    transaction.batch().Put(Family::Sys(), key, codec::Encode(outcome));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    Reached(ErasureStep::kSuccessorComplete);
    const auto view = core_.AwaitReaders();
    MAYFLY_RETURN_IF_ERROR(core_.engine().SwapTwin(day));
    core_.ReplaceIndex(day, rewriter.index());
    core_.ForgetStats(day);
    core_.young_words().BeginAnew(day);
    return {};
  };
  const Status replaced = replace();
  if (!replaced) {
    const Transaction alone(core_, now);
    (void)core_.TakeTracked();
    return replaced;
  }
  Reached(ErasureStep::kDateReplaced);
  return FinishRewriting(day, now);
}

Status Erasure::FinishRewriting(ExpiryDay day, TimePoint now) {
  const std::string key = RewritingKey(day);
  MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), key));
  if (!row) return {};
  MAYFLY_ASSIGN_OR_RETURN(codec::RewritingRecord record,
                          core_.Checked(codec::DecodeRewriting(*row)));
  MAYFLY_RETURN_IF_ERROR(core_.vault().DestroySlots(day, record.doomed));
  Reached(ErasureStep::kIndexDestroyed);
  auto dropped = core_.engine().DropFamily(Family::Twin(day));
  if (!dropped) return Fail(std::move(dropped).error());
  Reached(ErasureStep::kOldDateDropped);

  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const auto erasures, SysRows(core_, schema::kErasure));
  for (const auto& [erasure_key, value] : erasures) {
    auto erasure = ReadErasure(erasure_key, value, transaction.pairs());
    if (!erasure) continue;  // told where it is worked on
    bool changed = false;
    for (const auto& gone : record.dropped) {
      const auto& keys = erasure->record.keys;
      const codec::ErasureRecord::Key one{day, gone.slot};
      if (std::find(keys.begin(), keys.end(), one) == keys.end()) continue;
      erasure->record.messages += gone.messages;
      erasure->record.replies += gone.replies;
      changed = true;
    }
    if (!changed) continue;
    MAYFLY_RETURN_IF_ERROR(
        PutErasure(transaction, erasure->id, erasure->day, erasure->slot, erasure->record));
  }
  // Read again: another erasure may have asked for more meanwhile.
  MAYFLY_ASSIGN_OR_RETURN(const auto latest, core_.engine().Get(Family::Sys(), key));
  if (latest) {
    MAYFLY_ASSIGN_OR_RETURN(record, core_.Checked(codec::DecodeRewriting(*latest)));
  }
  if (record.again) {
    transaction.batch().Put(Family::Sys(), key, codec::Encode(codec::RewritingRecord()));
  } else {
    transaction.batch().Remove(Family::Sys(), key);
  }
  return transaction.Commit();
}

Status Erasure::RewriteDates(TimePoint now) {
  FirstError error;
  // What was asked for once more is done at once.
  for (int pass = 0; pass < 3; ++pass) {
    MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kRewriting));
    if (rows.empty() || error.any()) break;
    for (const auto& [key, value] : rows) {
      const ExpiryDay day(
          std::chrono::days(schema::ReadU32(std::string_view(key).substr(schema::kHeadBytes))));
      if (core_.IsUsable(day, now)) {
        error.Note(RewriteDate(day, now));
        continue;
      }
      // The date has ended, and everything with it; or its key file does not open.
      if (core_.vault().HasDate(day)) continue;
      Transaction transaction(core_, now);
      MAYFLY_RETURN_IF_ERROR(transaction.Begin());
      transaction.batch().Remove(Family::Sys(), key);
      error.Note(transaction.Commit());
    }
  }
  return error.Take();
}

// --- slots

// Gives the next rows that `from` seals their new slot. True when there may be more.
Result<bool> Erasure::MoveRows(ExpiryDay day, Slot from, Slot to, std::string& position,
                               TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  ScanOptions options{.limit = kRowsAtOnce};
  if (!position.empty()) options.after = position;
  std::vector<std::pair<std::string, std::string>> rows;
  std::size_t seen = 0;
  std::size_t bytes = 0;
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
      Family::Day(day), options, [&](std::string_view key, std::string_view value) {
        ++seen;
        position = key;
        if (key.size() < schema::kHeadBytes || schema::IsPlain(schema::KindOf(key))) return true;
        const auto header = PeekSealed(value);
        if (!header || header->slot != from) return true;
        rows.emplace_back(key, value);
        bytes += value.size();
        return bytes < kBytesAtOnce;
      }));
  for (auto& [key, value] : rows) {
    auto sealed = core_.Checked(core_.ResealRow(day, key[schema::kHeadBytes - 1], key, value, key,
                                                to, transaction.pairs()));
    if (sealed) {
      transaction.Put(day, std::move(key), *std::move(sealed));
    } else if (sealed.error().code == ErrorCode::kCorrupt) {
      transaction.Remove(day, std::move(key));  // nobody can read it; counted
    } else if (sealed.error().code == ErrorCode::kExpired && core_.IsUsable(day, now)) {
      break;  // an erasure has destroyed what it was sealed with, and takes it away
    } else {
      return Fail(std::move(sealed).error());
    }
  }
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return seen == kRowsAtOnce || bytes >= kBytesAtOnce;
}

Status Erasure::MoveSlot(ExpiryDay day, Slot slot, TimePoint now) {
  Slot to;
  {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    const std::string key = schema::RenewalKey(day, slot);
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), key));
    if (!row) return {};
    MAYFLY_ASSIGN_OR_RETURN(codec::RenewalRecord record, core_.Checked(codec::DecodeRenewal(*row)));
    // An erasure may have destroyed it since, or a rewriting of the date the one that it had.
    if (core_.IsDestroyed(day, slot)) return {};
    if (record.after && core_.IsDestroyed(day, *record.after)) record.after.reset();
    if (!record.after) {
      MAYFLY_ASSIGN_OR_RETURN(record.after, core_.vault().TakeSlot(day));
      std::optional<std::string> input;
      MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
          Family::Day(day), {.prefix = schema::Key(schema::kSubject)},
          [&](std::string_view subject_key, std::string_view sealed) {
            const auto header = PeekSealed(sealed);
            if (!header || header->slot != slot) return true;
            auto opened =
                core_.OpenRow(day, schema::kSubject, subject_key, sealed, transaction.pairs());
            if (opened) input = std::move(opened->body);
            return !opened;
          }));
      // What is sealed for them from here on has the new slot.
      if (input) {
        const Status put = transaction.PutSubject(day, *input, *record.after);
        WipeString(*input);
        MAYFLY_RETURN_IF_ERROR(put);
      }
      transaction.batch().Put(Family::Sys(), key, codec::Encode(record));
      MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    }
    to = *record.after;
  }
  std::string position;
  for (bool more = true; more;) {
    MAYFLY_ASSIGN_OR_RETURN(more, MoveRows(day, slot, to, position, now));
  }
  Reached(ErasureStep::kSlotMoved);
  {
    const Transaction alone(core_, now);
    const auto view = core_.AwaitReaders();
    MAYFLY_RETURN_IF_ERROR(core_.vault().DestroySlots(day, {slot}));
  }
  Reached(ErasureStep::kSlotDestroyed);
  return {};
}

Status Erasure::WriteRenewalReceipts(
    const std::vector<std::pair<ExpiryDay, Slot>>& done,
    const std::map<std::pair<std::int64_t, std::uint32_t>, TimePoint>& at, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  for (const auto& [day, slot] : done) {
    const std::string key = schema::RenewalKey(day, slot);
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), key));
    if (!row) continue;
    MAYFLY_ASSIGN_OR_RETURN(const auto record, core_.Checked(codec::DecodeRenewal(*row)));
    DestructionReceipt receipt{.id = ErasureId::Random(),
                               .kind = DestructionKind::kMessages,
                               .requested_at = record.since,
                               .finished_at = now,
                               .dates = 1,
                               .keys = 1,
                               .messages = record.withdrawn + record.destroyed,
                               .edited = record.edited};
    receipt.keys_destroyed_at = at.at({day.time_since_epoch().count(), slot.number});
    transaction.batch().Put(Family::Sys(), schema::DestructionKey(now, receipt.id.bytes),
                            codec::Encode(receipt));
    transaction.batch().Remove(Family::Sys(), key);
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "messages.destroyed", receipt.id.ToString(), "ok"));
  }
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  Reached(ErasureStep::kReceiptWritten);
  return {};
}

Status Erasure::RenewSlots(TimePoint now) {
  const Watch watch(now);
  FirstError error;
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kRenewal));
  std::map<ExpiryDay, std::vector<Slot>> moved;
  std::map<std::pair<std::int64_t, std::uint32_t>, TimePoint> destroyed_at;
  for (const auto& [key, value] : rows) {
    const auto renewal = schema::ParseRenewalKey(key);
    if (!renewal) {
      core_.CountDamage();
      continue;
    }
    const auto& [day, slot] = *renewal;
    if (!core_.IsUsable(day, now)) {
      if (core_.vault().HasDate(day)) continue;
      Transaction transaction(core_, now);  // it went with its date
      MAYFLY_RETURN_IF_ERROR(transaction.Begin());
      transaction.batch().Remove(Family::Sys(), key);
      error.Note(transaction.Commit());
      continue;
    }
    const Status status = MoveSlot(day, slot, now);
    error.Note(status);
    if (!status) continue;
    moved[day].push_back(slot);
    destroyed_at[{day.time_since_epoch().count(), slot.number}] = watch.At();
  }
  std::vector<std::pair<ExpiryDay, Slot>> done;
  for (const auto& [day, slots] : moved) {
    const Status erased = core_.engine().Erase(Family::Day(day));
    error.Note(erased);
    if (!erased) continue;
    Reached(ErasureStep::kErased);
    for (const Slot slot : slots) done.emplace_back(day, slot);
  }
  if (!done.empty()) {
    const Status dropped = core_.checkpoint().Drop();
    const Status released = dropped ? core_.engine().ReleaseLogs() : dropped;
    error.Note(released);
    if (released) {
      Reached(ErasureStep::kLogsReleased);
      error.Note(WriteRenewalReceipts(done, destroyed_at, watch.At()));
    }
  }
  return error.Take();
}

// --- the end

Status Erasure::FinishErasures(TimePoint now) {
  const Watch watch(now);
  FirstError error;
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kErasure));
  std::vector<OpenErasure> done;
  for (const auto& [key, value] : rows) {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    auto erasure = ReadErasure(key, value, transaction.pairs());
    if (!erasure) {
      if (erasure.error().code == ErrorCode::kExpired) {  // all of it went with its dates
        transaction.batch().Remove(Family::Sys(), key);
        error.Note(transaction.Commit());
      } else {
        error.Note(Fail(erasure.error()));
      }
      continue;
    }
    bool waits = !erasure->record.keys_destroyed_at || !erasure->record.heads_cleared;
    for (const ExpiryDay day : DaysOf(erasure->record)) {
      MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), RewritingKey(day)));
      waits = waits || row.has_value();
    }
    if (!waits) done.push_back(*std::move(erasure));
  }
  if (done.empty()) return error.Take();
  // A checkpoint that is being copied would keep their bytes.
  MAYFLY_RETURN_IF_ERROR(core_.checkpoint().Drop());
  MAYFLY_RETURN_IF_ERROR(core_.engine().ReleaseLogs());
  Reached(ErasureStep::kLogsReleased);
  for (const OpenErasure& erasure : done) {
    const codec::ErasureRecord& record = erasure.record;
    const DestructionReceipt receipt{
        .id = erasure.id,
        .kind = record.person.empty() ? DestructionKind::kAccount : DestructionKind::kPerson,
        .requested_at = record.requested_at,
        .keys_destroyed_at = record.keys_destroyed_at.value_or(now),
        .finished_at = watch.At(),
        .dates = DaysOf(record).size(),
        .keys = record.keys.size(),
        .messages = record.messages,
        .replies = record.replies};
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    transaction.batch().Put(Family::Sys(),
                            schema::DestructionKey(receipt.finished_at, receipt.id.bytes),
                            codec::Encode(receipt));
    transaction.batch().Remove(Family::Sys(), ErasureKey(erasure.id));
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), record.person.empty() ? "account.erased" : "person.erased",
                          receipt.id.ToString(), "ok"));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    Reached(ErasureStep::kReceiptWritten);
    // Old copies of its row told whom it was about.
    error.Note(core_.vault().DestroySlots(erasure.day, {erasure.slot}));
  }
  return error.Take();
}

Status Erasure::RunOnce(TimePoint now) {
  const std::lock_guard lock(running_);
  FirstError error;
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kErasure));
  for (const auto& [key, value] : rows) {
    const auto bytes = schema::Tail16(key, schema::kHeadBytes + 16);
    if (!bytes) {
      core_.CountDamage();
      continue;
    }
    const auto note = [&](const Status& status) {
      // With its last date; FinishErasures takes it away.
      if (!status && status.error().code != ErrorCode::kExpired) error.Note(status);
    };
    const Status destroyed = DestroyKeys({*bytes}, now);
    note(destroyed);
    if (destroyed) note(ClearHeads({*bytes}, now));
  }
  error.Note(DestroyOverdue(now));
  error.Note(RewriteDates(now));
  error.Note(RenewSlots(now));
  error.Note(FinishErasures(now));
  return error.Take();
}

Result<std::size_t> Erasure::Unfinished() const {
  std::size_t unfinished = 0;
  for (const char kind : {schema::kErasure, schema::kRewriting, schema::kRenewal}) {
    MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, kind));
    unfinished += rows.size();
  }
  return unfinished;
}

// --- receipts

Result<Erasure::Progress> Erasure::Find(const ErasureId& id) const {
  {
    ReaderPairs pairs(core_);
    auto erasure = LoadErasure(core_, id, pairs);
    if (erasure) {
      const codec::ErasureRecord& record = erasure->record;
      Progress progress;
      progress.receipt.id = id;
      progress.receipt.kind =
          record.person.empty() ? DestructionKind::kAccount : DestructionKind::kPerson;
      progress.receipt.requested_at = record.requested_at;
      progress.receipt.keys_destroyed_at = record.keys_destroyed_at.value_or(TimePoint());
      progress.receipt.dates = DaysOf(record).size();
      progress.receipt.keys = record.keys.size();
      progress.receipt.messages = record.messages;
      progress.receipt.replies = record.replies;
      return progress;
    }
    if (erasure.error().code != ErrorCode::kNotFound) return Fail(std::move(erasure).error());
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, SysRows(core_, schema::kDestruction));
  for (const auto& [key, value] : rows) {
    if (schema::Tail16(key, schema::kHeadBytes + 8 + 16) != id.bytes) continue;
    MAYFLY_ASSIGN_OR_RETURN(const DestructionReceipt receipt,
                            core_.Checked(codec::DecodeDestruction(value, id)));
    return Progress{.finished = true, .receipt = receipt};
  }
  return Fail(ErrorCode::kNotFound, "There is no such erasure.");
}

Result<std::vector<DestructionReceipt>> Erasure::Receipts(std::optional<ErasureId> after,
                                                          std::size_t limit) const {
  std::vector<DestructionReceipt> receipts;
  bool behind = !after;
  MAYFLY_RETURN_IF_ERROR(
      core_.engine().Scan(Family::Sys(), {.prefix = schema::Key(schema::kDestruction)},
                          [&](std::string_view key, std::string_view value) {
                            const auto id = schema::Tail16(key, schema::kHeadBytes + 8 + 16);
                            if (!id) return true;
                            if (!behind) {
                              behind = *id == after->bytes;
                              return true;
                            }
                            if (receipts.size() == limit) return false;
                            auto receipt = core_.Checked(codec::DecodeDestruction(value, {*id}));
                            if (receipt) receipts.push_back(*receipt);  // a damaged one is counted
                            return true;
                          }));
  return receipts;
}

}  // namespace mayfly::store
