// What the repositories share: the engine, the vault, the one commit lock, the caches, and the
// helpers that turn rows into records and back. Internal to the store; nobody else includes it.
//
// Locks, in the order in which they are taken: commit lock (one writer), then cache lock or account
// lock (never both). Readers take no commit lock; each holds the view lock, shared, through its
// Pairs. Everything marked "commit lock" is called by a Transaction or by Purge, which hold it.
#ifndef MAYFLY_STORE_CORE_H_
#define MAYFLY_STORE_CORE_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/bounded_map.h"
#include "store/change_observer.h"
#include "store/checkpoint.h"
#include "store/codec.h"
#include "store/engine/engine.h"
#include "store/expiry/visibility.h"
#include "store/forward_ledger.h"
#include "store/keys/key_vault.h"
#include "store/keys/seal.h"
#include "store/model/account.h"
#include "store/model/coverage.h"
#include "store/model/mutex.h"
#include "store/model/result.h"
#include "store/rights/register.h"
#include "store/schema.h"
#include "store/search/segment.h"
#include "store/search/young_words.h"
#include "store/store.h"

namespace mayfly::store {

// Pairs fetched during one operation; wiped when it ends.
class Pairs {
 public:
  ~Pairs() { Wipe(); }
  Pairs(const Pairs&) = delete;
  Pairs& operator=(const Pairs&) = delete;
  Result<const Pair*> For(ExpiryDay day, Slot slot);
  void Wipe();

 protected:
  explicit Pairs(const KeyVault& vault) : vault_(vault) {}

 private:
  friend class Transaction;
  struct Id {
    std::int64_t day;
    std::uint32_t number;
    std::uint16_t generation;
    auto operator<=>(const Id&) const = default;
  };
  const KeyVault& vault_;
  std::map<Id, Pair> pairs_;
};

class Core;

// The pairs of a reader. While it lives, no person's key is destroyed and no date gets another
// index: whoever wants to waits for it (Core::AwaitReaders). So what it found stays together, and
// when "destroyed" is said nobody holds the pair any more. One for each operation, and no commit
// while it lives.
class ReaderPairs : public Pairs {
 public:
  explicit ReaderPairs(const Core& core);
  ~ReaderPairs() { Wipe(); }

 private:
  std::shared_lock<std::shared_mutex> view_;
};

// Whose slot seals a record.
struct Subject {
  static Subject Person(AccountId account, const PlatformId& id) {
    return {schema::PersonInput(account, id.Reveal())};
  }
  static Subject Pseudo(AccountId account, const ConversationId& id) {
    return {schema::PseudoInput(account, id)};
  }
  // Of the words of a date, which are nobody's own.
  static Subject Postings() { return {schema::PostingsInput()}; }
  std::string input;  // of the blind value
};
// Of replies, heads and everything else that is ours in a conversation.
Subject OwnerOf(const codec::HeadRecord& head);

struct LoadedHead {
  codec::HeadRecord record;
  ExpiryDay day{};       // the family in which it lies
  bool damaged = false;  // it did not open: `record` is rebuilt and says less than the head did
};
using HeadPtr = std::shared_ptr<const LoadedHead>;

struct OpenedRow {
  SealedHeader header;
  std::string body;  // plain text: wiped by its owner
  ~OpenedRow() { WipeString(body); }
  OpenedRow() = default;
  OpenedRow(OpenedRow&&) = default;
  OpenedRow& operator=(OpenedRow&&) = default;
};

struct StoredMessage {
  MessageId id;
  SealedHeader header;
  codec::MessageRecord record;
  std::string key;
};

struct StoredReply {
  Slot slot;
  Reply reply;
};

struct DayBlind {
  std::int32_t day = 0;
  Bytes16 blind = {};
  friend bool operator==(const DayBlind&, const DayBlind&) = default;
  static DayBlind Of(ExpiryDay day, const Bytes16& blind) {
    return {static_cast<std::int32_t>(day.time_since_epoch().count()), blind};
  }
};

// Keys of caches are keyed hashes or random already: any eight of their bytes will do.
struct RandomBytesHash {
  std::size_t operator()(const Bytes16& bytes) const {
    std::uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::size_t operator()(const DayBlind& key) const {
    return (*this)(key.blind) ^ static_cast<std::size_t>(key.day) * 0x9e3779b97f4a7c15ull;
  }
};

// Why something cannot be read: it is not there, or not any more. Nothing is wrong.
inline bool IsGone(const Error& error) {
  return error.code == ErrorCode::kExpired || error.code == ErrorCode::kNotFound;
}

class Core {
 public:
  Core(std::unique_ptr<Engine> engine, std::unique_ptr<KeyVault> vault,
       const StoreOptions& options);
  Status Open();

