// The master key as an operator meets it: sealed without it, opened by `mayfly unseal`, replaced by
// `mayfly key rotate` while people work, and found nowhere that a core file or swap would hold.
#include "store/keys/master_key.h"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/keys/key_vault.h"
#include "tests/support/process_memory.h"
#include "tests/support/sanitized.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr const char* kWords = "marker-cobalt-7719 correct horse";
constexpr const char* kNewWords = "marker-ochre-3310 battery staple";

std::string Bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class Keys : public ::testing::Test {
 protected:
  // `words` after the program's name, with a passphrase on descriptor 3 if there is one.
  RunResult Run(const std::string& words, const std::string& passphrase = "") {
    std::string command = "exec '" + ProgramDir() + "/mayfly-demo' " + words + " --config '" +
                          service_.config_file().string() + "'";
    if (!passphrase.empty()) command += " --passphrase-fd 3 3<<<'" + passphrase + "'";
    return RunProgram({"bash", "-c", command});
  }
  // Makes everything anew, with another source of the master key.
  void InitWith(const std::string& source, const std::string& passphrase = "") {
    const std::string config = Bytes(service_.config_file());
    for (const char* name : {"mayfly.toml", "master.key", "data"}) {
      fs::remove_all(service_.dir() / name);
    }
    const RunResult made =
        Run("init --dir '" + service_.dir().string() +
                "' --insecure-loopback --listen 127.0.0.1:0 'unix:" +
                (service_.dir() / "run" / "api.sock").string() + "' --keys " + source +
                (OverwritingHolds(service_.dir() / "clock") ? "" : " --any-file-system"),
            passphrase);
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  bool IsSealed() {
    return service_.Ask("", "GET", "/healthz").body.find("sealed") != std::string::npos;
  }
  // The core that unseals begins to listen anew; readyz says when.
  bool AwaitReady() {
    return Eventually([&] { return service_.Ask("", "GET", "/readyz").status == 200; });
  }
  // Hands it over on a descriptor, and waits until the store is open.
  void StartWithPassphrase(const std::string& passphrase) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const std::string line = passphrase + "\n";
    ASSERT_EQ(::write(ends[1], line.data(), line.size()), static_cast<ssize_t>(line.size()));
    ::close(ends[1]);
    service_.set_serve_arguments({"--passphrase-fd", std::to_string(ends[0])});
    service_.Start();
    ::close(ends[0]);
    ASSERT_TRUE(AwaitReady());
  }
  std::string Grade() {
    const Answer about = service_.Ask("", "GET", "/v1/about");
    const json::Value* destruction = about.json.Find("destruction");
    return destruction == nullptr ? "" : destruction->String("p2_grade").value_or("");
  }

  ServiceProcess service_{kStart};
};

TEST_F(Keys, APassphraseUnsealsAndNothingElseDoes) {
  InitWith("passphrase", kWords);
  EXPECT_THAT(FindMarker(ReadTree(service_.dir()), "cobalt"), ::testing::IsEmpty());
  const auto before = ReadTree(service_.data_dir());
  service_.Start();
  EXPECT_THAT(service_.Ask("", "GET", "/healthz").body, HasSubstr("waiting for the passphrase"));
  EXPECT_EQ(service_.Ask("", "GET", "/v1/conversations").status, 503);
  const RunResult wrong = Run("unseal", "marker-umber-0000 wrong words");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("not the passphrase of these keys"));
  EXPECT_EQ(Run("unseal", "short").exit_code, 1);
  EXPECT_TRUE(IsSealed());
  EXPECT_EQ(ReadTree(service_.data_dir()), before) << "sealed, no file is touched";

  const RunResult right = Run("unseal", kWords);
  ASSERT_EQ(right.exit_code, 0) << right.err;
  ASSERT_TRUE(AwaitReady());
  EXPECT_EQ(Grade(), "B");
  service_.MakeTokens();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(Run("unseal", kWords).exit_code, 1) << "it is not sealed";

  // A core that is started again has forgotten it.
  ASSERT_TRUE(service_.KillCore());
  ASSERT_TRUE(Eventually([&] { return IsSealed(); }));
  ASSERT_EQ(Run("unseal", kWords).exit_code, 0);
  ASSERT_TRUE(AwaitReady());
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);

  // Changed while it serves.
  const RunResult changed = Run("key rotate", kNewWords);
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  ASSERT_TRUE(service_.KillCore());
  ASSERT_TRUE(Eventually([&] { return IsSealed(); }));
  EXPECT_EQ(Run("unseal", kWords).exit_code, 1) << "the old passphrase opens nothing";
  ASSERT_EQ(Run("unseal", kNewWords).exit_code, 0);
  ASSERT_TRUE(AwaitReady());
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(service_.Stop(), 0);
  for (const char* marker : {"cobalt-7719", "ochre-3310", "umber-0000"}) {
    EXPECT_THAT(FindMarker(ReadTree(service_.dir()), marker), ::testing::IsEmpty());
  }
}

