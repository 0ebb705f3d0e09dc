#include "connectors/mastodon/client.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "connectors/options.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

constexpr std::size_t kTokenBytesMax = 4'096;
constexpr int kManyFailuresMax = 3;  // in a row, before a server counts as one without that call

constexpr HttpLimits kHttpLimits = {.step_timeout = std::chrono::milliseconds(10'000),
                                    .total_deadline = std::chrono::milliseconds(17'000),
                                    .body_bytes_max = kBodyBytesMax};

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Refusals that say that nobody is logged in, or nobody who may be, whatever the status.
bool IsAboutTheAccount(const std::string& text) {
  return Contains(text, "requires an authenticated user") ||
         Contains(text, "login is currently disabled") ||
         Contains(text, "login is currently pending") ||
         Contains(text, "missing a confirmed e-mail") || Contains(text, "account is suspended") ||
         Contains(text, "access token") || Contains(text, "invalid credentials");
}

std::optional<std::int64_t> WholeNumber(std::string_view text) {
  if (text.empty() || text.size() > 12) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::string_view Header(const HttpResponse& response, const char* name) {
  const auto it = response.headers.find(name);
  return it != response.headers.end() ? std::string_view(it->second) : std::string_view();
}

// The reset is a time of day on Mastodon and GoToSocial, and seconds since 1970 elsewhere.
std::optional<TimePoint> ResetOf(const HttpResponse& response) {
  const std::string_view reset = Header(response, "x-ratelimit-reset");
  if (const auto at = ParseRfc3339(reset)) return *at;
  const auto epoch = WholeNumber(reset);
  if (epoch && *epoch > 1'000'000'000) return TimePoint(std::chrono::seconds(*epoch));
  return std::nullopt;
}

void SetRetry(const HttpResponse& response, Error& error) {
  if (const auto seconds = WholeNumber(Header(response, "retry-after"))) {
    error.retry_after = std::chrono::seconds(*seconds);
  }
  error.retry_at = ResetOf(response);
}

// Ids come from the server and stand in a path: nothing but what ids are made of.
std::string Segment(std::string_view id) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string segment;
  for (const char c : id) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_';
    if (plain) {
      segment.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      segment.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return segment;
}

bool IsGone(const Error& error) {
  return error.code == ErrorCode::kPlatformRejected && error.platform_code == kGone;
}

// A read has no effect, so not knowing its outcome is only a failure to reach the server.
Error AsRead(Error error) {
  if (error.code == ErrorCode::kOutcomeUnknown) {
    error.code = ErrorCode::kPlatformUnavailable;
  } else if (error.code == ErrorCode::kTooLarge) {
    error.code = ErrorCode::kProtocol;
    error.platform_code = kTooLargeWord;
  }
  return error;
}

Error Lost() {
  return Error{.code = ErrorCode::kOutcomeUnknown,
               .message = "The server's answer to a reply was lost."};
}

Error AsSend(Error error) {
  switch (error.code) {
    case ErrorCode::kTooLarge:   // the answer was; the request had arrived
    case ErrorCode::kProtocol:   // likewise
    case ErrorCode::kCancelled:  // may have been on its way
      return Lost();
    default:
      return error;
  }
}

std::vector<std::pair<std::string, std::string>> QueryOf(const Stretch& stretch) {
  std::vector<std::pair<std::string, std::string>> query;
  if (!stretch.max_id.empty()) query.emplace_back("max_id", stretch.max_id);
  if (!stretch.min_id.empty()) query.emplace_back("min_id", stretch.min_id);
  return query;
}

template <class T>
Listed<T> ToListed(std::vector<T> items, const HttpResponse& response) {
  const std::string_view link = Header(response, "link");
  return Listed<T>{
      .items = std::move(items), .links = ParseLinks(link), .has_links = !link.empty()};
}

// The limits that come after the first one.
constexpr int kSmallerPages[] = {20, 5, 1};

}  // namespace

bool IsTooLarge(const Error& error) {
  return error.code == ErrorCode::kProtocol && error.platform_code == kTooLargeWord;
}

Result<std::unique_ptr<Client>> Client::Create(const ConnectorContext& context) {
  std::unique_ptr<Client> client(new Client);
  for (const auto& [name, value] : context.options) {
    if (name != "server") {
      return Fail(ErrorCode::kInvalidArgument, "Mastodon has no such option.", name);
    }
  }
  const auto option = context.options.find("server");
  const std::string origin =
      NormalOrigin(option != context.options.end() ? option->second : std::string());
  if (origin.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "The server's address is missing.", "server");
  }
  auto credential =
      json::Parse(context.credential.Reveal(), {.bytes_max = 65'536, .items_max = 64});
  if (!credential || !credential->is_object()) {
    return Fail(ErrorCode::kInvalidArgument, "The credential is not a JSON object.",
                "access_token");
  }
  const json::Value* member = credential->Find("access_token");
  const std::string* token = member != nullptr ? member->AsString() : nullptr;
  const bool usable =
      token != nullptr && !token->empty() && token->size() <= kTokenBytesMax &&
      std::all_of(token->begin(), token->end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!usable) {
    return Fail(ErrorCode::kInvalidArgument,
                "The access token must be between 1 and 4096 ASCII characters without blanks.",
                "access_token");
  }
  client->bearer_ = Credential("Bearer " + *token);
  auto http = HttpClient::Create(origin, context.egress, kHttpLimits, context.platform_time);
  if (!http) {
    Error error = std::move(http).error();
    if (error.code == ErrorCode::kInvalidArgument) error.field = "server";
    return Fail(std::move(error));
  }
  client->http_ = *std::move(http);
  client->host_ = origin.substr(origin.find("://") + 3);
  return client;
}

Error Client::Classify(const HttpResponse& response, Effect effect, const char* scope) {
  const int status = response.status;
  const std::string text = ParseErrorText(response.body);
  const auto error = [](ErrorCode code, std::string message, std::string word = {}) {
    return Error{.code = code, .message = std::move(message), .platform_code = std::move(word)};
  };
  if (status == 429) {
    Error limited = error(ErrorCode::kRateLimited, "The server asks us to wait.");
    SetRetry(response, limited);
    return limited;
  }
  if (status == 401) {
    return error(ErrorCode::kCredentialDead, "The server refused our access token.");
  }
  if ((status == 403 || status == 422) && IsAboutTheAccount(text)) {
    return error(ErrorCode::kCredentialDead, "The server does not let the account in.");
  }
  const bool about_scopes = Contains(text, "scope") || Contains(text, "permission");
  if (status == 403 && (effect == Effect::kNone || about_scopes)) {
    return error(ErrorCode::kMissingPrivilege,
                 std::string("The access token lacks the scope ") + scope + ".");
  }
  if (status == 404 || status == 410) {
    return error(ErrorCode::kPlatformRejected, "The server has no such thing, or hides it.", kGone);
  }
  if (status >= 400 && status < 500 && status != 408) {
    return error(ErrorCode::kPlatformRejected,
                 "The server refused with HTTP status " + std::to_string(status) + ".",
                 status == 422 ? "validation-failed" : "");
  }
  if (effect == Effect::kSends) {
    return error(ErrorCode::kOutcomeUnknown, "The server answered a reply with HTTP status " +
                                                 std::to_string(status) +
                                                 "; it may have taken it.");
  }
  if (status >= 500 || status == 408) {
    Error unavailable = error(ErrorCode::kPlatformUnavailable,
                              "The server failed with HTTP status " + std::to_string(status) + ".");
    if (const auto seconds = WholeNumber(Header(response, "retry-after"))) {
      unavailable.retry_after = std::chrono::seconds(*seconds);
    }
    return unavailable;
  }
  return error(ErrorCode::kProtocol,
               "The server answered with HTTP status " + std::to_string(status) + ".");
}

Result<HttpResponse> Client::Call(HttpRequest request, Effect effect, const char* scope,
                                  std::stop_token stop) {
  if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "Asked to stop.");
  request.headers.emplace_back("authorization", bearer_);
  request.headers.emplace_back("accept", Credential("application/json"));
  ++calls_;
  auto response = http_->Send(request, stop);
  if (!response) {
    Error error = std::move(response).error();
    return Fail(effect == Effect::kSends ? AsSend(std::move(error)) : AsRead(std::move(error)));
  }
  NoteBudget(*response);
  if (response->status == 200) return *std::move(response);
  return Fail(Classify(*response, effect, scope));
}

void Client::NoteBudget(const HttpResponse& response) {
  const auto limit = WholeNumber(Header(response, "x-ratelimit-limit"));
  const auto remaining = WholeNumber(Header(response, "x-ratelimit-remaining"));
  if (!limit || !remaining) return;
  budget_ = PlatformBudget{.limit = static_cast<std::uint64_t>(*limit),
                           .remaining = static_cast<std::uint64_t>(*remaining),
                           .resets_at = ResetOf(response)};
}

Result<HttpResponse> Client::Get(std::string path,
                                 std::vector<std::pair<std::string, std::string>> query,
                                 const char* scope, std::stop_token stop) {
  HttpRequest request;
  request.path = std::move(path);
  request.query = std::move(query);
  return Call(std::move(request), Effect::kNone, scope, stop);
}

Result<Person> Client::VerifyCredentials(std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Get("/api/v1/accounts/verify_credentials", {}, kReadAccounts, stop));
  return ParseOwnAccount(response.body);
}

Result<Instance> Client::GetInstance(std::stop_token stop) {
  Instance instance;
  for (const char* path : {"/api/v2/instance", "/api/v1/instance"}) {
    auto response = Get(path, {}, kReadAccounts, stop);
    if (response) {
      MAYFLY_ASSIGN_OR_RETURN(instance, ParseInstance(response->body));
      break;
    }
    if (!IsGone(response.error())) return Fail(std::move(response).error());
  }
  if (instance.domain.empty()) instance.domain = host_;
  return instance;
}

Result<std::optional<NotificationPolicy>> Client::GetPolicy(std::stop_token stop) {
  for (const char* path : {"/api/v2/notifications/policy", "/api/v1/notifications/policy"}) {
    auto response = Get(path, {}, kReadNotifications, stop);
    if (response) {
      MAYFLY_ASSIGN_OR_RETURN(const NotificationPolicy policy, ParsePolicy(response->body));
      return policy;
    }
    // Servers without it take "policy" for the id of a notification, and refuse it in many ways.
    if (response.error().code != ErrorCode::kPlatformRejected) {
      return Fail(std::move(response).error());
    }
  }
  return std::optional<NotificationPolicy>();
}

template <class T>
Result<Listed<T>> Client::List(const std::string& path,
                               const std::vector<std::pair<std::string, std::string>>& query,
                               int limit, const char* scope,
                               Result<std::vector<T>> (*parse)(std::string_view),
                               std::stop_token stop) {
  const auto ask = [&](int count) -> Result<Listed<T>> {
    auto whole = query;
    whole.emplace_back("limit", std::to_string(count));
    MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response, Get(path, std::move(whole), scope, stop));
    MAYFLY_ASSIGN_OR_RETURN(std::vector<T> items, parse(response.body));
    return ToListed(std::move(items), response);
  };
  auto listed = ask(limit);
  for (const int smaller : kSmallerPages) {
    if (listed || !IsTooLarge(listed.error())) break;
    listed = ask(smaller);
  }
  return listed;
}

Result<Listed<Notification>> Client::ListMentions(const Stretch& stretch, std::stop_token stop) {
  auto query = QueryOf(stretch);
  query.emplace_back("types[]", "mention");
  // What the account's policy hides from its owner was written to us all the same.
  query.emplace_back("include_filtered", "true");
  return List("/api/v1/notifications", query, kNotificationsPerPage, kReadNotifications,
              &ParseNotifications, stop);
}

Result<Listed<ConversationEntry>> Client::ListConversations(const Stretch& stretch,
                                                            std::stop_token stop) {
  return List("/api/v1/conversations", QueryOf(stretch), kConversationsPerPage, kReadStatuses,
              &ParseConversations, stop);
}

Result<std::vector<MastodonStatus>> Client::ListOwnStatuses(const std::string& own_id,
                                                            const std::string& max_id,
                                                            std::stop_token stop) {
  auto query = QueryOf(Stretch{.max_id = max_id});
  query.emplace_back("exclude_reblogs", "true");
  MAYFLY_ASSIGN_OR_RETURN(auto listed,
                          List("/api/v1/accounts/" + Segment(own_id) + "/statuses", query,
                               kConversationsPerPage, kReadStatuses, &ParseStatuses, stop));
  return std::move(listed.items);
}

Result<MastodonStatus> Client::GetStatus(const std::string& id, std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Get("/api/v1/statuses/" + Segment(id), {}, kReadStatuses, stop));
  return ParseStatus(response.body);
}

