// Signs receipts: Ed25519 (RFC 8032, libsodium), under a key of the installation that is made from
// the root each time it is needed, so that it lies nowhere.
#ifndef MAYFLY_STORE_KEYS_RECEIPT_SIGNER_H_
#define MAYFLY_STORE_KEYS_RECEIPT_SIGNER_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/keys/key_vault.h"

namespace mayfly::store {

class ReceiptSigner {
 public:
  explicit ReceiptSigner(const KeyVault& vault);  // its purpose key "mf-receipts" is the seed
  ~ReceiptSigner();
  ReceiptSigner(const ReceiptSigner&) = delete;
  ReceiptSigner& operator=(const ReceiptSigner&) = delete;

  std::string Sign(std::string_view text) const;  // 64 bytes
  std::string PublicKey() const;                  // 32 bytes

 private:
  std::array<std::uint8_t, 32> public_;
  std::array<std::uint8_t, 64> secret_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_RECEIPT_SIGNER_H_
