#include "store/rights/rights.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "store/core.h"

namespace mayfly::store {
namespace {

constexpr std::size_t kPeopleMax = 50;

using Entry = RestrictionRegister::Entry;
using PersonTest = std::function<bool(const PlatformId&)>;

const Actor& TheSystem() {
  static const Actor kSystem{.id = "system"};
  return kSystem;
}

Restriction ToRestriction(const Entry& entry) {
  return {.id = entry.id,
          .kind = entry.record.kind,
          .account = entry.record.account,
          .since = entry.record.since,
          .expires_at = StartOf(entry.day),
          .not_collected = entry.record.not_collected,
          .last_attempt_at = entry.record.last_attempt_at};
}

// Its date has just ended, or the row was erased meanwhile.
Status UnlessGone(const Status& status) {
  if (status || IsGone(status.error())) return {};
  return Fail(status.error());
}

std::string Folded(const ContactHandle& handle) {
  std::string_view text = handle.Reveal();
  if (text.starts_with('@')) text.remove_prefix(1);
  std::string folded(text);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return folded;
}

// The conversations of an account in which somebody is whom `is` knows, and whether each is a
// group. One date at a time, so that an erasure waits for one and not for all.
Result<std::map<ConversationId, bool>> ConversationsOf(const Core& core, AccountId account,
                                                       const PersonTest& is, TimePoint now) {
  std::map<ConversationId, bool> found;
  for (const ExpiryDay day : core.VisibleDays(now)) {
    ReaderPairs pairs(core);
    MAYFLY_RETURN_IF_ERROR(UnlessGone(
        core.engine().Scan(Family::Day(day), {.prefix = schema::Key(schema::kHead)},
                           [&](std::string_view key, std::string_view sealed) {
                             const auto header = PeekSealed(sealed);
                             if (!header || header->account != account) return true;
                             const auto row = core.OpenRow(day, schema::kHead, key, sealed, pairs);
                             if (!row) return true;  // damaged (counted), or just gone
                             const auto head = core.Checked(codec::DecodeHead(row->body));
                             if (!head) return true;
                             const auto& people = head->participants;
                             if (std::any_of(people.begin(), people.end(), is))
                               found.emplace(head->id, head->group);
                             return true;
                           })));
  }
  return found;
}

// Slots of which something is still to move to another one, by date: before, after.
using Renewals = std::multimap<ExpiryDay, std::pair<Slot, Slot>>;
Result<Renewals> UnfinishedRenewals(const Core& core) {
  Renewals renewals;
  MAYFLY_RETURN_IF_ERROR(core.engine().Scan(
      Family::Sys(), {.prefix = schema::Key(schema::kRenewal)},
      [&](std::string_view key, std::string_view value) {
        const auto renewal = schema::ParseRenewalKey(key);
        const auto record = core.Checked(codec::DecodeRenewal(value));
        if (renewal && record && record->after) {
          renewals.emplace(renewal->first, std::pair(renewal->second, *record->after));
        }
        return true;
      }));
  return renewals;
}

// Under which slots a person lies on a date: one, or several while one takes another's place.
Result<std::vector<Slot>> SlotsOn(const Core& core, ExpiryDay day, const std::string& input,
                                  const Renewals& renewals) {
  std::vector<Slot> slots;
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, core.Blind(day, schema::kBlindSubject, input));
  MAYFLY_ASSIGN_OR_RETURN(const auto row, core.Get(day, schema::Key(schema::kSubject, blind)));
  if (!row) return slots;
  const auto header = core.Checked(PeekSealed(*row));
  // One that an erasure destroyed whose request could not be written down holds nothing any more.
  if (!header || core.IsDestroyed(day, header->slot)) return slots;
  slots.push_back(header->slot);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto [from, to] = renewals.equal_range(day);
    for (auto renewal = from; renewal != to; ++renewal) {
      if (renewal->second.second == slots[i]) slots.push_back(renewal->second.first);
    }
  }
  return slots;
}

