#include "store/keys/receipt_signer.h"

#include <sodium.h>
#include <tuple>

namespace mayfly::store {
namespace {

constexpr const char* kPurpose = "mf-receipts";

}  // namespace

ReceiptSigner::ReceiptSigner(const KeyVault& vault) {
  static_assert(std::tuple_size_v<Pair> == crypto_sign_SEEDBYTES &&
                std::tuple_size_v<decltype(public_)> == crypto_sign_PUBLICKEYBYTES &&
                std::tuple_size_v<decltype(secret_)> == crypto_sign_SECRETKEYBYTES);
  Pair seed = vault.PurposeKey(kPurpose);
  crypto_sign_seed_keypair(public_.data(), secret_.data(), seed.data());
  sodium_memzero(seed.data(), seed.size());
}

ReceiptSigner::~ReceiptSigner() { sodium_memzero(secret_.data(), secret_.size()); }

std::string ReceiptSigner::Sign(std::string_view text) const {
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr,
                       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                       secret_.data());
  return signature;
}

std::string ReceiptSigner::PublicKey() const { return {public_.begin(), public_.end()}; }

}  // namespace mayfly::store
