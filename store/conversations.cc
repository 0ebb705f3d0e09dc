#include "store/conversations.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "store/core.h"

namespace mayfly::store {
namespace {

// A position is the part of a key behind its prefix, in hex: time (newest first), then 16 bytes.
constexpr std::size_t kPositionBytes = 8 + 16;
constexpr std::chrono::days kTimeSlack{1};
constexpr std::size_t kPageReserved = 256;

Result<std::optional<std::string>> ParsePosition(const std::string& after) {
  if (after.empty()) return std::optional<std::string>();
  auto bytes = FromHex(after);
  if (!bytes || bytes->size() != kPositionBytes) {
    return Fail(ErrorCode::kCursorInvalid, "This is not a position of this list.");
  }
  return std::optional<std::string>(*std::move(bytes));
}

tl::unexpected<Error> UnknownConversation() {
  return Fail(ErrorCode::kNotFound, "There is no such conversation.");
}

tl::unexpected<Error> Restricted() {
  return Fail(ErrorCode::kRestricted, "Its person had it restricted.");
}

Result<Conversation> ToConversation(const Core& core, const LoadedHead& head, const Actor& actor,
                                    TimePoint now, Pairs& pairs) {
  const codec::HeadRecord& record = head.record;
  Conversation conversation;
  conversation.id = record.id;
  conversation.account = record.account;
  conversation.restricted = core.HasRestricted(record, now);
  const bool withheld = core.IsWithheld(actor, record, now);
  if (!withheld) conversation.platform_id = record.platform_id;
  conversation.status = record.status;
  conversation.standing = record.standing;
  conversation.group = record.group;
  conversation.unread = record.unread;
  MAYFLY_ASSIGN_OR_RETURN(const auto newest, core.NewestOf(record, now, pairs));
  conversation.last_activity_at = newest ? newest->active_at : record.last_activity_at;
  if (newest && !withheld) conversation.last_message = newest->id;
  conversation.expires_at = StartOf(head.day);
  conversation.revision = record.revision;
  MAYFLY_ASSIGN_OR_RETURN(conversation.participants, core.ParticipantsOf(head, now, pairs));
  if (conversation.restricted) {
    std::erase_if(conversation.participants, [&](const Contact& contact) {
      return core.IsWithheld(actor, record.account, contact.platform_id, now);
    });
  }
  return conversation;
}

// Messages of one conversation for one answer: senders are looked up once.
class MessageReader {
 public:
  MessageReader(const Core& core, ExpiryDay head_day, TimePoint now, Pairs& pairs)
      : core_(core), head_day_(head_day), now_(now), pairs_(pairs) {}

  Result<Message> ToMessage(StoredMessage stored) {
    codec::MessageRecord& record = stored.record;
    Message message;
    message.id = stored.id;
    message.conversation = record.conversation;
    message.account = stored.header.account;
    message.direction = stored.header.direction;
    message.sent_at = record.sent_at;
    message.received_at = record.received_at;
    message.expires_at = StartOf(stored.id.day);
    message.edited_at = record.edited_at;
    message.sequence = record.sequence;
    message.unreadable = record.unreadable;
    message.has_unsupported_content = record.has_unsupported_content;
    message.backfilled = record.backfilled;
    message.reply = record.reply;
    for (std::uint16_t number = 1; number <= record.attachments; ++number) {
      auto attachment = LoadAttachment(core_, stored.id, number, pairs_);
      if (attachment) {
        message.attachments.push_back(*std::move(attachment));
      } else if (!IsGone(attachment.error()) && attachment.error().code != ErrorCode::kCorrupt) {
        return Fail(std::move(attachment).error());
      }  // damaged (counted): the message is readable without
    }
    if (message.direction == Direction::kOutgoing) {
      const auto account = core_.GetAccount(message.account);
      if (account) message.sender_handle = ContactHandle(account->own_handle);
    } else if (!record.sender.empty()) {
      auto known = senders_.find(record.sender);
      if (known == senders_.end()) {
        MAYFLY_ASSIGN_OR_RETURN(auto contact, core_.FindContact(message.account, record.sender,
                                                                head_day_, now_, pairs_));
        known = senders_
                    .emplace(record.sender,
                             contact ? *std::move(contact) : Contact{.platform_id = record.sender})
                    .first;
      }
      message.sender_handle = known->second.handle;
      message.sender_name = known->second.display_name;
    }
    message.platform_id = std::move(record.platform_id);
    message.sender_platform_id = std::move(record.sender);
    message.text = std::move(record.text);
    return message;
  }

