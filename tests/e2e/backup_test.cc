// Backup, restore and verify on the real programs: what comes back, and what never does.
#include "service/backup/backup.h"

#include <csignal>
#include <fstream>
#include <functional>
#include <grp.h>
#include <set>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/admin_client.h"
#include "service/backup/restore.h"
#include "service/config.h"
#include "service/open_store.h"
#include "store/keys/key_file.h"
#include "store/keys/master_key.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::days;
using std::chrono::hours;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr const char* kPlatform = "bluesky";

std::set<std::string> TextsOf(ServiceProcess& service) {
  std::set<std::string> texts;
  for (const auto& [id, text] : service.ReadAll()) texts.insert(text);
  return texts;
}

class Backup : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = StartPlatform(kPlatform, service_);
    service_.Start();
    service_.MakeTokens();
    account_ = service_.ConnectAccount(kPlatform, platform_->office(), "P7D");
  }

  RunResult Run(std::vector<std::string> words) {
    words.insert(words.begin(), ProgramDir() + "/mayfly-demo");
    for (const std::string& word :
         {std::string("--config"), service_.config_file().string(), std::string("--clock-file"),
          (service_.dir() / "clock").string()}) {
      words.push_back(word);
    }
    return RunProgram(words);
  }
  json::Value RunJson(std::vector<std::string> words, int expected = 0) {
    words.push_back("--json");
    const RunResult result = Run(words);
    EXPECT_EQ(result.exit_code, expected) << result.out << result.err;
    auto json = json::Parse(result.out);
    return json ? *json : json::Value();
  }
  json::Value TakeBackup() { return RunJson({"backup", backups().string()}); }

  // Written on the platform and stored here.
  void Write(int person, const std::string& text) {
    ASSERT_TRUE(platform_->Write(person, text));
    ASSERT_NE(service_.AwaitMessage(text), "");
  }
  Answer Reply(const std::string& text, const std::string& key) {
    const Answer inbox = service_.Ask("comms", "GET", "/v1/conversations?limit=1");
    if (inbox.Items().empty()) return {};
    const json::Value& conversation = inbox.Items().front();
    return service_.Ask("comms", "POST",
                        "/v1/conversations/" + conversation.String("id").value_or("") + "/replies",
                        ReplyBody(text, conversation.String("last_message").value_or("")),
                        {{"Idempotency-Key", key}});
  }
  service::Config Config() { return *service::LoadConfig(service_.config_file()); }
  fs::path backups() const { return service_.dir() / "backups"; }
  fs::path Newest() const { return *service::FindBackup(backups()); }
  static std::string StandingOf(const json::Value& report, const std::string& name) {
    const json::Value* families = report.Find("families");
    if (families == nullptr || !families->is_array()) return "no report";
    for (const json::Value& family : *families->AsArray()) {
      if (family.String("family").value_or("") == name) {
        return family.String("standing").value_or("");
      }
    }
    return "not there";
  }
  std::set<std::string> KindsFound(const json::Value& report) {
    std::set<std::string> kinds;
    const json::Value* findings = report.Find("findings");
    if (findings == nullptr || !findings->is_array()) return {"no report"};
    for (const json::Value& finding : *findings->AsArray()) {
      kinds.insert(finding.String("kind").value_or(""));
    }
    return kinds;
  }

  ServiceProcess service_{kStart, RateFor(kPlatform)};
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::string account_;
};

