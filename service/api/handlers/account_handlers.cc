#include "service/api/handlers/account_handlers.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "connectors/options.h"
#include "connectors/registry.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

constexpr std::size_t kLabelBytesMax = 200;
constexpr std::size_t kOptionBytesMax = 1024;
constexpr std::size_t kSecretBytesMax = 8192;
constexpr std::size_t kBodyBytesMax = 32u << 10;

AccountView ViewOf(const Actor& actor) {
  if (actor.Has(Scope::kAdminAccounts)) return AccountView::kAdministrator;
  if (actor.Has(Scope::kOpsRead)) return AccountView::kOperator;
  return AccountView::kStaff;
}

Response AccountDocument(const Call& call, int status, const Account& account) {
  const AccountView view = ViewOf(call.actor);
  const ShownBudget budget = call.context.runtime->Budget(account.id);
  Response response =
      Document(status, [&](json::Writer& writer) { Render(writer, account, view, &budget); });
  // Only who may change it is shown its revision.
  if (view != AccountView::kAdministrator) return Tagged(call.context, std::move(response));
  return Tagged(call.context, std::move(response), account.revision);
}

// A value that no worker could use is refused here, at once.
Status CheckValue(const connectors::OptionInfo& option, const std::string& value,
                  const std::string& pointer, const connectors::EgressPolicy& egress) {
  MAYFLY_RETURN_IF_ERROR(
      CheckLine(value, option.secret ? kSecretBytesMax : kOptionBytesMax, pointer));
  auto usable = connectors::CheckOption(option, value, egress);
  if (usable) return {};
  Error error = std::move(usable).error();
  error.field = pointer;
  return Fail(std::move(error));
}

// The values of `options` or of `credential`, each a known option of the right kind. `at` is the
// pointer to the object, which may be absent (null).
Result<std::map<std::string, std::string>> ReadOptions(const json::Value* object,
                                                       const std::string& at, bool secret,
                                                       const connectors::ConnectorInfo& info,
                                                       const connectors::EgressPolicy& egress) {
  std::map<std::string, std::string> values;
  if (object != nullptr && !object->is_object()) {
    return Fail(ErrorCode::kInvalidArgument, "It must be an object of strings.", at);
  }
  if (object != nullptr) {
    for (const auto& [name, value] : *object->AsObject()) {
      const auto known =
          std::find_if(info.options.begin(), info.options.end(),
                       [&name = name](const auto& option) { return option.name == name; });
      if (known == info.options.end()) {
        return Fail(ErrorCode::kInvalidArgument, "The platform has no such option.", at);
      }
      const std::string pointer = at + "/" + known->name;
      if (known->secret != secret) {
        return Fail(ErrorCode::kInvalidArgument,
                    known->secret ? "It is secret and belongs into credential."
                                  : "It is not secret and belongs into options.",
                    pointer);
      }
      const std::string* text = value.AsString();
      if (text == nullptr) {
        return Fail(ErrorCode::kInvalidArgument, "It must be a string.", pointer);
      }
      MAYFLY_RETURN_IF_ERROR(CheckValue(*known, *text, pointer, egress));
      values.emplace(known->name, *text);
    }
  }
  for (const connectors::OptionInfo& option : info.options) {
    if (option.secret != secret || !option.required || values.count(option.name) > 0) continue;
    return Fail(ErrorCode::kInvalidArgument, "The platform needs it.", at + "/" + option.name);
  }
  return values;
}

// The secret options as the connector reads them: one JSON object.
Credential ToCredential(std::map<std::string, std::string>& secrets) {
  std::string text;
  {
    json::Writer writer(&text);
    writer.StartObject();
    for (auto& [name, value] : secrets) {
      writer.Field(name, value);
      WipeString(value);
    }
    writer.EndObject();
  }
  return Credential(std::move(text));
}

