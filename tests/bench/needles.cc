#include "tests/bench/needles.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/bench/measure.h"

namespace mayfly::bench {
namespace {

constexpr unsigned kFilterBits = 22;

std::size_t Hash(const char* bytes) {
  std::uint64_t halves[2];
  std::memcpy(halves, bytes, sizeof(halves));
  return (halves[0] * 0x9e3779b97f4a7c15u ^ halves[1] * 0xc2b2ae3d27d4eb4fu) >> (64 - kFilterBits);
}

}  // namespace

Needles::Needles() : filter_(std::size_t{1} << kFilterBits) {}

void Needles::Add(std::string_view needle) {
  if (needle.size() != kBytes) Die("a needle of another length");
  numbers_.emplace(needle, numbers_.size());
  filter_[Hash(needle.data())] = true;
}

bool Needles::Mark(std::string_view bytes, std::vector<bool>& found) const {
  bool any = false;
  for (std::size_t at = 0; at + kBytes <= bytes.size(); ++at) {
    if (!filter_[Hash(bytes.data() + at)]) continue;
    const auto number = numbers_.find(std::string(bytes.substr(at, kBytes)));
    if (number == numbers_.end()) continue;
    found[number->second] = true;
    any = true;
  }
  return any;
}

bool Needles::MarkFile(const fs::path& file, std::vector<bool>& found) const {
  std::vector<char> buffer(1u << 20);
  std::ifstream in(file, std::ios::binary);
  if (!in && fs::exists(file)) Die(file.string() + " cannot be read");
  bool any = false;
  std::size_t kept = 0;  // of the chunk before, where a needle may begin
  while (in) {
    in.read(buffer.data() + kept, static_cast<std::streamsize>(buffer.size() - kept));
    const std::size_t have = kept + static_cast<std::size_t>(in.gcount());
    any |= Mark({buffer.data(), have}, found);
    kept = std::min(have, kBytes - 1);
    std::memmove(buffer.data(), buffer.data() + have - kept, kept);
  }
  return any;
}

Needles::Found Needles::FoundBelow(const fs::path& dir) const {
  Found answer;
  std::vector<bool> found(numbers_.size());
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    std::error_code gone;
    if (!entry.is_regular_file(gone) || !MarkFile(entry.path(), found)) continue;
    const fs::path below = entry.path().lexically_relative(dir);
    answer.where.insert(below.has_parent_path() ? *below.begin() : below.extension());
  }
  answer.count = static_cast<std::size_t>(std::count(found.begin(), found.end(), true));
  return answer;
}

std::size_t Needles::FoundIn(const fs::path& file) const {
  std::vector<bool> found(numbers_.size());
  MarkFile(file, found);
  return static_cast<std::size_t>(std::count(found.begin(), found.end(), true));
}

}  // namespace mayfly::bench
