#include "connectors/mastodon/simulator_api.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <sodium.h>
#include <tuple>

#include "store/model/json.h"

namespace mayfly::connectors::mastodon::sim {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr auto kWindow = minutes(5);
constexpr auto kPostWindow = std::chrono::hours(3);  // Mastodon app/lib/rate_limiter.rb, statuses
constexpr std::uint32_t kPostsPerWindow = 300;
constexpr auto kPagingWindow = minutes(15);    // Mastodon config/initializers/rack_attack.rb
constexpr auto kDeletionWindow = minutes(30);  // the same
constexpr std::uint32_t kDeletionsPerWindow = 30;
constexpr std::size_t kHugeBytes = 64u << 20;
constexpr const char* kPage = "<!DOCTYPE html><html><body><h1>Be right back</h1></body></html>";

bool HasScope(const std::string& granted, std::string_view wanted) {
  std::size_t at = 0;
  while (at < granted.size()) {
    const std::size_t end = std::min(granted.find(' ', at), granted.size());
    if (std::string_view(granted).substr(at, end - at) == wanted) return true;
    at = end + 1;
  }
  return false;
}

SimulatorResponse Closed() {
  SimulatorResponse response;
  response.drop_connection = true;
  return response;
}

SimulatorResponse Html(int status) {
  SimulatorResponse response;
  response.status = status;
  response.content_type = "text/html; charset=utf-8";
  response.body = kPage;
  return response;
}

// An answer that only ends far beyond what a client may take.
SimulatorResponse Huge() {
  SimulatorResponse response;
  response.raw_bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
                       std::to_string(kHugeBytes) + "\r\n\r\n[";
  auto left = std::make_shared<std::size_t>(kHugeBytes - 1);
  response.raw_stream = [left] {
    const std::size_t piece = std::min<std::size_t>(*left, 64u << 10);
    *left -= piece;
    return std::string(piece, ' ');
  };
  return response;
}

}  // namespace

// ---- a request ----

