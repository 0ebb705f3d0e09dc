#include "store/thread_writer.h"

#include <algorithm>
#include <chrono>

#include "store/model/json.h"

namespace mayfly::store {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;

// The first and the last instant that a time of the platform may claim: what RFC 3339 can write.
constexpr TimePoint kCalendarBegin = TimePoint(ExpiryDay(std::chrono::year(0) / 1 / 1));
constexpr TimePoint kCalendarEnd =
    TimePoint(ExpiryDay(std::chrono::year(10'000) / 1 / 1)) - milliseconds(1);
// No rule lets a message live longer; a rule unused for so long has nothing stored under it.
constexpr days kLongestLife{93};
constexpr days kOddTimes{1};

// The day from which a message that claims to be sent at `sent_at` would be refused by its own age.
std::uint32_t ForgetDayOf(TimePoint sent_at) {
  if (sent_at >= kCalendarEnd) return schema::kNeverForget;
  const ExpiryDay day = ExpiryDayOf(sent_at, RetentionRule{}) + days(1);
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

bool IsNamed(const Contact& contact) {
  return !contact.handle.empty() || !contact.display_name.empty();
}

}  // namespace

bool ApplyEdit(const CollectedEdit& edit, TimePoint now, codec::MessageRecord& record) {
  if (record.withdrawn || record.unreadable != UnreadableReason::kNone) return false;
  // A claim from the future would shut out every later edit.
  const bool dated = edit.edited_at && *edit.edited_at <= now;
  if (dated && record.edited_at && *edit.edited_at < *record.edited_at) return false;
  const bool same =
      record.text == edit.text && record.has_unsupported_content == edit.has_unsupported_content;
  if (same && (!dated || record.edited_at == edit.edited_at)) return false;
  record.text = edit.text;
  record.has_unsupported_content = edit.has_unsupported_content;
  record.edited_at = dated ? *edit.edited_at : now;
  return true;
}

ThreadWriter::ThreadWriter(Transaction& transaction, const Account& account)
    : transaction_(transaction),
      core_(transaction.core()),
      account_(account),
      rule_(core_.RuleOf(account)),
      forgotten_until_(core_.ForgottenUntil(account.id)),
      fingerprints_undated_(core_.HasFingerprints(schema::kNeverForget, account.id)) {
  const auto today = std::chrono::floor<days>(transaction.now());
  for (const codec::UsedRule& used : core_.RulesOf(account.id)) {
    if (used.last_used + kLongestLife < today) continue;
    if (used.zone == rule_.zone.name() && used.period == rule_.period) continue;
    if (auto rule = core_.RuleOf(used)) {
      other_rules_.push_back(*std::move(rule));
    } else {
      rules_unknown_ = true;
    }
  }
}

// --- conversations

Result<ThreadWriter::Thread*> ThreadWriter::Load(const PlatformId& platform_id,
                                                 const ConversationId& id) {
  std::optional<ExpiryDay> damaged_day;
  auto head = core_.FindHead(id, transaction_.now(), transaction_.pairs(), &damaged_day);
  if (!head && damaged_day) {
    // Collecting must not stop for one damaged head. It is rebuilt around its id; that its messages
    // may lie on any date costs a few reads and loses nothing.
    LoadedHead rebuilt{.day = *damaged_day, .damaged = true};
    rebuilt.record.id = id;
    rebuilt.record.account = account_.id;
    rebuilt.record.platform_id = platform_id;
    rebuilt.record.odd_times = true;
    rebuilt.record.days = core_.VisibleDays(transaction_.now());
    std::reverse(rebuilt.record.days.begin(), rebuilt.record.days.end());
    rebuilt.record.revision =
        static_cast<std::uint64_t>(transaction_.now().time_since_epoch().count());
    head = std::make_shared<const LoadedHead>(std::move(rebuilt));
  }
  if (!head) return Fail(std::move(head).error());
  if (*head == nullptr) return nullptr;
  auto thread = std::make_unique<Thread>();
  thread->old = *head;
  thread->head = (*head)->record;
  thread->day = (*head)->day;
  Thread* const loaded = thread.get();
  threads_.insert_or_assign(thread->head.platform_id, std::move(thread));
  return loaded;
}

Result<ThreadWriter::Thread*> ThreadWriter::Find(const PlatformId& platform_id) {
  const auto known = threads_.find(platform_id);
  if (known != threads_.end()) return known->second.get();
  MAYFLY_ASSIGN_OR_RETURN(
      const auto id,
      core_.FindConversation(account_.id, platform_id, transaction_.now(), transaction_.pairs()));
  if (!id) return nullptr;
  return Load(platform_id, *id);
}

Result<ThreadWriter::Thread*> ThreadWriter::FindById(const ConversationId& id) {
  for (const auto& [platform_id, thread] : threads_) {
    if (thread->head.id == id) return thread.get();
  }
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head,
                          core_.FindHead(id, transaction_.now(), transaction_.pairs()));
  if (head == nullptr) return nullptr;
  return Load(head->record.platform_id, id);
}

ThreadWriter::Thread& ThreadWriter::Create(const PlatformId& platform_id) {
  auto thread = std::make_unique<Thread>();
  thread->head.id = ConversationId::Random();
  thread->head.account = account_.id;
  thread->head.platform_id = platform_id;
  Thread& created = *thread;
  threads_.insert_or_assign(platform_id, std::move(thread));
  return created;
}

void ThreadWriter::AddParticipant(Thread& thread, const PlatformId& person) {
  auto& participants = thread.head.participants;
  if (participants.size() >= codec::kParticipantsMax) return;
  if (std::find(participants.begin(), participants.end(), person) != participants.end()) return;
  participants.push_back(person);
  thread.changed = true;
}

void ThreadWriter::Describe(Thread& thread, const std::vector<Contact>& participants, bool group,
                            PlatformStanding standing) {
  codec::HeadRecord& head = thread.head;
  if (head.group != group || head.standing != standing) {
    head.group = group;
    head.standing = standing;
    thread.changed = true;
  }
  std::vector<PlatformId> ids;
  for (const Contact& contact : participants) {
    if (ids.size() >= codec::kParticipantsMax) break;
    if (std::find(ids.begin(), ids.end(), contact.platform_id) != ids.end()) continue;
    ids.push_back(contact.platform_id);
    if (IsNamed(contact)) thread.contacts.insert_or_assign(contact.platform_id, contact);
  }
  // A platform that names nobody does not say that nobody is there.
  if (!ids.empty() && ids != head.participants) {
    head.participants = std::move(ids);
    thread.changed = true;
  }
}

// --- where a message belongs

Result<std::optional<ExpiryDay>> ThreadWriter::FindDuplicate(const PlatformId& message,
                                                             Placement& placement,
                                                             bool everywhere) {
  std::vector<ExpiryDay> probed;
  if (everywhere || rules_unknown_) {
    probed = core_.VisibleDays(transaction_.now());
  } else {
    probed.push_back(placement.day);
    for (const RetentionRule& rule : other_rules_) {
      const ExpiryDay day = ExpiryDayOf(placement.born, rule);
      if (std::find(probed.begin(), probed.end(), day) == probed.end()) probed.push_back(day);
    }
    std::erase_if(probed, [&](ExpiryDay day) { return !core_.IsUsable(day, transaction_.now()); });
  }
  const std::string input = schema::MessageInput(account_.id, message.Reveal());
  for (const ExpiryDay day : probed) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 dkey, core_.BlindId(day, schema::kBlindMessage, input));
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.Get(day, schema::Key(schema::kPointer, dkey)));
    if (day == placement.day) placement.dkey = dkey;
    if (row) return std::optional<ExpiryDay>(day);
  }
  return std::optional<ExpiryDay>();
}