 private:
  const Core& core_;
  const ExpiryDay head_day_;
  const TimePoint now_;
  Pairs& pairs_;
  std::map<PlatformId, Contact> senders_;
};

struct Candidate {
  ExpiryDay day{};
  schema::ThreadPosition position;
  std::string key;
  std::string sealed;
};

std::string PositionOf(const schema::ThreadPosition& position) {
  return schema::NewestFirst(position.sent_at).append(schema::View(position.dkey));
}

// The `count` newest messages behind `after`, tombstones included, over all dates that hold any.
// Dates are read newest first, until no message of an older one can be new enough.
Result<std::vector<Candidate>> NewestOf(const Core& core, const codec::HeadRecord& head,
                                        const std::optional<std::string>& after, std::size_t count,
                                        TimePoint now) {
  std::vector<Candidate> newest;
  // What ends on a date was born at least this long before it, and was sent when it was born, give
  // or take a day; a head whose messages claim more than that is read through all its dates.
  const auto life = head.odd_times ? std::chrono::days(0) : core.ShortestLife(head.account);
  for (auto day = head.days.rbegin(); day != head.days.rend(); ++day) {
    if (newest.size() == count && life > kTimeSlack &&
        StartOf(*day) - life + kTimeSlack < newest.back().position.sent_at) {
      break;
    }
    if (!core.IsUsable(*day, now)) continue;
    auto cblind = core.Blind(*day, schema::kBlindConversation, schema::View(head.id.bytes));
    if (!cblind) {
      if (cblind.error().code == ErrorCode::kExpired) continue;
      return Fail(std::move(cblind).error());
    }
    ScanOptions options{.prefix = schema::Key(schema::kMessage, *cblind)};
    if (after) options.after = options.prefix + *after;
    auto scanned = core.engine().Scan(
        Family::Day(*day), options, [&](std::string_view key, std::string_view sealed) {
          const auto position = schema::ParseMessageKey(key);
          if (!position) {
            core.CountDamage();
            return true;
          }
          const auto place =
              std::upper_bound(newest.begin(), newest.end(), *position,
                               [](const schema::ThreadPosition& a, const Candidate& b) {
                                 return schema::IsNewer(a, b.position);
                               });
          if (place == newest.end() && newest.size() >= count) return false;
          newest.insert(place, Candidate{*day, *position, std::string(key), std::string(sealed)});
          if (newest.size() > count) newest.pop_back();
          return true;
        });
    if (!scanned && scanned.error().code != ErrorCode::kExpired) {
      return Fail(std::move(scanned).error());
    }
  }
  return newest;
}

// The inbox rows of all visible dates. A conversation lies on the date on which its last message
// ends and stands in the inbox where its newest one was born, so the merge need not look into a
// date before it has come back to the latest birth there.
std::vector<MergeSource> InboxSources(const Core& core,
                                      const std::optional<TimePoint>& expires_before,
                                      TimePoint now) {
  std::vector<MergeSource> sources;
  for (const auto& [day, latest] : core.VisibleDaysWithLatestBirth(now)) {
    if (expires_before && StartOf(day) >= *expires_before) continue;
    sources.push_back({.family = Family::Day(day),
                       .not_before = schema::Key(schema::kInbox) + schema::NewestFirst(latest)});
  }
  return sources;
}

}  // namespace

Result<Conversations::InboxPage> Conversations::List(const Look& look, const Filter& filter,
                                                     const std::string& after, std::size_t limit,
                                                     TimePoint now) const {
  MAYFLY_ASSIGN_OR_RETURN(const auto position, ParsePosition(after));
  limit = std::max<std::size_t>(limit, 1);
  const auto matches = [&filter](AccountId account, ConversationStatus status, bool unread) {
    return (!filter.account || *filter.account == account) &&
           (!filter.accounts || filter.accounts->contains(account)) &&
           (!filter.status || *filter.status == status) &&
           (!filter.unread || *filter.unread == unread);
  };
  const std::vector<MergeSource> sources = InboxSources(core_, filter.expires_before, now);

  struct Row {
    ExpiryDay day;
    std::string key;
    ConversationId conversation;
  };
  const std::string prefix = schema::Key(schema::kInbox);
  ReaderPairs pairs(core_);
  InboxPage page;
  ScanOptions options{.prefix = prefix};
  if (position) options.after = prefix + *position;
  bool more = true;
  while (more && page.items.size() < limit) {
    const std::size_t wanted = limit - page.items.size();
    std::vector<Row> rows;
    more = false;
    MAYFLY_RETURN_IF_ERROR(core_.engine().MergeScan(
        sources, options, [&](Family family, std::string_view key, std::string_view sealed) {
          const auto row = core_.OpenRow(family.day(), schema::kInbox, key, sealed, pairs);
          if (!row) return true;  // damaged (counted), or its date has just ended
          const auto inbox = core_.Checked(codec::DecodeInbox(row->body));
          if (!inbox || !matches(inbox->account, inbox->status, inbox->unread)) return true;
          if (rows.size() == wanted) {
            more = true;
            return false;
          }
          rows.push_back({family.day(), std::string(key), inbox->conversation});
          return true;
        }));
    for (const Row& row : rows) {
      options.after = row.key;
      auto head = core_.FindHead(row.conversation, now, pairs);
      if (!head) {
        if (head.error().code == ErrorCode::kCorrupt) continue;
        return Fail(std::move(head).error());
      }
      if (*head == nullptr) continue;
      const codec::HeadRecord& record = (*head)->record;
      if (!matches(record.account, record.status, record.unread)) continue;
      if ((*head)->day != row.day ||
          !row.key.starts_with(prefix + schema::NewestFirst(record.last_activity_at))) {
        // It moved while this page was read, or the row is what a damaged head left behind.
        auto still = core_.Get(row.day, row.key);
        if (!still || *still) continue;
      }
      MAYFLY_ASSIGN_OR_RETURN(Conversation item,
                              ToConversation(core_, **head, look.actor(), now, pairs));
      page.items.push_back(std::move(item));
    }
  }
  if (more) page.next = ToHex(std::string_view(*options.after).substr(prefix.size()));
  return page;
}

Result<Conversation> Conversations::Get(const Look& look, ConversationId id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(id, now, pairs));
  if (head == nullptr) return UnknownConversation();
  return ToConversation(core_, *head, look.actor(), now, pairs);
}

