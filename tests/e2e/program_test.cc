// What an operator meets: the programs, their command line, the sealed state, refusals.
#include <fstream>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");

std::string Bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST(Programs, MayflyLinksNoPlatformClientAndTheWorkerNoStore) {
  const RunResult core = RunProgram({"ldd", ProgramDir() + "/mayfly"});
  ASSERT_EQ(core.exit_code, 0) << core.err;
  EXPECT_THAT(core.out, Not(HasSubstr("cpprest")));
  EXPECT_THAT(core.out, HasSubstr("rocksdb"));
  const RunResult worker = RunProgram({"ldd", ProgramDir() + "/mayfly-worker"});
  ASSERT_EQ(worker.exit_code, 0) << worker.err;
  EXPECT_THAT(worker.out, HasSubstr("cpprest"));
  EXPECT_THAT(worker.out, Not(HasSubstr("rocksdb")));
}

TEST(Programs, TheSwitchesOfTheDemoDoNotExistInMayfly) {
  for (const char* trace :
       {"DemoClock", "clock-file", "BlueskySimulator", "fail-after-step", "restart-delay-ms"}) {
    EXPECT_THAT(Bytes(ProgramDir() + "/mayfly"), Not(HasSubstr(trace))) << trace;
    EXPECT_THAT(Bytes(ProgramDir() + "/mayfly-worker"), Not(HasSubstr(trace))) << trace;
    EXPECT_THAT(Bytes(ProgramDir() + "/mayfly-demo"), HasSubstr(trace)) << trace;
  }
}

TEST(Programs, InitOverwritesNothing) {
  ServiceProcess service(kStart);
  const std::string config = Bytes(service.config_file());
  const std::string key = Bytes(service.dir() / "master.key");
  const RunResult again =
      RunProgram({ProgramDir() + "/mayfly", "init", "--dir", service.dir().string()});
  EXPECT_NE(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("exists already"));
  EXPECT_EQ(Bytes(service.config_file()), config);
  EXPECT_EQ(Bytes(service.dir() / "master.key"), key);
  struct stat info {};
  ASSERT_EQ(::stat((service.dir() / "master.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0400u);
}

TEST(Programs, CommandsWorkWithAndWithoutARunningService) {
  ServiceProcess service(kStart);
  const std::vector<std::string> common = {"--config", service.config_file().string(),
                                           "--clock-file", (service.dir() / "clock").string()};
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), ProgramDir() + "/mayfly-demo");
    words.insert(words.end(), common.begin(), common.end());
    return RunProgram(words);
  };
  for (const bool running : {false, true}) {
    if (running) service.Start();
    const RunResult status = run({"status"});
    EXPECT_EQ(status.exit_code, 0) << status.err;
    EXPECT_THAT(status.out, HasSubstr(running ? "\"running\":true" : "\"running\":false"));
    const RunResult preview = run({"expire", "--dry-run"});
    EXPECT_EQ(preview.exit_code, 0) << preview.err;
    EXPECT_THAT(preview.out, HasSubstr("\"items\":[]"));
    const RunResult token = run({"token", "create", "--role", "auditor", "--label", "x"});
    EXPECT_EQ(token.exit_code, 0) << token.err;
    EXPECT_THAT(token.out, HasSubstr("mfy_"));
    EXPECT_THAT(token.err, HasSubstr("valid until 2026-12-22T"));
    EXPECT_THAT(token.err, HasSubstr("id tok_"));
  }
  EXPECT_EQ(service.Stop(), 0);
}

TEST(Programs, AWrongConfigurationNamesFileLineAndKey) {
  ServiceProcess service(kStart);
  std::ofstream(service.config_file(), std::ios::app) << "\n[sandbox]\nrequired = \"maybe\"\n";
  const RunResult refused =
      RunProgram({ProgramDir() + "/mayfly", "serve", "--config", service.config_file().string()});
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.err, HasSubstr(service.config_file().string() + ":"));
  EXPECT_THAT(refused.err, HasSubstr("sandbox.required: must be true or false"));
}

