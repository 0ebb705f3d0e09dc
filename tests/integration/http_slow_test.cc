// Clients that are slow, silent or too many, against the real listener in a process of its own:
// what they hold is given back, and others are served meanwhile. Deadlines are short; no test says
// how long anything took.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/api_tls_client.h"
#include "tests/support/server_child.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::Eventually;
using mayfly::testing::RawClient;
using mayfly::testing::ServerChild;
using mayfly::testing::ServerChildOptions;
using mayfly::testing::SmallApi;
using mayfly::testing::TlsClient;
using std::chrono::milliseconds;

constexpr int kCrowd = 200;
// Of a connection whose handshake has begun: the state of TLS, nearly all of it buffers. One that
// has sent nothing costs next to nothing.
constexpr std::size_t kConnectionBytesMax = 128u << 10;
const std::string kPing = "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n";
// The first bytes of a ClientHello that says 512 more will come.
const std::string kHalfHello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);

ServerChildOptions ForCrowds() {
  ServerChildOptions options;
  options.limits.connections_per_address_max = 2 * kCrowd + 10;
  return options;
}

class Slow : public ::testing::TestWithParam<bool> {
 protected:
  static std::unique_ptr<RawClient> Connect(const ServerChild& server) {
    if (!GetParam()) return std::make_unique<RawClient>(server.port());
    return std::make_unique<TlsClient>(server.tls_port());
  }
};

TEST_P(Slow, ManyDrippingHeadsEndAndKeepNobodyOut) {
  ServerChildOptions options = ForCrowds();
  options.limits.head_deadline = milliseconds(1'500);
  options.limits.handshake_deadline = milliseconds(20'000);
  ServerChild server(options);
  ASSERT_EQ(Connect(server)->Ask(kPing)->status, 200);
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
  const std::size_t descriptors = server.Descriptors();
  std::vector<std::unique_ptr<RawClient>> crowd;
  for (int i = 0; i < kCrowd; ++i) {
    crowd.push_back(Connect(server));
    crowd.back()->Send("GET /v1/ping HTTP/1.1\r\nX-A:");
  }
  EXPECT_EQ(Connect(server)->Ask(kPing)->status, 200);
  int told = 0;  // a late byte may meet a closed socket and take the answer away
  for (const auto& client : crowd) {
    client->Send(" ");  // still dripping
    const auto answer = client->Read();
    if (answer) {
      EXPECT_EQ(answer->status, 408);
      ++told;
    }
    client->HalfClose();
    EXPECT_EQ(client->ReadToEnd(), "");
  }
  EXPECT_GT(told, 0);
  crowd.clear();
  EXPECT_TRUE(Eventually([&] { return server.Descriptors() == descriptors; }));
}

TEST_P(Slow, IdleConnectionsAreClosed) {
  ServerChildOptions options = ForCrowds();
  options.limits.idle_deadline = milliseconds(1'500);
  ServerChild server(options);
  ASSERT_EQ(Connect(server)->Ask(kPing)->status, 200);
  const std::size_t before = server.Resident();
  std::vector<std::unique_ptr<RawClient>> crowd;
  for (int i = 0; i < kCrowd; ++i) {
    crowd.push_back(Connect(server));
    ASSERT_EQ(crowd.back()->Ask(kPing)->status, 200);
  }
  const std::size_t peak = server.ResidentPeak();
  std::printf("%d idle connections %s: resident %zu KiB before, %zu KiB at the peak\n", kCrowd,
              GetParam() ? "through TLS" : "in the clear", before >> 10, peak >> 10);
  mayfly::testing::ExpectGrowthBelow(before, peak, kCrowd * kConnectionBytesMax);
  for (const auto& client : crowd) EXPECT_EQ(client->ReadToEnd(), "");
  EXPECT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
}

TEST_P(Slow, ABodyThatStopsGetsItsAnswer) {
  ServerChildOptions options;
  options.limits.body_deadline = milliseconds(300);
  ServerChild server(options);
  const auto client = Connect(server);
  client->Send(
      "POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
      "Content-Length: 10\r\n\r\n12");
  const auto answer = client->Read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_EQ(answer->Header("connection"), "close");
}

TEST_P(Slow, AReaderThatStallsIsCut) {
  ServerChildOptions options;
  options.limits.write_deadline = milliseconds(300);
  ServerChild server(options);
  const auto client = Connect(server);
  client->Send("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return server.Counters().refused_limits == 1; }));
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
  EXPECT_LT(client->ReadToEnd().size(), SmallApi::kBigBytes);
}

TEST_P(Slow, AReaderWhoReadsGetsABigAnswerWhole) {
  ServerChild server;
  const auto answer = Connect(server)->Ask("GET /v1/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, std::string(SmallApi::kBigBytes, 'b'));
}

TEST_P(Slow, DrainFinishesWhatIsUnderWayAndClosesTheRest) {
  ServerChild server;
  const auto idle = Connect(server), busy = Connect(server), silent = Connect(server);
  ASSERT_EQ(idle->Ask(kPing)->status, 200);
  busy->Send("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
  server.AwaitSlow();
  server.BeginDrain();
  EXPECT_EQ(idle->ReadToEnd(), "");
  server.ReleaseSlow();
  const auto answer = busy->Read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "{\"slow\":true}");
  busy->HalfClose();
  EXPECT_EQ(busy->ReadToEnd(), "");
  EXPECT_EQ(silent->ReadToEnd(), "");
  EXPECT_EQ(server.WaitForEnd(), 0);
}

INSTANTIATE_TEST_SUITE_P(Listener, Slow, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Tls" : "Plain"; });

TEST(SlowHandshake, ThoseWhoNeverBeginOrStopHalfWayGiveEverythingBack) {
  ServerChildOptions options = ForCrowds();
  options.limits.handshake_deadline = milliseconds(3'000);
  ServerChild server(options);
  {
    TlsClient warm(server.tls_port());
    ASSERT_EQ(warm.Ask(kPing)->status, 200);
  }
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
  const std::size_t descriptors = server.Descriptors();
  const std::size_t before = server.Resident();
  std::vector<RawClient> silent, half;
  for (int i = 0; i < kCrowd; ++i) silent.emplace_back(server.tls_port());
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == std::size_t{kCrowd}; }));
  const std::size_t with_silent = server.Resident();
  for (int i = 0; i < kCrowd; ++i) {
    half.emplace_back(server.tls_port());
    half.back().Send(kHalfHello);
  }
  {
    TlsClient meanwhile(server.tls_port());
    ASSERT_TRUE(meanwhile.secure());
    EXPECT_EQ(meanwhile.Ask(kPing)->status, 200);
  }
  // The clients stay: it is the server that lets go.
  EXPECT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
  EXPECT_TRUE(Eventually([&] { return server.Descriptors() == descriptors; }));
  EXPECT_EQ(server.Counters().refused_limits, 2u * kCrowd);
  for (RawClient& client : silent) EXPECT_EQ(client.ReadToEnd(), "");
  for (RawClient& client : half) EXPECT_EQ(client.ReadToEnd(), "");
  const std::size_t peak = server.ResidentPeak();
  std::printf(
      "resident: %zu KiB, with %d silent clients %zu KiB, with %d half handshakes besides "
      "%zu KiB at the peak\n",
      before >> 10, kCrowd, with_silent >> 10, kCrowd, peak >> 10);
  mayfly::testing::ExpectGrowthBelow(before, with_silent, kCrowd * (16u << 10));
  mayfly::testing::ExpectGrowthBelow(with_silent, peak, kCrowd * kConnectionBytesMax);
}

TEST(SlowHandshake, CountsAgainstTheCaps) {
  ServerChildOptions options;
  options.limits.connections_per_address_max = 3;
  ServerChild server(options);
  std::vector<RawClient> held;
  for (int i = 0; i < 3; ++i) held.emplace_back(server.tls_port());
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 3; }));
  // Through TLS there is nothing that we could say without a handshake.
  EXPECT_EQ(RawClient(server.tls_port()).ReadToEnd(), "");
  EXPECT_EQ(RawClient(server.port()).ReadToEnd().substr(0, 12), "HTTP/1.1 503");
  held.clear();
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 0; }));
  EXPECT_EQ(TlsClient(server.tls_port()).Ask(kPing)->status, 200);
}

