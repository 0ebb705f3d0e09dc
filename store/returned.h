// When an older copy of the store was put in the place of a newer one: what must not come back.
//
// Whether it was: the store carries a generation, and so does the ledger beside the keys. Each
// start and each checkpoint moves both on, the checkpoint behind the copy; so every copy that
// `mayfly backup` made, and every one made by hand before the last start, is behind.
//
// Then, before anybody is let in:
//   receipts, forgotten_until, fingerprints, next account id   as the ledger has them
//   what was erased, restrictions, objections                  as the ledger has them, while their
//                                                              dates last
//   tokens revoked and accounts retired since                  revoked and retired again
//   retention periods                                          as they were set last
//   replies that were waiting to be sent                       `unknown`: they may have been sent
//                                                              since; the platform is asked, and
//                                                              nothing is sent again
//   new replies                                                refused until the account has read
//                                                              up to this moment: what was sent
//                                                              since stands in the threads by then
//   coverage                                                   an open hole `store-returned` from
//                                                              what the copy knew
//   message and audit sequences                                go on past all that may have been
//                                                              given out; the gap shows the loss
// Dates that ended since have no keys: the store has dropped them already when it opened.
#ifndef MAYFLY_STORE_RETURNED_H_
#define MAYFLY_STORE_RETURNED_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

class Core;

inline constexpr const char* kStoreReturned = "store-returned";  // reason of holes and replies

struct ReturnReport {
  std::size_t replies_in_doubt = 0;
  std::size_t tokens_revoked = 0;
  std::size_t accounts_retired = 0;
  std::uint64_t audit_gap_from = 0;  // first sequence that may be missing
};

// Idempotent: cut off anywhere, it begins again with the next start. nullopt when the store is the
// one that was here last, or there is no ledger. kCorrupt when the ledger, and so the keys, are
// older than the store.
Result<std::optional<ReturnReport>> ReconcileWithLedger(Core& core, TimePoint now);

// Moves store and ledger on by one; does nothing without a ledger. kPreconditionFailed while the
// store has still to be reconciled.
Status AdvanceGeneration(Core& core, TimePoint now);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_RETURNED_H_
