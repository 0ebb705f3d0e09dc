// The HTTP client against servers that are polite, odd or hostile, all on loopback. Cases that may
// end the process run in a child: this same program with --fetch.
#include "connectors/http_client.h"

#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <future>
#include <malloc.h>
#include <mutex>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/tls1.h>

#include "connectors/simulator_server.h"
#include "tests/support/sanitized.h"
#include "tests/support/tls_server.h"

extern char** environ;

namespace mayfly::connectors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr rlim_t kChildDataBytes = 48u << 20;  // as a worker has
constexpr long kGrowthMaxKib = 32 * 1024;
constexpr int kChildSetupFailed = 99;
constexpr int kChildGotAnswer = 10;
constexpr int kChildError = 11;  // plus the ErrorCode

EgressPolicy LoopbackPolicy() {
  return {.insecure_loopback = true, .private_hosts = {}, .ca_file = ""};
}

// A simulator that keeps what it was asked and answers with `respond`.
class Platform {
 public:
  explicit Platform(SimulatorHandler respond) : respond_(std::move(respond)) {
    auto started = SimulatorServer::Start([this](const SimulatorRequest& request) {
      const std::lock_guard lock(mutex_);
      seen_.push_back(request);
      return respond_(request);
    });
    if (!started) std::abort();
    server_ = std::move(*started);
  }
  ~Platform() { server_.reset(); }
  std::string origin() const { return server_->origin(); }
  std::uint64_t connections() const { return server_->connections(); }
  std::vector<SimulatorRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  SimulatorHandler respond_;
  mutable std::mutex mutex_;
  std::vector<SimulatorRequest> seen_;
  std::unique_ptr<SimulatorServer> server_;
};

SimulatorHandler Always(SimulatorResponse response) {
  return [response](const SimulatorRequest&) { return response; };
}

SimulatorResponse Json(int status, std::string body) {
  SimulatorResponse out;
  out.status = status;
  out.body = std::move(body);
  return out;
}

SimulatorResponse Raw(std::string bytes) {
  SimulatorResponse out;
  out.raw_bytes = std::move(bytes);
  return out;
}

// `head`, then `piece` again and again, `times` times.
SimulatorResponse Stream(std::string head, std::string piece, std::uint64_t times) {
  SimulatorResponse out;
  out.raw_bytes = std::move(head);
  out.raw_stream = [piece = std::move(piece), left = times]() mutable -> std::string {
    return left-- == 0 ? std::string() : piece;
  };
  return out;
}

std::unique_ptr<HttpClient> Client(const std::string& origin, HttpLimits limits = {}) {
  auto client = HttpClient::Create(origin, LoopbackPolicy(), limits);
  if (!client) std::abort();
  return std::move(*client);
}

HttpRequest Get(std::string path = "/") { return {.method = "GET", .path = std::move(path)}; }

HttpRequest Post(std::string body = R"({"text":"x"})") {
  return {.method = "POST",
          .path = "/send",
          .body = std::move(body),
          .content_type = "application/json"};
}

template <class T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result) << "an answer where an error was due";
  return result ? ErrorCode::kInternal : result.error().code;
}

long ResidentKib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmRSS:") {
      long kib = 0;
      status >> kib;
      return kib;
    }
  }
  return 0;
}

// --- Answers as they should be ------------------------------------------------------------------

TEST(HttpClient, CarriesARequestAndItsAnswerWhole) {
  Platform platform([](const SimulatorRequest&) {
    SimulatorResponse out = Json(200, R"({"ok":true})");
    out.headers = {{"RateLimit-Remaining", "7"}, {"X-Twice", "a"}, {"X-Twice", "b"}};
    return out;
  });
  HttpRequest request = Post("{\"t\":\"gr\xc3\xbc\xc3\x9f\"}");
  request.path = "/xrpc/chat.bsky.convo.sendMessage";
  request.query = {{"q", "a b&c=d+e/\xc3\xa4"}, {"q", ""}, {"limit", "100"}};
  request.headers.emplace_back("Authorization", Credential("Bearer secret"));
  const auto response = Client(platform.origin())->Send(request, {});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, R"({"ok":true})");
  EXPECT_EQ(response->headers.at("ratelimit-remaining"), "7");
  EXPECT_EQ(response->headers.at("x-twice"), "a, b");
  EXPECT_EQ(response->headers.at("content-type"), "application/json");

  const auto seen = platform.seen();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].method, "POST");
  EXPECT_EQ(seen[0].path, request.path);
  EXPECT_EQ(seen[0].query, request.query);
  EXPECT_EQ(seen[0].body, request.body);
  EXPECT_EQ(seen[0].Header("content-type"), "application/json");
  EXPECT_EQ(seen[0].Header("authorization"), "Bearer secret");
  EXPECT_EQ("http://" + seen[0].Header("host"), platform.origin());
  EXPECT_EQ(seen[0].Header("user-agent"), "Mayfly");
  EXPECT_EQ(seen[0].Header("accept-encoding"), "");
}

