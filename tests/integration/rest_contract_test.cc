// service/api/openapi.json against the routes and the table of rights, both ways; and the judge
// that holds every answer of the suites against it, against answers that it must refuse.
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/context.h"
#include "service/api/router.h"
#include "store/model/json.h"
#include "tests/support/api_contract.h"
#include "tests/support/api_request.h"
#include "tests/support/json_schema.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::BreaksOfContract;
using mayfly::testing::ContractAnswer;
using mayfly::testing::JsonSchema;
using mayfly::testing::MakeRequest;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Words = std::set<std::string>;

// At the end of a whole run every operation has been seen to succeed; else what the judge says of
// the others is worth little.
class EveryOperationSucceeded final : public ::testing::Environment {
 public:
  void TearDown() override {
    if (::testing::GTEST_FLAG(filter) != "*") return;
    Words unseen = mayfly::testing::ContractOperations();
    for (const std::string& operation : mayfly::testing::Counted().succeeded) {
      unseen.erase(operation);
    }
    EXPECT_THAT(unseen, IsEmpty()) << "no test of this program made these succeed";
  }
};
[[maybe_unused]] ::testing::Environment* const every_operation =
    ::testing::AddGlobalTestEnvironment(new EveryOperationSucceeded);

class Document {
 public:
  Document()
      : json_(*json::Parse(mayfly::testing::ContractText(),
                           {.bytes_max = 4u << 20, .items_max = 100'000})) {}

  const json::Value& At(std::initializer_list<std::string> names) const {
    const json::Value* value = &json_;
    for (const std::string& name : names) {
      const json::Value* next = value->Find(name);
      if (next == nullptr) throw std::runtime_error("openapi.json lacks " + name);
      value = next;
    }
    return *value;
  }

  const json::Value& Operation(const Route& route) const {
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    return At({"paths", route.pattern, method});
  }

  // Names of the parameters of one kind, of the path and of the operation.
  Words Parameters(const Route& route, const std::string& in, bool required_only) const {
    Words names;
    for (const json::Value* owner : {&At({"paths", route.pattern}), &Operation(route)}) {
      const json::Value* list = owner->Find("parameters");
      if (list == nullptr) continue;
      for (const json::Value& entry : *list->AsArray()) {
        const std::string& pointer = *entry.Find("$ref")->AsString();
        const json::Value& parameter =
            At({"components", "parameters", pointer.substr(pointer.rfind('/') + 1)});
        const json::Value* required = parameter.Find("required");
        if (*parameter.Find("in")->AsString() != in) continue;
        if (required_only && (required == nullptr || !*required->AsBool())) continue;
        names.insert(*parameter.Find("name")->AsString());
      }
    }
    return names;
  }

  // The scopes of which one is enough; {"*"} for any token, {} for no token.
  Words Scopes(const Route& route) const {
    Words scopes;
    for (const json::Value& requirement : *Operation(route).Find("security")->AsArray()) {
      const json::Array& names = *requirement.Find("token")->AsArray();
      if (names.empty()) scopes.insert("*");
      for (const json::Value& name : names) scopes.insert(*name.AsString());
    }
    return scopes;
  }

 private:
  const json::Value json_;
};

Words ScopesOf(const Route& route) {
  if (route.access == Access::kPublic) return {};
  if (route.any_scope == kAnyToken) return {"*"};
  Words scopes;
  for (std::uint32_t bit = 1; bit != 0; bit <<= 1) {
    const bool named = route.any_scope != 0 ? (route.any_scope & bit) != 0
                                            : bit == static_cast<std::uint32_t>(route.scope);
    if (named) scopes.insert(ToString(static_cast<Scope>(bit)));
  }
  return scopes;
}

class RestContractTest : public ::testing::Test {
 protected:
  std::vector<Route> Routes() {
    std::vector<Route> routes;
    for (const Route& route : router_.routes()) {
      if (route.access != Access::kAdminSocket) routes.push_back(route);
    }
    return routes;
  }
  ApiContext context_;
  Router router_ = MakeRouter(context_);
  Document document_;
};

TEST_F(RestContractTest, TheContractTheRoutesAndTheTableOfRightsNameTheSame) {
  Words routes;
  for (const Route& route : Routes()) routes.insert(route.method + " " + route.pattern);
  EXPECT_EQ(mayfly::testing::ContractOperations(), routes);

  std::ifstream file(std::string(MAYFLY_SOURCE_DIR) + "/service/api/rights.txt");
  Words rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string method, pattern, first;
    if (words >> method >> pattern >> first && method != "#" && first != "admin") {
      rows.insert(method + " " + pattern);
    }
  }
  EXPECT_EQ(rows, routes);
}

TEST_F(RestContractTest, ParametersHeadersBodiesAndScopesAreThoseOfTheRoutes) {
  for (const Route& route : Routes()) {
    SCOPED_TRACE(route.method + " " + route.pattern);
    EXPECT_EQ(document_.Parameters(route, "query", false),
              Words(route.query.begin(), route.query.end()));
    EXPECT_EQ(document_.Parameters(route, "header", true),
              Words(route.required_headers.begin(), route.required_headers.end()));
    EXPECT_EQ(document_.Operation(route).Find("requestBody") != nullptr, route.body_bytes_max > 0);
    EXPECT_EQ(document_.Scopes(route), ScopesOf(route));
    Words captures;
    for (std::size_t at = route.pattern.find('{'); at != std::string::npos;
         at = route.pattern.find('{', at + 1)) {
      captures.insert(route.pattern.substr(at + 1, route.pattern.find('}', at) - at - 1));
    }
    EXPECT_EQ(document_.Parameters(route, "path", true), captures);
    // Whoever changes something is not counted under reading.
    EXPECT_EQ(route.budget == Budget::kReading, route.method == "GET");
  }
}

TEST_F(RestContractTest, EverySchemaCanBeChecked) {
  for (const auto& [name, schema] : *document_.At({"components", "schemas"}).AsObject()) {
    EXPECT_NO_THROW(JsonSchema(mayfly::testing::ContractText(), "/components/schemas/" + name))
        << name;
  }
}

TEST_F(RestContractTest, RequestsTakeNoMemberThatIsNotNamed) {
  for (const char* name : {"NewAccount", "AccountChange", "ConversationChange", "NewReply"}) {
    EXPECT_FALSE(*document_.At({"components", "schemas", name, "additionalProperties"}).AsBool());
  }
}

// --- the judge

std::map<std::string, std::string> GoodHeaders() {
  return {{"content-type", "application/json"},
          {"x-request-id", std::string(32, 'a')},
          {"cache-control", "no-store"},
          {"date", "Thu, 05 Mar 2026 10:00:00 GMT"},
          {"ratelimit", "\"reading\";r=1;t=1"},
          {"ratelimit-policy", "\"reading\";q=600;w=60"},
          {"etag", "\"" + std::string(32, 'a') + "\""}};
}

TEST_F(RestContractTest, TheJudgeAcceptsWhatIsDocumentedAndNothingElse) {
  const Request request = MakeRequest("GET", "/v1/policy");
  const std::string body =
      R"({"ceiling":"P3M","shortest":"P7D","zone":"UTC","rule":"r","raised_by":"nothing","accounts":[]})";
  const ContractAnswer good{
      .status = 200, .headers = GoodHeaders(), .body = body, .over_socket = true};
  EXPECT_THAT(BreaksOfContract(request, good), IsEmpty());

  const auto breaks = [&](auto change) {
    ContractAnswer answer = good;
    change(answer);
    return BreaksOfContract(request, answer);
  };
  EXPECT_THAT(breaks([](auto& a) { a.status = 202; }), Contains(HasSubstr("not listed")));
  EXPECT_THAT(breaks([](auto& a) { a.headers.erase("cache-control"); }),
              Contains(HasSubstr("cache-control is missing")));
  EXPECT_THAT(breaks([](auto& a) { a.headers["cache-control"] = "public"; }),
              Contains(HasSubstr("cache-control")));
  EXPECT_THAT(breaks([](auto& a) { a.headers["server"] = "x"; }),
              Contains(HasSubstr("server is not documented")));
  EXPECT_THAT(breaks([](auto& a) { a.headers["etag"] = "W/\"1\""; }), Contains(HasSubstr("etag")));
  EXPECT_THAT(breaks([](auto& a) { a.headers["content-type"] = "text/html"; }),
              Contains(HasSubstr("text/html")));
  for (
      const char* wrong :
      {"", "{}", "[]", R"({"ceiling":"P3M"})",
       R"({"ceiling":"P3Y","shortest":"P7D","zone":"UTC","rule":"r","raised_by":"n","accounts":[]})",
       R"({"ceiling":"P3M","shortest":"P7D","zone":"UTC","rule":"r","raised_by":"n","accounts":[{}]})",
       R"({"ceiling":"P3M","shortest":"P7D","zone":"UTC","rule":"r","raised_by":"n","accounts":[],"more":1})"}) {
    EXPECT_THAT(breaks([&](auto& a) { a.body = wrong; }), Contains(HasSubstr("the body"))) << wrong;
  }
  EXPECT_THAT(BreaksOfContract(MakeRequest("GET", "/v1/policy?colour=red"), good),
              Contains(HasSubstr("query colour")));
  EXPECT_THAT(BreaksOfContract(MakeRequest("POST", "/v1/policy"), good),
              Contains(HasSubstr("not listed")));
}

TEST_F(RestContractTest, TheJudgeKnowsWhichProblemMayStandWhere) {
  const auto problem = [](int status, const std::string& word) {
    ContractAnswer answer{.status = status, .headers = GoodHeaders()};
    answer.headers["content-type"] = "application/problem+json";
    answer.headers.erase("etag");
    answer.body = R"({"type":"/problems/)" + word + R"(","title":"t","status":)" +
                  std::to_string(status) + R"(,"instance":")" + std::string(32, 'a') + "\"}";
    return answer;
  };
  const Request request = MakeRequest("GET", "/v1/policy");
  EXPECT_THAT(BreaksOfContract(request, problem(403, "forbidden-scope")), IsEmpty());
  EXPECT_THAT(BreaksOfContract(request, problem(403, "not-found")),
              Contains(HasSubstr("the body")));
  EXPECT_THAT(BreaksOfContract(request, problem(410, "expired")),
              Contains(HasSubstr("not listed")));
  // Before any operation is known.
  const Request nowhere = MakeRequest("GET", "/v1/nowhere");
  EXPECT_THAT(BreaksOfContract(nowhere, problem(404, "not-found")), IsEmpty());
  EXPECT_THAT(BreaksOfContract(nowhere, problem(404, "expired")), Contains(HasSubstr("expired")));
  EXPECT_THAT(BreaksOfContract(request, problem(431, "too-large")), IsEmpty());
}

TEST_F(RestContractTest, TheJudgeRefusesARequestThatShouldNotHaveBeenAccepted) {
  ContractAnswer answer{.status = 204, .headers = GoodHeaders(), .over_socket = true};
  answer.headers.erase("content-type");
  answer.headers.erase("etag");
  const std::string target = "/v1/accounts/acc_1";
  EXPECT_THAT(BreaksOfContract(MakeRequest("DELETE", target, {{"If-Match", "*"}}), answer),
              IsEmpty());
  EXPECT_THAT(BreaksOfContract(MakeRequest("DELETE", target), answer),
              Contains(HasSubstr("without header If-Match")));
  EXPECT_THAT(
      BreaksOfContract(MakeRequest("DELETE", "/v1/accounts/one", {{"If-Match", "*"}}), answer),
      Contains(HasSubstr("path account")));
}

TEST(JsonSchema, WhatIsNotCheckedIsRefused) {
  EXPECT_THROW(JsonSchema(R"({"type":"string","contentEncoding":"base64"})", ""),
               std::runtime_error);
  EXPECT_THROW(JsonSchema(R"({"$ref":"#/nowhere"})", ""), std::runtime_error);
  EXPECT_THROW(JsonSchema(R"({"$ref":"#"})", ""), std::runtime_error);
  EXPECT_THROW(JsonSchema("{", ""), std::runtime_error);
}

TEST(JsonSchema, TheNewerDraftIsTranslated) {
  const std::string document =
      R"({"a":{"const":7},"b":{"$ref":"#/c","minimum":5},"c":{"type":["integer","null"]},)"
      R"("d":{"type":"object","properties":{"x":{"$ref":"#/c"}}}})";
  EXPECT_EQ(JsonSchema(document, "/a").Check("7"), "");
  EXPECT_NE(JsonSchema(document, "/a").Check("8"), "");
  EXPECT_EQ(JsonSchema(document, "/b").Check("6"), "");
  EXPECT_EQ(JsonSchema(document, "/b").Check("null"), "");
  EXPECT_NE(JsonSchema(document, "/b").Check("4"), "");
  EXPECT_NE(JsonSchema(document, "/b").Check("\"6\""), "");
  EXPECT_EQ(JsonSchema(document, "/d").Check(R"({"x":1,"y":2})"), "");
  EXPECT_NE(JsonSchema(document, "/d", JsonSchema::Unknown::kRefused).Check(R"({"x":1,"y":2})"),
            "");
}

}  // namespace
}  // namespace mayfly::service::api
