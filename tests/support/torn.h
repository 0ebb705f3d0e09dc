// What a power cut may leave of writes in place: directories as bytes, and all that lies between
// two of them.
#ifndef MAYFLY_TESTS_SUPPORT_TORN_H_
#define MAYFLY_TESTS_SUPPORT_TORN_H_

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/key_bytes.h"

namespace mayfly::testing {

using Directory = std::map<std::string, std::string>;  // name to bytes

inline Directory ReadDirectory(const std::filesystem::path& dir) {
  Directory files;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    files[entry.path().filename().string()] = ReadFile(entry.path());
  }
  return files;
}

// Makes `dir` hold these files and no others. What is as it should be already is not written.
inline void WriteDirectory(const std::filesystem::path& dir, const Directory& files) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (!files.contains(entry.path().filename().string())) std::filesystem::remove(entry.path());
  }
  for (const auto& [name, bytes] : files) {
    if (!std::filesystem::exists(dir / name) || ReadFile(dir / name) != bytes) {
      WriteFile(dir / name, bytes);
    }
  }
}

enum class Cuts { kBothEnds, kFromTheFront };

// Everything that may be left of turning `before` into `after` in place: its first bytes are there
// and the rest is not, or its last ones and the beginning is not. Cuts that leave the same bytes
// come once.
inline std::vector<std::string> TearsOf(std::string before, const std::string& after,
                                        Cuts cuts = Cuts::kBothEnds) {
  std::vector<std::string> torn = {before};
  before.resize(std::max(before.size(), after.size()));
  std::string front = before;
  std::string back = after;
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (before[i] == after[i]) continue;
    front[i] = after[i];
    back[i] = before[i];
    torn.push_back(front);
    if (cuts == Cuts::kBothEnds) torn.push_back(back);
  }
  torn.push_back(after);
  return torn;
}

// The same of directories, file after file in the order of their names (so .a before .b): those
// that are new begin as zeros, those that went go last.
inline std::vector<Directory> TearsOf(const Directory& before, const Directory& after) {
  std::vector<Directory> torn;
  Directory state = before;
  for (const auto& [name, bytes] : after) {
    if (!state.contains(name)) state[name] = std::string(bytes.size(), '\0');
  }
  torn.push_back(state);
  for (const auto& [name, bytes] : after) {
    if (state[name] == bytes) continue;
    for (const std::string& cut : TearsOf(state[name], bytes)) {
      state[name] = cut;
      torn.push_back(state);
    }
    state[name] = bytes;
  }
  for (auto it = state.begin(); it != state.end();) {
    if (after.contains(it->first)) {
      ++it;
    } else {
      it = state.erase(it);
      torn.push_back(state);
    }
  }
  return torn;
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_TORN_H_
