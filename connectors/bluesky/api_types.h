// The platform's JSON as structs. Pure functions over bytes that a stranger chose: everything here
// must be safe on any input, and is the fuzz target of this folder.
//
// What we do not need is not read. What we need and cannot find is kProtocol with the place as a
// JSON pointer; the platform's own text never gets into an error.
#ifndef MAYFLY_CONNECTORS_BLUESKY_API_TYPES_H_
#define MAYFLY_CONNECTORS_BLUESKY_API_TYPES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/conversation.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly::connectors::bluesky {

inline constexpr std::size_t kBodyBytesMax = 8u << 20;
inline constexpr std::size_t kCursorBytesMax = 2'048;  // of one cursor of the platform
inline constexpr std::size_t kIdBytesMax = 512;

// {"error": ..., "message": ...}. Both empty when the body is not that.
struct ApiError {
  std::string name;
  std::string message;  // to recognise cases by, never to show or log
};
ApiError ParseApiError(std::string_view body);

// The answer of createSession, refreshSession and (without tokens) getSession.
struct Session {
  Credential access;
  Credential refresh;
  std::string did;
  std::string handle;
  bool active = true;              // false: deactivated, suspended or taken down
  std::optional<std::string> pds;  // the endpoint #atproto_pds of the DID document, as it stands
};
Result<Session> ParseSession(std::string_view body, bool with_tokens);

enum class ItemKind {
  kMessage,
  kDeleted,  // id, sender and time only
  kSystem,   // "somebody joined"; ids may be missing
  kOther,    // a kind that we do not know
};

// A member of the union of messageView, deletedMessageView and systemMessageView.
struct MessageItem {
  ItemKind kind = ItemKind::kOther;
  std::string id;
  std::string sender_did;
  std::optional<TimePoint> sent_at;  // absent when it is no valid date
  MessageBody text;
  bool text_missing = false;  // a message whose text is absent or no string
  bool has_embed = false;
};

struct ConvoView {
  std::string id;
  std::string rev;
  std::vector<Contact> members;  // us included
  bool group = false;
  bool request = false;
  bool locked = false;
  std::optional<MessageItem> last_message;
};
Result<ConvoView> ParseConvo(std::string_view body);  // {"convo": ...}

struct ConvoPage {
  std::vector<ConvoView> convos;
  std::string cursor;  // empty at the end
};
Result<ConvoPage> ParseConvoList(std::string_view body);      // listConvos
Result<ConvoPage> ParseConvoRequests(std::string_view body);  // listConvoRequests; others left out

struct MessagePage {
  std::vector<MessageItem> messages;
  std::string cursor;  // empty at the end
};
Result<MessagePage> ParseMessages(std::string_view body);
Result<MessageItem> ParseSentMessage(std::string_view body);  // a messageView

enum class LogKind {
  kCreateMessage,
  kDeleteMessage,
  kBeginConvo,
  kAcceptConvo,
  kLockConvo,
  kUnlockConvo,
  kMembersChanged,  // of a group
  kOther,           // everything that changes nothing for us, and kinds that we do not know
};

struct LogEntry {
  LogKind kind = LogKind::kOther;
  std::string convo_id;
  std::optional<MessageItem> message;  // for kCreateMessage and kDeleteMessage
  std::vector<Contact> profiles;       // people referred to, where the platform sends them
};

struct LogPage {
  std::vector<LogEntry> entries;  // kOther included, so that "nothing new" can be told
  std::string cursor;             // empty when the platform gave none
};
Result<LogPage> ParseLog(std::string_view body);

// The body of sendMessage.
std::string SendMessageBody(const std::string& convo_id, const MessageBody& text);
// The body of createSession.
std::string CreateSessionBody(const std::string& identifier, const Credential& password);

}  // namespace mayfly::connectors::bluesky

#endif  // MAYFLY_CONNECTORS_BLUESKY_API_TYPES_H_