std::optional<std::string> Api::Call::Param(const std::string& name) const {
  for (const auto& [key, value] : params) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> Api::Call::Params(const std::string& name) const {
  std::vector<std::string> found;
  for (const auto& [key, value] : params) {
    if (key == name) found.push_back(value);
  }
  return found;
}

// "*" stands for any one segment.
bool Api::Call::Is(std::string_view method, std::initializer_list<std::string_view> wanted) const {
  if (request.method != method || path.size() != wanted.size()) return false;
  return std::equal(path.begin(), path.end(), wanted.begin(),
                    [](const std::string& a, std::string_view b) { return b == "*" || a == b; });
}

void Api::SetOrigin(const std::string& origin) {
  origin_ = origin;
  entities_.SetOrigin(origin);
}

void Api::AnswerNext(const std::string& method, const std::string& path,
                     SimulatorResponse response) {
  answers_.emplace_back(method, path, std::move(response));
}

std::size_t Api::CountRequests(const std::string& path) const {
  if (!path.empty()) {
    const auto it = requests_.find(path);
    return it != requests_.end() ? it->second : 0;
  }
  std::size_t count = 0;
  for (const auto& [each, times] : requests_) count += times;
  return count;
}

SimulatorResponse Api::Handle(const SimulatorRequest& request) {
  ++requests_[request.path];
  for (auto it = answers_.begin(); it != answers_.end(); ++it) {
    const auto& [method, path, response] = *it;
    if (!path.empty() && (path != request.path || method != request.method)) continue;
    SimulatorResponse answer = response;
    answers_.erase(it);
    return answer;
  }
  if (request.method == "GET") {
    if (auto fault = ReadFault(request)) return *std::move(fault);
  }
  const bool send = request.method == "POST" && request.path == "/api/v1/statuses";
  if (send) {
    if (auto fault = SendFault()) return *std::move(fault);
  }
  SimulatorResponse response = Serve(request);
  if (send && response.status == 200) {
    if (Take(PlatformFault::kSendAnswerLost)) return Closed();
    if (Take(PlatformFault::kSendFailsAfter)) return Html(500);
    if (Take(PlatformFault::kSendAnswerBroken)) return Html(200);
  }
  SpoilAnswer(request, response);
  return response;
}

// ---- faults ----

bool Api::HasBegun(PlatformFault fault) const {
  const auto it = faults_.find(fault);
  return it != faults_.end() && it->second.first > 0 && CountRequests("") > it->second.second;
}

bool Api::Take(PlatformFault fault) {
  if (!HasBegun(fault)) return false;
  --faults_[fault].first;
  return true;
}

std::optional<SimulatorResponse> Api::ReadFault(const SimulatorRequest& request) {
  if (!request.path.starts_with("/api/")) return std::nullopt;
  // As from a window in which nothing is left.
  if (Take(PlatformFault::kRateLimited)) return LimitedAnswer(Count("fault", 0, kWindow));
  if (Take(PlatformFault::kUnavailable)) return Html(503);
  if (Take(PlatformFault::kConnectionClosed)) return Closed();
  if (Take(PlatformFault::kNotJson)) return Html(200);
  if (Take(PlatformFault::kHugeAnswer)) return Huge();
  if (Take(PlatformFault::kWrongShape)) {
    SimulatorResponse response;
    response.body = R"([{"id":7,"type":"mention","status":{"id":[]},"last_status":{"id":[]}}])";
    return response;
  }
  if (Take(PlatformFault::kRedirect)) {
    SimulatorResponse response = Html(302);
    response.headers.emplace_back("Location", "http://elsewhere.example" + request.path);
    return response;
  }
  return std::nullopt;
}

std::optional<SimulatorResponse> Api::SendFault() {
  if (Take(PlatformFault::kSendLost)) return Closed();
  if (Take(PlatformFault::kSendRateLimited)) return LimitedAnswer(Count("fault", 0, kWindow));
  if (!Take(PlatformFault::kSendRefused)) return std::nullopt;
  // Mastodon::NotPermittedError.
  SimulatorResponse response;
  response.status = 403;
  response.body = ErrorBody({403, "This action is not allowed"});
  return response;
}

void Api::SpoilAnswer(const SimulatorRequest& request, SimulatorResponse& response) {
  if (request.method != "GET" || response.status != 200) return;
  if (Take(PlatformFault::kTruncatedAnswer)) response.body.resize(response.body.size() / 2);
}

// ---- limits ----

bool Api::HasRateLimit() const {
  return world_.IsMastodon() || world_.options().flavour == MastodonFlavour::kGoToSocial;
}

// Windows begin at multiples of their length since 1970, as in Mastodon's rack_attack.rb.
Api::Meter Api::Count(const std::string& key, std::uint32_t limit, seconds length) {
  const auto now = std::chrono::floor<seconds>(world_.Now()).time_since_epoch();
  Window& window = windows_[key];
  const std::int64_t number = now / length;
  if (window.number != number) window = Window{.number = number};
  const bool within = window.used < limit;
  if (within) ++window.used;
  return Meter{.within = within,
               .limit = limit,
               .left = limit - window.used,
               .reset = TimePoint((number + 1) * length)};
}

void Api::WriteMeter(const Meter& meter, SimulatorResponse& response) const {
  if (!HasRateLimit() || !world_.options().rate_limit_headers) return;
  std::string reset = FormatRfc3339(meter.reset);
  if (world_.IsMastodon()) reset.insert(reset.size() - 1, "000");  // iso8601(6)
  response.headers.emplace_back("X-RateLimit-Limit", std::to_string(meter.limit));
  response.headers.emplace_back("X-RateLimit-Remaining", std::to_string(meter.left));
  response.headers.emplace_back("X-RateLimit-Reset", reset);
}

SimulatorResponse Api::LimitedAnswer(const Meter& meter) const {
  SimulatorResponse response;
  const Refusal refusal = RateLimited();
  response.status = refusal.status;
  response.body = ErrorBody(refusal);
  WriteMeter(meter, response);
  return response;
}

Refusal Api::RateLimited() const {
  switch (world_.options().flavour) {
    case MastodonFlavour::kGoToSocial:
      return {429, "rate limit reached"};  // GoToSocial internal/middleware/ratelimit.go
    case MastodonFlavour::kPleroma:
      return {429, "Throttled"};
    default:
      return {429, "Too many requests"};
  }
}

// Each request counts in every window that concerns it; the headers tell of the fullest one
// (Mastodon app/controllers/concerns/api/rate_limit_headers.rb).
std::vector<Api::Meter> Api::Meters(const SimulatorRequest& request) {
  if (!HasRateLimit()) return {};
  const std::uint32_t limit = world_.options().requests_per_5_min;
  const std::string bearer = request.Header("authorization");
  std::vector<Meter> meters = {Count("requests " + bearer, limit, kWindow)};
  if (!world_.IsMastodon()) return meters;
  const auto token = tokens_.find(bearer.starts_with("Bearer ") ? bearer.substr(7) : bearer);
  const std::string who = token != tokens_.end() ? token->second.account : "";
  if (request.Query("max_id") || request.Query("min_id") || request.Query("since_id")) {
    meters.push_back(Count("pages " + who, limit, kPagingWindow));
  }
  if (request.method == "DELETE" && request.path.starts_with("/api/v1/statuses/")) {
    meters.push_back(Count("deletions " + who, kDeletionsPerWindow, kDeletionWindow));
  }
  return meters;
}

SimulatorResponse Api::Serve(const SimulatorRequest& request) {
  const std::vector<Meter> meters = Meters(request);
  const auto fullest = std::min_element(
      meters.begin(), meters.end(), [](const Meter& a, const Meter& b) { return a.left < b.left; });
  for (const Meter& meter : meters) {
    if (!meter.within) return LimitedAnswer(meter);
  }
  SimulatorResponse response = Dispatch(request);
  // Sending has a limit of its own, whose headers stand in place of these.
  const bool own = std::any_of(response.headers.begin(), response.headers.end(),
                               [](const auto& h) { return h.first.starts_with("X-RateLimit"); });
  if (!own && fullest != meters.end()) WriteMeter(*fullest, response);
  return response;
}

// ---- errors ----

std::string Api::ErrorBody(const Refusal& refusal) const {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("error", refusal.error);
  if (refusal.error == "invalid_client") {
    writer.Field("error_description",
                 "Client authentication failed due to unknown client, no client authentication "
                 "included, or unsupported authentication method.");
  } else if (refusal.error == "invalid_grant") {
    writer.Field("error_description",
                 "The provided authorization grant is invalid, expired, revoked, does not match "
                 "the redirection URI used in the authorization request, or was issued to another "
                 "client.");
  } else if (refusal.error == "unsupported_grant_type") {
    writer.Field("error_description",
                 "The authorization grant type is not supported by the authorization server.");
  }
  writer.EndObject();
  return body;
}

Refusal Api::NotFound() const {
  if (world_.options().flavour == MastodonFlavour::kGoToSocial) return {404, "Not Found"};
  return {404, "Record not found"};
}

Refusal Api::NoRoute() const { return {404, "Not Found"}; }

// ---- tokens ----

// Doorkeeper's doorkeeper_authorize!, with the words of lib/doorkeeper's locale.
tl::expected<void, Refusal> Api::Authorize(const Call& call, Scopes scopes) const {
  const MastodonFlavour flavour = world_.options().flavour;
  if (call.token == nullptr || call.token->revoked || HasBegun(PlatformFault::kTokenRevoked)) {
    switch (flavour) {
      case MastodonFlavour::kGoToSocial:
        return tl::unexpected(Refusal{401, "Unauthorized: token not supplied"});
      case MastodonFlavour::kPleroma:
        return tl::unexpected(Refusal{403, "Invalid credentials."});
      case MastodonFlavour::kSnac:
        return tl::unexpected(Refusal{401, "Unauthorized"});
      default:
        return tl::unexpected(Refusal{401, call.token == nullptr ? "The access token is invalid"
                                                                 : "The access token was revoked"});
    }
  }
  const bool granted = std::any_of(scopes.begin(), scopes.end(), [&](std::string_view scope) {
    return HasScope(call.token->scope, scope);
  });
  if (granted || scopes.size() == 0 || flavour == MastodonFlavour::kSnac) return {};
  switch (flavour) {
    case MastodonFlavour::kGoToSocial:
      return tl::unexpected(Refusal{403, "Forbidden: token has insufficient scope permission"});
    case MastodonFlavour::kPleroma:
      return tl::unexpected(
          Refusal{403, "Insufficient permissions: " + std::string(*(scopes.end() - 1)) + "."});
    default:
      return tl::unexpected(Refusal{403, "This action is outside the authorized scopes"});
  }
}

tl::expected<Account*, Refusal> Api::Require(const Call& call, Scopes scopes) const {
  if (const auto granted = Authorize(call, scopes); !granted) {
    return tl::unexpected(granted.error());
  }
  if (call.viewer == nullptr) {  // Mastodon app/controllers/api/base_controller.rb
    return tl::unexpected(Refusal{422, "This method requires an authenticated user"});
  }
  return call.viewer;
}

// Mastodon's authorize_if_got_token!: a token that nobody knows is none at all.
tl::expected<void, Refusal> Api::Allow(const Call& call, Scopes scopes) const {
  if (world_.IsMastodon() && call.token == nullptr) return {};
  return Authorize(call, scopes);
}

std::string Api::NewSecret() {
  std::array<unsigned char, 32> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, 64> text{};
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  return text.data();
}

std::string Api::IssueToken(const std::string& account_id, const std::string& scopes) {
  const std::string token = NewSecret();
  tokens_[token] = Token{.account = account_id, .scope = scopes, .created_at = world_.Now()};
  return token;
}

std::string Api::IssueCode(const std::string& account_id, const std::string& client_id,
                           const std::string& redirect_uri, const std::string& scopes) {
  const std::string code = NewSecret();
  codes_[code] = Code{
      .account = account_id, .client_id = client_id, .redirect_uri = redirect_uri, .scope = scopes};
  return code;
}

void Api::RevokeTokens(const std::string& account_id) {
  for (auto& [secret, token] : tokens_) {
    if (token.account == account_id) token.revoked = true;
  }
}

// ---- routes ----

SimulatorResponse Api::Dispatch(const SimulatorRequest& request) {
  SimulatorResponse response;
  Call call{.request = request};
  for (std::size_t at = 1; at <= request.path.size();) {
    const std::size_t end = std::min(request.path.find('/', at), request.path.size());
    call.path.push_back(request.path.substr(at, end - at));
    at = end + 1;
  }
  call.params = request.query;
  const auto body = ParseBody(request.Header("content-type"), request.body);
  if (!body) {
    response.status = 400;
    response.body = ErrorBody({400, "Error occurred while parsing request parameters"});
    return response;
  }
  call.params.insert(call.params.end(), body->begin(), body->end());
  std::string bearer = request.Header("authorization");
  bearer =
      bearer.starts_with("Bearer ") ? bearer.substr(7) : call.Param("access_token").value_or("");
  if (const auto token = tokens_.find(bearer); token != tokens_.end()) {
    call.token = &token->second;
    if (!token->second.revoked) call.viewer = world_.AccountById(token->second.account);
  }
  const bool posts = call.Is("POST", {"api", "v1", "statuses"}) && call.viewer != nullptr;
  if (posts && world_.IsMastodon()) {
    const Meter meter = Count("posts " + call.viewer->id, kPostsPerWindow, kPostWindow);
    if (!meter.within) return LimitedAnswer(meter);
    WriteMeter(meter, response);
  }
  Answer answer = Route(call);
  if (!answer) {
    response.status = answer.error().status;
    response.body = ErrorBody(answer.error());
    return response;
  }
  response.body = answer->empty() ? "{}" : *std::move(answer);
  if (!call.link.empty()) response.headers.emplace_back("Link", call.link);
  return response;
}

Api::Answer Api::Route(Call& call) {
  if (call.path.size() >= 2 && call.path[0] == "oauth") return RouteOauth(call);
  if (call.path.size() < 3 || call.path[0] != "api") return tl::unexpected(NoRoute());
  const std::string& version = call.path[1];
  const std::string& what = call.path[2];
  if (call.Is("GET", {"api", "v1", "instance"})) {
    return Body([&](json::Writer& writer) { entities_.WriteInstance(writer, true); });
  }
  if (call.Is("GET", {"api", "v2", "instance"})) {
    return Body([&](json::Writer& writer) { entities_.WriteInstance(writer, false); });
  }
  if (call.path.size() == 4 && what == "notifications" && call.path[3] == "policy") {
    return RoutePolicy(call, version == "v1");
  }
  if (version != "v1") return tl::unexpected(NoRoute());
  if (what == "statuses") return RouteStatuses(call);
  if (what == "conversations") return RouteConversations(call);
  if (what == "notifications") return RouteNotifications(call);
  if (what == "accounts") return RouteAccounts(call);
  if (what == "apps") return RouteOauth(call);
  if (call.Is("GET", {"api", "v1", "pleroma", "conversations", "*", "statuses"})) {
    return PleromaStatuses(call);
  }
  return tl::unexpected(NoRoute());
}

}  // namespace mayfly::connectors::mastodon::sim