TEST(HttpClient, AnyStatusIsAnAnswer) {
  Platform platform([](const SimulatorRequest& request) {
    return Json(std::stoi(request.path.substr(1)), "body");
  });
  const auto client = Client(platform.origin());
  for (const int status : {200, 201, 204, 301, 304, 307, 400, 401, 404, 429, 500, 503, 599}) {
    const auto response = client->Send(Get("/" + std::to_string(status)), {});
    ASSERT_TRUE(response) << status;
    EXPECT_EQ(response->status, status);
    EXPECT_EQ(response->body, status == 204 || status == 304 ? "" : "body");
  }
}

TEST(HttpClient, EveryMethodGoesOutAsItIs) {
  Platform platform(Always(Json(200, "")));
  const auto client = Client(platform.origin());
  const std::vector<std::string> methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  for (const std::string& method : methods) {
    ASSERT_TRUE(client->Send({.method = method, .path = "/"}, {})) << method;
  }
  const auto seen = platform.seen();
  ASSERT_EQ(seen.size(), methods.size());
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i].method, methods[i]);
}

TEST(HttpClient, BytesThatAreNotUtf8PassThrough) {
  const std::string odd("\xff\xfe\x00\xc3(\xc0\xaf", 7);
  Platform platform(Always(Json(200, odd)));
  const auto response = Client(platform.origin())->Send(Post(odd), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body, odd);
  EXPECT_EQ(platform.seen().at(0).body, odd);
}

TEST(HttpClient, ChunkedAndUndelimitedBodiesAreRead) {
  Platform platform([](const SimulatorRequest& request) {
    return request.path == "/chunked"
               ? Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
               : Raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world");
  });
  const auto client = Client(platform.origin());
  for (const char* path : {"/chunked", "/undelimited"}) {
    const auto response = client->Send(Get(path), {});
    ASSERT_TRUE(response) << path << ": " << response.error().message;
    EXPECT_EQ(response->body, "hello world") << path;
  }
}

// --- Redirects and other ways to the outside
// ------------------------------------------------------

TEST(HttpClient, ARedirectIsReturnedAndNobodyElseIsAsked) {
  Platform other(Always(Json(200, "stolen")));
  Platform platform([&other](const SimulatorRequest& request) {
    SimulatorResponse out;
    out.status = std::stoi(request.path.substr(1));
    out.headers = {{"Location", other.origin() + "/steal"}};
    return out;
  });
  const auto client = Client(platform.origin());
  for (const int status : {301, 302, 303, 307, 308}) {
    for (const char* method : {"GET", "POST"}) {
      HttpRequest request = {.method = method, .path = "/" + std::to_string(status)};
      request.headers.emplace_back("Authorization", Credential("Bearer secret"));
      const auto response = client->Send(request, {});
      ASSERT_TRUE(response);
      EXPECT_EQ(response->status, status);
      EXPECT_EQ(response->headers.at("location"), other.origin() + "/steal");
    }
  }
  EXPECT_EQ(platform.seen().size(), 10u);
  EXPECT_EQ(other.connections(), 0u);
  EXPECT_TRUE(other.seen().empty());
}

TEST(HttpClient, ProxiesOfTheEnvironmentAreIgnored) {
  Platform proxy(Always(Json(200, "proxied")));
  Platform platform(Always(Json(200, "direct")));
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"}) {
    ASSERT_EQ(setenv(name, proxy.origin().c_str(), 1), 0);
  }
  const auto response = Client(platform.origin())->Send(Get(), {});
  for (const char* name : {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"}) {
    unsetenv(name);
  }
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body, "direct");
  EXPECT_EQ(proxy.connections(), 0u);
}

