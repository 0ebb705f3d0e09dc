// Keys that end: one per expiry date, one per person on that date ("slot"), one per audit month.
//
// On disk, below keys/:
//   root                 random root for purpose keys, wrapped by the master key
//   D<yyyymmdd>.a .b     one date: 4 KiB header (day key and id key, wrapped by the master key),
//                        then 64-byte slots, each a random subject key sealed under the day key
//   M<yyyymm>.a .b       one audit month: header only
//   previous.a .b        while the master key is being replaced: the old one, under the new one
//   ledger.a .b          how often keys were destroyed: ledger.h
//   passphrase.a .b      what turns a passphrase into the master key: passphrase.h
// .a and .b are mirrors, preallocated, overwritten in place, synced, read back. They are never
// copied, renamed or put into a backup: that is what makes destruction final. The byte layout is in
// key_file.h. Sources: docs/decisions/0003-two-locks.md; BLAKE2b RFC 7693; XChaCha20-Poly1305
// draft-irtf-cfrg-xchacha-03; ChaCha20-Poly1305 RFC 8439.
#ifndef MAYFLY_STORE_KEYS_KEY_VAULT_H_
#define MAYFLY_STORE_KEYS_KEY_VAULT_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/keys/file_system.h"
#include "store/keys/secret_key.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

// A month of the audit log: year * 100 + month, for example 202611.
using AuditMonth = std::uint32_t;

// A key within one date that can be destroyed before its date: a person's, or that of the date's
// index. Slots are never reused within a date.
struct Slot {
  std::uint32_t number = 0;
  std::uint16_t generation = 0;
  friend bool operator==(const Slot&, const Slot&) = default;
};

using Pair = std::array<std::uint8_t, 32>;  // secret while either lock is; see seal.h

// Durable everywhere when a call returns. Thread-safe. A key whose file does not open gives
// kCorrupt naming the file; the other dates stay usable. A wrong master key gives kSealed from
// Open, which has then changed nothing.
class KeyVault {
 public:
  virtual ~KeyVault() = default;

  // --- dates
  // Creates the date's key file if there is none. Idempotent. kExpired if it was destroyed before.
  virtual Status OpenDate(ExpiryDay day) = 0;
  // Dates whose keys exist, ascending. Damaged ones are listed too.
  virtual std::vector<ExpiryDay> Dates() const = 0;
  virtual bool HasDate(ExpiryDay day) const = 0;
  // 16-byte blind value: keyed hash of `input` under the date's id key, personalised with `label`
  // (at most 16 bytes). The same as long as the date lives.
  virtual Result<std::array<std::uint8_t, 16>> BlindId(ExpiryDay day, const char* label,
                                                       std::string_view input) const = 0;
  // The same under the key of a slot: nobody can compute it again once the slot is destroyed.
  // Errors as with PairFor.
  virtual Result<std::array<std::uint8_t, 16>> BlindUnder(ExpiryDay day, Slot slot,
                                                          const char* label,
                                                          std::string_view input) const = 0;
  // Takes a slot that nobody has had. Its key is durable before this returns.
  virtual Result<Slot> TakeSlot(ExpiryDay day) = 0;
  // Pair of the two locks for records of `slot`. kExpired when the date or the slot is destroyed,
  // or when the date has no key (as with BlindId and TakeSlot); kCorrupt for a slot that never was.
  virtual Result<Pair> PairFor(ExpiryDay day, Slot slot) const = 0;
  // Overwrites the slots' keys in both mirrors, in place, synced and read back; their pairs in
  // memory are wiped. Idempotent: what is destroyed already, or went with its date, is success.
  // Needs no free disk. kIo means "not destroyed": the call is to be repeated.
  virtual Status DestroySlots(ExpiryDay day, const std::vector<Slot>& slots) = 0;
  // Overwrites the header in both mirrors, syncs, reads back, and wipes everything of the date in
  // memory, before it returns. Idempotent: a date without a key file is success. kIo means "not
  // destroyed": the date stays listed, reads nothing any more, and the call is to be repeated.
  virtual Status DestroyDate(ExpiryDay day) = 0;
  // Removes the (already destroyed) key file. Idempotent. kInternal if the date is not destroyed.
  virtual Status UnlinkDate(ExpiryDay day) = 0;
  // Dates destroyed but not unlinked yet, for the purge to finish.
  virtual std::vector<ExpiryDay> DestroyedDates() const = 0;

  // --- audit months
  virtual Result<Pair> PairForMonth(AuditMonth month) = 0;  // creates the month's key if needed
  virtual std::vector<AuditMonth> Months() const = 0;
  virtual Status DestroyMonth(AuditMonth month) = 0;  // and unlinks

  // --- the master key
  // Wraps the root and every key file with `next` instead of the master key of now, one file at a
  // time, while others go on using the vault. When it returns the old one opens nothing. The caller
  // has put `next` where it will be found at the next start. An error or the end of the process
  // leaves keys that open with one of the two, and calling it again, or OpenKeyVault with the one
  // that opens the root, completes it or takes it back. One at a time; others wait. What hangs on
  // the root (ids, tokens, cookies) does not change.
  virtual Status RotateMaster(const SecretKey& next) = 0;
  // Rises with each DestroyDate, DestroySlots and DestroyMonth that destroyed something, durably
  // before that returns. Lower than a number told before: these keys are an older copy.
  virtual std::uint64_t Generation() const = 0;
  // Whether overwriting is destruction where the keys lie, as of now.
  virtual FileSystemVerdict FileSystem() const = 0;

  // --- purposes: P32(root, label, ""). For cursors, credentials, tokens, fingerprints.
  virtual Pair PurposeKey(const char* label) const = 0;
};

// Steps of RotateMaster, in their order; the two in the middle come once for each mirror.
enum class RotationStep : int {
  kPreviousWritten = 1,  // the old master key lies under the new one
  kRootWrapped,          // from the first of them on, the new one opens the vault
  kFileWrapped,          // of one date or month
  kPreviousDestroyed,
};

struct KeyVaultOptions {
  std::filesystem::path dir;  // keys/
  bool sync = true;           // false only in benchmarks that say so
  // Destroy by overwriting even where a file system is known, or not known, to keep copies.
  bool any_file_system = false;
  // Called after each step of a rotation; tests end the process in it.
  std::function<void(RotationStep)> rotation_fail_point = {};
  // For looking beside a running service: nothing is created, repaired or destroyed, and the calls
  // that would are kInternal.
  bool read_only = false;
};

// Creates keys/ with a fresh root. kInvalidArgument when a root exists.
Status CreateKeyVault(const KeyVaultOptions& options, const SecretKey& master);
// Opens it, and completes a rotation that was interrupted, or takes it back. kSealed when the
// master key is not the one that wrapped the root; kUnavailable, with the remedy, when overwriting
// is not destruction on this file system (and before each destruction: then nothing was destroyed);
// kCorrupt when both mirrors of the root are damaged; kInvalidArgument when the directory is
// readable by others; kNotFound when it has no keys yet. One program at a time: the data
// directory's lock sees to that.
Result<std::unique_ptr<KeyVault>> OpenKeyVault(const KeyVaultOptions& options, SecretKey master);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_KEY_VAULT_H_
