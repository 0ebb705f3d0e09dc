// TLS on the real service: a certificate that is renewed under it as certbot does, by signal and by
// command, inside the sandbox; pairs that are not usable; refusals at the start.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/api_tls_client.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
const std::string kHealth = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

std::string Bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

PemPair PairFor(int days) {
  return MakePemPair({kStart - std::chrono::hours(24), kStart + std::chrono::hours(24 * days)});
}

class Renewal : public ::testing::Test {
 protected:
  Renewal() : service_(kStart) {
    fs::create_directories(live());
    std::ofstream(service_.config_file(), std::ios::app)
        << "\n[http.tls]\ncertificate = \"letsencrypt/live/a.example/fullchain.pem\"\n"
           "private_key = \"letsencrypt/live/a.example/privkey.pem\"\n";
  }

  fs::path live() const { return service_.dir() / "letsencrypt/live/a.example"; }
  fs::path archive() const { return service_.dir() / "letsencrypt/archive/a.example"; }

  // New files in the archive, then the links are turned to them.
  void Renew(const PemPair& pair) {
    const std::string number = std::to_string(++renewals_);
    const fs::path draft = service_.dir() / "draft";
    fs::create_directories(draft);
    fs::create_directories(archive());
    WritePemPair(draft, pair);
    for (const std::string name : {"privkey", "fullchain"}) {
      fs::rename(draft / (name + ".pem"), archive() / (name + number + ".pem"));
      const fs::path link = live() / (name + ".pem.new");
      fs::create_symlink("../../archive/a.example/" + name + number + ".pem", link);
      fs::rename(link, live() / (name + ".pem"));
    }
  }
  std::uint16_t Port() const {
    const std::string start = "https://127.0.0.1:";
    const std::string addresses = Bytes(service_.dir() / "run" / "api.addresses");
    const std::size_t at = addresses.find(start);
    EXPECT_NE(at, std::string::npos) << addresses;
    return static_cast<std::uint16_t>(std::atoi(addresses.c_str() + at + start.size()));
  }
  std::string Shown() const { return TlsClient(Port()).certificate(); }
  RunResult Command(std::vector<std::string> words) const {
    words.insert(words.begin(), ProgramDir() + "/mayfly-demo");
    for (const fs::path& word : {fs::path("--config"), service_.config_file(),
                                 fs::path("--clock-file"), service_.dir() / "clock"}) {
      words.push_back(word.string());
    }
    return RunProgram(words);
  }

  ServiceProcess service_;
  int renewals_ = 0;
};

TEST_F(Renewal, ByLinkIsTakenByCommandAndBySignalWhileConnectionsGoOn) {
  const PemPair first = PairFor(30), second = PairFor(60), third = PairFor(90);
  Renew(first);
  service_.Start();
  EXPECT_EQ(Shown(), first.certificate);
  TlsClient early(Port());
  EXPECT_EQ(early.Ask(kHealth)->status, 200);
  const pid_t core = service_.CorePid().value();

  Renew(second);
  const RunResult reload = Command({"reload"});
  EXPECT_EQ(reload.exit_code, 0) << reload.err;
  EXPECT_THAT(reload.out, HasSubstr("\"mode\":\"tls\""));
  EXPECT_THAT(reload.out, HasSubstr("\"certificate_expires_at\":\"2027-01-21T12:00:00.000Z\""));
  EXPECT_EQ(Shown(), second.certificate);
  EXPECT_EQ(early.Ask(kHealth)->status, 200);

  Renew(third);
  ::kill(service_.supervisor(), SIGHUP);
  EXPECT_TRUE(Eventually([&] { return Shown() == third.certificate; }, 30));
  EXPECT_EQ(early.Ask(kHealth)->status, 200);
  EXPECT_EQ(service_.CorePid(), core);
  EXPECT_EQ(service_.Stop(), 0);
  EXPECT_THAT(service_.Log(), HasSubstr("tls.reloaded"));
}

