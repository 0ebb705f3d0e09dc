#include "connectors/repair_json.h"

#include <optional>

namespace mayfly::connectors {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The code unit of the escape \uXXXX at the start of `bytes`, if there is one.
std::optional<unsigned> UnicodeEscape(std::string_view bytes) {
  if (bytes.size() < 6 || bytes[0] != '\\' || bytes[1] != 'u') return std::nullopt;
  unsigned unit = 0;
  for (std::size_t i = 2; i < 6; ++i) {
    const char c = bytes[i];
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<unsigned>(c - 'A') + 10;
    } else {
      return std::nullopt;
    }
    unit = unit * 16 + digit;
  }
  return unit;
}

bool IsHighSurrogate(unsigned unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
bool IsLowSurrogate(unsigned unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

}  // namespace

std::size_t SequenceLength(std::string_view bytes) {
  const auto at = [&](std::size_t i) {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u;
  };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xE0 && at(1) < 0xA0) return 0;  // overlong
    if (lead == 0xED && at(1) > 0x9F) return 0;  // surrogate
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xF0 && at(1) < 0x90) return 0;  // overlong
    if (lead == 0xF4 && at(1) > 0x8F) return 0;  // beyond U+10FFFF
    return 4;
  }
  return 0;
}

std::string RepairJson(std::string_view body) {
  std::string out;
  out.reserve(body.size());
  bool in_string = false;
  std::size_t depth = 0;
  const auto emit = [&](std::string_view bytes) {
    if (depth <= kRepairDepthKept) out.append(bytes);
  };
  for (std::size_t i = 0; i < body.size();) {
    const std::string_view rest = body.substr(i);
    const std::size_t length = SequenceLength(rest);
    if (length == 0) {
      emit(kReplacement);
      ++i;
      continue;
    }
    const char c = body[i];
    if (in_string) {
      if (c == '\\') {
        const std::optional<unsigned> unit = UnicodeEscape(rest);
        if (unit && IsHighSurrogate(*unit)) {
          const std::optional<unsigned> low = UnicodeEscape(rest.substr(6));
          const bool pair = low && IsLowSurrogate(*low);
          emit(pair ? rest.substr(0, 12) : std::string_view("\\ufffd"));
          i += pair ? 12 : 6;
          continue;
        }
        if (unit && IsLowSurrogate(*unit)) {
          emit("\\ufffd");
          i += 6;
          continue;
        }
        // Another escape: keep the pair of bytes together, so that \" does not end the string.
        const std::size_t second = rest.size() > 1 ? SequenceLength(rest.substr(1)) : 0;
        emit(rest.substr(0, 1 + second));
        i += 1 + second;
        continue;
      }
      if (c == '"') in_string = false;
      emit(rest.substr(0, length));
      i += length;
      continue;
    }
    if (c == '{' || c == '[') {
      if (depth == kRepairDepthKept) out.append("null");
      ++depth;
      emit(rest.substr(0, 1));
    } else if (c == '}' || c == ']') {
      emit(rest.substr(0, 1));
      if (depth > 0) --depth;
    } else {
      if (c == '"') in_string = true;
      emit(rest.substr(0, length));
    }
    i += length;
  }
  return out;
}

}  // namespace mayfly::connectors
