#include "store/model/ids.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <sodium.h>
#include <system_error>

namespace mayfly {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::string_view kAccountPrefix = "acc_";
constexpr std::string_view kConversationPrefix = "cnv_";
constexpr std::string_view kErasurePrefix = "ers_";
constexpr std::string_view kRestrictionPrefix = "rst_";
constexpr std::size_t kDayChars = 8;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string ToHex16(const Bytes16& bytes) {
  return ToHex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::optional<Bytes16> FromHex16(std::string_view hex) {
  Bytes16 bytes = {};
  if (hex.size() != 2 * bytes.size()) return std::nullopt;
  const std::optional<std::string> raw = FromHex(hex);
  if (!raw) return std::nullopt;
  std::copy(raw->begin(), raw->end(), bytes.begin());
  return bytes;
}

}  // namespace

std::string ToHex(std::string_view bytes) {
  std::string hex(2 * bytes.size(), '\0');
  char* out = hex.data();
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    *out++ = kHexDigits[byte >> 4];
    *out++ = kHexDigits[byte & 15];
  }
  return hex;
}

std::optional<std::string> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexDigit(hex[i]);
    const int low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

std::string AccountId::ToString() const {
  return std::string(kAccountPrefix) + std::to_string(value);
}

std::optional<AccountId> AccountId::Parse(std::string_view text) {
  if (!text.starts_with(kAccountPrefix)) return std::nullopt;
  text.remove_prefix(kAccountPrefix.size());
  // One text for each id: no sign and no leading zero.
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  AccountId id;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id.value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

std::string ConversationId::ToString() const {
  return std::string(kConversationPrefix) + ToHex16(bytes);
}

std::optional<ConversationId> ConversationId::Parse(std::string_view text) {
  if (!text.starts_with(kConversationPrefix)) return std::nullopt;
  const std::optional<Bytes16> bytes = FromHex16(text.substr(kConversationPrefix.size()));
  if (!bytes) return std::nullopt;
  return ConversationId{*bytes};
}

ConversationId ConversationId::Random() {
  // Idempotent and thread-safe. Without a source of randomness nothing here may go on.
  static const bool ready = sodium_init() >= 0;
  if (!ready) std::abort();
  ConversationId id;
  randombytes_buf(id.bytes.data(), id.bytes.size());
  return id;
}

std::string ErasureId::ToString() const { return std::string(kErasurePrefix) + ToHex16(bytes); }

std::optional<ErasureId> ErasureId::Parse(std::string_view text) {
  if (!text.starts_with(kErasurePrefix)) return std::nullopt;
  const std::optional<Bytes16> bytes = FromHex16(text.substr(kErasurePrefix.size()));
  if (!bytes) return std::nullopt;
  return ErasureId{*bytes};
}

ErasureId ErasureId::Random() { return {ConversationId::Random().bytes}; }

std::string RestrictionId::ToString() const {
  return std::string(kRestrictionPrefix) + ToHex16(bytes);
}

std::optional<RestrictionId> RestrictionId::Parse(std::string_view text) {
  if (!text.starts_with(kRestrictionPrefix)) return std::nullopt;
  const std::optional<Bytes16> bytes = FromHex16(text.substr(kRestrictionPrefix.size()));
  if (!bytes) return std::nullopt;
  return RestrictionId{*bytes};
}

RestrictionId RestrictionId::Random() { return {ConversationId::Random().bytes}; }

template <class Tag>
std::string DatedId<Tag>::ToString() const {
  return std::string(Tag::kPrefix) + FormatDayCompact(day) + "_" + ToHex16(bytes);
}

template <class Tag>
std::optional<DatedId<Tag>> DatedId<Tag>::Parse(std::string_view text) {
  if (!text.starts_with(Tag::kPrefix)) return std::nullopt;
  text.remove_prefix(Tag::kPrefix.size());
  if (text.size() <= kDayChars || text[kDayChars] != '_') return std::nullopt;
  const std::optional<ExpiryDay> day = ParseDayCompact(text.substr(0, kDayChars));
  const std::optional<Bytes16> bytes = FromHex16(text.substr(kDayChars + 1));
  if (!day || !bytes) return std::nullopt;
  return DatedId<Tag>{*day, *bytes};
}

template struct DatedId<MessageIdTag>;
template struct DatedId<ReplyIdTag>;

}  // namespace mayfly