TEST_F(Keys, APassphraseComesThroughADescriptorAtTheStart) {
  InitWith("passphrase", kWords);
  StartWithPassphrase(kWords);
  EXPECT_EQ(Grade(), "B");
  const std::string proc = "/proc/" + std::to_string(*service_.CorePid());
  EXPECT_THAT(Bytes(proc + "/cmdline"), Not(HasSubstr("cobalt")));
  EXPECT_THAT(Bytes(proc + "/environ"), Not(HasSubstr("cobalt")));
  EXPECT_EQ(service_.Stop(), 0);
}

TEST_F(Keys, AFileThatIsPutBackUnseals) {
  const fs::path file = service_.dir() / "master.key";
  fs::rename(file, service_.dir() / "kept");
  service_.Start();
  ASSERT_TRUE(IsSealed());
  EXPECT_EQ(Run("unseal").exit_code, 1);
  fs::rename(service_.dir() / "kept", file);
  const RunResult unsealed = Run("unseal");
  ASSERT_EQ(unsealed.exit_code, 0) << unsealed.err;
  ASSERT_TRUE(AwaitReady());
  EXPECT_EQ(Grade(), "C");
  EXPECT_EQ(service_.Stop(), 0);
}

TEST_F(Keys, ACredentialOfTheServiceManagerIsTakenAndReplaced) {
  InitWith("credential");
  const fs::path credentials = service_.dir() / "credentials";
  fs::create_directory(credentials);
  fs::rename(service_.dir() / "master.key", credentials / "mayfly.master-key");
  service_.Start();
  EXPECT_TRUE(IsSealed()) << "without $CREDENTIALS_DIRECTORY";
  EXPECT_EQ(service_.Stop(), 0);

  ::setenv("CREDENTIALS_DIRECTORY", credentials.c_str(), 1);
  service_.Start();
  EXPECT_FALSE(IsSealed());
  EXPECT_EQ(Grade(), "C") << "where it is kept cannot be seen";
  const RunResult early = Run("key rotate");
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("mayfly.master-key.next"));
  EXPECT_EQ(service_.Stop(), 0);

  ASSERT_EQ(RunProgram({ProgramDir() + "/mayfly", "key", "create",
                        (credentials / "mayfly.master-key.next").string()})
                .exit_code,
            0);
  service_.Start();
  service_.MakeTokens();
  const RunResult rotated = Run("key rotate");
  EXPECT_EQ(rotated.exit_code, 0) << rotated.err;
  EXPECT_EQ(service_.Stop(), 0);
  // The next start has both, and then the new one alone.
  service_.Start();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(service_.Stop(), 0);
  fs::rename(credentials / "mayfly.master-key.next", credentials / "mayfly.master-key");
  service_.Start();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(service_.Stop(), 0);
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

// --- replacing it while people work

class KeyRotation : public Keys, public ::testing::WithParamInterface<int> {};

