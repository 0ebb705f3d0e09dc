#include "store/collection.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "store/core.h"
#include "store/erasure/withdrawal_brake.h"
#include "store/thread_writer.h"

namespace mayfly::store {
namespace {

using Descriptions = std::map<PlatformId, const CollectedConversation*>;

// The conversation of a message, made if it is new, with what the page says about it.
Result<ThreadWriter::Thread*> ThreadOf(ThreadWriter& writer, const Descriptions& descriptions,
                                       const PlatformId& conversation) {
  MAYFLY_ASSIGN_OR_RETURN(ThreadWriter::Thread * thread, writer.Find(conversation));
  if (thread != nullptr) return thread;
  ThreadWriter::Thread& created = writer.Create(conversation);
  const auto described = descriptions.find(conversation);
  if (described != descriptions.end()) {
    const CollectedConversation& words = *described->second;
    writer.Describe(created, words.participants, words.group, words.standing);
  }
  return &created;
}

// Who has objected among those that a message tells of: its sender, or whoever is alone with us in
// its conversation.
Result<std::optional<RestrictionRegister::Entry>> ObjectionTo(
    const Core& core, ThreadWriter& writer, const Descriptions& descriptions, AccountId account,
    const CollectedMessage& message, TimePoint now) {
  if (core.restrictions().empty()) return std::optional<RestrictionRegister::Entry>();
  const auto objection = [&](const PlatformId& person) {
    auto entry = core.RestrictionOf(account, person, now);
    if (entry && entry->record.kind != RestrictionKind::kObjection) entry.reset();
    return entry;
  };
  if (message.direction == Direction::kIncoming && !message.sender.empty()) {
    return objection(message.sender);
  }
  const auto described = descriptions.find(message.conversation);
  if (described != descriptions.end() && !described->second->participants.empty()) {
    const CollectedConversation& words = *described->second;
    if (words.group) return std::optional<RestrictionRegister::Entry>();
    return objection(words.participants.front().platform_id);
  }
  MAYFLY_ASSIGN_OR_RETURN(const ThreadWriter::Thread* thread, writer.Find(message.conversation));
  if (thread == nullptr || thread->head.group || thread->head.participants.empty()) {
    return std::optional<RestrictionRegister::Entry>();
  }
  return objection(thread->head.participants.front());
}

// The latest edit of each message in the page. Undated ones count in the order in which they came.
using Edits = std::map<PlatformId, const CollectedEdit*>;
Edits LatestEdits(const std::vector<CollectedEdit>& edits) {
  Edits latest;
  for (const CollectedEdit& edit : edits) {
    const CollectedEdit*& known = latest[edit.id];
    const bool older = known != nullptr && known->edited_at && edit.edited_at &&
                       *edit.edited_at < *known->edited_at;
    if (!older) known = &edit;
  }
  return latest;
}

codec::MessageRecord RecordOf(const CollectedMessage& message, bool backfilled) {
  codec::MessageRecord record;
  record.platform_id = message.id;
  record.sender = message.sender;
  record.unreadable = message.unreadable;
  record.has_unsupported_content = message.has_unsupported_content;
  record.backfilled = backfilled;
  // A stub is id and time only, whatever the connector sent along.
  if (message.unreadable == UnreadableReason::kNone) record.text = message.text;
  return record;
}

}  // namespace

Result<CollectOutcome> Collection::Collect(const CollectedPage& page, TimePoint now) {
  MAYFLY_RETURN_IF_ERROR(core_.room().Admit());
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(page.account));
  if (account.state == AccountState::kRetired) {
    return Fail(ErrorCode::kNotFound, "This account is retired; nothing is collected for it.");
  }

  Descriptions descriptions;
  for (const CollectedConversation& conversation : page.conversations) {
    descriptions.insert_or_assign(conversation.id, &conversation);
  }
  std::set<PlatformId> withdrawn_here;
  for (const CollectedWithdrawal& withdrawal : page.withdrawals) {
    withdrawn_here.insert(withdrawal.id);
  }

  Edits edits = LatestEdits(page.edits);
  for (const PlatformId& id : withdrawn_here) edits.erase(id);

