// TLS on the listener: what is spoken and what is not, which pairs are taken, renewal while it
// runs, and clients behind a proxy.
#include "service/api/tls.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "service/api/peer.h"
#include "tests/support/api_tls_client.h"
#include "tests/support/server_child.h"

namespace mayfly::service::api {
namespace {

namespace fs = std::filesystem;
using mayfly::testing::AroundNow;
using mayfly::testing::KeyPtr;
using mayfly::testing::MakeCertificate;
using mayfly::testing::MakeKey;
using mayfly::testing::MakePemPair;
using mayfly::testing::Must;
using mayfly::testing::PemPair;
using mayfly::testing::RawClient;
using mayfly::testing::ServerChild;
using mayfly::testing::ServerChildOptions;
using mayfly::testing::TemporaryDirectory;
using mayfly::testing::TlsClient;
using mayfly::testing::TlsClientOptions;
using mayfly::testing::ToPem;
using mayfly::testing::Validity;
using mayfly::testing::WritePemPair;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kPing = "GET /v1/ping HTTP/1.1\r\nHost: a\r\n\r\n";
const TimePoint kNow = *ParseRfc3339("2026-11-22T12:00:00Z");
const Validity kMonth = {kNow - std::chrono::hours(24), kNow + std::chrono::hours(24 * 30)};

void Write(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::trunc) << text;
}

// --- what is spoken

TEST(TlsProtocol, OnePointTwoAndOnePointThreeAreSpokenAndNothingOlder) {
  ServerChild server;
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    TlsClient old(server.tls_port(), {.protocol_max = version});
    EXPECT_FALSE(old.secure()) << version;
  }
  TlsClient two(server.tls_port(), {.protocol_max = TLS1_2_VERSION});
  EXPECT_EQ(two.protocol(), "TLSv1.2");
  EXPECT_THAT(two.cipher(), HasSubstr("ECDHE"));
  EXPECT_EQ(two.Ask(kPing)->status, 200);
  TlsClient three(server.tls_port());
  EXPECT_EQ(three.protocol(), "TLSv1.3");
  EXPECT_EQ(three.Ask(kPing)->status, 200);
  EXPECT_EQ(server.Counters().refused_handshakes, 2u);
}

TEST(TlsProtocol, SessionsAreNeitherKeptNorGivenOut) {
  ServerChild server;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(server.tls_port(), {.protocol_max = version});
    ASSERT_EQ(client.Ask(kPing)->status, 200);
    SSL_SESSION* session = SSL_get0_session(client.ssl());
    EXPECT_EQ(SSL_SESSION_has_ticket(session), 0) << version;
    EXPECT_EQ(SSL_SESSION_is_resumable(session), 0) << version;
    EXPECT_EQ(SSL_get_current_compression(client.ssl()), nullptr);
  }
}

TEST(TlsProtocol, RenegotiationIsRefused) {
  ServerChild server;
  TlsClient client(server.tls_port(), {.protocol_max = TLS1_2_VERSION});
  ASSERT_EQ(client.Ask(kPing)->status, 200);
  ASSERT_EQ(SSL_renegotiate(client.ssl()), 1);  // asks; the server says no, and that ends it
  EXPECT_NE(SSL_do_handshake(client.ssl()), 1);
  EXPECT_EQ(TlsClient(server.tls_port()).Ask(kPing)->status, 200);
}

TEST(TlsProtocol, Http11IsWhatIsAgreedOnAndH2AloneIsRefused) {
  ServerChild server;
  EXPECT_EQ(TlsClient(server.tls_port(), {.alpn = "\x02h2\x08http/1.1"}).alpn(), "http/1.1");
  EXPECT_EQ(TlsClient(server.tls_port()).alpn(), "");
  EXPECT_FALSE(TlsClient(server.tls_port(), {.alpn = "\x02h2"}).secure());
}

