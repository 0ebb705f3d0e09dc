// What lies in the memory of another process, mapping by mapping. Root's to read.
#ifndef MAYFLY_TESTS_SUPPORT_PROCESS_MEMORY_H_
#define MAYFLY_TESTS_SUPPORT_PROCESS_MEMORY_H_

#include <cstdint>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

namespace mayfly::testing {

// A mapping as /proc/PID/smaps tells of it.
struct Mapping {
  std::uint64_t begin = 0, end = 0;
  bool readable = false;
  std::string flags;
  bool IsDumped() const { return !Has("dd"); }  // a core file would hold it
  bool IsLocked() const { return Has("lo"); }   // it never reaches swap

 private:
  bool Has(const std::string& flag) const { return flags.find(" " + flag) != std::string::npos; }
};

inline std::vector<Mapping> MappingsOf(pid_t pid) {
  std::vector<Mapping> mappings;
  std::ifstream in("/proc/" + std::to_string(pid) + "/smaps");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmFlags:")) {
      if (!mappings.empty()) mappings.back().flags = line.substr(8);
    } else if (line.find('-') < line.find(':')) {
      Mapping mapping;
      char dash = 0, r = 0;
      std::istringstream words(line);
      words >> std::hex >> mapping.begin >> dash >> mapping.end >> r;
      mapping.readable = r == 'r';
      if (dash == '-' && mapping.end > mapping.begin) mappings.push_back(mapping);
    }
  }
  return mappings;
}

// Each readable mapping with its bytes.
inline void VisitMemory(pid_t pid,
                        const std::function<void(const Mapping&, std::string_view)>& visit) {
  const int memory =
      ::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_GE(memory, 0);
  for (const Mapping& mapping : MappingsOf(pid)) {
    if (!mapping.readable) continue;
    std::string bytes(mapping.end - mapping.begin, '\0');
    const ssize_t got =
        ::pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(mapping.begin));
    if (got <= 0) continue;  // [vvar] and the like
    visit(mapping, std::string_view(bytes).substr(0, static_cast<std::size_t>(got)));
  }
  ::close(memory);
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_PROCESS_MEMORY_H_