  Engine& engine() const { return *engine_; }
  KeyVault& vault() const { return *vault_; }
  const StoreOptions& options() const { return options_; }
  RoomGate& room() { return room_; }

  // --- days
  // Open families whose date has not come, newest first.
  std::vector<ExpiryDay> VisibleDays(TimePoint now) const;
  // The same, each with an instant after which nothing was born that ends on it or before.
  std::vector<std::pair<ExpiryDay, TimePoint>> VisibleDaysWithLatestBirth(TimePoint now) const;
  std::vector<ExpiryDay> OpenDays() const;  // hidden ones left out, expired ones not; newest first
  bool IsUsable(ExpiryDay day, TimePoint now) const;  // visible, and its family is open
  bool IsHidden(ExpiryDay day) const;
  Status CheckKeys(ExpiryDay day) const;  // kCorrupt when the date's key file does not open
  // Keys first, then the family. kExpired for a date that has ended. Commit lock.
  Status EnsureDay(ExpiryDay day);
  // From here no read, commit or cache touches the date. Commit lock.
  void HideDay(ExpiryDay day);
  void FinishDay(ExpiryDay day);  // its end is complete; commit lock

  // --- rows
  // Blind under the date's index, which an erasure replaces: for all that tells of people,
  // conversations and words.
  Result<Bytes16> Blind(ExpiryDay day, const char* label, std::string_view input) const;
  // Blind under the date's id key, which lives as long as the date: for ids of messages, keys of
  // idempotency, and blocks.
  Result<Bytes16> BlindId(ExpiryDay day, const char* label, std::string_view input) const {
    return vault_->BlindId(day, label, input);
  }
  // The slot of the date's index. What is sealed under it (lists of words) goes with it.
  Result<Slot> IndexOf(ExpiryDay day) const;
  // Alone, before its date.
  bool IsDestroyed(ExpiryDay day, Slot slot) const;
  Result<std::optional<std::string>> Get(ExpiryDay day, std::string_view key) const {
    return engine_->Get(Family::Day(day), key);
  }
  // Opens a sealed row of a day family. A record that does not open is counted.
  Result<OpenedRow> OpenRow(ExpiryDay day, char kind, std::string_view key, std::string_view sealed,
                            Pairs& pairs) const;
  // Decoding of what OpenRow gave or of a plain row; a fault is counted.
  template <class T>
  Result<T> Checked(Result<T> decoded) const {
    if (!decoded && decoded.error().code == ErrorCode::kCorrupt) CountDamage();
    return decoded;
  }
  // Another key, slot or both for a sealed row of a day family.
  Result<std::string> ResealRow(ExpiryDay day, char kind, std::string_view key,
                                std::string_view sealed, std::string_view new_key, Slot new_slot,
                                Pairs& pairs) const;
  Result<std::string> SealRow(ExpiryDay day, char kind, std::string_view key,
                              const SealedHeader& header, std::string body, Pairs& pairs) const;
  std::string SealSys(char kind, std::string_view key, AccountId account, const char* purpose,
                      std::string body) const;
  Result<std::string> OpenSys(char kind, std::string_view key, const char* purpose,
                              std::string_view sealed) const;
  // The sealed row of `account` in sys, opened; nullopt when there is none.
  Result<std::optional<std::string>> ReadSys(char kind, AccountId account,
                                             const char* purpose) const;

