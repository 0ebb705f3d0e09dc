#include "service/api/handlers/operation_handlers.h"

#include <algorithm>
#include <string>
#include <utility>

#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"
#include "service/api/signed_receipt.h"

namespace mayfly::service::api {
namespace {

constexpr std::int64_t kTokenDaysDefault = 90;
constexpr std::size_t kTokenLabelBytesMax = 200;
// Receipts are kept for 12 months, one a date: all of them fit into one read.
constexpr std::size_t kReceiptsKeptMax = 400;
constexpr std::size_t kReceiptsShown = 20;

// The time by which dates end.
TimePoint EndsBy(const Call& call) {
  return call.context.certain_clock != nullptr ? call.context.certain_clock->Certain() : call.now;
}

Result<Response> GetCoverage(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(auto accounts, call.store.accounts().List());
  if (const std::string* wanted = call.request.Query("account")) {
    accounts.erase(
        std::remove_if(accounts.begin(), accounts.end(),
                       [&](const Account& account) { return account.id.ToString() != *wanted; }),
        accounts.end());
  }
  std::vector<std::pair<Account, Coverage>> rows;
  for (Account& account : accounts) {
    MAYFLY_ASSIGN_OR_RETURN(Coverage coverage, call.store.collection().Coverage(account.id));
    rows.emplace_back(std::move(account), std::move(coverage));
  }
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const auto& [account, coverage] : rows) {
      writer.StartObject();
      writer.Field("account", account.id.ToString());
      writer.Field("platform", account.platform);
      writer.Field("state", ToString(account.state));
      Render(writer, coverage);
      writer.EndObject();
    }
  });
}

Result<Response> GetPolicy(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto accounts, call.store.accounts().List());
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("ceiling", RetentionPeriod().ToString());
    writer.Field("shortest", "P" + std::to_string(kPeriodDaysMin) + "D");
    writer.Field("zone", call.context.zone_name);
    writer.Field(
        "rule",
        "A message expires at 00:00 UTC of the date on which the earlier of its sent time and "
        "its first sight plus the period falls, in UTC and in the zone, whichever is earlier.");
    writer.Field("raised_by", "nothing: the ceiling is compiled in, settings can only shorten it");
    writer.Key("accounts").StartArray();
    for (const Account& account : accounts) {
      writer.StartObject();
      writer.Field("account", account.id.ToString());
      writer.Field("platform", account.platform);
      writer.Field("retention", account.retention.ToString());
      writer.EndObject();
    }
    writer.EndArray();
    writer.EndObject();
  });
}

void RenderReceipt(json::Writer& writer, const store::Store& store,
                   const store::PurgeReceipt& receipt) {
  RenderSigned(writer, store, [&](json::Writer& members) { RenderMembers(members, receipt); });
}

// The members of /v1/ops/expiry and of /admin/status that say how expiry stands.
void RenderExpiry(json::Writer& writer, const Call& call) {
  const auto view = call.store.View(EndsBy(call));
  const HealthView health = call.context.health ? call.context.health() : HealthView{};
  writer.Field("now", FormatRfc3339(call.now));
  writer.Key("oldest_living");
  if (view.oldest_living) {
    writer.String(FormatDay(*view.oldest_living));
  } else {
    writer.Null();
  }
  writer.Key("due_not_destroyed").StartArray();
  for (const ExpiryDay day : view.due_not_destroyed) writer.String(FormatDay(day));
  writer.EndArray();
  TimeField(writer, "last_run_at", health.last_expiry_run_at);
  TimeField(writer, "next_run_at", health.next_expiry_at);
}

Result<Response> GetExpiry(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(auto receipts,
                          call.store.purge().Receipts(std::nullopt, kReceiptsKeptMax));
  std::reverse(receipts.begin(), receipts.end());
  if (receipts.size() > kReceiptsShown) receipts.resize(kReceiptsShown);
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    RenderExpiry(writer, call);
    writer.Key("receipts").StartArray();  // newest first; all of them: /v1/ops/receipts
    for (const auto& receipt : receipts) RenderReceipt(writer, call.store, receipt);
    writer.EndArray();
    writer.EndObject();
  });
}

