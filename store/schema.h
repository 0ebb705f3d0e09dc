// Every row that the store keeps, and how its key is made. All keys begin with the organisation
// (u16, big-endian; 1 for now) and one letter for the row's kind. Numbers are big-endian; `~` is
// the bitwise complement, so that the newest comes first. Row values: codec.h. Sealed values:
// keys/seal.h.
//
// Day family D<yyyymmdd>: everything that ends at 00:00 UTC of that date. A blind value has 16
// bytes; nothing links one date to another. What tells of people and conversations is blind under
// the date's *index* (KeyVault::BlindUnder), a slot that row x names: an erasure gives the date a
// new one, rewrites these rows and destroys the old one. What only tells equal from unequal is
// blind under the date's *id key* (KeyVault::BlindId), which lives as long as the date: a message
// keeps its public id, and what was erased keeps its block. docs/decisions/0018.
//
//   key behind organisation                 value
//   m cblind[16] ~sent_ms[8] dkey[16]       sealed message (or its tombstone once withdrawn)
//   d dkey[16]                              plain: cblind, sent_ms      dedup, and message id -> m
//   s sblind[16]                            sealed: the input of sblind; its slot seals their rows
//   h cblind[16]                            sealed head of a conversation; never text
//   k lblind[16]                            sealed public conversation id
//   c sblind[16]                            sealed contact: platform id, handle, display name
//   i ~last_activity_ms[8] cblind[16]       sealed: conversation id, account, status, unread
//   o reply[16]                             sealed reply
//   q reply[16]                             plain: version; exists while the reply is not final
//   y yblind[16]                            sealed idempotency record
//   b account[4]                            plain: greatest born, messages stored
//   t part[1] segment[8] [number[2]]        sealed postings, under a slot of their own; parts in
//                                           search/segment.h
//   w sequence[8]                           plain: dkeys of messages of one commit whose words no
//                                           `t` row has yet
//   a dkey[16] number[2]                    sealed: what is known of a message's attachment
//   a dkey[16] number[2] piece[4]           sealed: writing[16] and up to 64 KiB of its bytes
//   e dkey[16] number[2]                    plain: account; exists while it is to be fetched
//   f fblind[16]                            plain: what was born until then does not come back
//   r restriction[16]                       sealed: somebody is restricted, or has objected; under
//                                           a slot of its own
//   x                                       plain: slot, generation     the date's index
//
//   blind   in          under   label            input
//   cblind  m, d, h, i  index   mf-conversation  public conversation id
//   sblind  s, c        index   mf-subject       account[4], 'p', platform person id
//           s           index   mf-subject       account[4], 'g', public conversation id
//   lblind  k           index   mf-lookup        account[4], platform conversation id
//   dkey    m, d, a, e  id key  mf-message       account[4], platform message id
//   yblind  y           id key  mf-idempotency   public conversation id, idempotency key
//   fblind  f           id key  mf-block         account[4], 'p', platform person id
//           f           id key  mf-block         account[4], 'k', platform conversation id
//   -       t           index   mf-term          a term of search (its first bits: which bucket)
//
// h, k, c and i lie in the family of the latest expiry that they serve. A message that expires
// later takes them along into its family and removes the old rows in the same batch; so a purge
// rewrites nothing. A contact is found in the family of its conversation's head or in a later one:
// two conversations of one person may hold a row each.
//
// r lies on the last date on which anything of its person lies, and goes along when something of
// them is written to a later one; that of an objection on no earlier date than that on which the
// latest message which it kept out would have ended. So it ends when they are forgotten
// (docs/decisions/0027).
//
// Who seals (whose slot): an incoming message, its attachments, and a contact: the person. Outgoing
// messages, o, h, k, i and y: the contact of a one-to-one conversation, else the conversation's
// pseudo-subject.
//
// Family sys: nothing of the people who write, but for cursors, which are sealed.
//
//   a account[4]                            sealed account
//   c account[4]                            sealed credential of the account
//   u account[4]                            sealed cursor
//   v account[4]                            sealed coverage record
//   g account[4]                            plain: forgotten_until
//   r account[4]                            plain: retention rules used, each with its last day
//   f forget_day[4] account[4] hash[16]     plain: version; an undated or future message was seen
//                                           (forget_day all ones: kept until the account retires)
//   t hash[32]                              sealed token record, by keyed hash of the token
//   j day[4]                                plain: purge journal; a date's end has begun
//   x day[4]                                plain: purge receipt
//   p id[16]                                sealed: the erasure of a person that is under way
//   y day[4]                                plain: the date is to be rewritten under a new index
//   s day[4] slot[4] generation[2]          plain: what it seals is to get another slot
//   h day[4] dkey[16]                       plain: withdrawn, hidden only for now: since, account
//   k account[4]                            plain: when its latest withdrawals were believed
//   d at_ms[8] id[16]                       plain: receipt of what was destroyed before its date
//   l                                       plain: certain time, and when it was written
//   n                                       plain: next message sequence
//   e                                       plain: next audit sequence
//   w                                       plain: next account id
//   K                                       plain: how often keys were destroyed (KeyVault)
//   G                                       plain: generation of the store (forward_ledger.h)
//   R                                       plain: when an older store was put in place of a newer
//
// Family A<yyyymm>:
//
//   z sequence[8]                           sealed audit entry, under the month's key
#ifndef MAYFLY_STORE_SCHEMA_H_
#define MAYFLY_STORE_SCHEMA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/keys/key_vault.h"
#include "store/model/ids.h"
#include "store/model/time.h"

