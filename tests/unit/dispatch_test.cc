#include "service/api/dispatch.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/model/json.h"

namespace mayfly::service::api {
namespace {

std::string HeaderOf(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

std::string WordOf(const Response& response) {
  const auto body = json::Parse(response.body);
  if (!body || body->Find("type") == nullptr) return "";
  return body->Find("type")->AsString()->substr(std::string("/problems/").size());
}

Route Make(const char* method, const char* pattern, Access access, Handler handler) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  route.access = access;
  route.handler = std::move(handler);
  return route;
}

Response Fine(const Request&, const Actor& actor) { return Response::Json(200, actor.id); }

class DispatchTest : public ::testing::Test {
 protected:
  DispatchTest() {
    Route scoped = Make(
        "GET", "/v1/things/{thing}", Access::kScope,
        [](const Request& r, const Actor&) { return Response::Json(200, r.captures.at("thing")); });
    scoped.query = {"limit"};
    Route any = Make("GET", "/v1/any", Access::kScope, Fine);
    any.any_scope = Scope::kOpsRead | Scope::kAuditRead;
    Route taking = Make("POST", "/v1/things", Access::kScope, Fine);
    taking.scope = Scope::kInboxReply;
    taking.body_bytes_max = 10;
    router_.Add({scoped, any, taking, Make("GET", "/open", Access::kPublic, Fine),
                 Make("GET", "/admin/status", Access::kAdminSocket, Fine),
                 Make("GET", "/v1/throws", Access::kPublic,
                      [](const Request&, const Actor&) -> Response {
                        throw std::runtime_error("planted marker");
                      }),
                 Make("GET", "/v1/throws-int", Access::kPublic,
                      [](const Request&, const Actor&) -> Response { throw 7; }),
                 Make("GET", "/v1/splits", Access::kPublic, [](const Request&, const Actor&) {
                   return Response::Json(200, "{}").With("X-A", "a\r\nSet-Cookie: b");
                 })});
  }

  // The token is the role's scopes, as a number.
  static Result<Actor> Authenticate(const Request& request) {
    if (request.admin_socket) {
      return Actor{.id = "cli:0", .scopes = Scope::kAdminAccounts | Scope::kOpsRead};
    }
    const std::string* token = request.Header("authorization");
    if (token == nullptr || *token == "bad") return Fail(ErrorCode::kNotFound, "");
    if (*token == "io") return Fail(ErrorCode::kIo, "");
    return Actor{.id = "tok", .scopes = static_cast<std::uint32_t>(std::stoul(*token))};
  }

  Response Ask(const std::string& method, std::vector<std::string> path,
               const std::string& token = "", const std::string& body = "") {
    Request request = base_;
    request.method = method;
    request.path = std::move(path);
    request.body = body;
    if (!token.empty()) request.headers["authorization"] = token;
    return Dispatch(router_, Authenticate, std::move(request), ready_);
  }

  static std::string Token(std::uint32_t scopes) { return std::to_string(scopes); }