TEST(HttpClient, OriginsOutsideThePolicyAreRefused) {
  for (const char* origin : {"http://example.org", "http://10.0.0.1", "http://localhost:80",
                             "https://example.org:8443", "https://user@example.org"}) {
    const auto client = HttpClient::Create(origin, LoopbackPolicy());
    ASSERT_FALSE(client) << origin;
    EXPECT_EQ(client.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(client.error().field, "origin");
  }
  EXPECT_FALSE(HttpClient::Create("http://127.0.0.1:8080", EgressPolicy{}));
  EXPECT_TRUE(HttpClient::Create("https://example.org", EgressPolicy{}));
}

TEST(HttpClient, AnUnusableCaFileIsRefusedAtOnce) {
  const EgressPolicy policy = {.private_hosts = {"pds.internal"}, .ca_file = "/dev/null"};
  const auto client = HttpClient::Create("https://pds.internal", policy);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().field, "ca_file");
}

TEST(HttpClient, WhatWouldInjectIsRefusedBeforeItIsSent) {
  Platform platform(Always(Json(200, "")));
  const auto client = Client(platform.origin());
  const auto refused = [&client](HttpRequest request, const char* field) {
    const auto response = client->Send(request, {});
    ASSERT_FALSE(response) << field;
    EXPECT_EQ(response.error().code, ErrorCode::kInvalidArgument) << field;
    EXPECT_EQ(response.error().field, field);
    EXPECT_EQ(response.error().message.find("secret"), std::string::npos);
  };
  using namespace std::string_literals;
  for (const std::string& value :
       {"secret\r\nX-Evil: 1"s, "secret\nX-Evil: 1"s, "secret\r"s, "secret\0"s, "secret\x7f"s}) {
    HttpRequest request = Get();
    request.headers.emplace_back("Authorization", Credential(value));
    refused(request, "headers");
  }
  for (const std::string& name :
       {""s, "X Y"s, "X:"s, "X\r\n"s, "X\0"s, "\xc3\xbc"s, "Host"s, "content-length"s,
        "Transfer-Encoding"s, "Connection"s, "Accept-Encoding"s}) {
    HttpRequest request = Get();
    request.headers.emplace_back(name, Credential("x"));
    refused(request, "headers");
  }
  for (const std::string& path :
       {""s, "xrpc"s, "//evil.example/"s, "http://evil.example/"s, "/a b"s, "/a\r\nHost: b"s,
        "/a?b=c"s, "/a#b"s, "/a\\b"s, "/a\0b"s, "/\xc3\xbc"s, "/%"s, "/%4"s, "/%zz"s, "/a/../b"s,
        "/.."s, "/a/."s, "/a/%2E%2e/b"s, "/."s}) {
    refused(Get(path), "path");
  }
  for (const char* method : {"", "get", "CONNECT", "TRACE", "OPTIONS", "GET / HTTP/1.1\r\n"}) {
    refused({.method = method, .path = "/"}, "method");
  }
  HttpRequest typed = Post();
  typed.content_type = "text/plain\r\nX-Evil: 1";
  refused(typed, "content_type");
  HttpRequest with_body = Get();
  with_body.body = "x";
  refused(with_body, "body");
  HttpRequest long_query = Get();
  long_query.query = {{"q", std::string(20'000, 'x')}};
  refused(long_query, "query");
  EXPECT_EQ(platform.connections(), 0u);
}

// --- Connections and certainty -------------------------------------------------------------------

TEST(HttpClient, ReadsShareAConnectionAndWritesHaveTheirOwn) {
  Platform platform(Always(Json(200, "x")));
  const auto client = Client(platform.origin());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client->Send(Get(), {}));
  EXPECT_LE(platform.connections(), 2u);
  const std::uint64_t before = platform.connections();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client->Send(Post(), {}));
  EXPECT_EQ(platform.connections(), before + 5);
  EXPECT_EQ(platform.seen().size(), 25u);
}

TEST(HttpClient, AConnectionThatDiedWhileIdleDisturbsNoRead) {
  Platform platform([](const SimulatorRequest&) {  // kept alive in words, then closed
    return Raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const auto client = Client(platform.origin());
  for (int i = 0; i < 10; ++i) {
    const auto response = client->Send(Get(), {});
    ASSERT_TRUE(response) << i << ": " << response.error().message;
    EXPECT_EQ(response->body, "ok");
  }
}

TEST(HttpClient, ALostAnswerToAWriteIsUnknownAndIsNotSentAgain) {
  Platform platform([](const SimulatorRequest& request) {
    SimulatorResponse out = Json(200, "x");
    out.drop_connection = request.method != "GET";
    return out;
  });
  const auto client = Client(platform.origin());
  // With a kept connection at hand, which the library would use and replay on.
  ASSERT_TRUE(client->Send(Get(), {}));
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    for (const char* body : {"", R"({"text":"x"})"}) {
      const std::size_t before = platform.seen().size();
      const HttpRequest request = {.method = method, .path = "/send", .body = body};
      EXPECT_EQ(CodeOf(client->Send(request, {})), ErrorCode::kOutcomeUnknown) << method;
      EXPECT_EQ(platform.seen().size(), before + 1) << method;
    }
  }
  ASSERT_TRUE(client->Send(Get(), {}));
}

TEST(HttpClient, APortThatRefusesIsCertainlyNotReached) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  // Bound, so that nobody else takes the port, and not listening.
  const auto client = Client("http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  EXPECT_EQ(CodeOf(client->Send(Get(), {})), ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(CodeOf(client->Send(Post(), {})), ErrorCode::kPlatformUnavailable);
  close(fd);
}

TEST(HttpClient, ComesBackOnceThePlatformDoes) {
  std::uint16_t port = 0;
  {
    Platform platform(Always(Json(200, "x")));
    port = static_cast<std::uint16_t>(
        std::stoi(platform.origin().substr(platform.origin().rfind(':') + 1)));
    ASSERT_TRUE(Client(platform.origin())->Send(Get(), {}));
  }
  const auto client = Client("http://127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(CodeOf(client->Send(Get(), {})), ErrorCode::kPlatformUnavailable);
  auto again = SimulatorServer::Start(Always(Json(200, "back")), port);
  ASSERT_TRUE(again) << again.error().message;
  const auto response = client->Send(Get(), {});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "back");
}

// --- Time --------------------------------------------------------------------------------------

TEST(HttpClient, SilenceEndsAtTheStepTimeout) {
  SimulatorResponse silent;
  silent.hold_open = true;
  Platform platform(Always(silent));
  const auto client =
      Client(platform.origin(), {.step_timeout = milliseconds(150), .total_deadline = seconds(60)});
  EXPECT_EQ(CodeOf(client->Send(Get(), {})), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(CodeOf(client->Send(Post(), {})), ErrorCode::kOutcomeUnknown);
  EXPECT_LE(platform.seen().size(), 2u);  // and not once more
}

TEST(HttpClient, ADripEndsAtTheTotalDeadline) {
  Platform platform([](const SimulatorRequest& request) {
    SimulatorResponse drip = request.path == "/head"
                                 ? Stream("HTTP/1.1 200 OK\r\nX-Drip: ", "x", 1'000'000)
                                 : Stream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                          "1\r\nx\r\n", 1'000'000);
    drip.raw_interval = milliseconds(20);
    return drip;
  });
  const auto client =
      Client(platform.origin(), {.step_timeout = seconds(10), .total_deadline = milliseconds(300)});
  for (const char* path : {"/head", "/body"}) {
    EXPECT_EQ(CodeOf(client->Send(Get(path), {})), ErrorCode::kOutcomeUnknown) << path;
  }
}

TEST(HttpClient, AStopEndsTheRequestWhereverItIs) {
  for (const bool in_body : {false, true}) {
    std::promise<void> arrived;
    SimulatorResponse response;
    if (in_body) response = Raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    response.hold_open = true;
    std::atomic<bool> told{false};
    Platform platform([&](const SimulatorRequest&) {
      if (!told.exchange(true)) arrived.set_value();
      return response;
    });
    const auto client =
        Client(platform.origin(), {.step_timeout = seconds(300), .total_deadline = seconds(300)});
    std::stop_source stop;
    std::thread stopper([&] {
      arrived.get_future().wait();
      stop.request_stop();
    });
    EXPECT_EQ(CodeOf(client->Send(Post(), stop.get_token())), ErrorCode::kCancelled);
    stopper.join();
  }
}

TEST(HttpClient, AStopBeforehandSendsNothing) {
  Platform platform(Always(Json(200, "x")));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(CodeOf(Client(platform.origin())->Send(Post(), stop.get_token())),
            ErrorCode::kCancelled);
  EXPECT_EQ(platform.connections(), 0u);
}

// --- Hostile answers -----------------------------------------------------------------------------

TEST(HttpClient, AHugeBodyIsCutOffAtTheCap) {
  constexpr std::uint64_t kBytes = 300u << 20;
  const std::string piece(64 * 1024, 'x');
  char chunk_head[16];
  std::snprintf(chunk_head, sizeof chunk_head, "%zx\r\n", piece.size());
  const std::string chunk = chunk_head + piece + "\r\n";
  Platform platform([&](const SimulatorRequest& request) {
    if (request.path == "/length") {
      return Stream("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBytes) + "\r\n\r\n",
                    piece, kBytes / piece.size());
    }
    if (request.path == "/chunked") {
      return Stream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk,
                    kBytes / piece.size());
    }
    return Stream("HTTP/1.1 200 OK\r\n\r\n", piece, kBytes / piece.size());
  });
  const auto client = Client(platform.origin(), {.body_bytes_max = 1u << 20});
  const long before = ResidentKib();
  for (const char* path : {"/length", "/chunked", "/undelimited"}) {
    EXPECT_EQ(CodeOf(client->Send(Get(path), {})), ErrorCode::kTooLarge) << path;
    const long growth = ResidentKib() - before;
    if (mayfly::testing::kSanitized) {
      std::printf("SKIPPED: memory is not judged under a sanitizer\n");
    } else {
      EXPECT_LT(growth, kGrowthMaxKib) << path;
    }
  }
}

TEST(HttpClient, TheCapIsExact) {
  Platform platform([](const SimulatorRequest& request) {
    return Json(200, std::string(std::stoul(request.path.substr(1)), 'x'));
  });
  const auto client = Client(platform.origin(), {.body_bytes_max = 1000});
  const auto response = client->Send(Get("/1000"), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body.size(), 1000u);
  EXPECT_EQ(CodeOf(client->Send(Get("/1001"), {})), ErrorCode::kTooLarge);
}

TEST(HttpClient, TooManyOrTooLargeHeadersAreRefused) {
  Platform platform([](const SimulatorRequest& request) {
    SimulatorResponse out = Json(200, "x");
    if (request.path == "/many") {
      for (int i = 0; i < 300; ++i) out.headers.emplace_back("X-" + std::to_string(i), "v");
    } else if (request.path == "/large") {
      return Raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Large: " + std::string(100'000, 'v') +
                 "\r\n\r\nx");
    }
    return out;
  });
  const auto client = Client(platform.origin());
  EXPECT_EQ(CodeOf(client->Send(Get("/many"), {})), ErrorCode::kTooLarge);
  EXPECT_EQ(CodeOf(client->Send(Get("/large"), {})), ErrorCode::kTooLarge);
  EXPECT_TRUE(client->Send(Get("/fine"), {}));
}