  // --- conversations and messages
  // Null when there is none. Probes the visible dates, newest first. When the head is damaged,
  // kCorrupt, and `damaged_day` says where it lies.
  Result<HeadPtr> FindHead(ConversationId id, TimePoint now, Pairs& pairs,
                           std::optional<ExpiryDay>* damaged_day = nullptr) const;
  Result<HeadPtr> LoadHead(ConversationId id, ExpiryDay day, Pairs& pairs) const;
  // The public id of a platform's conversation. Commit lock.
  Result<std::optional<ConversationId>> FindConversation(AccountId account, const PlatformId& id,
                                                         TimePoint now, Pairs& pairs);
  // The newest visible message of a conversation, and when it was active. A head names it as it was
  // at the last commit; when that message has ended since and others live on, the head cannot say.
  struct Newest {
    MessageId id;
    TimePoint active_at;
  };
  Result<std::optional<Newest>> NewestOf(const codec::HeadRecord& head, TimePoint now,
                                         Pairs& pairs) const;
  // nullopt when it is not known. From `head_day` if it is there, else from any date.
  Result<std::optional<Contact>> FindContact(AccountId account, const PlatformId& person,
                                             ExpiryDay head_day, TimePoint now, Pairs& pairs) const;
  // The people of a conversation. One of whom no contact is found has an id and no name.
  Result<std::vector<Contact>> ParticipantsOf(const LoadedHead& head, TimePoint now,
                                              Pairs& pairs) const;
  Result<std::optional<Contact>> LoadContact(AccountId account, const PlatformId& person,
                                             ExpiryDay day, Pairs& pairs) const;
  // kExpired by its date alone; kNotFound. Tombstones are returned.
  Result<StoredMessage> FindMessage(const MessageId& id, TimePoint now, Pairs& pairs) const;
  Result<StoredMessage> OpenMessage(ExpiryDay day, std::string_view key, std::string_view sealed,
                                    Pairs& pairs) const;
  // The message with a platform's id, wherever it is stored.
  Result<std::optional<MessageId>> FindByPlatformId(AccountId account, const PlatformId& id,
                                                    TimePoint now) const;

  // --- replies
  Result<StoredReply> FindReply(const ReplyId& id, TimePoint now, Pairs& pairs) const;
  // Replies that may still be pending, of `conversation` or all. A superset until loaded.
  Result<std::vector<StoredReply>> PendingReplies(std::optional<ConversationId> conversation,
                                                  TimePoint now, Pairs& pairs) const;
  // Remembers of which conversation a listed reply is.
  void NotePending(const ReplyId& id, ConversationId conversation) const;

  // --- accounts
  Result<Account> GetAccount(AccountId id) const;
  std::vector<AccountId> AccountIds() const;
  void PublishAccount(const Account& account);                 // in memory only
  std::optional<TimePoint> StoredSuccess(AccountId id) const;  // last_success_at on disk
  std::optional<TimePoint> ForgottenUntil(AccountId id) const;
  std::vector<codec::UsedRule> RulesOf(AccountId id) const;
  RetentionRule RuleOf(const Account& account) const {
    return {.zone = options_.zone, .period = account.retention};
  }
  // nullopt when the zone is no longer known.
  std::optional<RetentionRule> RuleOf(const codec::UsedRule& used) const;
  // No message of the account lives shorter than this, under any rule that it has or had.
  std::chrono::days ShortestLife(AccountId id) const;
  // Whether any fingerprint with this forget day exists for the account.
  bool HasFingerprints(std::uint32_t forget_day, AccountId account) const;
  Bytes16 FingerprintOf(AccountId account, const PlatformId& message) const;
  Bytes16 PrintOf(const char* purpose, std::string_view input) const;  // keyed hash

  // --- erasure
  // Held by whoever destroys keys or replaces an index; returns when no reader is under way. After
  // the commit lock.
  [[nodiscard]] std::unique_lock<std::shared_mutex> AwaitReaders() const {
    return std::unique_lock(view_mutex_);
  }
  // Rows of the date that commits put or remove from here on are remembered, until TakeTracked.
  struct Tracked {
    std::set<std::string> put;
    std::map<std::string, std::string> removed;  // with what they held
  };
  void Track(ExpiryDay day);  // commit lock
  Tracked TakeTracked();      // commit lock
  // The date has another index; what the caches say of it is worth nothing. Commit and view lock.
  void ReplaceIndex(ExpiryDay day, Slot index);
  // Everything that was read before a person's keys were destroyed. Commit lock.
  void ForgetRead();
  void ForgetPending(const ReplyId& id);
  void ForgetStats(ExpiryDay day);  // they are read again; commit lock
  // Nothing of the subject or conversation `input` that was born until the instant comes back.
  // nullopt when nothing was erased.
  Result<std::optional<TimePoint>> BlockedUntil(std::string_view input, TimePoint now) const;
  void NoteBlocks(ExpiryDay day);

