// What the RocksDB engine alone can show: files, reopening, crashes, full disks.
#include "store/engine/rocksdb/rocksdb_engine.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <signal.h>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/engine/engine.h"
#include "tests/support/engine_rows.h"
#include "tests/support/temp_dir.h"

extern char** environ;

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;
using ::mayfly::testing::DayFamily;
using ::mayfly::testing::KeysOf;
using ::mayfly::testing::PutRow;
using ::mayfly::testing::TempDir;
using ::mayfly::testing::ValueOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Family kSys = Family::Sys();
const Family kDay1 = DayFamily(1);
const Family kDay2 = DayFamily(2);

std::unique_ptr<Engine> Open(const fs::path& dir, std::size_t write_buffer_bytes = 1u << 20) {
  auto opened = OpenRocksDbEngine({.dir = dir, .write_buffer_bytes = write_buffer_bytes});
  if (!opened) {
    ADD_FAILURE() << opened.error().message;
    return nullptr;
  }
  return *std::move(opened);
}

// --- bytes on disk

std::string Hex(std::string_view bytes, const char* digits) {
  std::string hex;
  for (const char c : bytes) {
    hex.push_back(digits[static_cast<unsigned char>(c) >> 4]);
    hex.push_back(digits[static_cast<unsigned char>(c) & 15]);
  }
  return hex;
}

// Files below `dir` that hold any of the texts, raw or as hex.
std::set<std::string> FilesWith(const fs::path& dir, const std::vector<std::string>& texts) {
  std::set<std::string> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    if (!file.is_open()) {  // unlinked since it was listed
      EXPECT_FALSE(fs::exists(entry.path())) << entry.path();
      continue;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    for (const std::string& text : texts) {
      if (bytes.find(text) != std::string::npos ||
          bytes.find(Hex(text, "0123456789abcdef")) != std::string::npos ||
          bytes.find(Hex(text, "0123456789ABCDEF")) != std::string::npos) {
        found.insert(entry.path().filename().string());
      }
    }
  }
  return found;
}

std::set<std::string> Names(const fs::path& dir) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Kinds of file ("MANIFEST", ".log", ".sst") among the names.
bool AnyLike(const std::set<std::string>& names, std::string_view part) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name.find(part) != std::string::npos; });
}

// Rows of a family, each of which carries the word in key and value.
void PutMarked(Engine& engine, Family family, const std::string& word, int rows) {
  for (int i = 0; i < rows; ++i) {
    const std::string n = std::to_string(1000 + i);
    Batch batch;
    batch.Put(family, word + "-key-" + n, word + "-value-" + n);
    EXPECT_TRUE(engine.Commit(batch, Durability::kBuffered).has_value());
  }
}

class DroppedBytes : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = Open(dir_.path());
    ASSERT_NE(engine_, nullptr);
    ASSERT_TRUE(engine_->OpenFamily(kDay1).has_value());
    ASSERT_TRUE(engine_->OpenFamily(kDay2).has_value());
    PutMarked(*engine_, kDay2, "Livingfish", 20);
  }

  TempDir dir_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(DroppedBytes, OfTablesAndLogsAreGoneAfterTheRelease) {
  PutMarked(*engine_, kDay1, "Quenchlamp", 50);
  ASSERT_TRUE(engine_->FlushAll().has_value());
  PutMarked(*engine_, kDay1, "Brindlejar", 50);
  const std::vector<std::string> gone = {"Quenchlamp", "Brindlejar"};
  const std::set<std::string> before = FilesWith(dir_.path(), gone);
  EXPECT_TRUE(AnyLike(before, ".sst"));
  EXPECT_TRUE(AnyLike(before, ".log"));
  EXPECT_TRUE(AnyLike(before, "MANIFEST-"));

  ASSERT_TRUE(engine_->CloseFamily(kDay1).has_value());
  const auto report = engine_->DropFamily(kDay1);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_GT(report->bytes_dropped, 0u);
  EXPECT_FALSE(report->log_released);
  const std::set<std::string> dropped = FilesWith(dir_.path(), gone);
  EXPECT_FALSE(AnyLike(dropped, ".sst"));  // the tables go at once
  EXPECT_TRUE(AnyLike(dropped, ".log"));   // the log has yet to let go

  ASSERT_TRUE(PutRow(*engine_, kSys, "receipt", "1").has_value());
  ASSERT_TRUE(engine_->ReleaseLogs().has_value());
  EXPECT_THAT(FilesWith(dir_.path(), gone), IsEmpty());
  EXPECT_THAT(FilesWith(dir_.path(), {"Livingfish"}), Not(IsEmpty()));
  EXPECT_THAT(KeysOf(*engine_, kDay2).size(), 20u);
  const auto again = engine_->DropFamily(kDay1);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->log_released);
}

