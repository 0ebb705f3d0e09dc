// What staff read: the inbox, one conversation, its messages.
//
// Of a restricted person (rights/rights.h) they are given nothing: a conversation with them alone
// is listed without ids of the platform, people and newest message, and its messages are
// kRestricted; in a group they are missing, as are their messages. Who has the scope privacy:access
// sees all.
#ifndef MAYFLY_STORE_CONVERSATIONS_H_
#define MAYFLY_STORE_CONVERSATIONS_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/audit_log.h"
#include "store/model/conversation.h"
#include "store/model/message.h"
#include "store/model/result.h"

namespace mayfly::store {

class Core;

class Conversations {
 public:
  explicit Conversations(Core& core) : core_(core) {}

  struct Filter {
    std::optional<AccountId> account;
    std::optional<std::set<AccountId>> accounts;  // one of these
    std::optional<TimePoint> expires_before;      // gone at an earlier instant than this
    std::optional<ConversationStatus> status;
    std::optional<bool> unread;
  };
  struct InboxPage {
    std::vector<Conversation> items;  // by last activity, newest first
    std::string next;                 // opaque position, empty when there is no more
  };
  // `after` is a `next` of an earlier page or empty. A position in expired ground resumes at the
  // oldest living item. kCursorInvalid for anything else.
  Result<InboxPage> List(const Look& look, const Filter& filter, const std::string& after,
                         std::size_t limit, TimePoint now) const;
  Result<Conversation> Get(const Look& look, ConversationId id, TimePoint now) const;  // kNotFound
  // Whether it is there, without looking inside: lets a handler answer 404 without an audit entry.
  Result<bool> Exists(ConversationId id, TimePoint now) const;

  struct Patch {
    std::optional<ConversationStatus> status;
    std::optional<bool> unread;
  };
  // kNotFound; kPreconditionFailed when `if_revision` is given and stale. Audited. A patch that
  // changes nothing keeps the revision.
  Result<Conversation> Update(ConversationId id, const Patch& patch,
                              std::optional<std::uint64_t> if_revision, const Actor& actor,
                              TimePoint now);

  struct MessagePage {
    std::vector<Message> items;  // by sent time, newest first
    std::string next;
  };
  // kNotFound for an unknown conversation, kRestricted. Withdrawn and expired messages do not
  // appear.
  Result<MessagePage> Messages(const Look& look, ConversationId id, const std::string& after,
                               std::size_t limit, TimePoint now) const;
  // kExpired when the id's date has come, existing or not; kRestricted; kNotFound otherwise. Needs
  // a look at the message's conversation: ask ConversationOf first.
  Result<Message> GetMessage(const Look& look, const MessageId& id, TimePoint now) const;
  Result<ConversationId> ConversationOf(const MessageId& id,
                                        TimePoint now) const;  // no kRestricted

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_CONVERSATIONS_H_