Result<RetentionPeriod> ReadRetention(const json::Value& body) {
  MAYFLY_ASSIGN_OR_RETURN(const auto text, body.OptString("retention"));
  if (!text) return RetentionPeriod();
  auto period = RetentionPeriod::Parse(*text);
  if (period) return period;
  Error error = period.error();
  error.field = "/retention";
  return Fail(std::move(error));
}

Result<std::string> ReadLabel(const json::Value& body) {
  MAYFLY_ASSIGN_OR_RETURN(std::string label, body.String("label"));
  MAYFLY_RETURN_IF_ERROR(CheckLine(label, kLabelBytesMax, "/label"));
  return label;
}

Result<Response> Create(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(
      const json::Value body,
      ParseObject(call.request, {"platform", "label", "options", "credential", "retention"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string platform, body.String("platform"));
  const connectors::ConnectorInfo* info = call.context.find_connector(platform);
  if (info == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "No connector has this name.", "/platform");
  }
  store::Accounts::NewAccount account;
  account.platform = info->name;
  MAYFLY_ASSIGN_OR_RETURN(account.label, ReadLabel(body));
  MAYFLY_ASSIGN_OR_RETURN(
      account.options,
      ReadOptions(body.Find("options"), "/options", /*secret=*/false, *info, call.context.egress));
  MAYFLY_ASSIGN_OR_RETURN(auto secrets, ReadOptions(body.Find("credential"), "/credential",
                                                    /*secret=*/true, *info, call.context.egress));
  account.credential = ToCredential(secrets);
  MAYFLY_ASSIGN_OR_RETURN(account.retention, ReadRetention(body));
  MAYFLY_ASSIGN_OR_RETURN(const Account created,
                          call.store.accounts().Create(account, call.actor, call.now));
  call.context.runtime->AccountConnected(created.id);
  return AccountDocument(call, 201, created)
      .With("Location", "/v1/accounts/" + created.id.ToString());
}

Result<Response> List(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto accounts, call.store.accounts().List());
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const Account& account : accounts) Render(writer, account, ViewOf(call.actor));
  });
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(const Account account, call.store.accounts().Get(id));
  return AccountDocument(call, 200, account);
}

Result<Response> Patch(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(const IfMatch match, ParseIfMatch(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"label", "retention"}));
  if (body.Find("retention") != nullptr) {
    return Fail(ErrorCode::kInvalidArgument,
                "The period is set when the account is created, and only then.", "/retention");
  }
  MAYFLY_ASSIGN_OR_RETURN(const std::string label, ReadLabel(body));
  MAYFLY_ASSIGN_OR_RETURN(
      const Account account,
      call.store.accounts().Rename(id, label, match.revision, call.actor, call.now));
  return AccountDocument(call, 200, account);
}

// With ?erase=true what was collected for it goes too: all of it, or none was there.
Status EraseAll(const Call& call, AccountId id) {
  auto erased = call.store.erasure().EraseAccount(id, call.actor, call.now);
  if (erased || erased.error().code == ErrorCode::kNotFound) return {};
  return Fail(std::move(erased).error());
}

