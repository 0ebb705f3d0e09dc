// Who acts, and with which rights.
#ifndef MAYFLY_STORE_MODEL_ACTOR_H_
#define MAYFLY_STORE_MODEL_ACTOR_H_

#include <cstdint>
#include <optional>
#include <string>

#include "store/model/time.h"

namespace mayfly {

// Handlers check scopes, never roles (docs of each in service/api/auth.h).
enum class Scope : std::uint32_t {
  kInboxRead = 1u << 0,
  kInboxReply = 1u << 1,
  kInboxManage = 1u << 2,
  kAdminAccounts = 1u << 3,
  kAdminSettings = 1u << 4,
  kPrivacyAccess = 1u << 5,
  kPrivacyErase = 1u << 6,
  kPrivacyRestrict = 1u << 7,
  kOpsRead = 1u << 8,
  kOpsAct = 1u << 9,
  kAuditRead = 1u << 10,
};
const char* ToString(Scope scope);  // inbox:read ...

// A named set of scopes. An administrator never reads messages.
enum class Role : std::uint8_t { kComms = 1, kPrivacy, kAdministrator, kAuditor, kOperator };
const char* ToString(Role role);
std::optional<Role> ParseRole(const std::string& word);
std::uint32_t ScopesOf(Role role);  // bit set of Scope

struct Actor {
  std::string id;  // token id (tok_...), `cli:<uid>`, or `system`
  std::uint32_t scopes = 0;
  std::string request_id;
  bool Has(Scope scope) const { return (scopes & static_cast<std::uint32_t>(scope)) != 0; }
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_ACTOR_H_