TEST_F(DroppedBytes, AreReleasedEvenWhenNothingLiveWasWritten) {
  ASSERT_TRUE(engine_->FlushAll().has_value());
  PutMarked(*engine_, kDay1, "Quenchlamp", 50);
  const std::vector<std::string> gone = {"Quenchlamp"};
  ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
  EXPECT_THAT(FilesWith(dir_.path(), gone), Not(IsEmpty()));
  ASSERT_TRUE(engine_->ReleaseLogs().has_value());
  EXPECT_THAT(FilesWith(dir_.path(), gone), IsEmpty());
  EXPECT_THAT(KeysOf(*engine_, kDay2).size(), 20u);
}

TEST_F(DroppedBytes, AreReleasedByReopeningToo) {
  PutMarked(*engine_, kDay1, "Quenchlamp", 50);
  ASSERT_TRUE(engine_->FlushAll().has_value());
  PutMarked(*engine_, kDay1, "Brindlejar", 50);
  const std::vector<std::string> gone = {"Quenchlamp", "Brindlejar"};
  ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
  EXPECT_THAT(FilesWith(dir_.path(), gone), Not(IsEmpty()));
  engine_.reset();
  engine_ = Open(dir_.path());
  ASSERT_NE(engine_, nullptr);
  EXPECT_THAT(FilesWith(dir_.path(), gone), IsEmpty());
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay2));
  EXPECT_THAT(KeysOf(*engine_, kDay2).size(), 20u);
}

TEST_F(DroppedBytes, AreGoneThoughTablesWereBeingWritten) {
  // Flushes and compactions of the dropped family run while it goes; none may leave a table behind.
  const std::string filler(64 << 10, 'f');
  const std::vector<std::string> gone = {"Quenchlamp"};
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(engine_->OpenFamily(kDay1).has_value());
    PutMarked(*engine_, kDay1, "Quenchlamp", 10);
    std::thread flusher([&] {
      for (int i = 0; i < 10; ++i) {
        if (!PutRow(*engine_, kDay1, gone[0] + std::to_string(i), filler)) return;
        if (!engine_->FlushAll()) return;
      }
    });
    while (!AnyLike(FilesWith(dir_.path(), gone), ".sst")) std::this_thread::yield();
    ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
    flusher.join();
    ASSERT_TRUE(engine_->ReleaseLogs().has_value());
    EXPECT_THAT(FilesWith(dir_.path(), gone), IsEmpty());
  }
}

TEST_F(DroppedBytes, NeitherLogNorOptionsFileEverHoldsARow) {
  PutMarked(*engine_, kDay1, "Quenchlamp", 50);
  ASSERT_TRUE(engine_->FlushAll().has_value());
  ASSERT_TRUE(engine_->OpenFamily(DayFamily(3)).has_value());  // writes the options anew
  engine_.reset();
  engine_ = Open(dir_.path());
  ASSERT_NE(engine_, nullptr);
  for (const std::string& name : Names(dir_.path())) EXPECT_NE(name.substr(0, 3), "LOG") << name;
  EXPECT_TRUE(AnyLike(Names(dir_.path()), "OPTIONS-"));
  EXPECT_FALSE(AnyLike(FilesWith(dir_.path(), {"Quenchlamp"}), "OPTIONS-"));
}