// 0: nobody dies. Otherwise the core ends itself after this step of the replacement; the supervisor
// starts another one, and the same command brings it to its end.
TEST_P(KeyRotation, IdsTokensAndMessagesStayAndTheOldKeyOpensNothing) {
  const auto platform = StartPlatform("bluesky", service_);
  service_.Start();
  service_.MakeTokens();
  service_.ConnectAccount("bluesky", platform->office());
  ASSERT_TRUE(platform->Write(0, "are the figures out?"));
  const std::string id = service_.AwaitMessage("are the figures out?");
  const auto before = service_.ReadAll();
  const fs::path key = service_.dir() / "master.key";
  const std::string old_line = Bytes(key);

  const int step = GetParam();
  if (step != 0) {
    service_.clock().SetFailPoint(100 + step);
    const auto core = service_.CorePid();
    EXPECT_EQ(Run("key rotate").exit_code, 1);
    ASSERT_TRUE(Eventually([&] {
      const auto now = service_.CorePid();
      return now && now != core;
    })) << "nobody died";
    ASSERT_TRUE(AwaitReady()) << "neither key opens the keys";
    EXPECT_EQ(service_.ReadAll(), before);
  }
  const RunResult rotated = Run("key rotate");
  ASSERT_EQ(rotated.exit_code, 0) << rotated.err;
  EXPECT_EQ(service_.ReadAll(), before) << "while it goes on";
  EXPECT_NE(Bytes(key), old_line);
  EXPECT_FALSE(fs::exists(key.string() + ".next"));
  struct stat info {};
  ASSERT_EQ(::stat(key.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0400u);

  ASSERT_EQ(service_.Stop(), 0);
  service_.Start();  // with the tokens of before
  EXPECT_EQ(service_.ReadAll(), before);
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + id).status, 200);
  ASSERT_TRUE(platform->Write(0, "a new question"));
  EXPECT_FALSE(service_.AwaitMessage("a new question").empty());
  ASSERT_EQ(service_.Stop(), 0);

  const auto old_key = store::ParseMasterKey(old_line);
  ASSERT_TRUE(old_key);
  const auto opened = store::OpenKeyVault({.dir = service_.data_dir() / "keys"},
                                          store::SecretKey::FromBytes(old_key->bytes()));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kSealed);
  for (const auto& [path, bytes] : ReadTree(service_.dir())) {
    EXPECT_EQ(bytes.find(old_line.substr(0, 60)), std::string::npos) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(
    AfterStep, KeyRotation,
    ::testing::Range(0, static_cast<int>(store::RotationStep::kPreviousDestroyed) + 1));

// The same with a passphrase: at each step one of the two opens the keys, and it is said which.
TEST_F(Keys, AnInterruptedChangeOfThePassphraseGoesOn) {
  InitWith("passphrase", kWords);
  StartWithPassphrase(kWords);
  service_.MakeTokens();
  service_.set_serve_arguments({});
  std::string now = kWords, next = kNewWords;
  for (int step = 1; step <= static_cast<int>(store::RotationStep::kPreviousDestroyed); ++step) {
    service_.clock().SetFailPoint(100 + step);
    EXPECT_EQ(Run("key rotate", next).exit_code, 1);
    ASSERT_TRUE(Eventually([&] { return IsSealed(); })) << "nobody died at step " << step;
    // The root decides. With one of its mirrors under each key, either opens it.
    const bool reached = step >= static_cast<int>(store::RotationStep::kRootWrapped);
    const std::string right = reached ? next : now;
    if (step != static_cast<int>(store::RotationStep::kRootWrapped)) {
      const RunResult wrong = Run("unseal", reached ? now : next);
      EXPECT_EQ(wrong.exit_code, 1) << step;
      EXPECT_THAT(wrong.err, HasSubstr("the other one opens the keys")) << step;
    }
    const RunResult unsealed = Run("unseal", right);
    ASSERT_EQ(unsealed.exit_code, 0) << step << unsealed.err;
    ASSERT_TRUE(AwaitReady());
    EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200) << step;
    const RunResult again = Run("key rotate", next);
    ASSERT_EQ(again.exit_code, 0) << step << again.err;
    std::swap(now, next);
    ASSERT_TRUE(service_.KillCore());
    ASSERT_TRUE(Eventually([&] { return IsSealed(); }));
    const RunResult old = Run("unseal", next);
    EXPECT_EQ(old.exit_code, 1) << step;
    EXPECT_THAT(old.err, HasSubstr("not the passphrase of these keys")) << step;
    ASSERT_EQ(Run("unseal", now).exit_code, 0) << step;
    ASSERT_TRUE(AwaitReady());
  }
  EXPECT_EQ(service_.Stop(), 0);
}

// --- keys that are older than the store

TEST_F(Keys, KeysFromACopyAreSealed) {
  service_.Start();
  EXPECT_EQ(service_.Stop(), 0);
  fs::copy(service_.data_dir() / "keys", service_.dir() / "copy");
  // An account whose date ends: its destruction is in the store.
  const auto platform = StartPlatform("bluesky", service_);
  service_.Start();
  service_.MakeTokens();
  service_.ConnectAccount("bluesky", platform->office(), "P7D");
  ASSERT_TRUE(platform->Write(0, "soon gone"));
  service_.AwaitMessage("soon gone");
  service_.clock().Set(*ParseRfc3339("2026-11-29T00:00:01Z"), 1.0);
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("2026-11-29") !=
           std::string::npos;
  }));
  EXPECT_EQ(service_.Stop(), 0);
  fs::rename(service_.data_dir() / "keys", service_.dir() / "newest");
  fs::rename(service_.dir() / "copy", service_.data_dir() / "keys");
  fs::permissions(service_.data_dir() / "keys", fs::perms::owner_all);
  service_.Start();
  EXPECT_THAT(service_.Ask("", "GET", "/healthz").body, HasSubstr("older than the store"));
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 503);
  EXPECT_THAT(service_.Log(), HasSubstr("Put back the newest ones"));
  EXPECT_EQ(service_.Stop(), 0);
  fs::remove_all(service_.data_dir() / "keys");
  fs::rename(service_.dir() / "newest", service_.data_dir() / "keys");
  service_.Start();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(service_.Stop(), 0);
}

// --- memory