// Runs `work` in a process of its own that kills itself at the given call of its hook. Whether it
// came so far.
bool KilledAt(int call, const std::function<void(const std::function<void()>&)>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int calls = 0;
    work([&] {
      if (++calls == call) ::kill(::getpid(), SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST_F(Backup, WhatLivedThenComesBackAndWhatCameSinceIsReadAgain) {
  Write(0, "before the backup");
  ASSERT_TRUE(platform_->Write(1, "while it is made"));
  const json::Value taken = TakeBackup();
  EXPECT_FALSE(fs::exists(service_.data_dir() / "checkpoint"));
  for (const auto& entry : fs::recursive_directory_iterator(Newest())) {
    EXPECT_FALSE(store::KeyFile::ParseFileName(entry.path().filename().string()))
        << "a key is in the backup";
  }
  service_.AwaitMessage("while it is made");
  const std::set<std::string> lived = TextsOf(service_);
  Write(2, "after the backup");

  // While it runs, and without consent, nothing is put back.
  EXPECT_EQ(Run({"restore", backups().string(), "--force"}).exit_code, 78);
  const json::Value check = RunJson({"restore", backups().string(), "--check"});
  EXPECT_EQ(StandingOf(check, "D20261129"), "living");
  service_.Stop();
  const RunResult refused = Run({"restore", backups().string()});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  EXPECT_EQ(Run({"restore", backups().string(), "--force"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(service_.data_dir() / "store.incoming"));

  service_.Start();
  EXPECT_THAT(service_.Log(), HasSubstr("store.returned"));
  service_.AwaitMessage("after the backup");
  for (const std::string& text : lived) EXPECT_THAT(TextsOf(service_), Contains(text));
  EXPECT_EQ(service_.ReadAll().size(), 3u);
  // The stretch since the backup was a hole, and is told as filled.
  EXPECT_TRUE(Eventually([&] {
    const Answer coverage = service_.Ask("operator", "GET", "/v1/coverage");
    return coverage.body.find("store-returned") != std::string::npos;
  }));
  EXPECT_EQ(RunJson({"verify"}).Bool("clean").value_or(false), true);
  service_.Stop();
  EXPECT_EQ(KindsFound(RunJson({"verify"})), std::set<std::string>{});
}

TEST_F(Backup, ADateThatEndedSinceStaysEnded) {
  const std::string marker = "marker-ochre-7741 please answer";
  Write(0, marker);
  std::string id;
  for (const auto& [message, text] : service_.ReadAll()) id = message;
  TakeBackup();
  service_.clock().Set(kStart + days(8), RateFor(kPlatform));
  ASSERT_TRUE(
      Eventually([&] { return service_.Ask("comms", "GET", "/v1/messages/" + id).status == 410; }));
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("\"2026-11-29\"") !=
           std::string::npos;
  }));
  const std::string receipt = service_.Ask("operator", "GET", "/v1/ops/receipts").body;

  const json::Value check = RunJson({"restore", backups().string(), "--check"});
  EXPECT_EQ(StandingOf(check, "D20261129"), "ended");
  EXPECT_EQ(KindsFound(RunJson({"verify", backups().string()})), std::set<std::string>{});

  service_.Stop();
  ASSERT_EQ(Run({"restore", backups().string(), "--force"}).exit_code, 0);
  service_.Start();
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/messages/" + id).status, 410);
  EXPECT_THAT(TextsOf(service_), IsEmpty());
  EXPECT_EQ(service_.Ask("comms", "GET", "/v1/conversations").Items().size(), 0u);
  // The receipt of its end is there as it was, and only once.
  EXPECT_EQ(service_.Ask("operator", "GET", "/v1/ops/receipts").body, receipt);
  // The platform serves its copy again; it is not stored.
  Write(1, "a new question");
  EXPECT_EQ(TextsOf(service_), std::set<std::string>{"a new question"});
  service_.Stop();
  EXPECT_EQ(KindsFound(RunJson({"verify"})), std::set<std::string>{});
  EXPECT_FALSE(fs::exists(service_.data_dir() / "keys" / "D20261129.a"));
  EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), "marker-ochre-7741"), IsEmpty());
}

TEST_F(Backup, NoReplyIsSentAgainAndNobodyAnswersBeforeTheThreadIsWhole) {
  Write(0, "a question");
  ASSERT_TRUE(platform_->Inject(connectors::PlatformFault::kSendRateLimited));
  const Answer queued = Reply("the answer", "key-1");
  ASSERT_EQ(queued.status, 202) << queued.body;
  ASSERT_TRUE(
      Eventually([&] { return service_.Log().find("reply.not-sent") != std::string::npos; }));
  const auto state = [&] {
    return service_.Ask("comms", "GET", "/v1/replies/" + queued.Text("id")).Text("state");
  };
  ASSERT_TRUE(Eventually([&] { return state() == "queued"; }));
  TakeBackup();  // in which it waits
  service_.clock().Set(service_.clock().Now() + std::chrono::minutes(10), RateFor(kPlatform));
  ASSERT_TRUE(Eventually([&] { return state() == "sent"; }));
  const std::string after = service_.Ask("comms", "GET", "/v1/conversations?limit=1")
                                .Items()
                                .front()
                                .String("last_message")
                                .value_or("");
  const Answer second = Reply("another answer", "key-2");
  ASSERT_EQ(second.status, 202) << second.body;
  ASSERT_TRUE(Eventually([&] { return platform_->CountReceived(0, "another answer") == 1; }));
  service_.Stop();
  ASSERT_EQ(Run({"restore", backups().string(), "--force"}).exit_code, 0);
  service_.Start();

  // The client that never got its answer repeats its request: refused until what was sent since has
  // been read, and from then on because the conversation has moved.
  const std::string conversation = queued.Text("conversation");
  ASSERT_TRUE(Eventually([&] {
    const Answer repeated =
        service_.Ask("comms", "POST", "/v1/conversations/" + conversation + "/replies",
                     ReplyBody("another answer", after), {{"Idempotency-Key", "key-2"}});
    EXPECT_NE(repeated.status, 202) << "it would be sent twice";
    return repeated.status == 409;
  }));
  EXPECT_THAT(TextsOf(service_), Contains("another answer"));
  // The one that waited in the backup is looked for, and found.
  service_.clock().Set(service_.clock().Now() + std::chrono::minutes(1), RateFor(kPlatform));
  EXPECT_TRUE(Eventually([&] { return state() == "sent"; })) << state();
  EXPECT_EQ(platform_->CountReceived(0, "the answer"), 1u);
  EXPECT_EQ(platform_->CountReceived(0, "another answer"), 1u);
  service_.Stop();
}

