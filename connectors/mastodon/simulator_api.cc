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

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr auto kWindow = minutes(5);
constexpr auto kIdempotency = hours(1);         // Mastodon app/services/post_status_service.rb
constexpr auto kPleromaIdempotency = hours(6);  // Pleroma's idempotency cache
constexpr auto kPostWindow = hours(3);          // Mastodon app/lib/rate_limiter.rb, statuses
constexpr std::uint32_t kPostsPerWindow = 300;
constexpr std::size_t kManyStatusesMax =
    20;  // Mastodon app/controllers/api/v1/statuses_controller.rb
constexpr std::size_t kSnacNotifications = 64;
constexpr std::size_t kHugeBytes = 64u << 20;
constexpr const char* kPage = "<!DOCTYPE html><html><body><h1>Be right back</h1></body></html>";

bool Truthy(const std::optional<std::string>& value) {
  return value && *value != "false" && *value != "0" && *value != "f" && *value != "off" &&
         !value->empty();
}

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
  }
  SpoilAnswer(request, response);
  return response;
}

// ---- faults ----

bool Api::Take(PlatformFault fault) {
  const auto it = faults_.find(fault);
  if (it == faults_.end() || it->second <= 0) return false;
  --it->second;
  return true;
}

std::optional<SimulatorResponse> Api::ReadFault(const SimulatorRequest& request) {
  if (!request.path.starts_with("/api/")) return std::nullopt;
  if (Take(PlatformFault::kRateLimited)) {
    SimulatorResponse response;
    const Refusal refusal = RateLimited();
    response.status = refusal.status;
    response.body = ErrorBody(refusal);
    // The window in which nothing is left.
    Limit("fault", 0, kWindow, response);
    return response;
  }
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
  std::optional<Refusal> refusal;
  if (Take(PlatformFault::kSendRateLimited)) refusal = RateLimited();
  // Mastodon::NotPermittedError, for example for an account that is limited.
  if (Take(PlatformFault::kSendRefused)) refusal = Refusal{403, "This action is not allowed"};
  if (!refusal) return std::nullopt;
  SimulatorResponse response;
  response.status = refusal->status;
  response.body = ErrorBody(*refusal);
  if (refusal->status == 429) Limit("fault", 0, kWindow, response);
  return response;
}

void Api::SpoilAnswer(const SimulatorRequest& request, SimulatorResponse& response) {
  if (request.method != "GET" || response.status != 200) return;
  if (Take(PlatformFault::kTruncatedAnswer)) response.body.resize(response.body.size() / 2);
}

template <class Row>
void Api::SpoilPage(std::vector<Row>& rows) {
  if (rows.empty()) return;  // nothing would be seen of it
  if (Take(PlatformFault::kServedReordered)) std::reverse(rows.begin(), rows.end());
  if (!Take(PlatformFault::kServedTwice)) return;
  std::vector<Row> twice;
  for (const Row& row : rows) twice.insert(twice.end(), 2, row);
  rows = std::move(twice);
}

// ---- limits ----

bool Api::HasRateLimit() const {
  return world_.IsMastodon() || world_.options().flavour == MastodonFlavour::kGoToSocial;
}

