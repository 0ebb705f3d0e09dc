// Writing into conversations, within one transaction: where a message belongs, whether it is new,
// and what it does to its conversation's head. Each head, contact and inbox row is written once, by
// Flush, however many messages the transaction adds. Internal to the store.
#ifndef MAYFLY_STORE_THREAD_WRITER_H_
#define MAYFLY_STORE_THREAD_WRITER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "store/collection.h"
#include "store/core.h"

namespace mayfly::store {

// Applies an edit to a record that is stored or about to be. False when it says nothing new.
bool ApplyEdit(const CollectedEdit& edit, TimePoint now, codec::MessageRecord& record);

class ThreadWriter {
 public:
  ThreadWriter(Transaction& transaction, const Account& account);

  struct Thread {
    HeadPtr old;             // as stored; null for a new conversation
    codec::HeadRecord head;  // as it will be
    ExpiryDay day{};         // the family in which it will lie
    bool changed = false;
    bool reread = false;                     // newest message and date must be found again
    std::map<PlatformId, Contact> contacts;  // as this transaction was told
    // Of the visible messages that this transaction adds.
    std::optional<schema::ThreadPosition> newest_added;
    ExpiryDay newest_added_day{};
    ExpiryDay last_added_day{};
  };
  // Null when the conversation is not known.
  Result<Thread*> Find(const PlatformId& platform_id);
  Result<Thread*> FindById(const ConversationId& id);
  Thread& Create(const PlatformId& platform_id);
  // What the platform says about the conversation: replaces participants and standing.
  void Describe(Thread& thread, const std::vector<Contact>& participants, bool group,
                PlatformStanding standing);

  enum class Verdict { kNew, kDuplicate, kPastHorizon };
  struct Placement {
    Verdict verdict = Verdict::kNew;
    ExpiryDay day{};    // where it lies or will lie, but for kPastHorizon
    Bytes16 dkey = {};  // of a new one
    TimePoint sent_at;  // as shown and ordered
    TimePoint born;
    bool future = false;                      // claims to be sent after now
    std::optional<std::uint32_t> forget_day;  // needs a fingerprint until then
  };
  // Decides once for each message; a second call for the same one says kDuplicate.
  Result<Placement> Place(const PlatformId& message, std::optional<TimePoint> sent_at);

  // Stores a new message. `record` brings ids, text and flags; its times and sequence are set here.
  Result<MessageId> Add(Thread& thread, const Placement& placement, Direction direction,
                        codec::MessageRecord record,
                        const std::vector<CollectedAttachment>& attachments = {});
  // Gives a stored message the text of an edit. False when it is not stored, when it has no text
  // (stub, tombstone), or when the edit says nothing new.
  Result<bool> Edit(const CollectedEdit& edit);
  // Stores the tombstone of a message that was withdrawn before it was stored. `thread` may be
  // null.
  Status AddTombstone(const Thread* thread, const Placement& placement, Direction direction,
                      const PlatformId& sender);
  // Turns a stored message into its tombstone, and takes its text out of the reply that it came
  // from. Its slot is to be renewed. When it was the one that ended last, its conversation and the
  // names in it now end with the last that is left. False when it is not stored, or withdrawn
  // already.
  Result<bool> Withdraw(const PlatformId& message);
  Result<bool> Withdraw(const MessageId& message, Transaction::Reason reason);
  // The same to every reader, but its text stays until a later decision.
  Result<bool> Hold(const PlatformId& message);
  // What becomes of a message that is held. False when it is not, or not any more.
  Result<bool> DestroyHeld(const MessageId& message);
  Result<bool> Restore(const MessageId& message);
  // Whether it was erased with its person, or with the conversation that only that person had.
  // `description`: what the page says of that conversation; may be null.
  Result<bool> IsErased(const PlatformId& conversation, const PlatformId& sender,
                        Direction direction, const Placement& placement,
                        const CollectedConversation* description);

  // Writes heads, lookups, inbox rows and contacts. Last.
  Status Flush();

 private:
  // nullopt when it is not stored, or nobody can read it.
  Result<std::optional<StoredMessage>> Stored(const MessageId& message);
  Status PutAttachments(const MessageId& message, Slot slot, Direction direction,
                        const std::vector<CollectedAttachment>& attachments);
  Status PutTombstone(const StoredMessage& stored, Transaction::Reason reason);
  Status ForgetReplyText(const StoredMessage& stored);
  Status HideFromHead(const StoredMessage& stored);
  Result<Thread*> Load(const PlatformId& platform_id, const ConversationId& id);
  Status Reread(Thread& thread);
  Status FlushContacts(Thread& thread);
  Result<std::set<PlatformId>> NamedByOthers(const Thread& thread, ExpiryDay day);
  void AddParticipant(Thread& thread, const PlatformId& person);
  Result<std::optional<TimePoint>> BlockedUntil(const std::string& input);
  // Of an erased person who has not written since, a group knows no name.
  Result<bool> IsNameless(const Thread& thread, const PlatformId& person);
  Result<std::optional<ExpiryDay>> FindDuplicate(const PlatformId& message, Placement& placement,
                                                 bool everywhere);

  Transaction& transaction_;
  Core& core_;
  const Account account_;
  const RetentionRule rule_;
  const std::optional<TimePoint> forgotten_until_;
  std::vector<RetentionRule> other_rules_;  // under which living messages may have been stamped
  bool rules_unknown_ = false;
  bool fingerprints_undated_ = false;
  std::map<PlatformId, std::unique_ptr<Thread>> threads_;
  std::unordered_set<std::string> placed_;
  std::set<MessageId> withdrawn_;  // by this transaction, or held
  std::set<MessageId> held_;       // by this transaction
  std::map<std::string, std::optional<TimePoint>> blocks_;
  std::set<PlatformId> writers_;  // whose messages this transaction adds
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_THREAD_WRITER_H_
