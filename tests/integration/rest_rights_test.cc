// Every route and every role, against the table of rights (threat T4, T5, invariant I7).
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "service/api/context.h"
#include "service/api/dispatch.h"
#include "service/api/router.h"
#include "tests/support/api_clock.h"
#include "tests/support/api_contract.h"
#include "tests/support/api_request.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::MakeRequest;

constexpr Role kRoles[] = {Role::kComms, Role::kPrivacy, Role::kAdministrator, Role::kAuditor,
                           Role::kOperator};

struct Row {
  std::string method;
  std::string pattern;
  std::vector<std::string> cells;  // one, `public` or `admin`; or one for each role
};

std::vector<Row> ReadTable() {
  std::ifstream file(std::string(MAYFLY_SOURCE_DIR) + "/service/api/rights.txt");
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    Row row;
    words >> row.method >> row.pattern;
    for (std::string cell; words >> cell;) row.cells.push_back(cell);
    rows.push_back(std::move(row));
  }
  return rows;
}

// The real routes, with handlers that only say that they were reached.
class RestRightsTest : public ::testing::Test {
 protected:
  RestRightsTest() {
    context_.rate_limiter = &limiter_;
    router_.SetRateLimiter(&limiter_);
    const Router real = MakeRouter(context_);
    std::vector<Route> routes = real.routes();
    for (Route& route : routes) {
      route.required_headers.clear();  // not what is asked here
      route.handler = [](const Request&, const Actor&) { return Response::Json(299, "{}"); };
    }
    router_.Add(std::move(routes));
  }

  // The token is the name of a role.
  static Result<Actor> Authenticate(const Request& request) {
    if (request.admin_socket) return Actor{.id = "cli:0", .scopes = kAnyToken};
    const std::string* token = request.Header("authorization");
    const auto role = token == nullptr ? std::nullopt : ParseRole(*token);
    if (!role) return Fail(ErrorCode::kNotFound, "");
    return Actor{.id = "tok", .scopes = ScopesOf(*role)};
  }

  int Ask(const std::string& method, const std::string& pattern, const std::string& token,
          bool admin_socket = false) {
    std::string target = pattern;  // captures are filled with words that no handler sees
    for (const char brace : {'{', '}'}) {
      for (std::size_t at; (at = target.find(brace)) != std::string::npos;) target.erase(at, 1);
    }
    std::map<std::string, std::string> headers;
    if (!token.empty()) headers["Authorization"] = token;
    Request request = MakeRequest(method, target, headers);
    request.admin_socket = admin_socket;
    const Response response = Dispatch(router_, Authenticate, request, /*ready=*/true);
    // What the handlers here say is made up; what is refused before them is not.
    if (response.status != 299) mayfly::testing::ExpectContract(request, response);
    return response.status;
  }

  mayfly::testing::ApiClock clock_{*ParseRfc3339("2026-03-05T10:00:00Z")};
  RateLimiter limiter_{RateLimits{.per_minute = {100'000, 100'000, 100'000, 100'000}}, clock_};
  ApiContext context_;
  Router router_;
};

TEST_F(RestRightsTest, EveryRouteHasARowAndEveryRowARoute) {
  std::map<std::string, int> rows;
  for (const Row& row : ReadTable()) ++rows[row.method + " " + row.pattern];
  for (const Route& route : router_.routes()) --rows[route.method + " " + route.pattern];
  for (const auto& [route, difference] : rows) EXPECT_EQ(difference, 0) << route;
}

TEST_F(RestRightsTest, EveryRoleMayDoExactlyWhatTheTableSays) {
  int cells = 0;
  for (const Row& row : ReadTable()) {
    SCOPED_TRACE(row.method + " " + row.pattern);
    const bool is_public = row.cells.at(0) == "public";
    const bool is_admin = row.cells.at(0) == "admin";
    ASSERT_EQ(row.cells.size(), is_public || is_admin ? 1u : std::size(kRoles));
    EXPECT_EQ(Ask(row.method, row.pattern, ""), is_public ? 299 : is_admin ? 404 : 401);
    EXPECT_EQ(Ask(row.method, row.pattern, "nobody"), is_public ? 299 : is_admin ? 404 : 401);
    for (std::size_t i = 0; i < std::size(kRoles); ++i) {
      const int expected = is_public ? 299 : is_admin ? 404 : row.cells.at(i) == "+" ? 299 : 403;
      EXPECT_EQ(Ask(row.method, row.pattern, ToString(kRoles[i])), expected) << ToString(kRoles[i]);
      ++cells;
    }
    if (is_admin) {
      EXPECT_EQ(Ask(row.method, row.pattern, "", /*admin_socket=*/true), 299);
    }
  }
  EXPECT_GE(cells, 100);
}

TEST_F(RestRightsTest, NobodyBesidesCommsReachesMessageText) {
  for (const Row& row : ReadTable()) {
    const bool text = row.pattern.find("/conversations") != std::string::npos ||
                      row.pattern.find("/messages") != std::string::npos ||
                      row.pattern.find("/replies") != std::string::npos;
    if (!text) continue;
    for (const Role role : kRoles) {
      if (role == Role::kComms) continue;
      EXPECT_EQ(Ask(row.method, row.pattern, ToString(role)), 403)
          << row.pattern << " " << ToString(role);
    }
  }
}

}  // namespace
}  // namespace mayfly::service::api
