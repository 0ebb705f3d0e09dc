#include "service/api/handlers/rights_handlers.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "service/api/handlers/handler_support.h"
#include "service/api/handlers/person_input.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

using store::HeldPerson;
using store::Restriction;

Result<std::vector<HeldPerson>> FindPeople(const Call& call, const json::Value& body) {
  MAYFLY_ASSIGN_OR_RETURN(const auto message, OptId<MessageId>(body, "message_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto conversation, OptId<ConversationId>(body, "conversation_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto account, OptId<AccountId>(body, "account_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto platform_id, body.OptString("platform_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto handle, body.OptString("handle"));
  const int ways =
      message.has_value() + conversation.has_value() + platform_id.has_value() + handle.has_value();
  if (ways != 1 || account.has_value() != (platform_id || handle)) {
    return Fail(ErrorCode::kInvalidArgument,
                "Give one of message_id, conversation_id, or account_id with platform_id or "
                "handle.");
  }
  const store::Rights& rights = call.store.rights();
  if (message) return rights.FindOf(*message, call.actor, call.now);
  if (conversation) return rights.FindIn(*conversation, call.actor, call.now);
  if (platform_id) {
    MAYFLY_RETURN_IF_ERROR(CheckLine(*platform_id, kPlatformIdBytesMax, "/platform_id"));
    return rights.FindById(*account, PlatformId(*platform_id), call.actor, call.now);
  }
  MAYFLY_RETURN_IF_ERROR(CheckLine(*handle, kPlatformIdBytesMax, "/handle"));
  return rights.FindByHandle(*account, ContactHandle(*handle), call.actor, call.now);
}

Result<Response> Lookup(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"message_id", "conversation_id", "account_id",
                                                     "platform_id", "handle"}));
  MAYFLY_ASSIGN_OR_RETURN(const auto people, FindPeople(call, body));
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const HeldPerson& held : people) Render(writer, held);
  });
}

// In force when this answers.
Result<Response> Restrict(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"kind", "message_id", "conversation_id",
                                                     "account_id", "platform_id"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string word, body.String("kind"));
  const auto kind = store::ParseRestrictionKind(word);
  if (!kind) {
    return Fail(ErrorCode::kInvalidArgument, "It is restriction or objection.", "/kind");
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto person, ReadPerson(call, body));
  MAYFLY_ASSIGN_OR_RETURN(const Restriction restriction,
                          call.store.rights().Restrict(person, *kind, call.actor, call.now));
  return Document(200, [&](json::Writer& writer) { Render(writer, restriction); })
      .With("Location", "/v1/restrictions/" + restriction.id.ToString());
}

Result<Response> List(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::string position,
                          CursorPosition(call.context, call.request, "restrictions"));
  std::vector<Restriction> list = call.store.rights().List(call.now);
  if (!position.empty()) {
    // Where one stood that was lifted since: from the first that came after it.
    const auto split = position.find(' ');
    const auto since = ParseRfc3339(position.substr(0, split));
    const auto id = split == std::string::npos ? std::nullopt
                                               : RestrictionId::Parse(position.substr(split + 1));
    if (!since || !id) return Fail(ErrorCode::kCursorInvalid, "not a restriction");
    std::erase_if(list, [&](const Restriction& one) {
      return std::pair(one.since, one.id) <= std::pair(*since, *id);
    });
  }
  std::string next;
  if (list.size() > limit) {
    list.resize(limit);
    next = SignCursor(call.context, "restrictions",
                      FormatRfc3339(list.back().since) + " " + list.back().id.ToString());
  }
  return ListDocument(call.request, next, [&](json::Writer& writer) {
    for (const Restriction& restriction : list) Render(writer, restriction);
  });
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<RestrictionId>(call.request, "restriction"));
  MAYFLY_ASSIGN_OR_RETURN(const Restriction restriction, call.store.rights().Get(id, call.now));
  return Document(200, [&](json::Writer& writer) { Render(writer, restriction); });
}

Result<Response> Lift(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<RestrictionId>(call.request, "restriction"));
  MAYFLY_RETURN_IF_ERROR(call.store.rights().Lift(id, call.actor, call.now));
  Response response;
  response.status = 204;
  return response;
}

}  // namespace

std::vector<Route> RightsRoutes(ApiContext& context) {
  Route lookup;
  lookup.method = "POST";  // so that what people gave us stands in no address
  lookup.pattern = "/v1/people/lookup";
  lookup.scope = Scope::kPrivacyAccess;
  lookup.budget = Budget::kPrivacy;
  lookup.slow = true;  // it reads every date on which they are
  lookup.body_bytes_max = 4096;
  lookup.handler = WithStore(context, Lookup);
  Route restrict;
  restrict.method = "POST";
  restrict.pattern = "/v1/restrictions";
  restrict.scope = Scope::kPrivacyRestrict;
  restrict.budget = Budget::kPrivacy;
  restrict.body_bytes_max = 4096;
  restrict.handler = WithStore(context, Restrict);
  Route list;
  list.method = "GET";
  list.pattern = restrict.pattern;
  list.scope = Scope::kPrivacyRestrict;
  list.query = {"limit", "cursor"};
  list.handler = WithStore(context, List);
  Route get;
  get.method = "GET";
  get.pattern = "/v1/restrictions/{restriction}";
  get.scope = Scope::kPrivacyRestrict;
  get.handler = WithStore(context, Get);
  Route lift;
  lift.method = "DELETE";
  lift.pattern = get.pattern;
  lift.scope = Scope::kPrivacyRestrict;
  lift.budget = Budget::kPrivacy;
  lift.handler = WithStore(context, Lift);
  return {lookup, restrict, list, get, lift};
}

}  // namespace mayfly::service::api