// First the store, so that the credential is gone and nothing more is stored whatever happens next;
// then the runtime. Both may be repeated.
Result<Response> Disconnect(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(const IfMatch match, ParseIfMatch(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const auto erase, QueryBool(call.request, "erase"));
  MAYFLY_RETURN_IF_ERROR(call.store.accounts().Retire(id, match.revision, call.actor, call.now));
  call.context.runtime->AccountDisconnected(id);
  if (erase.value_or(false)) MAYFLY_RETURN_IF_ERROR(EraseAll(call, id));
  Response response;
  response.status = 204;
  return response;
}

// The account, unless it is retired: then nothing can be asked of its platform any more.
Result<Account> Connected(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(Account account, call.store.accounts().Get(id));
  if (account.state == AccountState::kRetired) {
    return Fail(ErrorCode::kCredentialDead, "The account is disconnected.");
  }
  return account;
}

// The runtime tries it first: an answer other than 200 means that the old one is still in use.
Result<Response> PutCredential(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const IfMatch match, ParseIfMatch(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const Account account, Connected(call));
  if (match.revision && *match.revision != account.revision) {
    return Fail(ErrorCode::kPreconditionFailed, "The account was changed meanwhile.");
  }
  const connectors::ConnectorInfo* info = call.context.find_connector(account.platform);
  if (info == nullptr) return Fail(ErrorCode::kInternal, "account without a connector");
  auto body = json::Parse(call.request.body, {.bytes_max = kBodyBytesMax, .items_max = 100});
  if (!body) return Fail(ErrorCode::kInvalidArgument, "The body is not one valid JSON document.");
  MAYFLY_ASSIGN_OR_RETURN(auto secrets,
                          ReadOptions(&*body, "", /*secret=*/true, *info, call.context.egress));
  MAYFLY_ASSIGN_OR_RETURN(const Account changed,
                          call.context.runtime->ReplaceCredential(account.id, ToCredential(secrets),
                                                                  match.revision, call.actor));
  return AccountDocument(call, 200, changed)
      .With("Content-Location", "/v1/accounts/" + changed.id.ToString());
}

Result<Response> Check(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const Account account, Connected(call));
  MAYFLY_ASSIGN_OR_RETURN(const connectors::CheckReport report,
                          call.context.runtime->Check(account.id));
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("own_platform_id", report.own_platform_id);
    writer.Field("own_handle", report.own_handle);
    writer.Key("permissions_held").StartArray();
    for (const std::string& permission : report.permissions_held) writer.String(permission);
    writer.EndArray();
    writer.Key("permissions_missing").StartArray();
    for (const std::string& permission : report.permissions_missing) writer.String(permission);
    writer.EndArray();
    writer.EndObject();
  });
}

Result<Response> Poll(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const Account account, Connected(call));
  MAYFLY_RETURN_IF_ERROR(call.context.runtime->PollNow(account.id));
  return AccountDocument(call, 202, account)
      .With("Location", "/v1/accounts/" + account.id.ToString());
}

Route Administration(ApiContext& context, const char* method, const char* pattern,
                     StoreHandler handler) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  route.scope = Scope::kAdminAccounts;
  route.budget = Budget::kAdministration;
  route.handler = WithStore(context, std::move(handler));
  return route;
}

}  // namespace

std::vector<Route> AccountRoutes(ApiContext& context) {
  Route create = Administration(context, "POST", "/v1/accounts", Create);
  create.body_bytes_max = kBodyBytesMax;
  create.slow = true;
  Route list = Administration(context, "GET", "/v1/accounts", List);
  list.budget = Budget::kReading;
  list.any_scope = Scope::kAdminAccounts | Scope::kInboxRead | Scope::kOpsRead;
  Route get = Administration(context, "GET", "/v1/accounts/{account}", Get);
  get.any_scope = list.any_scope;
  get.budget = Budget::kReading;
  Route patch = Administration(context, "PATCH", "/v1/accounts/{account}", Patch);
  patch.body_bytes_max = kBodyBytesMax;
  patch.required_headers = {"If-Match"};
  Route disconnect = Administration(context, "DELETE", "/v1/accounts/{account}", Disconnect);
  disconnect.slow = true;
  disconnect.required_headers = {"If-Match"};
  disconnect.query = {"erase"};
  Route credential =
      Administration(context, "PUT", "/v1/accounts/{account}/credential", PutCredential);
  credential.body_bytes_max = kBodyBytesMax;
  credential.slow = true;
  credential.required_headers = {"If-Match"};
  Route check = Administration(context, "POST", "/v1/accounts/{account}/check", Check);
  check.slow = true;
  Route poll = Administration(context, "POST", "/v1/accounts/{account}/poll", Poll);
  return {create, list, get, patch, disconnect, credential, check, poll};
}

}  // namespace mayfly::service::api