class Description {
 public:
  Description(const Core& core, const Erasure::Person& person, TimePoint now)
      : core_(core), now_(now) {
    held_.person = person;
    held_.contact.platform_id = person.id;
  }

  Result<HeldPerson> Make() {
    const Erasure::Person& person = held_.person;
    const std::string input = schema::PersonInput(person.account, person.id.Reveal());
    MAYFLY_ASSIGN_OR_RETURN(const Renewals renewals, UnfinishedRenewals(core_));
    bool named = false;
    for (const ExpiryDay day : core_.VisibleDays(now_)) {
      ReaderPairs pairs(core_);
      const auto slots = SlotsOn(core_, day, input, renewals);
      if (!slots) {
        MAYFLY_RETURN_IF_ERROR(UnlessGone(Fail(slots.error())));
        continue;
      }
      if (slots->empty()) continue;
      if (!held_.ends_at) held_.ends_at = StartOf(day);  // newest first
      if (!named) {
        auto contact = core_.LoadContact(person.account, person.id, day, pairs);
        if (contact && *contact) {
          held_.contact = **std::move(contact);
          named = true;
        }
      }
      MAYFLY_RETURN_IF_ERROR(Count(day, *slots, pairs));
    }
    const auto theirs = [&](const PlatformId& id) { return id == person.id; };
    MAYFLY_ASSIGN_OR_RETURN(const auto conversations,
                            ConversationsOf(core_, person.account, theirs, now_));
    for (const auto& [id, group] : conversations) {
      held_.conversations.push_back({id, group, messages_[id]});
    }
    // They are not there any more, and what they wrote is: a group that they left.
    for (const auto& [id, count] : messages_) {
      if (!conversations.contains(id)) held_.conversations.push_back({id, /*group=*/true, count});
    }
    if (const auto entry = core_.RestrictionOf(person.account, person.id, now_)) {
      held_.restriction = ToRestriction(*entry);
    }
    return std::move(held_);
  }

 private:
  Status Count(ExpiryDay day, const std::vector<Slot>& slots, Pairs& pairs) {
    return UnlessGone(core_.engine().Scan(
        Family::Day(day), {.prefix = schema::Key(schema::kMessage)},
        [&](std::string_view key, std::string_view sealed) {
          const auto header = PeekSealed(sealed);
          if (!header || std::find(slots.begin(), slots.end(), header->slot) == slots.end()) {
            return true;
          }
          const auto stored = core_.OpenMessage(day, key, sealed, pairs);
          if (!stored || stored->record.withdrawn) return true;
          ++(stored->header.direction == Direction::kIncoming ? held_.incoming : held_.outgoing);
          ++messages_[stored->record.conversation];
          const TimePoint sent_at = stored->record.sent_at;
          if (!held_.oldest || sent_at < *held_.oldest) held_.oldest = sent_at;
          if (!held_.newest || sent_at > *held_.newest) held_.newest = sent_at;
          return true;
        }));
  }

  const Core& core_;
  const TimePoint now_;
  HeldPerson held_;
  std::map<ConversationId, std::uint64_t> messages_;
};

// Those of whom anything is known.
Result<std::vector<HeldPerson>> Describe(const Core& core, AccountId account,
                                         const std::vector<PlatformId>& people, TimePoint now) {
  std::vector<HeldPerson> described;
  for (const PlatformId& id : people) {
    if (described.size() == kPeopleMax) break;
    MAYFLY_ASSIGN_OR_RETURN(HeldPerson held, Description(core, {account, id}, now).Make());
    if (held.ends_at || held.restriction) described.push_back(std::move(held));
  }
  return described;
}

Status Recorded(Core& core, const Actor& actor, std::string object, TimePoint now) {
  return AuditLog(core).Record(actor, "person.find", std::move(object), now);
}

