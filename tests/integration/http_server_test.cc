// The listener against hostile and awkward clients, on raw sockets (threat T1).
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/server.h"
#include "service/sandbox/sandbox.h"
#include "tests/support/api_raw_client.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::RawClient;
using mayfly::testing::RawResponse;
using std::chrono::milliseconds;
using ::testing::ElementsAreArray;

constexpr std::size_t kBigBytes = 32u << 20;

Route Make(const char* method, const char* pattern, Access access, Handler handler) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  route.access = access;
  route.handler = std::move(handler);
  return route;
}

// A tiny API: enough to see bodies, scopes, failures and slow handlers.
class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    const Handler pong = [](const Request&, const Actor&) {
      return Response::Json(200, "{\"pong\":true}");
    };
    const Handler echo = [](const Request& request, const Actor&) {
      return Response::Json(200, request.body);
    };
    Route post = Make("POST", "/v1/echo", Access::kPublic, echo);
    post.body_bytes_max = 1024;
    Route guarded = Make("POST", "/v1/guarded", Access::kScope, echo);
    guarded.body_bytes_max = 1024;
    guarded.scope = Scope::kInboxReply;
    Route slow = Make("GET", "/v1/slow", Access::kPublic, [this](const Request&, const Actor&) {
      ++slow_entered_;
      slow_entered_.notify_all();
      release_.get_future().wait();
      return Response::Json(200, "{\"slow\":true}");
    });
    slow.slow = true;
    router_.Add({Make("GET", "/v1/ping", Access::kPublic, pong), post, guarded, slow,
                 Make("GET", "/v1/items/{item}", Access::kPublic,
                      [](const Request& request, const Actor&) {
                        return Response::Json(200, request.captures.at("item"));
                      }),
                 Make("DELETE", "/v1/items/{item}", Access::kPublic,
                      [](const Request&, const Actor&) {
                        Response response;
                        response.status = 204;
                        return response;
                      }),
                 Make("GET", "/v1/throws", Access::kPublic,
                      [](const Request&, const Actor&) -> Response {
                        throw std::runtime_error("planted marker");
                      }),
                 Make("GET", "/v1/splits", Access::kPublic,
                      [](const Request&, const Actor&) {
                        return Response::Json(200, "{}").With("X-A", "a\r\nSet-Cookie: b");
                      }),
                 Make("GET", "/v1/big", Access::kPublic,
                      [](const Request&, const Actor&) {
                        return Response::Json(200, std::string(kBigBytes, 'b'));
                      }),
                 Make("GET", "/v1/whoami", Access::kScope, [](const Request&, const Actor& actor) {
                   return Response::Json(200, actor.id);
                 })});
  }

  ~HttpServerTest() override { server_.reset(); }

  static Result<Actor> Authenticate(const Request& request) {
    if (request.admin_socket) {
      return Actor{.id = "cli:" + std::to_string(request.peer_uid), .scopes = kAnyToken};
    }
    const std::string* token = request.Header("authorization");
    if (token != nullptr && *token == "Bearer good") return Actor{.id = "tok", .scopes = kAnyToken};
    return Fail(ErrorCode::kNotFound, "");
  }

  void StartServer(std::vector<Listener> more = {}) {
    const mayfly::testing::ListeningSocket socket = mayfly::testing::ListenOnLoopback();
    port_ = socket.port;
    more.push_back({.fd = socket.fd});
    server_ = std::make_unique<Server>(router_, Authenticate, limits_);
    ASSERT_TRUE(server_->Start(std::move(more)).has_value());
    server_->SetReady(true);
  }

  // Everything that the server answers to `bytes`, until it closes; the client sends nothing more.
  std::vector<RawResponse> Exchange(const std::string& bytes) {
    RawClient client(port_);
    client.Send(bytes);
    client.HalfClose();
    std::vector<RawResponse> answers;
    while (auto answer = client.Read(bytes.substr(0, 5) == "HEAD ")) {
      answers.push_back(*std::move(answer));
    }
    return answers;
  }

  // Polls a counter that only grows; the bound is patience, not an expectation.
  template <class Predicate>
  bool Eventually(Predicate predicate) {
    const auto until = std::chrono::steady_clock::now() + RawClient::kPatience;
    while (std::chrono::steady_clock::now() < until) {
      if (predicate()) return true;
      std::this_thread::yield();
    }
    return predicate();
  }

  Router router_;
  ServerLimits limits_;
  std::uint16_t port_ = 0;
  std::atomic<int> slow_entered_{0};
  std::promise<void> release_;
  std::unique_ptr<Server> server_;
};