Result<Context> Client::GetContext(const std::string& id, std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(
      const HttpResponse response,
      Get("/api/v1/statuses/" + Segment(id) + "/context", {}, kReadStatuses, stop));
  return ParseContext(response.body);
}

Result<std::optional<std::vector<MastodonStatus>>> Client::GetStatuses(
    const std::vector<std::string>& ids, std::stop_token stop) {
  using Statuses = std::optional<std::vector<MastodonStatus>>;
  if (many_failures_ >= kManyFailuresMax) return Statuses();
  std::vector<std::pair<std::string, std::string>> query;
  query.reserve(ids.size());
  for (const std::string& id : ids) query.emplace_back("id[]", id);
  auto response = Get("/api/v1/statuses", std::move(query), kReadStatuses, stop);
  std::optional<Error> error;
  if (response) {
    auto statuses = ParseStatuses(response->body);
    if (statuses) {
      many_failures_ = 0;
      return Statuses(*std::move(statuses));
    }
    error = std::move(statuses).error();
  } else {
    error = std::move(response).error();
  }
  // Servers without this call refuse it, or fail at it. One at a time is slower and always there,
  // and tells whether anything else is wrong.
  switch (error->code) {
    case ErrorCode::kPlatformRejected:
      many_failures_ = kManyFailuresMax;
      return Statuses();
    case ErrorCode::kPlatformUnavailable:
    case ErrorCode::kProtocol:
      ++many_failures_;
      return Statuses();
    default:
      return Fail(*std::move(error));
  }
}

