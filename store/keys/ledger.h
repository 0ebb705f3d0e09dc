// How often keys were destroyed here: keys/ledger.a and .b. The store keeps the last number that it
// was told, so keys that were brought back from an older copy show.
//
//   page
//     0  16  "mayfly-ledger" and NULs
//    16   1  version = 1
//    17   7  zero
//    24   8  generation
//    32  32  P32(P32(root, "mf-ledger-1", ""), "mf-ledger-mac", bytes 0 to 31)
//    64 ...  zero
#ifndef MAYFLY_STORE_KEYS_LEDGER_H_
#define MAYFLY_STORE_KEYS_LEDGER_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "store/keys/key_file.h"
#include "store/keys/secret_key.h"
#include "store/model/result.h"

namespace mayfly::store {

// Pure functions. nullopt for a page that does not authenticate.
Page EncodeLedger(KeyBytes root, std::uint64_t generation);
std::optional<std::uint64_t> DecodeLedger(KeyBytes root, const Page& page);

// One caller at a time, but for generation().
class Ledger {
 public:
  Ledger(std::filesystem::path dir, bool sync) : dir_(std::move(dir)), sync_(sync) {}
  // The higher of the two mirrors; 0 when neither is there or authenticates.
  Status Load(KeyBytes root);
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // Durable when it returns. kIo: not raised; try again.
  Status Raise(KeyBytes root);

 private:
  std::filesystem::path dir_;
  bool sync_;
  std::atomic<std::uint64_t> generation_{0};
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_LEDGER_H_