Result<Response> GetReceipts(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::string position,
                          CursorPosition(call.context, call.request, "receipts"));
  std::optional<ExpiryDay> after;
  if (!position.empty()) {
    after = ParseDayCompact(position);
    if (!after) return Fail(ErrorCode::kCursorInvalid, "not a date");
  }
  MAYFLY_ASSIGN_OR_RETURN(auto receipts, call.store.purge().Receipts(after, limit + 1));
  std::string next;
  if (receipts.size() > limit) {
    receipts.resize(limit);
    next = SignCursor(call.context, "receipts", FormatDayCompact(receipts.back().day));
  }
  return ListDocument(call.request, next, [&](json::Writer& writer) {
    for (const auto& receipt : receipts) RenderReceipt(writer, call.store, receipt);
  });
}

// --- the admin socket

Result<Response> CreateToken(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"role", "label", "days"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string role_word, body.String("role"));
  const auto role = ParseRole(role_word);
  if (!role) return Fail(ErrorCode::kInvalidArgument, "There is no such role.", "/role");
  MAYFLY_ASSIGN_OR_RETURN(const std::string label, body.String("label"));
  MAYFLY_RETURN_IF_ERROR(CheckLine(label, kTokenLabelBytesMax, "/label"));
  MAYFLY_ASSIGN_OR_RETURN(const auto days, body.OptInt("days"));
  const std::int64_t life = days.value_or(kTokenDaysDefault);
  if (life < 1 || life > store::kTokenLifeMax.count()) {
    return Fail(ErrorCode::kInvalidArgument, "A token lives 1 to 90 days.", "/days");
  }
  MAYFLY_ASSIGN_OR_RETURN(
      const auto created,
      call.store.tokens().Create(*role, label, std::chrono::days(life), call.actor, call.now));
  return Document(201, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("token", created.token.Reveal());  // here, once, and never again
    writer.Key("info");
    Render(writer, created.info);
    writer.EndObject();
  });
}

Result<Response> ListTokens(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto tokens, call.store.tokens().List());
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const store::TokenInfo& token : tokens) Render(writer, token);
  });
}

Result<Response> RevokeToken(const Call& call) {
  MAYFLY_RETURN_IF_ERROR(
      call.store.tokens().Revoke(call.request.captures.at("token"), call.actor, call.now));
  if (call.context.streams != nullptr) call.context.streams->End(call.request.captures.at("token"));
  Response response;
  response.status = 204;
  return response;
}

const char* ToString(Transport transport) {
  switch (transport) {
    case Transport::kLocal:
      return "local";
    case Transport::kTls:
      return "tls";
    case Transport::kTrustedProxies:
      return "trusted-proxies";
  }
  return "local";
}

// How people reach us, and how long the certificate for it is good.
void RenderHttp(json::Writer& writer, const ApiContext& context) {
  writer.Key("http").StartObject();
  writer.Field("mode", ToString(context.transport));
  if (context.certificates != nullptr) {
    const TlsCertificates::View view = context.certificates->view();
    TimeField(writer, "certificate_expires_at", view.expires_at);
    writer.Field("last_reload_failed", view.last_reload_failed);
  }
  writer.EndObject();
}

void RenderClock(json::Writer& writer, const store::ClockView& clock) {
  writer.StartObject();
  writer.Field("certain", FormatRfc3339(clock.certain));
  writer.Field("machine", FormatRfc3339(clock.wall));
  writer.Field("doubt", store::ToString(clock.doubt));
  writer.Field("set_back", clock.wall_behind);
  writer.Field("contradicted", clock.blocked);
  writer.Key("votes").StartObject();
  writer.Field("kernel", clock.kernel_votes);
  writer.Field("person", clock.person_votes);
  writer.Key("platforms_for").Uint(clock.platforms_for);
  writer.Key("platforms_against").Uint(clock.platforms_against);
  writer.EndObject();
  writer.EndObject();
}

Result<Response> GetClock(const Call& call) {
  return Document(
      200, [&](json::Writer& writer) { RenderClock(writer, call.context.certain_clock->view()); });
}

