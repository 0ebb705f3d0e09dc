// Sealing for one person who is not here: the age format, version 1 (C2SP "age-encryption.org/v1"),
// with X25519. Whoever has the identity opens it with `mayfly open-package` or with any age
// program; this service, which seals, cannot. The primitives are libsodium's.
#ifndef MAYFLY_SERVICE_ACCESS_AGE_H_
#define MAYFLY_SERVICE_ACCESS_AGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/keys/secret_key.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::service {

inline constexpr std::size_t kAgeChunkBytes = 64u << 10;

using AgeKey = std::array<std::uint8_t, 32>;  // public

// "age1..." (Bech32). kInvalidArgument for anything else.
Result<AgeKey> ParseAgeRecipient(std::string_view text);
std::string FormatAgeRecipient(const AgeKey& recipient);

// The secret half, in guarded memory. Its text is "AGE-SECRET-KEY-1...".
class AgeIdentity {
 public:
  static AgeIdentity Make();
  // The first line that is one; lines that begin with # are remarks, as age-keygen writes them.
  // kInvalidArgument when there is none.
  static Result<AgeIdentity> Parse(const Sensitive<struct AgeIdentityTag>& text);
  Sensitive<struct AgeIdentityTag> Text() const;
  AgeKey Recipient() const;
  const store::SecretKey& secret() const { return secret_; }

 private:
  explicit AgeIdentity(store::SecretKey secret) : secret_(std::move(secret)) {}
  store::SecretKey secret_;
};
using AgeIdentityText = Sensitive<struct AgeIdentityTag>;

// Makes a file for one recipient out of bytes as they come. Holds one chunk.
class AgeSealer {
 public:
  // kInvalidArgument for a recipient that is no point of the curve's large group.
  static Result<AgeSealer> Begin(const AgeKey& recipient);
  AgeSealer(AgeSealer&&) noexcept = default;
  AgeSealer& operator=(AgeSealer&&) noexcept = default;
  ~AgeSealer();

  // Appends what can be sent already to `out`; the first call brings the header.
  void Append(std::string_view plain, std::string* out);
  void Finish(std::string* out);

 private:
  AgeSealer() = default;
  void Chunk(bool last, std::string* out);

  std::string header_;
  store::SecretKey key_;
  std::uint64_t chunk_ = 0;
  std::string plain_;
};

// Opens a file chunk by chunk. kInvalidArgument: it is no such file, is for somebody else, was cut
// off or changed; what was given out before that is genuine, and not all.
class AgeOpener {
 public:
  explicit AgeOpener(const AgeIdentity& identity) : identity_(identity) {}
  AgeOpener(const AgeOpener&) = delete;
  AgeOpener& operator=(const AgeOpener&) = delete;
  ~AgeOpener();

  Status Append(std::string_view sealed, std::string* out);
  Status Finish(std::string* out);

 private:
  Status ReadHeader();
  Status Chunk(std::string_view sealed, bool last, std::string* out);

  const AgeIdentity& identity_;
  std::string sealed_;
  store::SecretKey key_;  // empty until the header was read
  std::uint64_t chunk_ = 0;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ACCESS_AGE_H_
