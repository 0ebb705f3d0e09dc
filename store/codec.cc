#include "store/codec.h"

#include <algorithm>
#include <limits>

namespace mayfly::store::codec {
namespace {

constexpr std::size_t kHolesMax = 1u << 20;  // each takes bytes, so the record bounds it
constexpr std::size_t kOptionsMax = 1u << 20;
constexpr std::size_t kRulesMax = 1u << 20;
constexpr std::size_t kWaitingMax = 1u << 20;
// Far enough for any calendar, near enough that arithmetic on dates cannot overflow.
constexpr std::int64_t kDayNumberMax = 10'000'000;
constexpr std::int64_t kMillisecondsMax = kDayNumberMax * 86'400'000;

constexpr std::uint8_t kFlagUnsupported = 1;
constexpr std::uint8_t kFlagBackfilled = 2;
constexpr std::uint8_t kFlagWithdrawn = 4;
constexpr std::uint8_t kFlagReply = 8;
constexpr std::uint8_t kMessageFlagsV1 = 15;
constexpr std::uint8_t kFlagEdited = 16;
constexpr std::uint8_t kMessageFlagsV2 = kMessageFlagsV1 | kFlagEdited;
constexpr std::uint8_t kFlagAttachments = 32;
constexpr std::uint8_t kMessageFlags = kMessageFlagsV2 | kFlagAttachments;

constexpr std::uint8_t MessageFlagsOf(std::uint8_t version) {
  return version == 1 ? kMessageFlagsV1 : version == 2 ? kMessageFlagsV2 : kMessageFlags;
}

constexpr std::uint8_t kFlagGroup = 1;
constexpr std::uint8_t kFlagUnread = 2;
constexpr std::uint8_t kFlagLastMessage = 4;
constexpr std::uint8_t kFlagOddTimes = 8;
constexpr std::uint8_t kHeadFlags = 15;

template <class Tag>
void EncodeId(Encoder& encoder, const DatedId<Tag>& id) {
  encoder.Day(id.day).Fixed(id.bytes);
}

template <class Tag>
DatedId<Tag> DecodeId(Decoder& decoder) {
  DatedId<Tag> id;
  id.day = decoder.Day();
  id.bytes = decoder.Fixed();
  return id;
}

// In the words in which it was written: P1W parses, and is written as P7D.
RetentionPeriod DecodePeriod(Decoder& decoder) {
  const std::string text = decoder.String();
  const auto period = RetentionPeriod::Parse(text);
  if (period && period->ToString() == text) return *period;
  decoder.Spoil();
  return {};
}

template <class T>
Result<T> Finished(const Decoder& decoder, T value) {
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return value;
}

}  // namespace

Encoder& Encoder::Byte(std::uint8_t value) {
  out_.push_back(static_cast<char>(value));
  return *this;
}

Encoder& Encoder::Varint(std::uint64_t value) {
  while (value >= 0x80) {
    Byte(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  return Byte(static_cast<std::uint8_t>(value));
}

Encoder& Encoder::Signed(std::int64_t value) {
  return Varint((static_cast<std::uint64_t>(value) << 1) ^
                static_cast<std::uint64_t>(value < 0 ? -1 : 0));
}

Encoder& Encoder::Fixed(const Bytes16& value) {
  out_.append(reinterpret_cast<const char*>(value.data()), value.size());
  return *this;
}

Encoder& Encoder::String(std::string_view value) {
  Varint(value.size());
  out_.append(value);
  return *this;
}

Encoder& Encoder::OptTime(const std::optional<TimePoint>& at) {
  Bool(at.has_value());
  return at ? Time(*at) : *this;
}

Decoder::Decoder(std::string_view bytes, const char* what, std::uint8_t version_max)
    : rest_(bytes), what_(what) {
  version_ = Enum(kVersion, version_max);
}

std::uint8_t Decoder::Byte() {
  if (!ok_ || rest_.empty()) {
    ok_ = false;
    return 0;
  }
  const auto value = static_cast<std::uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return value;
}

bool Decoder::Bool() { return Enum(0, 1) != 0; }

std::uint64_t Decoder::Varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = Byte();
    if (shift == 63 && byte > 1) break;
    if (shift > 0 && byte == 0) break;  // a longer form of a shorter number
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return ok_ ? value : 0;
  }
  ok_ = false;
  return 0;
}

std::uint32_t Decoder::Varint32() {
  const std::uint64_t value = Varint();
  if (value > std::numeric_limits<std::uint32_t>::max()) {
    ok_ = false;
    return 0;
  }
  return static_cast<std::uint32_t>(value);
}

std::int64_t Decoder::Signed() {
  const std::uint64_t value = Varint();
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

Bytes16 Decoder::Fixed() {
  Bytes16 value = {};
  if (!ok_ || rest_.size() < value.size()) {
    ok_ = false;
    return value;
  }
  std::copy_n(rest_.begin(), value.size(), reinterpret_cast<char*>(value.data()));
  rest_.remove_prefix(value.size());
  return value;
}

std::string Decoder::String() {
  const std::uint64_t size = Varint();
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  std::string value(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return value;
}

TimePoint Decoder::Time() {
  const std::int64_t value = Signed();
  if (value > kMillisecondsMax || value < -kMillisecondsMax) {
    ok_ = false;
    return {};
  }
  return TimePoint(std::chrono::milliseconds(value));
}

ExpiryDay Decoder::Day() {
  const std::int64_t value = Signed();
  if (value > kDayNumberMax || value < -kDayNumberMax) {
    ok_ = false;
    return {};
  }
  return ExpiryDay(std::chrono::days(value));
}

std::optional<TimePoint> Decoder::OptTime() {
  if (!Bool()) return std::nullopt;
  return Time();
}

std::uint8_t Decoder::Enum(std::uint8_t low, std::uint8_t high) {
  const std::uint8_t value = Byte();
  if (value < low || value > high) {
    ok_ = false;
    return low;
  }
  return value;
}

std::size_t Decoder::Count(std::size_t max) {
  const std::uint64_t value = Varint();
  if (value > max) {
    ok_ = false;
    return 0;
  }
  return static_cast<std::size_t>(value);
}

Status Decoder::Finish() const {
  if (ok_ && rest_.empty()) return {};
  return Fail(ErrorCode::kCorrupt, std::string("A record does not decode: ") + what_ + ".");
}

// --- day families

std::string Encode(const MessageRecord& record) {
  Encoder encoder(160 + record.text.size() + record.platform_id.size() + record.sender.size(),
                  kMessageVersion);
  encoder.Byte(static_cast<std::uint8_t>(
      (record.has_unsupported_content ? kFlagUnsupported : 0) |
      (record.backfilled ? kFlagBackfilled : 0) | (record.withdrawn ? kFlagWithdrawn : 0) |
      (record.reply ? kFlagReply : 0) | (record.edited_at ? kFlagEdited : 0) |
      (record.attachments > 0 ? kFlagAttachments : 0)));
  encoder.Byte(static_cast<std::uint8_t>(record.unreadable));
  encoder.Fixed(record.conversation.bytes);
  encoder.Time(record.sent_at);
  encoder.Signed((record.received_at - record.sent_at).count());
  encoder.Varint(record.sequence);
  if (record.reply) EncodeId(encoder, *record.reply);
  if (record.edited_at) encoder.Time(*record.edited_at);
  if (record.attachments > 0) encoder.Varint(record.attachments);
  encoder.String(record.platform_id.Reveal());
  encoder.String(record.sender.Reveal());
  encoder.String(record.text.Reveal());
  return std::move(encoder).Take();
}

Result<MessageRecord> DecodeMessage(std::string_view bytes) {
  Decoder decoder(bytes, "message", kMessageVersion);
  MessageRecord record;
  const std::uint8_t flags = decoder.Enum(0, MessageFlagsOf(decoder.version()));
  record.has_unsupported_content = (flags & kFlagUnsupported) != 0;
  record.backfilled = (flags & kFlagBackfilled) != 0;
  record.withdrawn = (flags & kFlagWithdrawn) != 0;
  record.unreadable = static_cast<UnreadableReason>(
      decoder.Enum(0, static_cast<std::uint8_t>(UnreadableReason::kUnsupportedKind)));
  record.conversation.bytes = decoder.Fixed();
  record.sent_at = decoder.Time();
  const std::int64_t delay = decoder.Signed();
  if (delay > kMillisecondsMax || delay < -kMillisecondsMax) {
    decoder.Spoil();
  } else {
    record.received_at = record.sent_at + std::chrono::milliseconds(delay);
  }
  record.sequence = decoder.Varint();
  if ((flags & kFlagReply) != 0) record.reply = DecodeId<ReplyIdTag>(decoder);
  if ((flags & kFlagEdited) != 0) record.edited_at = decoder.Time();
  if ((flags & kFlagAttachments) != 0) {
    record.attachments = static_cast<std::uint16_t>(decoder.Count(kAttachmentsMax));
    if (record.attachments == 0) decoder.Spoil();  // one encoding for each record
  }
  record.platform_id = PlatformId(decoder.String());
  record.sender = PlatformId(decoder.String());
  record.text = MessageBody(decoder.String());
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return record;
}

std::string Encode(const HeadRecord& record) {
  std::size_t size = 160 + record.platform_id.size() + 3 * record.days.size();
  for (const PlatformId& participant : record.participants) size += 10 + participant.size();
  Encoder encoder(size);
  encoder.Byte(static_cast<std::uint8_t>(
      (record.group ? kFlagGroup : 0) | (record.unread ? kFlagUnread : 0) |
      (record.last_message ? kFlagLastMessage : 0) | (record.odd_times ? kFlagOddTimes : 0)));
  encoder.Byte(static_cast<std::uint8_t>(record.status));
  encoder.Byte(static_cast<std::uint8_t>(record.standing));
  encoder.Fixed(record.id.bytes);
  encoder.Varint(record.account.value);
  encoder.String(record.platform_id.Reveal());
  encoder.Time(record.last_activity_at);
  if (record.last_message) {
    EncodeId(encoder, *record.last_message);
    encoder.Time(record.last_sent_at);
  }
  encoder.Varint(record.revision);
  encoder.Varint(record.days.size());
  ExpiryDay previous{};
  for (const ExpiryDay day : record.days) {
    encoder.Signed((day - previous).count());
    previous = day;
  }
  encoder.Varint(record.participants.size());
  for (const PlatformId& participant : record.participants) {
    encoder.String(participant.Reveal());
  }
  return std::move(encoder).Take();
}

Result<HeadRecord> DecodeHead(std::string_view bytes) {
  Decoder decoder(bytes, "conversation head");
  HeadRecord record;
  const std::uint8_t flags = decoder.Enum(0, kHeadFlags);
  record.group = (flags & kFlagGroup) != 0;
  record.unread = (flags & kFlagUnread) != 0;
  record.odd_times = (flags & kFlagOddTimes) != 0;
  record.status = static_cast<ConversationStatus>(decoder.Enum(1, 2));
  record.standing = static_cast<PlatformStanding>(decoder.Enum(1, 3));
  record.id.bytes = decoder.Fixed();
  record.account.value = decoder.Varint32();
  record.platform_id = PlatformId(decoder.String());
  record.last_activity_at = decoder.Time();
  if ((flags & kFlagLastMessage) != 0) {
    record.last_message = DecodeId<MessageIdTag>(decoder);
    record.last_sent_at = decoder.Time();
  }
  record.revision = decoder.Varint();
  const std::size_t day_count = decoder.Count(kDaysMax);
  ExpiryDay day{};
  for (std::size_t i = 0; i < day_count && decoder.ok(); ++i) {
    const std::int64_t step = decoder.Signed();
    if (step > kDayNumberMax || step < -kDayNumberMax || (i > 0 && step <= 0)) {
      decoder.Spoil();
      break;
    }
    day += std::chrono::days(step);
    record.days.push_back(day);
  }
  const std::size_t participant_count = decoder.Count(kParticipantsMax);
  for (std::size_t i = 0; i < participant_count && decoder.ok(); ++i) {
    record.participants.emplace_back(decoder.String());
  }
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return record;
}

std::string Encode(const AttachmentRecord& record) {
  Encoder encoder(64 + record.media_type.size() + record.name.size() + record.locator.size());
  encoder.Byte(static_cast<std::uint8_t>(record.state));
  encoder.Byte(static_cast<std::uint8_t>(record.refusal));
  encoder.Varint(record.bytes);
  encoder.Fixed(record.writing);
  encoder.String(record.media_type);
  encoder.String(record.name.Reveal());
  encoder.String(record.locator.Reveal());
  return std::move(encoder).Take();
}

Result<AttachmentRecord> DecodeAttachment(std::string_view bytes) {
  Decoder decoder(bytes, "attachment");
  AttachmentRecord record;
  record.state = static_cast<AttachmentState>(
      decoder.Enum(1, static_cast<std::uint8_t>(AttachmentState::kRefused)));
  record.refusal = static_cast<AttachmentRefusal>(
      decoder.Enum(0, static_cast<std::uint8_t>(AttachmentRefusal::kUnfetchable)));
  record.bytes = decoder.Varint();
  record.writing = decoder.Fixed();
  record.media_type = decoder.String();
  record.name = AttachmentName(decoder.String());
  record.locator = AttachmentLocator(decoder.String());
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return record;
}

std::string Encode(const WantedRecord& record) {
  Encoder encoder;
  encoder.Varint(record.account.value);
  return std::move(encoder).Take();
}

Result<WantedRecord> DecodeWanted(std::string_view bytes) {
  Decoder decoder(bytes, "wanted attachment");
  WantedRecord record;
  record.account.value = decoder.Varint32();
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return record;
}

std::string Encode(const PointerRecord& record) {
  Encoder encoder;
  encoder.Fixed(record.cblind).Time(record.sent_at);
  return std::move(encoder).Take();
}

Result<PointerRecord> DecodePointer(std::string_view bytes) {
  Decoder decoder(bytes, "message pointer");
  PointerRecord record;
  record.cblind = decoder.Fixed();
  record.sent_at = decoder.Time();
  return Finished(decoder, record);
}

std::string Encode(const InboxRecord& record) {
  Encoder encoder;
  encoder.Fixed(record.conversation.bytes).Varint(record.account.value);
  encoder.Byte(static_cast<std::uint8_t>(record.status)).Bool(record.unread);
  return std::move(encoder).Take();
}

Result<InboxRecord> DecodeInbox(std::string_view bytes) {
  Decoder decoder(bytes, "inbox row");
  InboxRecord record;
  record.conversation.bytes = decoder.Fixed();
  record.account.value = decoder.Varint32();
  record.status = static_cast<ConversationStatus>(decoder.Enum(1, 2));
  record.unread = decoder.Bool();
  return Finished(decoder, record);
}

std::string Encode(const IdempotencyRecord& record) {
  Encoder encoder;
  EncodeId(encoder, record.reply);
  encoder.Fixed(record.body_print).Time(record.created_at);
  return std::move(encoder).Take();
}

Result<IdempotencyRecord> DecodeIdempotency(std::string_view bytes) {
  Decoder decoder(bytes, "idempotency record");
  IdempotencyRecord record;
  record.reply = DecodeId<ReplyIdTag>(decoder);
  record.body_print = decoder.Fixed();
  record.created_at = decoder.Time();
  return Finished(decoder, record);
}

std::string Encode(const StatsRecord& record) {
  Encoder encoder;
  encoder.Time(record.greatest_born).Varint(record.messages);
  return std::move(encoder).Take();
}

Result<StatsRecord> DecodeStats(std::string_view bytes) {
  Decoder decoder(bytes, "date statistics");
  StatsRecord record;
  record.greatest_born = decoder.Time();
  record.messages = decoder.Varint();
  return Finished(decoder, record);
}

std::string Encode(const Contact& contact) {
  Encoder encoder(32 + contact.platform_id.size() + contact.handle.size() +
                  contact.display_name.size());
  encoder.String(contact.platform_id.Reveal());
  encoder.String(contact.handle.Reveal());
  encoder.String(contact.display_name.Reveal());
  return std::move(encoder).Take();
}

Result<Contact> DecodeContact(std::string_view bytes) {
  Decoder decoder(bytes, "contact");
  Contact contact;
  contact.platform_id = PlatformId(decoder.String());
  contact.handle = ContactHandle(decoder.String());
  contact.display_name = ContactHandle(decoder.String());
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return contact;
}

std::string Encode(const Reply& reply) {
  Encoder encoder(256 + reply.text.size() + reply.reason.size() + reply.platform_code.size() +
                  reply.author.size());
  encoder.Byte(static_cast<std::uint8_t>(reply.state));
  encoder.Fixed(reply.conversation.bytes).Varint(reply.account.value);
  EncodeId(encoder, reply.after_message);
  encoder.String(reply.reason).String(reply.platform_code);
  encoder.Time(reply.created_at).Time(reply.state_since);
  encoder.OptTime(reply.send_started_at).OptTime(reply.not_before);
  encoder.Varint(reply.attempts).Varint(reply.looks);
  encoder.Bool(reply.message.has_value());
  if (reply.message) EncodeId(encoder, *reply.message);
  encoder.String(reply.author).String(reply.text.Reveal());
  return std::move(encoder).Take();
}

Result<Reply> DecodeReply(std::string_view bytes, const ReplyId& id) {
  Decoder decoder(bytes, "reply");
  Reply reply;
  reply.id = id;
  reply.expires_at = StartOf(id.day);
  reply.state = static_cast<ReplyState>(decoder.Enum(1, 5));
  reply.conversation.bytes = decoder.Fixed();
  reply.account.value = decoder.Varint32();
  reply.after_message = DecodeId<MessageIdTag>(decoder);
  reply.reason = decoder.String();
  reply.platform_code = decoder.String();
  reply.created_at = decoder.Time();
  reply.state_since = decoder.Time();
  reply.send_started_at = decoder.OptTime();
  reply.not_before = decoder.OptTime();
  reply.attempts = decoder.Varint32();
  reply.looks = decoder.Varint32();
  if (decoder.Bool()) reply.message = DecodeId<MessageIdTag>(decoder);
  reply.author = decoder.String();
  reply.text = MessageBody(decoder.String());
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return reply;
}

std::string Encode(const Slot& slot) {
  Encoder encoder;
  encoder.Varint(slot.number).Varint(slot.generation);
  return std::move(encoder).Take();
}

Result<Slot> DecodeSlot(std::string_view bytes) {
  Decoder decoder(bytes, "subject row");
  Slot slot;
  slot.number = decoder.Varint32();
  const std::uint32_t generation = decoder.Varint32();
  if (generation > std::numeric_limits<std::uint16_t>::max()) decoder.Spoil();
  slot.generation = static_cast<std::uint16_t>(generation);
  return Finished(decoder, slot);
}

std::string Encode(const std::vector<Bytes16>& messages) {
  Encoder encoder(8 + sizeof(Bytes16) * messages.size());
  encoder.Varint(messages.size());
  for (const Bytes16& message : messages) encoder.Fixed(message);
  return std::move(encoder).Take();
}

Result<std::vector<Bytes16>> DecodeWaiting(std::string_view bytes) {
  Decoder decoder(bytes, "row of words to be indexed");
  std::vector<Bytes16> messages;
  for (std::size_t i = decoder.Count(kWaitingMax); i > 0 && decoder.ok(); --i) {
    messages.push_back(decoder.Fixed());
  }
  return Finished(decoder, std::move(messages));
}

std::string Encode(const ConversationId& id) {
  Encoder encoder;
  encoder.Fixed(id.bytes);
  return std::move(encoder).Take();
}

Result<ConversationId> DecodeConversationId(std::string_view bytes) {
  Decoder decoder(bytes, "conversation lookup");
  ConversationId id;
  id.bytes = decoder.Fixed();
  return Finished(decoder, id);
}

std::string EncodeMark() { return Encoder().Take(); }

// --- sys

std::string Encode(const Account& account) {
  Encoder encoder;
  encoder.Varint(account.id.value).String(account.platform).String(account.label);
  encoder.Varint(account.options.size());
  for (const auto& [name, value] : account.options) encoder.String(name).String(value);
  encoder.String(account.retention.ToString());
  encoder.Time(account.created_at).Varint(account.revision);
  encoder.Byte(static_cast<std::uint8_t>(account.state));
  encoder.String(account.state_reason).Time(account.state_since).OptTime(account.last_success_at);
  encoder.String(account.credential_fingerprint);
  encoder.String(account.own_platform_id).String(account.own_handle);
  return std::move(encoder).Take();
}

Result<Account> DecodeAccount(std::string_view bytes) {
  Decoder decoder(bytes, "account");
  Account account;
  account.id.value = decoder.Varint32();
  account.platform = decoder.String();
  account.label = decoder.String();
  const std::size_t option_count = decoder.Count(kOptionsMax);
  for (std::size_t i = 0; i < option_count && decoder.ok(); ++i) {
    std::string name = decoder.String();
    if (!account.options.empty() && name <= account.options.rbegin()->first) decoder.Spoil();
    account.options[std::move(name)] = decoder.String();
  }
  account.retention = DecodePeriod(decoder);
  account.created_at = decoder.Time();
  account.revision = decoder.Varint();
  account.state = static_cast<AccountState>(
      decoder.Enum(0, static_cast<std::uint8_t>(AccountState::kDiskFull)));
  account.state_reason = decoder.String();
  account.state_since = decoder.Time();
  account.last_success_at = decoder.OptTime();
  account.credential_fingerprint = decoder.String();
  account.own_platform_id = decoder.String();
  account.own_handle = decoder.String();
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return account;
}

std::string Encode(const Credential& credential) {
  Encoder encoder(16 + credential.size());
  encoder.String(credential.Reveal());
  return std::move(encoder).Take();
}

Result<Credential> DecodeCredential(std::string_view bytes) {
  Decoder decoder(bytes, "credential");
  Credential credential(decoder.String());
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return credential;
}

std::string EncodeCursor(const std::string& cursor) {
  Encoder encoder;
  encoder.String(cursor);
  return std::move(encoder).Take();
}

Result<std::string> DecodeCursor(std::string_view bytes) {
  Decoder decoder(bytes, "cursor");
  std::string cursor = decoder.String();
  return Finished(decoder, std::move(cursor));
}

std::string Encode(const Coverage& coverage) {
  Encoder encoder;
  encoder.OptTime(coverage.covered_from).OptTime(coverage.covered_until);
  encoder.Bool(coverage.history_complete);
  encoder.Varint(coverage.unreadable).Varint(coverage.past_horizon);
  encoder.Varint(coverage.holes.size());
  for (const Hole& hole : coverage.holes) {
    encoder.Time(hole.from).OptTime(hole.until).String(hole.reason).Bool(hole.fillable);
    encoder.OptTime(hole.filled_at);
  }
  return std::move(encoder).Take();
}

Result<Coverage> DecodeCoverage(std::string_view bytes) {
  Decoder decoder(bytes, "coverage record");
  Coverage coverage;
  coverage.covered_from = decoder.OptTime();
  coverage.covered_until = decoder.OptTime();
  coverage.history_complete = decoder.Bool();
  coverage.unreadable = decoder.Varint();
  coverage.past_horizon = decoder.Varint();
  const std::size_t hole_count = decoder.Count(kHolesMax);
  for (std::size_t i = 0; i < hole_count && decoder.ok(); ++i) {
    Hole hole;
    hole.from = decoder.Time();
    hole.until = decoder.OptTime();
    hole.reason = decoder.String();
    hole.fillable = decoder.Bool();
    hole.filled_at = decoder.OptTime();
    coverage.holes.push_back(std::move(hole));
  }
  return Finished(decoder, std::move(coverage));
}

std::string Encode(const std::vector<UsedRule>& rules) {
  Encoder encoder;
  encoder.Varint(rules.size());
  for (const UsedRule& rule : rules) {
    encoder.String(rule.zone).String(rule.period.ToString()).Day(rule.last_used);
  }
  return std::move(encoder).Take();
}

Result<std::vector<UsedRule>> DecodeRules(std::string_view bytes) {
  Decoder decoder(bytes, "retention rules");
  std::vector<UsedRule> rules;
  const std::size_t count = decoder.Count(kRulesMax);
  for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
    UsedRule rule;
    rule.zone = decoder.String();
    rule.period = DecodePeriod(decoder);
    rule.last_used = decoder.Day();
    rules.push_back(std::move(rule));
  }
  return Finished(decoder, std::move(rules));
}

std::string Encode(const TokenInfo& token) {
  Encoder encoder;
  encoder.String(token.id).Byte(static_cast<std::uint8_t>(token.role)).String(token.label);
  encoder.Time(token.created_at).Time(token.expires_at);
  return std::move(encoder).Take();
}

Result<TokenInfo> DecodeToken(std::string_view bytes) {
  Decoder decoder(bytes, "token");
  TokenInfo token;
  token.id = decoder.String();
  token.role = static_cast<Role>(decoder.Enum(1, static_cast<std::uint8_t>(Role::kOperator)));
  token.label = decoder.String();
  token.created_at = decoder.Time();
  token.expires_at = decoder.Time();
  return Finished(decoder, std::move(token));
}

std::string Encode(const PurgeJournal& journal) {
  Encoder encoder;
  encoder.Varint(journal.messages).Varint(journal.replies_expired);
  return std::move(encoder).Take();
}

Result<PurgeJournal> DecodeJournal(std::string_view bytes) {
  Decoder decoder(bytes, "purge journal");
  PurgeJournal journal;
  journal.messages = decoder.Varint();
  journal.replies_expired = decoder.Varint();
  return Finished(decoder, journal);
}

std::string Encode(const PurgeReceipt& receipt) {
  Encoder encoder;
  encoder.Day(receipt.day).Varint(receipt.messages);
  encoder.Time(receipt.keys_destroyed_at).Time(receipt.finished_at).Signed(receipt.late_ms);
  encoder.Varint(receipt.bytes_dropped).Varint(receipt.replies_expired);
  encoder.Byte(static_cast<std::uint8_t>(receipt.p2_grade));
  return std::move(encoder).Take();
}

Result<PurgeReceipt> DecodeReceipt(std::string_view bytes) {
  Decoder decoder(bytes, "purge receipt");
  PurgeReceipt receipt;
  receipt.day = decoder.Day();
  receipt.messages = decoder.Varint();
  receipt.keys_destroyed_at = decoder.Time();
  receipt.finished_at = decoder.Time();
  receipt.late_ms = decoder.Signed();
  receipt.bytes_dropped = decoder.Varint();
  receipt.replies_expired = decoder.Varint();
  receipt.p2_grade = static_cast<P2Grade>(decoder.Enum(static_cast<std::uint8_t>(P2Grade::kNone),
                                                       static_cast<std::uint8_t>(P2Grade::kA)));
  return Finished(decoder, receipt);
}

namespace {

constexpr std::size_t kKeysMax = 1u << 20;  // slots of one erasure or one date
constexpr std::size_t kTimesMax = 1'000;

void PutSlot(Encoder& encoder, Slot slot) { encoder.Varint(slot.number).Varint(slot.generation); }

Slot ReadSlot(Decoder& decoder) {
  Slot slot;
  slot.number = decoder.Varint32();
  const std::uint32_t generation = decoder.Varint32();
  if (generation > 0xffff) decoder.Spoil();
  slot.generation = static_cast<std::uint16_t>(generation);
  return slot;
}

void PutOptSlot(Encoder& encoder, const std::optional<Slot>& slot) {
  encoder.Bool(slot.has_value());
  if (slot) PutSlot(encoder, *slot);
}

std::optional<Slot> ReadOptSlot(Decoder& decoder) {
  if (!decoder.Bool()) return std::nullopt;
  return ReadSlot(decoder);
}

}  // namespace

std::string Encode(const HeldRecord& record) {
  Encoder encoder;
  encoder.Time(record.since).Varint(record.account.value);
  return std::move(encoder).Take();
}

Result<HeldRecord> DecodeHeld(std::string_view bytes) {
  Decoder decoder(bytes, "held withdrawal");
  HeldRecord record;
  record.since = decoder.Time();
  record.account.value = decoder.Varint32();
  return Finished(decoder, record);
}

std::string EncodeTimes(const std::vector<TimePoint>& times) {
  Encoder encoder;
  encoder.Varint(times.size());
  for (const TimePoint at : times) encoder.Time(at);
  return std::move(encoder).Take();
}

Result<std::vector<TimePoint>> DecodeTimes(std::string_view bytes) {
  Decoder decoder(bytes, "times");
  std::vector<TimePoint> times;
  const std::size_t count = decoder.Count(kTimesMax);
  for (std::size_t i = 0; i < count && decoder.ok(); ++i) times.push_back(decoder.Time());
  return Finished(decoder, std::move(times));
}

std::string Encode(const RenewalRecord& record) {
  Encoder encoder;
  encoder.Time(record.since).Varint(record.withdrawn).Varint(record.destroyed);
  encoder.Varint(record.edited);
  PutOptSlot(encoder, record.after);
  return std::move(encoder).Take();
}

Result<RenewalRecord> DecodeRenewal(std::string_view bytes) {
  Decoder decoder(bytes, "slot renewal");
  RenewalRecord record;
  record.since = decoder.Time();
  record.withdrawn = decoder.Varint();
  record.destroyed = decoder.Varint();
  record.edited = decoder.Varint();
  record.after = ReadOptSlot(decoder);
  return Finished(decoder, record);
}

std::string Encode(const RewritingRecord& record) {
  Encoder encoder;
  PutOptSlot(encoder, record.index);
  encoder.Varint(record.doomed.size());
  for (const Slot slot : record.doomed) PutSlot(encoder, slot);
  encoder.Varint(record.dropped.size());
  for (const auto& dropped : record.dropped) {
    PutSlot(encoder, dropped.slot);
    encoder.Varint(dropped.messages).Varint(dropped.replies);
  }
  encoder.Bool(record.again);
  return std::move(encoder).Take();
}

Result<RewritingRecord> DecodeRewriting(std::string_view bytes) {
  Decoder decoder(bytes, "date rewriting");
  RewritingRecord record;
  record.index = ReadOptSlot(decoder);
  const std::size_t doomed = decoder.Count(kKeysMax);
  for (std::size_t i = 0; i < doomed && decoder.ok(); ++i) {
    record.doomed.push_back(ReadSlot(decoder));
  }
  const std::size_t dropped = decoder.Count(kKeysMax);
  for (std::size_t i = 0; i < dropped && decoder.ok(); ++i) {
    RewritingRecord::Dropped one;
    one.slot = ReadSlot(decoder);
    one.messages = decoder.Varint();
    one.replies = decoder.Varint();
    record.dropped.push_back(one);
  }
  record.again = decoder.Bool();
  return Finished(decoder, std::move(record));
}

std::string Encode(const RestrictionRecord& record) {
  Encoder encoder;
  encoder.Byte(static_cast<std::uint8_t>(record.kind)).Fixed(record.person);
  encoder.Varint(record.account.value).Time(record.since);
  encoder.Varint(record.not_collected).OptTime(record.last_attempt_at);
  return std::move(encoder).Take();
}

Result<RestrictionRecord> DecodeRestriction(std::string_view bytes) {
  Decoder decoder(bytes, "restriction");
  RestrictionRecord record;
  record.kind = static_cast<RestrictionKind>(
      decoder.Enum(1, static_cast<std::uint8_t>(RestrictionKind::kObjection)));
  record.person = decoder.Fixed();
  record.account.value = decoder.Varint32();
  record.since = decoder.Time();
  record.not_collected = decoder.Varint();
  record.last_attempt_at = decoder.OptTime();
  return Finished(decoder, std::move(record));
}

std::string Encode(const ErasureRecord& record) {
  Encoder encoder;
  encoder.Varint(record.account.value).String(record.person.Reveal());
  encoder.Time(record.requested_at).OptTime(record.keys_destroyed_at).Bool(record.heads_cleared);
  encoder.Varint(record.keys.size());
  for (const ErasureRecord::Key& key : record.keys) {
    encoder.Day(key.day);
    PutSlot(encoder, key.slot);
  }
  encoder.Varint(record.messages).Varint(record.replies);
  return std::move(encoder).Take();
}

Result<ErasureRecord> DecodeErasure(std::string_view bytes) {
  Decoder decoder(bytes, "erasure");
  ErasureRecord record;
  record.account.value = decoder.Varint32();
  record.person = PlatformId(decoder.String());
  record.requested_at = decoder.Time();
  record.keys_destroyed_at = decoder.OptTime();
  record.heads_cleared = decoder.Bool();
  const std::size_t keys = decoder.Count(kKeysMax);
  for (std::size_t i = 0; i < keys && decoder.ok(); ++i) {
    ErasureRecord::Key key;
    key.day = decoder.Day();
    key.slot = ReadSlot(decoder);
    record.keys.push_back(key);
  }
  record.messages = decoder.Varint();
  record.replies = decoder.Varint();
  return Finished(decoder, std::move(record));
}

std::string Encode(const DestructionReceipt& receipt) {
  Encoder encoder;
  encoder.Byte(static_cast<std::uint8_t>(receipt.kind)).Time(receipt.requested_at);
  encoder.Time(receipt.keys_destroyed_at).Time(receipt.finished_at);
  encoder.Varint(receipt.dates).Varint(receipt.keys).Varint(receipt.messages);
  encoder.Varint(receipt.replies).Varint(receipt.edited);
  return std::move(encoder).Take();
}

Result<DestructionReceipt> DecodeDestruction(std::string_view bytes, const ErasureId& id) {
  Decoder decoder(bytes, "destruction receipt");
  DestructionReceipt receipt;
  receipt.id = id;
  receipt.kind = static_cast<DestructionKind>(
      decoder.Enum(1, static_cast<std::uint8_t>(DestructionKind::kAccount)));
  receipt.requested_at = decoder.Time();
  receipt.keys_destroyed_at = decoder.Time();
  receipt.finished_at = decoder.Time();
  receipt.dates = decoder.Varint();
  receipt.keys = decoder.Varint();
  receipt.messages = decoder.Varint();
  receipt.replies = decoder.Varint();
  receipt.edited = decoder.Varint();
  return Finished(decoder, receipt);
}

std::string EncodeNumber(std::uint64_t value) {
  Encoder encoder;
  encoder.Varint(value);
  return std::move(encoder).Take();
}

Result<std::uint64_t> DecodeNumber(std::string_view bytes) {
  Decoder decoder(bytes, "counter");
  const std::uint64_t value = decoder.Varint();
  return Finished(decoder, value);
}

std::string EncodeTime(TimePoint at) {
  Encoder encoder;
  encoder.Time(at);
  return std::move(encoder).Take();
}

Result<TimePoint> DecodeTime(std::string_view bytes) {
  Decoder decoder(bytes, "time");
  const TimePoint at = decoder.Time();
  return Finished(decoder, at);
}

std::string Encode(const ClockRecord& clock) {
  Encoder encoder;
  encoder.Time(clock.certain).String(clock.boot_id).Signed(clock.since_boot.count());
  return std::move(encoder).Take();
}

Result<ClockRecord> DecodeClock(std::string_view bytes) {
  Decoder decoder(bytes, "clock");
  ClockRecord clock;
  clock.certain = decoder.Time();
  clock.boot_id = decoder.String();
  const std::int64_t since_boot = decoder.Signed();
  // Within what arithmetic on times can bear.
  if (since_boot < 0 || since_boot > kMillisecondsMax) decoder.Spoil();
  clock.since_boot = std::chrono::milliseconds(since_boot);
  return Finished(decoder, clock);
}

// --- audit

std::string Encode(const AuditEntry& entry) {
  Encoder encoder;
  encoder.Time(entry.at).String(entry.actor).String(entry.request_id);
  encoder.String(entry.action).String(entry.object).String(entry.outcome);
  return std::move(encoder).Take();
}

Result<AuditEntry> DecodeAudit(std::string_view bytes, std::uint64_t sequence) {
  Decoder decoder(bytes, "audit entry");
  AuditEntry entry;
  entry.sequence = sequence;
  entry.at = decoder.Time();
  entry.actor = decoder.String();
  entry.request_id = decoder.String();
  entry.action = decoder.String();
  entry.object = decoder.String();
  entry.outcome = decoder.String();
  return Finished(decoder, std::move(entry));
}

}  // namespace mayfly::store::codec