TEST(HttpClient, BrokenAnswersAreTypedErrors) {
  struct Case {
    const char* bytes;
    ErrorCode code;
  };
  const Case cases[] = {
      {"", ErrorCode::kOutcomeUnknown},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", ErrorCode::kOutcomeUnknown},
      {"HTTP/1.1 200 OK\r\nContent-Le", ErrorCode::kOutcomeUnknown},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", ErrorCode::kOutcomeUnknown},
      {"\x16\x03\x01 this is no HTTP\r\n\r\n", ErrorCode::kProtocol},
      {"HTTP/1.1 99999 Huge\r\n\r\n", ErrorCode::kProtocol},
      {"HTTP/1.1 abc\r\n\r\n", ErrorCode::kProtocol},
      {"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", ErrorCode::kProtocol},
      {"HTTP/1.1 100 Continue\r\n\r\n", ErrorCode::kProtocol},
      {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
       ErrorCode::kProtocol},
  };
  for (const Case& c : cases) {
    Platform platform(Always(Raw(c.bytes)));
    const auto client = Client(platform.origin());
    EXPECT_EQ(CodeOf(client->Send(Get(), {})), c.code) << c.bytes;
    EXPECT_EQ(CodeOf(client->Send(Post(), {})), c.code) << c.bytes;
    EXPECT_EQ(platform.seen().size(), 2u) << c.bytes;
  }
}