TEST_F(DroppedBytes, ACheckpointOpensWithTheRowsOfItsTime) {
  TempDir copies;
  ASSERT_TRUE(engine_->Checkpoint(copies / "copy").has_value());
  EXPECT_EQ(engine_->Checkpoint(copies / "copy").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(fs::status(copies / "copy").permissions(), fs::perms::owner_all);
  ASSERT_TRUE(PutRow(*engine_, kDay2, "later", "v").has_value());
  const auto copy = Open(copies / "copy");
  ASSERT_NE(copy, nullptr);
  EXPECT_THAT(KeysOf(*copy, kDay2).size(), 20u);
  EXPECT_THAT(KeysOf(*engine_, kDay2).size(), 21u);
  EXPECT_THAT(copy->Families(Family::Kind::kDay), ElementsAre(kDay1, kDay2));
}

// --- opening

TEST(RocksDbEngine, ReopeningKeepsWhatWasCommitted) {
  TempDir dir;
  {
    const auto engine = Open(dir.path());
    ASSERT_NE(engine, nullptr);
    ASSERT_TRUE(engine->OpenFamily(kDay1).has_value());
    ASSERT_TRUE(engine->OpenFamily(Family::Audit(202611)).has_value());
    ASSERT_TRUE(PutRow(*engine, kDay1, "flushed", "1").has_value());
    ASSERT_TRUE(engine->FlushAll().has_value());
    ASSERT_TRUE(PutRow(*engine, kDay1, "logged", "2").has_value());
    ASSERT_TRUE(PutRow(*engine, kSys, "cursor", "3").has_value());
    ASSERT_TRUE(engine->CloseFamily(kDay1).has_value());
  }
  const auto engine = Open(dir.path());
  ASSERT_NE(engine, nullptr);
  EXPECT_THAT(engine->Families(Family::Kind::kDay), ElementsAre(kDay1));
  EXPECT_THAT(engine->Families(Family::Kind::kAudit), ElementsAre(Family::Audit(202611)));
  EXPECT_EQ(ValueOf(*engine, kDay1, "flushed"), "1");
  EXPECT_EQ(ValueOf(*engine, kDay1, "logged"), "2");
  EXPECT_EQ(ValueOf(*engine, kSys, "cursor"), "3");
  // Closing is of this process only.
  EXPECT_TRUE(PutRow(*engine, kDay1, "more", "4").has_value());
}

TEST(RocksDbEngine, ASecondOpenOfTheSameDirectoryIsRefused) {
  TempDir dir;
  const auto engine = Open(dir.path());
  ASSERT_NE(engine, nullptr);
  const auto second = OpenRocksDbEngine({.dir = dir.path()});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kIo);
  EXPECT_THAT(second.error().message, HasSubstr("another process holds"));
  EXPECT_TRUE(PutRow(*engine, kSys, "k", "v").has_value());
}

TEST(RocksDbEngine, AnAbsentStoreIsCreatedOnlyWhenAsked) {
  TempDir dir;
  const auto refused = OpenRocksDbEngine({.dir = dir / "store", .create_if_missing = false});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
  EXPECT_FALSE(fs::exists(dir / "store"));
  ASSERT_NE(Open(dir / "store"), nullptr);
  EXPECT_EQ(fs::status(dir / "store").permissions(), fs::perms::owner_all);
  EXPECT_TRUE(OpenRocksDbEngine({.dir = dir / "store", .create_if_missing = false}).has_value());
}

TEST(RocksDbEngine, ADamagedManifestIsCorrupt) {
  TempDir dir;
  {
    const auto engine = Open(dir.path());
    ASSERT_NE(engine, nullptr);
    ASSERT_TRUE(PutRow(*engine, kSys, "k", "v").has_value());
  }
  int damaged = 0;
  for (const std::string& name : Names(dir.path())) {
    if (name.rfind("MANIFEST-", 0) != 0) continue;
    std::fstream file(dir / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20);
    file << "damage";
    ASSERT_TRUE(file.good());
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  const auto opened = OpenRocksDbEngine({.dir = dir.path()});
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt) << opened.error().message;
}

