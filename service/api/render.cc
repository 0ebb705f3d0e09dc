#include "service/api/render.h"

#include <array>
#include <chrono>
#include <sodium.h>
#include <utility>

#include <fmt/format.h>

#include "service/api/input.h"
#include "store/model/ids.h"

namespace mayfly::service::api {
namespace {

// Our own spelling of a name that can be put into a URL unchanged.
bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (IsUnreserved(c)) {
      encoded.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded.push_back('%');
    encoded.push_back(kDigits[byte >> 4]);
    encoded.push_back(kDigits[byte & 15]);
  }
  return encoded;
}

// The same request, with another cursor.
std::string LinkTo(const Request& request, const std::string& cursor) {
  std::string link;
  for (const std::string& segment : request.path) link += "/" + PercentEncode(segment);
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    if (name == "cursor") continue;
    link += separator + PercentEncode(name) + "=" + PercentEncode(value);
    separator = '&';
  }
  return link + separator + "cursor=" + PercentEncode(cursor);
}

void RenderBudget(json::Writer& writer, const ShownBudget& budget) {
  writer.Key("budget");
  if (!budget) {
    writer.Null();
    return;
  }
  writer.StartObject();
  writer.Key("limit").Uint(budget->limit);
  writer.Key("remaining").Uint(budget->remaining);
  TimeField(writer, "resets_at", budget->resets_at);
  writer.EndObject();
}

}  // namespace

void StringOrNull(json::Writer& writer, std::string_view key, std::string_view value) {
  writer.Key(key);
  if (value.empty()) {
    writer.Null();
  } else {
    writer.String(value);
  }
}

void TimeField(json::Writer& writer, std::string_view key, const std::optional<TimePoint>& at) {
  writer.Key(key);
  if (at) {
    writer.String(FormatRfc3339(*at));
  } else {
    writer.Null();
  }
}

void Render(json::Writer& writer, const Account& account, AccountView view,
            const ShownBudget* budget) {
  writer.StartObject();
  writer.Field("id", account.id.ToString());
  writer.Field("platform", account.platform);
  writer.Field("label", account.label);
  writer.Field("state", ToString(account.state));
  if (view != AccountView::kStaff) {
    StringOrNull(writer, "state_reason", account.state_reason);
    TimeField(writer, "state_since", account.state_since);
    TimeField(writer, "last_success_at", account.last_success_at);
    TimeField(writer, "created_at", account.created_at);
    writer.Field("retention", account.retention.ToString());
    if (budget != nullptr) RenderBudget(writer, *budget);
  }
  if (view == AccountView::kAdministrator) {
    writer.Key("options").StartObject();
    for (const auto& [name, value] : account.options) writer.Field(name, value);
    writer.EndObject();
    StringOrNull(writer, "credential_fingerprint", account.credential_fingerprint);
    StringOrNull(writer, "own_platform_id", account.own_platform_id);
    StringOrNull(writer, "own_handle", account.own_handle);
    writer.Key("revision").Uint(account.revision);
  }
  writer.EndObject();
}

void Render(json::Writer& writer, const Conversation& conversation) {
  writer.StartObject();
  writer.Field("id", conversation.id.ToString());
  writer.Field("account", conversation.account.ToString());
  writer.Field("status", ToString(conversation.status));
  writer.Field("unread", conversation.unread);
  writer.Field("standing", ToString(conversation.standing));
  writer.Field("group", conversation.group);
  writer.Field("restricted", conversation.restricted);
  writer.Key("participants").StartArray();
  for (const Contact& contact : conversation.participants) {
    writer.StartObject();
    writer.Field("platform_id", contact.platform_id.Reveal());
    writer.Field("handle", contact.handle.Reveal());
    writer.Field("name", contact.display_name.Reveal());
    writer.EndObject();
  }
  writer.EndArray();
  writer.Field("last_activity_at", FormatRfc3339(conversation.last_activity_at));
  StringOrNull(writer, "last_message",
               conversation.last_message ? conversation.last_message->ToString() : std::string());
  writer.Field("expires_at", FormatRfc3339(conversation.expires_at));
  writer.Key("revision").Uint(conversation.revision);
  writer.EndObject();
}

