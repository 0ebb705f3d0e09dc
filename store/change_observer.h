// Who wants to know that something was committed. What is told is content-free: a kind and ids of
// ours.
#ifndef MAYFLY_STORE_CHANGE_OBSERVER_H_
#define MAYFLY_STORE_CHANGE_OBSERVER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/model/ids.h"

namespace mayfly::store {

enum class ChangeKind : std::uint8_t {
  kMessageReceived,      // id: the message, theirs or ours; with its conversation
  kMessageEdited,        // id: the message; with its conversation
  kMessageWithdrawn,     // id: the message; with its conversation
  kAttachmentUpdated,    // id: its message; kept or refused; with its conversation
  kMessageExpired,       // id: the date; everything that bears it is gone
  kConversationUpdated,  // id: the conversation
  kReplyUpdated,         // id: the reply; with its conversation
  kAccountState,         // id: the account; connected, another state, or retired
  kCoverageHole,         // id: the account; a hole opened, ended or was filled
};
const char* ToString(ChangeKind kind);  // "message.received"

struct ChangeNotice {
  ChangeKind kind = ChangeKind::kMessageReceived;
  std::string id;
  std::optional<ConversationId> conversation = {};
};

class ChangeObserver {
 public:
  virtual ~ChangeObserver() = default;
  // After each commit that changed something, in the order of commits, on the thread that
  // committed, under the store's commit lock: return soon and do not call the store.
  virtual void OnCommitted(const std::vector<ChangeNotice>& changes) = 0;
  // A commit that would have been told may or may not have happened, and will never be told: what
  // is shown must be read again. Called once when the commit failed, and again when the store has
  // found out and shows what it found. As OnCommitted otherwise.
  virtual void OnDoubt() = 0;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_CHANGE_OBSERVER_H_
