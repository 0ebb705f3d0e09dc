// Key files on disk: their bytes, and two mirrors kept as one.
//
// A file is a header page of 4,096 bytes and, for a date, blocks of 4,096 bytes with 64 slots each.
// Numbers are big-endian.
//
//   header page                                slot (64 bytes)
//     0  16  "mayfly-key-file" and NUL           0   1  version = 1 (0: never written, all zero)
//    16   1  version = 1                         1   1  kind: 1 subject key, 2 destroyed
//    17   1  kind: 1 root, 2 date, 3 month,      2   2  generation
//            4 previous master key
//    18   2  generation                          4  12  nonce
//    20   4  days since 1970; yyyymm; 0         16  32  subject key, sealed
//    24   8  zero                               48  16  tag
//    32  24  nonce, also the commitment's salt
//    56  32  commitment = P32(master, "mf-commit-1", bytes 0 to 55)
//    88  64  two keys, sealed: day key and id key; the others use the first
//   152  16  tag
//   168  32  check = BLAKE2b-256 of bytes 0 to 167
//   200 ...  zero
//
//   The keys of a header are sealed with XChaCha20-Poly1305 under the master key, bytes 0 to 87
//   being the associated data. `check` needs no key: it tells a torn page from a foreign master
//   key. A subject key is sealed with ChaCha20-Poly1305 (IETF) under P32(day key, "mf-slot-1", "");
//   the associated data is version[1] kind[1] generation[2] days[4] slot number[4]. A destroyed
//   header page: "mayfly-destroyed", then version, kind, zeros, days as above, zeros up to `check`.
//   A destroyed slot: version, kind 2, generation, zeros. Neither holds any key.
//
// Writing. Whole pages, in place, first .a and then .b, each synced and read back from the device
// (O_DIRECT; where a file system has none: after its cached copy was dropped). So at any moment one
// mirror is whole. A block is written once, with 64 fresh keys, before the first of them is used;
// the first block that is all zero in both mirrors, with none but such behind it, is the next one.
// Creating: both files are zeros and synced, then the header goes into .a, then into .b. Files with
// no header where .b is all zero were being created when the power went; nothing was sealed with
// them.
//
// Reading. From .a; what does not authenticate there is taken from .b and repaired in .a. A header
// marked destroyed in either mirror counts, and is completed in the other; so is a slot's mark
// where it is met.
#ifndef MAYFLY_STORE_KEYS_KEY_FILE_H_
#define MAYFLY_STORE_KEYS_KEY_FILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/keys/key_vault.h"
#include "store/keys/secret_key.h"
#include "store/model/result.h"

namespace mayfly::store {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kSlotBytes = 64;
inline constexpr std::uint32_t kSlotsPerBlock = kPageBytes / kSlotBytes;
inline constexpr std::uint32_t kBlocksPerGrowth = 16;  // 1,024 slots
inline constexpr std::uint32_t kSlotsMax = 1u << 24;   // of one date: 1 GiB a mirror
inline constexpr std::uint8_t kKeyFileVersion = 1;
inline constexpr std::uint8_t kSlotVersion = 1;
inline constexpr std::uint16_t kGeneration = 1;  // of every file and slot until keys are rotated

enum class KeyFileKind : std::uint8_t {
  kRoot = 1,
  kDate = 2,
  kMonth = 3,
  kPrevious = 4,  // its first key is the master key of before; lives as long as a rotation
};

// What a file says about itself in clear.
struct KeyFileId {
  KeyFileKind kind = KeyFileKind::kRoot;
  std::uint32_t number = 0;  // days since 1970, year * 100 + month, or 0
};

struct KeyFileKeys {
  SecretKey first;
  SecretKey second;
};

struct alignas(kPageBytes) Page {
  std::array<std::uint8_t, kPageBytes> bytes = {};
  bool IsZero() const;
};
using SlotBytes = std::array<std::uint8_t, kSlotBytes>;

// --- the bytes, pure functions
Page EncodeHeader(KeyFileId id, const SecretKey& master, const KeyFileKeys& keys,
                  std::span<const std::uint8_t, 24> nonce);
Page EncodeDestroyedHeader(KeyFileId id);
enum class HeaderState { kZero, kDamaged, kDestroyed, kWhole };
HeaderState ClassifyHeader(KeyFileId id, const Page& page);
// kSealed when the commitment is to another master key; kCorrupt when it does not authenticate.
Result<KeyFileKeys> DecodeHeader(KeyFileId id, const Page& page, const SecretKey& master);

SlotBytes EncodeSlot(const SecretKey& day_key, std::uint32_t days, Slot slot, KeyBytes subject_key,
                     std::span<const std::uint8_t, 12> nonce);
SlotBytes EncodeDestroyedSlot(std::uint16_t generation);
// kExpired when it is marked destroyed; kCorrupt when it does not authenticate. `subject_key` is
// the caller's to wipe.
Status DecodeSlot(const SecretKey& day_key, std::uint32_t days, Slot slot, const SlotBytes& bytes,
                  std::array<std::uint8_t, 32>* subject_key);

// Makes names in `dir` durable.
Status SyncDirectory(const std::filesystem::path& dir, bool sync);

// --- pages of other kinds, kept in two mirrors `name`.a and `name`.b by the same rules. What is
// written there authenticates itself: a torn page is the reader's to find.
Status WriteMirroredPage(const std::filesystem::path& dir, const std::string& name,
                         const Page& page, bool sync);
// Those that can be read, .a first.
Result<std::vector<Page>> ReadMirroredPage(const std::filesystem::path& dir,
                                           const std::string& name);
// Overwrites both with zeros and unlinks them. Idempotent.
Status RemoveMirroredPage(const std::filesystem::path& dir, const std::string& name, bool sync);

// --- the two mirrors. Keeps no descriptor open. Not thread-safe: one caller at a time.
class KeyFile {
 public:
  // With `read_only`, damage is read past and not repaired, and what would write is kInternal.
  KeyFile(const std::filesystem::path& dir, KeyFileId id, bool sync, bool read_only = false);