void Render(json::Writer& writer, const Attachment& attachment) {
  writer.StartObject();
  writer.Key("number").Uint(attachment.number);
  writer.Field("state", ToString(attachment.state));
  const bool refused = attachment.state == AttachmentState::kRefused;
  StringOrNull(writer, "reason", refused ? ToString(attachment.refusal) : "");
  StringOrNull(writer, "name", attachment.name.Reveal());
  StringOrNull(writer, "media_type", attachment.media_type);
  writer.Key("bytes").Uint(attachment.bytes);
  writer.EndObject();
}

void Render(json::Writer& writer, const Message& message) {
  writer.StartObject();
  writer.Field("id", message.id.ToString());
  writer.Field("conversation", message.conversation.ToString());
  writer.Field("account", message.account.ToString());
  writer.Field("direction", ToString(message.direction));
  writer.Field("sent_at", FormatRfc3339(message.sent_at));
  writer.Field("received_at", FormatRfc3339(message.received_at));
  writer.Field("expires_at", FormatRfc3339(message.expires_at));
  TimeField(writer, "edited_at", message.edited_at);
  writer.Key("sender").StartObject();
  writer.Field("platform_id", message.sender_platform_id.Reveal());
  writer.Field("handle", message.sender_handle.Reveal());
  writer.Field("name", message.sender_name.Reveal());
  writer.EndObject();
  const bool readable = message.unreadable == UnreadableReason::kNone;
  writer.Key("text");
  if (readable) {
    writer.String(message.text.Reveal());
  } else {
    writer.Null();
  }
  StringOrNull(writer, "unreadable", readable ? "" : ToString(message.unreadable));
  writer.Field("has_unsupported_content", message.has_unsupported_content);
  writer.Key("attachments").StartArray();
  for (const Attachment& attachment : message.attachments) Render(writer, attachment);
  writer.EndArray();
  writer.Field("backfilled", message.backfilled);
  StringOrNull(writer, "reply", message.reply ? message.reply->ToString() : std::string());
  writer.EndObject();
}

std::size_t RenderedBytes(const std::vector<Message>& messages) {
  constexpr std::size_t kAround = 256;         // the list itself
  constexpr std::size_t kOfEachMessage = 768;  // names of members, ids, times
  constexpr std::size_t kOfEachAttachment = 192;
  std::size_t bytes = kAround;
  for (const Message& message : messages) {
    bytes += kOfEachMessage + message.text.size() + message.text.size() / 8 +
             message.sender_handle.size() + message.sender_name.size();
    for (const Attachment& attachment : message.attachments) {
      bytes += kOfEachAttachment + attachment.name.size();
    }
  }
  return bytes;
}

