#include "store/tokens.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <sodium.h>

#include "store/core.h"

namespace mayfly::store {
namespace {

constexpr std::string_view kPrefix = "mfy_";
constexpr std::string_view kDigits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretDigits = 43;   // 62^43 > 2^256
constexpr std::size_t kChecksumDigits = 6;  // 62^6 > 2^32
constexpr std::size_t kTokenChars = kPrefix.size() + kSecretDigits + kChecksumDigits;

// Big-endian number to a fixed count of base-62 digits.
std::string ToBase62(std::span<std::uint8_t> number, std::size_t digit_count) {
  std::string digits(digit_count, '0');
  for (std::size_t i = digit_count; i-- > 0;) {
    unsigned remainder = 0;
    for (std::uint8_t& byte : number) {
      const unsigned value = remainder * 256 + byte;
      byte = static_cast<std::uint8_t>(value / 62);
      remainder = value % 62;
    }
    digits[i] = kDigits[remainder];
  }
  return digits;
}

// CRC-32 (ISO-HDLC) of the digits, so that a mistyped or cut token is refused without a look-up. It
// protects nothing: the secret is what the keyed hash finds.
std::string ChecksumOf(std::string_view digits) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : digits) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  crc = ~crc;
  std::array<std::uint8_t, 4> bytes = {
      static_cast<std::uint8_t>(crc >> 24), static_cast<std::uint8_t>(crc >> 16),
      static_cast<std::uint8_t>(crc >> 8), static_cast<std::uint8_t>(crc)};
  return ToBase62(bytes, kChecksumDigits);
}

std::string HashOf(const Core& core, const std::string& token) {
  Pair key = core.vault().PurposeKey(schema::kPurposeTokenHash);
  std::string hash(32, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(hash.data()), hash.size(),
                     reinterpret_cast<const unsigned char*>(token.data()), token.size(), key.data(),
                     key.size());
  sodium_memzero(key.data(), key.size());
  return hash;
}

Result<TokenInfo> OpenToken(const Core& core, std::string_view key, std::string_view sealed) {
  MAYFLY_ASSIGN_OR_RETURN(const std::string body,
                          core.OpenSys(schema::kToken, key, schema::kPurposeToken, sealed));
  return core.Checked(codec::DecodeToken(body));
}

tl::unexpected<Error> Unknown() { return Fail(ErrorCode::kNotFound, "There is no such token."); }

}  // namespace

bool Tokens::LooksLikeToken(std::string_view text) {
  if (text.size() != kTokenChars || !text.starts_with(kPrefix)) return false;
  const std::string_view digits = text.substr(kPrefix.size());
  const bool in_alphabet = std::all_of(digits.begin(), digits.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
  if (!in_alphabet) return false;
  const std::string checksum = ChecksumOf(digits.substr(0, kSecretDigits));
  return sodium_memcmp(checksum.data(), digits.data() + kSecretDigits, kChecksumDigits) == 0;
}

Result<Tokens::Created> Tokens::Create(Role role, const std::string& label, std::chrono::days life,
                                       const Actor& actor, TimePoint now) {
  if (life < std::chrono::days(1) || life > kTokenLifeMax) {
    return Fail(ErrorCode::kInvalidArgument, "A token lives from 1 to 90 days.", "days");
  }
  std::array<std::uint8_t, kSecretBytes> secret;
  randombytes_buf(secret.data(), secret.size());
  std::string text(kPrefix);
  text += ToBase62(secret, kSecretDigits);  // uses the secret's bytes up
  text += ChecksumOf(std::string_view(text).substr(kPrefix.size()));

  std::array<std::uint8_t, 8> id_bytes;
  randombytes_buf(id_bytes.data(), id_bytes.size());
  Created created;
  created.info.id =
      "tok_" + ToHex({reinterpret_cast<const char*>(id_bytes.data()), id_bytes.size()});
  created.info.role = role;
  created.info.label = label;
  created.info.created_at = now;
  created.info.expires_at = now + life;

  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  std::string key = schema::TokenKey(HashOf(core_, text));
  created.token = AccessToken(std::move(text));
  std::string sealed =
      core_.SealSys(schema::kToken, key, {}, schema::kPurposeToken, codec::Encode(created.info));
  transaction.batch().Put(Family::Sys(), std::move(key), std::move(sealed));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "token.create", created.info.id, "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return created;
}

Result<TokenInfo> Tokens::Verify(const AccessToken& token, TimePoint now) const {
  if (!LooksLikeToken(token.Reveal())) return Unknown();
  // The look-up is by keyed hash: what it compares tells nothing about the token's own bytes.
  const std::string key = schema::TokenKey(HashOf(core_, token.Reveal()));
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, core_.engine().Get(Family::Sys(), key));
  if (!sealed) return Unknown();
  auto info = OpenToken(core_, key, *sealed);
  if (!info || !IsVisible(info->expires_at, now)) return Unknown();
  return info;
}

Result<std::vector<TokenInfo>> Tokens::List() const {
  std::vector<TokenInfo> tokens;
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
      Family::Sys(), {.prefix = schema::Key(schema::kToken)},
      [&](std::string_view key, std::string_view sealed) {
        auto info = OpenToken(core_, key, sealed);
        if (info) tokens.push_back(*std::move(info));  // a damaged one is counted and opens nothing
        return true;
      }));
  std::sort(tokens.begin(), tokens.end(), [](const TokenInfo& a, const TokenInfo& b) {
    return std::tie(a.created_at, a.id) < std::tie(b.created_at, b.id);
  });
  return tokens;
}

Result<TokenInfo> Tokens::Find(const std::string& id, TimePoint now) const {
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<TokenInfo> tokens, List());
  for (const TokenInfo& info : tokens) {
    if (info.id == id && IsVisible(info.expires_at, now)) return info;
  }
  return Unknown();
}

Status Tokens::Revoke(const std::string& id, const Actor& actor, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  std::optional<std::string> found;
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(Family::Sys(), {.prefix = schema::Key(schema::kToken)},
                                             [&](std::string_view key, std::string_view sealed) {
                                               const auto info = OpenToken(core_, key, sealed);
                                               if (info && info->id == id) found = std::string(key);
                                               return !found;
                                             }));
  if (!found) return Unknown();
  transaction.batch().Remove(Family::Sys(), *found);
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "token.revoke", id, "ok"));
  return transaction.Commit();
}

}  // namespace mayfly::store