const std::string kPing = "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kEchoHead =
    "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

std::string Chunked(const std::string& coded) {
  return kEchoHead + "Transfer-Encoding: chunked\r\n\r\n" + coded;
}
std::string WithField(const std::string& field) {
  return "GET /v1/ping HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n";
}
std::string WithTarget(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
}
std::string Repeat(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

struct Case {
  const char* name;
  std::string bytes;
  std::vector<int> statuses;  // of all answers until the connection ends
};

std::vector<Case> Cases() {
  using namespace std::string_literals;
  return {
      // well-formed, to see that the table is not all refusals
      {"plain GET", kPing, {200}},
      {"three pipelined", kPing + kPing + kPing, {200, 200, 200}},
      {"pipelined behind a body", kEchoHead + "Content-Length: 2\r\n\r\n{}" + kPing, {200, 200}},
      {"pipelined behind chunks", Chunked("2\r\n{}\r\n0\r\n\r\n") + kPing, {200, 200}},
      {"chunks with a trailer", Chunked("1\r\n1\r\n0\r\nX-A: b\r\n\r\n") + kPing, {200, 200}},
      {"Connection: close ends the row", WithField("Connection: close") + kPing, {200}},
      {"HTTP/1.0 closes", "GET /v1/ping HTTP/1.0\r\n\r\n" + kPing, {200}},
      {"HTTP/1.0 keep-alive",
       "GET /v1/ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + kPing,
       {200, 200}},
      {"HEAD", "HEAD /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {200}},
      {"tab inside a value", WithField("X-A: a\tb"), {200}},
      {"empty body with a length", kEchoHead + "Content-Length: 0\r\n\r\n", {200}},
      {"bad request stops the row", "BAD\r\n\r\n" + kPing, {400}},
      // request line
      {"no version", "GET /v1/ping\r\nHost: a\r\n\r\n", {400}},
      {"HTTP/9.9", "GET /v1/ping HTTP/9.9\r\nHost: a\r\n\r\n", {505}},
      {"HTTP/2.0 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}},
      {"XXXX/1.1", "GET /v1/ping XXXX/1.1\r\nHost: a\r\n\r\n", {400}},
      {"HTTP/1.1x", "GET /v1/ping HTTP/1.1x\r\nHost: a\r\n\r\n", {400}},
      {"lower-case http", "GET /v1/ping http/1.1\r\nHost: a\r\n\r\n", {400}},
      {"two spaces", "GET  /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"leading space", " GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"method with a bracket", "G(T /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"very long method", Repeat(40, "G") + " /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"empty line first", "\r\n" + kPing, {400}},
      {"TLS hello on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, {400}},
      {"unknown method", "BREW /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {405}},
      {"TRACE", "TRACE /v1/ping HTTP/1.1\r\nHost: a\r\nX-Secret: s\r\n\r\n", {405}},
      {"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      {"absolute form", "GET http://a/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", {400}},
      // target
      {"unknown path", WithTarget("/nothing"), {404}},
      {"empty segment", WithTarget("/v1//ping"), {404}},
      {"trailing slash", WithTarget("/v1/ping/"), {404}},
      {"dot segment", WithTarget("/v1/x/../ping"), {400}},
      {"encoded dot segment", WithTarget("/v1/x/%2e%2E/ping"), {400}},
      {"encoded slash", WithTarget("/v1%2fping"), {400}},
      {"encoded NUL", WithTarget("/v1/items/a%00"), {400}},
      {"encoded CR LF", WithTarget("/v1/items/a%0d%0aX:b"), {400}},
      {"cut escape", WithTarget("/v1/items/%4"), {400}},
      {"wrong escape", WithTarget("/v1/items/%zz"), {400}},
      {"encoded invalid UTF-8", WithTarget("/v1/items/%ff%fe"), {400}},
      {"encoded overlong UTF-8", WithTarget("/v1/items/%c0%af"), {400}},
      {"encoded UTF-8", WithTarget("/v1/items/%c3%a9"), {200}},
      {"raw UTF-8", WithTarget("/v1/items/\xc3\xa9"), {400}},
      {"raw 0xff", WithTarget("/v1/items/\xff"), {400}},
      {"raw NUL", WithTarget("/v1/items/a\0b"s), {400}},
      {"fragment", WithTarget("/v1/ping#x"), {400}},
      {"repeated parameter", WithTarget("/v1/ping?a=1&a=2"), {400}},
      {"unknown parameter", WithTarget("/v1/ping?a=1"), {400}},
      {"target of 9 KiB", WithTarget("/" + Repeat(9 << 10, "a")), {414}},
      {"target of 200 KiB", WithTarget("/" + Repeat(200 << 10, "a")), {414}},
      // fields
      {"no Host", "GET /v1/ping HTTP/1.1\r\n\r\n", {400}},
      {"two Hosts", WithField("Host: b"), {400}},
      {"empty Host", "GET /v1/ping HTTP/1.1\r\nHost:\r\n\r\n", {400}},
      {"Host with a path", "GET /v1/ping HTTP/1.1\r\nHost: a/b\r\n\r\n", {400}},
      {"Host with credentials", "GET /v1/ping HTTP/1.1\r\nHost: u@a\r\n\r\n", {400}},
      {"folded line", WithField("X-A: a\r\n b"), {400}},
      {"folded first line", "GET /v1/ping HTTP/1.1\r\n Host: a\r\n\r\n", {400}},
      {"no colon", WithField("X-A"), {400}},
      {"space before the colon", WithField("X-A : b"), {400}},
      {"empty name", WithField(": b"), {400}},
      {"name with a bracket", WithField("X(A: b"), {400}},
      {"NUL in a value", WithField("X-A: a\0b"s), {400}},
      {"control character in a value", WithField("X-A: a\x01"), {400}},
      {"DEL in a value", WithField("X-A: a\x7f"), {400}},
      {"UTF-8 in a value", WithField("X-A: \xc3\xa9"), {400}},
      {"bare CR in a value", WithField("X-A: a\rX-B: b"), {400}},
      {"bare LF in a value", WithField("X-A: a\nX-B: b"), {400}},
      {"bare LF line ends", "GET /v1/ping HTTP/1.1\nHost: a\n\n", {400}},
      {"101 fields", WithField(Repeat(99, "X-A: b\r\n") + "X-B: c"), {431}},
      {"100 fields", WithField(Repeat(98, "X-A: b\r\n") + "X-B: c"), {200}},
      {"head of 17 KiB", WithField("X-A: " + Repeat(17 << 10, "a")), {431}},
      {"head without end",
       "GET /v1/ping HTTP/1.1\r\nHost: a\r\n" + Repeat(4000, "X: y\r\n"),
       {431}},
      {"two Authorizations",
       WithField("Authorization: Bearer good\r\nAuthorization: Bearer bad"),
       {400}},
      {"cut head", "GET /v1/ping HTTP/1.1\r\nHost:", {400}},
      {"nothing at all", "", {}},
      // framing
      {"length and chunks",
       kEchoHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
       {400}},
      {"chunks and length",
       kEchoHead + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
       {400}},
      {"two lengths", kEchoHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}},
      {"two equal lengths", kEchoHead + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", {400}},
      {"list of lengths", kEchoHead + "Content-Length: 2, 2\r\n\r\n{}", {400}},
      {"length -1", kEchoHead + "Content-Length: -1\r\n\r\n", {400}},
      {"length +5", kEchoHead + "Content-Length: +5\r\n\r\n12345", {400}},
      {"length 5abc", kEchoHead + "Content-Length: 5abc\r\n\r\n12345", {400}},
      {"length 0x5", kEchoHead + "Content-Length: 0x5\r\n\r\n12345", {400}},
      {"empty length", kEchoHead + "Content-Length: \r\n\r\n", {400}},
      {"length 2^70", kEchoHead + "Content-Length: 1180591620717411303424\r\n\r\n", {400}},
      {"space before the colon of a length", kEchoHead + "Content-Length : 2\r\n\r\n{}", {400}},
      {"length above the route's limit", kEchoHead + "Content-Length: 1025\r\n\r\n", {413}},
      {"length of 1 GB",
       kEchoHead + "Content-Length: 1000000000\r\n\r\n" + Repeat(9000, "x"),
       {413}},
      {"body cut short", kEchoHead + "Content-Length: 10\r\n\r\n{}", {400}},
      {"xchunked", kEchoHead + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {501}},
      {"gzip, chunked", kEchoHead + "Transfer-Encoding: gzip, chunked\r\n\r\n", {501}},
      {"identity", kEchoHead + "Transfer-Encoding: identity\r\n\r\n", {501}},
      {"chunked twice",
       kEchoHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       {400}},
      {"chunks under HTTP/1.0",
       "POST /v1/echo HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: "
       "chunked\r\n\r\n",
       {400}},
      {"chunk size -1", Chunked("-1\r\n"), {400}},
      {"chunk size -2", Chunked("-2\r\n{}\r\n0\r\n\r\n"), {400}},
      {"chunk size zz", Chunked("zz\r\n"), {400}},
      {"chunk size with a space", Chunked(" 2\r\n{}\r\n0\r\n\r\n"), {400}},
      {"chunk size ffffffffffffffff", Chunked("ffffffffffffffff\r\n"), {413}},
      {"chunk size 7fffffff", Chunked("7fffffff\r\n"), {413}},
      {"chunk size line without end", Chunked(Repeat(100000, "0")), {413}},
      {"chunk extension", Chunked("2;a=b\r\n{}\r\n0\r\n\r\n"), {400}},
      {"chunk longer than its size", Chunked("2\r\n{}}\r\n0\r\n\r\n"), {400}},
      {"chunk line with a bare LF", Chunked("2\n{}\r\n0\r\n\r\n"), {400}},
      {"chunks above the limit", Chunked(Repeat(3, "200\r\n" + Repeat(512, "x") + "\r\n")), {413}},
      {"endless chunks", Chunked(Repeat(5000, "1\r\nx\r\n")), {413}},
      {"endless trailer", Chunked("0\r\n" + Repeat(3000, "X: y\r\n")), {413}},
      {"NUL in a trailer", Chunked("0\r\nX: \0\r\n\r\n"s), {400}},
      {"chunks cut short", Chunked("5\r\nab"), {400}},
      // what the head decides about a body
      {"body without a token",
       "POST /v1/guarded HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n",
       {401}},
      {"body for an unknown path",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
       {404}},
      {"body where none is taken", WithField("Content-Length: 2") + "{}", {400}},
      {"hidden request in a refused body",
       "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n" + kPing,
       {404}},
      {"body of another type",
       "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\n"
       "Content-Length: 2\r\n\r\n{}",
       {415}},
      {"body without a type",
       "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
       {415}},
      {"unknown expectation",
       kEchoHead + "Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
       {417}},
      {"expectation, body already there",
       kEchoHead + "Expect: 100-continue\r\n"
                   "Content-Length: 2\r\n\r\n{}",
       {200}},
      {"expectation refused",
       "POST /v1/guarded HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
       "Content-Length: 2\r\n\r\n",
       {401}},
      // handlers
      {"handler throws", WithTarget("/v1/throws") + kPing, {500, 200}},
      {"handler splits the answer", WithTarget("/v1/splits"), {500}},
      {"token in the query", WithTarget("/v1/whoami?access_token=good"), {401}},
      {"token with another scheme",
       "GET /v1/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Basic "
       "good\r\n\r\n",
       {401}},
  };
}

TEST_F(HttpServerTest, AnswersEveryHostileRequestExactly) {
  StartServer();
  const std::vector<Case> cases = Cases();
  EXPECT_GE(cases.size(), 100u);
  std::set<std::string> ids;
  std::size_t answers_seen = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const auto answers = Exchange(one.bytes);
    std::vector<int> statuses;
    for (const RawResponse& answer : answers) {
      statuses.push_back(answer.status);
      ids.insert(answer.Header("x-request-id"));
      ++answers_seen;
      EXPECT_EQ(answer.Header("x-request-id").size(), 32u);
      EXPECT_EQ(answer.Header("cache-control"), "no-store");
      EXPECT_EQ(answer.Header("x-content-type-options"), "nosniff");
      EXPECT_EQ(answer.Header("server"), "");
      EXPECT_EQ(answer.Header("set-cookie"), "");
      if (answer.status >= 400 && one.bytes.substr(0, 4) != "HEAD") {
        EXPECT_EQ(answer.Header("content-type"), "application/problem+json");
        EXPECT_EQ(answer.body.find("planted"), std::string::npos);
      }
    }
    EXPECT_THAT(statuses, ElementsAreArray(one.statuses));
  }
  EXPECT_EQ(ids.size(), answers_seen);  // no id is used twice
  // And after all that it serves.
  EXPECT_EQ(Exchange(kPing).at(0).body, "{\"pong\":true}");
}

TEST_F(HttpServerTest, ByteByByteIsTheSameRequest) {
  StartServer();
  RawClient client(port_);
  for (const char byte : Chunked("2\r\n{}\r\n0\r\n\r\n")) client.Send({&byte, 1});
  const auto answer = client.Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "{}");
}

TEST_F(HttpServerTest, HeadTellsTheLengthAndSendsNoBody) {
  StartServer();
  RawClient client(port_);
  const auto get = client.Ask(kPing);
  const auto head = client.Ask("HEAD /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(get && head);
  EXPECT_EQ(head->Header("content-length"), std::to_string(get->body.size()));
  EXPECT_EQ(head->Header("content-type"), get->Header("content-type"));
  // Had a body been sent, the next answer would begin with it.
  EXPECT_EQ(client.Ask(kPing)->status, 200);
  const auto missing = client.Ask("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(missing->status, 404);
  EXPECT_NE(missing->Header("content-length"), "0");
  EXPECT_EQ(client.Ask(kPing)->status, 200);
}

TEST_F(HttpServerTest, NoContentHasNoLength) {
  StartServer();
  RawClient client(port_);
  const auto answer = client.Ask("DELETE /v1/items/1 HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 204);
  EXPECT_EQ(answer->headers.count("content-length"), 0u);
  EXPECT_EQ(client.Ask(kPing)->status, 200);
}

TEST_F(HttpServerTest, ContinueIsSaidOnlyToWhoWaitsForIt) {
  StartServer();
  RawClient client(port_);
  const auto go_on = client.Ask(kEchoHead + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  ASSERT_TRUE(go_on.has_value());
  EXPECT_EQ(go_on->status, 100);
  EXPECT_EQ(client.Ask("{}")->status, 200);
}

TEST_F(HttpServerTest, RefusedBodiesAreNotRead) {
  StartServer();
  RawClient client(port_);
  const auto answer = client.Ask(kEchoHead + "Content-Length: 900000000\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ(answer->Header("connection"), "close");
  // It ends although the client goes on: the connection is cut long before the body is there.
  const std::string block(64 << 10, 'x');
  std::size_t sent = 0;
  while (sent < 900'000'000 && client.TrySend(block)) sent += block.size();
  EXPECT_LT(sent, 900'000'000u);
}

TEST_F(HttpServerTest, AnswersOnlyPublicRoutesUntilReady) {
  StartServer();
  server_->SetReady(false);
  EXPECT_EQ(Exchange(kPing).at(0).status, 200);
  const std::string whoami =
      "GET /v1/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n";
  const auto answers = Exchange(whoami);
  EXPECT_EQ(answers.at(0).status, 503);
  EXPECT_FALSE(answers.at(0).Header("retry-after").empty());
  server_->SetReady(true);
  EXPECT_EQ(Exchange(whoami).at(0).body, "tok");
}

// --- deadlines. Each test sets one of them short; none says how long anything took.

TEST_F(HttpServerTest, AHeadThatDoesNotEndGetsItsAnswer) {
  limits_.head_deadline = milliseconds(200);
  StartServer();
  RawClient client(port_);
  const auto answer = client.Ask("GET /v1/ping HTTP/1.1\r\nHost: a\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 408);
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_EQ(server_->counters().refused_limits, 1u);
}

TEST_F(HttpServerTest, ABodyThatDoesNotEndGetsItsAnswer) {
  limits_.body_deadline = milliseconds(200);
  StartServer();
  for (const std::string& request : {kEchoHead + "Content-Length: 10\r\n\r\n12", Chunked("5\r\nab"),
                                     Chunked("1\r\na\r\n0\r\nX: ")}) {
    RawClient client(port_);
    const auto answer = client.Ask(request);
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 408);
    EXPECT_EQ(client.ReadToEnd(), "");
  }
}

TEST_F(HttpServerTest, AnIdleConnectionIsClosed) {
  limits_.idle_deadline = milliseconds(200);
  StartServer();
  RawClient client(port_);
  EXPECT_EQ(client.Ask(kPing)->status, 200);
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_EQ(server_->counters().refused_limits, 0u);  // nobody did wrong
}

TEST_F(HttpServerTest, AConnectionThatNeverSpeaksIsClosed) {
  limits_.head_deadline = milliseconds(200);
  StartServer();
  RawClient client(port_);
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(HttpServerTest, AReaderThatStallsIsCut) {
  limits_.write_deadline = milliseconds(300);
  StartServer();
  RawClient client(port_);
  client.Send("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return server_->counters().refused_limits == 1; }));
  ASSERT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
  EXPECT_LT(client.ReadToEnd().size(), kBigBytes);
}

TEST_F(HttpServerTest, ABigAnswerReachesAReaderThatReads) {
  StartServer();
  RawClient client(port_);
  const auto answer = client.Ask("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->body.size(), kBigBytes);
}

TEST_F(HttpServerTest, ManySlowClientsDoNotKeepOthersOut) {
  limits_.head_deadline = milliseconds(500);
  limits_.connections_per_address_max = 300;
  StartServer();
  std::vector<RawClient> slow;
  for (int i = 0; i < 200; ++i) {
    slow.emplace_back(port_);
    slow.back().Send("GET /v1/ping HTTP/1.1\r\nX-A:");
  }
  EXPECT_EQ(Exchange(kPing).at(0).status, 200);
  for (RawClient& client : slow) {
    client.Send(" ");  // still dripping
    const std::string answer = client.ReadToEnd();
    EXPECT_TRUE(answer.empty() || answer.substr(0, 12) == "HTTP/1.1 408") << answer;
  }
  ASSERT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
}

// --- caps

TEST_F(HttpServerTest, OneAddressHasItsShareOfConnections) {
  limits_.connections_per_address_max = 3;
  StartServer();
  std::vector<RawClient> held;
  for (int i = 0; i < 3; ++i) {
    held.emplace_back(port_);
    ASSERT_EQ(held.back().Ask(kPing)->status, 200);
  }
  RawClient fourth(port_);
  const std::string answer = fourth.ReadToEnd();
  EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 503");
  held.pop_back();
  ASSERT_TRUE(Eventually([&] { return server_->counters().open == 2; }));
  EXPECT_EQ(RawClient(port_).Ask(kPing)->status, 200);
}

TEST_F(HttpServerTest, AllTogetherHaveTheirLimitAndTheAdminSocketStaysOpen) {
  limits_.connections_max = 2;
  const std::string path =
      (std::filesystem::temp_directory_path() / ("mf-api-" + std::to_string(::getpid()))).string();
  ::unlink(path.c_str());
  StartServer({{.fd = mayfly::testing::ListenOnUnix(path), .unix_socket = true, .admin = true}});
  RawClient first(port_), second(port_);
  ASSERT_EQ(first.Ask(kPing)->status, 200);
  ASSERT_EQ(second.Ask(kPing)->status, 200);
  EXPECT_EQ(RawClient(port_).ReadToEnd().substr(0, 12), "HTTP/1.1 503");
  RawClient admin(path);
  EXPECT_EQ(admin.Ask("GET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n")->body,
            "cli:" + std::to_string(::geteuid()));
  ::unlink(path.c_str());
}

TEST_F(HttpServerTest, AnOrdinaryUnixSocketNeedsATokenLikeAnyOther) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("mf-apu-" + std::to_string(::getpid()))).string();
  ::unlink(path.c_str());
  StartServer({{.fd = mayfly::testing::ListenOnUnix(path), .unix_socket = true}});
  RawClient client(path);
  EXPECT_EQ(client.Ask("GET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n")->status, 401);
  EXPECT_EQ(client.Ask(kPing)->status, 200);
  ::unlink(path.c_str());
}

TEST_F(HttpServerTest, RunningOutOfDescriptorsDoesNotSpinAndPasses) {
  StartServer();
  RawClient early(port_);
  ASSERT_EQ(early.Ask(kPing)->status, 200);

  // The client's descriptor takes the lowest free number; with the limit right above it, the next
  // one that anybody in this process wants, the server included, does not exist.
  RawClient late;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(late.fd()) + 1;
  const auto started = std::chrono::steady_clock::now();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  late.ConnectTo(port_);
  late.Send(kPing);
  const bool failed = Eventually([&] { return server_->counters().accept_failures >= 3; });
  const std::uint64_t failures = server_->counters().accept_failures;
  const auto elapsed = std::chrono::steady_clock::now() - started;
  const auto meanwhile = early.Ask(kPing);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(failed);
  EXPECT_EQ(meanwhile->status, 200);
  // A pause of 100 ms between two failures: more of them than that would be a spin.
  EXPECT_LE(failures, static_cast<std::uint64_t>(elapsed / milliseconds(100)) + 1);
  EXPECT_EQ(late.Read()->status, 200);
}

TEST_F(HttpServerTest, SlowHandlersHaveTheirOwnThreadsAndABoundedQueue) {
  limits_.slow_threads = 1;
  limits_.slow_queue_max = 1;
  limits_.threads = 1;
  StartServer();
  RawClient slow(port_);
  slow.Send("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
  slow_entered_.wait(0);
  EXPECT_EQ(Exchange(kPing).at(0).status, 200);
  EXPECT_EQ(Exchange("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n").at(0).status, 503);
  release_.set_value();
  EXPECT_EQ(slow.Read()->body, "{\"slow\":true}");
}

// --- the end

TEST_F(HttpServerTest, DrainClosesIdleConnectionsAndFinishesWhatIsUnderWay) {
  StartServer();
  RawClient idle(port_), busy(port_);
  ASSERT_EQ(idle.Ask(kPing)->status, 200);
  busy.Send("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
  slow_entered_.wait(0);
  std::thread drain([&] { server_->Drain(std::chrono::seconds(30)); });
  EXPECT_EQ(idle.ReadToEnd(), "");
  release_.set_value();
  const auto answer = busy.Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->Header("connection"), "close");
  EXPECT_EQ(busy.ReadToEnd(), "");
  drain.join();
  EXPECT_EQ(server_->counters().open, 0u);
  EXPECT_THROW(RawClient{port_}, std::runtime_error);
}

TEST_F(HttpServerTest, DrainCutsAtItsDeadline) {
  StartServer();
  RawClient half(port_);
  half.Send("GET /v1/ping HTTP/1.1\r\nHost: a\r\n");
  ASSERT_TRUE(Eventually([&] { return server_->counters().open == 1; }));
  server_->Drain(milliseconds(100));
  EXPECT_EQ(half.ReadToEnd(), "");
  EXPECT_EQ(server_->counters().open, 0u);
}

TEST_F(HttpServerTest, DroppedClientsLeaveNothingBehind) {
  StartServer();
  for (int i = 0; i < 300; ++i) {
    RawClient client(port_);
    client.Send(i % 3 == 0   ? kPing
                : i % 3 == 1 ? kEchoHead + "Content-Length: 10\r\n\r\n12"
                             : std::string("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n"));
  }
  ASSERT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
  EXPECT_EQ(Exchange(kPing).at(0).status, 200);
}

TEST_F(HttpServerTest, ServesUnderTheCoresAllowListFilter) {
  // In a child, because a filter cannot be taken off again. No thread of ours runs at this point.
  constexpr int kNoFilterHere = 77;
  const mayfly::testing::ListeningSocket socket = mayfly::testing::ListenOnLoopback();
  const std::string path =
      (std::filesystem::temp_directory_path() / ("mf-apf-" + std::to_string(::getpid()))).string();
  ::unlink(path.c_str());
  const int unix_fd = mayfly::testing::ListenOnUnix(path);
  int talk[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, talk), 0);
  limits_.head_deadline = milliseconds(300);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(talk[1]);
    if (!EnterCoreSandbox({}).has_value()) ::_exit(kNoFilterHere);
    Server server(router_, Authenticate, limits_);
    if (!server.Start({{.fd = socket.fd}, {.fd = unix_fd, .unix_socket = true, .admin = true}})) {
      ::_exit(1);
    }
    server.SetReady(true);
    char byte = 0;
    if (::write(talk[0], "r", 1) != 1) ::_exit(3);
    const ssize_t ended = ::read(talk[0], &byte, 1);  // until the parent closes its end
    server.Drain(milliseconds(5000));
    ::_exit(ended == 0 && server.counters().accept_failures == 0 ? 0 : 2);
  }
  ::close(talk[0]);
  ::close(socket.fd);
  ::close(unix_fd);
  port_ = socket.port;
  char running = 0;
  if (::read(talk[1], &running, 1) == 1) {
    EXPECT_EQ(Exchange(kPing + kPing).size(), 2u);
    EXPECT_EQ(Exchange("BAD\r\n\r\n").size(), 1u);
    EXPECT_EQ(Exchange(WithTarget("/v1/big")).size(), 1u);
    EXPECT_EQ(RawClient(port_).Ask("GET /v1/ping HTTP/1.1\r\n")->status, 408);
    EXPECT_EQ(RawClient(path).Ask("GET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n")->status, 200);
  }
  ::close(talk[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::unlink(path.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoFilterHere) GTEST_SKIP() << "this kernel refuses the filter";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(HttpServerTest, RefusesADescriptorThatCannotBeUsed) {
  server_ = std::make_unique<Server>(router_, Authenticate, limits_);
  const Status started = server_->Start({{.fd = -1}});
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace mayfly::service::api
