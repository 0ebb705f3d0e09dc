// Records <-> bytes. Compact, versioned, bounds-checked: the first byte of every record is its
// version; numbers are varints (LEB128), signed ones zigzag, strings length-prefixed; nothing may
// follow the last field. Anything else is kCorrupt, a second way to write the same value included:
// what decodes encodes to the same bytes. Golden bytes: tests/unit/store_codec_test.cc; a
// changed layout gets a new version byte and the old one stays readable.
//
// Encoded records with people's words are plain text: callers seal and wipe them (Core does).
#ifndef MAYFLY_STORE_CODEC_H_
#define MAYFLY_STORE_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/audit_log.h"
#include "store/erasure/erasure.h"
#include "store/expiry/certain_clock.h"
#include "store/expiry/purge.h"
#include "store/keys/key_vault.h"
#include "store/model/account.h"
#include "store/model/conversation.h"
#include "store/model/coverage.h"
#include "store/model/message.h"
#include "store/model/reply.h"
#include "store/model/result.h"
#include "store/rights/restriction.h"
#include "store/tokens.h"

namespace mayfly::store::codec {

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::uint8_t kMessageVersion = 3;  // 1 knew no edits, 2 no attachments
inline constexpr std::size_t kParticipantsMax = 50;
inline constexpr std::size_t kDaysMax = 128;  // dates that a head can name; about 93 exist

class Encoder {
 public:
  // `size_hint` keeps words from being left behind in the heap when the buffer grows.
  explicit Encoder(std::size_t size_hint = 64, std::uint8_t version = kVersion) {
    out_.reserve(size_hint);
    out_.push_back(static_cast<char>(version));
  }
  Encoder& Byte(std::uint8_t value);
  Encoder& Bool(bool value) { return Byte(value ? 1 : 0); }
  Encoder& Varint(std::uint64_t value);
  Encoder& Signed(std::int64_t value);
  Encoder& Fixed(const Bytes16& value);
  Encoder& String(std::string_view value);
  Encoder& Time(TimePoint at) { return Signed(at.time_since_epoch().count()); }
  Encoder& Day(ExpiryDay day) { return Signed(day.time_since_epoch().count()); }
  Encoder& OptTime(const std::optional<TimePoint>& at);
  std::string Take() && { return std::move(out_); }

 private:
  std::string out_;
};

// Reads what Encoder wrote. After the first fault every read gives a zero and Finish says kCorrupt.
class Decoder {
 public:
  // `what` names the record in the error. Takes versions 1 to `version_max`.
  Decoder(std::string_view bytes, const char* what, std::uint8_t version_max = kVersion);
  std::uint8_t version() const { return version_; }
  std::uint8_t Byte();
  bool Bool();
  std::uint64_t Varint();
  std::uint32_t Varint32();
  std::int64_t Signed();
  Bytes16 Fixed();
  std::string String();
  TimePoint Time();
  ExpiryDay Day();
  std::optional<TimePoint> OptTime();
  // A byte that must lie in [low, high].
  std::uint8_t Enum(std::uint8_t low, std::uint8_t high);
  // A count that must not be above `max`.
  std::size_t Count(std::size_t max);
  void Spoil() { ok_ = false; }
  bool ok() const { return ok_; }
  Status Finish() const;

