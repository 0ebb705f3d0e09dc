#include "store/outbox_queue.h"

#include <algorithm>
#include <chrono>
#include <sodium.h>

#include "store/core.h"
#include "store/thread_writer.h"

namespace mayfly::store {
namespace {

constexpr std::chrono::hours kIdempotencyLife{24};
constexpr std::size_t kNewerMax = 20;

const Actor& TheSystem() {
  static const Actor kSystem{.id = "system"};
  return kSystem;
}

tl::unexpected<Error> UnknownConversation() {
  return Fail(ErrorCode::kNotFound, "There is no such conversation.");
}

tl::unexpected<Error> Restricted() {
  return Fail(ErrorCode::kRestricted, "Somebody in this conversation is restricted.");
}

// Whether what stands in this conversation is not for the actor. A damaged head does not say.
Result<bool> IsWithheld(const Core& core, const Actor& actor, ConversationId conversation,
                        TimePoint now, Pairs& pairs) {
  if (core.restrictions().empty()) return false;
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core.FindHead(conversation, now, pairs));
  return head != nullptr && core.IsWithheld(actor, head->record, now);
}

tl::unexpected<Error> WrongState(const Reply& reply, const char* wanted) {
  return Fail(ErrorCode::kPreconditionFailed, std::string("The reply is ") + ToString(reply.state) +
                                                  ", so it cannot become " + wanted + ".");
}

void Enter(Reply& reply, ReplyState state, std::string reason, TimePoint now) {
  reply.state = state;
  reply.reason = std::move(reason);
  reply.state_since = now;
}

Bytes16 PrintOfBody(const Core& core, const OutboxQueue::NewReply& reply) {
  std::string input(schema::View(reply.conversation.bytes));
  input.reserve(input.size() + reply.text.size());
  input += reply.text.Reveal();
  const Bytes16 print = core.PrintOf(schema::kPurposeReplyBody, input);
  WipeString(input);
  return print;
}

Result<OutboxQueue::SendJob> JobFor(const Core& core, Reply reply, TimePoint now, Pairs& pairs) {
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core.FindHead(reply.conversation, now, pairs));
  if (head == nullptr) return UnknownConversation();
  OutboxQueue::SendJob job;
  job.conversation = head->record.platform_id;
  const auto answered = core.FindMessage(reply.after_message, now, pairs);
  if (answered) {
    job.in_reply_to = answered->record.platform_id;
    job.answered_at = answered->record.sent_at;
  } else if (answered.error().code != ErrorCode::kCorrupt &&
             answered.error().code != ErrorCode::kNotFound) {
    return Fail(answered.error());
  }
  MAYFLY_ASSIGN_OR_RETURN(job.recipients, core.ParticipantsOf(*head, now, pairs));
  job.reply = std::move(reply);
  return job;
}

// After an older store was put in the place of a newer one, a reply may only follow what was sent
// in between, so the account must have read up to that moment first.
Status CheckCaughtUp(const Core& core, const Account& account) {
  const auto returned_at = core.ReturnedAt();
  if (!returned_at || account.created_at > *returned_at) return {};
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          core.ReadSys(schema::kCoverage, account.id, schema::kPurposeCoverage));
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(const Coverage coverage, core.Checked(codec::DecodeCoverage(*row)));
    if (coverage.covered_until && *coverage.covered_until >= *returned_at) return {};
  }
  return Fail(ErrorCode::kUnavailable,
              "The store was restored; what was sent since the backup is being read first.");
}

