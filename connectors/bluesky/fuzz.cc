#include "connectors/fuzz.h"

#include <string>

#include "connectors/bluesky/api_types.h"
#include "store/model/json.h"

namespace mayfly::connectors::bluesky {

const char* Fuzz(std::string_view answer);

namespace {

constexpr char kRefusal[] = "a refusal is a sentence of ours";

bool IsId(const std::string& id) {
  return !id.empty() && id.size() <= kIdBytesMax && json::IsValidUtf8(id);
}

const char* CheckItem(const MessageItem& item) {
  if (item.kind == ItemKind::kMessage || item.kind == ItemKind::kDeleted) {
    if (!IsId(item.id) || !IsId(item.sender_did)) return "a message has its id and its sender";
  }
  if (item.kind != ItemKind::kMessage && !item.text.empty()) return "only messages have a text";
  if (item.text_missing && !item.text.empty()) return "a text that is there is not missing";
  if (!json::IsValidUtf8(item.text.Reveal())) return "texts are valid UTF-8";
  return nullptr;
}

const char* CheckConvo(const ConvoView& convo) {
  if (!IsId(convo.id)) return "a conversation has its id";
  for (const Contact& member : convo.members) {
    if (!IsId(member.platform_id.Reveal())) return "a member has its id";
    if (!json::IsValidUtf8(member.handle.Reveal())) return "handles are valid UTF-8";
  }
  return convo.last_message ? CheckItem(*convo.last_message) : nullptr;
}

const char* CheckPage(const Result<ConvoPage>& page, bool requests) {
  if (!page) return IsPlainRefusal(page.error()) ? nullptr : kRefusal;
  if (page->cursor.size() > kCursorBytesMax) return "cursors are bounded";
  for (const ConvoView& convo : page->convos) {
    if (requests && !convo.request) return "a request is one";
    if (const char* broken = CheckConvo(convo)) return broken;
  }
  return nullptr;
}

const char* FuzzConversations(std::string_view answer) {
  if (const char* broken = CheckPage(ParseConvoList(answer), false)) return broken;
  if (const char* broken = CheckPage(ParseConvoRequests(answer), true)) return broken;
  const Result<ConvoView> convo = ParseConvo(answer);
  if (!convo) return IsPlainRefusal(convo.error()) ? nullptr : kRefusal;
  return CheckConvo(*convo);
}

const char* FuzzMessages(std::string_view answer) {
  const Result<MessagePage> page = ParseMessages(answer);
  if (!page) return IsPlainRefusal(page.error()) ? nullptr : kRefusal;
  if (page->cursor.size() > kCursorBytesMax) return "cursors are bounded";
  for (const MessageItem& item : page->messages) {
    if (const char* broken = CheckItem(item)) return broken;
  }
  return nullptr;
}

const char* FuzzSent(std::string_view answer) {
  const Result<MessageItem> sent = ParseSentMessage(answer);
  if (!sent) return IsPlainRefusal(sent.error()) ? nullptr : kRefusal;
  if (sent->kind != ItemKind::kMessage) return "what was sent is a message";
  return CheckItem(*sent);
}

const char* FuzzLog(std::string_view answer) {
  const Result<LogPage> page = ParseLog(answer);
  if (!page) return IsPlainRefusal(page.error()) ? nullptr : kRefusal;
  if (page->cursor.size() > kCursorBytesMax) return "cursors are bounded";
  for (const LogEntry& entry : page->entries) {
    if (entry.kind != LogKind::kOther && !IsId(entry.convo_id)) return "an event has its place";
    const bool needs_message =
        entry.kind == LogKind::kCreateMessage || entry.kind == LogKind::kDeleteMessage;
    if (needs_message != entry.message.has_value()) return "a message comes with its event";
    if (!entry.message) continue;
    if (const char* broken = CheckItem(*entry.message)) return broken;
  }
  return nullptr;
}

const char* FuzzSession(std::string_view answer) {
  for (const bool with_tokens : {false, true}) {
    const Result<Session> session = ParseSession(answer, with_tokens);
    if (!session) {
      if (!IsPlainRefusal(session.error())) return kRefusal;
      continue;
    }
    if (!IsId(session->did) || !session->did.starts_with("did:")) return "a session has its DID";
    if (with_tokens == (session->access.empty() || session->refresh.empty())) {
      return "a session has both tokens, or was asked for none";
    }
  }
  return nullptr;
}

}  // namespace

const char* Fuzz(std::string_view answer) {
  ParseApiError(answer);
  for (const auto fuzz : {FuzzConversations, FuzzMessages, FuzzSent, FuzzLog, FuzzSession}) {
    if (const char* broken = fuzz(answer)) return broken;
  }
  // What we write ourselves around a text is one JSON document, whatever the text.
  if (!json::Parse(SendMessageBody("convo", MessageBody(std::string(answer))))) {
    return "any text can be sent";
  }
  return nullptr;
}

}  // namespace mayfly::connectors::bluesky