  Router router_;
  Request base_ = [] {
    Request request;
    request.id = "request-id";
    return request;
  }();
  bool ready_ = true;
  const std::string reader_ = Token(static_cast<std::uint32_t>(Scope::kInboxRead));
  const std::string replier_ = Token(static_cast<std::uint32_t>(Scope::kInboxReply));
};

TEST_F(DispatchTest, RunsAHandlerWithItsCaptures) {
  const Response response = Ask("GET", {"v1", "things", "t1"}, reader_);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "t1");
}

TEST_F(DispatchTest, AnswersUnknownPathsAndMethods) {
  EXPECT_EQ(Ask("GET", {"v1", "nothing"}).status, 404);
  const Response response = Ask("PUT", {"v1", "things", "t1"}, reader_);
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(HeaderOf(response, "Allow"), "GET, HEAD");
  EXPECT_EQ(Ask("TRACE", {"open"}).status, 405);
}

TEST_F(DispatchTest, GivesOneAnswerForEveryReasonToDoubtAToken) {
  const Response none = Ask("GET", {"v1", "things", "t1"});
  const Response wrong = Ask("GET", {"v1", "things", "t1"}, "bad");
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(HeaderOf(none, "WWW-Authenticate"), "Bearer");
  EXPECT_EQ(none.body, wrong.body);
  EXPECT_EQ(none.headers, wrong.headers);
}

TEST_F(DispatchTest, DoesNotTakeABrokenStoreForAWrongToken) {
  EXPECT_EQ(Ask("GET", {"v1", "things", "t1"}, "io").status, 503);
}

TEST_F(DispatchTest, RefusesATokenWithoutTheScope) {
  const Response response = Ask("GET", {"v1", "things", "t1"}, replier_);
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(WordOf(response), "forbidden-scope");
  EXPECT_EQ(Ask("GET", {"v1", "things", "t1"}, "0").status, 403);
}

TEST_F(DispatchTest, TakesAnyOneOfSeveralScopes) {
  EXPECT_EQ(Ask("GET", {"v1", "any"}, Token(static_cast<std::uint32_t>(Scope::kOpsRead))).status,
            200);
  EXPECT_EQ(Ask("GET", {"v1", "any"}, Token(static_cast<std::uint32_t>(Scope::kAuditRead))).status,
            200);
  EXPECT_EQ(Ask("GET", {"v1", "any"}, reader_).status, 403);
}

TEST_F(DispatchTest, KeepsTheAdminSocketToItself) {
  EXPECT_EQ(Ask("GET", {"admin", "status"}, Token(kAnyToken)).status, 404);
  EXPECT_EQ(Ask("PUT", {"admin", "status"}, Token(kAnyToken)).status, 404);
  base_.admin_socket = true;
  EXPECT_EQ(Ask("GET", {"admin", "status"}).status, 200);
  EXPECT_EQ(Ask("GET", {"v1", "things", "t1"}).status, 403);  // an administrator reads no messages
}

TEST_F(DispatchTest, NamesAnUnknownParameterOnlyWhenItIsAPlainWord) {
  base_.query = {{"colour", "x"}};
  const Response named = Ask("GET", {"v1", "things", "t1"}, reader_);
  EXPECT_EQ(named.status, 400);
  EXPECT_NE(named.body.find("colour"), std::string::npos);
  base_.query = {{"<script>", "x"}};
  const Response hidden = Ask("GET", {"v1", "things", "t1"}, reader_);
  EXPECT_EQ(hidden.status, 400);
  EXPECT_EQ(hidden.body.find("script"), std::string::npos);
  base_.query = {{"limit", "1"}};
  EXPECT_EQ(Ask("GET", {"v1", "things", "t1"}, reader_).status, 200);
}

TEST_F(DispatchTest, TakesABodyOnlyWhereOneBelongs) {
  EXPECT_EQ(Ask("GET", {"v1", "things", "t1"}, reader_, "{}").status, 400);
  EXPECT_EQ(Ask("POST", {"v1", "things"}, replier_, "{}").status, 415);
  base_.headers["content-type"] = "text/plain";
  EXPECT_EQ(Ask("POST", {"v1", "things"}, replier_, "{}").status, 415);
  base_.headers["content-type"] = "Application/JSON ; charset=utf-8";
  EXPECT_EQ(Ask("POST", {"v1", "things"}, replier_, "{}").status, 200);
  EXPECT_EQ(Ask("POST", {"v1", "things"}, replier_, "01234567890").status, 413);
}

TEST_F(DispatchTest, AsksForTheTokenBeforeAnythingElseAboutTheRequest) {
  base_.query = {{"colour", "x"}};
  EXPECT_EQ(Ask("POST", {"v1", "things"}, "", "01234567890").status, 401);
  EXPECT_EQ(Ask("POST", {"v1", "things"}, reader_, "01234567890").status, 403);
}

TEST_F(DispatchTest, AnswersOnlyPublicRoutesUntilReady) {
  ready_ = false;
  EXPECT_EQ(Ask("GET", {"open"}).status, 200);
  const Response response = Ask("GET", {"v1", "things", "t1"}, reader_);
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(WordOf(response), "unavailable");
  EXPECT_FALSE(HeaderOf(response, "Retry-After").empty());
  base_.admin_socket = true;
  EXPECT_EQ(Ask("GET", {"admin", "status"}).status, 503);
}

TEST_F(DispatchTest, TurnsWhatAHandlerThrowsIntoAnAnswerWithoutItsText) {
  const Response response = Ask("GET", {"v1", "throws"});
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body.find("planted"), std::string::npos);
  EXPECT_EQ(Ask("GET", {"v1", "throws-int"}).status, 500);
}

TEST_F(DispatchTest, NeverWritesAHeaderThatWouldSplitTheAnswer) {
  const Response response = Ask("GET", {"v1", "splits"});
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(HeaderOf(response, "X-A"), "");
}

TEST_F(DispatchTest, RequestIdsAreLongAndDiffer) {
  const std::string first = NewRequestId();
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(first, NewRequestId());
}

}  // namespace
}  // namespace mayfly::service::api