Result<ThreadWriter::Placement> ThreadWriter::Place(const PlatformId& message,
                                                    std::optional<TimePoint> sent_at) {
  const TimePoint now = transaction_.now();
  Placement placement;
  placement.sent_at = std::clamp(sent_at.value_or(now), kCalendarBegin, kCalendarEnd);
  placement.born = std::min(placement.sent_at, now);
  placement.future = sent_at && *sent_at > now;
  placement.day = ExpiryDayOf(placement.born, rule_);
  if (!placed_.insert(message.Reveal()).second) {
    placement.verdict = Verdict::kDuplicate;
    return placement;
  }
  if (!IsVisible(StartOf(placement.day), now) ||
      (forgotten_until_ && placement.born <= *forgotten_until_)) {
    placement.verdict = Verdict::kPastHorizon;
    return placement;
  }

  const bool doubtful = placement.future || !sent_at;
  MAYFLY_ASSIGN_OR_RETURN(const auto stored, FindDuplicate(message, placement, doubtful));
  if (stored) {
    placement.verdict = Verdict::kDuplicate;
    placement.day = *stored;
    return placement;
  }
  const std::uint32_t claimed = sent_at ? ForgetDayOf(placement.sent_at) : schema::kNeverForget;
  // Seen before under a time that we could not believe: its life began then and is not given twice.
  const bool maybe_claimed = core_.HasFingerprints(claimed, account_.id);
  if (maybe_claimed || fingerprints_undated_) {
    const Bytes16 print = core_.FingerprintOf(account_.id, message);
    for (const std::uint32_t day : {claimed, schema::kNeverForget}) {
      if (!core_.HasFingerprints(day, account_.id)) continue;
      MAYFLY_ASSIGN_OR_RETURN(
          const auto row,
          core_.engine().Get(Family::Sys(), schema::FingerprintKey(day, account_.id, print)));
      if (row) {
        placement.verdict = Verdict::kDuplicate;
        return placement;
      }
    }
  }

  const bool was_open = core_.IsUsable(placement.day, now);
  auto opened = core_.EnsureDay(placement.day);
  if (!opened) {
    if (opened.error().code != ErrorCode::kExpired) return Fail(std::move(opened).error());
    placement.verdict = Verdict::kPastHorizon;
    return placement;
  }
  if (!was_open || placement.dkey == Bytes16{}) {
    MAYFLY_ASSIGN_OR_RETURN(placement.dkey,
                            core_.BlindId(placement.day, schema::kBlindMessage,
                                          schema::MessageInput(account_.id, message.Reveal())));
  }
  if (doubtful) placement.forget_day = claimed;
  return placement;
}

