#include "service/api/handlers/message_handlers.h"

#include <string>

#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

Result<Response> ListOfConversation(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ConversationId>(call.request, "conversation"));
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  const std::string list = "messages " + id.ToString();
  MAYFLY_ASSIGN_OR_RETURN(const std::string after,
                          CursorPosition(call.context, call.request, list));
  MAYFLY_ASSIGN_OR_RETURN(const bool exists, call.store.conversations().Exists(id, call.now));
  if (!exists) return Fail(ErrorCode::kNotFound, "no such conversation");
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, id, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const auto page,
                          call.store.conversations().Messages(look, id, after, limit, call.now));
  const std::string next = page.next.empty() ? "" : SignCursor(call.context, list, page.next);
  const auto write = [&](json::Writer& writer) {
    for (const Message& message : page.items) Render(writer, message);
  };
  return ListDocument(call.request, next, write, RenderedBytes(page.items));
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<MessageId>(call.request, "message"));
  MAYFLY_ASSIGN_OR_RETURN(const ConversationId conversation,
                          call.store.conversations().ConversationOf(id, call.now));
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, conversation, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const Message message,
                          call.store.conversations().GetMessage(look, id, call.now));
  return Document(200, [&](json::Writer& writer) { Render(writer, message); })
      .With("Sunset", FormatHttpDate(message.expires_at));
}

}  // namespace

std::vector<Route> MessageRoutes(ApiContext& context) {
  Route list;
  list.method = "GET";
  list.pattern = "/v1/conversations/{conversation}/messages";
  list.scope = Scope::kInboxRead;
  list.query = {"limit", "cursor"};
  list.handler = WithStore(context, ListOfConversation);
  Route get;
  get.method = "GET";
  get.pattern = "/v1/messages/{message}";
  get.scope = Scope::kInboxRead;
  get.handler = WithStore(context, Get);
  return {list, get};
}

}  // namespace mayfly::service::api
