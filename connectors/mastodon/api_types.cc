#include "connectors/mastodon/api_types.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "connectors/mastodon/html_text.h"
#include "connectors/repair_json.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

// About a thousand statuses; a tree of more would not fit into a worker.
constexpr json::Limits kLimits = {.bytes_max = kBodyBytesMax, .items_max = 100'000};

tl::unexpected<Error> Broken(const std::string& at, const char* what) {
  return Fail(ErrorCode::kProtocol, "The server's answer is wrong at " + at + ": " + what + ".");
}

Result<json::Value> ParseBody(std::string_view body) {
  auto value = json::Parse(body, kLimits);
  if (!value && value.error().code == ErrorCode::kInvalidArgument) {
    value = json::Parse(RepairJson(body), kLimits);
  }
  if (!value && value.error().code == ErrorCode::kTooLarge) {
    return Fail(Error{.code = ErrorCode::kProtocol,
                      .message = "The server's answer is too large.",
                      .platform_code = kTooLargeWord});
  }
  if (!value) {
    return Fail(ErrorCode::kProtocol, "The server's answer is not acceptable JSON.");
  }
  return std::move(*value);
}

std::string Text(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  const std::string* text = member != nullptr ? member->AsString() : nullptr;
  return text != nullptr ? *text : std::string();
}

bool IsTrue(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  const bool* value = member != nullptr ? member->AsBool() : nullptr;
  return value != nullptr && *value;
}

bool IsThere(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  return member != nullptr && !member->is_null();
}

const json::Array* ArrayIn(const json::Value& object, std::string_view key) {
  const json::Value* member = object.Find(key);
  return member != nullptr ? member->AsArray() : nullptr;
}

bool IsUsableId(const std::string& id) {
  return !id.empty() && id.size() <= kIdBytesMax && std::all_of(id.begin(), id.end(), [](char c) {
    return c > ' ' && c < '\x7f' && c != '~';
  });
}

// An id that is there and can be kept and asked with. Some servers have written numbers.
Result<std::string> Id(const json::Value& object, std::string_view key, const std::string& at) {
  std::string id = Text(object, key);
  if (const json::Value* member = object.Find(key); member != nullptr && id.empty()) {
    if (const std::int64_t* number = member->AsInt()) id = std::to_string(*number);
  }
  if (!IsUsableId(id)) return Broken(at + "/" + std::string(key), "no usable identifier");
  return id;
}

std::string OptId(const json::Value& object, std::string_view key) {
  auto id = Id(object, key, "");
  return id ? *std::move(id) : std::string();
}

ContactHandle Short(const json::Value& object, std::string_view key) {
  const std::string text = PlainText(Text(object, key));
  return text.size() <= kPersonBytesMax ? ContactHandle(text) : ContactHandle();
}

Result<Person> ReadPerson(const json::Value& value, const std::string& at) {
  if (!value.is_object()) return Broken(at, "no object");
  Person person;
  MAYFLY_ASSIGN_OR_RETURN(person.id, Id(value, "id", at));
  person.acct = Short(value, "acct");
  if (person.acct.empty()) person.acct = Short(value, "username");
  person.display_name = Short(value, "display_name");
  person.url = Short(value, "url");
  return person;
}

// People whose entries cannot be read are nobody, and left out.
std::vector<Person> ReadPeople(const json::Value& object, std::string_view key) {
  std::vector<Person> people;
  const json::Array* array = ArrayIn(object, key);
  if (array == nullptr) return people;
  for (const json::Value& entry : *array) {
    if (auto person = ReadPerson(entry, "")) people.push_back(*std::move(person));
  }
  return people;
}

Result<MastodonStatus> ReadStatus(const json::Value& value, const std::string& at) {
  if (!value.is_object()) return Broken(at, "no object");
  MastodonStatus status;
  MAYFLY_ASSIGN_OR_RETURN(status.id, Id(value, "id", at));
  status.created_at = ParseRfc3339(Text(value, "created_at"));
  status.edited_at = ParseRfc3339(Text(value, "edited_at"));
  status.in_reply_to_id = OptId(value, "in_reply_to_id");
  const std::string visibility = Text(value, "visibility");
  if (visibility == "direct") {
    status.visibility = Visibility::kDirect;
  } else if (visibility == "private") {
    status.visibility = Visibility::kPrivate;
  }
  const json::Value* account = value.Find("account");
  if (account == nullptr) return Broken(at + "/account", "missing");
  MAYFLY_ASSIGN_OR_RETURN(status.account, ReadPerson(*account, at + "/account"));
  status.mentions = ReadPeople(value, "mentions");
  const json::Value* content = value.Find("content");
  if (content != nullptr && content->is_string()) {
    status.content = MessageBody(*content->AsString());
  } else {
    status.content_missing = true;
  }
  status.spoiler = MessageBody(Text(value, "spoiler_text"));
  const json::Array* media = ArrayIn(value, "media_attachments");
  status.has_attachment =
      (media != nullptr && !media->empty()) || IsThere(value, "poll") || IsThere(value, "quote");
  status.is_reblog = IsThere(value, "reblog");
  return status;
}

Result<std::vector<MastodonStatus>> ReadStatuses(const json::Array& array, const std::string& at) {
  std::vector<MastodonStatus> statuses;
  statuses.reserve(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    MAYFLY_ASSIGN_OR_RETURN(MastodonStatus status,
                            ReadStatus(array[i], at + "/" + std::to_string(i)));
    statuses.push_back(std::move(status));
  }
  return statuses;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string Lowered(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), Lower);
  return text;
}

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