// What waits to be sent to where the person is.
Status FailQueued(Transaction& transaction, const Erasure::Person& person) {
  Core& core = transaction.core();
  MAYFLY_ASSIGN_OR_RETURN(const auto pending, core.PendingReplies(std::nullopt, transaction.now(),
                                                                  transaction.pairs()));
  for (const StoredReply& stored : pending) {
    if (stored.reply.account != person.account || stored.reply.state != ReplyState::kQueued) {
      continue;
    }
    const auto head =
        core.FindHead(stored.reply.conversation, transaction.now(), transaction.pairs());
    // Of a damaged head nobody knows to whom it leads.
    if (head && *head != nullptr) {
      const auto& people = (*head)->record.participants;
      if (std::find(people.begin(), people.end(), person.id) == people.end()) continue;
    }
    MAYFLY_RETURN_IF_ERROR(transaction.FailAsRestricted(stored));
  }
  return {};
}

// Whoever holds a copy of these conversations learns that it says other things now.
Status TouchConversations(Transaction& transaction,
                          const std::map<ConversationId, bool>& conversations) {
  for (const auto& [id, group] : conversations) {
    const auto head = transaction.core().FindHead(id, transaction.now(), transaction.pairs());
    if (!head || *head == nullptr) continue;  // damaged (counted), or gone meanwhile
    MAYFLY_RETURN_IF_ERROR(transaction.PutHead(*head, (*head)->record, (*head)->day));
  }
  return {};
}

}  // namespace

const char* ToString(RestrictionKind kind) {
  return kind == RestrictionKind::kObjection ? "objection" : "restriction";
}

std::optional<RestrictionKind> ParseRestrictionKind(const std::string& word) {
  for (const auto kind : {RestrictionKind::kRestriction, RestrictionKind::kObjection}) {
    if (word == ToString(kind)) return kind;
  }
  return std::nullopt;
}

// --- finding

Result<std::vector<HeldPerson>> Rights::FindById(AccountId account, const PlatformId& person,
                                                 const Actor& actor, TimePoint now) const {
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  MAYFLY_RETURN_IF_ERROR(Recorded(core_, actor, account.ToString(), now));
  return Describe(core_, account, {person}, now);
}

Result<std::vector<HeldPerson>> Rights::FindByHandle(AccountId account, const ContactHandle& handle,
                                                     const Actor& actor, TimePoint now) const {
  auto known = core_.GetAccount(account);
  if (!known) return Fail(std::move(known).error());
  MAYFLY_RETURN_IF_ERROR(Recorded(core_, actor, account.ToString(), now));
  std::string wanted = Folded(handle);
  std::set<PlatformId> people;
  for (const ExpiryDay day : core_.VisibleDays(now)) {
    ReaderPairs pairs(core_);
    MAYFLY_RETURN_IF_ERROR(UnlessGone(core_.engine().Scan(
        Family::Day(day), {.prefix = schema::Key(schema::kContact)},
        [&](std::string_view key, std::string_view sealed) {
          const auto header = PeekSealed(sealed);
          if (!header || header->account != account) return true;
          const auto row = core_.OpenRow(day, schema::kContact, key, sealed, pairs);
          if (!row) return true;  // damaged (counted), or just gone
          const auto contact = core_.Checked(codec::DecodeContact(row->body));
          if (!contact) return true;
          std::string folded = Folded(contact->handle);
          if (folded == wanted) people.insert(contact->platform_id);
          WipeString(folded);
          return true;
        })));
  }
  WipeString(wanted);
  return Describe(core_, account, {people.begin(), people.end()}, now);
}

Result<std::vector<HeldPerson>> Rights::FindIn(ConversationId conversation, const Actor& actor,
                                               TimePoint now) const {
  MAYFLY_RETURN_IF_ERROR(Recorded(core_, actor, conversation.ToString(), now));
  HeadPtr head;
  {
    ReaderPairs pairs(core_);
    MAYFLY_ASSIGN_OR_RETURN(head, core_.FindHead(conversation, now, pairs));
  }
  if (head == nullptr) return Fail(ErrorCode::kNotFound, "There is no such conversation.");
  return Describe(core_, head->record.account, head->record.participants, now);
}