TEST(TlsProtocol, AnAnswerSaysThatNothingWasCutOff) {
  ServerChild server;
  TlsClient client(server.tls_port());
  const auto answer = client.Ask("GET /v1/ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->Header("strict-transport-security"), "max-age=31536000");
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(client.closed_in_order());
}

struct Opening {
  const char* name;
  std::string bytes;
  const char* answer;  // how what comes back begins; "\x15" is an alert
};

TEST(TlsProtocol, WhatIsNoTlsGetsItsAnswerAndIsClosed) {
  using namespace std::string_literals;
  ServerChild server;
  const Opening openings[] = {
      {"HTTP", kPing, "HTTP/1.1 400 "},
      {"half of HTTP", "G", "HTTP/1.1 400 "},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 "},
      {"SSH", "SSH-2.0-x\r\n", "HTTP/1.1 400 "},
      {"NUL bytes", std::string(100, '\0'), "HTTP/1.1 400 "},
      {"SSL 2 hello", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"s, "HTTP/1.1 400 "},
      {"application data first", "\x17\x03\x03\x00\x05hello"s, "HTTP/1.1 400 "},
      {"alert first", "\x15\x03\x03\x00\x02\x02\x28"s, "HTTP/1.1 400 "},
      {"record of 17 KiB", "\x16\x03\x01\x44\x00"s + std::string(17 << 10, 'x'), "\x15"},
      {"empty record", "\x16\x03\x01\x00\x00"s + std::string(20, '\x16'), "\x15"},
      {"no hello in it", "\x16\x03\x01\x00\x05hello"s, "\x15"},
      {"hello of SSL 3", "\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00"s + std::string(39, '\0'),
       "\x15"},
      {"hello without ciphers",
       "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03"s + std::string(39, '\0'), "\x15"},
      {"hello longer than any", "\x16\x03\x01\x00\x09\x01\xff\xff\xff\x03\x03\x00\x00\x00"s,
       "\x15"},
      {"hello cut short", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, ""},
      {"one byte", "\x16"s, ""},
      {"nothing", "", ""},
  };
  for (const Opening& one : openings) {
    SCOPED_TRACE(one.name);
    RawClient client(server.tls_port());
    client.Send(one.bytes);
    client.HalfClose();
    const std::string answer = client.ReadToEnd();
    EXPECT_EQ(answer.substr(0, std::string(one.answer).size()), one.answer);
    EXPECT_EQ(answer.empty(), std::string(one.answer).empty());
    EXPECT_THAT(answer, Not(HasSubstr("pong")));
    EXPECT_EQ(TlsClient(server.tls_port()).Ask(kPing)->status, 200);
  }
}

// --- which pairs are taken

class TlsPairTest : public ::testing::Test {
 protected:
  TlsPairTest() { WritePemPair(directory_.path(), MakePemPair(kMonth)); }

  std::string Refusal(TimePoint now = kNow) {
    const auto pair = LoadTlsPair(files_, now);
    if (pair) return "";
    EXPECT_EQ(pair.error().code, ErrorCode::kInvalidArgument);
    return pair.error().message;
  }
  void ExpectRefused(const char* sentence, const fs::path& named) {
    const std::string message = Refusal();
    EXPECT_THAT(message, HasSubstr(sentence));
    EXPECT_THAT(message, HasSubstr(named.string() + ": "));
    EXPECT_THAT(message, Not(HasSubstr("BEGIN")));
  }

  TemporaryDirectory directory_;
  const TlsFiles files_{directory_.path() / "fullchain.pem", directory_.path() / "privkey.pem"};
};

TEST_F(TlsPairTest, AGoodPairTellsWhenItExpires) {
  const auto pair = LoadTlsPair(files_, kNow);
  ASSERT_TRUE(pair) << pair.error().message;
  EXPECT_EQ(pair->expires_at, kMonth.until);
}

TEST_F(TlsPairTest, TheKeyIsPrivateOrIsNotTaken) {
  for (const mode_t open : {0440, 0404, 0640, 0604, 0444, 0660, 0666, 0601}) {
    ASSERT_EQ(::chmod(files_.private_key.c_str(), open), 0);
    ExpectRefused("chmod 0400", files_.private_key);
  }
  for (const mode_t closed : {0400, 0600}) {
    ASSERT_EQ(::chmod(files_.private_key.c_str(), closed), 0);
    EXPECT_EQ(Refusal(), "");
  }
  // Through a link as well: it is the file that counts.
  fs::rename(files_.private_key, directory_.path() / "real.pem");
  fs::create_symlink("real.pem", files_.private_key);
  EXPECT_EQ(Refusal(), "");
  ASSERT_EQ(::chmod((directory_.path() / "real.pem").c_str(), 0644), 0);
  ExpectRefused("chmod 0400", files_.private_key);
}

TEST_F(TlsPairTest, AKeyOfSomebodyElseIsNotTaken) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(::chown(files_.private_key.c_str(), 65'534, 65'534), 0);
  ExpectRefused("chown", files_.private_key);
}

TEST_F(TlsPairTest, FilesThatAreNotThereOrNoFiles) {
  fs::remove(files_.private_key);
  ExpectRefused("cannot be read", files_.private_key);
  fs::create_directory(files_.private_key);
  ExpectRefused("not a regular file", files_.private_key);
  fs::remove(files_.certificate);
  ExpectRefused("cannot be read", files_.certificate);
  ASSERT_EQ(::mkfifo(files_.certificate.c_str(), 0600), 0);  // and nobody waits for a writer
  ExpectRefused("not a regular file", files_.certificate);
}

TEST_F(TlsPairTest, WhatIsInThemMustBeWhatTheyAreFor) {
  const PemPair good = MakePemPair(kMonth);
  Write(files_.certificate, "not PEM");
  ExpectRefused("holds no certificate", files_.certificate);
  Write(files_.certificate, good.private_key);
  ExpectRefused("holds no certificate", files_.certificate);
  Write(files_.certificate, good.certificate.substr(0, good.certificate.size() / 2));
  ExpectRefused("holds no certificate", files_.certificate);
  Write(files_.certificate, good.certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n");
  ExpectRefused("damaged", files_.certificate);
  Write(files_.certificate, std::string(300 << 10, 'x'));
  ExpectRefused("256 KiB", files_.certificate);
  Write(files_.certificate, good.certificate);
  ExpectRefused("does not belong to the certificate", files_.private_key);
  Write(files_.private_key, good.certificate);
  ExpectRefused("holds no private key", files_.private_key);
  Write(files_.private_key, good.private_key.substr(0, 60));
  ExpectRefused("holds no private key", files_.private_key);
  Write(files_.private_key, good.private_key);
  EXPECT_EQ(Refusal(), "");
}

TEST_F(TlsPairTest, AKeyWithAPasswordIsRefusedAndNobodyIsAsked) {
  const KeyPtr key = MakeKey();
  Write(files_.certificate,
        ToPem(MakeCertificate("a", key.get(), nullptr, key.get(), "", kMonth).get()));
  Write(files_.private_key, ToPem(key.get(), "secret"));
  ExpectRefused("without a password", files_.private_key);
}

TEST_F(TlsPairTest, AWeakCertificateIsRefused) {
  const KeyPtr weak(Must(EVP_RSA_gen(1024), "key"));
  Write(files_.certificate,
        ToPem(MakeCertificate("a", weak.get(), nullptr, weak.get(), "", kMonth).get()));
  Write(files_.private_key, ToPem(weak.get()));
  ExpectRefused("too weak", files_.certificate);
}

TEST_F(TlsPairTest, AChainIsShownWhole) {
  const KeyPtr ca_key = MakeKey(), key = MakeKey();
  const auto ca = MakeCertificate("ca", ca_key.get(), nullptr, ca_key.get(), "", kMonth);
  const auto leaf = MakeCertificate("leaf", key.get(), ca.get(), ca_key.get(), "", kMonth);
  Write(files_.certificate, ToPem(leaf.get()) + ToPem(ca.get()));
  Write(files_.private_key, ToPem(key.get()));
  EXPECT_EQ(Refusal(), "");
}

TEST_F(TlsPairTest, DatesAreKeptByReloadAndToldByLoad) {
  EXPECT_THAT(Refusal(kMonth.from - std::chrono::seconds(1)), HasSubstr("not yet valid"));
  TlsCertificates certificates(files_);
  EXPECT_EQ(certificates.current(), nullptr);
  // Already expired when the service starts: shown all the same, so that the port is not dead.
  EXPECT_TRUE(certificates.Load(kMonth.until));
  EXPECT_NE(certificates.current(), nullptr);
  EXPECT_FALSE(certificates.Reload(kMonth.until));
  EXPECT_TRUE(certificates.view().last_reload_failed);
  EXPECT_TRUE(certificates.Reload(kMonth.until - std::chrono::seconds(1)));
  EXPECT_FALSE(certificates.view().last_reload_failed);
  EXPECT_EQ(certificates.view().reloads, 1u);
  EXPECT_EQ(certificates.view().reload_failures, 1u);
  EXPECT_EQ(certificates.view().expires_at, kMonth.until);
}

// --- renewal

TEST(TlsReload, NewHandshakesGetTheNewPairAndConnectionsGoOn) {
  ServerChild server;
  TlsClient before(server.tls_port());
  ASSERT_EQ(before.Ask(kPing)->status, 200);
  const PemPair next = MakePemPair(AroundNow());
  WritePemPair(server.directory(), next);
  EXPECT_NE(TlsClient(server.tls_port()).certificate(), next.certificate);  // nobody asked yet
  ASSERT_TRUE(server.Reload());
  EXPECT_EQ(TlsClient(server.tls_port()).certificate(), next.certificate);
  EXPECT_EQ(before.Ask(kPing)->status, 200);
}

TEST(TlsReload, APairThatIsNotUsableChangesNothing) {
  ServerChild server;
  const std::string shown = TlsClient(server.tls_port()).certificate();
  const PemPair one = MakePemPair(AroundNow()), other = MakePemPair(AroundNow());
  const TimePoint now = SystemClock().Now();
  const PemPair past = MakePemPair({now - std::chrono::hours(48), now - std::chrono::hours(24)});
  const PemPair future = MakePemPair({now + std::chrono::hours(24), now + std::chrono::hours(48)});
  for (const PemPair& pair : {PemPair{one.certificate, other.private_key}, past, future,
                              PemPair{"", ""}, PemPair{one.certificate, "rubbish"}}) {
    WritePemPair(server.directory(), pair);
    EXPECT_FALSE(server.Reload());
    EXPECT_EQ(TlsClient(server.tls_port()).certificate(), shown);
  }
  WritePemPair(server.directory(), one);
  ASSERT_EQ(::chmod((server.directory() / "privkey.pem").c_str(), 0644), 0);
  EXPECT_FALSE(server.Reload());
  ASSERT_EQ(::chmod((server.directory() / "privkey.pem").c_str(), 0600), 0);
  EXPECT_TRUE(server.Reload());
  EXPECT_EQ(TlsClient(server.tls_port()).certificate(), one.certificate);
}

// Under the walls of the core: the system call filter, and Landlock on the directory. The pair is
// replaced by rename, as WritePemPair does.
TEST(TlsReload, WorksInsideTheCoresSandbox) {
  ServerChildOptions options;
  options.core_sandbox = true;
  ServerChild server(options);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(server.tls_port(), {.protocol_max = version});
    ASSERT_TRUE(client.secure());
    EXPECT_EQ(client.Ask(kPing)->status, 200);
    const PemPair next = MakePemPair(AroundNow());
    WritePemPair(server.directory(), next);
    ASSERT_TRUE(server.Reload());
    EXPECT_EQ(TlsClient(server.tls_port()).certificate(), next.certificate);
  }
  EXPECT_EQ(RawClient(server.port()).Ask(kPing)->status, 200);
  server.BeginDrain();
  EXPECT_EQ(server.WaitForEnd(), 0);
}

TEST(TlsDirectories, AreThoseOfTheNamesAndOfTheFiles) {
  TemporaryDirectory directory;
  const fs::path live = directory.path() / "live", archive = directory.path() / "archive";
  fs::create_directories(live);
  fs::create_directories(archive);
  for (const char* name : {"fullchain", "privkey"}) {
    Write(archive / (std::string(name) + "1.pem"), "x");
    fs::create_symlink("../archive/" + std::string(name) + "1.pem",
                       live / (std::string(name) + ".pem"));
  }
  EXPECT_EQ(TlsDirectories({live / "fullchain.pem", live / "privkey.pem"}),
            (std::vector<fs::path>{live, archive}));
  EXPECT_EQ(TlsDirectories({archive / "fullchain1.pem", archive / "privkey1.pem"}),
            (std::vector<fs::path>{archive}));
}

// --- proxies

std::string From(const std::string& fields) {
  return "GET /v1/client HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
std::string KeyOf(const char* address) { return ToHex(CountingKey(*ParseIpAddress(address))); }

TEST(Proxies, WithoutTheSettingForwardedFieldsSayNothing) {
  ServerChild server;
  EXPECT_EQ(RawClient(server.port()).Ask(From("X-Forwarded-For: 192.0.2.1\r\n"))->body,
            KeyOf("127.0.0.1"));
}

TEST(Proxies, ATrustedOneNamesTheClient) {
  ServerChildOptions options;
  options.trusted_proxies = {*ParseIpAddress("127.0.0.1"), *ParseIpAddress("10.0.0.8")};
  ServerChild server(options);
  RawClient proxy(server.port());
  const auto body = [&](const std::string& fields) { return proxy.Ask(From(fields))->body; };
  EXPECT_EQ(body(""), KeyOf("127.0.0.1"));
  EXPECT_EQ(body("X-Forwarded-For: 192.0.2.1\r\n"), KeyOf("192.0.2.1"));
  EXPECT_EQ(body("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.2, 10.0.0.8\r\n"),
            KeyOf("192.0.2.2"));
  EXPECT_EQ(body("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"), KeyOf("192.0.2.1"));
  for (const char* fields : {"X-Forwarded-For: unknown\r\n", "X-Forwarded-Proto: http\r\n",
                             "X-Forwarded-Proto: HTTPS, http\r\n"}) {
    const auto refused = RawClient(server.port()).Ask(From(fields));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->status, 400) << fields;
    EXPECT_EQ(refused->Header("connection"), "close");
  }
}

TEST(Proxies, TheCapIsOnRequestsUnderWayForEachClientAndNotOnTheProxy) {
  ServerChildOptions options;
  options.trusted_proxies = {*ParseIpAddress("127.0.0.1")};
  options.limits.connections_per_address_max = 2;
  ServerChild server(options);
  const auto ask = [](const std::string& target, const std::string& client) {
    return "GET " + target + " HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + client + "\r\n\r\n";
  };
  std::vector<RawClient> connections;  // more than the cap: they are the proxy's
  for (int i = 0; i < 6; ++i) connections.emplace_back(server.port());
  for (RawClient& one : connections) {
    EXPECT_EQ(one.Ask(ask("/v1/ping", "192.0.2.1"))->status, 200);
  }
  connections[0].Send(ask("/v1/slow", "192.0.2.1"));
  server.AwaitSlow();
  connections[1].Send(ask("/v1/slow", "192.0.2.1"));
  // Until the second of the two is under way, a third may pass.
  EXPECT_TRUE(mayfly::testing::Eventually(
      [&] { return RawClient(server.port()).Ask(ask("/v1/ping", "192.0.2.1"))->status == 503; }));
  EXPECT_EQ(connections[2].Ask(ask("/v1/ping", "192.0.2.2"))->status, 200);
  server.ReleaseSlow();
  EXPECT_EQ(connections[0].Read()->status, 200);
  EXPECT_EQ(connections[1].Read()->status, 200);
  // Each counts until its connection waits for the next request.
  EXPECT_TRUE(mayfly::testing::Eventually(
      [&] { return RawClient(server.port()).Ask(ask("/v1/ping", "192.0.2.1"))->status == 200; }));
}

TEST(Proxies, WhereOnlyTheyMayComeOthersAreClosed) {
  ServerChildOptions options;
  options.trusted_proxies = {*ParseIpAddress("192.0.2.7")};
  options.proxies_only = true;
  ServerChild server(options);
  EXPECT_EQ(RawClient(server.port()).ReadToEnd(), "");
  EXPECT_EQ(server.Counters().refused_limits, 1u);
  // Through TLS everybody may come.
  EXPECT_EQ(TlsClient(server.tls_port()).Ask(kPing)->status, 200);
}

}  // namespace
}  // namespace mayfly::service::api