// Where the same key was used before, if it still counts. Rows that count no more are removed.
struct EarlierUse {
  codec::IdempotencyRecord record;
  Reply reply;
};
Result<std::optional<EarlierUse>> FindEarlierUse(Transaction& transaction,
                                                 const OutboxQueue::NewReply& reply) {
  Core& core = transaction.core();
  const std::string input = schema::IdempotencyInput(reply.conversation, reply.idempotency_key);
  for (const ExpiryDay day : core.VisibleDays(transaction.now())) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                            core.BlindId(day, schema::kBlindIdempotency, input));
    const std::string key = schema::Key(schema::kIdempotency, blind);
    MAYFLY_ASSIGN_OR_RETURN(const auto sealed, core.Get(day, key));
    if (!sealed) continue;
    // A damaged row is an error here: without it nobody knows whether the reply was sent.
    MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row, core.OpenRow(day, schema::kIdempotency, key,
                                                              *sealed, transaction.pairs()));
    MAYFLY_ASSIGN_OR_RETURN(const codec::IdempotencyRecord record,
                            core.Checked(codec::DecodeIdempotency(row.body)));
    if (transaction.now() >= record.created_at + kIdempotencyLife) {
      transaction.Remove(day, key);
      continue;
    }
    MAYFLY_ASSIGN_OR_RETURN(StoredReply stored,
                            core.FindReply(record.reply, transaction.now(), transaction.pairs()));
    return std::optional<EarlierUse>(EarlierUse{record, std::move(stored.reply)});
  }
  return std::optional<EarlierUse>();
}

}  // namespace

Result<OutboxQueue::Queued> OutboxQueue::Enqueue(const NewReply& reply, const Actor& actor,
                                                 TimePoint now) {
  if (!IsVisible(StartOf(reply.after_message.day), now)) {
    return Fail(ErrorCode::kExpired, "The message to be answered has expired.");
  }
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  Pairs& pairs = transaction.pairs();
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(reply.conversation, now, pairs));
  if (head == nullptr) return UnknownConversation();
  if (core_.HasRestricted(head->record, now)) return Restricted();

  const Bytes16 body_print = PrintOfBody(core_, reply);
  MAYFLY_ASSIGN_OR_RETURN(auto earlier, FindEarlierUse(transaction, reply));
  if (earlier) {
    if (sodium_memcmp(earlier->record.body_print.data(), body_print.data(), body_print.size()) !=
        0) {
      return Fail(ErrorCode::kIdempotencyConflict,
                  "This idempotency key was used for another text.");
    }
    return Queued{.reply = std::move(earlier->reply), .replayed = true};
  }

  if (reply.refusal) return Fail(*reply.refusal);
  MAYFLY_RETURN_IF_ERROR(core_.room().Admit());
  MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(head->record.account));
  // After the earlier use: who repeats a key gets the same answer, whatever became of the account.
  if (account.state == AccountState::kRetired || account.state == AccountState::kCredentialDead) {
    return Fail(ErrorCode::kCredentialDead, "The account of this conversation cannot send.");
  }
  if (account.state == AccountState::kMissingPrivilege) {
    return Fail(ErrorCode::kMissingPrivilege, "The account of this conversation may not send.");
  }
  MAYFLY_RETURN_IF_ERROR(CheckCaughtUp(core_, account));
  if (head->record.standing == PlatformStanding::kLocked) {
    return Fail(ErrorCode::kPlatformRejected, "The platform takes no more messages here.");
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto newest, core_.NewestOf(head->record, now, pairs));
  if (!newest || newest->id != reply.after_message) {
    MAYFLY_ASSIGN_OR_RETURN(const StoredMessage known,
                            core_.FindMessage(reply.after_message, now, pairs));
    if (known.record.conversation != reply.conversation) {
      return Fail(ErrorCode::kNotFound, "There is no such message in this conversation.");
    }
    return Fail(ErrorCode::kConversationMoved, "There are newer messages in this conversation.");
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto pending, core_.PendingReplies(reply.conversation, now, pairs));
  for (const StoredReply& other : pending) {
    if (other.reply.author != actor.id) {
      return Fail(ErrorCode::kConversationMoved, "A colleague's reply is on its way.");
    }
  }

  Reply queued;
  queued.id.day = reply.after_message.day;
  randombytes_buf(queued.id.bytes.data(), queued.id.bytes.size());
  queued.conversation = reply.conversation;
  queued.account = account.id;
  queued.after_message = reply.after_message;
  queued.text = reply.text;
  queued.created_at = now;
  queued.state_since = now;
  queued.expires_at = StartOf(queued.id.day);
  queued.author = actor.id;
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot,
                          transaction.SlotOf(queued.id.day, OwnerOf(head->record)));
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(queued, slot));
  MAYFLY_ASSIGN_OR_RETURN(
      const Bytes16 blind,
      core_.BlindId(queued.id.day, schema::kBlindIdempotency,
                    schema::IdempotencyInput(reply.conversation, reply.idempotency_key)));
  MAYFLY_RETURN_IF_ERROR(transaction.PutSealed(
      queued.id.day, schema::kIdempotency, schema::Key(schema::kIdempotency, blind), slot,
      account.id, Direction::kOutgoing,
      codec::Encode(codec::IdempotencyRecord{
          .reply = queued.id, .body_print = body_print, .created_at = now})));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "reply.queue", queued.id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return Queued{.reply = std::move(queued), .replayed = false};
}

