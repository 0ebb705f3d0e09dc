// Replies on their way out. States and their rules: store/model/reply.h.
#ifndef MAYFLY_STORE_OUTBOX_QUEUE_H_
#define MAYFLY_STORE_OUTBOX_QUEUE_H_

#include <optional>
#include <string>
#include <vector>

#include "store/audit_log.h"
#include "store/model/actor.h"
#include "store/model/conversation.h"
#include "store/model/reply.h"
#include "store/model/result.h"

namespace mayfly::store {

class Core;

class OutboxQueue {
 public:
  explicit OutboxQueue(Core& core) : core_(core) {}

  struct NewReply {
    ConversationId conversation;
    MessageId after_message;
    MessageBody text;
    std::string idempotency_key;
    // Why this text may not be queued. What the key was used for before is answered all the same.
    std::optional<Error> refusal;
  };
  struct Queued {
    Reply reply;
    bool replayed = false;  // same key and body as before: the same answer
  };
  // Audited as `reply.queue`. kNotFound; kRestricted, whoever asks and whatever the key was used
  // for before, when anybody in the conversation is (rights/rights.h); kExpired (after_message's
  // date has come); kIdempotencyConflict (same key, other body); kConversationMoved (after_message
  // is not the newest, or another author's reply is pending; does not use up the key);
  // kPlatformRejected (the conversation is locked); `refusal`, which does not use up the key;
  // kCredentialDead and kMissingPrivilege (nothing can be sent); kDiskFull (room_gate.h);
  // kUnavailable (the store was restored, and the account has not read yet what was sent since the
  // backup; returned.h). An idempotency key lives 24 hours and never longer than the reply.
  Result<Queued> Enqueue(const NewReply& reply, const Actor& actor, TimePoint now);
  // Ids of visible messages newer than `after`, newest first, at most 20. For `conversation-moved`.
  Result<std::vector<MessageId>> NewerThan(ConversationId conversation, const MessageId& after,
                                           TimePoint now) const;

  // kExpired when the id's date has come; kNotFound; kRestricted. Needs a look at
  // ConversationOf(id).
  Result<Reply> Get(const Look& look, const ReplyId& id, TimePoint now) const;
  Result<ConversationId> ConversationOf(const ReplyId& id, TimePoint now) const;
  // Replies of a conversation that are not final, oldest first; for the thread view. kRestricted.
  Result<std::vector<Reply>> PendingOf(const Look& look, ConversationId conversation,
                                       TimePoint now) const;

  // --- for the sender
  // Queued, sending and unknown replies whose message still lives, oldest first.
  Result<std::vector<Reply>> Pending(TimePoint now) const;
  struct SendJob {
    Reply reply;
    PlatformId conversation;  // the platform's id
    PlatformId in_reply_to;   // of after_message; empty when that was withdrawn, or is damaged
    std::optional<TimePoint> answered_at;  // when it was sent, by the platform's clock
    std::vector<Contact> recipients;       // the participants of the conversation as they are now
  };
  // Commits `sending`, synced, before the call may leave. kPreconditionFailed when it is not queued
  // any more, or somebody whom it would reach is restricted: then it has failed. kExpired when its
  // message has expired.
  Result<SendJob> StartSending(const ReplyId& id, TimePoint now);
  Result<SendJob> JobOf(const ReplyId& id, TimePoint now) const;  // for looking at the platform
  // Commits `sent` together with the outgoing message (merged with it if a poll stored it already).
  // kPreconditionFailed when the platform id belongs to another reply.
  Result<Reply> MarkSent(const ReplyId& id, const PlatformId& platform_id,
                         std::optional<TimePoint> sent_at, TimePoint now);
  Status MarkFailed(const ReplyId& id, const std::string& reason, const std::string& platform_code,
                    TimePoint now);
  Status MarkUnknown(const ReplyId& id, const std::string& reason, TimePoint now);
  // From sending back to queued: only when it is certain that nothing left.
  Status Requeue(const ReplyId& id, TimePoint not_before, TimePoint now);
  // Counts a look at the platform that found nothing.
  Status CountLook(const ReplyId& id, TimePoint now);
  // Whether the platform's message with this id is certainly not what came of `reply`: it is stored
  // and belongs to another reply, or had been stored before the reply's send began.
  Result<bool> IsSomethingElse(const PlatformId& platform_id, const Reply& reply,
                               TimePoint now) const;
  // At start: `sending` left by a crash becomes `unknown`. Returns how many.
  Result<std::size_t> RecoverInterrupted(TimePoint now);

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_OUTBOX_QUEUE_H_
