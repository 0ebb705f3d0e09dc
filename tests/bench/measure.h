// What every benchmark program needs: a directory, an end when something fails, time, bytes.
#ifndef MAYFLY_TESTS_BENCH_MEASURE_H_
#define MAYFLY_TESTS_BENCH_MEASURE_H_

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "store/model/result.h"

namespace mayfly::bench {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

[[noreturn]] inline void Die(const std::string& what) {
  std::cerr << ::program_invocation_short_name << ": " << what << "\n";
  std::exit(1);
}
template <class T>
T Must(Result<T> result) {
  if (!result) Die(result.error().message);
  return *std::move(result);
}
inline void Must(const Status& status) {
  if (!status) Die(status.error().message);
}

inline double SecondsSince(Steady::time_point begin) {
  return std::chrono::duration<double>(Steady::now() - begin).count();
}

// Of this thread: what other work on the machine does not change.
inline double CpuSeconds() {
  timespec at{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}

// What a process, its threads and the children that it has waited for gave to the disk so far:
// whole pages, a page again each time that it was written anew. `process`: a number, or "self".
// nullopt when there is no such process, or when it is not for us to know.
inline std::optional<std::uint64_t> WrittenBytesOf(const std::string& process) {
  std::ifstream in("/proc/" + process + "/io");
  std::string name;
  for (std::uint64_t bytes = 0; in >> name >> bytes;) {
    if (name == "write_bytes:") return bytes;
  }
  return std::nullopt;
}
inline std::uint64_t WrittenBytes() {
  const auto bytes = WrittenBytesOf("self");
  if (!bytes) Die("/proc/self/io cannot be read");
  return *bytes;
}

// Until this process has written nothing for half a second: what a flush set going has ended.
inline void AwaitQuiet() {
  std::uint64_t before = 0;
  for (std::uint64_t now = WrittenBytes(); now != before; now = WrittenBytes()) {
    before = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

// Below TMPDIR; removed at the end.
class Dir {
 public:
  Dir() {
    std::string name = (fs::temp_directory_path() / "mayfly-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) Die("no temporary directory");
    path_ = name;
  }
  ~Dir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Dir(const Dir&) = delete;
  Dir& operator=(const Dir&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_MEASURE_H_