Result<bool> Conversations::Exists(ConversationId id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(id, now, pairs));
  return head != nullptr;
}

Result<Conversation> Conversations::Update(ConversationId id, const Patch& patch,
                                           std::optional<std::uint64_t> if_revision,
                                           const Actor& actor, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(id, now, transaction.pairs()));
  if (head == nullptr) return UnknownConversation();
  if (if_revision && *if_revision != head->record.revision) {
    return Fail(ErrorCode::kPreconditionFailed, "The conversation was changed meanwhile.");
  }
  LoadedHead changed{.record = head->record, .day = head->day};
  if (patch.status) changed.record.status = *patch.status;
  if (patch.unread) changed.record.unread = *patch.unread;
  if (changed.record.status != head->record.status ||
      changed.record.unread != head->record.unread) {
    MAYFLY_RETURN_IF_ERROR(transaction.PutHead(head, changed.record, head->day));
    MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "conversation.change", id.ToString(), "ok"));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    changed.record.revision = head->record.revision + 1;
  }
  return ToConversation(core_, changed, actor, now, transaction.pairs());
}

Result<Conversations::MessagePage> Conversations::Messages(const Look& look, ConversationId id,
                                                           const std::string& after,
                                                           std::size_t limit, TimePoint now) const {
  MAYFLY_ASSIGN_OR_RETURN(std::optional<std::string> position, ParsePosition(after));
  limit = std::max<std::size_t>(limit, 1);
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const HeadPtr head, core_.FindHead(id, now, pairs));
  if (head == nullptr) return UnknownConversation();
  if (core_.IsWithheld(look.actor(), head->record, now)) return Restricted();
  MessageReader reader(core_, head->day, now, pairs);
  MessagePage page;
  page.items.reserve(std::min(limit, kPageReserved));
  std::string last_position;
  for (bool more = true; more;) {
    const std::size_t wanted = limit - page.items.size() + 1;  // one more tells whether any follows
    MAYFLY_ASSIGN_OR_RETURN(const auto candidates,
                            NewestOf(core_, head->record, position, wanted, now));
    more = candidates.size() == wanted;
    for (const Candidate& candidate : candidates) {
      position = PositionOf(candidate.position);
      auto stored = core_.OpenMessage(candidate.day, candidate.key, candidate.sealed, pairs);
      if (!stored) continue;  // damaged (counted), or its date has just ended
      if (stored->record.withdrawn || !IsVisible(StartOf(candidate.day), now)) continue;
      if (stored->header.direction == Direction::kIncoming &&
          core_.IsWithheld(look.actor(), stored->header.account, stored->record.sender, now)) {
        continue;
      }
      if (page.items.size() == limit) {
        page.next = ToHex(last_position);
        return page;
      }
      MAYFLY_ASSIGN_OR_RETURN(Message message, reader.ToMessage(*std::move(stored)));
      page.items.push_back(std::move(message));
      last_position = *position;
    }
  }
  return page;
}

Result<Message> Conversations::GetMessage(const Look& look, const MessageId& id,
                                          TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(StoredMessage stored, core_.FindMessage(id, now, pairs));
  if (stored.record.withdrawn) {
    return Fail(ErrorCode::kNotFound, "There is no such message.");
  }
  if (core_.IsWithheld(look.actor(), stored, now, pairs)) return Restricted();
  // A damaged head takes the sender's name away, not the message.
  const auto head = core_.FindHead(stored.record.conversation, now, pairs);
  const ExpiryDay head_day = head && *head != nullptr ? (*head)->day : id.day;
  return MessageReader(core_, head_day, now, pairs).ToMessage(std::move(stored));
}

Result<ConversationId> Conversations::ConversationOf(const MessageId& id, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_ASSIGN_OR_RETURN(const StoredMessage stored, core_.FindMessage(id, now, pairs));
  if (stored.record.withdrawn) {
    return Fail(ErrorCode::kNotFound, "There is no such message.");
  }
  return stored.record.conversation;
}

}  // namespace mayfly::store