// --- what was erased

Result<std::optional<TimePoint>> ThreadWriter::BlockedUntil(const std::string& input) {
  const auto known = blocks_.find(input);
  if (known != blocks_.end()) return known->second;
  MAYFLY_ASSIGN_OR_RETURN(const auto until, core_.BlockedUntil(input, transaction_.now()));
  return blocks_.emplace(input, until).first->second;
}

Result<bool> ThreadWriter::IsErased(const PlatformId& conversation, const PlatformId& sender,
                                    Direction direction, const Placement& placement,
                                    const CollectedConversation* description) {
  const auto is_blocked = [&](const std::string& input) -> Result<bool> {
    MAYFLY_ASSIGN_OR_RETURN(const auto until, BlockedUntil(input));
    return until && placement.born <= *until;
  };
  const auto is_erased = [&](const PlatformId& person) {
    return is_blocked(schema::PersonInput(account_.id, person.Reveal()));
  };
  MAYFLY_ASSIGN_OR_RETURN(const bool blocked,
                          is_blocked(schema::BlockInput(account_.id, conversation.Reveal())));
  if (blocked) return true;
  if (direction == Direction::kIncoming) return sender.empty() ? false : is_erased(sender);
  // What we wrote to them alone. The conversation has no block of its own when the keys went before
  // its head was read, because the first try to write the request down failed.
  if (description != nullptr && !description->participants.empty()) {
    if (description->group || description->participants.size() != 1) return false;
    return is_erased(description->participants.front().platform_id);
  }
  MAYFLY_ASSIGN_OR_RETURN(const Thread* const thread, Find(conversation));
  if (thread == nullptr || thread->head.group || thread->head.participants.size() != 1) {
    return false;
  }
  return is_erased(thread->head.participants.front());
}

Result<bool> ThreadWriter::IsNameless(const Thread& thread, const PlatformId& person) {
  if (!thread.head.group || writers_.contains(person)) return false;
  MAYFLY_ASSIGN_OR_RETURN(const auto until,
                          BlockedUntil(schema::PersonInput(account_.id, person.Reveal())));
  if (!until) return false;
  MAYFLY_ASSIGN_OR_RETURN(
      const auto stored,
      core_.FindContact(account_.id, person, thread.day, transaction_.now(), transaction_.pairs()));
  return !stored || !IsNamed(*stored);
}

