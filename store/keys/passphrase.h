// A master key that exists in people's heads: Argon2id (RFC 9106; libsodium's crypto_pwhash) of a
// passphrase. What is needed besides it lies in keys/passphrase.a and .b and is no secret:
//
//   page
//     0  16  "mayfly-argon2id" and NUL
//    16   1  version = 1
//    17   3  zero
//    20   4  passes over the memory
//    24   8  bytes of memory
//    32  16  salt
//    48  32  commitment = P32(master key, "mf-passphrase-1", bytes 0 to 47)
//    80  32  check = BLAKE2b-256 of bytes 0 to 79
//   112 ...  zero
//
// While the master key is being replaced there is a second one, passphrase-next.
#ifndef MAYFLY_STORE_KEYS_PASSPHRASE_H_
#define MAYFLY_STORE_KEYS_PASSPHRASE_H_

#include <cstdint>
#include <filesystem>

#include "store/keys/secret_key.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::store {

using Passphrase = Sensitive<struct PassphraseTag>;

inline constexpr std::size_t kPassphraseBytesMin = 12;
inline constexpr std::size_t kPassphraseBytesMax = 1024;

// RFC 9106's second recommendation has 64 MiB; this is libsodium's MODERATE: about a second.
struct PassphraseCost {
  std::uint32_t passes = 3;
  std::uint64_t memory_bytes = 256u << 20;
};

enum class PassphraseRecord { kCurrent, kNext };

// Writes a record with a fresh salt in place of the one that is there, and gives the key.
// kInvalidArgument for a passphrase that is too short or too long; kUnavailable when there is not
// enough memory.
Result<SecretKey> SetPassphrase(const std::filesystem::path& keys_dir, PassphraseRecord record,
                                const Passphrase& passphrase, const PassphraseCost& cost,
                                bool sync = true);
// The key again. kSealed for a wrong passphrase: it costs what a right one costs, and nothing else
// is told. kNotFound without a record; kCorrupt when both mirrors are damaged.
Result<SecretKey> OpenPassphrase(const std::filesystem::path& keys_dir, PassphraseRecord record,
                                 const Passphrase& passphrase);
bool HasPassphrase(const std::filesystem::path& keys_dir, PassphraseRecord record);
// The end of a rotation: the next record takes the place of the current one. Idempotent.
Status AdoptNextPassphrase(const std::filesystem::path& keys_dir, bool sync = true);
// A rotation that was not begun in earnest: the next record goes. Idempotent.
Status DropNextPassphrase(const std::filesystem::path& keys_dir, bool sync = true);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_PASSPHRASE_H_