Result<std::vector<MessageId>> OutboxQueue::NewerThan(ConversationId conversation,
                                                      const MessageId& after, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(conversation, now, pairs));
  if (head == nullptr) return UnknownConversation();
  std::optional<schema::ThreadPosition> seen;
  const auto known = core_.FindMessage(after, now, pairs);
  if (known) {
    seen = schema::ThreadPosition{known->record.sent_at, after.bytes};
  } else if (known.error().code != ErrorCode::kExpired &&
             known.error().code != ErrorCode::kNotFound) {
    return Fail(known.error());
  }
  std::vector<std::pair<schema::ThreadPosition, ExpiryDay>> newer;
  for (const ExpiryDay day : head->record.days) {
    if (!core_.IsUsable(day, now)) continue;
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind, core_.Blind(day, schema::kBlindConversation,
                                                              schema::View(conversation.bytes)));
    std::size_t of_day = 0;
    MAYFLY_RETURN_IF_ERROR(
        core_.engine().Scan(Family::Day(day), {.prefix = schema::Key(schema::kMessage, cblind)},
                            [&](std::string_view key, std::string_view sealed) {
                              const auto position = schema::ParseMessageKey(key);
                              if (!position) return true;
                              if (seen && !schema::IsNewer(*position, *seen)) return false;
                              const auto stored = core_.OpenMessage(day, key, sealed, pairs);
                              if (!stored || stored->record.withdrawn) return true;
                              newer.emplace_back(*position, day);
                              return ++of_day < kNewerMax;
                            }));
  }
  std::sort(newer.begin(), newer.end(),
            [](const auto& a, const auto& b) { return schema::IsNewer(a.first, b.first); });
  if (newer.size() > kNewerMax) newer.resize(kNewerMax);
  std::vector<MessageId> ids;
  for (const auto& [position, day] : newer) ids.push_back({day, position.dkey});
  return ids;
}

Result<Reply> OutboxQueue::Get(const Look& look, const ReplyId& id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, pairs));
  MAYFLY_ASSIGN_OR_RETURN(const bool withheld,
                          IsWithheld(core_, look.actor(), stored.reply.conversation, now, pairs));
  if (withheld) return Restricted();
  return std::move(stored.reply);
}

Result<ConversationId> OutboxQueue::ConversationOf(const ReplyId& id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const StoredReply stored, core_.FindReply(id, now, pairs));
  return stored.reply.conversation;
}

Result<std::vector<Reply>> OutboxQueue::PendingOf(const Look& look, ConversationId conversation,
                                                  TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const bool withheld,
                          IsWithheld(core_, look.actor(), conversation, now, pairs));
  if (withheld) return Restricted();
  MAYFLY_ASSIGN_OR_RETURN(auto pending, core_.PendingReplies(conversation, now, pairs));
  std::vector<Reply> replies;
  for (StoredReply& stored : pending) replies.push_back(std::move(stored.reply));
  return replies;
}