// Windows begin at multiples of their length since 1970, as in Mastodon's rack_attack.rb.
bool Api::Limit(const std::string& key, std::uint32_t limit, seconds length,
                SimulatorResponse& response) {
  if (!HasRateLimit()) return true;
  const auto now = std::chrono::floor<seconds>(world_.Now()).time_since_epoch();
  Window& window = windows_[key];
  const std::int64_t number = now / length;
  if (window.number != number) window = Window{.number = number};
  const bool left = window.used < limit;
  if (left) ++window.used;
  if (!world_.options().rate_limit_headers) return left;
  std::erase_if(response.headers,
                [](const auto& header) { return header.first.starts_with("X-RateLimit"); });
  std::string reset = FormatRfc3339(TimePoint((number + 1) * length));
  if (world_.IsMastodon()) reset.insert(reset.size() - 1, "000");  // iso8601(6)
  response.headers.emplace_back("X-RateLimit-Limit", std::to_string(limit));
  response.headers.emplace_back("X-RateLimit-Remaining", std::to_string(limit - window.used));
  response.headers.emplace_back("X-RateLimit-Reset", reset);
  return left;
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

SimulatorResponse Api::Serve(const SimulatorRequest& request) {
  SimulatorResponse limited;
  const std::string bearer = request.Header("authorization");
  const bool within =
      Limit("requests " + bearer, world_.options().requests_per_5_min, kWindow, limited);
  SimulatorResponse response;
  if (within) {
    response = Dispatch(request);
  } else {
    const Refusal refusal = RateLimited();
    response.status = refusal.status;
    response.body = ErrorBody(refusal);
  }
  // Sending has a limit of its own, whose headers then replace these.
  const bool own = std::any_of(response.headers.begin(), response.headers.end(),
                               [](const auto& h) { return h.first.starts_with("X-RateLimit"); });
  if (!own) {
    response.headers.insert(response.headers.end(), limited.headers.begin(), limited.headers.end());
  }
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
  if (call.token == nullptr || call.token->revoked ||
      faults_.contains(PlatformFault::kTokenRevoked)) {
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
  const bool within = !posts || !world_.IsMastodon() ||
                      Limit("posts " + call.viewer->id, kPostsPerWindow, kPostWindow, response);
  Answer answer = within ? Route(call) : Answer(tl::unexpected(RateLimited()));
  if (!answer) {
    response.status = answer.error().status;
    response.body = ErrorBody(answer.error());
    return response;
  }
  response.body = answer->empty() ? "{}" : *std::move(answer);
  if (!call.link.empty()) response.headers.emplace_back("Link", call.link);
  return response;
}

template <class Write>
std::string Api::Body(Write write) {
  std::string body;
  json::Writer writer(&body);
  write(writer);
  return body;
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

// ---- pages ----

tl::expected<Api::Page, Refusal> Api::PageOf(const Call& call, std::size_t limit_default,
                                             std::size_t limit_max) const {
  Page page{.max_id = call.Param("max_id"),
            .since_id = call.Param("since_id"),
            .min_id = call.Param("min_id"),
            .limit = limit_default};
  for (auto* id : {&page.max_id, &page.since_id, &page.min_id}) {
    if (*id && (*id)->empty()) id->reset();
  }
  const auto text = call.Param("limit");
  if (!text) return page;
  const bool digits = !text->empty() && text->size() < 10 &&
                      text->find_first_not_of("0123456789") == std::string::npos;
  if (!digits && world_.options().flavour == MastodonFlavour::kGoToSocial) {
    return tl::unexpected(Refusal{400, "Bad Request: error parsing limit"});
  }
  // Mastodon app/controllers/api/base_controller.rb, limit_param: to_i, and a limit of 0 is kept.
  page.limit = std::min<std::size_t>(digits ? std::stoul(*text) : 0, limit_max);
  if (!world_.IsMastodon()) page.limit = std::max<std::size_t>(page.limit, 1);
  return page;
}

// Rows in, by rising position; out, the newest first. Mastodon app/models/concerns/paginable.rb:
// min_id takes the ones immediately above it, since_id the newest above it.
template <class Row, class KeyOf>
std::vector<Row> Api::Cut(std::vector<Row> rows, const Page& page, KeyOf key_of) const {
  const ById less;
  const std::optional<std::string>& floor = page.min_id ? page.min_id : page.since_id;
  std::erase_if(rows, [&](const Row& row) {
    return (page.max_id && !less(key_of(row), *page.max_id)) ||
           (floor && !less(*floor, key_of(row)));
  });
  if (rows.size() > page.limit) {
    const auto limit = static_cast<std::ptrdiff_t>(page.limit);
    if (page.min_id) {
      rows.erase(rows.begin() + limit, rows.end());
    } else {
      rows.erase(rows.begin(), rows.end() - limit);
    }
  }
  std::reverse(rows.begin(), rows.end());
  return rows;
}

// What the request named is kept, in the order of the names, as Rails writes it.
std::string Api::LinkTo(const Call& call, const std::string& path, const std::string& name,
                        const std::string& value) const {
  std::vector<std::pair<std::string, std::string>> kept;
  for (const auto& [key, each] : call.request.query) {
    if (key == "limit" || key == "account_id" || key == "types[]" || key == "exclude_types[]" ||
        key == "include_filtered") {
      kept.emplace_back(key, each);
    }
  }
  if (!value.empty()) kept.emplace_back(name, value);
  std::stable_sort(kept.begin(), kept.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string url = origin_ + path;
  char sign = '?';
  for (const auto& [key, each] : kept) {
    url += std::exchange(sign, '&') + UrlEncode(key) + "=" + UrlEncode(each);
  }
  return url;
}

void Api::SetLink(Call& call, const std::string& path, const Page& page, const std::string& newest,
                  const std::string& oldest, bool next) {
  std::string max_id = oldest;
  std::string min_id = newest;
  if (Take(PlatformFault::kCursorRepeats)) {
    max_id = page.max_id.value_or("");
    min_id = page.min_id.value_or(page.since_id.value_or(""));
    next = true;
  }
  if (max_id.empty() && min_id.empty() && !next) return;
  if (next) call.link = "<" + LinkTo(call, path, "max_id", max_id) + ">; rel=\"next\"";
  if (!call.link.empty()) call.link += ", ";
  call.link += "<" + LinkTo(call, path, "min_id", min_id) + ">; rel=\"prev\"";
}

// ---- conversations: Mastodon app/controllers/api/v1/conversations_controller.rb ----

Api::Answer Api::RouteConversations(Call& call) {
  if (call.Is("GET", {"api", "v1", "conversations"})) return ListConversations(call);
  const bool read = call.Is("POST", {"api", "v1", "conversations", "*", "read"});
  if (!read && !call.Is("DELETE", {"api", "v1", "conversations", "*"})) {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = Require(call, {"write", "write:conversations"});
  if (!viewer) return tl::unexpected(viewer.error());
  Entry* entry = world_.FindEntry(**viewer, call.path[3]);
  if (entry == nullptr) return tl::unexpected(NotFound());
  if (!read) {
    world_.RemoveEntry(*entry);
    return std::string();
  }
  entry->unread = false;
  return Body([&](json::Writer& writer) { entities_.WriteConversation(writer, *entry); });
}

Api::Answer Api::ListConversations(Call& call) {
  const MastodonFlavour flavour = world_.options().flavour;
  if (flavour == MastodonFlavour::kSnac) return std::string("[]");  // whoever asks
  const auto viewer = Require(call, {"read", "read:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  const bool gotosocial = flavour == MastodonFlavour::kGoToSocial;
  const auto page = PageOf(call, gotosocial ? 40 : 20, gotosocial ? 80 : 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Entry*> rows = world_.EntriesOf(**viewer);
  // Pleroma lib/pleroma/conversation/participation.ex pages by its own id, and orders by change.
  const bool by_entry = flavour == MastodonFlavour::kPleroma;
  const auto key = [&](const Entry* entry) { return by_entry ? entry->id : entry->last(); };
  if (!by_entry) {
    std::sort(rows.begin(), rows.end(),
              [](const Entry* a, const Entry* b) { return ById()(a->last(), b->last()); });
  }
  rows = Cut(std::move(rows), *page, key);
  if (Take(PlatformFault::kEmptyPageGoesOn)) {
    const std::string at = page->max_id.value_or(rows.empty() ? "1" : key(rows.front()));
    SetLink(call, call.request.path, *page, page->min_id.value_or(at), at, true);
    return std::string("[]");
  }
  if (!rows.empty()) {
    // Mastodon: records_continue? is size == limit. The others say "next" on every page with rows.
    const bool next = !world_.IsMastodon() || rows.size() == page->limit;
    SetLink(call, call.request.path, *page, key(rows.front()), key(rows.back()), next);
  }
  if (by_entry) {
    std::sort(rows.begin(), rows.end(),
              [](const Entry* a, const Entry* b) { return a->touched > b->touched; });
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Entry* entry : rows) entities_.WriteConversation(writer, *entry);
    writer.EndArray();
  });
}

Api::Answer Api::PleromaStatuses(Call& call) {
  if (world_.options().flavour != MastodonFlavour::kPleroma) return tl::unexpected(NoRoute());
  const auto viewer = Require(call, {"read", "read:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  const Entry* entry = world_.FindEntry(**viewer, call.path[4]);
  if (entry == nullptr) return tl::unexpected(NotFound());
  const auto page = PageOf(call, 20, 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Note*> rows;
  for (const std::string& id : entry->notes) rows.push_back(world_.FindNote(id));
  rows = Cut(std::move(rows), *page, [](const Note* note) { return note->id; });
  if (!rows.empty()) {
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, true);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Note* note : rows) entities_.WriteStatus(writer, *note, *viewer);
    writer.EndArray();
  });
}

// ---- notifications: Mastodon app/controllers/api/v1/notifications_controller.rb ----

Api::Answer Api::ListNotifications(Call& call) {
  const MastodonFlavour flavour = world_.options().flavour;
  const auto viewer = Require(call, {"read", "read:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  auto page =
      PageOf(call, world_.IsMastodon() ? 40 : 20, flavour == MastodonFlavour::kPleroma ? 40 : 80);
  if (!page) return tl::unexpected(page.error());
  // snac mastoapi.c reads its newest ones, whatever the position.
  if (flavour == MastodonFlavour::kSnac) *page = Page{.limit = kSnacNotifications};
  const std::vector<std::string> types = call.Params("types[]");
  const std::vector<std::string> excluded = call.Params("exclude_types[]");
  const auto from = call.Param("account_id");
  const bool with_filtered = Truthy(call.Param("include_filtered")) || from.has_value();
  const bool wanted = (types.empty() || flavour == MastodonFlavour::kSnac ||
                       std::find(types.begin(), types.end(), "mention") != types.end()) &&
                      std::find(excluded.begin(), excluded.end(), "mention") == excluded.end();
  std::vector<Notice*> rows;
  if (wanted) rows = world_.NoticesOf(**viewer);
  std::erase_if(rows, [&](const Notice* notice) {
    return (notice->filtered && !with_filtered) || (from && notice->from != *from);
  });
  rows = Cut(std::move(rows), *page, [](const Notice* notice) { return notice->id; });
  if (Take(PlatformFault::kEmptyPageGoesOn)) {
    const std::string at = page->max_id.value_or(rows.empty() ? "1" : rows.front()->id);
    SetLink(call, call.request.path, *page, page->min_id.value_or(at), at, true);
    return std::string("[]");
  }
  if (!rows.empty() && flavour != MastodonFlavour::kSnac) {
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, true);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Notice* notice : rows) entities_.WriteNotification(writer, *notice);
    writer.EndArray();
  });
}

Api::Answer Api::RouteNotifications(Call& call) {
  if (call.Is("GET", {"api", "v1", "notifications"})) return ListNotifications(call);
  if (call.path.size() > 3 && call.path[3] == "requests") return RouteRequests(call);
  if (call.Is("GET", {"api", "v1", "notifications", "*"})) {
    const auto viewer = Require(call, {"read", "read:notifications"});
    if (!viewer) return tl::unexpected(viewer.error());
    for (const Notice* notice : world_.NoticesOf(**viewer)) {
      if (notice->id != call.path[3]) continue;
      return Body([&](json::Writer& writer) { entities_.WriteNotification(writer, *notice); });
    }
    return tl::unexpected(NotFound());
  }
  const bool all = call.Is("POST", {"api", "v1", "notifications", "clear"});
  if (!all && !call.Is("POST", {"api", "v1", "notifications", "*", "dismiss"})) {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  world_.RemoveNotices(**viewer, all ? "" : call.path[3]);
  return std::string();
}

// Mastodon app/controllers/api/v1/notifications/requests_controller.rb.
Api::Answer Api::RouteRequests(Call& call) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());
  const bool reads = call.request.method == "GET";
  const auto viewer = reads ? Require(call, {"read", "read:notifications"})
                            : Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  std::vector<Request*> rows = world_.RequestsOf(**viewer);
  if (call.Is("GET", {"api", "v1", "notifications", "requests"})) {
    const auto page = PageOf(call, 40, 80);
    if (!page) return tl::unexpected(page.error());
    rows = Cut(std::move(rows), *page, [](const Request* request) { return request->id; });
    if (!rows.empty()) {
      SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id,
              rows.size() == page->limit);
    }
    return Body([&](json::Writer& writer) {
      writer.StartArray();
      for (const Request* request : rows) entities_.WriteRequest(writer, *request);
      writer.EndArray();
    });
  }
  if (call.Is("GET", {"api", "v1", "notifications", "requests", "merged"})) {
    return std::string(R"({"merged":true})");
  }
  const bool bulk = call.Is("POST", {"api", "v1", "notifications", "requests", "accept"}) ||
                    call.Is("POST", {"api", "v1", "notifications", "requests", "dismiss"});
  const bool one = call.Is("POST", {"api", "v1", "notifications", "requests", "*", "accept"}) ||
                   call.Is("POST", {"api", "v1", "notifications", "requests", "*", "dismiss"});
  const bool show = call.Is("GET", {"api", "v1", "notifications", "requests", "*"});
  if (!bulk && !one && !show) return tl::unexpected(NoRoute());
  const std::vector<std::string> ids =
      bulk ? call.Params("id[]") : std::vector<std::string>{call.path[4]};
  bool found = false;
  for (const Request* request : rows) {
    if (std::find(ids.begin(), ids.end(), request->id) == ids.end()) continue;
    found = true;
    if (show) {
      return Body([&](json::Writer& writer) { entities_.WriteRequest(writer, *request); });
    }
    const std::string from = request->from;  // the row goes
    if (call.path.back() == "accept") {
      world_.AcceptFrom(**viewer, from);
    } else {
      world_.DismissFrom(**viewer, from);
    }
  }
  if (!found && !bulk) return tl::unexpected(NotFound());
  return std::string();
}

Api::Answer Api::RoutePolicy(Call& call, bool version_1) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());
  const bool reads = call.request.method == "GET";
  if (!reads && call.request.method != "PATCH" && call.request.method != "PUT") {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = reads ? Require(call, {"read", "read:notifications"})
                            : Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  Policy& policy = (*viewer)->policy;
  const std::array<std::pair<const char*, std::string*>, 5> settings = {
      {{"not_following", &policy.not_following},
       {"not_followers", &policy.not_followers},
       {"new_accounts", &policy.new_accounts},
       {"private_mentions", &policy.private_mentions},
       {"limited_accounts", &policy.limited_accounts}}};
  if (!reads) {
    for (const auto& [name, setting] : settings) {
      if (version_1) {
        const auto value = call.Param(std::string("filter_") + name);
        if (value) *setting = Truthy(value) ? "filter" : "accept";
        continue;
      }
      const auto value = call.Param(std::string("for_") + name);
      if (!value) continue;
      if (*value != "accept" && *value != "filter" && *value != "drop") {
        return tl::unexpected(Refusal{422, "'" + *value + "' is not a valid for_" + name});
      }
      *setting = *value;
    }
  }
  return Body([&](json::Writer& writer) { entities_.WritePolicy(writer, **viewer, version_1); });
}

// ---- statuses: Mastodon app/controllers/api/v1/statuses_controller.rb ----

tl::expected<Note*, Refusal> Api::VisibleNote(const Call& call, const std::string& id) {
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  Note* note = world_.FindNote(id);
  if (note == nullptr || !world_.IsVisible(*note, call.viewer)) return tl::unexpected(NotFound());
  return note;
}

Api::Answer Api::RouteStatuses(Call& call) {
  if (call.Is("POST", {"api", "v1", "statuses"})) return PostStatus(call);
  if (call.Is("GET", {"api", "v1", "statuses"})) return ManyStatuses(call);
  if (call.path.size() < 4) return tl::unexpected(NoRoute());
  if (call.request.method == "PUT" || call.request.method == "DELETE") {
    if (call.path.size() != 4) return tl::unexpected(NoRoute());
    const auto viewer = Require(call, {"write", "write:statuses"});
    if (!viewer) return tl::unexpected(viewer.error());
    Note* note = world_.FindNote(call.path[3]);
    if (note == nullptr || note->author != (*viewer)->id) return tl::unexpected(NotFound());
    return call.request.method == "PUT" ? EditStatus(call, *note) : DeleteStatus(call, *note);
  }
  if (call.request.method != "GET" || call.path.size() > 5) return tl::unexpected(NoRoute());
  const auto note = VisibleNote(call, call.path[3]);
  if (!note) return tl::unexpected(note.error());
  if (call.path.size() == 4) {
    return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, **note, call.viewer); });
  }
  if (call.path[4] == "context") return Context(call, **note);
  if (call.path[4] == "history") {
    return Body([&](json::Writer& writer) { entities_.WriteHistory(writer, **note); });
  }
  if (call.path[4] == "source") {
    return Body([&](json::Writer& writer) { entities_.WriteSource(writer, **note); });
  }
  return tl::unexpected(NoRoute());
}

