// Looks for byte strings in raw files, as somebody would who has the disk.
#ifndef MAYFLY_TESTS_BENCH_NEEDLES_H_
#define MAYFLY_TESTS_BENCH_NEEDLES_H_

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mayfly::bench {

class Needles {
 public:
  static constexpr std::size_t kBytes = 16;  // of each

  Needles();
  void Add(std::string_view needle);
  std::size_t size() const { return numbers_.size(); }

  struct Found {
    std::size_t count = 0;        // of the needles
    std::set<std::string> where;  // directories of `dir`, and extensions of files in itself
  };
  // Those that lie in a file below `dir`. What is torn apart (by the header of a block of a log,
  // say) is not found. A file that goes away meanwhile is passed over.
  Found FoundBelow(const std::filesystem::path& dir) const;
  // Those that lie in a file, or on a device.
  std::size_t FoundIn(const std::filesystem::path& file) const;

 private:
  // Whether there was any.
  bool Mark(std::string_view bytes, std::vector<bool>& found) const;
  bool MarkFile(const std::filesystem::path& file, std::vector<bool>& found) const;

  std::unordered_map<std::string, std::size_t> numbers_;
  std::vector<bool> filter_;  // by hash, so that most positions are passed over at once
};

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_NEEDLES_H_