TEST(RocksDbEngine, ADamagedTableIsCorruptWhenReadAndTheOthersStayReadable) {
  TempDir dir;
  {
    const auto engine = Open(dir.path());
    ASSERT_NE(engine, nullptr);
    ASSERT_TRUE(engine->OpenFamily(kDay1).has_value());
    ASSERT_TRUE(PutRow(*engine, kSys, "k", "fine").has_value());
    ASSERT_TRUE(PutRow(*engine, kDay1, "k", "Quenchlamp").has_value());
    ASSERT_TRUE(engine->FlushAll().has_value());
  }
  int damaged = 0;
  for (const std::string& name : FilesWith(dir.path(), {"Quenchlamp"})) {
    if (name.find(".sst") == std::string::npos) continue;
    std::fstream file(dir / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5);
    file << "damage";
    ASSERT_TRUE(file.good());
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  const auto engine = Open(dir.path());
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(ValueOf(*engine, kDay1, "k"), "(corrupt)");
  EXPECT_THAT(KeysOf(*engine, kDay1), ElementsAre("(corrupt)"));
  EXPECT_EQ(ValueOf(*engine, kSys, "k"), "fine");
}

// --- size

// Resident memory in KiB.
long ResidentKib() {
  std::ifstream file("/proc/self/statm");
  long total = 0, resident = 0;
  file >> total >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

TEST(RocksDbEngine, NinetyThreeDaysOpenAndOneOfThemGoes) {
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::time_point since) {
    return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
  };
  TempDir dir;
  const long at_start = ResidentKib();
  const std::size_t write_buffer_bytes = RocksDbOptions().write_buffer_bytes;
  auto engine = Open(dir.path(), write_buffer_bytes);
  ASSERT_NE(engine, nullptr);
  auto since = Clock::now();
  for (int day = 0; day < 93; ++day) ASSERT_TRUE(engine->OpenFamily(DayFamily(day)).has_value());
  std::printf("93 families created: %.0f ms, +%ld KiB\n", ms(since), ResidentKib() - at_start);
  for (int row = 0; row < 200; ++row) {
    Batch batch;
    for (int day = 0; day < 93; ++day) {
      batch.Put(DayFamily(day), "m" + std::to_string(row), std::string(300, 'x'));
    }
    ASSERT_TRUE(engine->Commit(batch, Durability::kBuffered).has_value());
  }
  std::printf("18,600 rows in memtables: +%ld KiB\n", ResidentKib() - at_start);
  since = Clock::now();
  ASSERT_TRUE(engine->FlushAll().has_value());
  std::printf("all flushed: %.0f ms\n", ms(since));
  since = Clock::now();
  engine.reset();
  engine = Open(dir.path(), write_buffer_bytes);
  ASSERT_NE(engine, nullptr);
  std::printf("reopened: %.0f ms, +%ld KiB\n", ms(since), ResidentKib() - at_start);
  ASSERT_EQ(engine->Families(Family::Kind::kDay).size(), 93u);

  for (int day = 0; day < 5; ++day) {
    ASSERT_TRUE(engine->CloseFamily(DayFamily(day)).has_value());
    since = Clock::now();
    const auto report = engine->DropFamily(DayFamily(day));
    ASSERT_TRUE(report.has_value());
    const double drop = ms(since);
    ASSERT_TRUE(PutRow(*engine, kSys, "receipt", "1").has_value());
    since = Clock::now();
    ASSERT_TRUE(engine->ReleaseLogs().has_value());
    std::printf("drop %.1f ms (%llu bytes), release of logs %.1f ms\n", drop,
                static_cast<unsigned long long>(report->bytes_dropped), ms(since));
  }
  EXPECT_EQ(engine->Families(Family::Kind::kDay).size(), 88u);
  EXPECT_EQ(KeysOf(*engine, DayFamily(50)).size(), 200u);
}

// --- room on the disk

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kLastPart = 5 * kMiB;  // with this write buffer
constexpr std::uint64_t kBallast = 8 * kMiB;
constexpr std::uint64_t kNeeded = 9 * kMiB;

// A disk of which everything is known: what we keep occupied is not available.
class Ballast : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> OpenWith(std::uint64_t ballast) {
    auto opened = OpenRocksDbEngine(
        {.dir = dir_.path(), .write_buffer_bytes = kMiB, .ballast_bytes = ballast, .room = [this] {
           const std::uint64_t kept = Reserved();
           return DiskRoom{.available = left_ > kept ? left_ - kept : 0, .capacity = 1024 * kMiB};
         }});
    if (!opened) throw std::runtime_error(opened.error().message);
    return *std::move(opened);
  }
  fs::path file() const { return dir_ / "reserve"; }
  std::uint64_t Reserved() const {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(file(), error);
    return error ? 0 : size;
  }
  // Of the reserve and what is available beside it.
  void SetLeft(std::uint64_t bytes) { left_ = bytes; }

  TempDir dir_;
  std::uint64_t left_ = 100 * kMiB;
};