// --- messages

Result<MessageId> ThreadWriter::Add(Thread& thread, const Placement& placement, Direction direction,
                                    codec::MessageRecord record,
                                    const std::vector<CollectedAttachment>& attachments) {
  const TimePoint now = transaction_.now();
  const PlatformId platform_id = record.platform_id;
  const bool incoming = direction == Direction::kIncoming;
  const bool unread = incoming && !record.backfilled;
  record.conversation = thread.head.id;
  record.sent_at = placement.sent_at;
  record.received_at = now;
  record.attachments = static_cast<std::uint16_t>(std::min(attachments.size(), kAttachmentsMax));
  record.has_unsupported_content |= attachments.size() > kAttachmentsMax;
  const bool has_sender = incoming && !record.sender.empty();
  if (has_sender) {
    AddParticipant(thread, record.sender);
    writers_.insert(record.sender);
  }
  const Subject owner =
      has_sender ? Subject::Person(account_.id, record.sender) : OwnerOf(thread.head);
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, transaction_.SlotOf(placement.day, owner));
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind,
                          transaction_.ConversationBlind(placement.day, thread.head.id));
  MAYFLY_RETURN_IF_ERROR(transaction_.PutMessage(placement.day, cblind, placement.dkey, slot,
                                                 account_.id, direction, placement.born,
                                                 std::move(record)));
  if (placement.forget_day) {
    transaction_.PutFingerprint(*placement.forget_day, account_.id, platform_id);
  }

  codec::HeadRecord& head = thread.head;
  const MessageId id{placement.day, placement.dkey};
  MAYFLY_RETURN_IF_ERROR(PutAttachments(id, slot, direction, attachments));
  const auto at = std::lower_bound(head.days.begin(), head.days.end(), placement.day);
  if (at == head.days.end() || *at != placement.day) head.days.insert(at, placement.day);
  // One of which nothing was left lies where its last message would have ended.
  if (thread.old != nullptr && !head.last_message) thread.reread = true;
  thread.day = std::max(thread.day, placement.day);
  thread.last_added_day = std::max(thread.last_added_day, placement.day);
  const schema::ThreadPosition position{placement.sent_at, placement.dkey};
  if (!thread.newest_added || schema::IsNewer(position, *thread.newest_added)) {
    thread.newest_added = position;
    thread.newest_added_day = placement.day;
  }
  if (!head.last_message ||
      schema::IsNewer(position, {head.last_sent_at, head.last_message->bytes})) {
    head.last_message = id;
    head.last_sent_at = placement.sent_at;
    // A time of the future does not pin a conversation to the top of the inbox.
    head.last_activity_at = std::min(placement.sent_at, now);
  }
  if (placement.sent_at > now + kOddTimes) head.odd_times = true;
  if (unread) {
    head.unread = true;
    head.status = ConversationStatus::kOpen;
  }
  thread.changed = true;
  return id;
}

Status ThreadWriter::PutAttachments(const MessageId& message, Slot slot, Direction direction,
                                    const std::vector<CollectedAttachment>& attachments) {
  std::uint16_t number = 0;
  for (const CollectedAttachment& attachment : attachments) {
    if (++number > kAttachmentsMax) break;
    codec::AttachmentRecord record;
    record.bytes = attachment.bytes.value_or(0);
    record.name = AttachmentName(
        std::string(json::Utf8Prefix(attachment.name.Reveal(), kAttachmentNameBytesMax)));
    const std::size_t locator = attachment.locator.size();
    if (record.bytes > kAttachmentBytesMax) {
      record.refusal = AttachmentRefusal::kTooLarge;
    } else if (locator == 0 || locator > kAttachmentLocatorBytesMax) {
      record.refusal = AttachmentRefusal::kUnfetchable;
    }
    if (record.refusal == AttachmentRefusal::kNone) {
      record.locator = attachment.locator;
      transaction_.Put(message.day, schema::WantedKey(message.bytes, number),
                       codec::Encode(codec::WantedRecord{.account = account_.id}));
    } else {
      record.state = AttachmentState::kRefused;
    }
    MAYFLY_RETURN_IF_ERROR(transaction_.PutSealed(
        message.day, schema::kAttachment, schema::AttachmentKey(message.bytes, number), slot,
        account_.id, direction, codec::Encode(record)));
  }
  return {};
}

