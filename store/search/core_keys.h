// The one place where the store's own postings get their keys.
#ifndef MAYFLY_STORE_SEARCH_CORE_KEYS_H_
#define MAYFLY_STORE_SEARCH_CORE_KEYS_H_

#include "store/core.h"
#include "store/search/segment.h"

namespace mayfly::store::search {

// Under the date's index of now. `slot` is needed for writing only. The core must outlive it.
inline Result<VaultPostingKeys> KeysOfPostings(const Core& core, ExpiryDay day, Slot slot = {}) {
  MAYFLY_ASSIGN_OR_RETURN(const Slot index, core.IndexOf(day));
  return VaultPostingKeys(core.vault(), day, index, slot);
}

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_CORE_KEYS_H_