TEST_F(Ballast, IsOfZerosThatAreOnTheDiskAndNobodyElsesBusiness) {
  const auto engine = OpenWith(kBallast);
  EXPECT_EQ(engine->Room().ballast, kBallast);
  struct stat info = {};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), kBallast + kLastPart);
  EXPECT_GE(static_cast<std::uint64_t>(info.st_blocks) * 512, kBallast + kLastPart);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  std::ifstream in(file(), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_EQ(bytes.find_first_not_of('\0'), std::string::npos);
  EXPECT_THAT(*RocksDbFiles(dir_.path()), ::testing::Contains("reserve"));
}

TEST_F(Ballast, IsGivenUpWhenACommitNeedsItAndMadeAgainWhenThereIsRoom) {
  const auto engine = OpenWith(kBallast);
  ASSERT_TRUE(engine->OpenFamily(kDay1));
  ASSERT_TRUE(PutRow(*engine, kDay1, "early", "1"));
  SetLeft(kBallast + kLastPart + kNeeded - 1);
  EXPECT_TRUE(engine->Health()) << "the next commit has room";
  EXPECT_TRUE(PutRow(*engine, kSys, "receipt", "1"));
  EXPECT_EQ(engine->Room().ballast, 0u);
  EXPECT_EQ(Reserved(), kLastPart);
  EXPECT_TRUE(engine->Mend());
  EXPECT_EQ(engine->Room().ballast, 0u) << "it would be needed again at once";

  // Somebody else takes that as well.
  SetLeft(kLastPart + kNeeded - 1);
  const Status refused = PutRow(*engine, kSys, "more", "2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
  EXPECT_EQ(refused.error().field, "");
  const Status health = engine->Mend();
  ASSERT_FALSE(health);
  EXPECT_EQ(health.error().field, "disk-full");
  EXPECT_EQ(ValueOf(*engine, kDay1, "early"), "1") << "reads go on";
  EXPECT_EQ(Reserved(), kLastPart) << "that part is not for commits";
  SetLeft(kLastPart);
  ASSERT_TRUE(engine->CloseFamily(kDay1));
  EXPECT_TRUE(engine->DropFamily(kDay1)) << "a date ends on a full disk";
  EXPECT_EQ(Reserved(), 0u);

  SetLeft(100 * kMiB);
  EXPECT_TRUE(engine->Mend());
  EXPECT_EQ(engine->Room().ballast, kBallast);
  EXPECT_TRUE(PutRow(*engine, kSys, "more", "2"));
}

TEST_F(Ballast, TakesAnotherSizeWithTheNextStart) {
  OpenWith(kBallast);
  EXPECT_EQ(OpenWith(2 * kMiB)->Room().ballast, 2 * kMiB);
  EXPECT_EQ(OpenWith(0)->Room().ballast, 0u);
  EXPECT_EQ(Reserved(), kLastPart);
  EXPECT_EQ(OpenWith(kBallast)->Room().ballast, kBallast);
}

// --- crashes

// engine_child with its stdout on a pipe. Killed and reaped at the end, if it still runs.
class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    arguments.insert(arguments.begin(), MAYFLY_ENGINE_CHILD);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) {
      ::close(ends[0]);
      throw std::system_error(error, std::generic_category(), "posix_spawn");
    }
    out_ = ::fdopen(ends[0], "r");
  }
  ~Child() {
    std::fclose(out_);
    if (pid_ > 0) {
      Kill();
      Wait();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  std::optional<std::string> Line() {
    char line[512];
    if (std::fgets(line, sizeof(line), out_) == nullptr) return std::nullopt;
    return std::string(line);
  }
  void Kill() { ::kill(pid_, SIGKILL); }
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
  std::FILE* out_ = nullptr;
};

// How many of a batch's rows are there: 20 when whole (see engine_child.cc).
int RowsOfBatch(const Engine& engine, int number) {
  int rows = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string key = std::to_string(number) + "/" + std::to_string(i);
    rows += ValueOf(engine, kSys, key) == std::string(2000, 's');
    rows += ValueOf(engine, DayFamily(number / 10), key) == std::string(2000, 'd');
  }
  return rows;
}

