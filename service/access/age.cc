#include "service/access/age.h"

#include <algorithm>
#include <optional>
#include <sodium.h>
#include <utility>
#include <vector>

namespace mayfly::service {
namespace {

constexpr std::string_view kVersionLine = "age-encryption.org/v1\n";
constexpr std::string_view kStanza = "-> X25519 ";
constexpr std::string_view kWrapInfo = "age-encryption.org/v1/X25519";
constexpr std::string_view kRecipientPrefix = "age";
constexpr std::string_view kIdentityPrefix = "age-secret-key-";
constexpr std::size_t kFileKeyBytes = 16;
constexpr std::size_t kNonceBytes = 16;
constexpr std::size_t kTagBytes = crypto_aead_chacha20poly1305_ietf_ABYTES;
constexpr std::size_t kHeaderBytesMax = 64u << 10;
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL_NO_PADDING;

using Bytes32 = std::array<std::uint8_t, 32>;

std::string_view View(const Bytes32& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
const std::uint8_t* Raw(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

std::string ToBase64(std::string_view bytes) {
  std::vector<char> text(sodium_base64_encoded_len(bytes.size(), kBase64));
  sodium_bin2base64(text.data(), text.size(), Raw(bytes), bytes.size(), kBase64);
  return text.data();
}
template <std::size_t kSize>
std::optional<std::array<std::uint8_t, kSize>> FromBase64(std::string_view text) {
  std::array<std::uint8_t, kSize> bytes;
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), kSize, text.data(), text.size(), nullptr, &size, &end,
                        kBase64) != 0 ||
      size != kSize || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return bytes;
}

// HKDF with SHA-256 (RFC 5869), one block.
store::SecretKey Hkdf(std::string_view secret, std::string_view salt, std::string_view info) {
  Bytes32 extracted;
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, Raw(salt), salt.size());
  crypto_auth_hmacsha256_update(&state, Raw(secret), secret.size());
  crypto_auth_hmacsha256_final(&state, extracted.data());
  Bytes32 expanded;
  const std::uint8_t one = 1;
  crypto_auth_hmacsha256_init(&state, extracted.data(), extracted.size());
  crypto_auth_hmacsha256_update(&state, Raw(info), info.size());
  crypto_auth_hmacsha256_update(&state, &one, 1);
  crypto_auth_hmacsha256_final(&state, expanded.data());
  store::SecretKey key = store::SecretKey::FromBytes(expanded);
  sodium_memzero(extracted.data(), extracted.size());
  sodium_memzero(expanded.data(), expanded.size());
  sodium_memzero(&state, sizeof state);
  return key;
}

Bytes32 HeaderMac(std::string_view file_key, std::string_view header) {
  const store::SecretKey key = Hkdf(file_key, "", "header");
  Bytes32 mac;
  crypto_auth_hmacsha256(mac.data(), Raw(header), header.size(), key.bytes().data());
  return mac;
}

// Number of the chunk, big-endian, and whether it is the last one.
std::array<std::uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> ChunkNonce(
    std::uint64_t number, bool last) {
  std::array<std::uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> nonce = {};
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[10 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  nonce.back() = last ? 1 : 0;
  return nonce;
}

// --- Bech32 (BIP 173), without its limit of length, as age uses it

constexpr std::string_view kAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

std::uint32_t Polymod(const std::vector<std::uint8_t>& values) {
  static constexpr std::uint32_t kGenerator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                                 0x2a1462b3};
  std::uint32_t check = 1;
  for (const std::uint8_t value : values) {
    const std::uint32_t top = check >> 25;
    check = (check & 0x1ffffff) << 5 ^ value;
    for (int i = 0; i < 5; ++i) check ^= (top >> i & 1) != 0 ? kGenerator[i] : 0;
  }
  return check;
}

std::vector<std::uint8_t> Expanded(std::string_view prefix) {
  std::vector<std::uint8_t> values;
  for (const char c : prefix) values.push_back(static_cast<std::uint8_t>(c) >> 5);
  values.push_back(0);
  for (const char c : prefix) values.push_back(static_cast<std::uint8_t>(c) & 31);
  return values;
}

std::string Bech32(std::string_view prefix, const std::uint8_t* bytes) {
  std::vector<std::uint8_t> groups;
  std::uint32_t bits = 0;
  int count = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    bits = bits << 8 | bytes[i];
    for (count += 8; count >= 5; count -= 5) {
      groups.push_back(static_cast<std::uint8_t>(bits >> (count - 5) & 31));
    }
  }
  groups.push_back(static_cast<std::uint8_t>(bits << (5 - count) & 31));
  std::vector<std::uint8_t> values = Expanded(prefix);
  values.insert(values.end(), groups.begin(), groups.end());
  values.resize(values.size() + 6);
  const std::uint32_t check = Polymod(values) ^ 1;
  std::string text(prefix);
  text += '1';
  for (const std::uint8_t group : groups) text += kAlphabet[group];
  for (int i = 0; i < 6; ++i) text += kAlphabet[check >> 5 * (5 - i) & 31];
  std::fill(groups.begin(), groups.end(), std::uint8_t{0});
  std::fill(values.begin(), values.end(), std::uint8_t{0});
  return text;
}

