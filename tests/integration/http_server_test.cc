// The listener's limits, deadlines, caps and end, on raw sockets (threat T1). What hostile clients
// send is in http_hostile_test.cc, how slowly in http_slow_test.cc.
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/server.h"
#include "service/sandbox/sandbox.h"
#include "tests/support/api_raw_client.h"
#include "tests/support/small_api.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::Eventually;
using mayfly::testing::RawClient;
using mayfly::testing::RawResponse;
using mayfly::testing::SmallApi;
using std::chrono::milliseconds;

class HttpServerTest : public ::testing::Test {
 protected:
  ~HttpServerTest() override { server_.reset(); }

  void StartServer(std::vector<Listener> more = {}) {
    const mayfly::testing::ListeningSocket socket = mayfly::testing::ListenOnLoopback();
    port_ = socket.port;
    more.push_back({.fd = socket.fd});
    server_ = std::make_unique<Server>(api_.router(), SmallApi::Authenticate, limits_);
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

  SmallApi api_;
  ServerLimits limits_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Server> server_;
};

const std::string kPing = "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kEchoHead =
    "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

std::string Chunked(const std::string& coded) {
  return kEchoHead + "Transfer-Encoding: chunked\r\n\r\n" + coded;
}
std::string WithTarget(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
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

TEST_F(HttpServerTest, ABodyInPiecesArrivesWholeAndTheConnectionGoesOn) {
  StartServer();
  const std::string get = WithTarget("/v1/pieces/10");
  const auto answers = Exchange(get + kPing + get + kPing);
  ASSERT_EQ(answers.size(), 4u);
  for (const std::size_t at : {0u, 2u}) {
    EXPECT_EQ(answers[at].status, 200);
    EXPECT_EQ(answers[at].Header("content-type"), "application/octet-stream");
    EXPECT_TRUE(answers[at].body == std::string(10 * SmallApi::kPieceBytes, 'p'));
    EXPECT_EQ(answers[at + 1].body, "{\"pong\":true}");
  }
  const auto head = Exchange("HEAD /v1/pieces/10 HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_EQ(head.size(), 1u);
  EXPECT_EQ(head[0].Header("content-length"), std::to_string(10 * SmallApi::kPieceBytes));
}

TEST_F(HttpServerTest, ABodyOfUnknownLengthIsChunkedAndItsEndIsTold) {
  StartServer();
  const std::string all(10 * SmallApi::kPieceBytes, 'p');
  const auto answers = Exchange(WithTarget("/v1/unsized/whole") + kPing);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].Header("transfer-encoding"), "chunked");
  EXPECT_TRUE(answers[0].body == all);
  EXPECT_EQ(answers[1].body, "{\"pong\":true}");
  RawClient old(port_);
  old.Send("GET /v1/unsized/whole HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(old.ReadToEnd(), ::testing::EndsWith("\r\n\r\n" + all));
  RawClient cut(port_);
  cut.Send(WithTarget("/v1/unsized/cut") + kPing);
  EXPECT_THAT(cut.ReadToEnd(), ::testing::Not(::testing::HasSubstr("\r\n0\r\n")));
}

// What is destroyed in the middle must not look whole, nor may anything follow it.
TEST_F(HttpServerTest, ABodyThatEndsTooEarlyCutsTheConnection) {
  StartServer();
  RawClient client(port_);
  client.Send(WithTarget("/v1/pieces/7") + kPing);
  const std::string all = client.ReadToEnd();
  const std::size_t body = all.find("\r\n\r\n");
  ASSERT_NE(body, std::string::npos);
  EXPECT_LE(all.size() - body - 4, 7 * SmallApi::kPieceBytes);
  EXPECT_EQ(all.find("pong"), std::string::npos);
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
  EXPECT_LT(client.ReadToEnd().size(), SmallApi::kBigBytes);
}

TEST_F(HttpServerTest, ABigAnswerReachesAReaderThatReads) {
  StartServer();
  RawClient client(port_);
  const auto answer = client.Ask("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->body.size(), SmallApi::kBigBytes);
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

TEST_F(HttpServerTest, SlowHandlersHaveTheirOwnThreadsAndABoundedQueue) {
  limits_.slow_threads = 1;
  limits_.slow_queue_max = 1;
  limits_.threads = 1;
  StartServer();
  RawClient slow(port_);
  slow.Send("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
  api_.AwaitSlow();
  EXPECT_EQ(Exchange(kPing).at(0).status, 200);
  EXPECT_EQ(Exchange("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n").at(0).status, 503);
  api_.ReleaseSlow();
  EXPECT_EQ(slow.Read()->body, "{\"slow\":true}");
}

// --- the end

TEST_F(HttpServerTest, DrainClosesIdleConnectionsAndFinishesWhatIsUnderWay) {
  StartServer();
  RawClient idle(port_), busy(port_);
  ASSERT_EQ(idle.Ask(kPing)->status, 200);
  busy.Send("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
  api_.AwaitSlow();
  std::thread drain([&] { server_->Drain(std::chrono::seconds(30)); });
  EXPECT_EQ(idle.ReadToEnd(), "");
  api_.ReleaseSlow();
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
    Server server(api_.router(), SmallApi::Authenticate, limits_);
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
  server_ = std::make_unique<Server>(api_.router(), SmallApi::Authenticate, limits_);
  const Status started = server_->Start({{.fd = -1}});
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace mayfly::service::api