Result<std::vector<HeldPerson>> Rights::FindOf(const MessageId& message, const Actor& actor,
                                               TimePoint now) const {
  MAYFLY_RETURN_IF_ERROR(Recorded(core_, actor, message.ToString(), now));
  AccountId account;
  std::vector<PlatformId> people;
  {
    ReaderPairs pairs(core_);
    MAYFLY_ASSIGN_OR_RETURN(const StoredMessage stored, core_.FindMessage(message, now, pairs));
    if (stored.record.withdrawn) return Fail(ErrorCode::kNotFound, "There is no such message.");
    account = stored.header.account;
    if (stored.header.direction == Direction::kIncoming && !stored.record.sender.empty()) {
      people = {stored.record.sender};
    } else {
      MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head,
                              core_.FindHead(stored.record.conversation, now, pairs));
      if (head != nullptr) people = head->record.participants;
    }
  }
  return Describe(core_, account, people, now);
}

// --- deciding

Result<Restriction> Rights::Restrict(const Erasure::Person& person, RestrictionKind kind,
                                     const Actor& actor, TimePoint now) {
  if (person.id.empty()) return Fail(ErrorCode::kInvalidArgument, "Nobody is named.");
  const auto theirs = [&](const PlatformId& id) { return id == person.id; };
  MAYFLY_ASSIGN_OR_RETURN(const auto conversations,
                          ConversationsOf(core_, person.account, theirs, now));
  const bool objects = kind == RestrictionKind::kObjection;
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  auto known = core_.GetAccount(person.account);
  if (!known) return Fail(std::move(known).error());

  const std::string input = schema::PersonInput(person.account, person.id.Reveal());
  std::optional<Entry> entry = core_.RestrictionOf(person.account, person.id, now);
  if (entry && (entry->record.kind == kind || !objects)) return ToRestriction(*entry);

  std::optional<ExpiryDay> last;
  if (entry) last = entry->day;
  for (const ExpiryDay day : core_.VisibleDays(now)) {
    MAYFLY_ASSIGN_OR_RETURN(const auto slot, transaction.FindSlot(day, Subject{input}));
    if (!slot || core_.IsDestroyed(day, *slot)) continue;
    last = std::max(last.value_or(day), day);
    break;  // newest first
  }
  if (objects) {
    const ExpiryDay of_a_message = ExpiryDayOf(now, RetentionRule{});
    last = std::max(last.value_or(of_a_message), of_a_message);
    MAYFLY_RETURN_IF_ERROR(core_.EnsureDay(*last));
  }
  if (!last) return Fail(ErrorCode::kNotFound, "Nothing is held.");
  if (!entry) {
    entry.emplace();
    entry->id = RestrictionId::Random();
    entry->record.person = core_.RestrictionPrint(input);
    entry->record.account = person.account;
  }
  entry->day = *last;
  entry->record.kind = kind;
  entry->record.since = now;

  transaction.PutRestriction(*entry);
  MAYFLY_RETURN_IF_ERROR(FailQueued(transaction, person));
  MAYFLY_RETURN_IF_ERROR(TouchConversations(transaction, conversations));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, objects ? "person.object" : "person.restrict",
                                           entry->id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return ToRestriction(*entry);
}

Status Rights::Lift(const RestrictionId& id, const Actor& actor, TimePoint now) {
  MAYFLY_ASSIGN_OR_RETURN(const Restriction restriction, Get(id, now));
  // Their conversations are found by the same hash.
  const auto theirs = [&](const PlatformId& person) {
    const auto entry = core_.RestrictionOf(restriction.account, person, now);
    return entry && entry->id == id;
  };
  MAYFLY_ASSIGN_OR_RETURN(const auto conversations,
                          ConversationsOf(core_, restriction.account, theirs, now));
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  if (!core_.restrictions().Find(id)) {
    return Fail(ErrorCode::kNotFound, "There is no such restriction.");
  }
  MAYFLY_RETURN_IF_ERROR(transaction.RemoveRestriction(id));
  MAYFLY_RETURN_IF_ERROR(TouchConversations(transaction, conversations));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "restriction.lift", id.ToString(), "ok"));
  return transaction.Commit();
}

