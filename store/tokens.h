// Bearer tokens of the REST API: mfy_<32 random bytes in base62><6 checksum digits>. Only a keyed
// hash is stored; the token is shown once.
#ifndef MAYFLY_STORE_TOKENS_H_
#define MAYFLY_STORE_TOKENS_H_

#include <optional>
#include <string>
#include <vector>

#include "store/model/actor.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::store {

class Core;

inline constexpr std::chrono::days kTokenLifeMax{90};

struct TokenInfo {
  std::string id;  // tok_<16 hex>; names the token in the audit log
  Role role = Role::kComms;
  std::string label;
  TimePoint created_at;
  TimePoint expires_at;
};

class Tokens {
 public:
  explicit Tokens(Core& core) : core_(core) {}
  struct Created {
    TokenInfo info;
    AccessToken token;
  };
  // kInvalidArgument (field "days") when life is not 1..90 days. Audited as `token.create`.
  Result<Created> Create(Role role, const std::string& label, std::chrono::days life,
                         const Actor& actor, TimePoint now);
  // kNotFound for a wrong checksum, an unknown, revoked or expired token: callers must not tell the
  // difference. Constant-time in the token's bytes.
  Result<TokenInfo> Verify(const AccessToken& token, TimePoint now) const;
  // By its id: kNotFound as Verify.
  Result<TokenInfo> Find(const std::string& id, TimePoint now) const;
  Result<std::vector<TokenInfo>> List() const;
  // Immediate. Audited as `token.revoke`. kNotFound.
  Status Revoke(const std::string& id, const Actor& actor, TimePoint now);
  // Whether a text has the form and checksum of a token; for log scrubbing and input checks.
  static bool LooksLikeToken(std::string_view text);

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_TOKENS_H_