Status ThreadWriter::AddTombstone(const Thread* thread, const Placement& placement,
                                  Direction direction, const PlatformId& sender) {
  codec::MessageRecord record;
  record.conversation = thread != nullptr ? thread->head.id : ConversationId::Random();
  record.sent_at = placement.sent_at;
  record.received_at = transaction_.now();
  record.withdrawn = true;
  const bool has_sender = direction == Direction::kIncoming && !sender.empty();
  const Subject owner = has_sender          ? Subject::Person(account_.id, sender)
                        : thread != nullptr ? OwnerOf(thread->head)
                                            : Subject::Pseudo(account_.id, record.conversation);
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, transaction_.SlotOf(placement.day, owner));
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind,
                          transaction_.ConversationBlind(placement.day, record.conversation));
  return transaction_.PutMessage(placement.day, cblind, placement.dkey, slot, account_.id,
                                 direction, placement.born, std::move(record));
}

Result<bool> ThreadWriter::Edit(const CollectedEdit& edit) {
  const TimePoint now = transaction_.now();
  MAYFLY_ASSIGN_OR_RETURN(const auto id, core_.FindByPlatformId(account_.id, edit.id, now));
  if (!id) return false;
  auto stored = core_.FindMessage(*id, now, transaction_.pairs());
  if (!stored) {
    // A damaged record (counted) keeps its damage, an erased one is gone; the page goes on.
    if (stored.error().code == ErrorCode::kCorrupt || stored.error().code == ErrorCode::kNotFound) {
      return false;
    }
    return Fail(std::move(stored).error());
  }
  StoredMessage before = *stored;
  if (!ApplyEdit(edit, now, stored->record)) return false;
  MAYFLY_RETURN_IF_ERROR(
      transaction_.RenewSlot(id->day, stored->header.slot, Transaction::Reason::kEdited));
  transaction_.ForgetWords(before);
  MAYFLY_RETURN_IF_ERROR(transaction_.PutSealed(
      id->day, schema::kMessage, stored->key, stored->header.slot, stored->header.account,
      stored->header.direction, codec::Encode(stored->record)));
  transaction_.NoteMessage(ChangeKind::kMessageEdited, *id, stored->header.account,
                           stored->header.direction, stored->record);

  auto thread = FindById(stored->record.conversation);
  if (!thread) {
    if (thread.error().code == ErrorCode::kCorrupt) return true;  // counted; the text is new
    return Fail(std::move(thread).error());
  }
  // Whoever read the conversation before has read something else.
  if (*thread != nullptr) (*thread)->changed = true;
  return true;
}

Result<bool> ThreadWriter::Withdraw(const PlatformId& message) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id,
                          core_.FindByPlatformId(account_.id, message, transaction_.now()));
  if (!id) return false;
  return Withdraw(*id, Transaction::Reason::kWithdrawn);
}

Result<std::optional<StoredMessage>> ThreadWriter::Stored(const MessageId& message) {
  auto stored = core_.FindMessage(message, transaction_.now(), transaction_.pairs());
  if (stored) return std::optional<StoredMessage>(*std::move(stored));
  // A damaged record (counted) cannot be read by anybody, an erased one is gone; the page goes on.
  if (stored.error().code == ErrorCode::kCorrupt || stored.error().code == ErrorCode::kNotFound) {
    return std::optional<StoredMessage>();
  }
  return Fail(std::move(stored).error());
}