struct ChildEnd {
  bool aborted = false;  // by a signal
  int code = 0;          // exit code or signal
};

// Fetches from `origin` in a process of its own, with the memory limit that a worker has.
ChildEnd FetchInChild(const std::string& origin) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string program = "/proc/self/exe", flag = "--fetch", where = origin;
  char* arguments[] = {program.data(), flag.data(), where.data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return {.aborted = false, .code = kChildSetupFailed};
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFSIGNALED(status)) return {.aborted = true, .code = WTERMSIG(status)};
  return {.aborted = false, .code = WEXITSTATUS(status)};
}

// The kernel holds the child to its memory; what is left to show is that it ends by itself, with a
// typed error or an abort, and that this process, which stands for the core, goes on.
TEST(HttpClient, AnswersThatMayAbortTheLibraryEndTheChildOnly) {
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  struct Case {
    const char* name;
    SimulatorResponse response;
    bool must_be_clean;  // our buffer refuses what used to abort
  };
  const std::string filler(64 * 1024, 'x');
  std::string many_headers;
  while (many_headers.size() < 64 * 1024) many_headers += "X-Header: value\r\n";
  const Case cases[] = {
      {"chunk -1", Raw(chunked + "-1\r\nabc\r\n0\r\n\r\n"), true},
      {"chunk -2", Raw(chunked + "-2\r\nabc\r\n0\r\n\r\n"), true},
      {"chunk -1 after data", Raw(chunked + "3\r\nabc\r\n-1\r\nabc\r\n0\r\n\r\n"), true},
      {"chunk zz", Raw(chunked + "zz\r\nabc\r\n0\r\n\r\n"), true},
      {"chunk of nothing", Raw(chunked + "\r\n\r\n"), true},
      {"chunk beyond int", Raw(chunked + "ffffffffffffffff\r\nabc"), true},
      {"chunk -1000, endless", Stream(chunked + "-1000\r\n", filler, 1'000'000), false},
      {"chunk 7fffffff, endless", Stream(chunked + "7fffffff\r\n", filler, 1'000'000), false},
      {"endless chunk size", Stream(chunked, std::string(64 * 1024, '0'), 1'000'000), false},
      {"endless header", Stream("HTTP/1.1 200 OK\r\nX: ", filler, 1'000'000), false},
      {"endless headers", Stream("HTTP/1.1 200 OK\r\n", many_headers, 1'000'000), false},
      {"endless status line", Stream("HTTP/1.1 200 ", filler, 1'000'000), false},
      {"Content-Length -1",
       Stream("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", filler, 1'000'000), true},
      {"Content-Length 2^64",
       Stream("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", filler, 1'000'000),
       true},
  };
  for (const Case& c : cases) {
    Platform platform(Always(c.response));
    const ChildEnd end = FetchInChild(platform.origin());
    if (end.aborted) {
      EXPECT_FALSE(c.must_be_clean) << c.name << ": signal " << end.code;
      EXPECT_TRUE(end.code == SIGABRT || end.code == SIGTRAP || end.code == SIGKILL)
          << c.name << ": signal " << end.code;
    } else {
      const bool typed = end.code == kChildError + static_cast<int>(ErrorCode::kTooLarge) ||
                         end.code == kChildError + static_cast<int>(ErrorCode::kProtocol) ||
                         end.code == kChildError + static_cast<int>(ErrorCode::kOutcomeUnknown);
      EXPECT_TRUE(typed) << c.name << ": exit code " << end.code;
    }
    RecordProperty(c.name, (end.aborted ? "signal " : "exit ") + std::to_string(end.code));
  }
  Platform good(Always(Json(200, "x")));
  EXPECT_EQ(FetchInChild(good.origin()).code, kChildGotAnswer);
  EXPECT_TRUE(Client(good.origin())->Send(Get(), {}));
}

