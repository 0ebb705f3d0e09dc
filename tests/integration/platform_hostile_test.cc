// A hostile platform, case by case: raw answers against the HTTP client, each with its exact
// outcome; answers that are HTTP and poison against each connector; and what may end a process
// against the real mayfly-worker, which has to end alone. Over the whole table this process, which
// stands for the core's side, may hardly grow.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/tls1.h>

#include "connectors/factory.h"
#include "connectors/http_client.h"
#include "connectors/platform_simulator.h"
#include "connectors/simulator_server.h"
#include "service/link/worker_link.h"
#include "service/supervisor/supervisor.h"
#include "tests/support/processes.h"
#include "tests/support/sanitized.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/tls_server.h"

namespace mayfly::connectors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr long kGrowthMaxKib = 32 * 1024;
constexpr std::uint64_t kHuge = 300u << 20;
constexpr std::uint64_t kEndless = 1'000'000;
constexpr std::size_t kBodyBytesMax = 1u << 20;
// Nearly all cases end by themselves; only one that waits for a deadline gets a small one.
constexpr HttpLimits kPatient = {
    .step_timeout = seconds(20), .total_deadline = seconds(30), .body_bytes_max = kBodyBytesMax};
constexpr HttpLimits kHasty = {.step_timeout = milliseconds(300),
                               .total_deadline = milliseconds(500),
                               .body_bytes_max = kBodyBytesMax};

const std::string kOk = "HTTP/1.1 200 OK\r\n";
const std::string kChunked = kOk + "Transfer-Encoding: chunked\r\n\r\n";
const std::string kFiller(64 * 1024, 'x');

long StatusKib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long kib = 0;
    if (word == field && status >> kib) return kib;
  }
  return 0;
}

// The growth over everything that ran in this process, printed and judged at the end.
class Growth final : public ::testing::Environment {
 public:
  void SetUp() override {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew; proc(5)
    before_ = StatusKib("VmRSS:");
  }
  void TearDown() override {
    const long growth = StatusKib("VmHWM:") - before_;
    std::printf("[ memory   ] %ld KiB before, %+ld KiB at the peak of the whole table\n", before_,
                growth);
    if (mayfly::testing::kSanitized) {
      std::printf("SKIPPED: memory is not judged under a sanitizer\n");
    } else {
      EXPECT_LT(growth, kGrowthMaxKib);
    }
  }

 private:
  long before_ = 0;
};
const auto* const kGrowth = ::testing::AddGlobalTestEnvironment(new Growth);

SimulatorResponse Raw(std::string bytes) {
  SimulatorResponse out;
  out.raw_bytes = std::move(bytes);
  return out;
}

// `head`, then `piece` again and again.
SimulatorResponse Stream(std::string head, std::string piece, std::uint64_t times = kEndless) {
  SimulatorResponse out = Raw(std::move(head));
  out.raw_stream = [piece = std::move(piece), left = times]() mutable -> std::string {
    return left-- == 0 ? std::string() : piece;
  };
  return out;
}

SimulatorResponse Drip(std::string head, std::string piece) {
  SimulatorResponse out = Stream(std::move(head), std::move(piece));
  out.raw_interval = milliseconds(20);
  return out;
}

std::string ChunkOf(const std::string& piece) {
  char size[16];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  return size + piece + "\r\n";
}

std::string Repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// A server that answers everything with the same bytes.
class Hostile {
 public:
  explicit Hostile(SimulatorResponse response) : response_(std::move(response)) {
    auto started = SimulatorServer::Start([this](const SimulatorRequest&) {
      ++requests_;
      return response_;
    });
    if (!started) std::abort();
    server_ = std::move(*started);
  }
  std::string origin() const { return server_->origin(); }
  int requests() const { return requests_; }
  std::uint64_t connections() const { return server_->connections(); }

 private:
  SimulatorResponse response_;
  std::atomic<int> requests_{0};
  std::unique_ptr<SimulatorServer> server_;  // last, so that it stops first
};

