#include "connectors/bluesky/api_types.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "connectors/repair_json.h"
#include "store/model/json.h"

namespace mayfly::connectors::bluesky {
namespace {

// A page of 100 conversations of 50 people each is far below; a tree of more would not fit into a
// worker.
constexpr json::Limits kLimits = {.bytes_max = kBodyBytesMax, .items_max = 100'000};
constexpr std::string_view kConvoDefs = "chat.bsky.convo.defs#";

tl::unexpected<Error> Broken(const std::string& at, const char* what) {
  return Fail(ErrorCode::kProtocol, "The platform's answer is wrong at " + at + ": " + what + ".");
}

Result<json::Value> ParseBody(std::string_view body) {
  if (body.size() > kBodyBytesMax) {
    return Fail(ErrorCode::kProtocol, "The platform's answer is too large.");
  }
  auto value = json::Parse(body, kLimits);
  if (!value && value.error().code == ErrorCode::kInvalidArgument) {
    value = json::Parse(RepairJson(body), kLimits);
  }
  if (!value) {
    return Fail(ErrorCode::kProtocol, value.error().code == ErrorCode::kTooLarge
                                          ? "The platform's answer is too large."
                                          : "The platform's answer is not acceptable JSON.");
  }
  if (!value->is_object()) return Broken("/", "no object");
  return std::move(*value);
}

std::string Text(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  const std::string* text = member != nullptr ? member->AsString() : nullptr;
  return text != nullptr ? *text : std::string();
}

// An id that is there, is not empty and is not absurdly long.
Result<std::string> Id(const json::Value& object, std::string_view key, const std::string& at) {
  std::string id = Text(object, key);
  const std::string place = at + "/" + std::string(key);
  if (id.empty()) return Broken(place, "no identifier");
  if (id.size() > kIdBytesMax) return Broken(place, "identifier too long");
  return id;
}

Result<std::string> CursorOf(const json::Value& object) {
  const json::Value* member = object.Find("cursor");
  if (member == nullptr || member->is_null()) return std::string();
  const std::string* cursor = member->AsString();
  if (cursor == nullptr) return Broken("/cursor", "no string");
  if (cursor->size() > kCursorBytesMax) return Broken("/cursor", "too long");
  return *cursor;
}

Result<const json::Array*> List(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  const json::Array* array = member != nullptr ? member->AsArray() : nullptr;
  if (array == nullptr) return Broken("/" + std::string(key), "no list");
  return array;
}

// The part of `$type` after the definitions' prefix, or empty when it is from elsewhere.
std::string_view TypeIn(const std::string& type, std::string_view prefix) {
  std::string_view view = type;
  if (!view.starts_with(prefix)) return {};
  return view.substr(prefix.size());
}

// A member without a DID cannot be anybody and is left out; one without a handle is kept.
std::vector<Contact> Profiles(const json::Value& object, std::string_view key) {
  std::vector<Contact> contacts;
  const json::Value* member = object.Find(key);
  const json::Array* array = member != nullptr ? member->AsArray() : nullptr;
  if (array == nullptr) return contacts;
  for (const json::Value& profile : *array) {
    if (!profile.is_object()) continue;
    std::string did = Text(profile, "did");
    if (did.empty() || did.size() > kIdBytesMax) continue;
    contacts.push_back(Contact{.platform_id = PlatformId(std::move(did)),
                               .handle = ContactHandle(Text(profile, "handle")),
                               .display_name = ContactHandle(Text(profile, "displayName"))});
  }
  return contacts;
}

Result<MessageItem> Item(const json::Value& value, const std::string& at, ItemKind untyped) {
  if (!value.is_object()) return Broken(at, "no object");
  MessageItem item;
  const std::string type = Text(value, "$type");
  const std::string_view name = TypeIn(type, kConvoDefs);
  if (type.empty()) {
    item.kind = untyped;
  } else if (name == "messageView") {
    item.kind = ItemKind::kMessage;
  } else if (name == "deletedMessageView") {
    item.kind = ItemKind::kDeleted;
  } else if (name == "systemMessageView") {
    item.kind = ItemKind::kSystem;
  }
  if (item.kind == ItemKind::kSystem || item.kind == ItemKind::kOther) {
    item.id = Text(value, "id");
    item.sent_at = ParseRfc3339(Text(value, "sentAt"));
    return item;
  }
  MAYFLY_ASSIGN_OR_RETURN(item.id, Id(value, "id", at));
  item.sent_at = ParseRfc3339(Text(value, "sentAt"));
  const json::Value* sender = value.Find("sender");
  if (sender == nullptr || !sender->is_object()) return Broken(at + "/sender", "no object");
  MAYFLY_ASSIGN_OR_RETURN(item.sender_did, Id(*sender, "did", at + "/sender"));
  if (item.kind == ItemKind::kDeleted) return item;
  const json::Value* text = value.Find("text");
  if (text != nullptr && text->AsString() != nullptr) {
    item.text = MessageBody(*text->AsString());
  } else {
    item.text_missing = true;
  }
  const json::Value* embed = value.Find("embed");
  item.has_embed = embed != nullptr && !embed->is_null();
  return item;
}

Result<ConvoView> Convo(const json::Value& value, const std::string& at) {
  if (!value.is_object()) return Broken(at, "no object");
  ConvoView convo;
  MAYFLY_ASSIGN_OR_RETURN(convo.id, Id(value, "id", at));
  convo.rev = Text(value, "rev");
  convo.members = Profiles(value, "members");
  convo.request = Text(value, "status") == "request";
  if (const json::Value* kind = value.Find("kind"); kind != nullptr && kind->is_object()) {
    const std::string type = Text(*kind, "$type");
    convo.group = TypeIn(type, kConvoDefs) == "groupConvo";
    convo.locked = Text(*kind, "lockStatus").starts_with("locked");
  }
  if (const json::Value* last = value.Find("lastMessage"); last != nullptr && last->is_object()) {
    // Only its time is used. A broken one must not hide the conversation.
    if (auto item = Item(*last, at + "/lastMessage", ItemKind::kOther)) {
      convo.last_message = std::move(*item);
    }
  }
  return convo;
}

LogKind KindOf(std::string_view name) {
  struct Row {
    std::string_view name;
    LogKind kind;
  };
  static constexpr std::array<Row, 11> kRows = {{
      {"logCreateMessage", LogKind::kCreateMessage},
      {"logDeleteMessage", LogKind::kDeleteMessage},
      {"logBeginConvo", LogKind::kBeginConvo},
      {"logAcceptConvo", LogKind::kAcceptConvo},
      {"logLockConvo", LogKind::kLockConvo},
      {"logLockConvoPermanently", LogKind::kLockConvo},
      {"logUnlockConvo", LogKind::kUnlockConvo},
      {"logAddMember", LogKind::kMembersChanged},
      {"logRemoveMember", LogKind::kMembersChanged},
      {"logMemberJoin", LogKind::kMembersChanged},
      {"logMemberLeave", LogKind::kMembersChanged},
  }};
  for (const Row& row : kRows) {
    if (row.name == name) return row.kind;
  }
  return LogKind::kOther;
}

}  // namespace

ApiError ParseApiError(std::string_view body) {
  // An error body is small; a large one is an error page of something in between.
  if (body.size() > 64 * 1024) return {};
  auto value = json::Parse(body, {.bytes_max = 64 * 1024, .items_max = 1'000});
  if (!value || !value->is_object()) return {};
  return ApiError{.name = Text(*value, "error"), .message = Text(*value, "message")};
}

Result<Session> ParseSession(std::string_view body, bool with_tokens) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  Session session;
  MAYFLY_ASSIGN_OR_RETURN(session.did, Id(value, "did", ""));
  if (!session.did.starts_with("did:")) return Broken("/did", "no DID");
  session.handle = Text(value, "handle");
  if (with_tokens) {
    session.access = Credential(Text(value, "accessJwt"));
    session.refresh = Credential(Text(value, "refreshJwt"));
    if (session.access.empty()) return Broken("/accessJwt", "no token");
    if (session.refresh.empty()) return Broken("/refreshJwt", "no token");
  }
  if (const json::Value* active = value.Find("active");
      active != nullptr && active->AsBool() != nullptr) {
    session.active = *active->AsBool();
  }
  const json::Value* document = value.Find("didDoc");
  const json::Value* services = document != nullptr ? document->Find("service") : nullptr;
  const json::Array* array = services != nullptr ? services->AsArray() : nullptr;
  if (array != nullptr) {
    for (const json::Value& service : *array) {
      if (!service.is_object()) continue;
      const std::string id = Text(service, "id");
      if (id != "#atproto_pds" && id != session.did + "#atproto_pds") continue;
      if (Text(service, "type") != "AtprotoPersonalDataServer") continue;
      session.pds = Text(service, "serviceEndpoint");
      break;
    }
  }
  return session;
}

Result<ConvoView> ParseConvo(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  const json::Value* convo = value.Find("convo");
  if (convo == nullptr) return Broken("/convo", "missing");
  return Convo(*convo, "/convo");
}

Result<ConvoPage> ParseConvoList(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  ConvoPage page;
  MAYFLY_ASSIGN_OR_RETURN(page.cursor, CursorOf(value));
  MAYFLY_ASSIGN_OR_RETURN(const json::Array* convos, List(value, "convos"));
  page.convos.reserve(convos->size());
  for (std::size_t i = 0; i < convos->size(); ++i) {
    MAYFLY_ASSIGN_OR_RETURN(ConvoView convo, Convo((*convos)[i], "/convos/" + std::to_string(i)));
    page.convos.push_back(std::move(convo));
  }
  return page;
}

Result<ConvoPage> ParseConvoRequests(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  ConvoPage page;
  MAYFLY_ASSIGN_OR_RETURN(page.cursor, CursorOf(value));
  MAYFLY_ASSIGN_OR_RETURN(const json::Array* requests, List(value, "requests"));
  for (std::size_t i = 0; i < requests->size(); ++i) {
    const json::Value& request = (*requests)[i];
    const std::string at = "/requests/" + std::to_string(i);
    if (!request.is_object()) return Broken(at, "no object");
    // The other member of the union is a request of ours to join a group: no message in it.
    const std::string type = Text(request, "$type");
    if (TypeIn(type, kConvoDefs) != "convoView") continue;
    MAYFLY_ASSIGN_OR_RETURN(ConvoView convo, Convo(request, at));
    convo.request = true;
    page.convos.push_back(std::move(convo));
  }
  return page;
}

Result<MessagePage> ParseMessages(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  MessagePage page;
  MAYFLY_ASSIGN_OR_RETURN(page.cursor, CursorOf(value));
  MAYFLY_ASSIGN_OR_RETURN(const json::Array* messages, List(value, "messages"));
  page.messages.reserve(messages->size());
  for (std::size_t i = 0; i < messages->size(); ++i) {
    MAYFLY_ASSIGN_OR_RETURN(
        MessageItem item, Item((*messages)[i], "/messages/" + std::to_string(i), ItemKind::kOther));
    page.messages.push_back(std::move(item));
  }
  return page;
}

Result<MessageItem> ParseSentMessage(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  MAYFLY_ASSIGN_OR_RETURN(MessageItem item, Item(value, "", ItemKind::kMessage));
  if (item.kind != ItemKind::kMessage) return Broken("/$type", "no message");
  return item;
}

Result<LogPage> ParseLog(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  LogPage page;
  MAYFLY_ASSIGN_OR_RETURN(page.cursor, CursorOf(value));
  MAYFLY_ASSIGN_OR_RETURN(const json::Array* logs, List(value, "logs"));
  page.entries.reserve(logs->size());
  for (std::size_t i = 0; i < logs->size(); ++i) {
    const json::Value& log = (*logs)[i];
    const std::string at = "/logs/" + std::to_string(i);
    if (!log.is_object()) return Broken(at, "no object");
    LogEntry entry;
    const std::string type = Text(log, "$type");
    entry.kind = KindOf(TypeIn(type, kConvoDefs));
    if (entry.kind != LogKind::kOther) {
      MAYFLY_ASSIGN_OR_RETURN(entry.convo_id, Id(log, "convoId", at));
      entry.profiles = Profiles(log, "relatedProfiles");
    }
    if (entry.kind == LogKind::kCreateMessage || entry.kind == LogKind::kDeleteMessage) {
      const json::Value* message = log.Find("message");
      if (message == nullptr) return Broken(at + "/message", "missing");
      MAYFLY_ASSIGN_OR_RETURN(entry.message, Item(*message, at + "/message", ItemKind::kOther));
    }
    page.entries.push_back(std::move(entry));
  }
  return page;
}

std::string SendMessageBody(const std::string& convo_id, const MessageBody& text) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("convoId", convo_id);
  writer.Key("message").StartObject().Field("text", text.Reveal()).EndObject();
  writer.EndObject();
  return body;
}

std::string CreateSessionBody(const std::string& identifier, const Credential& password) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject()
      .Field("identifier", identifier)
      .Field("password", password.Reveal())
      .EndObject();
  return body;
}

}  // namespace mayfly::connectors::bluesky
