#include "connectors/bluesky/client.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "connectors/options.h"
#include "store/model/json.h"

namespace mayfly::connectors::bluesky {
namespace {

constexpr const char* kDefaultService = "https://bsky.social";
constexpr const char* kChatProxy = "did:web:api.bsky.chat#bsky_chat";
constexpr const char* kDirectMessages = "direct-messages";
constexpr std::size_t kTokenBytesMax = 8'192;

constexpr HttpLimits kHttpLimits = {.step_timeout = std::chrono::milliseconds(10'000),
                                    .total_deadline = std::chrono::milliseconds(20'000),
                                    .body_bytes_max = kBodyBytesMax};

// The names that the contract gives to refusals. Only these words are passed on.
constexpr std::array<std::string_view, 26> kKnownRefusals = {
    "AccountSuspended",
    "AccountTakedown",
    "ActorAlreadyMember",
    "AuthFactorTokenRequired",
    "BlockedActor",
    "BlockedSubject",
    "ConvoLocked",
    "ConvoNotFound",
    "ExpiredCursor",
    "ExpiredToken",
    "HandleNotFound",
    "InsufficientRole",
    "InvalidConvo",
    "InvalidCursor",
    "InvalidRequest",
    "InvalidToken",
    "MessageDeleteNotAllowed",
    "MessagesDisabled",
    "NotFollowedBySender",
    "NotFound",
    "OwnerCannotLeave",
    "PayloadTooLarge",
    "RateLimitExceeded",
    "RecipientNotFound",
    "ReplyTargetNotFound",
    "UserForbidden",
};

std::string KnownRefusal(const std::string& name) {
  const bool known =
      std::find(kKnownRefusals.begin(), kKnownRefusals.end(), name) != kKnownRefusals.end();
  return known ? name : std::string();
}

std::optional<std::int64_t> WholeNumber(const std::string& text) {
  if (text.empty() || text.size() > 12) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::optional<std::int64_t> NumberHeader(const HttpResponse& response, const char* name) {
  const auto it = response.headers.find(name);
  return it != response.headers.end() ? WholeNumber(it->second) : std::nullopt;
}

Error RateLimited(const HttpResponse& response) {
  Error error{.code = ErrorCode::kRateLimited, .message = "The platform asks us to wait."};
  if (const auto seconds = NumberHeader(response, "retry-after")) {
    error.retry_after = std::chrono::seconds(*seconds);
  }
  if (const auto epoch = NumberHeader(response, "ratelimit-reset")) {
    error.retry_at = TimePoint(std::chrono::seconds(*epoch));
  }
  return error;
}

bool IsAccountEnded(const std::string& name) {
  return name == "AccountTakedown" || name == "AccountSuspended" || name == "AccountDeactivated" ||
         name == "AccountNotFound";
}

// What servers answer to a chat call that does not say where to pass it on. They differ.
bool IsMissingProxy(int status, const ApiError& api) {
  if (status == 501 || api.name == "MethodNotImplemented") return true;
  if (status == 404 && api.name == "XRPCNotSupported") return true;
  const std::string_view message = api.message;
  return status == 400 && api.name == "InvalidRequest" &&
         (message.starts_with("No service configured for ") ||
          message.find("proxy header") != std::string_view::npos);
}

bool Usable(const std::string& text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool IsChat(const HttpRequest& request) { return request.path.starts_with("/xrpc/chat."); }

Credential Bearer(const Credential& token) { return Credential("Bearer " + token.Reveal()); }

// A read has no effect, so not knowing its outcome is only a failure to reach the platform.
Error AsRead(Error error) {
  if (error.code == ErrorCode::kOutcomeUnknown) {
    error.code = ErrorCode::kPlatformUnavailable;
  } else if (error.code == ErrorCode::kTooLarge) {
    error.code = ErrorCode::kProtocol;
  }
  return error;
}

Error AsSend(Error error) {
  switch (error.code) {
    case ErrorCode::kTooLarge:   // the answer was; the request had arrived
    case ErrorCode::kProtocol:   // likewise
    case ErrorCode::kCancelled:  // may have been on its way
      return Error{.code = ErrorCode::kOutcomeUnknown,
                   .message = "The platform's answer to a message was lost."};
    default:
      return error;
  }
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Create(const ConnectorContext& context) {
  std::unique_ptr<Client> client(new Client(context));
  if (!context.renew) return Fail(ErrorCode::kInternal, "A connector needs a credential sink.");

  const auto option = [&](const char* name) {
    const auto it = context.options.find(name);
    return it != context.options.end() ? it->second : std::string();
  };
  for (const auto& [name, value] : context.options) {
    if (name != "service" && name != "identifier") {
      return Fail(ErrorCode::kInvalidArgument, "Bluesky has no such option.", name);
    }
  }
  client->service_ = NormalOrigin(option("service"));
  if (client->service_.empty()) client->service_ = kDefaultService;
  client->identifier_ = option("identifier");
  if (client->identifier_.starts_with('@')) client->identifier_.erase(0, 1);
  if (!Usable(client->identifier_, 253)) {
    return Fail(ErrorCode::kInvalidArgument,
                "The identifier must be a handle or a DID of at most 253 ASCII characters.",
                "identifier");
  }

  auto credential =
      json::Parse(context.credential.Reveal(), {.bytes_max = 65'536, .items_max = 64});
  if (!credential || !credential->is_object()) {
    return Fail(ErrorCode::kInvalidArgument, "The credential is not a JSON object.", "password");
  }
  const auto secret = [&](const char* name) {
    const json::Value* member = credential->Find(name);
    const std::string* text = member != nullptr ? member->AsString() : nullptr;
    return text != nullptr ? *text : std::string();
  };
  client->password_ = Credential(secret("password"));
  if (client->password_.empty() || client->password_.size() > 512) {
    return Fail(ErrorCode::kInvalidArgument, "The password must have between 1 and 512 characters.",
                "password");
  }
  client->access_ = Credential(secret("access"));
  client->refresh_ = Credential(secret("refresh"));
  client->did_ = secret("did");
  const bool named = client->identifier_.starts_with("did:");
  const bool whole = Usable(client->access_.Reveal(), kTokenBytesMax) &&
                     Usable(client->refresh_.Reveal(), kTokenBytesMax) &&
                     client->did_.starts_with("did:") &&
                     (!named || client->did_ == client->identifier_);
  if (named) client->did_ = client->identifier_;
  if (!client->did_.starts_with("did:")) client->did_.clear();
  if (!whole) {
    // A session that is not whole is worth nothing; the password makes a new one.
    client->access_ = Credential();
    client->refresh_ = Credential();
  }

  auto http =
      HttpClient::Create(client->service_, client->egress_, kHttpLimits, client->platform_time_);
  if (!http) {
    Error error = std::move(http).error();
    if (error.code == ErrorCode::kInvalidArgument) error.field = "service";
    return Fail(std::move(error));
  }
  client->service_http_ = *std::move(http);
  if (whole) {
    MAYFLY_RETURN_IF_ERROR(client->SetPds(secret("pds")));
  }
  return client;
}

Status Client::SetPds(const std::optional<std::string>& endpoint) {
  const std::string origin = NormalOrigin(endpoint.value_or(""));
  if (origin == pds_) return {};
  pds_http_.reset();
  pds_.clear();
  if (origin.empty() || origin == service_) return {};
  // The DID document is the account holder's, not ours: another plain-HTTP origin is never
  // followed, and the egress policy judges the rest. The service passes calls on to the account's
  // server, so staying with it is safe.
  if (!origin.starts_with("https://")) return {};
  auto http = HttpClient::Create(origin, egress_, kHttpLimits, platform_time_);
  if (!http) {
    if (http.error().code == ErrorCode::kInvalidArgument) return {};
    return Fail(std::move(http).error());
  }
  pds_ = origin;
  pds_http_ = *std::move(http);
  return {};
}

HttpClient& Client::Pds() { return pds_http_ != nullptr ? *pds_http_ : *service_http_; }

Client::Failure Client::Classify(const HttpResponse& response, bool chat, Effect effect) {
  const ApiError api = ParseApiError(response.body);
  const int status = response.status;
  const auto failure = [](ErrorCode code, std::string message, std::string platform_code = {}) {
    return Failure{.error = Error{.code = code,
                                  .message = std::move(message),
                                  .platform_code = std::move(platform_code)}};
  };
  if (status == 429 || api.name == "RateLimitExceeded") {
    return Failure{.error = RateLimited(response)};
  }
  if (IsAccountEnded(api.name)) {
    return failure(ErrorCode::kCredentialDead,
                   "The platform has suspended, taken down or removed the account.",
                   KnownRefusal(api.name));
  }
  if (chat && IsMissingProxy(status, api)) {
    return failure(ErrorCode::kInternal,
                   "The account's server did not pass a chat call on to the chat service.");
  }
  if (status == 400 && api.name == "InvalidToken" && api.message == "Bad token method") {
    return failure(ErrorCode::kMissingPrivilege,
                   std::string("The app password lacks the permission ") + kDirectMessages + ".",
                   KnownRefusal(api.name));
  }
  if (status == 401 ||
      (status >= 400 && status < 500 &&
       (api.name == "ExpiredToken" || api.name == "InvalidToken" || api.name == "AuthMissing"))) {
    Failure refused = failure(ErrorCode::kCredentialDead, "The platform refused our session.",
                              KnownRefusal(api.name));
    refused.token = TokenVerdict::kRefused;
    return refused;
  }
  if (status == 400 && api.name == "InvalidRequest" &&
      api.message.starts_with("could not resolve")) {
    // The server could not find the chat service just now.
    return failure(ErrorCode::kPlatformUnavailable,
                   "The account's server cannot reach the chat service.");
  }
  if (status >= 400 && status < 500 && status != 408) {
    if (api.name.empty()) {
      return failure(ErrorCode::kPlatformRejected,
                     "The platform refused with HTTP status " + std::to_string(status) + ".");
    }
    const std::string word = KnownRefusal(api.name);
    return failure(ErrorCode::kPlatformRejected,
                   word.empty() ? "The platform refused for a reason that we do not know."
                                : "The platform refused: " + word + ".",
                   word);
  }
  if (effect == Effect::kSends) {
    return failure(ErrorCode::kOutcomeUnknown, "The platform answered a message with HTTP status " +
                                                   std::to_string(status) +
                                                   "; it may have taken it.");
  }
  if (status >= 500 || status == 408) {
    Failure unavailable =
        failure(ErrorCode::kPlatformUnavailable,
                "The platform failed with HTTP status " + std::to_string(status) + ".");
    if (const auto seconds = NumberHeader(response, "retry-after")) {
      unavailable.error.retry_after = std::chrono::seconds(*seconds);
    }
    return unavailable;
  }
  return failure(ErrorCode::kProtocol,
                 "The platform answered with HTTP status " + std::to_string(status) + ".");
}

tl::expected<HttpResponse, Client::Failure> Client::Once(HttpClient& http,
                                                         const HttpRequest& request, Effect effect,
                                                         std::stop_token stop) {
  if (stop.stop_requested()) {
    return tl::unexpected(
        Failure{.error = Error{.code = ErrorCode::kCancelled, .message = "Asked to stop."}});
  }
  auto response = http.Send(request, stop);
  if (!response) {
    Error error = std::move(response).error();
    return tl::unexpected(Failure{.error = effect == Effect::kSends ? AsSend(std::move(error))
                                                                    : AsRead(std::move(error))});
  }
  NoteBudget(*response);
  if (response->status == 200) return *std::move(response);
  return tl::unexpected(Classify(*response, IsChat(request), effect));
}

void Client::NoteBudget(const HttpResponse& response) {
  const auto limit = NumberHeader(response, "ratelimit-limit");
  const auto remaining = NumberHeader(response, "ratelimit-remaining");
  if (!limit || !remaining) return;
  budget_ = PlatformBudget{.limit = static_cast<std::uint64_t>(*limit),
                           .remaining = static_cast<std::uint64_t>(*remaining)};
  if (const auto epoch = NumberHeader(response, "ratelimit-reset")) {
    budget_->resets_at = TimePoint(std::chrono::seconds(*epoch));
  }
}

Status Client::Adopt(Session session) {
  if (!did_.empty() && session.did != did_) {
    ended_ = Error{.code = ErrorCode::kCredentialDead,
                   .message = "The identifier now belongs to another account."};
    return Fail(*ended_);
  }
  if (!Usable(session.access.Reveal(), kTokenBytesMax) ||
      !Usable(session.refresh.Reveal(), kTokenBytesMax) || !Usable(session.did, kIdBytesMax)) {
    return Fail(ErrorCode::kProtocol, "The platform gave a session that cannot be used.");
  }
  std::string text;
  json::Writer writer(&text);
  writer.StartObject()
      .Field("password", password_.Reveal())
      .Field("access", session.access.Reveal())
      .Field("refresh", session.refresh.Reveal())
      .Field("did", session.did)
      .Field("pds", session.pds.value_or(""))
      .EndObject();
  const Status kept = renew_(Credential(std::move(text)));
  if (!kept) {
    // The core does not hold the new tokens: using them could leave it with none that work.
    ended_ = kept.error();
    return Fail(*ended_);
  }
  did_ = session.did;
  refresh_ = session.refresh;
  access_ = Credential();
  MAYFLY_RETURN_IF_ERROR(SetPds(session.pds));
  if (!session.active) {
    // Not `ended_`: a suspension can end. Without an access token the next call asks again.
    return Fail(ErrorCode::kCredentialDead,
                "The platform has suspended, taken down or deactivated the account.");
  }
  access_ = std::move(session.access);
  return {};
}

Result<bool> Client::Refresh(std::stop_token stop) {
  if (refresh_.empty()) return false;
  HttpRequest request;
  request.method = "POST";
  request.path = "/xrpc/com.atproto.server.refreshSession";
  request.headers = {{"authorization", Bearer(refresh_)},
                     {"accept", Credential("application/json")}};
  auto response = Once(Pds(), request, Effect::kNone, stop);
  if (!response) {
    if (response.error().token == TokenVerdict::kRefused) return false;
    return Fail(std::move(response).error().error);
  }
  MAYFLY_ASSIGN_OR_RETURN(Session session, ParseSession(response->body, true));
  WipeString(response->body);
  MAYFLY_RETURN_IF_ERROR(Adopt(std::move(session)));
  return true;
}

Status Client::Login(std::stop_token stop) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/xrpc/com.atproto.server.createSession";
  request.headers = {{"accept", Credential("application/json")}};
  request.body = CreateSessionBody(identifier_, password_);
  request.content_type = "application/json";
  auto response = Once(*service_http_, request, Effect::kNone, stop);
  WipeString(request.body);
  if (!response) {
    Failure failure = std::move(response).error();
    const bool second_factor = failure.error.platform_code == "AuthFactorTokenRequired";
    if (failure.token == TokenVerdict::kRefused || second_factor) {
      ended_ = Error{.code = ErrorCode::kCredentialDead,
                     .message = second_factor
                                    ? "The platform wants a second factor: use an app password."
                                    : "The platform refused the identifier or the password.",
                     .platform_code = failure.error.platform_code};
      return Fail(*ended_);
    }
    return Fail(std::move(failure.error));
  }
  MAYFLY_ASSIGN_OR_RETURN(Session session, ParseSession(response->body, true));
  WipeString(response->body);
  return Adopt(std::move(session));
}

Status Client::Renew(std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const bool refreshed, Refresh(stop));
  if (refreshed) return {};
  refresh_ = Credential();
  return Login(stop);
}

Status Client::EnsureSession(std::stop_token stop) {
  if (ended_) return Fail(*ended_);
  if (!access_.empty()) return {};
  return Renew(stop);
}

Result<HttpResponse> Client::Call(HttpRequest request, Effect effect, std::stop_token stop) {
  MAYFLY_RETURN_IF_ERROR(EnsureSession(stop));
  request.headers = {{"authorization", Credential()}, {"accept", Credential("application/json")}};
  if (IsChat(request)) request.headers.emplace_back("atproto-proxy", Credential(kChatProxy));
  for (const bool last : {false, true}) {
    request.headers[0].second = Bearer(access_);
    auto response = Once(Pds(), request, effect, stop);
    if (response) return *std::move(response);
    if (response.error().token != TokenVerdict::kRefused) {
      return Fail(std::move(response).error().error);
    }
    access_ = Credential();
    if (!last) MAYFLY_RETURN_IF_ERROR(Renew(stop));
  }
  return Fail(ErrorCode::kProtocol, "The platform refused a session that it had just given.");
}

Result<HttpResponse> Client::Query(const char* method,
                                   std::vector<std::pair<std::string, std::string>> query,
                                   std::stop_token stop) {
  HttpRequest request;
  request.path = std::string("/xrpc/") + method;
  request.query = std::move(query);
  return Call(std::move(request), Effect::kNone, stop);
}

Result<LogPage> Client::GetLog(const std::string& cursor, std::stop_token stop) {
  std::vector<std::pair<std::string, std::string>> query;
  if (!cursor.empty()) query.emplace_back("cursor", cursor);
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Query("chat.bsky.convo.getLog", std::move(query), stop));
  return ParseLog(response.body);
}

Result<ConvoPage> Client::ListConvos(ConvoListKind kind, const std::string& cursor, int limit,
                                     std::stop_token stop) {
  const bool requests = kind == ConvoListKind::kRequests;
  std::vector<std::pair<std::string, std::string>> query = {{"limit", std::to_string(limit)}};
  if (!requests) query.emplace_back("status", "accepted");
  if (!cursor.empty()) query.emplace_back("cursor", cursor);
  MAYFLY_ASSIGN_OR_RETURN(
      const HttpResponse response,
      Query(requests ? "chat.bsky.convo.listConvoRequests" : "chat.bsky.convo.listConvos",
            std::move(query), stop));
  return requests ? ParseConvoRequests(response.body) : ParseConvoList(response.body);
}

Result<ConvoView> Client::GetConvo(const std::string& convo_id, std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Query("chat.bsky.convo.getConvo", {{"convoId", convo_id}}, stop));
  return ParseConvo(response.body);
}

Result<MessagePage> Client::GetMessages(const std::string& convo_id, const std::string& cursor,
                                        std::stop_token stop) {
  std::vector<std::pair<std::string, std::string>> query = {
      {"convoId", convo_id}, {"limit", std::to_string(kPageItemsMax)}};
  if (!cursor.empty()) query.emplace_back("cursor", cursor);
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Query("chat.bsky.convo.getMessages", std::move(query), stop));
  return ParseMessages(response.body);
}

Result<MessageItem> Client::SendMessage(const std::string& convo_id, const MessageBody& text,
                                        std::stop_token stop) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/xrpc/chat.bsky.convo.sendMessage";
  request.body = SendMessageBody(convo_id, text);
  request.content_type = "application/json";
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Call(std::move(request), Effect::kSends, stop));
  auto sent = ParseSentMessage(response.body);
  if (!sent) {
    // Accepted, but we cannot tell what: settled by looking, like a lost answer.
    return Fail(ErrorCode::kOutcomeUnknown, "The platform's answer to a message makes no sense.");
  }
  return sent;
}

Result<Session> Client::GetSession(std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const HttpResponse response,
                          Query("com.atproto.server.getSession", {}, stop));
  return ParseSession(response.body, false);
}

}  // namespace mayfly::connectors::bluesky