// `text` in lower case.
std::optional<Bytes32> FromBech32(std::string_view prefix, std::string_view text) {
  if (!text.starts_with(prefix) || text.size() != prefix.size() + 1 + 52 + 6 ||
      text[prefix.size()] != '1') {
    return std::nullopt;
  }
  std::vector<std::uint8_t> values = Expanded(prefix);
  const std::size_t data_at = values.size();
  for (const char c : text.substr(prefix.size() + 1)) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    values.push_back(static_cast<std::uint8_t>(value));
  }
  if (Polymod(values) != 1) return std::nullopt;
  Bytes32 bytes;
  std::size_t at = 0;
  std::uint32_t bits = 0;
  int count = 0;
  for (std::size_t i = data_at; i < data_at + 52; ++i) {
    bits = bits << 5 | values[i];
    count += 5;
    if (count >= 8 && at < bytes.size()) {
      bytes[at++] = static_cast<std::uint8_t>(bits >> (count - 8));
      count -= 8;
    }
  }
  std::fill(values.begin(), values.end(), std::uint8_t{0});
  // What is left over is zero, so that a key has one text.
  if (at != bytes.size() || (bits & ((1u << count) - 1)) != 0) return std::nullopt;
  return bytes;
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

tl::unexpected<Error> NotForUs(const char* what) {
  return Fail(ErrorCode::kInvalidArgument, std::string("This package cannot be opened: ") + what);
}

}  // namespace

// --- keys

Result<AgeKey> ParseAgeRecipient(std::string_view text) {
  const auto bytes = FromBech32(kRecipientPrefix, text);
  if (!bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "This is no age recipient: age1 and 58 letters, as `mayfly package-key` or "
                "age-keygen show it.");
  }
  return *bytes;
}

std::string FormatAgeRecipient(const AgeKey& recipient) {
  return Bech32(kRecipientPrefix, recipient.data());
}

AgeIdentity AgeIdentity::Make() { return AgeIdentity(store::SecretKey::Random()); }

Result<AgeIdentity> AgeIdentity::Parse(const AgeIdentityText& text) {
  std::string_view rest = text.Reveal();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    std::string lower = Lower(std::string(line));
    auto bytes = FromBech32(kIdentityPrefix, lower);
    // Upper case throughout, as Bech32 asks for.
    const bool upper =
        std::none_of(line.begin(), line.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    WipeString(lower);
    if (!bytes || !upper) break;
    AgeIdentity identity(store::SecretKey::FromBytes(*bytes));
    sodium_memzero(bytes->data(), bytes->size());
    return identity;
  }
  return Fail(ErrorCode::kInvalidArgument,
              "There is no age identity in it: a line that begins with AGE-SECRET-KEY-1.");
}

AgeIdentityText AgeIdentity::Text() const {
  std::string text = Bech32(kIdentityPrefix, secret_.bytes().data());
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return AgeIdentityText(std::move(text));
}

AgeKey AgeIdentity::Recipient() const {
  AgeKey recipient;
  crypto_scalarmult_base(recipient.data(), secret_.bytes().data());
  return recipient;
}