Result<Response> ConfirmClock(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body, ParseObject(call.request, {"time"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string text, body.String("time"));
  const auto read = ParseRfc3339(text);
  if (!read) {
    return Fail(ErrorCode::kInvalidArgument, "It must be a time such as 2026-11-22T12:00:00Z.",
                "/time");
  }
  if (auto may = call.context.certain_clock->MayConfirm(*read); !may) {
    return Fail(ErrorCode::kInvalidArgument, may.error().message, "/time");
  }
  MAYFLY_RETURN_IF_ERROR(call.store.audit().Record(call.actor, "clock.confirm", "clock", call.now));
  MAYFLY_RETURN_IF_ERROR(call.context.certain_clock->Confirm(*read));
  return GetClock(call);
}

Result<Response> Reload(const Call& call) {
  if (!call.context.reload) {
    return Fail(ErrorCode::kInvalidArgument, "There is no [http.tls]: nothing is to be reloaded.");
  }
  MAYFLY_RETURN_IF_ERROR(call.context.reload());
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    RenderHttp(writer, call.context);
    writer.EndObject();
  });
}

Result<Response> GetStatus(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto accounts, call.store.accounts().List());
  const HealthView health = call.context.health ? call.context.health() : HealthView{};
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("version", call.context.version);
    writer.Field("ready", health.ready);
    writer.Key("reasons").StartArray();
    for (const std::string& reason : health.reasons) writer.String(reason);
    writer.EndArray();
    writer.Field("p2_grade", call.context.p2_grade);
    writer.Field("insecure_loopback", call.context.egress.insecure_loopback);
    RenderHttp(writer, call.context);
    writer.Key("sandbox");
    Render(writer, call.context.sandbox);
    writer.Key("expiry").StartObject();
    RenderExpiry(writer, call);
    writer.EndObject();
    writer.Key("accounts").StartArray();
    for (const Account& account : accounts) Render(writer, account, AccountView::kOperator);
    writer.EndArray();
    writer.EndObject();
  });
}

// For `mayfly backup` and `mayfly verify`, which copy and read what lies there, and drop it.
Result<Response> TakeCheckpoint(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto taken, call.store.TakeCheckpoint(call.actor, call.now));
  return Document(201, [&](json::Writer& writer) {
    writer.StartObject()
        .Field("path", taken.string())
        .Field("keys", call.store.KeysPrint())
        .EndObject();
  });
}

Result<Response> DropCheckpoint(const Call& call) {
  MAYFLY_RETURN_IF_ERROR(call.store.DropCheckpoint());
  Response response;
  response.status = 204;
  return response;
}

// Only as a rehearsal: expiry itself asks nobody.
Result<Response> Rehearse(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body, ParseObject(call.request, {"dry_run"}));
  MAYFLY_ASSIGN_OR_RETURN(const bool dry_run, body.Bool("dry_run"));
  if (!dry_run) {
    return Fail(ErrorCode::kInvalidArgument, "It must be true: dates end by themselves.",
                "/dry_run");
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto previews, call.store.purge().DryRun(EndsBy(call)));
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const auto& preview : previews) {
      writer.StartObject();
      writer.Field("day", FormatDay(preview.day));
      writer.Key("messages").Uint(preview.messages);
      writer.Key("bytes").Uint(preview.bytes);
      writer.EndObject();
    }
  });
}

// {"passphrase": ...} or {"master_key": ...}, or neither.
Result<KeyOffer> ReadOffer(const Request& request) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(request, {"passphrase", "master_key"}));
  KeyOffer offer;
  if (body.Find("passphrase") != nullptr) {
    MAYFLY_ASSIGN_OR_RETURN(std::string words, body.String("passphrase"));
    offer.passphrase = store::Passphrase(std::move(words));
  }
  if (body.Find("master_key") != nullptr) {
    MAYFLY_ASSIGN_OR_RETURN(std::string line, body.String("master_key"));
    offer.master_key = MasterKeyLine(std::move(line));
  }
  return offer;
}

Response Done(const char* member) {
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field(member, true);
    writer.EndObject();
  });
}

// The one thing besides health that a sealed service does.
Response Unseal(const ApiContext& context, const Request& request) {
  if (!context.unseal) {
    return Problem(request, Error{.code = ErrorCode::kInvalidArgument,
                                  .message = "The service is not sealed."});
  }
  const auto offer = ReadOffer(request);
  if (!offer) return Problem(request, offer.error());
  const Status unsealed = context.unseal(*offer);
  if (unsealed) return Done("unsealed");
  if (unsealed.error().code != ErrorCode::kSealed) return Problem(request, unsealed.error());
  return Problem(request, 403, "sealed", "Still sealed: " + unsealed.error().message + ".");
}