namespace mayfly::store::schema {

inline constexpr std::uint16_t kOrganisation = 1;

// Kinds of rows of a day family.
inline constexpr char kMessage = 'm';
inline constexpr char kPointer = 'd';
inline constexpr char kSubject = 's';
inline constexpr char kHead = 'h';
inline constexpr char kLookup = 'k';
inline constexpr char kContact = 'c';
inline constexpr char kInbox = 'i';
inline constexpr char kReply = 'o';
inline constexpr char kPending = 'q';
inline constexpr char kIdempotency = 'y';
inline constexpr char kStats = 'b';
inline constexpr char kBlock = 'f';
inline constexpr char kIndex = 'x';
inline constexpr char kPosting = 't';
inline constexpr char kWaiting = 'w';
inline constexpr char kAttachment = 'a';
inline constexpr char kWanted = 'e';
// Of these, the ones that are no sealed records.
constexpr bool IsPlain(char kind) {
  return kind == kPointer || kind == kPending || kind == kStats || kind == kBlock ||
         kind == kIndex || kind == kWaiting || kind == kWanted;
}
inline constexpr char kRestriction = 'r';

// Kinds of rows of sys.
inline constexpr char kAccount = 'a';
inline constexpr char kCredential = 'c';
inline constexpr char kCursor = 'u';
inline constexpr char kCoverage = 'v';
inline constexpr char kForgottenUntil = 'g';
inline constexpr char kRules = 'r';
inline constexpr char kFingerprint = 'f';
inline constexpr char kToken = 't';
inline constexpr char kJournal = 'j';
inline constexpr char kReceipt = 'x';
inline constexpr char kErasure = 'p';
inline constexpr char kRewriting = 'y';
inline constexpr char kRenewal = 's';
inline constexpr char kHeld = 'h';
inline constexpr char kBelieved = 'k';
inline constexpr char kDestruction = 'd';
inline constexpr char kClock = 'l';
inline constexpr char kNextSequence = 'n';
inline constexpr char kNextAudit = 'e';
inline constexpr char kNextAccount = 'w';
inline constexpr char kKeyGeneration = 'K';
inline constexpr char kGeneration = 'G';
inline constexpr char kReturnedAt = 'R';

// Rows of sys that an older copy of the store must not undo; see forward_ledger.h.
constexpr bool OnlyMovesForward(char kind) {
  return kind == kForgottenUntil || kind == kFingerprint || kind == kReceipt ||
         kind == kDestruction || kind == kNextAccount;
}
// Rows whose end must not be undone: a token was revoked, an account retired (its credential is
// taken away with it), a receipt or fingerprint has served its time.
constexpr bool IsGoneForGood(char kind) {
  return kind == kToken || kind == kCredential || kind == kReceipt || kind == kDestruction ||
         kind == kFingerprint;
}

// Rows of a day family that an older copy of the store must not undo.
constexpr bool OnlyMovesForwardOnItsDay(char kind) {
  return kind == kBlock || kind == kRestriction;
}

// Kind of rows of an audit family.
inline constexpr char kAuditEntry = 'z';

// Labels of values that are blind under the index (Core::Blind) ...
inline constexpr const char* kBlindConversation = "mf-conversation";
inline constexpr const char* kBlindSubject = "mf-subject";
inline constexpr const char* kBlindLookup = "mf-lookup";
// ... and under the id key (Core::BlindId).
inline constexpr const char* kBlindMessage = "mf-message";
inline constexpr const char* kBlindIdempotency = "mf-idempotency";
inline constexpr const char* kBlindBlock = "mf-block";
inline constexpr const char* kBlindTerm = "mf-term";

// Labels of purpose keys (KeyVault::PurposeKey).
inline constexpr const char* kPurposeAccount = "mf-account";
inline constexpr const char* kPurposeCredential = "mf-credential";
inline constexpr const char* kPurposeCredentialPrint = "mf-cred-print";
inline constexpr const char* kPurposeCursor = "mf-cursor";
inline constexpr const char* kPurposeCoverage = "mf-coverage";
inline constexpr const char* kPurposeToken = "mf-token";
inline constexpr const char* kPurposeTokenHash = "mf-token-hash";
inline constexpr const char* kPurposeFingerprint = "mf-fingerprint";
inline constexpr const char* kPurposeReplyBody = "mf-reply-body";
inline constexpr const char* kPurposePageCursor = "mf-page-1";
inline constexpr const char* kPurposeRestriction = "mf-restriction";
inline constexpr const char* kPurposeLedger = "mf-forward";
inline constexpr const char* kPurposeKeysPrint = "mf-keys-print";

// The forget day of fingerprints that have no end but their account's.
inline constexpr std::uint32_t kNeverForget = 0xffffffffu;

// --- pieces of keys
std::string U32(std::uint32_t value);
std::string U64(std::uint64_t value);
std::uint32_t ReadU32(std::string_view bytes);  // first 4 bytes; 0 when too short
std::uint64_t ReadU64(std::string_view bytes);
std::string_view View(const Bytes16& bytes);
// Of any row; 0 when the key is too short to have one.
constexpr char KindOf(std::string_view key) {
  constexpr std::size_t at = 2;  // behind the organisation
  return key.size() > at ? key[at] : '\0';
}
// Complemented and order-preserving for times before 1970 too: the newest has the smallest bytes.
std::string NewestFirst(TimePoint at);

// --- keys
std::string Key(char kind);  // organisation and kind; also the prefix of all rows of a kind
std::string Key(char kind, const Bytes16& blind);
std::string Key(char kind, std::uint32_t number);
std::string MessageKey(const Bytes16& cblind, TimePoint sent_at, const Bytes16& dkey);
std::string InboxKey(TimePoint last_activity_at, const Bytes16& cblind);
std::string FingerprintKey(std::uint32_t forget_day, AccountId account, const Bytes16& hash);
std::string TokenKey(std::string_view hash);
std::string AuditKey(std::uint64_t sequence);
std::string RenewalKey(ExpiryDay day, Slot slot);
std::optional<std::pair<ExpiryDay, Slot>> ParseRenewalKey(std::string_view key);
std::string HeldKey(ExpiryDay day, const Bytes16& dkey);
std::optional<std::pair<ExpiryDay, Bytes16>> ParseHeldKey(std::string_view key);
// A message's attachments, one of them, a piece of its bytes; each the prefix of the next.
std::string AttachmentsKey(const Bytes16& dkey);
std::string AttachmentKey(const Bytes16& dkey, std::uint16_t number);
std::string PieceKey(const Bytes16& dkey, std::uint16_t number, std::uint32_t piece);
std::string WantedKey(const Bytes16& dkey, std::uint16_t number);
// Of a WantedKey.
std::optional<std::pair<Bytes16, std::uint16_t>> ParseWantedKey(std::string_view key);
std::string DestructionKey(TimePoint at, const Bytes16& id);  // oldest first
std::optional<TimePoint> ParseDestructionTime(std::string_view key);

inline constexpr std::size_t kHeadBytes = 3;  // organisation and kind
inline constexpr std::size_t kMessageKeyBytes = kHeadBytes + 16 + 8 + 16;
inline constexpr std::size_t kInboxKeyBytes = kHeadBytes + 8 + 16;
inline constexpr std::size_t kAttachmentKeyBytes = kHeadBytes + 16 + 2;

// Where a message stands in its thread. Newer first, ties by key.
struct ThreadPosition {
  TimePoint sent_at;
  Bytes16 dkey = {};
  friend bool operator==(const ThreadPosition&, const ThreadPosition&) = default;
};
inline bool IsNewer(const ThreadPosition& a, const ThreadPosition& b) {
  return a.sent_at != b.sent_at ? a.sent_at > b.sent_at : a.dkey < b.dkey;
}
std::optional<ThreadPosition> ParseMessageKey(std::string_view key);
// The last 16 bytes of a key of `size` bytes.
std::optional<Bytes16> Tail16(std::string_view key, std::size_t size);

// --- inputs of blind values
std::string MessageInput(AccountId account, const std::string& platform_id);
std::string LookupInput(AccountId account, const std::string& platform_id);
std::string PersonInput(AccountId account, const std::string& platform_id);
std::string PseudoInput(AccountId account, const ConversationId& conversation);
// Of the words of a date, which are sealed for nobody in particular (search).
std::string PostingsInput();
// Of a subject that is no person: a conversation's, or that of postings.
bool IsPseudoInput(std::string_view input);
std::string BlockInput(AccountId account, const std::string& platform_conversation);
std::string IdempotencyInput(const ConversationId& conversation, const std::string& key);

AuditMonth MonthOf(TimePoint at);
TimePoint EndOf(AuditMonth month);  // the first instant of the month after

}  // namespace mayfly::store::schema

#endif  // MAYFLY_STORE_SCHEMA_H_
