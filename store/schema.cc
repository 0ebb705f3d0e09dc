#include "store/schema.h"

#include <algorithm>
#include <chrono>

namespace mayfly::store::schema {
namespace {

constexpr std::uint64_t kSignBit = 1ull << 63;

std::uint64_t Complement(TimePoint at) {
  return ~(static_cast<std::uint64_t>(at.time_since_epoch().count()) ^ kSignBit);
}

TimePoint FromComplement(std::uint64_t value) {
  return TimePoint(std::chrono::milliseconds(static_cast<std::int64_t>(~value ^ kSignBit)));
}

void AppendBigEndian(std::string& out, std::uint64_t value, int byte_count) {
  for (int shift = (byte_count - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

std::uint64_t ReadBigEndian(std::string_view bytes, std::size_t byte_count) {
  if (bytes.size() < byte_count) return 0;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < byte_count; ++i) {
    value = (value << 8) | static_cast<std::uint8_t>(bytes[i]);
  }
  return value;
}

}  // namespace

std::string U32(std::uint32_t value) {
  std::string out;
  AppendBigEndian(out, value, 4);
  return out;
}

std::string U64(std::uint64_t value) {
  std::string out;
  AppendBigEndian(out, value, 8);
  return out;
}

std::uint32_t ReadU32(std::string_view bytes) {
  return static_cast<std::uint32_t>(ReadBigEndian(bytes, 4));
}

std::uint64_t ReadU64(std::string_view bytes) { return ReadBigEndian(bytes, 8); }

std::string_view View(const Bytes16& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string NewestFirst(TimePoint at) { return U64(Complement(at)); }

std::string Key(char kind) {
  std::string key;
  key.reserve(kMessageKeyBytes);
  AppendBigEndian(key, kOrganisation, 2);
  key.push_back(kind);
  return key;
}

std::string Key(char kind, const Bytes16& blind) { return Key(kind).append(View(blind)); }

std::string Key(char kind, std::uint32_t number) {
  std::string key = Key(kind);
  AppendBigEndian(key, number, 4);
  return key;
}

std::string MessageKey(const Bytes16& cblind, TimePoint sent_at, const Bytes16& dkey) {
  std::string key = Key(kMessage, cblind);
  AppendBigEndian(key, Complement(sent_at), 8);
  return key.append(View(dkey));
}

std::string InboxKey(TimePoint last_activity_at, const Bytes16& cblind) {
  std::string key = Key(kInbox);
  AppendBigEndian(key, Complement(last_activity_at), 8);
  return key.append(View(cblind));
}

std::string FingerprintKey(std::uint32_t forget_day, AccountId account, const Bytes16& hash) {
  std::string key = Key(kFingerprint, forget_day);
  AppendBigEndian(key, account.value, 4);
  return key.append(View(hash));
}

std::string TokenKey(std::string_view hash) { return Key(kToken).append(hash); }

std::string AuditKey(std::uint64_t sequence) {
  std::string key = Key(kAuditEntry);
  AppendBigEndian(key, sequence, 8);
  return key;
}

std::string RenewalKey(ExpiryDay day, Slot slot) {
  std::string key = Key(kRenewal, static_cast<std::uint32_t>(day.time_since_epoch().count()));
  AppendBigEndian(key, slot.number, 4);
  AppendBigEndian(key, slot.generation, 2);
  return key;
}

std::optional<std::pair<ExpiryDay, Slot>> ParseRenewalKey(std::string_view key) {
  if (key.size() != kHeadBytes + 10) return std::nullopt;
  const std::string_view rest = key.substr(kHeadBytes);
  const Slot slot{.number = ReadU32(rest.substr(4)),
                  .generation = static_cast<std::uint16_t>(ReadBigEndian(rest.substr(8), 2))};
  return std::pair(ExpiryDay(std::chrono::days(ReadU32(rest))), slot);
}

namespace {

std::string U16(std::uint16_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

}  // namespace

std::string AttachmentsKey(const Bytes16& dkey) { return Key(kAttachment, dkey); }
std::string AttachmentKey(const Bytes16& dkey, std::uint16_t number) {
  return AttachmentsKey(dkey).append(U16(number));
}
std::string PieceKey(const Bytes16& dkey, std::uint16_t number, std::uint32_t piece) {
  return AttachmentKey(dkey, number).append(U32(piece));
}
std::string WantedKey(const Bytes16& dkey, std::uint16_t number) {
  return Key(kWanted, dkey).append(U16(number));
}
std::optional<std::pair<Bytes16, std::uint16_t>> ParseWantedKey(std::string_view key) {
  if (key.size() != kAttachmentKeyBytes) return std::nullopt;
  const auto dkey = Tail16(key.substr(0, kHeadBytes + 16), kHeadBytes + 16);
  if (!dkey) return std::nullopt;
  const auto high = static_cast<std::uint8_t>(key[kHeadBytes + 16]);
  const auto low = static_cast<std::uint8_t>(key[kHeadBytes + 17]);
  return std::pair(*dkey, static_cast<std::uint16_t>(high << 8 | low));
}

std::string HeldKey(ExpiryDay day, const Bytes16& dkey) {
  return Key(kHeld, static_cast<std::uint32_t>(day.time_since_epoch().count())).append(View(dkey));
}

std::optional<std::pair<ExpiryDay, Bytes16>> ParseHeldKey(std::string_view key) {
  const auto dkey = Tail16(key, kHeadBytes + 4 + 16);
  if (!dkey) return std::nullopt;
  return std::pair(ExpiryDay(std::chrono::days(ReadU32(key.substr(kHeadBytes)))), *dkey);
}

std::string DestructionKey(TimePoint at, const Bytes16& id) {
  std::string key = Key(kDestruction);
  AppendBigEndian(key, ~Complement(at), 8);
  return key.append(View(id));
}

std::optional<TimePoint> ParseDestructionTime(std::string_view key) {
  if (key.size() != kHeadBytes + 8 + 16) return std::nullopt;
  return FromComplement(~ReadU64(key.substr(kHeadBytes)));
}

std::optional<ThreadPosition> ParseMessageKey(std::string_view key) {
  if (key.size() != kMessageKeyBytes) return std::nullopt;
  ThreadPosition position;
  position.sent_at = FromComplement(ReadU64(key.substr(kHeadBytes + 16)));
  std::copy_n(key.end() - 16, 16, reinterpret_cast<char*>(position.dkey.data()));
  return position;
}

std::optional<Bytes16> Tail16(std::string_view key, std::size_t size) {
  if (key.size() != size || size < 16) return std::nullopt;
  Bytes16 bytes;
  std::copy_n(key.end() - 16, 16, reinterpret_cast<char*>(bytes.data()));
  return bytes;
}

std::string MessageInput(AccountId account, const std::string& platform_id) {
  return U32(account.value).append(platform_id);
}

std::string LookupInput(AccountId account, const std::string& platform_id) {
  return U32(account.value).append(platform_id);
}

std::string PersonInput(AccountId account, const std::string& platform_id) {
  return U32(account.value).append("p").append(platform_id);
}

std::string PseudoInput(AccountId account, const ConversationId& conversation) {
  return U32(account.value).append("g").append(View(conversation.bytes));
}

std::string PostingsInput() { return U32(0).append("w"); }

bool IsPseudoInput(std::string_view input) {
  return (input.size() == 4 + 1 + 16 && input[4] == 'g') || input == PostingsInput();
}

std::string BlockInput(AccountId account, const std::string& platform_conversation) {
  return U32(account.value).append("k").append(platform_conversation);
}

std::string IdempotencyInput(const ConversationId& conversation, const std::string& key) {
  return std::string(View(conversation.bytes)).append(key);
}

AuditMonth MonthOf(TimePoint at) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(at));
  return static_cast<AuditMonth>(static_cast<int>(date.year()) * 100 +
                                 static_cast<int>(static_cast<unsigned>(date.month())));
}

TimePoint EndOf(AuditMonth month) {
  const std::chrono::year_month after =
      std::chrono::year_month(std::chrono::year(static_cast<int>(month / 100)),
                              std::chrono::month(month % 100)) +
      std::chrono::months(1);
  return StartOf(std::chrono::sys_days(after / std::chrono::day(1)));
}

}  // namespace mayfly::store::schema
