// The JSON of Mastodon's API, and of the servers that speak it, as structs. Pure functions over
// bytes that a stranger chose: everything here must be safe on any input, and is the fuzz target of
// this folder, together with html_text.h.
//
// What we do not need is not read. What we need and cannot find is kProtocol with the place as a
// JSON pointer; the server's own text never gets into an error.
#ifndef MAYFLY_CONNECTORS_MASTODON_API_TYPES_H_
#define MAYFLY_CONNECTORS_MASTODON_API_TYPES_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly::connectors::mastodon {

// Of an answer. Read as JSON it takes about six times as much again, and a worker has 48 MiB in all
// (its threads' stacks and the HTTP library's buffers included), which
// leaves no room for much more than this. 80 notifications are some 400 KiB, a context of 700
// statuses 2 MiB.
inline constexpr std::size_t kBodyBytesMax = 2u << 20;
// Error::platform_code of an answer that is larger: with kProtocol, because asking again for the
// same would not help.
inline constexpr const char* kTooLargeWord = "answer-too-large";
inline constexpr std::size_t kIdBytesMax = 128;       // of a status, notification or account
inline constexpr std::size_t kPersonBytesMax = 1024;  // of a handle or a profile's address

// What of the family a server is, as far as it changes what we do.
enum class Flavour {
  kMastodon,  // and its forks, and whatever does not say otherwise
  kGoToSocial,
  kPleroma,  // and Akkoma
  kSnac,
};

// {"error": ...}. Empty when the body is not that. To recognise cases by, never to show or log.
std::string ParseErrorText(std::string_view body);

// An Account, or a StatusMention, which has no display name and on snac no real id.
struct Person {
  std::string id;
  ContactHandle acct;  // "user" on the server itself, else "user@host"
  ContactHandle display_name;
  ContactHandle url;
};

enum class Visibility {
  kPublic,   // and unlisted, local, lists: whatever is no message
  kPrivate,  // followers only
  kDirect,
};

struct MastodonStatus {
  std::string id;
  std::optional<TimePoint> created_at;  // absent when it is no valid date
  std::optional<TimePoint> edited_at;
  std::string in_reply_to_id;  // empty: none that the server knows
  Visibility visibility = Visibility::kPublic;
  Person account;
  std::vector<Person> mentions;
  MessageBody content;  // HTML
  MessageBody spoiler;  // plain
  bool content_missing = false;
  bool has_attachment = false;  // media, a poll or a quoted status
  bool is_reblog = false;       // a wrapper around somebody's status, never a message
};
Result<MastodonStatus> ParseStatus(std::string_view body);
Result<std::vector<MastodonStatus>> ParseStatuses(std::string_view body);

struct Notification {
  std::string id;
  bool mention = false;
  std::optional<TimePoint> created_at;
  std::optional<MastodonStatus> status;  // absent when it is gone, or this is no mention
};
Result<std::vector<Notification>> ParseNotifications(std::string_view body);

// An entry of the list of conversations. `id` is not what the list is paged by.
struct ConversationEntry {
  std::string id;
  std::vector<Person> accounts;
  std::optional<MastodonStatus> last_status;
};
Result<std::vector<ConversationEntry>> ParseConversations(std::string_view body);

struct Context {
  std::vector<MastodonStatus> ancestors;    // from the top
  std::vector<MastodonStatus> descendants;  //
};
Result<Context> ParseContext(std::string_view body);

Result<Person> ParseOwnAccount(std::string_view body);  // verify_credentials

struct Instance {
  Flavour flavour = Flavour::kMastodon;
  std::string domain;              // of local handles; empty when the server does not say
  std::size_t max_characters = 0;  // of a status; 0 when the server does not say
};
Result<Instance> ParseInstance(std::string_view body);  // /api/v2/instance or /api/v1/instance

// What the account's owner lets through to its notifications, as far as it hides messages.
struct NotificationPolicy {
  bool filters_private_mentions = false;  // of people whom the account does not follow
  bool drops = false;                     // something is never notified of at all
};
Result<NotificationPolicy> ParsePolicy(std::string_view body);

// The ids that a Link header leads on with, by its relation; empty where it has none. `raw` is what
// the header holds; only the query parameters max_id and min_id are read.
struct PageLinks {
  std::string next_max_id;
  std::string prev_min_id;
};
PageLinks ParseLinks(std::string_view raw);

// user@host, in lower case; a local account gets `domain`.
std::string FullHandle(const Person& person, std::string_view domain);

// What staff read of a status: the content warning, then the text. Without the leading mentions of
// `addressees` (user@host): what software writes there and not the person. `people` are those whom
// a link may lead to, beside the status's own mentions. `*cut`: the text was too long.
MessageBody TextOf(const MastodonStatus& status, std::string_view domain,
                   std::span<const Person> people, std::span<const std::string> addressees,
                   bool* cut);

// The body of POST /api/v1/statuses.
std::string PostStatusBody(const MessageBody& text, const std::string& in_reply_to_id);

}  // namespace mayfly::connectors::mastodon

#endif  // MAYFLY_CONNECTORS_MASTODON_API_TYPES_H_