// --- sealing

Result<AgeSealer> AgeSealer::Begin(const AgeKey& recipient) {
  const store::SecretKey ephemeral = store::SecretKey::Random();
  Bytes32 share, shared;
  crypto_scalarmult_base(share.data(), ephemeral.bytes().data());
  if (crypto_scalarmult(shared.data(), ephemeral.bytes().data(), recipient.data()) != 0) {
    return Fail(ErrorCode::kInvalidArgument, "Nobody can open what is sealed for this recipient.");
  }
  std::array<std::uint8_t, kFileKeyBytes> file_key;
  randombytes_buf(file_key.data(), file_key.size());
  const std::string_view file_key_view(reinterpret_cast<const char*>(file_key.data()),
                                       file_key.size());

  const std::string salt = std::string(View(share)) + std::string(View(recipient));
  const store::SecretKey wrap = Hkdf(View(shared), salt, kWrapInfo);
  const std::array<std::uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> zero = {};
  Bytes32 wrapped;
  static_assert(sizeof wrapped == kFileKeyBytes + kTagBytes);
  crypto_aead_chacha20poly1305_ietf_encrypt(wrapped.data(), nullptr, file_key.data(),
                                            file_key.size(), nullptr, 0, nullptr, zero.data(),
                                            wrap.bytes().data());
  AgeSealer sealer;
  sealer.header_.append(kVersionLine).append(kStanza).append(ToBase64(View(share))).append("\n");
  sealer.header_.append(ToBase64(View(wrapped))).append("\n---");
  sealer.header_ += " " + ToBase64(View(HeaderMac(file_key_view, sealer.header_))) + "\n";
  std::string nonce(kNonceBytes, '\0');
  randombytes_buf(nonce.data(), nonce.size());
  sealer.header_ += nonce;
  sealer.key_ = Hkdf(file_key_view, nonce, "payload");
  sodium_memzero(file_key.data(), file_key.size());
  sodium_memzero(shared.data(), shared.size());
  sealer.plain_.reserve(kAgeChunkBytes);
  return sealer;
}

AgeSealer::~AgeSealer() { WipeString(plain_); }

void AgeSealer::Append(std::string_view plain, std::string* out) {
  out->append(std::exchange(header_, {}));
  while (!plain.empty()) {
    // The last chunk is not known before Finish, and it may be a full one.
    if (plain_.size() == kAgeChunkBytes) Chunk(/*last=*/false, out);
    const std::size_t take = std::min(plain.size(), kAgeChunkBytes - plain_.size());
    plain_.append(plain.substr(0, take));
    plain.remove_prefix(take);
  }
}

void AgeSealer::Finish(std::string* out) {
  out->append(std::exchange(header_, {}));
  Chunk(/*last=*/true, out);
}

void AgeSealer::Chunk(bool last, std::string* out) {
  const std::size_t at = out->size();
  out->resize(at + plain_.size() + kTagBytes);
  const auto nonce = ChunkNonce(chunk_++, last);
  crypto_aead_chacha20poly1305_ietf_encrypt(reinterpret_cast<std::uint8_t*>(out->data()) + at,
                                            nullptr, Raw(plain_), plain_.size(), nullptr, 0,
                                            nullptr, nonce.data(), key_.bytes().data());
  sodium_memzero(plain_.data(), plain_.size());
  plain_.clear();
}

// --- opening

AgeOpener::~AgeOpener() = default;

