// Destroying less than a date: a message, a person, an account.
//
// One message (withdrawn on the platform, its text replaced by an edit, or destroyed by staff): it
// is overwritten in the commit that learns of it, so it is hidden at once. Whatever else its slot
// seals on that date then gets another slot, the old one is destroyed, and the family is compacted
// with proof. What an old file or backup holds of it is noise from then on.
//
// One person, on all dates: their slots are destroyed first, so that everything is unreadable at
// once, whatever happens next. Then each date on which they had one is written anew without them,
// under another index and with other slots for the heads of groups, so that neither blind keys nor
// old heads tell that they were there; the old index is destroyed and the old family dropped. In a
// group, only the person's own messages go. Of what remains the public ids stay as they are.
//
// A restriction of that person ends with it; an objection holds on (rights/rights.h).
//
// Nothing of it that was born until then is stored again (row f): the block lies on the last date
// on which such a message could end, and goes with it.
//
// Steps are idempotent, have a fail point each, and are repeated by RunOnce: a kill anywhere is
// made good at the next start. None of the steps that destroy a key needs free disk; those that
// remove bytes do, and wait for it. docs/decisions/0018, 0019.
#ifndef MAYFLY_STORE_ERASURE_ERASURE_H_
#define MAYFLY_STORE_ERASURE_ERASURE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/keys/key_vault.h"
#include "store/model/actor.h"
#include "store/model/ids.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly::store {

class Core;

enum class ErasureStep : int {
  kRequested = 1,      // what is to be done is on disk
  kKeysDestroyed,      // of a person: from here all of it is noise
  kHeadsCleared,       // no head of a group names the person
  kSuccessorComplete,  // of a date, and noted so
  kDateReplaced,       // its successor has taken over
  kIndexDestroyed,     // blind keys in old copies say nothing any more
  kOldDateDropped,     // table files unlinked
  kSlotMoved,          // of a message: everything else has its new slot
  kSlotDestroyed,      // from here what was overwritten is noise
  kErased,             // compacted, with proof
  kLogsReleased,
  kReceiptWritten,
};
const char* ToString(ErasureStep step);

enum class DestructionKind : std::uint8_t { kMessages = 1, kPerson = 2, kAccount = 3 };
const char* ToString(DestructionKind kind);

// Content-free proof of what was destroyed before its date. Kept 12 months in `sys`.
struct DestructionReceipt {
  ErasureId id;
  DestructionKind kind = DestructionKind::kMessages;
  TimePoint requested_at;
  TimePoint keys_destroyed_at;
  TimePoint finished_at;  // from here its bytes are gone too
  std::uint64_t dates = 0;
  std::uint64_t keys = 0;  // slots destroyed
  std::uint64_t messages = 0;
  std::uint64_t replies = 0;
  std::uint64_t edited = 0;  // texts that an edit had replaced
};

class Erasure {
 public:
  explicit Erasure(Core& core) : core_(core) {}

  struct Person {
    AccountId account;
    PlatformId id;
  };
  // Of a one-to-one conversation, or who sent an incoming message. kInvalidArgument for a group or
  // an outgoing message: then it is not one person. kNotFound, kExpired as usual.
  Result<Person> PersonOf(ConversationId conversation, TimePoint now) const;
  Result<Person> PersonOf(const MessageId& message, TimePoint now) const;

  // When it returns with success, nothing of the person can be read; RunOnce does the rest. Replies
  // to them that were not sent end. kNotFound when nothing is held. kIo from the disk: what could
  // be destroyed is; repeat it. Audited as `person.erase`.
  Result<ErasureId> ErasePerson(const Person& person, const Actor& actor, TimePoint now);
  // The same for all that was collected for an account; what was born until then does not come
  // back. The account itself stays. kNotFound. Audited as `account.erase`.
  Result<ErasureId> EraseAccount(AccountId account, const Actor& actor, TimePoint now);
  // Hidden when it returns; RunOnce destroys. kNotFound, kExpired; kRestricted when it is withheld
  // from the actor (rights/rights.h): who restricts may want it kept. Audited as `message.destroy`.
  Status DestroyMessage(const MessageId& message, const Actor& actor, TimePoint now);

  // Withdrawals that came with too many others (withdrawal_brake.h): hidden, and destroyed 24 hours
  // after they came, or on a person's word, or shown again on it. Both return how many. Audited as
  // `withdrawals.destroy` and `withdrawals.restore`.
  struct Held {
    std::size_t messages = 0;
    std::optional<TimePoint> since;  // of the oldest
  };
  Result<Held> HeldOf(AccountId account) const;  // kNotFound
  Result<std::size_t> DestroyHeld(AccountId account, const Actor& actor, TimePoint now);
  Result<std::size_t> RestoreHeld(AccountId account, const Actor& actor, TimePoint now);

  // Brings everything that was begun to its end. The first error is returned once all was tried.
  // Called at start before anybody is let in, and then again and again. One caller at a time.
  Status RunOnce(TimePoint now);
  // What is not finished: persons and accounts, dates to be written anew, slots to be renewed.
  Result<std::size_t> Unfinished() const;

  struct Progress {
    bool finished = false;
    DestructionReceipt receipt;  // as far as it is known
  };
  Result<Progress> Find(const ErasureId& id) const;  // kNotFound
  // Oldest first; those behind `after`, at most `limit`.
  Result<std::vector<DestructionReceipt>> Receipts(std::optional<ErasureId> after,
                                                   std::size_t limit) const;
  // Called after each step; tests end the process in it.
  void set_fail_point(std::function<void(ErasureStep)> hook) { hook_ = std::move(hook); }

 private:
  Result<ErasureId> Begin(AccountId account, const PlatformId& person, const Actor& actor,
                          TimePoint now);
  Result<std::size_t> Decide(AccountId account, bool destroy, const Actor* actor,
                             std::optional<TimePoint> until, TimePoint now);
  Status DestroyOverdue(TimePoint now);
  Status DestroyKeys(const ErasureId& id, TimePoint now);
  Status ClearHeads(const ErasureId& id, TimePoint now);
  Status FinishErasures(TimePoint now);
  Status RewriteDates(TimePoint now);
  Status RewriteDate(ExpiryDay day, TimePoint now);
  Status FinishRewriting(ExpiryDay day, TimePoint now);
  Status RenewSlots(TimePoint now);
  Result<bool> MoveRows(ExpiryDay day, Slot from, Slot to, std::string& position, TimePoint now);
  Status MoveSlot(ExpiryDay day, Slot slot, TimePoint now);
  Status WriteRenewalReceipts(const std::vector<std::pair<ExpiryDay, Slot>>& done,
                              const std::map<std::pair<std::int64_t, std::uint32_t>, TimePoint>& at,
                              TimePoint now);
  void Reached(ErasureStep step) const {
    if (hook_) hook_(step);
  }

  Core& core_;
  std::function<void(ErasureStep)> hook_;
  mutable std::mutex running_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ERASURE_ERASURE_H_