std::string DispositionOf(const Attachment& attachment) {
  static constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&+-.^_`|~";
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string field = "attachment";
  if (attachment.name.empty()) return field;
  field += "; filename*=UTF-8''";
  for (const char c : attachment.name.Reveal()) {
    const auto byte = static_cast<unsigned char>(c);
    if (kPlain.find(c) != std::string_view::npos) {
      field += c;
    } else if (c == '/' || c == '\\' || byte < 0x20 || byte == 0x7f) {
      field += '_';
    } else {
      field += '%';
      field += kHex[byte >> 4];
      field += kHex[byte & 15];
    }
  }
  return field;
}

void Render(json::Writer& writer, const Reply& reply) {
  writer.StartObject();
  writer.Field("id", reply.id.ToString());
  writer.Field("conversation", reply.conversation.ToString());
  writer.Field("account", reply.account.ToString());
  writer.Field("after_message_id", reply.after_message.ToString());
  writer.Field("state", ToString(reply.state));
  StringOrNull(writer, "reason", reply.reason);
  StringOrNull(writer, "platform_code", reply.platform_code);
  writer.Field("text", reply.text.Reveal());
  writer.Field("author", reply.author);
  writer.Field("created_at", FormatRfc3339(reply.created_at));
  writer.Field("state_since", FormatRfc3339(reply.state_since));
  writer.Field("expires_at", FormatRfc3339(reply.expires_at));
  TimeField(writer, "not_before", reply.not_before);
  writer.IntField("attempts", reply.attempts);
  StringOrNull(writer, "message", reply.message ? reply.message->ToString() : std::string());
  writer.EndObject();
}

void Render(json::Writer& writer, const Coverage& coverage) {
  TimeField(writer, "covered_from", coverage.covered_from);
  TimeField(writer, "covered_until", coverage.covered_until);
  writer.Field("history_complete", coverage.history_complete);
  writer.Key("holes").StartArray();
  for (const Hole& hole : coverage.holes) {
    writer.StartObject();
    writer.Field("from", FormatRfc3339(hole.from));
    TimeField(writer, "until", hole.until);
    writer.Field("reason", hole.reason);
    writer.Field("fillable", hole.fillable);
    TimeField(writer, "filled_at", hole.filled_at);
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("unreadable").Uint(coverage.unreadable);
  writer.Key("past_horizon").Uint(coverage.past_horizon);
}

void Render(json::Writer& writer, const store::Restriction& restriction) {
  writer.StartObject();
  writer.Field("id", restriction.id.ToString());
  writer.Field("kind", store::ToString(restriction.kind));
  writer.Field("account", restriction.account.ToString());
  writer.Field("since", FormatRfc3339(restriction.since));
  writer.Field("expires_at", FormatRfc3339(restriction.expires_at));
  writer.Key("not_collected").Uint(restriction.not_collected);
  TimeField(writer, "last_attempt_at", restriction.last_attempt_at);
  writer.EndObject();
}

void Render(json::Writer& writer, const store::HeldPerson& held) {
  writer.StartObject();
  writer.Field("account", held.person.account.ToString());
  writer.Field("platform_id", held.person.id.Reveal());
  writer.Field("handle", held.contact.handle.Reveal());
  writer.Field("name", held.contact.display_name.Reveal());
  writer.Key("conversations").StartArray();
  for (const store::HeldPerson::In& in : held.conversations) {
    writer.StartObject();
    writer.Field("id", in.conversation.ToString());
    writer.Field("group", in.group);
    writer.Key("messages").Uint(in.messages);
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("incoming").Uint(held.incoming);
  writer.Key("outgoing").Uint(held.outgoing);
  TimeField(writer, "oldest_sent_at", held.oldest);
  TimeField(writer, "newest_sent_at", held.newest);
  TimeField(writer, "expires_at", held.ends_at);
  writer.Key("restriction");
  if (held.restriction) {
    Render(writer, *held.restriction);
  } else {
    writer.Null();
  }
  writer.EndObject();
}

void RenderMembers(json::Writer& writer, const store::PurgeReceipt& receipt) {
  writer.Field("day", FormatDay(receipt.day));
  writer.Key("messages").Uint(receipt.messages);
  writer.Key("replies_expired").Uint(receipt.replies_expired);
  writer.Field("keys_destroyed_at", FormatRfc3339(receipt.keys_destroyed_at));
  writer.Field("finished_at", FormatRfc3339(receipt.finished_at));
  writer.IntField("late_ms", receipt.late_ms);
  writer.Key("bytes_dropped").Uint(receipt.bytes_dropped);
  writer.Field("p2_grade", ToString(receipt.p2_grade));
}

void Render(json::Writer& writer, const store::TokenInfo& token) {
  writer.StartObject();
  writer.Field("id", token.id);
  writer.Field("role", ToString(token.role));
  writer.Field("label", token.label);
  writer.Field("created_at", FormatRfc3339(token.created_at));
  writer.Field("expires_at", FormatRfc3339(token.expires_at));
  writer.EndObject();
}

void Render(json::Writer& writer, const SandboxReport& report) {
  writer.StartObject();
  writer.Field("seccomp", report.seccomp);
  writer.Field("landlock", report.landlock);
  writer.IntField("landlock_abi", report.landlock_abi);
  writer.Field("no_new_privileges", report.no_new_privileges);
  writer.Field("not_dumpable", report.not_dumpable);
  writer.Key("missing").StartArray();
  for (const std::string& sentence : report.missing) writer.String(sentence);
  writer.EndArray();
  writer.EndObject();
}

Response Document(int status, const std::function<void(json::Writer&)>& write,
                  std::size_t bytes_hint) {
  Response response;
  response.status = status;
  response.body.reserve(bytes_hint);
  {
    json::Writer writer(&response.body);
    write(writer);
  }
  return response;
}

Response ListDocument(const Request& request, const std::string& next_cursor,
                      const std::function<void(json::Writer&)>& write_items, std::size_t bytes_hint,
                      const std::function<void(json::Writer&)>& write_more) {
  const auto write = [&](json::Writer& writer) {
    writer.StartObject();
    writer.Key("items").StartArray();
    write_items(writer);
    writer.EndArray();
    StringOrNull(writer, "next_cursor", next_cursor);
    writer.Field("has_more", !next_cursor.empty());
    if (write_more) write_more(writer);
    writer.EndObject();
  };
  Response response = Document(200, write, bytes_hint);
  if (!next_cursor.empty()) {
    response.With("Link", "<" + LinkTo(request, next_cursor) + ">; rel=\"next\"");
  }
  return response;
}

Response Tagged(const ApiContext& context, Response response,
                std::optional<std::uint64_t> revision) {
  // Keyed: the tag of a short answer must not let anybody test guesses at its text. A keyed hash of
  // a universal hash (Poly1305, RFC 8439) is as good as one of the whole answer, in a fraction of
  // the time.
  struct {
    std::array<unsigned char, crypto_onetimeauth_KEYBYTES> answer;
    std::array<unsigned char, crypto_generichash_KEYBYTES> print;
  } keys;
  static_assert(sizeof keys == crypto_generichash_BYTES_MAX);
  crypto_generichash(keys.answer.data(), sizeof keys,
                     reinterpret_cast<const unsigned char*>(context.cursor_key.data()),
                     context.cursor_key.size(), nullptr, 0);
  std::array<unsigned char, crypto_onetimeauth_BYTES> answer;
  crypto_onetimeauth(answer.data(), reinterpret_cast<const unsigned char*>(response.body.data()),
                     response.body.size(), keys.answer.data());
  std::array<char, 16> hash;
  crypto_generichash(reinterpret_cast<unsigned char*>(hash.data()), hash.size(), answer.data(),
                     answer.size(), keys.print.data(), keys.print.size());
  sodium_memzero(answer.data(), answer.size());
  sodium_memzero(&keys, sizeof keys);
  const std::string print = ToHex(std::string_view(hash.data(), hash.size()));
  response.With("ETag", "\"" + (revision ? std::to_string(*revision) + "-" : "") + print + "\"");
  return response;
}

Response Conditional(const Request& request, Response response) {
  const std::string* tag = response.Header("ETag");
  if (response.status != 200 || tag == nullptr || !MatchesNone(request, *tag)) return response;
  WipeString(response.body);
  response.status = 304;
  return response;
}

std::string FormatHttpDate(TimePoint at) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(at - day));
  const std::chrono::weekday weekday(day);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[weekday.c_encoding()],
                     static_cast<unsigned>(date.day()),
                     kMonths[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

}  // namespace mayfly::service::api
