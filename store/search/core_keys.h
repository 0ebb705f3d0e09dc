// The one place where the store's own postings get their keys.
#ifndef MAYFLY_STORE_SEARCH_CORE_KEYS_H_
#define MAYFLY_STORE_SEARCH_CORE_KEYS_H_

#include <memory>

#include "store/core.h"
#include "store/search/segment.h"

namespace mayfly::store::search {

// The core must outlive it.
inline std::unique_ptr<PostingKeys> KeysOfPostings(const Core& core, ExpiryDay day) {
  return std::make_unique<VaultPostingKeys>(core.vault(), day);
}

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_CORE_KEYS_H_
