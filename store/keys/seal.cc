#include "store/keys/seal.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <pthread.h>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "store/keys/compression.h"
#include "store/keys/internal.h"
#include "store/keys/seal_internal.h"

namespace mayfly::store {
namespace {

using internal::SealRandom;
using internal::WipeAtEnd;

// Clear bytes in front of the ciphertext.
constexpr std::size_t kVersionAt = 0;
constexpr std::size_t kKindAt = 1;
constexpr std::size_t kSlotAt = 2;
constexpr std::size_t kGenerationAt = 6;
constexpr std::size_t kAccountAt = 8;
constexpr std::size_t kDirectionAt = 12;
constexpr std::size_t kRandomAt = 13;
constexpr std::size_t kCipherAt = kRandomAt + std::tuple_size_v<SealRandom>;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

// The cipher works on the last, partial block of 64 bytes on its stack, and leaves it there.
constexpr std::size_t kCipherStackBytes = 4096;

// Plaintext: flags[1] size[4] body padding.
constexpr std::size_t kPlainHeaderBytes = 5;
constexpr std::size_t kPadTo = 16;
constexpr std::uint8_t kStored = 0;
constexpr std::uint8_t kZstdDictionary1 = 1;

// A compressed body never grows past this, so that a damaged or hostile size cannot ask for memory.
// Larger bodies are sealed as they are.
constexpr std::size_t kDecompressedBytesMax = 1u << 20;
// Smaller bodies are sealed as they are: of ids and times hardly a byte can be saved, and the
// padding to 16 takes it back.
constexpr std::size_t kCompressedBytesMin = 64;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

std::size_t PaddedSize(std::size_t body_bytes) {
  return (kPlainHeaderBytes + body_bytes + kPadTo - 1) / kPadTo * kPadTo;
}

// flags, size, body (compressed when that is smaller), zeros to a multiple of 16.
std::string MakePlaintext(std::string_view body) {
  if (body.size() > std::numeric_limits<std::uint32_t>::max() - kPadTo) {
    Die("a record is larger than 4 GiB");
  }
  std::string plain(PaddedSize(body.size()), '\0');
  auto* const out = reinterpret_cast<std::uint8_t*>(plain.data());
  internal::Put32(out + 1, static_cast<std::uint32_t>(body.size()));
  if (body.size() >= kCompressedBytesMin && body.size() <= kDecompressedBytesMax) {
    // With room for less than the body, "does not fit" and "is not smaller" are the same answer.
    if (const auto size = internal::Compress(body, out + kPlainHeaderBytes, body.size() - 1)) {
      out[0] = kZstdDictionary1;
      sodium_memzero(out + kPlainHeaderBytes + *size, plain.size() - kPlainHeaderBytes - *size);
      plain.resize(PaddedSize(*size));
      return plain;
    }
    sodium_memzero(out + kPlainHeaderBytes, plain.size() - kPlainHeaderBytes);
  }
  out[0] = kStored;
  std::copy(body.begin(), body.end(), plain.begin() + kPlainHeaderBytes);
  return plain;
}

struct KeyAndNonce {
  std::array<std::uint8_t, crypto_aead_xchacha20poly1305_ietf_KEYBYTES> key;
  std::array<std::uint8_t, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES> nonce;
};
static_assert(sizeof(KeyAndNonce) == 56);

KeyAndNonce DeriveKey(const Pair& pair, const SealContext& context, const std::uint8_t* r) {
  static constexpr std::array<std::uint8_t, crypto_generichash_blake2b_PERSONALBYTES> kLabel = {
      'm', 'f', '-', 'r', 'e', 'c', '-', '1'};
  std::array<std::uint8_t, 1 + 32 + std::tuple_size_v<SealRandom>> input;
  input[0] = static_cast<std::uint8_t>(context.column);
  crypto_generichash_blake2b(input.data() + 1, 32,
                             reinterpret_cast<const std::uint8_t*>(context.engine_key.data()),
                             context.engine_key.size(), nullptr, 0);
  std::copy_n(r, std::tuple_size_v<SealRandom>, input.data() + 33);
  KeyAndNonce out;
  std::array<std::uint8_t, sizeof(KeyAndNonce)> bytes;
  const WipeAtEnd wipe(bytes.data(), bytes.size());
  crypto_generichash_blake2b_salt_personal(bytes.data(), bytes.size(), input.data(), input.size(),
                                           pair.data(), pair.size(), nullptr, kLabel.data());
  std::copy_n(bytes.begin(), out.key.size(), out.key.begin());
  std::copy_n(bytes.begin() + out.key.size(), out.nonce.size(), out.nonce.begin());
  return out;
}

// Fixed width first, then the two variable parts with their lengths: one reading only.
std::string AssociatedData(const SealContext& context, const SealedHeader& header) {
  std::string data(22 + 2 + context.family.size() + 4 + context.engine_key.size(), '\0');
  auto* out = reinterpret_cast<std::uint8_t*>(data.data());
  out[0] = kSealVersion;
  internal::Put16(out + 1, context.organisation);
  internal::Put32(out + 3, header.account.value);
  internal::Put32(out + 7, header.slot.number);
  internal::Put16(out + 11, header.slot.generation);
  internal::Put64(out + 13,
                  static_cast<std::uint64_t>(context.expires_at.time_since_epoch().count()));
  out[21] = static_cast<std::uint8_t>(header.direction);
  internal::Put16(out + 22, static_cast<std::uint16_t>(context.family.size()));
  out += 24;
  std::copy(context.family.begin(), context.family.end(), out);
  out += context.family.size();
  internal::Put32(out, static_cast<std::uint32_t>(context.engine_key.size()));
  std::copy(context.engine_key.begin(), context.engine_key.end(), out + 4);
  return data;
}

// Random bytes for the next few seals, drawn from the system at once: a call for each write cost a
// tenth of its sealing. They are no secret, since every record shows its own, but none may be used
// twice, and so a child of this process, which has a copy of them, draws new ones.
class SealRandomSource {
 public:
  SealRandom Take() {
    const unsigned forks = Forks().load(std::memory_order_relaxed);
    if (next_ == drawn_.size() || forks_ != forks) {
      randombytes_buf(drawn_.data(), sizeof drawn_);
      next_ = 0;
      forks_ = forks;
    }
    return drawn_[next_++];
  }

