#include "service/api/handlers/erasure_handlers.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "service/api/handlers/handler_support.h"
#include "service/api/handlers/person_input.h"
#include "service/api/input.h"
#include "service/api/signed_receipt.h"

namespace mayfly::service::api {
namespace {

void RenderMembers(json::Writer& writer, const store::Erasure::Progress& progress,
                   const std::string& p2_grade) {
  const store::DestructionReceipt& receipt = progress.receipt;
  writer.Field("id", receipt.id.ToString());
  writer.Field("kind", store::ToString(receipt.kind));
  writer.Field("state", progress.finished ? "finished" : "unreadable");
  writer.Field("requested_at", FormatRfc3339(receipt.requested_at));
  writer.Field("keys_destroyed_at", FormatRfc3339(receipt.keys_destroyed_at));
  TimeField(writer, "finished_at",
            progress.finished ? std::optional(receipt.finished_at) : std::nullopt);
  writer.Key("dates").Uint(receipt.dates);
  writer.Key("keys").Uint(receipt.keys);
  writer.Key("messages").Uint(receipt.messages);
  writer.Key("replies").Uint(receipt.replies);
  writer.Key("edited").Uint(receipt.edited);
  writer.Field("p2_grade", p2_grade);
}

// Signed when it is finished: before that it is no receipt yet.
void Render(json::Writer& writer, const store::Store& store,
            const store::Erasure::Progress& progress, const std::string& p2_grade) {
  const auto members = [&](json::Writer& into) { RenderMembers(into, progress, p2_grade); };
  if (progress.finished) return RenderSigned(writer, store, members);
  writer.StartObject();
  members(writer);
  writer.Key("signature").Null();
  writer.EndObject();
}

// Unreadable when this answers; the job does the rest.
Result<Response> Erase(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(
      const json::Value body,
      ParseObject(call.request, {"message_id", "conversation_id", "account_id", "platform_id"}));
  MAYFLY_ASSIGN_OR_RETURN(const auto person, ReadPerson(call, body));
  MAYFLY_ASSIGN_OR_RETURN(const ErasureId id,
                          call.store.erasure().ErasePerson(person, call.actor, call.now));
  MAYFLY_ASSIGN_OR_RETURN(const auto progress, call.store.erasure().Find(id));
  return Document(202,
                  [&](json::Writer& writer) {
                    Render(writer, call.store, progress, call.context.p2_grade);
                  })
      .With("Location", "/v1/erasures/" + id.ToString());
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ErasureId>(call.request, "erasure"));
  MAYFLY_ASSIGN_OR_RETURN(const auto progress, call.store.erasure().Find(id));
  return Document(200, [&](json::Writer& writer) {
    Render(writer, call.store, progress, call.context.p2_grade);
  });
}

Result<Response> List(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::string position,
                          CursorPosition(call.context, call.request, "erasures"));
  std::optional<ErasureId> after;
  if (!position.empty()) {
    after = ErasureId::Parse(position);
    if (!after) return Fail(ErrorCode::kCursorInvalid, "not an erasure");
  }
  MAYFLY_ASSIGN_OR_RETURN(auto receipts, call.store.erasure().Receipts(after, limit + 1));
  std::string next;
  if (receipts.size() > limit) {
    receipts.resize(limit);
    next = SignCursor(call.context, "erasures", receipts.back().id.ToString());
  }
  return ListDocument(call.request, next, [&](json::Writer& writer) {
    for (const auto& receipt : receipts) {
      Render(writer, call.store, {.finished = true, .receipt = receipt}, call.context.p2_grade);
    }
  });
}

// Hidden when this answers; the job destroys it.
Result<Response> DestroyMessage(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<MessageId>(call.request, "message"));
  MAYFLY_RETURN_IF_ERROR(call.store.erasure().DestroyMessage(id, call.actor, call.now));
  Response response;
  response.status = 204;
  return response;
}

Response HeldDocument(const store::Erasure::Held& held) {
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Key("held").Uint(held.messages);
    TimeField(writer, "since", held.since);
    TimeField(writer, "destroyed_at",
              held.since ? std::optional(*held.since + std::chrono::hours(24)) : std::nullopt);
    writer.EndObject();
  });
}

Result<Response> GetHeld(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(const auto held, call.store.erasure().HeldOf(id));
  return HeldDocument(held);
}

Result<Response> DecideHeld(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<AccountId>(call.request, "account"));
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body, ParseObject(call.request, {"decision"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string decision, body.String("decision"));
  if (decision != "destroy" && decision != "restore") {
    return Fail(ErrorCode::kInvalidArgument, "It is destroy or restore.", "/decision");
  }
  auto done = decision == "destroy" ? call.store.erasure().DestroyHeld(id, call.actor, call.now)
                                    : call.store.erasure().RestoreHeld(id, call.actor, call.now);
  if (!done) return Fail(std::move(done).error());
  MAYFLY_ASSIGN_OR_RETURN(const auto held, call.store.erasure().HeldOf(id));
  return HeldDocument(held);
}

}  // namespace

std::vector<Route> ErasureRoutes(ApiContext& context) {
  Route erase;
  erase.method = "POST";
  erase.pattern = "/v1/erasures";
  erase.scope = Scope::kPrivacyErase;
  erase.budget = Budget::kPrivacy;
  erase.body_bytes_max = 4096;
  erase.handler = WithStore(context, Erase);
  Route get;
  get.method = "GET";
  get.pattern = "/v1/erasures/{erasure}";
  get.any_scope = Scope::kPrivacyErase | Scope::kAuditRead;
  get.handler = WithStore(context, Get);
  Route list = get;
  list.pattern = "/v1/erasures";
  list.query = {"limit", "cursor"};
  list.handler = WithStore(context, List);
  Route destroy;
  destroy.method = "DELETE";
  destroy.pattern = "/v1/messages/{message}";
  destroy.scope = Scope::kInboxManage;
  destroy.budget = Budget::kPrivacy;
  destroy.handler = WithStore(context, DestroyMessage);
  Route held = get;
  held.pattern = "/v1/accounts/{account}/withdrawals";
  held.any_scope = Scope::kInboxManage | Scope::kPrivacyErase;
  held.handler = WithStore(context, GetHeld);
  Route decide = held;
  decide.method = "POST";
  decide.budget = Budget::kPrivacy;
  decide.body_bytes_max = 4096;
  decide.handler = WithStore(context, DecideHeld);
  return {erase, list, get, destroy, held, decide};
}

}  // namespace mayfly::service::api