// --- TLS ---------------------------------------------------------------------------------------

class HttpClientTls : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mayfly-ca-XXXXXX";
    const int fd = mkstemp(name);
    ASSERT_GE(fd, 0);
    close(fd);
    ca_file_ = name;
  }
  void TearDown() override {
    server_.reset();
    unlink(ca_file_.c_str());
  }

  void Serve(testing::TlsServerOptions options) {
    server_ = std::make_unique<testing::TlsServer>(std::move(options));
    std::ofstream(ca_file_) << server_->ca_pem();
  }
  std::string origin() const { return "https://localhost:" + std::to_string(server_->port()); }
  EgressPolicy policy() const {
    return {.insecure_loopback = false,
            .private_hosts = {"localhost:" + std::to_string(server_->port())},
            .ca_file = ca_file_};
  }
  Result<HttpResponse> Send(const HttpRequest& request, HttpLimits limits = {}) {
    auto client = HttpClient::Create(origin(), policy(), limits);
    if (!client) return Fail(client.error());
    return (*client)->Send(request, {});
  }

  std::string ca_file_;
  std::unique_ptr<testing::TlsServer> server_;
};

TEST_F(HttpClientTls, ConnectsByAddressAndAsksForTheName) {
  std::string name, host, protocol;
  Serve({.respond = [&](testing::TlsPeer& peer) {
    name = peer.server_name();
    protocol = peer.protocol();
    const std::size_t at = peer.head().find("Host:");
    host = peer.head().substr(at + 5, peer.head().find("\r\n", at) - at - 5);
    peer.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  }});
  for (const HttpRequest& request : {Get(), Post()}) {
    const auto response = Send(request);
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->body, "ok");
  }
  EXPECT_EQ(server_->requests(), 2);
  server_.reset();  // joins, so that the strings are ours to read
  EXPECT_EQ(name, "localhost");
  EXPECT_EQ(host, "localhost");
  EXPECT_EQ(protocol, "TLSv1.3");
}