Api::Answer Api::Context(Call& call, const Note& note) {
  std::vector<Note*> ancestors = world_.Ancestors(note, call.viewer);
  std::vector<Note*> descendants = world_.Descendants(note, call.viewer);
  SpoilPage(ancestors);
  SpoilPage(descendants);
  return Body([&](json::Writer& writer) {
    writer.StartObject().Key("ancestors").StartArray();
    for (const Note* each : ancestors) entities_.WriteStatus(writer, *each, call.viewer);
    writer.EndArray().Key("descendants").StartArray();
    for (const Note* each : descendants) entities_.WriteStatus(writer, *each, call.viewer);
    writer.EndArray().EndObject();
  });
}

Api::Answer Api::ManyStatuses(Call& call) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());  // Mastodon since 4.3, too
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const std::vector<std::string> ids = call.Params("id[]");
  if (ids.size() > kManyStatusesMax) {
    return tl::unexpected(Refusal{422, "Mastodon::ValidationError"});
  }
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const std::string& id : std::set<std::string, ById>(ids.begin(), ids.end())) {
      const Note* note = world_.FindNote(id);
      if (note == nullptr || !world_.IsVisible(*note, call.viewer)) continue;
      entities_.WriteStatus(writer, *note, call.viewer);
    }
    writer.EndArray();
  });
}