  // --- rights (rights/rights.h)
  RestrictionRegister& restrictions() { return restrictions_; }
  const RestrictionRegister& restrictions() const { return restrictions_; }
  Bytes16 RestrictionPrint(std::string_view subject_input) const {
    return PrintOf(schema::kPurposeRestriction, subject_input);
  }
  // nullopt once its date has come, whether or not that has ended.
  std::optional<RestrictionRegister::Entry> RestrictionOf(AccountId account,
                                                          const PlatformId& person,
                                                          TimePoint now) const;
  bool IsRestricted(AccountId account, const PlatformId& person, TimePoint now) const {
    return RestrictionOf(account, person, now).has_value();
  }
  bool HasObjected(AccountId account, const PlatformId& person, TimePoint now) const;
  // Whether anybody in the conversation is restricted: nothing is sent there.
  bool HasRestricted(const codec::HeadRecord& head, TimePoint now) const;
  // Every path that gives people's words or names to staff asks one of these; `actor` is who gets
  // them. Of a person; of a conversation, which is true when it is with a restricted person alone;
  // of a message, theirs or one to them.
  bool IsWithheld(const Actor& actor, AccountId account, const PlatformId& person,
                  TimePoint now) const;
  bool IsWithheld(const Actor& actor, const codec::HeadRecord& head, TimePoint now) const;
  bool IsWithheld(const Actor& actor, const StoredMessage& message, TimePoint now,
                  Pairs& pairs) const;

  // --- audit
  Status AppendAudit(Batch& batch, AuditEntry entry);  // commit lock
  Status EnsureAuditMonth(AuditMonth month);           // commit lock
  Status ExpireAuditMonths(TimePoint now);
  // Whether the actor's look at this object was recorded less than five minutes ago.
  bool LookIsCovered(const std::string& actor, const std::string& object, TimePoint now) const;
  void NoteLook(const std::string& actor, const std::string& object, TimePoint now);

  // --- copies of the store (returned.h)
  ForwardLedger* ledger() { return ledger_.get(); }  // null when none is kept; commit lock
  CheckpointPlace& checkpoint() { return checkpoint_; }
  // When an older store was last put in the place of a newer one.
  std::optional<TimePoint> ReturnedAt() const;
  Status LoadReturnedAt();
  // Reads counters, accounts and fingerprints again, and moves both sequences on past every number
  // that may have been given out. Commit lock not held.
  Status ReloadAfterReturn();
  Status CompactLedger(TimePoint now);