// A vote on the time: from an answer that nobody between us and the platform could write.
TEST_F(HttpClientTls, TheDateOfAnAnswerIsPassedOn) {
  int answered = 0;
  Serve({.respond = [&](testing::TlsPeer& peer) {
    static constexpr const char* kDates[] = {"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n", "",
                                             "Date: yesterday\r\n"};
    peer.Write(std::string("HTTP/1.1 200 OK\r\n") + kDates[answered++ % 3] +
               "Content-Length: 0\r\n\r\n");
  }});
  std::vector<TimePoint> heard;
  auto client =
      HttpClient::Create(origin(), policy(), {}, [&](TimePoint said) { heard.push_back(said); });
  ASSERT_TRUE(client);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*client)->Send(Get(), {}));
  EXPECT_EQ(heard, std::vector<TimePoint>{*ParseRfc3339("2026-11-22T12:00:00Z")});
}

TEST(HttpClientTime, ADateInTheClearIsNobodysWord) {
  Platform platform(
      Always({.raw_bytes = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
                           "Content-Length: 0\r\n\r\n"}));
  bool heard = false;
  auto client =
      HttpClient::Create(platform.origin(), LoopbackPolicy(), {}, [&](TimePoint) { heard = true; });
  ASSERT_TRUE(client);
  ASSERT_TRUE((*client)->Send(Get(), {}));
  EXPECT_FALSE(heard);
}

