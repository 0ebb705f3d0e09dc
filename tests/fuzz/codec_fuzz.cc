// Records: every decoder on every input. What decodes is the one encoding of its value.
#include <string>

#include "store/codec.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using namespace store::codec;

// A message of an earlier version is one of today's that has none of what came since, apart from
// the version byte.
std::string AsWrittenToday(std::string_view message) {
  std::string bytes(message);
  if (!bytes.empty()) bytes[0] = static_cast<char>(kMessageVersion);
  return bytes;
}

template <class T>
void CheckOne(std::string_view bytes, const Result<T>& decoded, std::string (*encode)(const T&)) {
  if (!decoded) {
    Check(decoded.error().code == ErrorCode::kCorrupt, "what does not decode is corrupt");
    return;
  }
  Check(encode(*decoded) == bytes, "what decodes encodes to the same bytes");
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  using namespace mayfly::store;
  using fuzz::CheckOne;
  const std::string_view bytes = fuzz::Text(data, size);
  CheckOne<codec::MessageRecord>(fuzz::AsWrittenToday(bytes), codec::DecodeMessage(bytes),
                                 codec::Encode);
  CheckOne<codec::AttachmentRecord>(bytes, codec::DecodeAttachment(bytes), codec::Encode);
  CheckOne<codec::WantedRecord>(bytes, codec::DecodeWanted(bytes), codec::Encode);
  CheckOne<codec::HeadRecord>(bytes, codec::DecodeHead(bytes), codec::Encode);
  CheckOne<codec::PointerRecord>(bytes, codec::DecodePointer(bytes), codec::Encode);
  CheckOne<codec::InboxRecord>(bytes, codec::DecodeInbox(bytes), codec::Encode);
  CheckOne<codec::IdempotencyRecord>(bytes, codec::DecodeIdempotency(bytes), codec::Encode);
  CheckOne<codec::StatsRecord>(bytes, codec::DecodeStats(bytes), codec::Encode);
  CheckOne<Contact>(bytes, codec::DecodeContact(bytes), codec::Encode);
  CheckOne<Reply>(bytes, codec::DecodeReply(bytes, ReplyId{}), codec::Encode);
  CheckOne<Slot>(bytes, codec::DecodeSlot(bytes), codec::Encode);
  CheckOne<std::vector<Bytes16>>(bytes, codec::DecodeWaiting(bytes), codec::Encode);
  CheckOne<ConversationId>(bytes, codec::DecodeConversationId(bytes), codec::Encode);
  CheckOne<Account>(bytes, codec::DecodeAccount(bytes), codec::Encode);
  CheckOne<Credential>(bytes, codec::DecodeCredential(bytes), codec::Encode);
  CheckOne<std::string>(bytes, codec::DecodeCursor(bytes), codec::EncodeCursor);
  CheckOne<Coverage>(bytes, codec::DecodeCoverage(bytes), codec::Encode);
  CheckOne<std::vector<codec::UsedRule>>(bytes, codec::DecodeRules(bytes), codec::Encode);
  CheckOne<TokenInfo>(bytes, codec::DecodeToken(bytes), codec::Encode);
  CheckOne<codec::PurgeJournal>(bytes, codec::DecodeJournal(bytes), codec::Encode);
  CheckOne<PurgeReceipt>(bytes, codec::DecodeReceipt(bytes), codec::Encode);
  CheckOne<codec::HeldRecord>(bytes, codec::DecodeHeld(bytes), codec::Encode);
  CheckOne<std::vector<TimePoint>>(bytes, codec::DecodeTimes(bytes), codec::EncodeTimes);
  CheckOne<codec::RenewalRecord>(bytes, codec::DecodeRenewal(bytes), codec::Encode);
  CheckOne<codec::RestrictionRecord>(bytes, codec::DecodeRestriction(bytes), codec::Encode);
  CheckOne<codec::RewritingRecord>(bytes, codec::DecodeRewriting(bytes), codec::Encode);
  CheckOne<codec::ErasureRecord>(bytes, codec::DecodeErasure(bytes), codec::Encode);
  CheckOne<DestructionReceipt>(bytes, codec::DecodeDestruction(bytes, ErasureId{}), codec::Encode);
  CheckOne<std::uint64_t>(bytes, codec::DecodeNumber(bytes),
                          [](const std::uint64_t& value) { return codec::EncodeNumber(value); });
  CheckOne<TimePoint>(bytes, codec::DecodeTime(bytes),
                      [](const TimePoint& at) { return codec::EncodeTime(at); });
  CheckOne<ClockRecord>(bytes, codec::DecodeClock(bytes), codec::Encode);
  CheckOne<AuditEntry>(bytes, codec::DecodeAudit(bytes, 1), codec::Encode);
  return 0;
}
