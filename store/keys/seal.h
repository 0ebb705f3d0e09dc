// Sealing one record: compress, pad, encrypt under a key that needs both locks.
//
//   pair      = P32(day key, "mf-pair-d1", id) XOR P32(subject key, "mf-pair-s1", id)
//   id        = date, slot, generation                    (fixed width, big-endian)
//   r         = 24 fresh random bytes for every write     (counters are forbidden)
//   key,nonce = BLAKE2b-448(pair, "mf-rec-1", column, BLAKE2b-256(engine key), r)
//   sealed    = version[1] kind[1] slot[4] generation[2] account[4] direction[1] r[24]
//               ciphertext tag[16]                        (kind: the row kind, = column)
//   plaintext = flags[1] size[4] body padding to a multiple of 16; body is zstd with the fixed
//               dictionary when it has at least 64 bytes and that is smaller
//   AD        = version, organisation, family, whole engine key, account, slot, generation, expiry,
//               direction
//
// XChaCha20-Poly1305 (libsodium). Destroying the day key or the subject key makes every record
// below it noise. Two writes of the same id never share a key, because r differs.
#ifndef MAYFLY_STORE_KEYS_SEAL_H_
#define MAYFLY_STORE_KEYS_SEAL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/keys/key_vault.h"
#include "store/model/ids.h"
#include "store/model/message.h"
#include "store/model/result.h"

namespace mayfly::store {

inline constexpr std::uint8_t kSealVersion = 1;

// Everything that binds a record to its place. Same values in, or it does not open.
struct SealContext {
  std::uint16_t organisation = 0;
  std::string_view family;      // the engine's family name
  char column = 0;              // row kind, as in schema.h
  std::string_view engine_key;  // whole
  TimePoint expires_at;         // of a day family; the epoch elsewhere
};

// Bound and stored in clear with the record.
struct SealedHeader {
  Slot slot;
  AccountId account;
  Direction direction = Direction::kIncoming;
};

// `pair` comes from KeyVault::PairFor(day, header.slot), PairForMonth or PurposeKey.
std::string Seal(const Pair& pair, const SealContext& context, const SealedHeader& header,
                 std::string_view body);

// Reads the clear header, to know which pair to ask for. kCorrupt when too short or of another
// version.
Result<SealedHeader> PeekSealed(std::string_view sealed);

// kCorrupt when it does not authenticate. The message names family and column, never the key's
// bytes.
Result<std::string> Unseal(const Pair& pair, const SealContext& context, std::string_view sealed);

// Another place, slot and engine key for what a record says: as Unseal and then Seal, but its
// compressed text is never unfolded.
Result<std::string> Reseal(const Pair& pair, const SealContext& context, std::string_view sealed,
                           const Pair& new_pair, const SealContext& new_context,
                           const SealedHeader& new_header);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_SEAL_H_