TEST_F(HttpClientTls, AnUnknownAuthorityIsRefused) {
  Serve({});
  EgressPolicy without = policy();
  without.ca_file.clear();
  auto client = HttpClient::Create(origin(), without);
  ASSERT_TRUE(client);
  EXPECT_EQ(CodeOf((*client)->Send(Get(), {})), ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(CodeOf((*client)->Send(Post(), {})), ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(server_->requests(), 0);
}

TEST_F(HttpClientTls, ACertificateForAnotherNameIsRefused) {
  // The address is in it, which must not help: the name is what was asked for.
  Serve({.certificate_name = "DNS:other.example,IP:127.0.0.1"});
  EXPECT_EQ(CodeOf(Send(Get())), ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(CodeOf(Send(Post())), ErrorCode::kPlatformUnavailable);
  EXPECT_GE(server_->connections(), 2);
  EXPECT_EQ(server_->requests(), 0);
}

TEST_F(HttpClientTls, TlsBelow12IsRefused) {
  Serve({.protocol_max = TLS1_1_VERSION});
  EXPECT_EQ(CodeOf(Send(Get())), ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(server_->requests(), 0);
  Serve({.protocol_max = TLS1_2_VERSION, .respond = [](testing::TlsPeer& peer) {
           peer.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
         }});
  EXPECT_TRUE(Send(Get()));
}

TEST_F(HttpClientTls, AHostThatIsNotListedIsNotReachedInside) {
  Serve({});
  // By name, by address, and in the odd forms that a resolver takes for an address.
  for (const char* host : {"localhost", "127.0.0.1", "2130706433", "0x7f.1", "10.0.0.1"}) {
    EXPECT_EQ(CodeOf(HttpClient::Create(std::string("https://") + host, EgressPolicy{})),
              ErrorCode::kInvalidArgument)
        << host;
  }
  EXPECT_EQ(server_->connections(), 0);
}

// Whether it may be connected to shows only in the answer of the resolver.
TEST_F(HttpClientTls, ANameThatLeadsInsideIsNotFollowed) {
  std::array<char, 254> name{};
  ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
  auto client = HttpClient::Create("https://" + std::string(name.data()), EgressPolicy{});
  if (!client) GTEST_SKIP() << "this machine's own name is none that a platform could have";
  const auto response = (*client)->Send(Get(), {});
  if (CodeOf(response) != ErrorCode::kHostForbidden) {
    GTEST_SKIP() << "this machine's own name leads to no private address";
  }
  EXPECT_EQ(CodeOf((*client)->Send(Post(), {})), ErrorCode::kHostForbidden);
}

TEST_F(HttpClientTls, AHandshakeWithoutEndIsCertainlyNotSent) {
  Serve({.never_shake_hands = true});
  const HttpLimits total = {.step_timeout = seconds(30), .total_deadline = milliseconds(300)};
  const HttpLimits step = {.step_timeout = milliseconds(300), .total_deadline = seconds(30)};
  for (const HttpRequest& request : {Get(), Post()}) {
    EXPECT_EQ(CodeOf(Send(request, total)), ErrorCode::kPlatformUnavailable) << request.method;
    EXPECT_EQ(CodeOf(Send(request, step)), ErrorCode::kPlatformUnavailable) << request.method;
  }
  EXPECT_EQ(server_->requests(), 0);
}

TEST_F(HttpClientTls, ALostAnswerToAWriteIsUnknown) {
  Serve({.respond = [](testing::TlsPeer&) {}});  // read, then closed
  EXPECT_EQ(CodeOf(Send(Post())), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(server_->requests(), 1);
}

// On TLS the client counts what arrives, so that even floods which the library would keep in memory
// end in this process, without its memory limit.
TEST_F(HttpClientTls, FloodsAreCutOff) {
  const std::string filler(16 * 1024, 'x');
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& head : {std::string("HTTP/1.1 200 OK\r\nX: "), chunked + "7fffffff\r\n",
                                  chunked + "-1000\r\n", chunked}) {
    Serve({.respond = [&](testing::TlsPeer& peer) {
      if (!peer.Write(head)) return;
      for (int i = 0; i < 20'000 && peer.Write(filler); ++i) continue;  // up to 320 MB
    }});
    const long before = ResidentKib();
    for (const HttpRequest& request : {Get(), Post()}) {
      EXPECT_EQ(CodeOf(Send(request, {.body_bytes_max = 1u << 20})), ErrorCode::kTooLarge) << head;
    }
    const long growth = ResidentKib() - before;
    if (mayfly::testing::kSanitized) {
      std::printf("SKIPPED: memory is not judged under a sanitizer\n");
    } else {
      EXPECT_LT(growth, kGrowthMaxKib) << head;
    }
  }
}

}  // namespace

// The child of FetchInChild.
int Fetch(const char* origin) {
  const rlimit data = {kChildDataBytes, kChildDataBytes};
  const rlimit core = {0, 0};
  mallopt(M_ARENA_MAX, 1);
  InitialiseHttpThreads();
  if (setrlimit(RLIMIT_CORE, &core) != 0 ||
      (!mayfly::testing::kSanitized && setrlimit(RLIMIT_DATA, &data) != 0)) {
    return kChildSetupFailed;
  }
  auto client = HttpClient::Create(origin, LoopbackPolicy(),
                                   {.step_timeout = seconds(5), .total_deadline = seconds(10)});
  if (!client) return kChildSetupFailed;
  const auto response = (*client)->Send(Get(), {});
  return response ? kChildGotAnswer : kChildError + static_cast<int>(response.error().code);
}

}  // namespace mayfly::connectors

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--fetch") == 0) {
    return mayfly::connectors::Fetch(argv[2]);
  }
  signal(SIGPIPE, SIG_IGN);  // the TLS server writes to peers that have left
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
