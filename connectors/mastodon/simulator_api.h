// The simulated server's HTTP: routes, tokens, limits, pages, and the faults of
// platform_simulator.h. Not thread-safe: MastodonSimulator::Impl holds the lock.
#ifndef MAYFLY_CONNECTORS_MASTODON_SIMULATOR_API_H_
#define MAYFLY_CONNECTORS_MASTODON_SIMULATOR_API_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "connectors/mastodon/simulator_entities.h"
#include "connectors/mastodon/simulator_world.h"
#include "connectors/platform_simulator.h"
#include "connectors/simulator_server.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon::sim {

class Api {
 public:
  explicit Api(World& world) : world_(world), entities_(world) {}
  void SetOrigin(const std::string& origin);

  SimulatorResponse Handle(const SimulatorRequest& request);

  std::string IssueToken(const std::string& account_id, const std::string& scopes);
  std::string IssueCode(const std::string& account_id, const std::string& client_id,
                        const std::string& redirect_uri, const std::string& scopes);
  void RevokeTokens(const std::string& account_id);

  void Inject(PlatformFault fault, int count, int after) {
    if (count == 0) {
      faults_.erase(fault);
    } else {
      faults_[fault] = {count, CountRequests("") + static_cast<std::size_t>(after)};
    }
  }
  void AnswerNext(const std::string& method, const std::string& path, SimulatorResponse response);
  std::size_t CountRequests(const std::string& path) const;
  const std::map<std::string, std::size_t>& requests() const { return requests_; }

 private:
  struct Token {
    std::string account = {};  // empty: the application's own
    std::string client_id = {};
    std::string scope = {};
    TimePoint created_at;
    bool revoked = false;
  };
  struct Application {
    std::string id;
    std::string name;
    std::vector<std::string> redirect_uris = {};
    std::string scope = {};
    std::string secret = {};
  };
  struct Code {
    std::string account;
    std::string client_id;
    std::string redirect_uri;
    std::string scope;
  };
  struct Window {
    std::int64_t number = -1;
    std::uint32_t used = 0;
  };
  struct Sent {
    std::string note;
    TimePoint until;
  };

  // One request on its way through.
  struct Call {
    const SimulatorRequest& request;
    std::vector<std::string> path = {};
    std::vector<std::pair<std::string, std::string>> params = {};
    const Token* token = nullptr;
    Account* viewer = nullptr;
    std::string link = {};
    std::optional<std::string> Param(const std::string& name) const;
    std::vector<std::string> Params(const std::string& name) const;
    bool Is(std::string_view method, std::initializer_list<std::string_view> path) const;
  };
  using Answer = tl::expected<std::string, Refusal>;  // a body
  using Scopes = std::initializer_list<std::string_view>;
  struct Page {
    std::optional<std::string> max_id = {};
    std::optional<std::string> since_id = {};
    std::optional<std::string> min_id = {};
    std::size_t limit = 20;
  };

  SimulatorResponse Serve(const SimulatorRequest& request);
  std::optional<SimulatorResponse> ReadFault(const SimulatorRequest& request);
  std::optional<SimulatorResponse> SendFault();
  void SpoilAnswer(const SimulatorRequest& request, SimulatorResponse& response);
  bool HasBegun(PlatformFault fault) const;
  bool Take(PlatformFault fault);  // uses one up

  SimulatorResponse Dispatch(const SimulatorRequest& request);
  Answer Route(Call& call);
  Answer RouteStatuses(Call& call);
  Answer RouteConversations(Call& call);
  Answer RouteNotifications(Call& call);
  Answer RouteRequests(Call& call);
  Answer RoutePolicy(Call& call, bool version_1);
  Answer RouteAccounts(Call& call);
  Answer RouteOauth(Call& call);

  Answer ListConversations(Call& call);
  Answer ListNotifications(Call& call);
  Answer PleromaStatuses(Call& call);
  Answer PostStatus(Call& call);
  Answer EditStatus(Call& call, Note& note);
  Answer DeleteStatus(Call& call, Note& note);
  Answer ManyStatuses(Call& call);
  Answer AccountStatuses(Call& call);
  Answer Context(Call& call, const Note& note);
  Answer CreateApplication(Call& call);
  void WriteApplication(json::Writer& writer, const Application& application) const;
  Answer CreateToken(Call& call);
  Answer RevokeToken(Call& call);

  // The token must have one of the scopes and belong to a person.
  tl::expected<Account*, Refusal> Require(const Call& call, Scopes scopes) const;
  // Without a token everybody may ask; a token must have the scope.
  tl::expected<void, Refusal> Allow(const Call& call, Scopes scopes) const;
  tl::expected<void, Refusal> Authorize(const Call& call, Scopes scopes) const;
  tl::expected<Note*, Refusal> VisibleNote(const Call& call, const std::string& id);
  Refusal NotFound() const;
  Refusal NoRoute() const;
  Refusal RateLimited() const;
  tl::expected<Page, Refusal> PageOf(const Call& call, std::size_t limit_default,
                                     std::size_t limit_max) const;
  template <class Row, class KeyOf>
  std::vector<Row> Cut(std::vector<Row> rows, const Page& page, KeyOf key_of) const;
  template <class Row>
  void SpoilPage(std::vector<Row>& rows);
  // The Link header of a page whose rows' positions run from `newest` to `oldest`.
  void SetLink(Call& call, const std::string& path, const Page& page, const std::string& newest,
               const std::string& oldest, bool next);
  std::string LinkTo(const Call& call, const std::string& path, const std::string& name,
                     const std::string& value) const;
  template <class Write>
  std::string Body(Write write);

  // Where a window stands once this request is counted.
  struct Meter {
    bool within = true;
    std::uint32_t limit = 0;
    std::uint32_t left = 0;
    TimePoint reset;
  };
  bool HasRateLimit() const;
  Meter Count(const std::string& key, std::uint32_t limit, std::chrono::seconds length);
  std::vector<Meter> Meters(const SimulatorRequest& request);
  void WriteMeter(const Meter& meter, SimulatorResponse& response) const;
  SimulatorResponse LimitedAnswer(const Meter& meter) const;
  std::string ErrorBody(const Refusal& refusal) const;
  std::string NewSecret();

  World& world_;
  Entities entities_;
  std::string origin_;
  std::map<std::string, Token> tokens_;
  std::map<std::string, Application> applications_;  // by client id
  std::map<std::string, Code> codes_;
  std::map<std::string, Window> windows_;
  std::map<std::string, Sent> idempotency_;  // by account and key
  std::map<PlatformFault, std::pair<int, std::size_t>> faults_;
  std::deque<std::tuple<std::string, std::string, SimulatorResponse>> answers_;
  std::map<std::string, std::size_t> requests_;
};

template <class Row>
void Api::SpoilPage(std::vector<Row>& rows) {
  if (rows.empty()) return;  // nothing would be seen of it
  if (Take(PlatformFault::kServedReordered)) std::reverse(rows.begin(), rows.end());
  if (!Take(PlatformFault::kServedTwice)) return;
  std::vector<Row> twice;
  for (const Row& row : rows) twice.insert(twice.end(), 2, row);
  rows = std::move(twice);
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

template <class Write>
std::string Api::Body(Write write) {
  std::string body;
  json::Writer writer(&body);
  write(writer);
  return body;
}

}  // namespace mayfly::connectors::mastodon::sim

#endif  // MAYFLY_CONNECTORS_MASTODON_SIMULATOR_API_H_
