#include "connectors/bluesky/simulator_tokens.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sodium.h>
#include <utility>

#include "store/model/json.h"

namespace mayfly::connectors {
namespace {

constexpr std::string_view kSortable = "234567abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::size_t kTidLength = 13;
constexpr int kBase64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

std::string Base64(std::string_view bytes) {
  std::string out(sodium_base64_encoded_len(bytes.size(), kBase64), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), kBase64);
  out.resize(out.size() - 1);  // the terminating NUL
  return out;
}

std::optional<std::string> FromBase64(std::string_view text) {
  std::string out(text.size() + 1, '\0');
  std::size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(),
                        text.size(), nullptr, &length, nullptr, kBase64) != 0) {
    return std::nullopt;
  }
  out.resize(length);
  return out;
}

std::int64_t Seconds(TimePoint at) {
  return std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
}

}  // namespace

std::string TidMaker::Next(TimePoint now) {
  const auto micros =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.time_since_epoch().count()) * 1'000);
  last_ = std::max(micros, last_ + 1);
  std::uint64_t value = last_ << 10;  // the low bits name the machine that made it: none
  std::string tid(kTidLength, '2');
  for (std::size_t i = kTidLength; i-- > 0; value >>= 5) tid[i] = kSortable[value & 31];
  return tid;
}

bool IsTid(std::string_view text) {
  return text.size() == kTidLength && text.find_first_not_of(kSortable) == std::string_view::npos;
}

std::string DidFor(const std::string& name) {
  std::array<unsigned char, 24> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(name.data()),
                     name.size(), nullptr, 0);
  std::string did = "did:plc:";
  for (const unsigned char byte : hash) did.push_back(kBase32[byte & 31]);
  return did;
}

TokenMaker::TokenMaker() {
  if (sodium_init() < 0) std::abort();
  randombytes_buf(key_.data(), key_.size());
}

std::string TokenMaker::Signature(const std::string& signed_part) const {
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> mac{};
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key_.data(), key_.size());
  crypto_auth_hmacsha256_update(&state, reinterpret_cast<const unsigned char*>(signed_part.data()),
                                signed_part.size());
  crypto_auth_hmacsha256_final(&state, mac.data());
  return Base64({reinterpret_cast<const char*>(mac.data()), mac.size()});
}

std::string TokenMaker::Make(const TokenClaims& claims) const {
  std::string payload;
  json::Writer writer(&payload);
  writer.StartObject().Field("scope", claims.scope).Field("sub", claims.did);
  writer.Field("aud", "did:web:simulator.test");
  if (!claims.id.empty()) writer.Field("jti", claims.id);
  writer.IntField("iat", Seconds(claims.issued_at)).IntField("exp", Seconds(claims.expires_at));
  writer.IntField("gen", claims.generation).EndObject();
  // Two sessions of one second must still be two tokens.
  std::string salt(9, '\0');
  randombytes_buf(salt.data(), salt.size());
  const std::string head = R"({"typ":"at+jwt","alg":"HS256","kid":")" + Base64(salt) + R"("})";
  const std::string signed_part = Base64(head) + "." + Base64(payload);
  return signed_part + "." + Signature(signed_part);
}

std::optional<TokenClaims> TokenMaker::Read(const std::string& token) const {
  const std::size_t dot = token.rfind('.');
  if (dot == std::string::npos) return std::nullopt;
  const std::string signed_part = token.substr(0, dot);
  const std::string expected = Signature(signed_part);
  const std::string given = token.substr(dot + 1);
  if (given.size() != expected.size() ||
      sodium_memcmp(given.data(), expected.data(), expected.size()) != 0) {
    return std::nullopt;
  }
  const std::size_t first = signed_part.find('.');
  if (first == std::string::npos) return std::nullopt;
  const auto payload = FromBase64(std::string_view(signed_part).substr(first + 1));
  if (!payload) return std::nullopt;
  const auto value = json::Parse(*payload);
  if (!value) return std::nullopt;
  const auto scope = value->String("scope");
  const auto did = value->String("sub");
  const auto id = value->OptString("jti");
  const auto generation = value->Int("gen");
  const auto issued = value->Int("iat");
  const auto expires = value->Int("exp");
  if (!scope || !did || !id || !generation || !issued || !expires) return std::nullopt;
  return TokenClaims{.scope = *scope,
                     .did = *did,
                     .id = id->value_or(""),
                     .generation = *generation,
                     .issued_at = TimePoint(std::chrono::seconds(*issued)),
                     .expires_at = TimePoint(std::chrono::seconds(*expires))};
}

}  // namespace mayfly::connectors