// What lies in a process's memory, apart by whether a core file would hold it.
struct Found {
  std::size_t dumped_bytes = 0;
  std::size_t kept_out = 0;  // mappings marked against it
  std::size_t hits_dumped = 0;
  std::size_t hits_kept_out = 0;
  std::size_t hits_not_locked = 0;
};
Found SearchMemory(pid_t pid, const std::vector<std::string>& needles) {
  Found found;
  VisitMemory(pid, [&](const Mapping& mapping, std::string_view bytes) {
    const bool hit = std::any_of(needles.begin(), needles.end(), [&](const std::string& needle) {
      return bytes.find(needle) != std::string_view::npos;
    });
    if (!mapping.IsDumped()) {
      ++found.kept_out;
      found.hits_kept_out += hit ? 1 : 0;
      found.hits_not_locked += hit && !mapping.IsLocked() ? 1 : 0;
    } else {
      found.dumped_bytes += bytes.size();
      found.hits_dumped += hit ? 1 : 0;
    }
  });
  std::cout << "[          ] searched " << found.dumped_bytes / 1024
            << " KiB that a core file would hold, and " << found.kept_out
            << " mappings that none would\n";
  return found;
}

// A dump itself cannot be forced: the process is not dumpable and its limit is 0. So everything
// that a core file would hold is searched where it lies.
TEST_F(Keys, NoCoreFileAndNoSwapWouldHoldTheMasterKey) {
  if (::geteuid() != 0) GTEST_SKIP() << "another process's memory is root's to read";
  if (mayfly::testing::kSanitized) GTEST_SKIP() << "a sanitizer locks nothing and maps terabytes";
  service_.Start();
  const pid_t core = *service_.CorePid();
  EXPECT_THAT(Bytes("/proc/" + std::to_string(core) + "/limits"),
              ::testing::ContainsRegex("Max core file size +0 +0 "));
  const auto key = store::LoadMasterKey(service_.dir() / "master.key");
  ASSERT_TRUE(key);
  const Found found = SearchMemory(core, {std::string(key->bytes().begin(), key->bytes().end()),
                                          Bytes(service_.dir() / "master.key").substr(16, 64)});
  EXPECT_EQ(found.hits_dumped, 0u);
  EXPECT_GE(found.hits_kept_out, 1u) << "the search itself must be able to find it";
  EXPECT_EQ(found.hits_not_locked, 0u) << "a key may reach swap";
  EXPECT_GT(found.dumped_bytes, 1u << 20);
  service_.Stop();
}

// On a descriptor. Over the admin socket it passes through buffers of HTTP and JSON, which are
// freed and not wiped: docs/decisions/0022.
TEST_F(Keys, NeitherWouldHoldThePassphrase) {
  if (::geteuid() != 0) GTEST_SKIP() << "another process's memory is root's to read";
  if (mayfly::testing::kSanitized) GTEST_SKIP() << "a sanitizer locks nothing and maps terabytes";
  InitWith("passphrase", kWords);
  StartWithPassphrase(kWords);
  const Found found = SearchMemory(*service_.CorePid(), {kWords});
  EXPECT_EQ(found.hits_dumped + found.hits_kept_out, 0u);
  service_.Stop();
}

// --- a file system on which nothing can be destroyed

TEST_F(Keys, AFileSystemThatKeepsCopiesIsRefusedUnlessItIsSaidAloud) {
  const fs::path layers = service_.dir() / "layers";
  for (const char* name : {"lower", "upper", "work"}) fs::create_directories(layers / name);
  const fs::path data = service_.data_dir();
  const std::string options = "lowerdir=" + (layers / "lower").string() +
                              ",upperdir=" + (layers / "upper").string() +
                              ",workdir=" + (layers / "work").string();
  fs::copy(data, layers / "upper", fs::copy_options::recursive);
  fs::permissions(layers / "upper", fs::perms::owner_all);
  for (const char* name : {"store", "keys"}) {
    fs::permissions(layers / "upper" / name, fs::perms::owner_all);
  }
  if (::mount("overlay", data.c_str(), "overlay", 0, options.c_str()) != 0) {
    GTEST_SKIP() << "no overlay file system can be mounted here";
  }
  const RunResult refused = Run("serve");
  EXPECT_EQ(refused.exit_code, 78) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("overlayfs"));
  EXPECT_THAT(refused.err, HasSubstr("volume of their own"));
  EXPECT_THAT(refused.err, HasSubstr("any_file_system"));
  std::ofstream(service_.config_file(), std::ios::app) << "\n[keys]\nany_file_system = true\n";
  service_.Start();
  const Answer about = service_.Ask("", "GET", "/v1/about");
  EXPECT_THAT(about.body, HasSubstr("\"p2_grade\":\"none\""));
  EXPECT_THAT(about.body, HasSubstr("\"overwriting_holds\":false"));
  EXPECT_THAT(about.body, HasSubstr("overlayfs"));
  EXPECT_EQ(service_.Stop(), 0);
  EXPECT_EQ(::umount2(data.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace mayfly::testing
