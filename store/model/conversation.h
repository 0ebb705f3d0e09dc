// A conversation: the head that staff work with. Never holds message text.
#ifndef MAYFLY_STORE_MODEL_CONVERSATION_H_
#define MAYFLY_STORE_MODEL_CONVERSATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/model/ids.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly {

struct Contact {
  PlatformId platform_id;
  ContactHandle handle;
  ContactHandle display_name;
};

enum class ConversationStatus : std::uint8_t { kOpen = 1, kClosed = 2 };
const char* ToString(ConversationStatus status);
std::optional<ConversationStatus> ParseConversationStatus(const std::string& word);

// How the conversation stands on the platform.
enum class PlatformStanding : std::uint8_t {
  kAccepted = 1,  // an ordinary conversation
  kRequest = 2,   // a stranger's first message, not accepted yet
  kLocked = 3,    // the platform takes no more messages in it
};
const char* ToString(PlatformStanding standing);

struct Conversation {
  ConversationId id;
  AccountId account;
  PlatformId platform_id;
  ConversationStatus status = ConversationStatus::kOpen;
  PlatformStanding standing = PlatformStanding::kAccepted;
  bool group = false;
  bool unread = false;                    // an incoming message newer than the last mark by staff
  std::vector<Contact> participants;      // the people other than us; at most 50 are kept
  TimePoint last_activity_at;             // sent time of the newest visible message
  std::optional<MessageId> last_message;  // newest by thread order
  TimePoint expires_at;                   // when its last message goes, and it with it
  std::uint64_t revision = 1;             // strong ETag
  // Somebody in it is restricted: nothing is sent, and staff are given neither their name nor their
  // messages; nor, when they are alone with us, anything else that says who it is.
  bool restricted = false;
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_CONVERSATION_H_
