#include "store/change_observer.h"

namespace mayfly::store {

const char* ToString(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kMessageReceived:
      return "message.received";
    case ChangeKind::kMessageEdited:
      return "message.edited";
    case ChangeKind::kMessageWithdrawn:
      return "message.withdrawn";
    case ChangeKind::kAttachmentUpdated:
      return "attachment.updated";
    case ChangeKind::kMessageExpired:
      return "message.expired";
    case ChangeKind::kConversationUpdated:
      return "conversation.updated";
    case ChangeKind::kReplyUpdated:
      return "reply.updated";
    case ChangeKind::kAccountState:
      return "account.state";
    case ChangeKind::kCoverageHole:
      return "coverage.hole";
  }
  return "";
}

}  // namespace mayfly::store