Status ThreadWriter::PutTombstone(const StoredMessage& stored, Transaction::Reason reason) {
  codec::MessageRecord tombstone;
  tombstone.conversation = stored.record.conversation;
  tombstone.sent_at = stored.record.sent_at;
  tombstone.received_at = stored.record.received_at;
  tombstone.sequence = stored.record.sequence;
  tombstone.reply = stored.record.reply;
  tombstone.withdrawn = true;
  MAYFLY_RETURN_IF_ERROR(transaction_.PutSealed(stored.id.day, schema::kMessage, stored.key,
                                                stored.header.slot, stored.header.account,
                                                stored.header.direction, codec::Encode(tombstone)));
  MAYFLY_RETURN_IF_ERROR(transaction_.RenewSlot(stored.id.day, stored.header.slot, reason));
  if (stored.record.attachments > 0) {
    MAYFLY_RETURN_IF_ERROR(transaction_.RemoveAttachments(stored.id));
  }
  return ForgetReplyText(stored);
}

// The reply that a message came of says the same.
Status ThreadWriter::ForgetReplyText(const StoredMessage& stored) {
  if (!stored.record.reply) return {};
  auto reply = core_.FindReply(*stored.record.reply, transaction_.now(), transaction_.pairs());
  if (!reply) {
    // It has ended, or nobody can read it.
    if (reply.error().code != ErrorCode::kIo) return {};
    return Fail(std::move(reply).error());
  }
  reply->reply.text = MessageBody();
  MAYFLY_RETURN_IF_ERROR(transaction_.PutReply(reply->reply, reply->slot));
  return transaction_.RenewSlot(reply->reply.id.day, reply->slot, Transaction::Reason::kPart);
}

Status ThreadWriter::HideFromHead(const StoredMessage& stored) {
  transaction_.ForgetWords(stored);
  transaction_.NoteMessage(ChangeKind::kMessageWithdrawn, stored.id, stored.header.account,
                           stored.header.direction, stored.record);
  withdrawn_.insert(stored.id);
  auto thread = FindById(stored.record.conversation);
  if (!thread) {
    if (thread.error().code == ErrorCode::kCorrupt) return {};  // counted; the text is hidden
    return Fail(std::move(thread).error());
  }
  if (*thread == nullptr) return {};
  const bool ended_last = !held_.contains(stored.id) && (*thread)->day == stored.id.day;
  if ((*thread)->head.last_message == stored.id || ended_last) {
    (*thread)->reread = true;
    (*thread)->changed = true;
  }
  return {};
}

Result<bool> ThreadWriter::Withdraw(const MessageId& message, Transaction::Reason reason) {
  if (withdrawn_.contains(message)) return false;
  MAYFLY_ASSIGN_OR_RETURN(const auto stored, Stored(message));
  if (!stored || stored->record.withdrawn) return false;
  MAYFLY_RETURN_IF_ERROR(PutTombstone(*stored, reason));
  MAYFLY_RETURN_IF_ERROR(HideFromHead(*stored));
  return true;
}

Result<bool> ThreadWriter::Hold(const PlatformId& message) {
  const TimePoint now = transaction_.now();
  MAYFLY_ASSIGN_OR_RETURN(const auto id, core_.FindByPlatformId(account_.id, message, now));
  if (!id || withdrawn_.contains(*id)) return false;
  MAYFLY_ASSIGN_OR_RETURN(auto stored, Stored(*id));
  if (!stored || stored->record.withdrawn) return false;
  stored->record.withdrawn = true;
  MAYFLY_RETURN_IF_ERROR(transaction_.PutSealed(
      id->day, schema::kMessage, stored->key, stored->header.slot, stored->header.account,
      stored->header.direction, codec::Encode(stored->record)));
  transaction_.batch().Put(Family::Sys(), schema::HeldKey(id->day, id->bytes),
                           codec::Encode(codec::HeldRecord{.since = now, .account = account_.id}));
  held_.insert(*id);
  MAYFLY_RETURN_IF_ERROR(HideFromHead(*stored));
  return true;
}

Result<bool> ThreadWriter::DestroyHeld(const MessageId& message) {
  transaction_.batch().Remove(Family::Sys(), schema::HeldKey(message.day, message.bytes));
  MAYFLY_ASSIGN_OR_RETURN(const auto stored, Stored(message));
  if (!stored || !stored->record.withdrawn || stored->record.platform_id.empty()) return false;
  MAYFLY_RETURN_IF_ERROR(PutTombstone(*stored, Transaction::Reason::kWithdrawn));
  withdrawn_.insert(message);
  auto thread = FindById(stored->record.conversation);
  if (!thread) {
    if (thread.error().code == ErrorCode::kCorrupt) return true;  // counted
    return Fail(std::move(thread).error());
  }
  if (*thread != nullptr && (*thread)->day == message.day) {
    (*thread)->reread = true;
    (*thread)->changed = true;
  }
  return true;
}

