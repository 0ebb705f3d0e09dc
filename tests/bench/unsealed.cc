// Takes the place of store/keys/seal.cc in the one program that is linked with it: the same store,
// without compression and encryption, so that what sealing costs can be measured. No program that
// keeps anybody's message can be built with it.
#include <cstdint>

#include "store/keys/internal.h"
#include "store/keys/seal.h"

namespace mayfly::store {
namespace {

// The clear header of a sealed record, and behind it the body as it is.
constexpr std::size_t kHeaderBytes = 13;

}  // namespace

std::string Seal(const Pair&, const SealContext& context, const SealedHeader& header,
                 std::string_view body) {
  std::string record(kHeaderBytes + body.size(), '\0');
  auto* const out = reinterpret_cast<std::uint8_t*>(record.data());
  out[0] = kSealVersion;
  out[1] = static_cast<std::uint8_t>(context.column);
  internal::Put32(out + 2, header.slot.number);
  internal::Put16(out + 6, header.slot.generation);
  internal::Put32(out + 8, header.account.value);
  out[12] = static_cast<std::uint8_t>(header.direction);
  body.copy(record.data() + kHeaderBytes, body.size());
  return record;
}

Result<SealedHeader> PeekSealed(std::string_view record) {
  if (record.size() < kHeaderBytes) return Fail(ErrorCode::kCorrupt, "a record is too short");
  const auto* const in = reinterpret_cast<const std::uint8_t*>(record.data());
  return SealedHeader{
      .slot = {.number = internal::Get32(in + 2), .generation = internal::Get16(in + 6)},
      .account = {internal::Get32(in + 8)},
      .direction = static_cast<Direction>(in[12])};
}

Result<std::string> Unseal(const Pair&, const SealContext&, std::string_view record) {
  if (record.size() < kHeaderBytes) return Fail(ErrorCode::kCorrupt, "a record is too short");
  return std::string(record.substr(kHeaderBytes));
}

Result<std::string> Reseal(const Pair& pair, const SealContext& context, std::string_view sealed,
                           const Pair& new_pair, const SealContext& new_context,
                           const SealedHeader& new_header) {
  MAYFLY_ASSIGN_OR_RETURN(const std::string body, Unseal(pair, context, sealed));
  return Seal(new_pair, new_context, new_header, body);
}

}  // namespace mayfly::store
