// A directory of its own for one test: mode 0700, below the build folder, removed at the end.
#ifndef MAYFLY_TESTS_SUPPORT_TEMP_DIR_H_
#define MAYFLY_TESTS_SUPPORT_TEMP_DIR_H_

#include <cerrno>
#include <filesystem>
#include <stdlib.h>
#include <string>
#include <system_error>

namespace mayfly::testing {

class TempDir {
 public:
  TempDir() {
    const std::filesystem::path parent = std::filesystem::path(MAYFLY_BINARY_DIR) / "tmp";
    std::filesystem::create_directories(parent);
    std::string name = (parent / "test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "mkdtemp");
    }
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;  // a leftover in the build folder is no reason to end the test program
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_TEMP_DIR_H_