TEST(SlowHandshake, IsCutByADrain) {
  ServerChild server;
  RawClient half(server.tls_port());
  half.Send(kHalfHello);
  ASSERT_TRUE(Eventually([&] { return server.Counters().open == 1; }));
  server.BeginDrain();
  EXPECT_EQ(half.ReadToEnd(), "");
  EXPECT_EQ(server.WaitForEnd(), 0);
}

TEST(Descriptors, RunningOutOfThemDoesNotSpinAndPasses) {
  if (mayfly::testing::kSanitized)
    GTEST_SKIP() << "a sanitizer takes descriptors to look at memory";
  ServerChildOptions options = ForCrowds();
  options.descriptors_max = 48;
  ServerChild server(options);
  RawClient early(server.port());
  ASSERT_EQ(early.Ask(kPing)->status, 200);
  std::vector<RawClient> crowd;
  for (int i = 0; i < 100; ++i) crowd.emplace_back(server.port());
  ASSERT_TRUE(Eventually([&] { return server.Counters().accept_failures >= 1; }));
  // A pause of 100 ms between two failures: a dozen of them is more than a second.
  const auto started = std::chrono::steady_clock::now();
  const milliseconds used_before = server.ProcessorTime();
  EXPECT_TRUE(Eventually([&] { return server.Counters().accept_failures >= 12; }));
  const auto elapsed =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started);
  const double ratio =
      static_cast<double>((server.ProcessorTime() - used_before).count()) / elapsed.count();
  std::printf("processor time without descriptors: %.3f of a core\n", ratio);
  EXPECT_LT(ratio, 0.5);  // the test's own questions included
  EXPECT_EQ(early.Ask(kPing)->status, 200);
  crowd.clear();
  EXPECT_EQ(RawClient(server.port()).Ask(kPing)->status, 200);
  EXPECT_EQ(TlsClient(server.tls_port()).Ask(kPing)->status, 200);
}

}  // namespace
}  // namespace mayfly::service::api
