// What a person may ask of us while we hold something of theirs: what it is, that it be restricted
// (GDPR Art. 18), that nothing more be kept (Art. 21). Erasing them: erasure/erasure.h.
//
// A restriction hides. From the commit on that makes it, no read path gives staff the person's
// messages, the conversation that they have alone with us, what we answered there, or their name in
// a group; nothing can be sent to where they are; their later messages are collected and are hidden
// too. Whoever has the scope privacy:access goes on reading. It changes no message: expiry,
// erasure, edits and withdrawals happen to each as ever and when they would have. Its row lies on
// the last date on which anything of the person lies, and goes with that.
//
// An objection is a restriction, and besides what the person writes from now on, and what is
// written to them alone, is counted and not stored. It ends on the date on which a message sent
// with the last attempt would have ended, three calendar months later at most, and not before the
// last of what is held of them. It outlives the erasure of that, or the next message would be
// stored again.
//
// Both know the person by a keyed hash, sealed under a key that is destroyed with the date.
// docs/decisions/0027.
#ifndef MAYFLY_STORE_RIGHTS_RIGHTS_H_
#define MAYFLY_STORE_RIGHTS_RIGHTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "store/erasure/erasure.h"
#include "store/model/actor.h"
#include "store/model/conversation.h"
#include "store/model/result.h"
#include "store/rights/restriction.h"

namespace mayfly::store {

class Core;

// What is held of one person. Nothing of what was written.
struct HeldPerson {
  Erasure::Person person;
  Contact contact;  // as the platform named them last
  struct In {
    ConversationId conversation;
    bool group = false;
    std::uint64_t messages = 0;  // theirs, and in a conversation with them alone ours too
  };
  std::vector<In> conversations;
  std::uint64_t incoming = 0;
  std::uint64_t outgoing = 0;       // to them alone
  std::optional<TimePoint> oldest;  // when it was sent
  std::optional<TimePoint> newest;
  std::optional<TimePoint> ends_at;  // the last of it; nothing when nothing is held
  std::optional<Restriction> restriction;
};

class Rights {
 public:
  explicit Rights(Core& core) : core_(core) {}

  // --- finding. Each is recorded as `person.find` before anything is looked up; when it cannot be,
  // the error is returned instead. Empty when nothing is held of anybody who fits; kNotFound for an
  // account, conversation or message that is not there. Several who fit are all given, at most 50.
  //
  // The blind row of the person on each open date says under which key they lie there. To count
  // what lies under it, the outer bytes of every message of those dates are read and theirs alone
  // are opened; to name their conversations, the heads of the account are opened.
  Result<std::vector<HeldPerson>> FindById(AccountId account, const PlatformId& person,
                                           const Actor& actor, TimePoint now) const;
  // There is no index of names: the contacts of the account are opened on every open date. Case of
  // ASCII letters and a leading @ do not count.
  Result<std::vector<HeldPerson>> FindByHandle(AccountId account, const ContactHandle& handle,
                                               const Actor& actor, TimePoint now) const;
  Result<std::vector<HeldPerson>> FindIn(ConversationId conversation, const Actor& actor,
                                         TimePoint now) const;
  // Its sender; of an outgoing message those whom it reached. kExpired as usual.
  Result<std::vector<HeldPerson>> FindOf(const MessageId& message, const Actor& actor,
                                         TimePoint now) const;

  // --- deciding. What waits to be sent to them fails as `restricted`. Asking again changes
  // nothing, but that an objection takes the place of a restriction. kNotFound for an unknown
  // account, and when a restriction would have nothing to protect. Audited as `person.restrict`,
  // `person.object`.
  Result<Restriction> Restrict(const Erasure::Person& person, RestrictionKind kind,
                               const Actor& actor, TimePoint now);
  // kNotFound. Audited as `restriction.lift`.
  Status Lift(const RestrictionId& id, const Actor& actor, TimePoint now);

  Result<Restriction> Get(const RestrictionId& id, TimePoint now) const;  // kNotFound
  std::vector<Restriction> List(TimePoint now) const;                     // oldest first

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_RIGHTS_RIGHTS_H_
