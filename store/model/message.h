// Messages as staff read them.
#ifndef MAYFLY_STORE_MODEL_MESSAGE_H_
#define MAYFLY_STORE_MODEL_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/model/attachment.h"
#include "store/model/ids.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly {

enum class Direction : std::uint8_t { kIncoming = 1, kOutgoing = 2 };
const char* ToString(Direction direction);

// Why a message has no text that we could show. Such a message is a stub: id and time only.
enum class UnreadableReason : std::uint8_t {
  kNone = 0,
  kEncrypted = 1,        // end-to-end encrypted on the platform
  kNotAvailable = 2,     // the platform lists it and refuses its text
  kUnsupportedKind = 3,  // a kind that the connector does not know
};
const char* ToString(UnreadableReason reason);

struct Message {
  MessageId id;
  ConversationId conversation;
  AccountId account;
  Direction direction = Direction::kIncoming;
  TimePoint sent_at;      // as the platform says; equals received_at where it says nothing
  TimePoint received_at;  // first seen by us
  TimePoint expires_at;   // the instant of its death
  std::optional<TimePoint> edited_at;  // of the latest change by its sender that we know of; as the
                                       // platform says, or when we saw it where it says nothing
  std::uint64_t sequence = 0;          // arrival order in this store, growing, for the change feed
  PlatformId platform_id;
  PlatformId sender_platform_id;
  ContactHandle sender_handle;
  ContactHandle sender_name;
  MessageBody text;
  UnreadableReason unreadable = UnreadableReason::kNone;
  bool has_unsupported_content = false;      // an embed or attachment that is not listed here
  std::vector<Attachment> attachments = {};  // as the platform listed them first; by number
  bool backfilled = false;                   // arrived while history was read
  std::optional<ReplyId> reply;              // the reply that it came from, if staff wrote it here
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_MESSAGE_H_