Result<MastodonStatus> Client::PostDirect(const MessageBody& text,
                                          const std::string& in_reply_to_id,
                                          const std::string& idempotency_key,
                                          std::stop_token stop) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/api/v1/statuses";
  request.body = PostStatusBody(text, in_reply_to_id);
  request.content_type = "application/json";
  if (!idempotency_key.empty()) {
    // Encoded, so that no key can break the header.
    request.headers.emplace_back("idempotency-key", Credential(Segment(idempotency_key)));
  }
  auto response = Call(request, Effect::kSends, kWriteStatuses, stop);
  WipeString(request.body);
  if (!response) return Fail(std::move(response).error());
  auto status = ParseStatus(response->body);
  if (!status) return Fail(Lost());
  return *std::move(status);
}

Status Client::ProbeWriting(std::stop_token stop) {
  HttpRequest request;
  request.method = "PUT";
  // As long as any server's ids are: snac cuts ten characters off without looking.
  request.path = "/api/v1/statuses/00000000000000000000000000";
  request.body = R"({"status":"-"})";
  request.content_type = "application/json";
  auto response = Call(std::move(request), Effect::kNone, kWriteStatuses, stop);
  // Only a refusal for want of a scope, or no answer, says something.
  if (response || response.error().code == ErrorCode::kPlatformRejected ||
      response.error().code == ErrorCode::kProtocol) {
    return {};
  }
  return Fail(std::move(response).error());
}

}  // namespace mayfly::connectors::mastodon
