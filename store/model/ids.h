// Public identifiers. Their text forms are what the REST API shows.
//
//   acc_7                                             a connected account
//   cnv_<32 hex>                                      a conversation: 128 random bits
//   msg_<yyyymmdd>_<32 hex>                           a message: its expiry date and its blind
//                                                     key (store/schema.h, row `d`)
//   rpl_<yyyymmdd>_<32 hex>                           a reply: its expiry date and 128 random bits
//   ers_<32 hex>                                      something destroyed before its date: 128
//                                                     random bits
//   rst_<32 hex>                                      a restriction or objection: 128 random bits
//
// An id that carries a date needs no tombstone: once the date has come, every such id is expired,
// whether or not it ever existed.
#ifndef MAYFLY_STORE_MODEL_IDS_H_
#define MAYFLY_STORE_MODEL_IDS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/model/time.h"

namespace mayfly {

using Bytes16 = std::array<std::uint8_t, 16>;

std::string ToHex(std::string_view bytes);
std::optional<std::string> FromHex(std::string_view hex);  // lower-case only

struct AccountId {
  std::uint32_t value = 0;
  // A literal 0 of the compiler's own in a rewritten `<` is taken for a null pointer.
  auto operator<=>(const AccountId&) const = default;  // NOLINT(modernize-use-nullptr)
  std::string ToString() const;
  static std::optional<AccountId> Parse(std::string_view text);
};

struct ConversationId {
  Bytes16 bytes = {};
  auto operator<=>(const ConversationId&) const = default;  // NOLINT(modernize-use-nullptr)
  std::string ToString() const;
  static std::optional<ConversationId> Parse(std::string_view text);
  static ConversationId Random();
};

struct ErasureId {
  Bytes16 bytes = {};
  auto operator<=>(const ErasureId&) const = default;
  std::string ToString() const;
  static std::optional<ErasureId> Parse(std::string_view text);
  static ErasureId Random();
};

struct RestrictionId {
  Bytes16 bytes = {};
  auto operator<=>(const RestrictionId&) const = default;  // NOLINT(modernize-use-nullptr)
  std::string ToString() const;
  static std::optional<RestrictionId> Parse(std::string_view text);
  static RestrictionId Random();
};

// A date and 16 bytes; the prefix tells messages from replies.
template <class Tag>
struct DatedId {
  ExpiryDay day = {};
  Bytes16 bytes = {};
  auto operator<=>(const DatedId&) const = default;
  std::string ToString() const;
  static std::optional<DatedId> Parse(std::string_view text);
};

struct MessageIdTag {
  static constexpr std::string_view kPrefix = "msg_";
};
struct ReplyIdTag {
  static constexpr std::string_view kPrefix = "rpl_";
};
using MessageId = DatedId<MessageIdTag>;
using ReplyId = DatedId<ReplyIdTag>;
extern template struct DatedId<MessageIdTag>;
extern template struct DatedId<ReplyIdTag>;

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_IDS_H_