Api::Answer Api::PostStatus(Call& call) {
  const auto viewer = Require(call, {"write", "write:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  Draft draft{.text = call.Param("status").value_or(""),
              .visibility = call.Param("visibility").value_or("public"),
              .in_reply_to = call.Param("in_reply_to_id").value_or(""),
              .spoiler_text = call.Param("spoiler_text").value_or(""),
              .sensitive = Truthy(call.Param("sensitive"))};
  if (draft.visibility.empty()) draft.visibility = "public";
  const std::set<std::string> known = {"public", "unlisted", "private", "direct"};
  if (!known.contains(draft.visibility)) {
    return tl::unexpected(
        Refusal{422, "Validation failed: Visibility is not included in the list"});
  }
  // The thread is looked for before the key is: Mastodon's controller does, not its service.
  const Note* thread = world_.FindNote(draft.in_reply_to);
  if (!draft.in_reply_to.empty() && (thread == nullptr || !world_.IsVisible(*thread, *viewer))) {
    return tl::unexpected(
        world_.IsMastodon()
            ? Refusal{404, "The post you are trying to reply to does not appear to exist."}
            : NotFound());
  }
  const std::string key = call.request.Header("idempotency-key");
  const std::string kept = (*viewer)->id + " " + key;
  const bool idempotent = !key.empty() && (world_.IsMastodon() ||
                                           world_.options().flavour == MastodonFlavour::kPleroma);
  if (const auto sent = idempotency_.find(kept);
      idempotent && sent != idempotency_.end() && sent->second.until > world_.Now()) {
    // The same key gives the same status, whatever else the request says; 404 once it is deleted.
    const Note* note = world_.FindNote(sent->second.note);
    if (note == nullptr) return tl::unexpected(NotFound());
    return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, *note, *viewer); });
  }
  const auto note = world_.Post(**viewer, draft);
  if (!note) return tl::unexpected(note.error());
  if (idempotent) {
    const auto life = world_.IsMastodon() ? kIdempotency : kPleromaIdempotency;
    idempotency_[kept] = Sent{.note = (*note)->id, .until = world_.Now() + life};
  }
  return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, **note, *viewer); });
}