TEST_F(Backup, WhatWasTakenAwaySinceDoesNotComeBack) {
  Write(0, "a question");
  const RunResult made = Run({"token", "create", "--role", "auditor", "--label", "gone"});
  const std::string token = made.out.substr(0, made.out.find('\n'));
  const std::string id = made.err.substr(made.err.find("tok_"), 20);
  ASSERT_EQ(
      service_.Ask("", "GET", "/v1/policy", "", {{"Authorization", "Bearer " + token}}).status,
      200);
  TakeBackup();
  ASSERT_TRUE(service::CallUnixSocket(service_.dir() / "run" / "admin.sock", "DELETE",
                                      "/admin/tokens/" + id, {}, "")
                  ->status == 204);
  const Answer account = service_.Ask("administrator", "GET", "/v1/accounts/" + account_);
  ASSERT_EQ(service_
                .Ask("administrator", "DELETE", "/v1/accounts/" + account_, "",
                     {{"If-Match", account.headers.at("etag")}})
                .status,
            204);
  service_.Stop();
  ASSERT_EQ(Run({"restore", backups().string(), "--force"}).exit_code, 0);
  service_.Start();
  EXPECT_EQ(
      service_.Ask("", "GET", "/v1/policy", "", {{"Authorization", "Bearer " + token}}).status,
      401);
  EXPECT_EQ(service_.Ask("administrator", "GET", "/v1/accounts/" + account_).Text("state"),
            "retired");
  service_.Stop();
}

TEST_F(Backup, TheSecondOneCopiesOnlyWhatIsNewAndOldOnesGo) {
  Write(0, "first");
  TakeBackup();
  Write(1, "second");
  const json::Value second = RunJson({"backup", backups().string()});
  EXPECT_GT(second.Int("linked").value_or(0), 0);
  std::size_t shared = 0;
  for (const auto& entry : fs::directory_iterator(Newest() / "store")) {
    shared += fs::hard_link_count(entry.path()) > 1 ? 1 : 0;
  }
  EXPECT_EQ(static_cast<std::int64_t>(shared), second.Int("linked").value_or(-1));
  const json::Value third = RunJson({"backup", backups().string(), "--keep", "2"});
  EXPECT_EQ(third.Int("removed").value_or(0), 1);
  EXPECT_EQ(service::ListBackups(backups()).size(), 2u);
  // What stays is whole without what went.
  RunJson({"restore", backups().string(), "--check"});
}

