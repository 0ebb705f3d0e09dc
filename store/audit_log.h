// Promise P7: who did what and when, without content, for 12 months and no longer.
//
// Entries live in the family of their month, sealed under that month's key. An entry is written in
// the same commit as the act that it records; a look at messages is recorded and synced before the
// answer (I6: no silent act). Chaining and proofs come with the audit issue; the sequence has no
// gaps already.
#ifndef MAYFLY_STORE_AUDIT_LOG_H_
#define MAYFLY_STORE_AUDIT_LOG_H_

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/engine/engine.h"
#include "store/model/actor.h"
#include "store/model/ids.h"
#include "store/model/result.h"

namespace mayfly::store {

class Core;

struct AuditEntry {
  std::uint64_t sequence = 0;  // assigned on append
  TimePoint at;
  std::string actor;       // Actor::id
  std::string request_id;  //
  std::string action;      // closed list: inbox.look, search.look, conversation.look,
                           // conversation.change,
                           // reply.queue, reply.sent, reply.failed, reply.unknown, account.connect,
                           // account.change, account.credential, account.disconnect, token.create,
                           // token.revoke, clock.confirm, date.purged, message.destroy,
                           // messages.destroyed,
                           // person.erase, person.erased, person.package, account.erase,
                           // account.erased,
                           // person.find, person.restrict, person.object, restriction.lift,
                           // withdrawals.destroy, withdrawals.restore, backup.take,
                           // store.returned
  std::string object;      // an id of ours, or a date; never a platform id, handle or text
  std::string outcome;     // ok, or an ErrorCode word
};

// Proof that a look was recorded. Reading text needs one, so an unrecorded look does not compile.
class Look {
 public:
  const Actor& actor() const { return actor_; }

 private:
  friend class AuditLog;
  explicit Look(Actor actor) : actor_(std::move(actor)) {}
  Actor actor_;
};

class AuditLog {
 public:
  explicit AuditLog(Core& core) : core_(core) {}
  // Adds the entry to `batch`; it counts only when the batch is committed, under the store's commit
  // lock. For the store's own repositories.
  Status Append(Batch& batch, AuditEntry entry);
  // Records and syncs an act that is not in the store. An error means: do not do it.
  Status Record(const Actor& actor, const char* action, std::string object, TimePoint now);
  // Records and syncs the first look by one actor within 5 minutes; later ones in that time are
  // covered by it. An error means: do not answer.
  Result<Look> LookAtInbox(const Actor& actor, TimePoint now);
  Result<Look> LookAtConversation(const Actor& actor, ConversationId conversation, TimePoint now);
  // That somebody searched; never for what.
  Result<Look> LookAtSearch(const Actor& actor, TimePoint now);
  // Of several conversations at once, in one commit.
  Status RecordLooksAt(const Actor& actor, const std::set<ConversationId>& conversations,
                       TimePoint now);
  // Oldest first, from `after_sequence` (exclusive) of the months that exist.
  Result<std::vector<AuditEntry>> Read(std::uint64_t after_sequence, std::size_t limit) const;
  // Destroys months that ended more than 12 months before `now`. Idempotent.
  Status ExpireMonths(TimePoint now);

 private:
  Result<Look> RecordLook(const Actor& actor, const char* action, std::string object,
                          TimePoint now);

  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_AUDIT_LOG_H_
