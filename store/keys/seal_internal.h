// For golden-byte tests only: sealing with a given r. Program code calls Seal, which draws r
// afresh; a repeated r for the same id would repeat key and nonce.
#ifndef MAYFLY_STORE_KEYS_SEAL_INTERNAL_H_
#define MAYFLY_STORE_KEYS_SEAL_INTERNAL_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/keys/seal.h"

namespace mayfly::store::internal {

using SealRandom = std::array<std::uint8_t, 24>;

std::string SealWithRandom(const Pair& pair, const SealContext& context, const SealedHeader& header,
                           std::string_view body, const SealRandom& r);

}  // namespace mayfly::store::internal

#endif  // MAYFLY_STORE_KEYS_SEAL_INTERNAL_H_
