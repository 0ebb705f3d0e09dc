// Ten thousand messages, each with a mark of its own, are collected, read, searched and backed up.
// Then their dates come. No mark is left anywhere: not on the raw disk, not in the engine's files
// or logs, not in the memory of a process, not in the old backup.
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/model/ids.h"
#include "tests/support/process_memory.h"
#include "tests/support/sanitized.h"
#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::days;
using std::chrono::hours;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr const char* kPlatform = "bluesky";
constexpr int kMarks = 10'000;
constexpr int kPeople = 40;
constexpr std::size_t kMarkBytes = 16;
constexpr std::size_t kImageBytes = 768u << 20;

// Finds any of many marks in any bytes: as it is written, and as hex of either case. One pass,
// whatever the number of marks.
class Marks {
 public:
  explicit Marks(int count) {
    std::mt19937_64 random(20261122);
    static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < count; ++i) {
      std::string mark;
      while (mark.size() < kMarkBytes) mark += kLetters[random() % kLetters.size()];
      Add(mark, i);
      Add(ToHex(mark), i);
      std::string upper = ToHex(mark);
      for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      Add(upper, i);
      texts_.push_back(std::move(mark));
    }
  }
  const std::string& operator[](int i) const { return texts_[static_cast<std::size_t>(i)]; }
  // Which of them stand in `bytes`.
  void FindIn(std::string_view bytes, std::set<int>* found) const {
    for (std::size_t at = 0; at + kMarkBytes <= bytes.size(); ++at) {
      std::uint16_t begin;
      std::memcpy(&begin, bytes.data() + at, sizeof begin);
      if (!begins_[begin]) continue;
      const auto range = forms_.equal_range(Word(bytes.substr(at)));
      for (auto form = range.first; form != range.second; ++form) {
        if (bytes.substr(at).starts_with(form->second.first)) found->insert(form->second.second);
      }
    }
  }

 private:
  static std::uint64_t Word(std::string_view bytes) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    return word;
  }
  void Add(const std::string& form, int mark) {
    std::uint16_t begin;
    std::memcpy(&begin, form.data(), sizeof begin);
    begins_[begin] = true;
    forms_.emplace(Word(form), std::pair(form, mark));
  }

  std::vector<std::string> texts_;
  std::vector<bool> begins_ = std::vector<bool>(1u << 16);
  std::unordered_multimap<std::uint64_t, std::pair<std::string, int>> forms_;
};

std::set<int> FoundInFile(const Marks& marks, const fs::path& path) {
  std::set<int> found;
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::string block(4u << 20, '\0');
  std::size_t kept = 0;  // the end of the block before: a mark may lie across
  while (file.read(block.data() + kept, static_cast<std::streamsize>(block.size() - kept)) ||
         file.gcount() > 0) {
    const std::size_t filled = kept + static_cast<std::size_t>(file.gcount());
    marks.FindIn(std::string_view(block).substr(0, filled), &found);
    kept = std::min<std::size_t>(filled, 2 * kMarkBytes);
    std::memmove(block.data(), block.data() + filled - kept, kept);
  }
  return found;
}

std::set<int> FoundBelow(const Marks& marks, const fs::path& dir) {
  std::set<int> found;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const std::set<int> here = FoundInFile(marks, entry.path());
    if (!here.empty()) ADD_FAILURE() << here.size() << " marks in " << entry.path();
    found.insert(here.begin(), here.end());
  }
  return found;
}

std::set<int> FoundInMemory(const Marks& marks, pid_t pid) {
  std::set<int> found;
  std::size_t bytes = 0;
  VisitMemory(pid, [&](const Mapping&, std::string_view content) {
    bytes += content.size();
    marks.FindIn(content, &found);
  });
  std::cout << "[          ] memory of process " << pid << ": " << (bytes >> 20) << " MiB, "
            << found.size() << " marks\n";
  return found;
}

// A disk of its own below a directory, so that what lies between files is searched as well.
class Disk {
 public:
  // What is in `dir` moves onto it. Why not, where there can be none.
  std::string Mount(const fs::path& image, const fs::path& dir) {
    std::ofstream(image).close();
    fs::resize_file(image, kImageBytes);
    if (RunProgram({"/sbin/mkfs.ext4", "-q", "-F", image.string()}).exit_code != 0) {
      return "no ext4 file system can be made here";
    }
    const fs::path beside = dir.string() + ".beside";
    fs::rename(dir, beside);
    fs::create_directory(dir);
    if (RunProgram({"/bin/mount", "-o", "loop", image.string(), dir.string()}).exit_code != 0) {
      fs::remove(dir);
      fs::rename(beside, dir);
      return "no image of a disk can be mounted here";
    }
    mounted_ = dir;
    fs::permissions(dir, fs::perms::owner_all);
    fs::remove(dir / "lost+found");
    for (const auto& entry : fs::directory_iterator(beside)) {
      fs::copy(entry.path(), dir / entry.path().filename(), fs::copy_options::recursive);
      fs::permissions(dir / entry.path().filename(), fs::status(entry.path()).permissions());
    }
    fs::remove_all(beside);
    return "";
  }
  void Unmount() {
    if (mounted_.empty()) return;
    EXPECT_EQ(RunProgram({"/bin/umount", mounted_.string()}).exit_code, 0);
    mounted_.clear();
  }
  ~Disk() {
    const fs::path left = mounted_.parent_path();
    Unmount();
    std::error_code ignored;
    if (!left.empty()) fs::remove_all(left, ignored);  // a test that failed could not
  }