Result<std::vector<Reply>> OutboxQueue::Pending(TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(auto pending, core_.PendingReplies(std::nullopt, now, pairs));
  std::vector<Reply> replies;
  for (StoredReply& stored : pending) replies.push_back(std::move(stored.reply));
  return replies;
}

Result<OutboxQueue::SendJob> OutboxQueue::StartSending(const ReplyId& id, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, transaction.pairs()));
  Reply& reply = stored.reply;
  if (reply.state != ReplyState::kQueued) return WrongState(reply, "sending");
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head,
                          core_.FindHead(reply.conversation, now, transaction.pairs()));
  if (head != nullptr && core_.HasRestricted(head->record, now)) {
    MAYFLY_RETURN_IF_ERROR(transaction.FailAsRestricted(stored));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    return Fail(ErrorCode::kPreconditionFailed, "Somebody in its conversation is restricted.");
  }
  Enter(reply, ReplyState::kSending, {}, now);
  ++reply.attempts;
  if (!reply.send_started_at) reply.send_started_at = now;
  reply.not_before = std::nullopt;
  MAYFLY_ASSIGN_OR_RETURN(SendJob job, JobFor(core_, reply, now, transaction.pairs()));
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return job;
}

Result<OutboxQueue::SendJob> OutboxQueue::JobOf(const ReplyId& id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, pairs));
  return JobFor(core_, std::move(stored.reply), now, pairs);
}

Result<Reply> OutboxQueue::MarkSent(const ReplyId& id, const PlatformId& platform_id,
                                    std::optional<TimePoint> sent_at, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  Pairs& pairs = transaction.pairs();
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, pairs));
  Reply& reply = stored.reply;
  MAYFLY_ASSIGN_OR_RETURN(const auto existing,
                          core_.FindByPlatformId(reply.account, platform_id, now));
  if (reply.state == ReplyState::kSent && existing && reply.message == existing) return reply;
  if (reply.state != ReplyState::kSending && reply.state != ReplyState::kUnknown) {
    return WrongState(reply, "sent");
  }

  if (existing) {
    // A poll was faster. The message that it stored is the reply's.
    MAYFLY_ASSIGN_OR_RETURN(StoredMessage message, core_.FindMessage(*existing, now, pairs));
    if (message.record.reply && *message.record.reply != id) {
      return Fail(ErrorCode::kPreconditionFailed,
                  "The platform's message belongs to another reply.");
    }
    message.record.reply = id;
    MAYFLY_RETURN_IF_ERROR(transaction.PutSealed(
        existing->day, schema::kMessage, message.key, message.header.slot, message.header.account,
        message.header.direction, codec::Encode(message.record)));
    reply.message = existing;
    // It was taken back before we heard that it had been sent.
    if (message.record.withdrawn && message.record.platform_id.empty()) {
      reply.text = MessageBody();
      MAYFLY_RETURN_IF_ERROR(
          transaction.RenewSlot(id.day, stored.slot, Transaction::Reason::kPart));
    }
  } else {
    MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(reply.account));
    ThreadWriter writer(transaction, account);
    MAYFLY_ASSIGN_OR_RETURN(ThreadWriter::Thread* const thread,
                            writer.FindById(reply.conversation));
    MAYFLY_ASSIGN_OR_RETURN(const ThreadWriter::Placement placement,
                            writer.Place(platform_id, sent_at));
    // Not new: it was collected before under a time that has passed, and its life is over.
    if (thread != nullptr && placement.verdict == ThreadWriter::Verdict::kNew) {
      codec::MessageRecord record;
      record.platform_id = platform_id;
      record.sender = PlatformId(account.own_platform_id);
      record.text = reply.text;
      record.reply = id;
      MAYFLY_ASSIGN_OR_RETURN(
          reply.message, writer.Add(*thread, placement, Direction::kOutgoing, std::move(record)));
      MAYFLY_RETURN_IF_ERROR(writer.Flush());
      transaction.NoteRuleUsed(account, std::chrono::floor<std::chrono::days>(now));
    }
  }
  Enter(reply, ReplyState::kSent, {}, now);
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(TheSystem(), "reply.sent", id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return reply;
}