  ThreadWriter writer(transaction, account);
  CollectOutcome outcome;
  // First what is known of conversations that are stored already: a message may need it.
  for (const auto& [id, description] : descriptions) {
    MAYFLY_ASSIGN_OR_RETURN(ThreadWriter::Thread * thread, writer.Find(id));
    if (thread == nullptr) continue;  // made when its first message is stored
    writer.Describe(*thread, description->participants, description->group, description->standing);
  }
  for (const CollectedMessage& message : page.messages) {
    MAYFLY_ASSIGN_OR_RETURN(const ThreadWriter::Placement placement,
                            writer.Place(message.id, message.sent_at));
    if (placement.verdict == ThreadWriter::Verdict::kDuplicate) {
      ++outcome.duplicates;
      continue;
    }
    if (placement.verdict == ThreadWriter::Verdict::kPastHorizon) {
      ++outcome.past_horizon;
      continue;
    }
    const auto described = descriptions.find(message.conversation);
    MAYFLY_ASSIGN_OR_RETURN(
        const bool erased,
        writer.IsErased(message.conversation, message.sender, message.direction, placement,
                        described == descriptions.end() ? nullptr : described->second));
    if (erased) {
      ++outcome.erased;
      continue;
    }
    MAYFLY_ASSIGN_OR_RETURN(const auto objection,
                            ObjectionTo(core_, writer, descriptions, account.id, message, now));
    if (objection) {
      MAYFLY_RETURN_IF_ERROR(transaction.NoteNotCollected(*objection, placement.born));
      ++outcome.objected;
      continue;
    }
    if (withdrawn_here.contains(message.id)) {
      MAYFLY_ASSIGN_OR_RETURN(const ThreadWriter::Thread* thread,
                              writer.Find(message.conversation));
      MAYFLY_RETURN_IF_ERROR(
          writer.AddTombstone(thread, placement, message.direction, message.sender));
      ++outcome.withdrawn;
      continue;
    }
    MAYFLY_ASSIGN_OR_RETURN(ThreadWriter::Thread* const thread,
                            ThreadOf(writer, descriptions, message.conversation));
    codec::MessageRecord record = RecordOf(message, page.backfilled);
    if (const auto edit = edits.find(message.id); edit != edits.end()) {
      ApplyEdit(*edit->second, now, record);
      edits.erase(edit);
    }
    // A stub has none.
    const bool readable = message.unreadable == UnreadableReason::kNone;
    auto added = writer.Add(*thread, placement, message.direction, std::move(record),
                            readable ? message.attachments : std::vector<CollectedAttachment>());
    if (!added) return Fail(std::move(added).error());
    ++outcome.stored;
    if (placement.future) ++outcome.future;
    if (message.unreadable != UnreadableReason::kNone) ++outcome.unreadable;
  }
  for (const auto& [id, edit] : edits) {
    MAYFLY_ASSIGN_OR_RETURN(const bool edited, writer.Edit(*edit));
    if (edited) ++outcome.edited;
  }
  WithdrawalBrake brake(transaction, account.id);
  if (!page.withdrawals.empty()) MAYFLY_RETURN_IF_ERROR(brake.Load(page.withdrawals.size()));
  for (const CollectedWithdrawal& withdrawal : page.withdrawals) {
    const bool believed = brake.Believes();
    MAYFLY_ASSIGN_OR_RETURN(const bool withdrawn,
                            believed ? writer.Withdraw(withdrawal.id) : writer.Hold(withdrawal.id));
    if (!withdrawn) continue;
    ++outcome.withdrawn;
    if (believed) {
      brake.Count();
    } else {
      ++outcome.held;
    }
  }
  brake.Put();
  MAYFLY_RETURN_IF_ERROR(writer.Flush());

  if (outcome.stored + outcome.withdrawn > 0) {
    transaction.NoteRuleUsed(account, std::chrono::floor<std::chrono::days>(now));
  }
  std::string key = schema::Key(schema::kCursor, page.account.value);
  std::string cursor = core_.SealSys(schema::kCursor, key, page.account, schema::kPurposeCursor,
                                     codec::EncodeCursor(page.cursor));
  transaction.batch().Put(Family::Sys(), std::move(key), std::move(cursor));
  transaction.PutCoverage(page.account, page.coverage);
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return outcome;
}

Result<std::string> Collection::Cursor(AccountId account) const {
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          core_.ReadSys(schema::kCursor, account, schema::kPurposeCursor));
  if (!row) return std::string();
  return core_.Checked(codec::DecodeCursor(*row));
}

Result<mayfly::Coverage> Collection::Coverage(AccountId account) const {
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          core_.ReadSys(schema::kCoverage, account, schema::kPurposeCoverage));
  if (!row) return mayfly::Coverage();
  return core_.Checked(codec::DecodeCoverage(*row));
}

Status Collection::SetCoverage(AccountId account, const mayfly::Coverage& coverage) {
  Transaction transaction(core_, TimePoint());
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  transaction.PutCoverage(account, coverage);
  return transaction.Commit();
}

Result<TimePoint> Collection::Horizon(AccountId account, TimePoint now) const {
  MAYFLY_ASSIGN_OR_RETURN(const Account known, core_.GetAccount(account));
  TimePoint horizon = HorizonAt(now, core_.RuleOf(known));
  if (known.forgotten_until) horizon = std::max(horizon, *known.forgotten_until);
  return horizon;
}

}  // namespace mayfly::store
