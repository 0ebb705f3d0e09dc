#include "store/engine/engine.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "store/engine/key_range.h"

namespace mayfly::store {
namespace {

bool AllDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<std::uint32_t> ParseNumber(std::string_view digits) {
  if (!AllDigits(digits)) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string Family::Name() const {
  switch (kind) {
    case Kind::kSys:
      return "sys";
    case Kind::kDay:
      return "D" + FormatDayCompact(day());
    case Kind::kTwin:
      return "T" + FormatDayCompact(day());
    case Kind::kAudit: {
      const std::string digits = std::to_string(number);
      return "A" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
    }
  }
  return {};
}

std::optional<Family> Family::Parse(std::string_view name) {
  if (name == "sys") return Sys();
  if (name.empty()) return std::nullopt;
  const std::string_view digits = name.substr(1);
  if ((name.front() == 'D' || name.front() == 'T') && digits.size() == 8 && AllDigits(digits)) {
    const std::optional<ExpiryDay> day = ParseDayCompact(digits);
    if (!day || *day < ExpiryDay()) return std::nullopt;
    return name.front() == 'D' ? Day(*day) : Twin(*day);
  }
  if (name.front() == 'A' && digits.size() == 6) {
    const std::optional<std::uint32_t> month = ParseNumber(digits);
    if (!month || *month % 100 < 1 || *month % 100 > 12) return std::nullopt;
    return Audit(*month);
  }
  return std::nullopt;
}

std::optional<std::string> PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::nullopt;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

KeyRange RangeOf(const ScanOptions& options) {
  KeyRange range{options.prefix, PrefixEnd(options.prefix)};
  if (!options.after) return range;
  if (options.reverse) {
    if (!range.end || *options.after < *range.end) range.end = *options.after;
  } else {
    std::string behind = *options.after + '\0';  // the first key that is greater
    if (behind > range.begin) range.begin = std::move(behind);
  }
  return range;
}

}  // namespace mayfly::store