  void CountDamage() const { damaged_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t damaged() const { return damaged_.load(std::memory_order_relaxed); }

  // What search keeps in memory.
  search::YoungWords& young_words() const { return young_words_; }

  void SetObserver(ChangeObserver* observer) { observer_ = observer; }

 private:
  friend class Transaction;
  friend class ReaderPairs;

  Status CheckKeyGeneration();
  bool IsFromBefore(ExpiryDay day, Slot index) const;
  Status LoadIndex(ExpiryDay day);
  Status LoadBlocks();
  Status LoadRestrictions();
  Status NoteTracked(const Batch& batch);  // commit lock
  Status LoadLatestBirths();
  void NoteBirth(ExpiryDay day, TimePoint born);  // before the commit that brings it
  Status OpenLedger();
  Status LoadEndedThrough();
  Status ReloadCounters();  // what a failed commit has put in doubt; commit lock
  Status LoadAccounts();
  Status LoadFingerprints();
  Status LoadPending();
  void DistrustCaches();  // after a failed commit; commit lock
  void ClearCaches() MAYFLY_REQUIRES(cache_mutex_);
  void PublishDays() MAYFLY_REQUIRES(days_mutex_);
  Bytes16 CacheKey(AccountId account, const PlatformId& id) const;

  const std::unique_ptr<Engine> engine_;
  const std::unique_ptr<KeyVault> vault_;
  const StoreOptions options_;
  RoomGate room_;
  CheckpointPlace checkpoint_;
  mutable std::atomic<std::uint64_t> damaged_{0};
  std::atomic<std::int64_t> returned_at_ms_{0};  // 0: never
  std::set<ExpiryDay> damaged_days_;             // set by Open

  Mutex commit_mutex_;
  // Guarded by the commit lock.
  std::unique_ptr<ForwardLedger> ledger_;
  bool in_doubt_ = false;          // a commit failed: counters are read again before the next one
  bool changes_in_doubt_ = false;  // and its observer has not been told what it would have been
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_audit_ = 1;
  std::uint64_t audit_uncommitted_ = 0;
  std::uint32_t next_account_ = 1;
  std::uint64_t key_generation_ = 0;  // of the vault, as last committed
  std::set<AuditMonth> audit_months_;
  std::map<std::pair<ExpiryDay, AccountId>, codec::StatsRecord> stats_;
  ExpiryDay ended_through_{};                     // the latest date whose end has begun
  std::map<AccountId, std::vector<Hole>> holes_;  // as last committed by this process
  ChangeObserver* observer_ = nullptr;
  std::optional<std::pair<ExpiryDay, Tracked>> tracked_;

  mutable std::shared_mutex view_mutex_;  // after the commit lock, before all others

  mutable Mutex days_mutex_;
  std::set<ExpiryDay> open_days_ MAYFLY_GUARDED_BY(days_mutex_);
  std::set<ExpiryDay> hidden_days_ MAYFLY_GUARDED_BY(days_mutex_);
  std::map<ExpiryDay, TimePoint> latest_births_ MAYFLY_GUARDED_BY(days_mutex_);
  std::map<ExpiryDay, Slot> indexes_ MAYFLY_GUARDED_BY(days_mutex_);
  std::set<ExpiryDay> days_with_blocks_ MAYFLY_GUARDED_BY(days_mutex_);
  std::shared_ptr<const std::vector<ExpiryDay>> newest_first_ MAYFLY_GUARDED_BY(days_mutex_);

  mutable Mutex cache_mutex_;
  std::array<std::uint8_t, 32> cache_key_{};  // of this process; makes cache keys say nothing
  // Odd while a commit that moves heads is under way; so a search that found nothing knows whether
  // to look again.
  std::atomic<std::uint64_t> head_moves_{0};
  mutable BoundedMap<Bytes16, HeadPtr, RandomBytesHash> heads_ MAYFLY_GUARDED_BY(cache_mutex_);
  mutable BoundedMap<Bytes16, ExpiryDay, RandomBytesHash> head_days_
      MAYFLY_GUARDED_BY(cache_mutex_);
  BoundedMap<Bytes16, std::optional<ConversationId>, RandomBytesHash> lookups_
      MAYFLY_GUARDED_BY(cache_mutex_);
  BoundedMap<DayBlind, Slot, RandomBytesHash> slots_ MAYFLY_GUARDED_BY(cache_mutex_);
  BoundedMap<DayBlind, Bytes16, RandomBytesHash> contact_prints_ MAYFLY_GUARDED_BY(cache_mutex_);
  mutable std::map<ReplyId, std::optional<ConversationId>> pending_ MAYFLY_GUARDED_BY(cache_mutex_);

  std::map<std::pair<std::string, std::string>, TimePoint> looks_ MAYFLY_GUARDED_BY(cache_mutex_);

  struct AccountEntry {
    std::optional<Account> account;  // absent: its row is damaged
    std::optional<TimePoint> stored_success;
    std::optional<TimePoint> forgotten_until;
    std::vector<codec::UsedRule> rules;
  };
  mutable Mutex accounts_mutex_;
  std::map<AccountId, AccountEntry> accounts_ MAYFLY_GUARDED_BY(accounts_mutex_);
  std::set<std::pair<std::uint32_t, AccountId>> fingerprints_ MAYFLY_GUARDED_BY(accounts_mutex_);
  mutable std::map<std::string, std::optional<Zone>> zones_ MAYFLY_GUARDED_BY(accounts_mutex_);

  RestrictionRegister restrictions_;

  mutable search::YoungWords young_words_;
};

// One commit in the making. Holds the commit lock from construction to destruction; what it learned
// reaches the caches only when the commit succeeded.
class Transaction {
 public:
  Transaction(Core& core, TimePoint now);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Status Begin();  // first; reads again what an earlier failure put in doubt