 private:
  // How often this process is a child of one that sealed.
  static std::atomic<unsigned>& Forks() {
    static std::atomic<unsigned> forks{0};
    static const bool watched = [] {
      const auto count = [] { forks.fetch_add(1, std::memory_order_relaxed); };
      if (::pthread_atfork(nullptr, nullptr, count) != 0) Die("forks cannot be noticed");
      return true;
    }();
    static_cast<void>(watched);
    return forks;
  }

  std::array<SealRandom, 42> drawn_;  // about a kilobyte
  std::size_t next_ = drawn_.size();
  unsigned forks_ = 0;
};

// Takes the place of "what is wrong with it": one sentence, so that no caller learns more.
tl::unexpected<Error> DoesNotOpen(const SealContext& context) {
  return Fail(ErrorCode::kCorrupt,
              fmt::format("a record in {} of row kind {} does not open", context.family,
                          std::string_view(&context.column, 1)));
}

// What stands inside the seal: flags, size, body, padding. The caller wipes it, whatever comes of
// it.
Status OpenSeal(const Pair& pair, const SealContext& context, std::string_view sealed,
                std::string& plain) {
  const Result<SealedHeader> header = PeekSealed(sealed);
  const auto* const in = reinterpret_cast<const std::uint8_t*>(sealed.data());
  if (!header || in[kKindAt] != static_cast<std::uint8_t>(context.column) ||
      (sealed.size() - kCipherAt - kTagBytes) % kPadTo != 0) {
    return DoesNotOpen(context);
  }
  KeyAndNonce key = DeriveKey(pair, context, in + kRandomAt);
  const WipeAtEnd wipe_key(&key, sizeof key);
  const std::string bound = AssociatedData(context, *header);
  plain.resize(sealed.size() - kCipherAt - kTagBytes);
  const bool opened =
      crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<std::uint8_t*>(plain.data()), nullptr, nullptr, in + kCipherAt,
          sealed.size() - kCipherAt, reinterpret_cast<const std::uint8_t*>(bound.data()),
          bound.size(), key.nonce.data(), key.key.data()) == 0;
  sodium_stackzero(kCipherStackBytes);
  if (!opened) return DoesNotOpen(context);
  return {};
}

std::string SealPlaintext(const Pair& pair, const SealContext& context, const SealedHeader& header,
                          const std::string& plain, const SealRandom& r) {
  KeyAndNonce key = DeriveKey(pair, context, r.data());
  const WipeAtEnd wipe_key(&key, sizeof key);
  const std::string bound = AssociatedData(context, header);

  std::string sealed(kCipherAt + plain.size() + kTagBytes, '\0');
  auto* const out = reinterpret_cast<std::uint8_t*>(sealed.data());
  out[kVersionAt] = kSealVersion;
  out[kKindAt] = static_cast<std::uint8_t>(context.column);
  internal::Put32(out + kSlotAt, header.slot.number);
  internal::Put16(out + kGenerationAt, header.slot.generation);
  internal::Put32(out + kAccountAt, header.account.value);
  out[kDirectionAt] = static_cast<std::uint8_t>(header.direction);
  std::copy(r.begin(), r.end(), out + kRandomAt);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      out + kCipherAt, nullptr, reinterpret_cast<const std::uint8_t*>(plain.data()), plain.size(),
      reinterpret_cast<const std::uint8_t*>(bound.data()), bound.size(), nullptr, key.nonce.data(),
      key.key.data());
  sodium_stackzero(kCipherStackBytes);
  return sealed;
}

}  // namespace