// What a request comes to: an error, or an answer with this status and body.
struct Outcome {
  std::optional<ErrorCode> error = {};
  int status = 200;
  std::string body = {};
};
Outcome Error(ErrorCode code) { return {.error = code}; }
Outcome Answer(int status, std::string body) { return {.status = status, .body = std::move(body)}; }

struct Case {
  const char* name;
  SimulatorResponse response;
  Outcome outcome;
  HttpLimits limits = kPatient;
};

constexpr ErrorCode kUnknown = ErrorCode::kOutcomeUnknown;
constexpr ErrorCode kProtocol = ErrorCode::kProtocol;
constexpr ErrorCode kTooLarge = ErrorCode::kTooLarge;

std::vector<Case> Table() {
  using namespace std::string_literals;
  return {
      // How long a body is.
      {"chunk of -1", Raw(kChunked + "-1\r\nabc\r\n0\r\n\r\n"), Error(kTooLarge)},
      {"chunk of -2", Raw(kChunked + "-2\r\nabc\r\n0\r\n\r\n"), Error(kTooLarge)},
      {"chunk of -1 after data", Raw(kChunked + "3\r\nabc\r\n-1\r\nabc\r\n"), Error(kTooLarge)},
      {"chunk of 7fffffff, then gone", Raw(kChunked + "7fffffff\r\nabc"), Error(kUnknown)},
      {"chunk of ffffffffffffffff", Raw(kChunked + "ffffffffffffffff\r\nabc"), Error(kProtocol)},
      {"chunk of zz", Raw(kChunked + "zz\r\nabc\r\n0\r\n\r\n"), Error(kProtocol)},
      // As the library reads hexadecimal; nothing is lost or added.
      {"chunk of 0x5", Raw(kChunked + "0x5\r\nhello\r\n0\r\n\r\n"), Answer(200, "hello")},
      {"chunk of nothing", Raw(kChunked + "\r\n\r\n"), Error(kProtocol)},
      {"endless body", Stream(kOk + "\r\n", kFiller), Error(kTooLarge)},
      {"300 MB with a length",
       Stream(kOk + "Content-Length: " + std::to_string(kHuge) + "\r\n\r\n", kFiller,
              kHuge / kFiller.size()),
       Error(kTooLarge)},
      {"300 MB in chunks", Stream(kChunked, ChunkOf(kFiller), kHuge / kFiller.size()),
       Error(kTooLarge)},
      {"short body", Raw(kOk + "Content-Length: 100\r\n\r\nshort"), Error(kUnknown)},
      {"more body than said", Raw(kOk + "Content-Length: 2\r\n\r\nok and more"), Answer(200, "ok")},
      {"a second answer behind the first",
       Raw(kOk + "Content-Length: 2\r\n\r\nok" + kOk + "Content-Length: 6\r\n\r\nstolen"),
       Answer(200, "ok")},
      {"two lengths", Raw(kOk + "Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello"),
       Error(kProtocol)},
      {"a length and chunks",
       Raw(kOk + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
       Error(kProtocol)},
      {"length -1", Raw(kOk + "Content-Length: -1\r\n\r\nhello"), Error(kProtocol)},
      {"length 2^64", Raw(kOk + "Content-Length: 18446744073709551616\r\n\r\nhello"),
       Error(kProtocol)},
      {"length that is a word", Raw(kOk + "Content-Length: five\r\n\r\nhello"), Error(kProtocol)},
      // Heads.
      {"300 headers",
       Raw(kOk + Repeated("X-Header-Of-Many: v\r\n", 1) +
           [] {
             std::string many;
             for (int i = 0; i < 300; ++i) many += "X-" + std::to_string(i) + ": v\r\n";
             return many;
           }() +
           "Content-Length: 2\r\n\r\nok"),
       Error(kTooLarge)},
      {"a header of 100 KB", Raw(kOk + "X: " + std::string(100'000, 'v') + "\r\n\r\n"),
       Error(kTooLarge)},
      {"NUL in a header", Raw(kOk + "X: a\0b\r\nContent-Length: 2\r\n\r\nok"s), Error(kProtocol)},
      {"NUL in a header's name", Raw(kOk + "X\0Y: a\r\nContent-Length: 2\r\n\r\nok"s),
       Error(kProtocol)},
      // The library drops the line.
      {"a header without a colon", Raw(kOk + "nonsense\r\nContent-Length: 2\r\n\r\nok"),
       Answer(200, "ok")},
      // Statuses.
      {"status 99", Raw("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"), Error(kProtocol)},
      {"status 1000", Raw("HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n"), Error(kProtocol)},
      {"status -200", Raw("HTTP/1.1 -200 Odd\r\nContent-Length: 0\r\n\r\n"), Error(kProtocol)},
      {"status 99999", Raw("HTTP/1.1 99999 Odd\r\n\r\n"), Error(kProtocol)},
      {"no status", Raw("HTTP/1.1\r\n\r\n"), Error(kProtocol)},
      {"101, another protocol",
       Raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), Error(kProtocol)},
      {"a flood of 100s", Stream("", Repeated("HTTP/1.1 100 Continue\r\n\r\n", 1'000)),
       Error(kProtocol)},
      {"103, then an answer",
       Raw("HTTP/1.1 103 Early Hints\r\n\r\n" + kOk + "Content-Length: 2\r\n\r\nok"),
       Error(kProtocol)},
      // Compression that nobody asked for.
      {"a gzip bomb",
       Raw(kOk + "Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n\x1f\x8b\x08" +
           std::string(17, 'z')),
       Error(kProtocol)},
      {"br", Raw(kOk + "content-encoding: BR\r\nContent-Length: 2\r\n\r\nok"), Error(kProtocol)},
      {"gzip as a transfer coding",
       Raw(kOk + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Error(kProtocol)},
      // Too slow.
      {"a head that drips", Drip(kOk + "X: ", "x"), Error(kUnknown), kHasty},
      {"a body that drips", Drip(kChunked, "1\r\nx\r\n"), Error(kUnknown), kHasty},
      // Gone, at every stage.
      {"closed at once", Raw(""), Error(kUnknown)},
      {"closed in the status line", Raw("HTTP/1.1 20"), Error(kUnknown)},
      {"closed after the status line", Raw(kOk), Error(kUnknown)},
      {"closed in a header", Raw(kOk + "Content-Le"), Error(kUnknown)},
      {"closed before the body", Raw(kOk + "Content-Length: 5\r\n\r\n"), Error(kUnknown)},
      {"closed in a chunk's size", Raw(kChunked + "5"), Error(kUnknown)},
      {"closed in a chunk", Raw(kChunked + "5\r\nhel"), Error(kUnknown)},
      {"closed before the last chunk", Raw(kChunked + "5\r\nhello\r\n"), Error(kUnknown)},
      // No HTTP.
      {"HTTP/0.9", Raw("<html>hello</html>\r\n"), Error(kUnknown)},
      {"HTTP/0.9 with an empty line", Raw("<html>\r\n\r\n</html>\r\n"), Error(kProtocol)},
      {"the same length twice", Raw(kOk + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
       Error(kProtocol)},
      {"a length with a sign", Raw(kOk + "Content-Length: +2\r\n\r\nok"), Error(kProtocol)},
      {"HTTP/1.0", Raw("HTTP/1.0 200 OK\r\n\r\nok"), Answer(200, "ok")},
      {"a TLS record", Raw("\x16\x03\x03\x00\x02\x02\x28\r\n\r\n"s), Error(kProtocol)},
      {"HTTP/2", Raw("\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n"s), Error(kProtocol)},
      {"another server's greeting", Raw("220 mail.example ESMTP\r\n\r\n"), Error(kProtocol)},
  };
}

HttpRequest Get() { return {.method = "GET", .path = "/"}; }
HttpRequest Post() {
  return {.method = "POST", .path = "/send", .body = "{}", .content_type = "application/json"};
}

std::string Describe(const Result<HttpResponse>& result) {
  if (!result) return std::string(ToString(result.error().code)) + ": " + result.error().message;
  return std::to_string(result->status) + " " + result->body.substr(0, 40);
}
std::string Describe(const Outcome& outcome) {
  if (outcome.error) return ToString(*outcome.error);
  return std::to_string(outcome.status) + " " + outcome.body;
}
bool Fits(const Result<HttpResponse>& result, const Outcome& outcome) {
  if (outcome.error) return !result && result.error().code == *outcome.error;
  return result && result->status == outcome.status && result->body == outcome.body;
}

TEST(PlatformHostile, EachRawAnswerHasItsExactOutcome) {
  const std::vector<Case> table = Table();
  EXPECT_GE(table.size(), 30u);
  const EgressPolicy policy = {.insecure_loopback = true};
  for (const Case& each : table) {
    Hostile platform(each.response);
    auto client = HttpClient::Create(platform.origin(), policy, each.limits);
    ASSERT_TRUE(client);
    for (const HttpRequest& request : {Get(), Post()}) {
      const auto result = (*client)->Send(request, {});
      EXPECT_TRUE(Fits(result, each.outcome))
          << each.name << ", " << request.method << ": " << Describe(result) << ", not "
          << Describe(each.outcome);
    }
    // A read may be repeated once by the library; a write never.
    EXPECT_LE(platform.requests(), 3) << each.name;
  }
}

TEST(PlatformHostile, ARedirectLeadsNowhere) {
  Hostile inside(Raw(kOk + "Content-Length: 6\r\n\r\nsecret"));
  for (const std::string& target :
       {inside.origin() + "/", std::string("http://elsewhere.invalid/"),
        std::string("file:///etc/passwd"), std::string("//elsewhere.invalid/"), std::string("/")}) {
    for (const int status : {301, 302, 303, 307, 308}) {
      Hostile platform(Raw("HTTP/1.1 " + std::to_string(status) + " Moved\r\nLocation: " + target +
                           "\r\nContent-Length: 0\r\n\r\n"));
      auto client = HttpClient::Create(platform.origin(), {.insecure_loopback = true}, kPatient);
      ASSERT_TRUE(client);
      for (const HttpRequest& request : {Get(), Post()}) {
        const auto result = (*client)->Send(request, {});
        EXPECT_TRUE(Fits(result, Answer(status, ""))) << target << ": " << Describe(result);
      }
      EXPECT_LE(platform.requests(), 3);
    }
  }
  EXPECT_EQ(inside.connections(), 0u);
}

// ---- TLS

class CaFile {
 public:
  explicit CaFile(const std::string& pem) {
    const int fd = mkstemp(name_);
    if (fd < 0) std::abort();
    close(fd);
    std::ofstream(name_) << pem;
  }
  ~CaFile() { unlink(name_); }
  std::string path() const { return name_; }

 private:
  char name_[32] = "/tmp/mayfly-hostile-XXXXXX";
};

struct TlsCase {
  const char* name;
  testing::TlsServerOptions server;
  bool known_authority = true;
  Outcome outcome = Error(ErrorCode::kPlatformUnavailable);
};

TEST(PlatformHostile, EachTlsFailureIsCertainNotToHaveSentAnything) {
  using namespace std::string_literals;
  const std::vector<TlsCase> table = {
      {"an unknown authority", {}, false},
      {"another host's certificate", {.certificate_name = "DNS:other.example"}},
      {"the address's certificate, not the name's", {.certificate_name = "IP:127.0.0.1"}},
      {"a wildcard one level below", {.certificate_name = "DNS:*.localhost"}},
      {"an expired certificate", {.expired = true}},
      {"TLS 1.1", {.protocol_max = TLS1_1_VERSION}},
      {"silence instead of a handshake", {.never_shake_hands = true}},
      {"half a handshake", {.instead_of_handshake = "\x16\x03\x03\x40\x00\x02\x00"s}},
      {"an alert", {.instead_of_handshake = "\x15\x03\x03\x00\x02\x02\x28"s}},
      {"plain HTTP", {.instead_of_handshake = kOk + "Content-Length: 2\r\n\r\nok"}},
      {"garbage", {.instead_of_handshake = std::string(4'000, '\xa5')}},
  };
  for (const TlsCase& each : table) {
    testing::TlsServer server(each.server);
    const CaFile ca(server.ca_pem());
    const std::string host = "localhost:" + std::to_string(server.port());
    const EgressPolicy policy = {.private_hosts = {host},
                                 .ca_file = each.known_authority ? ca.path() : ""};
    auto client = HttpClient::Create("https://" + host, policy,
                                     each.server.never_shake_hands ? kHasty : kPatient);
    ASSERT_TRUE(client) << each.name;
    for (const HttpRequest& request : {Get(), Post()}) {
      const auto result = (*client)->Send(request, {});
      EXPECT_TRUE(Fits(result, each.outcome))
          << each.name << ", " << request.method << ": " << Describe(result);
    }
    EXPECT_EQ(server.requests(), 0) << each.name;
    EXPECT_GE(server.connections(), 1) << each.name;
  }
}

// ---- connectors

constexpr const char* kPlatforms[] = {
#define MAYFLY_CONNECTOR(name) #name,
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
};

// The account of the platform's simulator, with another server in its place.
ConnectorContext ContextFor(const std::string& platform, const std::string& origin) {
  testing::SimulatedClock clock(TimePoint(std::chrono::hours(500'000)));
  auto simulator = StartPlatformSimulator(platform, clock);
  if (!simulator) std::abort();
  ConnectorContext context;
  const PlatformSimulator::Office office = (*simulator)->office();
  context.options = office.options;
  for (auto& [name, value] : context.options) {
    if (value == (*simulator)->origin()) value = origin;
  }
  context.credential = office.credential;
  context.renew = [](const Credential&) -> Status {
    return Fail(ErrorCode::kIo, "nothing that a hostile platform gives is worth keeping");
  };
  context.egress.insecure_loopback = true;
  return context;
}

struct JsonCase {
  const char* name;
  std::string body;
};
std::vector<JsonCase> JsonTable() {
  using namespace std::string_literals;
  return {
      {"nothing", ""},
      {"white space", "   \n "},
      {"HTML", "<html></html>"},
      {"half an object", R"({"cursor":"a","logs":[)"},
      {"invalid UTF-8 in a key", "{\"\xff\xfe\":1}"},
      {"overlong UTF-8 in a key", "{\"\xc0\xaf\":1}"},
      {"a NUL outside of a string", "{\"a\":1}\0"s},
      {"a control character in a string", "{\"a\":\"\x01\"}"},
      {"100,000 levels of arrays", std::string(100'000, '[')},
      {"100,000 levels of objects", Repeated("{\"a\":", 100'000)},
      {"a key twice", R"({"error":"a","error":"b","id":"1","id":"2"})"},
      {"1e400", R"({"id":1e400})"},
      {"an integer of 300 digits", "{\"id\":" + std::string(300, '9') + "}"},
      {"NaN", R"({"id":NaN})"},
      {"a comment", "{/* */}"},
      {"a comma too much", "[1,]"},
      {"two documents", "{}{}"},
      {"a byte order mark", "\xef\xbb\xbf{}"},
      {"UTF-16", "\xff\xfe{\0}\0"s},
      {"a lone surrogate for a value", R"("\ud800")"},
      {"300,000 items", "[" + Repeated("0,", 300'000) + "0]"},
      {"every id a number", R"({"id":1,"did":2,"handle":3,"accessJwt":4,"refreshJwt":5})"},
      {"null", "null"},
      {"a number", "7"},
      {"a string", "\"words\""},
  };
}

TEST(PlatformHostile, PoisonedJsonIsATypedErrorOfEveryConnector) {
  for (const char* platform : kPlatforms) {
    for (const JsonCase& each : JsonTable()) {
      SCOPED_TRACE(std::string(platform) + ": " + each.name);
      SimulatorResponse response;
      response.body = each.body;
      Hostile server(response);
      auto connector = MakeConnector(platform, ContextFor(platform, server.origin()));
      ASSERT_TRUE(connector);
      const FetchRequest request = {.after = {}, .horizon = TimePoint(std::chrono::hours(400'000))};
      const auto page = (*connector)->Fetch(request, {});
      ASSERT_FALSE(page.has_value());
      EXPECT_EQ(page.error().code, kProtocol) << page.error().message;
      const auto report = (*connector)->Check({});
      ASSERT_FALSE(report.has_value());
      EXPECT_EQ(report.error().code, kProtocol) << report.error().message;
      EXPECT_LE(server.requests(), 8);
    }
  }
}

// ---- what may end a process

pid_t StartWorker(int from_core, int to_core) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const service::SupervisorOptions limits;
  const rlimit data = {limits.worker_data_bytes_max, limits.worker_data_bytes_max};
  const rlimit core = {0, 0};
  const int in = fcntl(from_core, F_DUPFD_CLOEXEC, 10);
  const int out = fcntl(to_core, F_DUPFD_CLOEXEC, 10);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if ((!mayfly::testing::kSanitized && setrlimit(RLIMIT_DATA, &data) != 0) ||
      setrlimit(RLIMIT_CORE, &core) != 0 || dup2(nowhere, STDERR_FILENO) < 0 ||
      dup2(in, service::kWorkerFromCoreFd) < 0 || dup2(out, service::kWorkerToCoreFd) < 0) {
    _exit(90);
  }
  const char* const arguments[] = {MAYFLY_WORKER, "--epoch", "9", nullptr};
  char* const environment[] = {nullptr};
  execve(arguments[0], const_cast<char* const*>(arguments), environment);
  _exit(91);
}

TEST(PlatformHostile, WhatMayEndAProcessEndsTheWorkerAlone) {
  const std::vector<std::pair<const char*, SimulatorResponse>> table = {
      {"chunk of -1000, endless", Stream(kChunked + "-1000\r\n", kFiller)},
      {"chunk of 7fffffff, endless", Stream(kChunked + "7fffffff\r\n", kFiller)},
      {"endless chunk size", Stream(kChunked, std::string(64 * 1024, '0'))},
      {"endless header", Stream(kOk + "X: ", kFiller)},
      {"endless headers", Stream(kOk, Repeated("X-Header: value\r\n", 4'000))},
      {"endless status line", Stream("HTTP/1.1 200 ", kFiller)},
      {"endless trailer", Stream(kChunked + "0\r\nX: ", kFiller)},
      {"endless body", Stream(kOk + "\r\n", kFiller)},
  };
  int ended = 0;
  for (const char* platform : kPlatforms) {
    for (const auto& [name, response] : table) {
      SCOPED_TRACE(std::string(platform) + ": " + name);
      Hostile server(response);
      testing::Pipe to;
      testing::Pipe from;
      const pid_t pid = StartWorker(to.read.get(), from.write.get());
      to.read.Reset();
      from.write.Reset();
      auto link = std::make_unique<service::WorkerLink>(
          service::WorkerPipes{to.write.Release(), from.read.Release(), 9},
          [](const Credential&) -> Status { return Fail(ErrorCode::kIo, "not in this test"); });
      ASSERT_TRUE(link->Hello(platform, ContextFor(platform, server.origin())));
      const auto page = link->Fetch({.after = {}, .horizon = TimePoint()});
      ASSERT_FALSE(page.has_value());
      const bool broken = link->broken();
      // The link's word for a worker that is gone, or the connector's for what it got.
      EXPECT_TRUE(page.error().code == ErrorCode::kPlatformUnavailable ||
                  (!broken && page.error().code == kProtocol))
          << ToString(page.error().code);
      link.reset();  // a worker that lives ends with it
      const auto status = testing::WaitForChild(pid);
      ASSERT_TRUE(status.has_value());
      if (broken) {
        ++ended;
        EXPECT_TRUE(WIFSIGNALED(*status) || WEXITSTATUS(*status) != 0);
        if (WIFSIGNALED(*status)) {
          const int by = WTERMSIG(*status);
          EXPECT_TRUE(by == SIGABRT || by == SIGTRAP || by == SIGKILL) << "signal " << by;
        }
      } else {
        EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
      }
    }
  }
  std::printf("[ workers  ] %d ended alone\n", ended);
  if (mayfly::testing::kSanitized) {
    std::printf("SKIPPED: workers have no memory limit under a sanitizer\n");
  } else {
    EXPECT_GT(ended, 0) << "nothing of this ends a worker any more: is the limit gone?";
  }
}

}  // namespace
}  // namespace mayfly::connectors

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // the TLS server writes to peers that have left
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
