#include "service/api/auth.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace mayfly::service::api {
namespace {

constexpr std::uint32_t kAdminSocketScopes =
    Scope::kAdminAccounts | Scope::kAdminSettings | Scope::kOpsRead | Scope::kOpsAct;

// The credentials of "Bearer <token>"; the scheme's letters in either case. Empty for anything
// else.
std::string_view BearerOf(std::string_view field) {
  constexpr std::string_view kScheme = "bearer ";
  if (field.size() <= kScheme.size()) return {};
  const bool bearer = std::equal(kScheme.begin(), kScheme.end(), field.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
  return bearer ? field.substr(kScheme.size()) : std::string_view();
}

}  // namespace

Authenticator MakeAuthenticator(const store::Tokens& tokens, const Clock& clock) {
  return [&tokens, &clock](const Request& request) -> Result<Actor> {
    Actor actor;
    actor.request_id = request.id;
    if (request.admin_socket) {
      actor.id = "cli:" + std::to_string(request.peer_uid);
      actor.scopes = kAdminSocketScopes;
      return actor;
    }
    const std::string* field = request.Header("authorization");
    const std::string_view token = field == nullptr ? std::string_view() : BearerOf(*field);
    if (token.empty()) return Fail(ErrorCode::kNotFound, "No token.");
    MAYFLY_ASSIGN_OR_RETURN(const store::TokenInfo info,
                            tokens.Verify(AccessToken(std::string(token)), clock.Now()));
    actor.id = info.id;
    actor.scopes = ScopesOf(info.role);
    return actor;
  };
}

}  // namespace mayfly::service::api