  Core& core() { return core_; }
  TimePoint now() const { return now_; }
  Batch& batch() { return batch_; }
  Pairs& pairs() { return pairs_; }

  // Blind values, each computed once.
  Result<Bytes16> ConversationBlind(ExpiryDay day, const ConversationId& id);
  Result<Bytes16> SubjectBlind(ExpiryDay day, const Subject& subject);
  // The slot of a subject on a date; takes one and writes the `s` row if there is none.
  Result<Slot> SlotOf(ExpiryDay day, const Subject& subject);
  // The subject's slot on that date, if it has one.
  Result<std::optional<Slot>> FindSlot(ExpiryDay day, const Subject& subject);
  // From here on the subject's rows of that date are sealed under `slot`.
  Status PutSubject(ExpiryDay day, const std::string& input, Slot slot);
  // What `slot` seals on that date was overwritten because people wanted it gone: all that is left
  // of it is to get another slot, so that this one can be destroyed.
  enum class Reason { kWithdrawn, kEdited, kDestroyed, kPart };
  Status RenewSlot(ExpiryDay day, Slot slot, Reason reason);
  // Seals `body`, wipes it, and puts the row.
  Status PutSealed(ExpiryDay day, char kind, std::string key, Slot slot, AccountId account,
                   Direction direction, std::string body);
  void Put(ExpiryDay day, std::string key, std::string value) {
    batch_.Put(Family::Day(day), std::move(key), std::move(value));
  }
  void Remove(ExpiryDay day, std::string key) { batch_.Remove(Family::Day(day), std::move(key)); }

  // The words of a message are to be indexed, anew if they were before. PutMessage notes those of
  // what it stores.
  void NoteWords(ExpiryDay day, const Bytes16& message) { words_[day].push_back(message); }
  // The message, as it was stored, loses its words in the same commit: it gets others, or none.
  void ForgetWords(const StoredMessage& message);

  // `m`, `d` and the date's statistics. The record gets its sequence.
  Status PutMessage(ExpiryDay day, const Bytes16& cblind, const Bytes16& dkey, Slot slot,
                    AccountId account, Direction direction, TimePoint born,
                    codec::MessageRecord record);
  // All `a` and `e` rows of a message.
  Status RemoveAttachments(const MessageId& message);
  // Writes `h`, `k` and `i`, and takes the old rows away where they lay elsewhere.
  Status PutHead(const HeadPtr& old, codec::HeadRecord head, ExpiryDay day);
  Status PutContact(ExpiryDay day, AccountId account, const Contact& contact);
  // Whether exactly this contact is stored on that date already.
  Result<bool> HasContact(ExpiryDay day, AccountId account, const Contact& contact);
  Status RemoveContact(ExpiryDay day, AccountId account, const PlatformId& person);
  // `o`, and `q` while it is pending.
  Status PutReply(const Reply& reply, Slot slot);
  // An unsent reply ends with the person to whom it was going.
  void DropReply(const ReplyId& id, ConversationId conversation);
  void PutAccount(const Account& account);
  void PutCoverage(AccountId account, const Coverage& coverage);
  // Who is restricted from this commit on, or until when; whom nobody restricts any more.
  void PutRestriction(RestrictionRegister::Entry entry) {
    const RestrictionId id = entry.id;
    restrictions_.insert_or_assign(id, std::move(entry));
  }
  Status RemoveRestriction(const RestrictionId& id);
  // A message of theirs, born then, is not kept.
  Status NoteNotCollected(RestrictionRegister::Entry entry, TimePoint born);
  // It cannot be sent: somebody whom it would reach is restricted.
  Status FailAsRestricted(const StoredReply& stored);
  // That a message changed is nobody's business while its sender is restricted.
  void NoteMessage(ChangeKind kind, const MessageId& id, AccountId account, Direction direction,
                   const codec::MessageRecord& record) {
    const bool theirs =
        direction == Direction::kIncoming && core_.IsRestricted(account, record.sender, now_);
    if (!theirs) Note(kind, id.ToString(), record.conversation);
  }
  // Told to the store's observer once the commit succeeded.
  void Note(ChangeKind kind, std::string id,
            std::optional<ConversationId> conversation = std::nullopt) {
    changes_.push_back({kind, std::move(id), conversation});
  }
  void PutFingerprint(std::uint32_t forget_day, AccountId account, const PlatformId& message);
  // Remembers, once a day, that messages are stamped under the account's present rule.
  void NoteRuleUsed(const Account& account, ExpiryDay today);
  void RaiseForgottenUntil(AccountId account, TimePoint born);
  Status ForgetFingerprints(std::uint32_t forget_day, AccountId account);
  Status ForgetFingerprintsThrough(std::uint32_t today);
  AccountId TakeAccountId();
  Status Audit(const Actor& actor, const char* action, std::string object, std::string outcome);
  void NoteLookup(AccountId account, const PlatformId& platform_id, const ConversationId& id);
  // What comes from the ledger need not be written there again.
  void TakenFromLedger() { from_ledger_ = true; }