TEST(Programs, DirectoriesThatOthersMayReadAreRefused) {
  for (const char* dir : {"data", "data/store", "data/keys"}) {
    ServiceProcess service(kStart);
    ASSERT_EQ(::chmod((service.dir() / dir).c_str(), 0750), 0);
    const RunResult refused =
        RunProgram({ProgramDir() + "/mayfly", "serve", "--config", service.config_file().string()});
    EXPECT_EQ(refused.exit_code, 78) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("chmod 700"));
  }
}

class Sealed : public ::testing::TestWithParam<const char*> {};

TEST_P(Sealed, TheServiceSaysSoAndTouchesNothing) {
  ServiceProcess service(kStart);
  const fs::path key = service.dir() / "master.key";
  fs::remove(key);
  if (std::string(GetParam()) == "wrong") {
    ServiceProcess other(kStart);
    fs::copy_file(other.dir() / "master.key", key);
  } else if (std::string(GetParam()) == "damaged") {
    std::ofstream(key) << "not a key";
    ::chmod(key.c_str(), 0400);
  }
  const auto before = ReadTree(service.data_dir());
  service.Start();
  const Answer health = service.Ask("", "GET", "/healthz");
  EXPECT_THAT(health.body, HasSubstr("sealed"));
  EXPECT_EQ(service.Ask("", "GET", "/readyz").status, 503);
  // With a token, that nobody looks at.
  EXPECT_EQ(service
                .Ask("", "GET", "/v1/conversations", "",
                     {{"Authorization", "Bearer " + std::string(53, 'a')}})
                .status,
            503);
  EXPECT_EQ(service.Stop(), 0);
  EXPECT_EQ(ReadTree(service.data_dir()), before);
}

INSTANTIATE_TEST_SUITE_P(MasterKey, Sealed, ::testing::Values("missing", "wrong", "damaged"));

TEST(Programs, AboutTellsWhatTheKernelEnforces) {
  ServiceProcess service(kStart);
  service.Start();
  const Answer about = service.Ask("", "GET", "/v1/about");
  ASSERT_EQ(about.status, 200);
  const json::Value* sandbox = about.json.Find("sandbox");
  ASSERT_NE(sandbox, nullptr);
  EXPECT_TRUE(sandbox->Bool("seccomp").value_or(false)) << about.body;
  if (OverwritingHolds(service.dir() / "clock")) {
    EXPECT_THAT(about.body, HasSubstr("\"p2_grade\":\"C\""));
  }
  EXPECT_THAT(about.body, HasSubstr("Example Statistics Office"));
  service.Stop();
}

class ConnectedProgram : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, ConnectedProgram, ::testing::ValuesIn(Platforms()), PlatformName);

TEST_P(ConnectedProgram, NoSecretStandsOnACommandLineOrInTheEnvironment) {
  ServiceProcess service(kStart);
  const auto platform = StartPlatform(GetParam(), service);
  service.Start();
  service.MakeTokens();
  service.ConnectAccount(GetParam(), platform->office());
  ASSERT_TRUE(Eventually([&] { return service.WorkerPid().has_value(); }));
  for (const pid_t pid : {*service.CorePid(), *service.WorkerPid()}) {
    const std::string proc = "/proc/" + std::to_string(pid);
    for (const std::string& secret : SecretsOf(platform->office())) {
      EXPECT_THAT(Bytes(proc + "/cmdline"), Not(HasSubstr(secret)));
      EXPECT_THAT(Bytes(proc + "/environ"), Not(HasSubstr(secret)));
    }
    EXPECT_THAT(Bytes(proc + "/environ"), Not(HasSubstr("HOME=")));
  }
  service.Stop();
}

}  // namespace
}  // namespace mayfly::testing
