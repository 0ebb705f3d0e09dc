#include "service/api/input.h"

#include <algorithm>
#include <array>
#include <sodium.h>
#include <vector>

namespace mayfly::service::api {
namespace {

constexpr std::size_t kPageLimitDefault = 50;
constexpr std::size_t kPageLimitMax = 200;
constexpr std::size_t kMacBytes = 16;
constexpr std::size_t kCursorBytesMax = 2048;

bool IsPlainWord(std::string_view text) {
  return !text.empty() && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The inside of a quoted entity tag, or nothing. `weak` tags are marked by the caller.
std::optional<std::string_view> Opaque(std::string_view tag) {
  if (tag.size() < 2 || tag.front() != '"' || tag.back() != '"') return std::nullopt;
  const std::string_view inside = tag.substr(1, tag.size() - 2);
  const bool plain = std::all_of(inside.begin(), inside.end(),
                                 [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
  return plain ? std::optional(inside) : std::nullopt;
}

// Keyed over list and position, each with its length, so that nothing can move between the two.
std::array<unsigned char, kMacBytes> Mac(const ApiContext& context, std::string_view list,
                                         std::string_view position) {
  std::array<unsigned char, 32> key;
  crypto_generichash(key.data(), key.size(),
                     reinterpret_cast<const unsigned char*>(context.cursor_key.data()),
                     context.cursor_key.size(), nullptr, 0);
  const std::string input = "cursor-1:" + std::to_string(list.size()) + ":" + std::string(list) +
                            ":" + std::string(position);
  std::array<unsigned char, kMacBytes> mac;
  crypto_generichash(mac.data(), mac.size(), reinterpret_cast<const unsigned char*>(input.data()),
                     input.size(), key.data(), key.size());
  sodium_memzero(key.data(), key.size());
  return mac;
}

}  // namespace

Result<json::Value> ParseObject(const Request& request,
                                std::initializer_list<std::string_view> allowed) {
  auto parsed = json::Parse(request.body, {.bytes_max = 1u << 20, .items_max = 1'000});
  if (!parsed) return Fail(ErrorCode::kInvalidArgument, "The body is not one valid JSON document.");
  if (!parsed->is_object()) {
    return Fail(ErrorCode::kInvalidArgument, "The body must be a JSON object.");
  }
  for (const auto& [name, value] : *parsed->AsObject()) {
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    return Fail(ErrorCode::kInvalidArgument, "A member is not known here.",
                IsPlainWord(name) ? "/" + name : std::string());
  }
  return *std::move(parsed);
}

Status CheckLine(const std::string& value, std::size_t bytes_max, const std::string& pointer) {
  if (value.empty()) return Fail(ErrorCode::kInvalidArgument, "It must not be empty.", pointer);
  if (value.size() > bytes_max) {
    return Fail(ErrorCode::kInvalidArgument,
                "It may have at most " + std::to_string(bytes_max) + " bytes.", pointer);
  }
  const bool plain = std::none_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (!plain) {
    return Fail(ErrorCode::kInvalidArgument, "It must not hold control characters.", pointer);
  }
  return {};
}

Result<IfMatch> ParseIfMatch(const Request& request) {
  IfMatch match;
  const std::string* field = request.Header("if-match");
  if (field == nullptr) return match;
  match.given = true;
  if (*field == "*") return match;
  // A weak tag is well-formed and never equal in the strong comparison that If-Match asks for.
  const bool weak = field->substr(0, 2) == "W/";
  const auto opaque = Opaque(weak ? std::string_view(*field).substr(2) : std::string_view(*field));
  if (!opaque) {
    return Fail(ErrorCode::kInvalidArgument, "If-Match takes one entity tag or *.", "If-Match");
  }
  match.revision = weak ? std::nullopt : ParseNumber(opaque->substr(0, opaque->find('-')));
  if (!match.revision) return Fail(ErrorCode::kPreconditionFailed, "This tag matches nothing.");
  return match;
}

bool MatchesNone(const Request& request, const std::string& etag) {
  const std::string* field = request.Header("if-none-match");
  if (field == nullptr) return false;
  std::string_view rest = *field;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    std::string_view tag = Trim(rest.substr(0, comma));
    if (tag == "*") return true;
    if (tag.substr(0, 2) == "W/") tag.remove_prefix(2);
    if (tag == etag) return true;
    if (comma == std::string_view::npos) return false;
    rest.remove_prefix(comma + 1);
  }
  return false;
}

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  if (text.empty() || text.size() > 18 || (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

WantedRange ParseRange(const Request& request, std::uint64_t size, std::string_view etag) {
  static constexpr std::string_view kUnit = "bytes=";
  const std::string* field = request.Header("range");
  if (field == nullptr || !field->starts_with(kUnit)) return {};
  const std::string* if_range = request.Header("if-range");
  if (if_range != nullptr && Trim(*if_range) != etag) return {};
  const std::string_view text = Trim(std::string_view(*field).substr(kUnit.size()));
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view first_text = text.substr(0, dash);
  const std::string_view last_text = text.substr(dash + 1);
  const auto first = ParseNumber(first_text);
  const auto last = ParseNumber(last_text);
  if ((!first && !first_text.empty()) || (!last && !last_text.empty())) return {};
  if (!first && !last) return {};
  if (!first) {  // so many at the end
    if (*last == 0 || size == 0) return {.satisfiable = false};
    const std::uint64_t bytes = std::min(*last, size);
    return {.range = ByteRange{.first = size - bytes, .bytes = bytes}};
  }
  if (last && *last < *first) return {};
  if (*first >= size) return {.satisfiable = false};
  const std::uint64_t end = last ? std::min(*last, size - 1) : size - 1;
  return {.range = ByteRange{.first = *first, .bytes = end - *first + 1}};
}

Result<std::size_t> PageLimit(const Request& request) {
  const std::string* text = request.Query("limit");
  if (text == nullptr) return kPageLimitDefault;
  const auto limit = ParseNumber(*text);
  if (!limit || *limit < 1 || *limit > kPageLimitMax) {
    return Fail(ErrorCode::kInvalidArgument, "limit is a number from 1 to 200.", "?limit");
  }
  return static_cast<std::size_t>(*limit);
}

Result<std::optional<bool>> QueryBool(const Request& request, const std::string& name) {
  const std::string* text = request.Query(name);
  if (text == nullptr) return std::optional<bool>();
  if (*text == "true") return std::optional<bool>(true);
  if (*text == "false") return std::optional<bool>(false);
  return Fail(ErrorCode::kInvalidArgument, "It is true or false.", "?" + name);
}

std::string SignCursor(const ApiContext& context, std::string_view list,
                       std::string_view position) {
  const auto mac = Mac(context, list, position);
  std::string signed_position(mac.begin(), mac.end());
  signed_position += position;
  std::vector<char> text(
      sodium_base64_encoded_len(signed_position.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING));
  sodium_bin2base64(text.data(), text.size(),
                    reinterpret_cast<const unsigned char*>(signed_position.data()),
                    signed_position.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  return text.data();
}

Result<std::string> CursorPosition(const ApiContext& context, const Request& request,
                                   std::string_view list, std::string_view parameter) {
  const std::string* text = request.Query(parameter);
  if (text == nullptr) return std::string();
  return OpenCursor(context, list, *text);
}

Result<std::string> OpenCursor(const ApiContext& context, std::string_view list,
                               const std::string& text) {
  const auto invalid = [] { return Fail(ErrorCode::kCursorInvalid, "not a cursor of this list"); };
  if (text.size() > kCursorBytesMax) return invalid();
  std::string bytes(text.size(), '\0');
  std::size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
                        text.size(), nullptr, &size, nullptr,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      size <= kMacBytes) {
    return invalid();
  }
  std::string position = bytes.substr(kMacBytes, size - kMacBytes);
  const auto mac = Mac(context, list, position);
  if (sodium_memcmp(mac.data(), bytes.data(), kMacBytes) != 0) return invalid();
  return position;
}

}  // namespace mayfly::service::api