 private:
  std::string_view rest_;
  const char* what_;
  bool ok_ = true;
  std::uint8_t version_ = 0;
};

// --- rows of a day family

struct MessageRecord {  // m; account, direction and slot stand in its sealed header
  ConversationId conversation;
  TimePoint sent_at;
  TimePoint received_at;
  std::uint64_t sequence = 0;
  PlatformId platform_id;
  PlatformId sender;
  MessageBody text;
  UnreadableReason unreadable = UnreadableReason::kNone;
  bool has_unsupported_content = false;
  bool backfilled = false;
  bool withdrawn = false;  // a tombstone: no text, no platform ids
  std::optional<ReplyId> reply;
  std::optional<TimePoint> edited_at;  // when the text became what it is, if it was another once
  std::uint16_t attachments = 0;       // how many `a` rows tell of them, numbered from 1
};

struct AttachmentRecord {  // a
  AttachmentState state = AttachmentState::kWaiting;
  AttachmentRefusal refusal = AttachmentRefusal::kNone;
  std::uint64_t bytes = 0;
  Bytes16 writing = {};  // which pieces are its own, of those that lie under its key; kKept
  std::string media_type;
  AttachmentName name;
  AttachmentLocator locator;  // while it is to be fetched
};

struct HeadRecord {  // h
  ConversationId id;
  AccountId account;
  PlatformId platform_id;
  ConversationStatus status = ConversationStatus::kOpen;
  PlatformStanding standing = PlatformStanding::kAccepted;
  bool group = false;
  bool unread = false;
  bool odd_times = false;  // a message of it claimed to be sent a day or more after its arrival
  std::vector<PlatformId> participants;
  TimePoint last_activity_at;
  std::optional<MessageId> last_message;
  TimePoint last_sent_at;  // thread position of last_message
  std::uint64_t revision = 1;
  std::vector<ExpiryDay> days;  // ascending; dates that hold messages of it
};

struct WantedRecord {  // e
  AccountId account;
};

struct PointerRecord {  // d
  Bytes16 cblind = {};
  TimePoint sent_at;
};

struct InboxRecord {  // i
  ConversationId conversation;
  AccountId account;
  ConversationStatus status = ConversationStatus::kOpen;
  bool unread = false;
};

struct IdempotencyRecord {  // y
  ReplyId reply;
  Bytes16 body_print = {};
  TimePoint created_at;
};

struct StatsRecord {  // b
  TimePoint greatest_born;
  std::uint64_t messages = 0;
};

struct RestrictionRecord {  // r
  Bytes16 person = {};      // keyed hash of their account and platform id
  RestrictionKind kind = RestrictionKind::kRestriction;
  AccountId account;
  TimePoint since;
  std::uint64_t not_collected = 0;
  std::optional<TimePoint> last_attempt_at;
  friend bool operator==(const RestrictionRecord&, const RestrictionRecord&) = default;
};

std::string Encode(const RestrictionRecord& record);
std::string Encode(const MessageRecord& record);
std::string Encode(const HeadRecord& record);
std::string Encode(const AttachmentRecord& record);
std::string Encode(const WantedRecord& record);
std::string Encode(const PointerRecord& record);
std::string Encode(const InboxRecord& record);
std::string Encode(const IdempotencyRecord& record);
std::string Encode(const StatsRecord& record);
std::string Encode(const Contact& contact);
std::string Encode(const Reply& reply);  // without id and expiry, which its key and family say
std::string Encode(const Slot& slot);
std::string Encode(const std::vector<Bytes16>& messages);  // w
std::string Encode(const ConversationId& id);
std::string EncodeMark();  // a row whose presence is all it says

Result<RestrictionRecord> DecodeRestriction(std::string_view bytes);
Result<MessageRecord> DecodeMessage(std::string_view bytes);
Result<HeadRecord> DecodeHead(std::string_view bytes);
Result<AttachmentRecord> DecodeAttachment(std::string_view bytes);
Result<WantedRecord> DecodeWanted(std::string_view bytes);
Result<PointerRecord> DecodePointer(std::string_view bytes);
Result<InboxRecord> DecodeInbox(std::string_view bytes);
Result<IdempotencyRecord> DecodeIdempotency(std::string_view bytes);
Result<StatsRecord> DecodeStats(std::string_view bytes);
Result<Contact> DecodeContact(std::string_view bytes);
Result<Reply> DecodeReply(std::string_view bytes, const ReplyId& id);
Result<Slot> DecodeSlot(std::string_view bytes);
Result<std::vector<Bytes16>> DecodeWaiting(std::string_view bytes);
Result<ConversationId> DecodeConversationId(std::string_view bytes);

// --- rows of sys

// A rule under which messages were stamped, and the last day on which it was.
struct UsedRule {
  std::string zone;
  RetentionPeriod period;
  ExpiryDay last_used;
};

// A date's end has begun; what its receipt will say, counted while the rows could still be read.
struct PurgeJournal {
  std::uint64_t messages = 0;
  std::uint64_t replies_expired = 0;
};

// A slot of which something must not be readable any more: all that it seals is to get another one.
struct RenewalRecord {
  TimePoint since;
  std::uint64_t withdrawn = 0;  // messages, as is the next
  std::uint64_t destroyed = 0;
  std::uint64_t edited = 0;  // texts
  std::optional<Slot> after;
  friend bool operator==(const RenewalRecord&, const RenewalRecord&) = default;
};

// A withdrawal that came with too many others: hidden, and not destroyed yet.
struct HeldRecord {
  TimePoint since;
  AccountId account;
  friend bool operator==(const HeldRecord&, const HeldRecord&) = default;
};

// A date of which rows must go so that its index does not tell of them either.
struct RewritingRecord {
  struct Dropped {
    Slot slot;
    std::uint64_t messages = 0;
    std::uint64_t replies = 0;
    friend bool operator==(const Dropped&, const Dropped&) = default;
  };
  std::optional<Slot> index;     // once the successor is complete
  std::vector<Slot> doomed;      // to be destroyed when the successor has taken over
  std::vector<Dropped> dropped;  // what was not carried over, by the slot that had sealed it
  bool again = false;            // more slots were destroyed since it was begun
  friend bool operator==(const RewritingRecord&, const RewritingRecord&) = default;
};

// The erasure of a person, or of a whole account when `person` is empty. Sealed under a slot of its
// own, which is destroyed with it.
struct ErasureRecord {
  struct Key {
    ExpiryDay day;
    Slot slot;
    friend bool operator==(const Key&, const Key&) = default;
  };
  AccountId account;
  PlatformId person;
  TimePoint requested_at;
  std::optional<TimePoint> keys_destroyed_at;
  bool heads_cleared = false;
  std::vector<Key> keys;
  std::uint64_t messages = 0;
  std::uint64_t replies = 0;
};

std::string Encode(const HeldRecord& record);
std::string EncodeTimes(const std::vector<TimePoint>& times);
Result<HeldRecord> DecodeHeld(std::string_view bytes);
Result<std::vector<TimePoint>> DecodeTimes(std::string_view bytes);
std::string Encode(const RenewalRecord& record);
std::string Encode(const RewritingRecord& record);
std::string Encode(const ErasureRecord& record);
std::string Encode(const DestructionReceipt& receipt);  // without its id, which its key says
Result<RenewalRecord> DecodeRenewal(std::string_view bytes);
Result<RewritingRecord> DecodeRewriting(std::string_view bytes);
Result<ErasureRecord> DecodeErasure(std::string_view bytes);
Result<DestructionReceipt> DecodeDestruction(std::string_view bytes, const ErasureId& id);

std::string Encode(const Account& account);  // without forgotten_until, which has its own row
std::string Encode(const Credential& credential);
std::string EncodeCursor(const std::string& cursor);
std::string Encode(const Coverage& coverage);
std::string Encode(const std::vector<UsedRule>& rules);
std::string Encode(const TokenInfo& token);
std::string Encode(const PurgeJournal& journal);
std::string Encode(const PurgeReceipt& receipt);
std::string EncodeNumber(std::uint64_t value);
std::string EncodeTime(TimePoint at);
std::string Encode(const ClockRecord& clock);

Result<Account> DecodeAccount(std::string_view bytes);
Result<Credential> DecodeCredential(std::string_view bytes);
Result<std::string> DecodeCursor(std::string_view bytes);
Result<Coverage> DecodeCoverage(std::string_view bytes);
Result<std::vector<UsedRule>> DecodeRules(std::string_view bytes);
Result<TokenInfo> DecodeToken(std::string_view bytes);
Result<PurgeJournal> DecodeJournal(std::string_view bytes);
Result<PurgeReceipt> DecodeReceipt(std::string_view bytes);
Result<std::uint64_t> DecodeNumber(std::string_view bytes);
Result<TimePoint> DecodeTime(std::string_view bytes);
Result<ClockRecord> DecodeClock(std::string_view bytes);

// --- audit families
std::string Encode(const AuditEntry& entry);  // without sequence, which its key says
Result<AuditEntry> DecodeAudit(std::string_view bytes, std::uint64_t sequence);

}  // namespace mayfly::store::codec

#endif  // MAYFLY_STORE_CODEC_H_
