// The simulated server's applications and tokens.
#include <algorithm>

#include "connectors/mastodon/simulator_api.h"

namespace mayfly::connectors::mastodon::sim {

// ---- OAuth, as Doorkeeper does it ----

Api::Answer Api::RouteOauth(Call& call) {
  if (call.Is("POST", {"api", "v1", "apps"})) return CreateApplication(call);
  if (call.Is("POST", {"oauth", "token"})) return CreateToken(call);
  if (call.Is("POST", {"oauth", "revoke"})) return RevokeToken(call);
  if (!call.Is("GET", {"api", "v1", "apps", "verify_credentials"})) {
    return tl::unexpected(NoRoute());
  }
  if (const auto granted = Authorize(call, {}); !granted) return tl::unexpected(granted.error());
  const auto known = applications_.find(call.token->client_id);
  const Application application =
      known != applications_.end()
          ? known->second
          : Application{.id = "1", .name = "Web", .scope = call.token->scope};
  return Body([&](json::Writer& writer) {
    WriteApplication(writer, application);
    writer.EndObject();
  });
}

// Leaves the object open.
void Api::WriteApplication(json::Writer& writer, const Application& application) const {
  writer.StartObject().Field("id", application.id).Field("name", application.name);
  writer.Key("website").Null().Key("scopes").StartArray();
  for (std::size_t at = 0; at < application.scope.size();) {
    const std::size_t end = std::min(application.scope.find(' ', at), application.scope.size());
    writer.String(std::string_view(application.scope).substr(at, end - at));
    at = end + 1;
  }
  writer.EndArray().Key("redirect_uris").StartArray();
  for (const std::string& uri : application.redirect_uris) writer.String(uri);
  const std::string first =
      application.redirect_uris.empty() ? std::string() : application.redirect_uris.front();
  writer.EndArray().Field("redirect_uri", first).Field("vapid_key", "");
}

Api::Answer Api::CreateApplication(Call& call) {
  Application application{.id = world_.NextNumber(),
                          .name = call.Param("client_name").value_or(""),
                          .redirect_uris = call.Params("redirect_uris[]"),
                          .scope = call.Param("scopes").value_or("read"),
                          .secret = NewSecret()};
  if (const auto uri = call.Param("redirect_uris")) application.redirect_uris.push_back(*uri);
  if (application.name.empty()) {
    return tl::unexpected(Refusal{422, "Validation failed: Application name can't be blank"});
  }
  if (application.redirect_uris.empty()) {
    return tl::unexpected(Refusal{422, "Validation failed: Redirect URI can't be blank"});
  }
  const std::string client_id = NewSecret();
  applications_[client_id] = application;
  return Body([&](json::Writer& writer) {
    WriteApplication(writer, application);
    writer.Field("client_id", client_id);
    writer.Field("client_secret", application.secret).IntField("client_secret_expires_at", 0);
    writer.EndObject();
  });
}

Api::Answer Api::CreateToken(Call& call) {
  const std::string client_id = call.Param("client_id").value_or("");
  const auto application = applications_.find(client_id);
  if (application == applications_.end() ||
      application->second.secret != call.Param("client_secret").value_or("")) {
    return tl::unexpected(Refusal{401, "invalid_client"});
  }
  Token token{.client_id = client_id,
              .scope = call.Param("scope").value_or("read"),
              .created_at = world_.Now()};
  const std::string grant = call.Param("grant_type").value_or("");
  if (grant == "authorization_code") {
    const auto code = codes_.find(call.Param("code").value_or(""));
    if (code == codes_.end() || code->second.client_id != client_id ||
        code->second.redirect_uri != call.Param("redirect_uri").value_or("")) {
      return tl::unexpected(Refusal{400, "invalid_grant"});
    }
    token.account = code->second.account;
    token.scope = code->second.scope;
    codes_.erase(code);  // once only
  } else if (grant != "client_credentials") {
    return tl::unexpected(Refusal{400, "unsupported_grant_type"});
  }
  const std::string secret = NewSecret();
  tokens_[secret] = token;
  return Body([&](json::Writer& writer) {
    writer.StartObject().Field("access_token", secret).Field("token_type", "Bearer");
    writer.Field("scope", token.scope);
    writer.IntField(
        "created_at",
        std::chrono::floor<std::chrono::seconds>(token.created_at).time_since_epoch().count());
    writer.EndObject();
  });
}

Api::Answer Api::RevokeToken(Call& call) {
  const auto token = tokens_.find(call.Param("token").value_or(""));
  if (token == tokens_.end()) return std::string();  // RFC 7009: nothing is said about it
  const auto application = applications_.find(call.Param("client_id").value_or(""));
  if (application == applications_.end() || token->second.client_id != application->first ||
      application->second.secret != call.Param("client_secret").value_or("")) {
    return tl::unexpected(Refusal{403, "unauthorized_client"});
  }
  token->second.revoked = true;
  return std::string();
}

}  // namespace mayfly::connectors::mastodon::sim