  Status Commit();

 private:
  Result<codec::StatsRecord*> StatsOf(ExpiryDay day, AccountId account);
  Status FollowWithRestriction(ExpiryDay day, const std::string& subject_input);
  Status PutRestrictions();
  void ForgetWithheldChanges();
  bool IsOneWithRestricted(const codec::HeadRecord& head) const;
  Status PutWords();
  void PublishWords();
  Status WriteLedger();
  void Publish();

  Core& core_;
  MutexLock lock_;
  const TimePoint now_;
  Batch batch_;
  Pairs pairs_;
  bool from_ledger_ = false;
  std::uint64_t sequences_taken_ = 0;
  std::uint32_t accounts_taken_ = 0;

  std::optional<std::pair<ExpiryDay, std::string>> family_name_;  // of the date sealed for last
  std::map<std::pair<ExpiryDay, ConversationId>, Bytes16> conversation_blinds_;
  std::map<ExpiryDay, std::unordered_map<std::string, Bytes16>> subject_blinds_;
  std::map<std::pair<ExpiryDay, Bytes16>, Slot> slots_;
  std::map<std::string, codec::RenewalRecord> renewals_;
  std::map<std::pair<ExpiryDay, AccountId>, codec::StatsRecord> stats_;
  std::vector<HeadPtr> heads_;
  bool heads_moved_ = false;
  std::vector<std::pair<Bytes16, ConversationId>> lookups_;
  std::vector<std::pair<DayBlind, Bytes16>> contact_prints_;
  std::vector<DayBlind> contacts_gone_;
  std::map<ReplyId, std::optional<ConversationId>> replies_;  // absent value: no longer pending
  std::map<AccountId, Account> accounts_;
  std::map<AccountId, std::vector<codec::UsedRule>> rules_;
  std::map<AccountId, TimePoint> forgotten_;
  std::set<std::pair<std::uint32_t, AccountId>> fingerprints_;
  std::set<std::pair<std::uint32_t, AccountId>> fingerprints_gone_;
  std::map<AccountId, std::vector<Hole>> holes_;
  std::map<ExpiryDay, std::vector<Bytes16>> words_;
  std::map<ExpiryDay, std::vector<search::Removal>> forgotten_words_;
  std::map<RestrictionId, RestrictionRegister::Entry> restrictions_;
  std::vector<RestrictionId> lifted_;
  std::vector<ChangeNotice> changes_;
};

// As Attachments::Get, of a message that was found readable. kNotFound.
Result<Attachment> LoadAttachment(const Core& core, const MessageId& message, std::uint16_t number,
                                  Pairs& pairs);

inline bool IsPending(ReplyState state) {
  return state == ReplyState::kQueued || state == ReplyState::kSending ||
         state == ReplyState::kUnknown;
}

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_CORE_H_