Result<Response> RotateMasterKey(const Call& call) {
  if (!call.context.rotate_master_key) return Fail(ErrorCode::kUnavailable, "Not here.");
  MAYFLY_ASSIGN_OR_RETURN(const KeyOffer offer, ReadOffer(call.request));
  MAYFLY_RETURN_IF_ERROR(call.context.rotate_master_key(offer, call.actor));
  return Done("rotated");
}

Route Make(ApiContext& context, const char* method, const char* pattern, Access access,
           StoreHandler handler) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  route.access = access;
  route.scope = Scope::kOpsRead;
  route.handler = WithStore(context, std::move(handler));
  return route;
}

}  // namespace

std::vector<Route> OperationRoutes(ApiContext& context) {
  Route coverage = Make(context, "GET", "/v1/coverage", Access::kScope, GetCoverage);
  coverage.any_scope = Scope::kInboxRead | Scope::kOpsRead;
  coverage.query = {"account"};
  Route policy = Make(context, "GET", "/v1/policy", Access::kScope, GetPolicy);
  policy.any_scope = kAnyToken;
  Route expiry = Make(context, "GET", "/v1/ops/expiry", Access::kScope, GetExpiry);
  expiry.any_scope = Scope::kOpsRead | Scope::kAuditRead;
  Route receipts = Make(context, "GET", "/v1/ops/receipts", Access::kScope, GetReceipts);
  receipts.any_scope = expiry.any_scope;
  receipts.query = {"limit", "cursor"};

  Route metrics;
  metrics.method = "GET";
  metrics.pattern = "/metrics";
  metrics.scope = Scope::kOpsRead;
  metrics.handler = [&context](const Request& request, const Actor&) {
    if (!context.metrics_text) return Problem(request, Error{.code = ErrorCode::kUnavailable});
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = context.metrics_text();
    return response;
  };

  Route create_token = Make(context, "POST", "/admin/tokens", Access::kAdminSocket, CreateToken);
  create_token.body_bytes_max = 4096;
  Route list_tokens = Make(context, "GET", "/admin/tokens", Access::kAdminSocket, ListTokens);
  Route revoke_token =
      Make(context, "DELETE", "/admin/tokens/{token}", Access::kAdminSocket, RevokeToken);
  Route status = Make(context, "GET", "/admin/status", Access::kAdminSocket, GetStatus);
  Route rehearse = Make(context, "POST", "/admin/expire", Access::kAdminSocket, Rehearse);
  rehearse.body_bytes_max = 4096;
  rehearse.slow = true;
  Route clock = Make(context, "GET", "/admin/clock", Access::kAdminSocket, GetClock);
  Route confirm = Make(context, "POST", "/admin/clock", Access::kAdminSocket, ConfirmClock);
  confirm.body_bytes_max = 4096;
  Route reload = Make(context, "POST", "/admin/reload", Access::kAdminSocket, Reload);
  reload.slow = true;  // reads files
  Route unseal;
  unseal.method = "POST";
  unseal.pattern = "/admin/unseal";
  unseal.access = Access::kAdminSocket;
  unseal.while_sealed = true;
  unseal.slow = true;  // a second of work
  unseal.body_bytes_max = 8192;
  unseal.handler = [&context](const Request& request, const Actor&) {
    return Unseal(context, request);
  };
  Route rotate =
      Make(context, "POST", "/admin/master-key/rotate", Access::kAdminSocket, RotateMasterKey);
  rotate.slow = true;
  rotate.body_bytes_max = 8192;
  Route take_checkpoint =
      Make(context, "POST", "/admin/checkpoint", Access::kAdminSocket, TakeCheckpoint);
  take_checkpoint.slow = true;  // writes buffered records out
  Route drop_checkpoint =
      Make(context, "DELETE", "/admin/checkpoint", Access::kAdminSocket, DropCheckpoint);
  drop_checkpoint.slow = true;  // removes files
  return {coverage,    policy,       expiry, receipts,        metrics,        create_token,
          list_tokens, revoke_token, status, rehearse,        clock,          confirm,
          reload,      unseal,       rotate, take_checkpoint, drop_checkpoint};
}

}  // namespace mayfly::service::api