Api::Answer Api::EditStatus(Call& call, Note& note) {
  const auto edited = world_.Edit(note, call.Param("status").value_or(note.text),
                                  call.Param("spoiler_text").value_or(note.spoiler_text));
  if (!edited) return tl::unexpected(edited.error());
  return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, note, call.viewer); });
}

Api::Answer Api::DeleteStatus(Call& call, Note& note) {
  const std::string body =
      Body([&](json::Writer& writer) { entities_.WriteStatus(writer, note, call.viewer, true); });
  world_.Delete(note);
  return body;
}

// ---- accounts ----

// Mastodon app/models/account_statuses_filter.rb: one's own are all there, private ones included.
Api::Answer Api::AccountStatuses(Call& call) {
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const Account* account = world_.AccountById(call.path[3]);
  if (account == nullptr) return tl::unexpected(NotFound());
  const auto page = PageOf(call, 20, 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Note*> rows;
  for (auto& [id, note] : world_.notes()) {
    const bool theirs = note.author == account->id && !note.deleted;
    if (theirs && world_.IsVisible(note, call.viewer)) rows.push_back(&note);
  }
  rows = Cut(std::move(rows), *page, [](const Note* note) { return note->id; });
  if (!rows.empty()) {
    const bool next = !world_.IsMastodon() || rows.size() == page->limit;
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, next);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Note* note : rows) entities_.WriteStatus(writer, *note, call.viewer);
    writer.EndArray();
  });
}