Result<Restriction> Rights::Get(const RestrictionId& id, TimePoint now) const {
  const auto entry = core_.restrictions().Find(id);
  if (!entry || !IsVisible(StartOf(entry->day), now)) {
    return Fail(ErrorCode::kNotFound, "There is no such restriction.");
  }
  return ToRestriction(*entry);
}

std::vector<Restriction> Rights::List(TimePoint now) const {
  std::vector<Restriction> list;
  for (const Entry& entry : core_.restrictions().All()) {
    if (IsVisible(StartOf(entry.day), now)) list.push_back(ToRestriction(entry));
  }
  std::sort(list.begin(), list.end(), [](const Restriction& a, const Restriction& b) {
    return std::pair(a.since, a.id) < std::pair(b.since, b.id);
  });
  return list;
}

// --- the parts of Core that belong to it

std::optional<Entry> Core::RestrictionOf(AccountId account, const PlatformId& person,
                                         TimePoint now) const {
  if (restrictions_.empty() || person.empty()) return std::nullopt;
  auto entry = restrictions_.Find(RestrictionPrint(schema::PersonInput(account, person.Reveal())));
  if (entry && !IsVisible(StartOf(entry->day), now)) entry.reset();
  return entry;
}

bool Core::HasObjected(AccountId account, const PlatformId& person, TimePoint now) const {
  const auto entry = RestrictionOf(account, person, now);
  return entry && entry->record.kind == RestrictionKind::kObjection;
}

bool Core::HasRestricted(const codec::HeadRecord& head, TimePoint now) const {
  return std::any_of(
      head.participants.begin(), head.participants.end(),
      [&](const PlatformId& person) { return IsRestricted(head.account, person, now); });
}

bool Core::IsWithheld(const Actor& actor, AccountId account, const PlatformId& person,
                      TimePoint now) const {
  return !actor.Has(Scope::kPrivacyAccess) && IsRestricted(account, person, now);
}

bool Core::IsWithheld(const Actor& actor, const codec::HeadRecord& head, TimePoint now) const {
  return !head.group && !actor.Has(Scope::kPrivacyAccess) && HasRestricted(head, now);
}

bool Core::IsWithheld(const Actor& actor, const StoredMessage& message, TimePoint now,
                      Pairs& pairs) const {
  if (restrictions_.empty() || actor.Has(Scope::kPrivacyAccess)) return false;
  const AccountId account = message.header.account;
  if (message.header.direction == Direction::kIncoming &&
      IsRestricted(account, message.record.sender, now)) {
    return true;
  }
  const auto head = FindHead(message.record.conversation, now, pairs);
  // A damaged head does not say with whom it was. Rather somebody's message too few.
  if (!head || *head == nullptr) return true;
  return IsWithheld(actor, (*head)->record, now);
}

Status Core::LoadRestrictions() {
  std::vector<Entry> entries;
  ReaderPairs pairs(*this);
  for (const ExpiryDay day : OpenDays()) {
    MAYFLY_RETURN_IF_ERROR(
        engine_->Scan(Family::Day(day), {.prefix = schema::Key(schema::kRestriction)},
                      [&](std::string_view key, std::string_view sealed) {
                        const auto id = schema::Tail16(key, schema::kHeadBytes + 16);
                        const auto row = OpenRow(day, schema::kRestriction, key, sealed, pairs);
                        if (!id || !row) return true;  // damaged, and counted
                        const auto record = Checked(codec::DecodeRestriction(row->body));
                        if (record) entries.push_back({{*id}, day, row->header.slot, *record});
                        return true;
                      }));
  }
  restrictions_.Load(std::move(entries));
  return {};
}