TEST(RocksDbEngineCrash, AcknowledgedBatchesAreWholeAndOthersWholeOrAbsent) {
  TempDir dir;
  std::mt19937 random(20261122);
  int next = 0;
  for (int round = 0; round < 10; ++round) {
    Child child({"commit", dir.path().string(), std::to_string(next)});
    const int kill_after = std::uniform_int_distribution<int>(0, 60)(random);
    int acknowledged = next - 1;
    for (int lines = 0;; ++lines) {
      if (lines == kill_after) child.Kill();
      const std::optional<std::string> line = child.Line();
      if (!line) break;
      ASSERT_EQ(std::sscanf(line->c_str(), "b %d", &acknowledged), 1) << *line;
    }
    const int status = child.Wait();
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "round " << round;

    const auto engine = Open(dir.path());
    ASSERT_NE(engine, nullptr) << "round " << round;
    for (int number = 0; number <= acknowledged; ++number) {
      ASSERT_EQ(RowsOfBatch(*engine, number), 20) << "round " << round << " batch " << number;
    }
    const int after = RowsOfBatch(*engine, acknowledged + 1);
    EXPECT_TRUE(after == 0 || after == 20) << after;
    EXPECT_EQ(RowsOfBatch(*engine, acknowledged + 2), 0);
    next = acknowledged + (after == 20 ? 2 : 1);
  }
  EXPECT_GT(next, 0);
}

TEST(RocksDbEngineCrash, ADroppedFamilyStaysDropped) {
  TempDir dir;
  std::mt19937 random(20270222);
  int next = 0;
  std::set<int> dropped, acknowledged;
  for (int round = 0; round < 10; ++round) {
    Child child({"expire", dir.path().string(), std::to_string(next)});
    const int kill_after = std::uniform_int_distribution<int>(5, 60)(random);
    for (int lines = 0;; ++lines) {
      if (lines == kill_after) child.Kill();
      const std::optional<std::string> line = child.Line();
      if (!line) break;
      int day = 0, number = 0;
      if (std::sscanf(line->c_str(), "d %d", &day) == 1) {
        dropped.insert(day);
      } else {
        ASSERT_EQ(std::sscanf(line->c_str(), "b %d", &number), 1) << *line;
        acknowledged.insert(number);
      }
    }
    const int status = child.Wait();
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "round " << round;

    const auto engine = Open(dir.path());
    ASSERT_NE(engine, nullptr) << "round " << round;
    for (const int day : dropped) {
      EXPECT_EQ(ValueOf(*engine, DayFamily(day), "any"), "(expired)") << "day " << day;
    }
    const std::vector<Family> families = engine->Families(Family::Kind::kDay);
    for (const int number : acknowledged) {
      if (std::find(families.begin(), families.end(), DayFamily(number / 10)) == families.end()) {
        continue;
      }
      ASSERT_EQ(RowsOfBatch(*engine, number), 20) << "round " << round << " batch " << number;
    }
    if (acknowledged.empty()) continue;
    EXPECT_EQ(RowsOfBatch(*engine, *acknowledged.rbegin()), 20);  // its day has not passed
    next = *acknowledged.rbegin() + 2;  // one batch may have been committed without a report
  }
  EXPECT_FALSE(dropped.empty());
}

TEST(RocksDbEngineCrash, AFullDiskIsReportedAndADropMakesRoomAgain) {
  for (const char* mode : {"full", "full-reopen"}) {
    TempDir dir;
    Child child({mode, dir.path().string()});
    while (const std::optional<std::string> line = child.Line()) std::printf("%s", line->c_str());
    const int status = child.Wait();
    ASSERT_TRUE(WIFEXITED(status)) << mode;
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "a small disk cannot be mounted here";
    EXPECT_EQ(WEXITSTATUS(status), 0) << mode;
  }
}

TEST(RocksDbEngineCrash, AFlushOnAFullDiskTakesTheBallastAndALaterOneWaitsForRoom) {
  TempDir dir;
  Child child({"flush", dir.path().string()});
  const int status = child.Wait();
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "a small disk cannot be mounted here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RocksDbEngineCrash, ATableThatCannotBeWrittenNeedsOpeningAnewAndLosesNothing) {
  TempDir dir;
  Child child({"flush-limit", dir.path().string()});
  const int status = child.Wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RocksDbEngineCrash, ALogThatCannotBeWrittenNeedsOpeningAnewAndLosesNothing) {
  TempDir dir;
  Child child({"limit", dir.path().string()});
  while (const std::optional<std::string> line = child.Line()) std::printf("%s", line->c_str());
  const int status = child.Wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace mayfly::store