  const std::string& name() const { return name_; }  // root, D20270222, M202611, previous
  // Of a directory entry such as D20270222.a; nullopt for anything else.
  static std::optional<KeyFileId> ParseFileName(const std::string& file_name);

  enum class State {
    kAbsent,
    kUnfinished,  // its creation was cut off; Create starts again
    kWhole,
    kDestroyed,
    kHalfDestroyed,  // one mirror is marked, the other could not be written: Destroy again
  };
  struct Opened {
    State state = State::kAbsent;
    KeyFileKeys keys;              // when kWhole
    std::uint32_t blocks = 0;      // there is room for
    std::uint32_t next_block = 0;  // first one that was never written
  };
  // Reads, and repairs a damaged mirror. Changes nothing unless the master key opened a header or a
  // mark was found. kSealed, kCorrupt or kIo, naming the file.
  Result<Opened> Open(const SecretKey& master);
  // Writes both mirrors with fresh keys, or with these. The file must be absent or unfinished.
  Result<Opened> Create(const SecretKey& master);
  Result<Opened> Create(const SecretKey& master, KeyFileKeys keys);
  // Wraps the same keys with `to` instead of `from`, in place, first .a and then .b; `written` is
  // called after each. Whatever it is interrupted by, calling it again completes it. A destroyed
  // file is left alone; kCorrupt when it opens with neither.
  Status Rewrap(const SecretKey& from, const SecretKey& to,
                const std::function<void(int mirror)>& written = {});
  std::filesystem::path MirrorPath(int mirror) const;

  // Writes `block` with fresh subject keys, growing the file (and `blocks`) first if needed. Unless
  // this is another try (`again`), kInternal when something is written there.
  Status WriteBlock(const SecretKey& day_key, std::uint32_t block, bool again,
                    std::uint32_t* blocks);
  Status ReadSubjectKey(const SecretKey& day_key, Slot slot,
                        std::array<std::uint8_t, 32>* subject_key);
  // Marks slots in both mirrors, whatever state they are in.
  Status DestroySlots(const std::vector<Slot>& slots);
  // Overwrites the header pages with the mark. Both mirrors are tried even if the first one fails.
  Status Destroy();
  Status Unlink();

 private:
  Error Named(Error error) const;
  Status MayWrite() const;
  Status EqualiseMirrors(const Page& header);
  Status RepairSlot(Slot slot);
  Result<bool> HasOtherGeneration(Slot slot) const;
  Result<std::uint32_t> FindNextBlock(std::uint32_t blocks) const;
  Status Grow(std::uint32_t blocks_before);

  std::filesystem::path dir_;
  KeyFileId id_;
  bool sync_;
  bool read_only_;
  std::string name_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_KEY_FILE_H_
