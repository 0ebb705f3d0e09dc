#include "connectors/options.h"

#include <algorithm>
#include <string_view>

#include "connectors/egress.h"

namespace mayfly::connectors {
namespace {

tl::unexpected<Error> Unusable(const OptionInfo& option, std::string message) {
  return Fail(ErrorCode::kOptionUnusable, std::move(message), option.name);
}

bool IsOneWord(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

Status CheckOption(const OptionInfo& option, const std::string& value, const EgressPolicy& egress) {
  std::string_view counted = value;
  if (option.kind == OptionKind::kHandle && counted.starts_with('@')) counted.remove_prefix(1);
  if (counted.size() > option.bytes_max) {
    return Unusable(option,
                    "It must have at most " + std::to_string(option.bytes_max) + " characters.");
  }
  switch (option.kind) {
    case OptionKind::kText:
      return {};
    case OptionKind::kHandle:
    case OptionKind::kToken:
      if (IsOneWord(counted)) return {};
      return Unusable(option, "It must be printable ASCII characters without blanks.");
    case OptionKind::kOrigin: {
      auto origin = ParseOrigin(NormalOrigin(value), egress);
      if (origin) return {};
      return Unusable(option, std::move(origin).error().message);
    }
  }
  return Unusable(option, "It cannot be judged.");
}

std::string NormalOrigin(std::string origin) {
  while (!origin.empty() && origin.back() == '/') origin.pop_back();
  std::transform(origin.begin(), origin.end(), origin.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return origin;
}

}  // namespace mayfly::connectors