Status OutboxQueue::MarkFailed(const ReplyId& id, const std::string& reason,
                               const std::string& platform_code, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, transaction.pairs()));
  Reply& reply = stored.reply;
  if (reply.state == ReplyState::kFailed && reply.reason == reason) return {};
  if (!IsPending(reply.state)) return WrongState(reply, "failed");
  Enter(reply, ReplyState::kFailed, reason, now);
  reply.platform_code = platform_code;
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(TheSystem(), "reply.failed", id.ToString(), reason));
  return transaction.Commit();
}

Status OutboxQueue::MarkUnknown(const ReplyId& id, const std::string& reason, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, transaction.pairs()));
  Reply& reply = stored.reply;
  if (reply.state == ReplyState::kUnknown) return {};
  if (reply.state != ReplyState::kSending) return WrongState(reply, "unknown");
  Enter(reply, ReplyState::kUnknown, reason, now);
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(TheSystem(), "reply.unknown", id.ToString(), reason));
  return transaction.Commit();
}

Status OutboxQueue::Requeue(const ReplyId& id, TimePoint not_before, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, transaction.pairs()));
  Reply& reply = stored.reply;
  if (reply.state != ReplyState::kSending) return WrongState(reply, "queued");
  MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(reply.account));
  const auto head = core_.FindHead(reply.conversation, now, transaction.pairs());
  if (head && *head != nullptr && core_.HasRestricted((*head)->record, now)) {
    MAYFLY_RETURN_IF_ERROR(transaction.FailAsRestricted(stored));
    return transaction.Commit();
  }
  if (account.state == AccountState::kRetired) {
    // Retiring failed what was queued; this one came back too late to be sent.
    Enter(reply, ReplyState::kFailed, "account-retired", now);
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "reply.failed", id.ToString(), reply.reason));
  } else {
    Enter(reply, ReplyState::kQueued, {}, now);
    reply.not_before = not_before;
  }
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
  return transaction.Commit();
}

Status OutboxQueue::CountLook(const ReplyId& id, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(StoredReply stored, core_.FindReply(id, now, transaction.pairs()));
  if (stored.reply.state != ReplyState::kUnknown) {
    return Fail(ErrorCode::kPreconditionFailed,
                std::string("The reply is ") + ToString(stored.reply.state) + ", not unknown.");
  }
  ++stored.reply.looks;
  MAYFLY_RETURN_IF_ERROR(transaction.PutReply(stored.reply, stored.slot));
  return transaction.Commit();
}

Result<bool> OutboxQueue::IsSomethingElse(const PlatformId& platform_id, const Reply& reply,
                                          TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const auto id, core_.FindByPlatformId(reply.account, platform_id, now));
  if (!id) return false;
  MAYFLY_ASSIGN_OR_RETURN(const StoredMessage message, core_.FindMessage(*id, now, pairs));
  if (message.record.reply) return *message.record.reply != reply.id;
  return reply.send_started_at && message.record.received_at < *reply.send_started_at;
}

Result<std::size_t> OutboxQueue::RecoverInterrupted(TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const auto pending,
                          core_.PendingReplies(std::nullopt, now, transaction.pairs()));
  std::size_t recovered = 0;
  for (const StoredReply& stored : pending) {
    if (stored.reply.state != ReplyState::kSending) continue;
    Reply reply = stored.reply;
    Enter(reply, ReplyState::kUnknown, ToString(ErrorCode::kOutcomeUnknown), now);
    MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "reply.unknown", reply.id.ToString(), reply.reason));
    ++recovered;
  }
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return recovered;
}

}  // namespace mayfly::store