Flavour FlavourOf(const std::string& version, const std::string& source) {
  if (Contains(version, "snac")) return Flavour::kSnac;
  if (Contains(version, "pleroma") || Contains(version, "akkoma")) return Flavour::kPleroma;
  if (Contains(version, "gotosocial") || Contains(source, "gotosocial") ||
      version.starts_with("0.")) {
    return Flavour::kGoToSocial;
  }
  return Flavour::kMastodon;
}

// "https://example.org/" and "example.org" are one domain.
std::string DomainOf(std::string text) {
  text = Lowered(std::move(text));
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (text.starts_with(scheme)) text.erase(0, scheme.size());
  }
  text.resize(std::min(text.find('/'), text.size()));
  const bool usable = text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
                        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                               c == '.' || c == ':' || (static_cast<unsigned char>(c) >= 0x80);
                      });
  return usable ? text : std::string();
}

// The value of the query parameter `name` in an address. Ids need no decoding.
std::string Parameter(std::string_view address, std::string_view name) {
  std::size_t i = address.find('?');
  while (i != std::string_view::npos && i < address.size()) {
    const std::string_view rest = address.substr(i + 1);
    const std::size_t end = std::min(rest.find_first_of("&#"), rest.size());
    const std::string_view pair = rest.substr(0, end);
    if (pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '=') {
      std::string value(pair.substr(name.size() + 1));
      return IsUsableId(value) ? value : std::string();
    }
    i = end < rest.size() && rest[end] == '&' ? i + 1 + end : std::string_view::npos;
  }
  return {};
}

}  // namespace

std::string ParseErrorText(std::string_view body) {
  // An error body is small; a large one is an error page of something in between.
  if (body.size() > 64 * 1024) return {};
  auto value = json::Parse(body, {.bytes_max = 64 * 1024, .items_max = 1'000});
  if (!value || !value->is_object()) return {};
  std::string text = Text(*value, "error");
  const std::string more = Text(*value, "error_description");
  if (!more.empty()) text += " " + more;
  return Lowered(std::move(text));
}

Result<MastodonStatus> ParseStatus(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  return ReadStatus(value, "");
}

Result<std::vector<MastodonStatus>> ParseStatuses(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  if (value.AsArray() == nullptr) return Broken("/", "no list");
  return ReadStatuses(*value.AsArray(), "");
}

Result<std::vector<Notification>> ParseNotifications(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  const json::Array* array = value.AsArray();
  if (array == nullptr) return Broken("/", "no list");
  std::vector<Notification> notifications;
  for (std::size_t i = 0; i < array->size(); ++i) {
    const json::Value& entry = (*array)[i];
    const std::string at = "/" + std::to_string(i);
    if (!entry.is_object()) return Broken(at, "no object");
    Notification notification;
    MAYFLY_ASSIGN_OR_RETURN(notification.id, Id(entry, "id", at));
    notification.mention = Text(entry, "type") == "mention";
    notification.created_at = ParseRfc3339(Text(entry, "created_at"));
    if (notification.mention && IsThere(entry, "status")) {
      MAYFLY_ASSIGN_OR_RETURN(notification.status,
                              ReadStatus(*entry.Find("status"), at + "/status"));
    }
    notifications.push_back(std::move(notification));
  }
  return notifications;
}

Result<std::vector<ConversationEntry>> ParseConversations(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  const json::Array* array = value.AsArray();
  if (array == nullptr) return Broken("/", "no list");
  std::vector<ConversationEntry> conversations;
  for (std::size_t i = 0; i < array->size(); ++i) {
    const json::Value& entry = (*array)[i];
    const std::string at = "/" + std::to_string(i);
    if (!entry.is_object()) return Broken(at, "no object");
    ConversationEntry conversation;
    MAYFLY_ASSIGN_OR_RETURN(conversation.id, Id(entry, "id", at));
    conversation.accounts = ReadPeople(entry, "accounts");
    if (IsThere(entry, "last_status")) {
      MAYFLY_ASSIGN_OR_RETURN(conversation.last_status,
                              ReadStatus(*entry.Find("last_status"), at + "/last_status"));
    }
    conversations.push_back(std::move(conversation));
  }
  return conversations;
}

Result<Context> ParseContext(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  const json::Array* ancestors = ArrayIn(value, "ancestors");
  const json::Array* descendants = ArrayIn(value, "descendants");
  if (ancestors == nullptr) return Broken("/ancestors", "no list");
  if (descendants == nullptr) return Broken("/descendants", "no list");
  Context context;
  MAYFLY_ASSIGN_OR_RETURN(context.ancestors, ReadStatuses(*ancestors, "/ancestors"));
  MAYFLY_ASSIGN_OR_RETURN(context.descendants, ReadStatuses(*descendants, "/descendants"));
  return context;
}

Result<Person> ParseOwnAccount(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  MAYFLY_ASSIGN_OR_RETURN(Person person, ReadPerson(value, ""));
  if (person.acct.empty()) return Broken("/acct", "no handle");
  return person;
}

Result<Instance> ParseInstance(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  if (!value.is_object()) return Broken("/", "no object");
  Instance instance;
  instance.flavour = FlavourOf(Lowered(Text(value, "version")), Lowered(Text(value, "source_url")));
  instance.domain = DomainOf(Text(value, "domain"));
  if (instance.domain.empty()) instance.domain = DomainOf(Text(value, "uri"));
  const auto count = [&](const json::Value* object, std::string_view key) {
    const json::Value* member = object != nullptr ? object->Find(key) : nullptr;
    const std::int64_t* number = member != nullptr ? member->AsInt() : nullptr;
    if (number != nullptr && *number > 0 && *number <= 10'000'000) {
      instance.max_characters = static_cast<std::size_t>(*number);
    }
  };
  count(&value, "max_toot_chars");  // Pleroma
  if (const json::Value* configuration = value.Find("configuration"); configuration != nullptr) {
    count(configuration->Find("statuses"), "max_characters");
  }
  return instance;
}

Result<NotificationPolicy> ParsePolicy(std::string_view body) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value value, ParseBody(body));
  if (!value.is_object()) return Broken("/", "no object");
  NotificationPolicy policy;
  // The first form is that of Mastodon 4.3's previews: true for "filter".
  policy.filters_private_mentions =
      IsTrue(value, "filter_private_mentions") || Text(value, "for_private_mentions") == "filter";
  for (const char* rule : {"for_private_mentions", "for_not_following", "for_not_followers",
                           "for_new_accounts", "for_limited_accounts"}) {
    policy.drops = policy.drops || Text(value, rule) == "drop";
  }
  return policy;
}