Result<bool> ThreadWriter::Restore(const MessageId& message) {
  transaction_.batch().Remove(Family::Sys(), schema::HeldKey(message.day, message.bytes));
  MAYFLY_ASSIGN_OR_RETURN(auto stored, Stored(message));
  if (!stored || !stored->record.withdrawn || stored->record.platform_id.empty()) return false;
  stored->record.withdrawn = false;
  MAYFLY_RETURN_IF_ERROR(transaction_.PutSealed(
      message.day, schema::kMessage, stored->key, stored->header.slot, stored->header.account,
      stored->header.direction, codec::Encode(stored->record)));
  transaction_.NoteWords(message.day, message.bytes);
  transaction_.NoteMessage(ChangeKind::kMessageReceived, message, stored->header.account,
                           stored->header.direction, stored->record);
  auto thread = FindById(stored->record.conversation);
  if (!thread) {
    if (thread.error().code == ErrorCode::kCorrupt) return true;  // counted
    return Fail(std::move(thread).error());
  }
  if (*thread == nullptr) return true;
  const schema::ThreadPosition position{stored->record.sent_at, message.bytes};
  codec::HeadRecord& head = (*thread)->head;
  if (!head.last_message ||
      schema::IsNewer(position, {head.last_sent_at, head.last_message->bytes})) {
    head.last_message = message;
    head.last_sent_at = stored->record.sent_at;
    head.last_activity_at = std::min(stored->record.sent_at, stored->record.received_at);
  }
  (*thread)->changed = true;
  return true;
}

// The newest message that can be read, and the date with which the conversation ends: that of the
// last message that can be read, or that can be again (held, or damaged now). With none left it
// stays where it is, to show that there was something.
Status ThreadWriter::Reread(Thread& thread) {
  codec::HeadRecord& head = thread.head;
  head.last_message = std::nullopt;
  const auto consider = [&](const schema::ThreadPosition& position, ExpiryDay day,
                            TimePoint received_at) {
    if (head.last_message &&
        !schema::IsNewer(position, {head.last_sent_at, head.last_message->bytes})) {
      return;
    }
    head.last_message = MessageId{day, position.dkey};
    head.last_sent_at = position.sent_at;
    head.last_activity_at = std::min(position.sent_at, received_at);
  };
  std::optional<ExpiryDay> last;
  if (thread.newest_added) {
    consider(*thread.newest_added, thread.newest_added_day, transaction_.now());
    last = thread.last_added_day;
  }
  for (const ExpiryDay day : head.days) {
    if (!core_.IsUsable(day, transaction_.now())) continue;
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind, transaction_.ConversationBlind(day, head.id));
    bool ends_here = false;
    Status read;
    MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
        Family::Day(day), {.prefix = schema::Key(schema::kMessage, cblind)},
        [&](std::string_view key, std::string_view sealed) {
          const auto position = schema::ParseMessageKey(key);
          if (!position) return true;
          const MessageId id{day, position->dkey};
          ends_here |= held_.contains(id);
          if (withdrawn_.contains(id)) return true;
          const auto stored = core_.OpenMessage(day, key, sealed, transaction_.pairs());
          if (!stored) {
            const ErrorCode code = stored.error().code;
            ends_here |= code == ErrorCode::kCorrupt;
            if (code == ErrorCode::kCorrupt || IsGone(stored.error())) return true;
            read = Fail(stored.error());
            return false;
          }
          ends_here |= !stored->record.withdrawn || !stored->record.platform_id.empty();
          if (stored->record.withdrawn) return true;
          consider(*position, day, stored->record.received_at);
          return false;
        }));
    MAYFLY_RETURN_IF_ERROR(std::move(read));
    if (ends_here) last = std::max(last.value_or(day), day);
  }
  if (last) thread.day = *last;
  return {};
}

// --- heads and contacts

