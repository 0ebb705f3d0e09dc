// What staff wrote, on its way to the platform. Sent at most once (promise P6).
//
//   queued -> sending -> sent | failed | unknown
//   unknown -> sent | failed, only by looking at the platform, never by sending again
//   sending -> queued, only when the connector is certain that nothing left (rate limit, no route)
#ifndef MAYFLY_STORE_MODEL_REPLY_H_
#define MAYFLY_STORE_MODEL_REPLY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "store/model/ids.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly {

enum class ReplyState : std::uint8_t {
  kQueued = 1,
  kSending = 2,
  kSent = 3,
  kFailed = 4,
  kUnknown = 5,
};
const char* ToString(ReplyState state);

struct Reply {
  ReplyId id;
  ConversationId conversation;
  AccountId account;
  MessageId after_message;  // the last message that the writer saw; the reply dies with it
  MessageBody text;
  ReplyState state = ReplyState::kQueued;
  std::string reason;         // for failed and unknown: an ErrorCode word, or `expired`,
                              // `not-delivered`, `account-retired`, `store-returned`
  std::string platform_code;  // the platform's own word from a closed list
  TimePoint created_at;
  TimePoint state_since;
  TimePoint expires_at;
  std::optional<TimePoint> send_started_at;  // when `sending` was committed, first attempt
  std::optional<TimePoint> not_before;       // queued: wait until then
  std::uint32_t attempts = 0;
  std::uint32_t looks = 0;           // times that the platform was asked about an unknown
  std::optional<MessageId> message;  // the outgoing message, once sent
  std::string author;                // token id of the writer
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_REPLY_H_