PageLinks ParseLinks(std::string_view raw) {
  PageLinks links;
  while (!raw.empty()) {
    const std::size_t open = raw.find('<');
    if (open == std::string_view::npos) break;
    const std::size_t close = raw.find('>', open);
    if (close == std::string_view::npos) break;
    const std::string_view address = raw.substr(open + 1, close - open - 1);
    const std::size_t end = std::min(raw.find('<', close), raw.size());
    const std::string_view rest = raw.substr(close, end - close);
    const auto is = [&](std::string_view word) {
      const std::size_t at = rest.find("rel=");
      return at != std::string_view::npos &&
             rest.substr(at + 4).find(word) != std::string_view::npos;
    };
    if (is("next")) links.next_max_id = Parameter(address, "max_id");
    if (is("prev")) links.prev_min_id = Parameter(address, "min_id");
    raw.remove_prefix(end);
  }
  return links;
}

std::string FullHandle(const Person& person, std::string_view domain) {
  std::string handle = Lowered(person.acct.Reveal());
  if (handle.starts_with('@')) handle.erase(0, 1);
  if (!handle.empty() && handle.find('@') == std::string::npos && !domain.empty()) {
    handle.append("@").append(domain);
  }
  return handle;
}

MessageBody TextOf(const MastodonStatus& status, std::string_view domain,
                   std::span<const Person> people, std::span<const std::string> addressees,
                   bool* cut) {
  std::vector<std::string> handles;
  std::vector<LinkedPerson> linked;
  handles.reserve(people.size() + status.mentions.size());
  const auto add = [&](const Person& person) {
    if (handles.size() == handles.capacity()) return;
    handles.push_back(FullHandle(person, domain));
    linked.push_back({.url = person.url.Reveal(), .handle = handles.back()});
  };
  for (const Person& person : status.mentions) add(person);
  for (const Person& person : people) add(person);
  std::string text =
      WithoutLeadingMentions(HtmlToText(status.content.Reveal(), linked, cut), addressees);
  std::string warning = PlainText(status.spoiler.Reveal());
  if (warning.size() > kTextBytesMax / 4) {
    std::size_t end = kTextBytesMax / 4;
    while (end > 0 && (static_cast<unsigned char>(warning[end]) & 0xC0u) == 0x80u) --end;
    warning.resize(end);
    *cut = true;
  }
  if (!warning.empty()) text = warning + (text.empty() ? "" : "\n\n") + text;
  WipeString(warning);
  return MessageBody(std::move(text));
}

std::string PostStatusBody(const MessageBody& text, const std::string& in_reply_to_id) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("status", text.Reveal()).Field("visibility", "direct");
  // GoToSocial and Pleroma may be set to read Markdown; what was written is what is meant.
  writer.Field("content_type", "text/plain");
  if (!in_reply_to_id.empty()) writer.Field("in_reply_to_id", in_reply_to_id);
  writer.EndObject();
  return body;
}

}  // namespace mayfly::connectors::mastodon
