#include "service/api/handlers/conversation_handlers.h"

#include <string>
#include <utility>

#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

Response ConversationDocument(const Call& call, const Conversation& conversation) {
  return Tagged(call.context,
                Document(200, [&](json::Writer& writer) { Render(writer, conversation); }),
                conversation.revision)
      .With("Sunset", FormatHttpDate(conversation.expires_at));
}

// A filter, and its spelling for the cursor's signature. A value that nothing can have selects
// nothing.
struct ListFilter {
  store::Conversations::Filter filter;
  bool selects_nothing = false;
  std::string list = "conversations";
};

Result<ListFilter> ReadFilter(const Call& call) {
  const Request& request = call.request;
  ListFilter read;
  if (const std::string* platform = request.Query("platform")) {
    MAYFLY_ASSIGN_OR_RETURN(const auto accounts, call.store.accounts().List());
    read.filter.accounts.emplace();
    for (const Account& account : accounts) {
      if (account.platform == *platform) read.filter.accounts->insert(account.id);
    }
    read.selects_nothing = read.filter.accounts->empty();
    read.list += " platform=" + *platform;
  }
  if (const std::string* account = request.Query("account")) {
    read.filter.account = AccountId::Parse(*account);
    read.selects_nothing = read.selects_nothing || !read.filter.account;
    read.list += " account=" + *account;
  }
  if (const std::string* status = request.Query("status")) {
    read.filter.status = ParseConversationStatus(*status);
    read.selects_nothing = read.selects_nothing || !read.filter.status;
    read.list += " status=" + *status;
  }
  if (const std::string* before = request.Query("expires_before")) {
    read.filter.expires_before = ParseRfc3339(*before);
    if (!read.filter.expires_before) {
      return Fail(ErrorCode::kInvalidArgument, "It is a time such as 2026-03-05T10:00:00Z.",
                  "?expires_before");
    }
    read.list += " expires_before=" + FormatRfc3339(*read.filter.expires_before);
  }
  MAYFLY_ASSIGN_OR_RETURN(read.filter.unread, QueryBool(request, "unread"));
  if (read.filter.unread) read.list += *read.filter.unread ? " unread" : " read";
  return read;
}

Result<Response> List(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const ListFilter filter, ReadFilter(call));
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::string after,
                          CursorPosition(call.context, call.request, filter.list));
  store::Conversations::InboxPage page;
  if (!filter.selects_nothing) {
    MAYFLY_ASSIGN_OR_RETURN(const store::Look look,
                            Recorded(call.store.audit().LookAtInbox(call.actor, call.now)));
    MAYFLY_ASSIGN_OR_RETURN(
        page, call.store.conversations().List(look, filter.filter, after, limit, call.now));
  }
  const std::string next =
      page.next.empty() ? "" : SignCursor(call.context, filter.list, page.next);
  return ListDocument(call.request, next, [&](json::Writer& writer) {
    for (const Conversation& item : page.items) Render(writer, item);
  });
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ConversationId>(call.request, "conversation"));
  MAYFLY_ASSIGN_OR_RETURN(const bool exists, call.store.conversations().Exists(id, call.now));
  if (!exists) return Fail(ErrorCode::kNotFound, "no such conversation");
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, id, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const Conversation conversation,
                          call.store.conversations().Get(look, id, call.now));
  return ConversationDocument(call, conversation);
}

Result<Response> Patch(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ConversationId>(call.request, "conversation"));
  MAYFLY_ASSIGN_OR_RETURN(const IfMatch match, ParseIfMatch(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body, ParseObject(call.request, {"status", "unread"}));
  store::Conversations::Patch patch;
  MAYFLY_ASSIGN_OR_RETURN(const auto status, body.OptString("status"));
  if (status) {
    patch.status = ParseConversationStatus(*status);
    if (!patch.status) {
      return Fail(ErrorCode::kInvalidArgument, "A status is open or closed.", "/status");
    }
  }
  MAYFLY_ASSIGN_OR_RETURN(patch.unread, body.OptBool("unread"));
  MAYFLY_ASSIGN_OR_RETURN(
      const Conversation conversation,
      call.store.conversations().Update(id, patch, match.revision, call.actor, call.now));
  // Names are for those who may read; whoever may only manage learns the new tag.
  Response response = ConversationDocument(call, conversation);
  if (call.actor.Has(Scope::kInboxRead)) return response;
  WipeString(response.body);
  response.status = 204;
  return response;
}

}  // namespace

std::vector<Route> ConversationRoutes(ApiContext& context) {
  Route list;
  list.method = "GET";
  list.pattern = "/v1/conversations";
  list.scope = Scope::kInboxRead;
  list.query = {"account", "platform", "status", "unread", "expires_before", "limit", "cursor"};
  list.handler = WithStore(context, List);
  Route get;
  get.method = "GET";
  get.pattern = "/v1/conversations/{conversation}";
  get.scope = Scope::kInboxRead;
  get.handler = WithStore(context, Get);
  Route patch;
  patch.method = "PATCH";
  patch.pattern = get.pattern;
  patch.scope = Scope::kInboxManage;
  patch.body_bytes_max = 4096;
  patch.budget = Budget::kReplying;
  patch.required_headers = {"If-Match"};
  patch.handler = WithStore(context, Patch);
  return {list, get, patch};
}

}  // namespace mayfly::service::api