Api::Answer Api::RouteAccounts(Call& call) {
  if (call.Is("GET", {"api", "v1", "accounts", "*", "statuses"})) return AccountStatuses(call);
  if (call.request.method != "GET" || call.path.size() != 4) return tl::unexpected(NoRoute());
  const std::string& what = call.path[3];
  if (what == "verify_credentials") {
    const auto viewer = Require(call, {"profile", "read", "read:accounts"});
    if (!viewer) return tl::unexpected(viewer.error());
    return Body([&](json::Writer& writer) { entities_.WriteAccount(writer, **viewer, true); });
  }
  if (what == "search") {
    const auto viewer = Require(call, {"read", "read:accounts"});
    if (!viewer) return tl::unexpected(viewer.error());
    const std::string query = Lower(call.Param("q").value_or(""));
    return Body([&](json::Writer& writer) {
      writer.StartArray();
      for (const auto& [id, account] : world_.accounts()) {
        if (Lower(account.acct()).find(query) == std::string::npos) continue;
        entities_.WriteAccount(writer, account);
      }
      writer.EndArray();
    });
  }
  if (const auto allowed = Allow(call, {"read", "read:accounts"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const Account* account = what == "lookup" ? world_.FindAccount(call.Param("acct").value_or(""))
                                            : world_.AccountById(what);
  if (account == nullptr) return tl::unexpected(NotFound());
  return Body([&](json::Writer& writer) { entities_.WriteAccount(writer, *account); });
}

// ---- OAuth, as Doorkeeper does it ----

Api::Answer Api::RouteOauth(Call& call) {
  if (call.Is("POST", {"api", "v1", "apps"})) return CreateApplication(call);
  if (call.Is("POST", {"oauth", "token"})) return CreateToken(call);
  if (call.Is("POST", {"oauth", "revoke"})) return RevokeToken(call);
  if (!call.Is("GET", {"api", "v1", "apps", "verify_credentials"})) {
    return tl::unexpected(NoRoute());
  }
  if (const auto granted = Authorize(call, {}); !granted) return tl::unexpected(granted.error());
  const auto known = applications_.find(call.token->client_id);
  const Application application =
      known != applications_.end()
          ? known->second
          : Application{.id = "1", .name = "Web", .scope = call.token->scope};
  return Body([&](json::Writer& writer) {
    WriteApplication(writer, application);
    writer.EndObject();
  });
}

// Leaves the object open.
void Api::WriteApplication(json::Writer& writer, const Application& application) const {
  writer.StartObject().Field("id", application.id).Field("name", application.name);
  writer.Key("website").Null().Key("scopes").StartArray();
  for (std::size_t at = 0; at < application.scope.size();) {
    const std::size_t end = std::min(application.scope.find(' ', at), application.scope.size());
    writer.String(std::string_view(application.scope).substr(at, end - at));
    at = end + 1;
  }
  writer.EndArray().Key("redirect_uris").StartArray();
  for (const std::string& uri : application.redirect_uris) writer.String(uri);
  const std::string first =
      application.redirect_uris.empty() ? std::string() : application.redirect_uris.front();
  writer.EndArray().Field("redirect_uri", first).Field("vapid_key", "");
}

Api::Answer Api::CreateApplication(Call& call) {
  Application application{.id = world_.NextNumber(),
                          .name = call.Param("client_name").value_or(""),
                          .redirect_uris = call.Params("redirect_uris[]"),
                          .scope = call.Param("scopes").value_or("read"),
                          .secret = NewSecret()};
  if (const auto uri = call.Param("redirect_uris")) application.redirect_uris.push_back(*uri);
  if (application.name.empty()) {
    return tl::unexpected(Refusal{422, "Validation failed: Application name can't be blank"});
  }
  if (application.redirect_uris.empty()) {
    return tl::unexpected(Refusal{422, "Validation failed: Redirect URI can't be blank"});
  }
  const std::string client_id = NewSecret();
  applications_[client_id] = application;
  return Body([&](json::Writer& writer) {
    WriteApplication(writer, application);
    writer.Field("client_id", client_id);
    writer.Field("client_secret", application.secret).IntField("client_secret_expires_at", 0);
    writer.EndObject();
  });
}

Api::Answer Api::CreateToken(Call& call) {
  const std::string client_id = call.Param("client_id").value_or("");
  const auto application = applications_.find(client_id);
  if (application == applications_.end() ||
      application->second.secret != call.Param("client_secret").value_or("")) {
    return tl::unexpected(Refusal{401, "invalid_client"});
  }
  Token token{.client_id = client_id,
              .scope = call.Param("scope").value_or("read"),
              .created_at = world_.Now()};
  const std::string grant = call.Param("grant_type").value_or("");
  if (grant == "authorization_code") {
    const auto code = codes_.find(call.Param("code").value_or(""));
    if (code == codes_.end() || code->second.client_id != client_id ||
        code->second.redirect_uri != call.Param("redirect_uri").value_or("")) {
      return tl::unexpected(Refusal{400, "invalid_grant"});
    }
    token.account = code->second.account;
    token.scope = code->second.scope;
    codes_.erase(code);  // once only
  } else if (grant != "client_credentials") {
    return tl::unexpected(Refusal{400, "unsupported_grant_type"});
  }
  const std::string secret = NewSecret();
  tokens_[secret] = token;
  return Body([&](json::Writer& writer) {
    writer.StartObject().Field("access_token", secret).Field("token_type", "Bearer");
    writer.Field("scope", token.scope);
    writer.IntField("created_at",
                    std::chrono::floor<seconds>(token.created_at).time_since_epoch().count());
    writer.EndObject();
  });
}

Api::Answer Api::RevokeToken(Call& call) {
  const auto token = tokens_.find(call.Param("token").value_or(""));
  if (token == tokens_.end()) return std::string();  // RFC 7009: nothing is said about it
  const auto application = applications_.find(call.Param("client_id").value_or(""));
  if (application == applications_.end() || token->second.client_id != application->first ||
      application->second.secret != call.Param("client_secret").value_or("")) {
    return tl::unexpected(Refusal{403, "unauthorized_client"});
  }
  token->second.revoked = true;
  return std::string();
}

}  // namespace mayfly::connectors::mastodon::sim