// Something of theirs is about to be written to a later date than their restriction lies on.
Status Transaction::FollowWithRestriction(ExpiryDay day, const std::string& subject_input) {
  if (core_.restrictions_.empty() || schema::IsPseudoInput(subject_input)) return {};
  auto entry = core_.restrictions_.Find(core_.RestrictionPrint(subject_input));
  if (!entry || !IsVisible(StartOf(entry->day), now_)) return {};
  if (const auto known = restrictions_.find(entry->id); known != restrictions_.end()) {
    entry = known->second;
  }
  if (entry->day >= day) return {};
  entry->day = day;
  PutRestriction(*std::move(entry));
  return {};
}

Status Transaction::NoteNotCollected(RestrictionRegister::Entry entry, TimePoint born) {
  if (const auto known = restrictions_.find(entry.id); known != restrictions_.end()) {
    entry = known->second;
  }
  ++entry.record.not_collected;
  entry.record.last_attempt_at = std::max(entry.record.last_attempt_at.value_or(born), born);
  const ExpiryDay day = ExpiryDayOf(born, RetentionRule{});
  if (entry.day < day) {
    MAYFLY_RETURN_IF_ERROR(core_.EnsureDay(day));
    entry.day = day;
  }
  PutRestriction(std::move(entry));
  return {};
}

// Of every date: an older copy of the store may have brought back one from before it moved.
Status Transaction::RemoveRestriction(const RestrictionId& id) {
  const std::string key = schema::Key(schema::kRestriction, id.bytes);
  for (const ExpiryDay day : core_.OpenDays()) {
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.Get(day, key));
    if (row) Remove(day, key);
  }
  restrictions_.erase(id);
  lifted_.push_back(id);
  return {};
}

Status Transaction::PutRestrictions() {
  for (auto& [id, entry] : restrictions_) {
    const std::string key = schema::Key(schema::kRestriction, id.bytes);
    const auto old = core_.restrictions_.Find(id);
    if (!old || old->day != entry.day) {
      MAYFLY_ASSIGN_OR_RETURN(entry.slot, core_.vault_->TakeSlot(entry.day));
    }
    MAYFLY_RETURN_IF_ERROR(PutSealed(entry.day, schema::kRestriction, key, entry.slot,
                                     entry.record.account, Direction::kIncoming,
                                     codec::Encode(entry.record)));
    if (old && old->day != entry.day) Remove(old->day, key);
  }
  return {};
}

// What happens in a conversation with a restricted person alone is told as one: that it changed.
void Transaction::ForgetWithheldChanges() {
  if (core_.restrictions_.empty()) return;
  std::erase_if(changes_, [&](const ChangeNotice& change) {
    if (!change.conversation) return false;
    for (const HeadPtr& head : heads_) {
      if (head->record.id == *change.conversation) return IsOneWithRestricted(head->record);
    }
    const auto head = core_.FindHead(*change.conversation, now_, pairs_);
    if (!head) return true;  // damaged: nobody knows with whom it is
    return *head != nullptr && IsOneWithRestricted((*head)->record);
  });
}

bool Transaction::IsOneWithRestricted(const codec::HeadRecord& head) const {
  return !head.group && core_.HasRestricted(head, now_);
}

Status Transaction::FailAsRestricted(const StoredReply& stored) {
  Reply reply = stored.reply;
  reply.state = ReplyState::kFailed;
  reply.reason = ToString(ErrorCode::kRestricted);
  reply.state_since = now_;
  reply.not_before = std::nullopt;
  MAYFLY_RETURN_IF_ERROR(PutReply(reply, stored.slot));
  return Audit(TheSystem(), "reply.failed", reply.id.ToString(), reply.reason);
}

}  // namespace mayfly::store