 private:
  fs::path mounted_;
};

TEST(Traces, NoneOfTenThousandMarksIsLeft) {
  const Marks marks(kMarks);
  Disk disk;  // outlives what runs on it
  ServiceProcess service(kStart, RateFor(kPlatform));
  const fs::path image = service.dir() / "disk.img";
  const std::string no_disk = disk.Mount(image, service.data_dir());
  if (!no_disk.empty()) std::cout << "SKIPPED: the raw disk is not searched: " << no_disk << "\n";

  const auto platform = StartPlatform(kPlatform, service);
  // Three days' worth of them, so that three dates end.
  for (int i = 0; i < kMarks; ++i) {
    ASSERT_TRUE(platform->Write(i % kPeople, "mark " + marks[i] + " stands here",
                                kStart - hours(60) + std::chrono::seconds(20 * i)));
  }
  service.Start();
  service.MakeTokens();
  service.ConnectAccount(kPlatform, platform->office(), "P7D");
  const std::string last = service.AwaitMessage("mark " + marks[kMarks - 1] + " stands here");
  ASSERT_NE(last, "");
  ASSERT_TRUE(Eventually([&] { return service.ReadAll().size() == kMarks; }, 120));

  // They are there: read, found by a word, and in the memory of whoever shows them.
  const Answer hit = service.Ask("comms", "GET", "/v1/search?q=" + marks[kMarks / 2]);
  EXPECT_THAT(hit.body, HasSubstr(marks[kMarks / 2]));
  const bool memory = ::geteuid() == 0 && !kSanitized;
  if (memory) {
    std::set<int> held = FoundInMemory(marks, *service.CorePid());
    EXPECT_FALSE(held.empty()) << "the search itself must be able to find them";
  } else {
    std::cout << "SKIPPED: memory is not searched: it is root's to read, and not of a sanitizer\n";
  }
  ASSERT_EQ(
      RunProgram({ProgramDir() + "/mayfly-demo", "backup", (service.dir() / "backups").string(),
                  "--config", service.config_file().string(), "--clock-file",
                  (service.dir() / "clock").string()})
          .exit_code,
      0);

  service.clock().Set(kStart + days(8), 1.0);
  ASSERT_TRUE(Eventually([&] {
    return service.Ask("operator", "GET", "/metrics")
                   .body.find("mayfly_dates_due_not_destroyed 0") != std::string::npos &&
           service.Ask("comms", "GET", "/v1/messages/" + last).status == 410;
  }));
  ASSERT_THAT(service.ReadAll(), IsEmpty());
  const std::string metrics = service.Ask("operator", "GET", "/metrics").body;

  if (memory) {
    // What a thread has under its hands when a date ends is gone with the next thing that it does.
    EXPECT_TRUE(Eventually([&] {
      service.Ask("comms", "GET", "/v1/search?q=anything");
      return FoundInMemory(marks, *service.CorePid()).empty();
    }));
    EXPECT_THAT(FoundInMemory(marks, *service.WorkerPid()), IsEmpty());
    EXPECT_THAT(FoundInMemory(marks, service.supervisor()), IsEmpty());
  }
  EXPECT_EQ(service.Stop(), 0);
  EXPECT_THAT(FoundBelow(marks, service.data_dir()), IsEmpty());
  EXPECT_THAT(FoundBelow(marks, service.dir() / "backups"), IsEmpty());
  EXPECT_THAT(FoundInFile(marks, service.log_file()), IsEmpty());
  std::set<int> found;
  marks.FindIn(metrics, &found);
  EXPECT_THAT(found, IsEmpty());
  if (no_disk.empty()) {
    disk.Unmount();
    EXPECT_THAT(FoundInFile(marks, image), IsEmpty());
    std::cout << "[          ] the raw disk: " << (kImageBytes >> 20) << " MiB searched\n";
  }
}

}  // namespace
}  // namespace mayfly::testing