TEST_F(Renewal, ByAPairThatIsNotUsableKeepsTheOldOneAndIsTold) {
  const PemPair good = PairFor(30), other = PairFor(30), past = PairFor(0);
  Renew(good);
  service_.Start();
  service_.MakeTokens();
  const auto metrics = [&] { return service_.Ask("operator", "GET", "/metrics").body; };
  EXPECT_THAT(metrics(), HasSubstr("mayfly_tls_certificate_expires_seconds 2"));  // 2,59x,xxx
  EXPECT_THAT(metrics(), HasSubstr("mayfly_tls_reload_failures_total 0"));

  Renew(past);
  const RunResult expired = Command({"reload"});
  EXPECT_EQ(expired.exit_code, 1);
  EXPECT_THAT(expired.err, HasSubstr("has expired"));
  Renew({good.certificate, other.private_key});
  const RunResult mismatch = Command({"reload"});
  EXPECT_EQ(mismatch.exit_code, 1);
  EXPECT_THAT(mismatch.err, HasSubstr("does not belong to the certificate"));
  Renew({"rubbish", "rubbish"});
  ::kill(service_.supervisor(), SIGHUP);
  EXPECT_TRUE(Eventually(
      [&] { return metrics().find("mayfly_tls_reload_failures_total 3") != std::string::npos; },
      30));
  EXPECT_EQ(Shown(), good.certificate);
  EXPECT_EQ(service_.Ask("", "GET", "/readyz").status, 200);  // it serves
  const RunResult status = Command({"status"});
  EXPECT_THAT(status.out, HasSubstr("\"last_reload_failed\":true"));
  EXPECT_THAT(service_.Log(), HasSubstr("tls.reload-failed"));

  service_.clock().Set(kStart + std::chrono::hours(24 * 31), 1.0);
  const Answer late = service_.Ask("", "GET", "/readyz");
  EXPECT_EQ(late.status, 503);
  EXPECT_THAT(late.body, HasSubstr("certificate-expired"));
  EXPECT_THAT(metrics(), HasSubstr("mayfly_tls_certificate_expires_seconds -"));
  EXPECT_EQ(Shown(), good.certificate);
  service_.Stop();
}

// Expiry must not depend on the renewal of a certificate.
TEST_F(Renewal, ACoreThatRestartsWithoutAUsablePairServesWhatNeedsNone) {
  Renew(PairFor(30));
  service_.Start();
  Renew({"rubbish", "rubbish"});
  const pid_t before = service_.CorePid().value();
  ASSERT_TRUE(service_.KillCore());
  ASSERT_TRUE(Eventually(
      [&] {
        const auto now = service_.CorePid();
        return now && *now != before &&
               service_.Ask("", "GET", "/readyz").body.find("certificate-missing") !=
                   std::string::npos;
      },
      30));
  EXPECT_FALSE(TlsClient(Port()).secure());
  const PemPair good = PairFor(30);
  Renew(good);
  const RunResult reload = Command({"reload"});
  EXPECT_EQ(reload.exit_code, 0) << reload.err;
  EXPECT_EQ(Shown(), good.certificate);
  EXPECT_EQ(service_.Ask("", "GET", "/readyz").status, 200);
  EXPECT_EQ(service_.Stop(), 0);
}

TEST_F(Renewal, TheStartIsRefusedWithAPairThatIsNotUsable) {
  const auto serve = [&] {
    const RunResult refused = Command({"serve"});
    EXPECT_EQ(refused.exit_code, 78) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr(service_.config_file().string() + ": http.tls: "));
    return refused.err;
  };
  EXPECT_THAT(serve(), HasSubstr("cannot be read"));
  Renew(PairFor(30));
  ASSERT_EQ(::chmod((live() / "privkey.pem").c_str(), 0644), 0);
  EXPECT_THAT(serve(), HasSubstr("chmod 0400"));
  // A link out of its directory must not open the one with the master key to the core.
  ASSERT_EQ(::chmod((live() / "privkey.pem").c_str(), 0600), 0);
  fs::rename(fs::canonical(live() / "privkey.pem"), service_.dir() / "privkey.pem");
  fs::remove(live() / "privkey.pem");
  fs::create_symlink(service_.dir() / "privkey.pem", live() / "privkey.pem");
  EXPECT_THAT(serve(), HasSubstr("a directory of their own"));
  EXPECT_FALSE(fs::exists(service_.dir() / "run" / "api.addresses"));
}

TEST(Reload, WithoutTlsThereIsNothingToReload) {
  ServiceProcess service(kStart);
  const std::vector<std::string> reload = {ProgramDir() + "/mayfly", "reload", "--config",
                                           service.config_file().string()};
  const RunResult alone = RunProgram(reload);
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_THAT(alone.err, HasSubstr("no service answers"));
  service.Start();
  const RunResult running = RunProgram(reload);
  EXPECT_EQ(running.exit_code, 1);
  EXPECT_THAT(running.err, HasSubstr("no [http.tls]"));
  ::kill(service.supervisor(), SIGHUP);
  EXPECT_TRUE(Eventually(
      [&] { return service.Log().find("tls.nothing-to-reload") != std::string::npos; }, 30));
  const RunResult status =
      RunProgram({ProgramDir() + "/mayfly", "status", "--config", service.config_file().string()});
  EXPECT_THAT(status.out, HasSubstr("\"http\":{\"mode\":\"local\"}"));
  EXPECT_EQ(service.Stop(), 0);
}

}  // namespace
}  // namespace mayfly::testing