// Whom other conversations name that end on a date. Reads all of them.
Result<std::set<PlatformId>> ThreadWriter::NamedByOthers(const Thread& thread, ExpiryDay day) {
  std::set<PlatformId> named;
  std::set<ConversationId> here;  // as they will be, not as they are stored
  for (const auto& [platform_id, other] : threads_) {
    here.insert(other->head.id);
    if (other.get() == &thread || other->day != day) continue;
    named.insert(other->head.participants.begin(), other->head.participants.end());
  }
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
      Family::Day(day), {.prefix = schema::Key(schema::kHead)},
      [&](std::string_view key, std::string_view sealed) {
        const auto row = core_.OpenRow(day, schema::kHead, key, sealed, transaction_.pairs());
        if (!row || row->header.account != account_.id) return true;
        const auto head = codec::DecodeHead(row->body);
        if (!head || here.contains(head->id)) return true;
        named.insert(head->participants.begin(), head->participants.end());
        return true;
      }));
  return named;
}

Status ThreadWriter::FlushContacts(Thread& thread) {
  const bool moved = thread.old != nullptr && thread.old->day != thread.day;
  for (const PlatformId& person : thread.head.participants) {
    const auto named = thread.contacts.find(person);
    std::optional<Contact> contact;
    // How somebody is called who has objected is not taken from the platform any more.
    if (named != thread.contacts.end() &&
        !core_.HasObjected(account_.id, person, transaction_.now())) {
      MAYFLY_ASSIGN_OR_RETURN(const bool nameless, IsNameless(thread, person));
      contact = nameless ? Contact{.platform_id = person} : named->second;
    }
    if (thread.old != nullptr && !moved) {
      const bool joined =
          std::find(thread.old->record.participants.begin(), thread.old->record.participants.end(),
                    person) == thread.old->record.participants.end();
      if (!contact && !joined) continue;
      if (!contact) {
        const auto stored =
            core_.LoadContact(account_.id, person, thread.day, transaction_.pairs());
        if (!stored && stored.error().code != ErrorCode::kNotFound) return Fail(stored.error());
        if (stored && *stored) continue;
      }
    }
    if (!contact && thread.old != nullptr) {
      MAYFLY_ASSIGN_OR_RETURN(contact, core_.FindContact(account_.id, person, thread.old->day,
                                                         transaction_.now(), transaction_.pairs()));
    }
    if (!contact) contact = Contact{.platform_id = person};
    MAYFLY_ASSIGN_OR_RETURN(const bool stored,
                            transaction_.HasContact(thread.day, account_.id, *contact));
    if (!stored) {
      MAYFLY_RETURN_IF_ERROR(transaction_.PutContact(thread.day, account_.id, *contact));
      thread.changed = true;
    }
  }
  if (!moved) return {};
  // To a later date a name is taken along: where another conversation still wants it, it is found
  // there. To an earlier one it is only moved when nobody else needs it.
  std::set<PlatformId> needed;
  if (thread.day < thread.old->day) {
    MAYFLY_ASSIGN_OR_RETURN(needed, NamedByOthers(thread, thread.old->day));
  }
  for (const PlatformId& person : thread.old->record.participants) {
    if (needed.contains(person)) continue;
    MAYFLY_RETURN_IF_ERROR(transaction_.RemoveContact(thread.old->day, account_.id, person));
  }
  return {};
}

Status ThreadWriter::Flush() {
  // A conversation of which nothing was stored leaves nothing behind.
  std::erase_if(threads_, [](const auto& entry) {
    return entry.second->old == nullptr && !entry.second->newest_added;
  });
  for (auto& [platform_id, thread] : threads_) {
    if (thread->reread) MAYFLY_RETURN_IF_ERROR(Reread(*thread));
  }
  for (auto& [platform_id, entry] : threads_) {
    Thread& thread = *entry;
    MAYFLY_RETURN_IF_ERROR(FlushContacts(thread));
    if (!thread.changed) continue;
    std::erase_if(thread.head.days,
                  [&](ExpiryDay day) { return !IsVisible(StartOf(day), transaction_.now()); });
    MAYFLY_RETURN_IF_ERROR(transaction_.PutHead(thread.old, thread.head, thread.day));
  }
  return {};
}

}  // namespace mayfly::store