Status AgeOpener::ReadHeader() {
  if (!std::string_view(sealed_)
           .substr(0, kVersionLine.size())
           .starts_with(std::string_view(kVersionLine).substr(0, sealed_.size()))) {
    return NotForUs("it is no age file of version 1.");
  }
  const std::size_t mac_at = sealed_.find("\n--- ");
  const std::size_t end =
      mac_at == std::string::npos ? std::string::npos : sealed_.find('\n', mac_at + 1);
  if (end == std::string::npos || sealed_.size() < end + 1 + kNonceBytes) {
    if (sealed_.size() > kHeaderBytesMax) return NotForUs("its head does not end.");
    return {};
  }
  const std::string_view head = std::string_view(sealed_).substr(0, mac_at + 4);  // with the ---
  const auto mac = FromBase64<32>(std::string_view(sealed_).substr(mac_at + 5, end - mac_at - 5));
  if (!mac || !head.starts_with(kVersionLine)) return NotForUs("its head is damaged.");
  // One of its recipients must be we.
  const AgeKey recipient = identity_.Recipient();
  for (std::size_t at = head.find(kStanza); at != std::string_view::npos;
       at = head.find(kStanza, at + 1)) {
    const std::size_t share_end = head.find('\n', at);
    const std::size_t body_end =
        share_end == std::string_view::npos ? share_end : head.find('\n', share_end + 1);
    if (body_end == std::string_view::npos) continue;
    const auto share =
        FromBase64<32>(head.substr(at + kStanza.size(), share_end - at - kStanza.size()));
    const auto wrapped = FromBase64<32>(head.substr(share_end + 1, body_end - share_end - 1));
    Bytes32 shared;
    if (!share || !wrapped ||
        crypto_scalarmult(shared.data(), identity_.secret().bytes().data(), share->data()) != 0) {
      continue;
    }
    const std::string salt = std::string(View(*share)) + std::string(View(recipient));
    const store::SecretKey wrap = Hkdf(View(shared), salt, kWrapInfo);
    sodium_memzero(shared.data(), shared.size());
    const std::array<std::uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> zero = {};
    std::array<std::uint8_t, kFileKeyBytes> file_key;
    if (crypto_aead_chacha20poly1305_ietf_decrypt(file_key.data(), nullptr, nullptr,
                                                  wrapped->data(), wrapped->size(), nullptr, 0,
                                                  zero.data(), wrap.bytes().data()) != 0) {
      continue;
    }
    const std::string_view file_key_view(reinterpret_cast<const char*>(file_key.data()),
                                         file_key.size());
    const Bytes32 expected = HeaderMac(file_key_view, head);
    if (sodium_memcmp(expected.data(), mac->data(), expected.size()) != 0) {
      return NotForUs("its head was changed.");
    }
    key_ = Hkdf(file_key_view, std::string_view(sealed_).substr(end + 1, kNonceBytes), "payload");
    sodium_memzero(file_key.data(), file_key.size());
    sealed_.erase(0, end + 1 + kNonceBytes);
    return {};
  }
  return NotForUs("it is sealed for somebody else.");
}

Status AgeOpener::Append(std::string_view sealed, std::string* out) {
  sealed_.append(sealed);
  if (key_.empty()) MAYFLY_RETURN_IF_ERROR(ReadHeader());
  if (key_.empty()) return {};
  constexpr std::size_t kSealedChunk = kAgeChunkBytes + kTagBytes;
  std::size_t at = 0;
  // A chunk with something behind it is not the last one.
  for (; sealed_.size() - at > kSealedChunk; at += kSealedChunk) {
    MAYFLY_RETURN_IF_ERROR(
        Chunk(std::string_view(sealed_).substr(at, kSealedChunk), /*last=*/false, out));
  }
  sealed_.erase(0, at);
  return {};
}

Status AgeOpener::Finish(std::string* out) {
  if (key_.empty()) return NotForUs("it was cut off in its head.");
  // Only an empty file ends with an empty chunk.
  if (sealed_.size() < kTagBytes || (sealed_.size() == kTagBytes && chunk_ > 0)) {
    return NotForUs("it was cut off.");
  }
  return Chunk(sealed_, /*last=*/true, out);
}

Status AgeOpener::Chunk(std::string_view sealed, bool last, std::string* out) {
  const std::size_t at = out->size();
  out->resize(at + sealed.size() - kTagBytes);
  const auto nonce = ChunkNonce(chunk_++, last);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(
          reinterpret_cast<std::uint8_t*>(out->data()) + at, nullptr, nullptr, Raw(sealed),
          sealed.size(), nullptr, 0, nonce.data(), key_.bytes().data()) != 0) {
    out->resize(at);
    return NotForUs("it was cut off or changed.");
  }
  return {};
}

}  // namespace mayfly::service