namespace internal {

std::string SealWithRandom(const Pair& pair, const SealContext& context, const SealedHeader& header,
                           std::string_view body, const SealRandom& r) {
  std::string plain = MakePlaintext(body);
  const WipeAtEnd wipe_plain(plain.data(), plain.size());
  return SealPlaintext(pair, context, header, plain, r);
}

}  // namespace internal

std::string Seal(const Pair& pair, const SealContext& context, const SealedHeader& header,
                 std::string_view body) {
  internal::EnsureSodium();
  thread_local SealRandomSource source;
  return internal::SealWithRandom(pair, context, header, body, source.Take());
}

Result<SealedHeader> PeekSealed(std::string_view sealed) {
  if (sealed.size() < kCipherAt + kPadTo + kTagBytes) {
    return Fail(ErrorCode::kCorrupt, "a sealed record is too short");
  }
  const auto* const in = reinterpret_cast<const std::uint8_t*>(sealed.data());
  if (in[kVersionAt] != kSealVersion) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("a sealed record has format version {}, which this program does not "
                            "know",
                            in[kVersionAt]));
  }
  const std::uint8_t direction = in[kDirectionAt];
  if (direction != static_cast<std::uint8_t>(Direction::kIncoming) &&
      direction != static_cast<std::uint8_t>(Direction::kOutgoing)) {
    return Fail(ErrorCode::kCorrupt, "a sealed record has no direction");
  }
  return SealedHeader{.slot = {.number = internal::Get32(in + kSlotAt),
                               .generation = internal::Get16(in + kGenerationAt)},
                      .account = {internal::Get32(in + kAccountAt)},
                      .direction = static_cast<Direction>(direction)};
}

Result<std::string> Unseal(const Pair& pair, const SealContext& context, std::string_view sealed) {
  std::string plain(sealed.size(), '\0');
  const WipeAtEnd wipe_plain(plain.data(), plain.size());
  MAYFLY_RETURN_IF_ERROR(OpenSeal(pair, context, sealed, plain));
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(plain.data());
  const std::size_t size = internal::Get32(bytes + 1);
  const std::uint8_t* const content = bytes + kPlainHeaderBytes;
  const std::size_t room = plain.size() - kPlainHeaderBytes;
  if (bytes[0] == kStored) {
    if (size > room || PaddedSize(size) != plain.size()) return DoesNotOpen(context);
    return std::string(reinterpret_cast<const char*>(content), size);
  }
  if (bytes[0] != kZstdDictionary1 || size > kDecompressedBytesMax) return DoesNotOpen(context);
  const auto frame = internal::FrameBytes(content, room);
  if (!frame || PaddedSize(*frame) != plain.size()) return DoesNotOpen(context);
  std::string body(size, '\0');
  if (!internal::Decompress(content, *frame, body.data(), body.size())) {
    sodium_memzero(body.data(), body.size());
    return DoesNotOpen(context);
  }
  return body;
}

Result<std::string> Reseal(const Pair& pair, const SealContext& context, std::string_view sealed,
                           const Pair& new_pair, const SealContext& new_context,
                           const SealedHeader& new_header) {
  std::string plain(sealed.size(), '\0');
  const WipeAtEnd wipe_plain(plain.data(), plain.size());
  MAYFLY_RETURN_IF_ERROR(OpenSeal(pair, context, sealed, plain));
  SealRandom r;
  randombytes_buf(r.data(), r.size());
  return SealPlaintext(new_pair, new_context, new_header, plain, r);
}

}  // namespace mayfly::store
