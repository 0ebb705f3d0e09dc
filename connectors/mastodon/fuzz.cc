#include "connectors/fuzz.h"

#include <array>
#include <string>

#include "connectors/mastodon/api_types.h"
#include "connectors/mastodon/html_text.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {

const char* Fuzz(std::string_view answer);

namespace {

constexpr char kRefusal[] = "a refusal is a sentence of ours";

bool IsId(const std::string& id) {
  return !id.empty() && id.size() <= kIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

// What staff may see: valid, without control characters but line breaks and tabs.
bool IsShowable(const std::string& text) {
  return json::IsValidUtf8(text) && std::all_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7f : c == '\n' || c == '\t';
         });
}

const char* CheckPerson(const Person& person) {
  if (!IsId(person.id)) return "a person has an id";
  for (const ContactHandle* name : {&person.acct, &person.display_name, &person.url}) {
    if (!IsShowable(name->Reveal())) return "names can be shown";
    if (name->size() > kPersonBytesMax) return "names are bounded";
  }
  return nullptr;
}

const char* CheckStatus(const MastodonStatus& status) {
  if (!IsId(status.id)) return "a status has an id";
  if (!status.in_reply_to_id.empty() && !IsId(status.in_reply_to_id))
    return "ids can be asked with";
  if (const char* broken = CheckPerson(status.account)) return broken;
  for (const Person& person : status.mentions) {
    if (const char* broken = CheckPerson(person)) return broken;
  }
  bool cut = false;
  const std::array<std::string, 1> addressees = {"office@example.org"};
  const MessageBody text = TextOf(status, "example.org", status.mentions, addressees, &cut);
  if (!IsShowable(text.Reveal())) return "a status can be shown";
  return nullptr;
}

const char* CheckStatuses(const std::vector<MastodonStatus>& statuses) {
  for (const MastodonStatus& status : statuses) {
    if (const char* broken = CheckStatus(status)) return broken;
  }
  return nullptr;
}

const char* FuzzStatuses(std::string_view answer) {
  if (const auto status = ParseStatus(answer)) {
    if (const char* broken = CheckStatus(*status)) return broken;
  } else if (!IsPlainRefusal(status.error())) {
    return kRefusal;
  }
  const auto statuses = ParseStatuses(answer);
  if (!statuses) return IsPlainRefusal(statuses.error()) ? nullptr : kRefusal;
  return CheckStatuses(*statuses);
}

const char* FuzzNotifications(std::string_view answer) {
  const auto notifications = ParseNotifications(answer);
  if (!notifications) return IsPlainRefusal(notifications.error()) ? nullptr : kRefusal;
  for (const Notification& notification : *notifications) {
    if (!IsId(notification.id)) return "a notification has an id";
    if (!notification.status) continue;
    if (const char* broken = CheckStatus(*notification.status)) return broken;
  }
  return nullptr;
}

const char* FuzzConversations(std::string_view answer) {
  const auto entries = ParseConversations(answer);
  if (!entries) return IsPlainRefusal(entries.error()) ? nullptr : kRefusal;
  for (const ConversationEntry& entry : *entries) {
    if (!IsId(entry.id)) return "a conversation has an id";
    for (const Person& person : entry.accounts) {
      if (const char* broken = CheckPerson(person)) return broken;
    }
    if (!entry.last_status) continue;
    if (const char* broken = CheckStatus(*entry.last_status)) return broken;
  }
  return nullptr;
}

const char* FuzzContext(std::string_view answer) {
  const auto context = ParseContext(answer);
  if (!context) return IsPlainRefusal(context.error()) ? nullptr : kRefusal;
  if (const char* broken = CheckStatuses(context->ancestors)) return broken;
  return CheckStatuses(context->descendants);
}

const char* FuzzServer(std::string_view answer) {
  if (const auto own = ParseOwnAccount(answer)) {
    if (const char* broken = CheckPerson(*own)) return broken;
    if (!json::IsValidUtf8(FullHandle(*own, "example.org"))) return "handles are valid UTF-8";
  } else if (!IsPlainRefusal(own.error())) {
    return kRefusal;
  }
  if (const auto instance = ParseInstance(answer); !instance && !IsPlainRefusal(instance.error())) {
    return kRefusal;
  }
  if (const auto policy = ParsePolicy(answer); !policy && !IsPlainRefusal(policy.error())) {
    return kRefusal;
  }
  ParseErrorText(answer);
  const PageLinks links = ParseLinks(answer);
  for (const std::string* id : {&links.next_max_id, &links.prev_min_id}) {
    if (!id->empty() && !IsId(*id)) return "positions can be asked with";
  }
  return nullptr;
}

// The same bytes as a status's HTML.
const char* FuzzText(std::string_view html) {
  const std::array<LinkedPerson, 1> people = {
      {{"https://example.org/@office", "office@example.org"}}};
  bool cut = false;
  const std::string text = HtmlToText(html, people, &cut);
  if (!IsShowable(text)) return "a text can be shown";
  if (text.size() > kTextBytesMax) return "texts are bounded";
  const std::string plain = PlainText(html);
  if (!IsShowable(plain)) return "a plain text can be shown";
  if (PlainText(plain) != plain) return "what is plain stays as it is";
  const std::array<std::string, 1> handles = {"office@example.org"};
  const std::string rest = WithoutLeadingMentions(text, handles);
  if (rest.size() > text.size() || !IsShowable(rest)) return "mentions are only left out";
  if (!json::IsValidUtf8(Comparable(text))) return "what is compared is valid UTF-8";
  return nullptr;
}

}  // namespace

const char* Fuzz(std::string_view answer) {
  for (const auto fuzz :
       {FuzzStatuses, FuzzNotifications, FuzzConversations, FuzzContext, FuzzServer, FuzzText}) {
    if (const char* broken = fuzz(answer)) return broken;
  }
  if (!json::Parse(PostStatusBody(MessageBody(std::string(answer)), "1"))) {
    return "any text can be sent";
  }
  return nullptr;
}

}  // namespace mayfly::connectors::mastodon
