// The store: sealed, expiring records. This is the door; the repositories behind it are the rooms.
//
// Every method that reads takes `now` and goes through IsVisible; every method that writes commits
// all its rows, its cursor and its audit entries in one synced batch. All are thread-safe. Errors
// are those of the method's comment, and besides: kIo, kOutcomeUnknown (repeat it, writes are
// idempotent), kCorrupt (names the family and row kind; the rest stays readable).
#ifndef MAYFLY_STORE_STORE_H_
#define MAYFLY_STORE_STORE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "store/accounts.h"
#include "store/attachments.h"
#include "store/audit_log.h"
#include "store/change_observer.h"
#include "store/collection.h"
#include "store/conversations.h"
#include "store/engine/engine.h"
#include "store/erasure/erasure.h"
#include "store/expiry/certain_clock.h"
#include "store/expiry/purge.h"
#include "store/keys/key_vault.h"
#include "store/model/clock.h"
#include "store/outbox_queue.h"
#include "store/returned.h"
#include "store/rights/rights.h"
#include "store/room_gate.h"
#include "store/search/search.h"
#include "store/tokens.h"

namespace mayfly::store {

struct StoreOptions {
  Zone zone = Zone::Utc();  // the organisation's; the second zone of the retention rule
  Durability durability = Durability::kSynced;  // buffered only in benchmarks that say so
  P2Grade p2_grade = P2Grade::kC;               // of destructions here; stands on their receipts
  // Whose word endings search knows (search/tokenizer.h). Counts for what is indexed from now on.
  std::vector<std::string> search_languages = {"en"};
  search::IndexLimits search_limits = {};
  RoomKept room = {};
  // keys/forward. Empty: none is kept, and an older store is not told from the present one.
  std::filesystem::path ledger;
  // Where a checkpoint lies while it is copied: on the file system of the store. Empty: none can be
  // taken.
  std::filesystem::path checkpoint_dir;
};

class Store {
 public:
  // kInvalidArgument for a language that search does not know.
  // Takes over engine and vault. kSealed, field "keys-rolled-back", when the vault is an older copy
  // than the one that this store was used with last. Drops day families whose keys are gone and
  // opens nothing else; the caller then runs purge().RunOnce(now) and
  // erasure().RunOnce(now) before it lets anybody in.
  static Result<std::unique_ptr<Store>> Open(std::unique_ptr<Engine> engine,
                                             std::unique_ptr<KeyVault> vault,
                                             const StoreOptions& options);
  ~Store();

  Accounts& accounts();
  Tokens& tokens();
  Collection& collection();        // what pollers write: messages, cursor, coverage
  Conversations& conversations();  // what staff read: inbox, threads, messages
  Attachments& attachments();      // the files that messages bring along
  OutboxQueue& outbox();
  AuditLog& audit();
  Purge& purge();
  Erasure& erasure();
  Rights& rights();
  search::Search& search();
  search::SearchIndex& search_index();  // whose CatchUp a thread of the service calls

  // Told of every commit from here on; at most one, or null. Before other threads use the store; it
  // must outlive that use.
  void SetObserver(ChangeObserver* observer);

  // Certain time as it was persisted last (expiry/certain_clock.h); nullopt for a new store.
  Result<std::optional<ClockRecord>> LoadClock() const;
  Status SaveClock(const ClockRecord& record);  // ignores an earlier time than the stored one

  // Writes buffered records into tables, so that dropping a date a minute later writes almost
  // nothing.
  Status FlushBeforeExpiry();

  // Replaces the master key (KeyVault::RotateMaster), recorded before it begins and when it is
  // done.
  Status RotateMasterKey(const SecretKey& next, const Actor& actor, const Clock& clock);

  // Signs page positions handed to clients: the vault's purpose key "mf-page-1", 32 bytes.
  std::string PageCursorKey() const;

  // Signs a receipt for those who keep it: Ed25519 (RFC 8032), 64 bytes, under a key of this
  // installation that is made from the vault's purpose key "mf-receipts". Its public half, 32
  // bytes.
  std::string SignReceipt(std::string_view receipt) const;
  std::string ReceiptKey() const;

  // Records that did not open since start: lists leave them out, single reads answer kCorrupt.
  std::uint64_t damaged_records() const;
  // Engine::Health, and Engine::Mend.
  Status Health() const;
  Status Mend();
  // Whether messages are collected and replies taken.
  RoomView Room() const;

  // Before anybody is let in, and before overdue dates are ended: finds out whether this is the
  // store that was here last, and if it is an older one, keeps it from bringing back what must not
  // come back (returned.h). nullopt when it is the same one. kCorrupt when the keys are older.
  Result<std::optional<ReturnReport>> Reconcile(TimePoint now);

  // A consistent copy of the store in options.checkpoint_dir, out of hard links, to be copied from
  // there and then dropped; one at a time: a new one takes the place of the old. Audited as
  // `backup.take`. It is dropped by itself when a date ends (its copy would keep that date's
  // bytes), after six hours, and with the next start.
  Result<std::filesystem::path> TakeCheckpoint(const Actor& actor, TimePoint now);
  Status DropCheckpoint();  // idempotent
  // Of the root key: which keys open this store and its copies. 32 hex digits that say nothing.
  std::string KeysPrint() const;

  // Oldest living date, and dates whose expiry passed but whose keys still exist (P2's alarm).
  struct ExpiryView {
    std::optional<ExpiryDay> oldest_living;
    std::vector<ExpiryDay> due_not_destroyed;
  };
  ExpiryView View(TimePoint now) const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_STORE_H_