TEST_F(Backup, OneThatWasAlteredOrCutOffIsRefusedByName) {
  Write(0, "a question");
  TakeBackup();
  service_.Stop();
  std::string table;
  for (const auto& entry : fs::directory_iterator(Newest() / "store")) {
    if (entry.path().extension() == ".sst") table = entry.path().string();
  }
  ASSERT_NE(table, "");
  std::string bytes;
  {
    std::ifstream in(table, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto rewrite = [&](const std::string& with) {
    std::ofstream(table, std::ios::binary | std::ios::trunc) << with;
  };
  std::string flipped = bytes;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  for (const std::string& damaged : {flipped, bytes.substr(0, bytes.size() / 2)}) {
    rewrite(damaged);
    for (const char* how : {"--check", "--force"}) {
      const RunResult refused = Run({"restore", backups().string(), how});
      EXPECT_EQ(refused.exit_code, 1) << refused.out;
      EXPECT_THAT(refused.err, HasSubstr(table));
    }
    EXPECT_FALSE(fs::exists(service_.data_dir() / "store.incoming"));
  }
  EXPECT_THAT(KindsFound(RunJson({"verify", backups().string()}, 3)), Contains("altered-file"));
  rewrite(bytes);
  RunJson({"restore", backups().string(), "--check"});
  const fs::path manifest = Newest() / "manifest";
  fs::resize_file(manifest, fs::file_size(manifest) - 1);
  const RunResult refused = Run({"restore", backups().string(), "--force"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr(manifest.string()));
  const fs::path without = Newest();
  fs::remove(manifest);
  EXPECT_THAT(Run({"restore", without.string(), "--force"}).err, HasSubstr("never finished"));
  service_.Start();
  EXPECT_THAT(TextsOf(service_), Contains("a question"));
}

TEST_F(Backup, OfOtherKeysIsRefused) {
  ServiceProcess other(kStart);
  const RunResult theirs =
      RunProgram({ProgramDir() + "/mayfly-demo", "backup", backups().string(), "--config",
                  other.config_file().string(), "--clock-file", (other.dir() / "clock").string()});
  ASSERT_EQ(theirs.exit_code, 0) << theirs.err;
  service_.Stop();
  const RunResult refused = Run({"restore", backups().string(), "--force"});
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.err, HasSubstr("other keys"));
}

TEST_F(Backup, KilledAtAnyStepItLeavesNoHalfBackupAndNothingForEver) {
  Write(0, "a question");
  service_.Stop();
  const service::Config config = Config();
  const auto work = [&](const std::function<void()>& hook) {
    auto masters = service::LoadMasterKeys(config);
    auto opened = service::OpenStore(config, *std::move(masters), false);
    if (!opened) ::_exit(9);
    const auto store = &opened->store;
    const service::BackupSource source{
        .take = [&]() -> Result<service::BackupSource::Checkpoint> {
          auto dir = (*store)->TakeCheckpoint({.id = "cli:0"}, kStart);
          if (!dir) return Fail(dir.error());
          return service::BackupSource::Checkpoint{*dir, (*store)->KeysPrint()};
        },
        .drop = [&] { return (*store)->DropCheckpoint(); }};
    int copied = 0;  // each start adds files: two of them are enough
    const auto at_step = [&](service::BackupStep step) {
      if (step != service::BackupStep::kFileCopied || ++copied <= 2) hook();
    };
    auto taken = service::TakeBackup(source, {.dir = backups(), .hook = at_step}, kStart);
    if (!taken) ::_exit(9);
  };
  int kills = 0;
  while (kills < 50 && KilledAt(kills + 1, work)) {
    ++kills;
    for (const fs::path& backup : service::ListBackups(backups())) {
      // By another process: this one must have no threads of RocksDB when it forks.
      const RunResult checked = Run({"restore", backup.string(), "--check"});
      EXPECT_EQ(checked.exit_code, 0) << "after kill " << kills << ": " << checked.err;
    }
  }
  EXPECT_GT(kills, 6);
  ASSERT_LT(kills, 50);
  service_.Start();  // removes the checkpoint
  EXPECT_FALSE(fs::exists(service_.data_dir() / "checkpoint"));
  TakeBackup();
  for (const auto& entry : fs::directory_iterator(backups())) {
    EXPECT_NE(entry.path().extension(), ".part");
  }
  EXPECT_THAT(TextsOf(service_), Contains("a question"));
  service_.Stop();
  EXPECT_EQ(KindsFound(RunJson({"verify"})), std::set<std::string>{});
}

TEST_F(Backup, ARestoreKilledAtAnyStepLeavesAWholeStore) {
  Write(0, "a question");
  TakeBackup();
  service_.Stop();
  const service::Config config = Config();
  const auto work = [&](const std::function<void()>& hook) {
    auto done = service::RestoreBackup(
        config, {.dir = backups(), .force = true, .hook = [&](service::RestoreStep) { hook(); }});
    if (!done) ::_exit(9);
  };
  int kills = 0;
  while (kills < 50 && KilledAt(kills + 1, work)) {
    ++kills;
    service_.Start();
    EXPECT_FALSE(fs::exists(service_.data_dir() / "store.incoming"));
    EXPECT_EQ(TextsOf(service_), std::set<std::string>{"a question"}) << "after kill " << kills;
    EXPECT_EQ(service_.Stop(), 0);
  }
  EXPECT_GT(kills, 6);
  ASSERT_LT(kills, 50);
}

TEST_F(Backup, AFullTargetLeavesTheServiceServingAndNoHalfBackup) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small file system";
  Write(0, "a question");
  const fs::path small = service_.dir() / "small";
  fs::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=16k") != 0) {
    GTEST_SKIP() << "a small file system cannot be mounted here";
  }
  const RunResult full = Run({"backup", small.string()});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.err, HasSubstr("No space left"));
  EXPECT_THAT(service::ListBackups(small), IsEmpty());
  EXPECT_THAT(Run({"restore", small.string(), "--check"}).err, HasSubstr("no finished backup"));
  EXPECT_FALSE(fs::exists(service_.data_dir() / "checkpoint"));
  EXPECT_THAT(TextsOf(service_), Contains("a question"));
  Write(1, "and on it goes");
  ::umount2(small.c_str(), MNT_DETACH);
}

TEST_F(Backup, VerifyFindsWhatIsPlanted) {
  Write(0, "a question");
  service_.clock().Set(kStart + days(8), RateFor(kPlatform));
  ASSERT_TRUE(Eventually([&] {
    return service_.Ask("operator", "GET", "/v1/ops/receipts").body.find("\"2026-11-29\"") !=
           std::string::npos;
  }));
  service_.Stop();
  const service::Config config = Config();
  EXPECT_EQ(KindsFound(RunJson({"verify"})), std::set<std::string>{});
  const fs::path store = config.store_dir();
  const auto plant = [](const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::app) << bytes;
  };
  // Names of a date that ended, in a leftover table and as hex in a log.
  plant(store / "999999.sst", std::string(5'000'000, 'x') + "D20261129" + std::string(99, 'y'));
  plant(store / "LOG", "key range: " + ToHex("D20261129"));
  const json::Value names = RunJson({"verify"}, 3);
  EXPECT_EQ(KindsFound(names), (std::set<std::string>{"past-date-name", "unreferenced-file"}));
  EXPECT_THAT(Run({"verify"}).out, HasSubstr("store/999999.sst at 5000000 (2026-11-29)"));
  fs::remove(store / "999999.sst");
  fs::remove(store / "LOG");
  // The root key, in clear, as hex.
  const auto master = store::LoadMasterKey(config.master_key);
  store::KeyFile root(config.keys_dir(), {}, false, /*read_only=*/true);
  const auto opened = root.Open(*master);
  ASSERT_TRUE(opened);
  const auto key = opened->keys.first.bytes();
  const std::string raw(reinterpret_cast<const char*>(key.data()), key.size());
  for (const std::string& form : {raw, ToHex(raw)}) {
    plant(store / "LOG", "stack: " + form + " end");
    EXPECT_EQ(KindsFound(RunJson({"verify"}, 3)),
              (std::set<std::string>{"key-in-clear", "unreferenced-file"}));
    EXPECT_THAT(Run({"verify"}).out, Not(HasSubstr(ToHex(raw)))) << "the finding shows the key";
    fs::remove(store / "LOG");
  }
  // A key file that somebody copied.
  fs::copy_file(config.keys_dir() / "root.a", store / "000001.log.bak");
  EXPECT_EQ(KindsFound(RunJson({"verify"}, 3)),
            (std::set<std::string>{"key-file-copy", "unreferenced-file"}));
  fs::remove(store / "000001.log.bak");
  plant(config.data_dir / "core.4711", "something");
  EXPECT_EQ(KindsFound(RunJson({"verify"}, 3)), (std::set<std::string>{"unknown-file"}));
  fs::remove(config.data_dir / "core.4711");
  EXPECT_EQ(KindsFound(RunJson({"verify"})), std::set<std::string>{});

  // A service that is not there when a date ends leaves keys that should be gone.
  service_.Start();
  Write(1, "another question");
  TakeBackup();
  service_.Stop();
  service_.clock().Set(kStart + days(30), RateFor(kPlatform));
  EXPECT_THAT(KindsFound(RunJson({"verify", "--sample", "5"}, 3)), Contains("keys-of-past-date"));
}

TEST_F(Backup, NobodyElseMaySpeakToTheSocket) {
  const fs::path socket = service_.dir() / "run" / "admin.sock";
  struct stat info {};
  ASSERT_EQ(::stat(socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to ask as somebody else";
  // Past the modes: what then decides is who asks.
  ::chmod(service_.dir().c_str(), 0755);
  ::chmod((service_.dir() / "run").c_str(), 0755);
  ::chmod(socket.c_str(), 0666);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setuid(65'534) != 0) ::_exit(9);
    const auto answer = service::CallUnixSocket(socket, "POST", "/admin/checkpoint", {}, "");
    ::_exit(answer ? 1 : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "somebody else was answered";
  EXPECT_FALSE(fs::exists(service_.data_dir() / "checkpoint"));
}

}  // namespace
}  // namespace mayfly::testing
