#include "service/api/handlers/search_handlers.h"

#include <string>
#include <utility>

#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

using store::search::Query;
using store::search::QueryText;
using store::search::Search;

Result<Query> ReadQuery(const Request& request) {
  const std::string* text = request.Query("q");
  auto query = Query::Parse(QueryText(text != nullptr ? *text : std::string()));
  if (!query) {
    Error error = std::move(query).error();
    error.field = "?q";
    return Fail(std::move(error));
  }
  return query;
}

Result<std::optional<TimePoint>> ReadTime(const Request& request, const std::string& name) {
  const std::string* text = request.Query(name);
  if (text == nullptr) return std::optional<TimePoint>();
  const auto time = ParseRfc3339(*text);
  if (!time) {
    return Fail(ErrorCode::kInvalidArgument, "It is a time such as 2026-03-05T10:00:00Z.",
                "?" + name);
  }
  return time;
}

// A filter, and whether its values can select anything at all.
struct SearchFilter {
  Search::Filter filter;
  bool selects_nothing = false;
};
Result<SearchFilter> ReadFilter(const Request& request) {
  SearchFilter read;
  if (const std::string* account = request.Query("account")) {
    read.filter.account = AccountId::Parse(*account);
    read.selects_nothing = !read.filter.account;
  }
  if (const std::string* conversation = request.Query("conversation")) {
    read.filter.conversation = ConversationId::Parse(*conversation);
    read.selects_nothing = read.selects_nothing || !read.filter.conversation;
  }
  MAYFLY_ASSIGN_OR_RETURN(read.filter.sent_from, ReadTime(request, "sent_from"));
  MAYFLY_ASSIGN_OR_RETURN(read.filter.sent_before, ReadTime(request, "sent_before"));
  return read;
}

// What a cursor belongs to. Only its keyed hash leaves this process.
std::string ListOf(const Request& request) {
  std::string list = "search";
  for (const char* name : {"account", "conversation", "sent_from", "sent_before", "q"}) {
    if (const std::string* value = request.Query(name)) {
      list += std::string(" ") + name + "=" + std::to_string(value->size()) + ":" + *value;
    }
  }
  return list;
}

Result<Response> Find(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const Query query, ReadQuery(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const SearchFilter filter, ReadFilter(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  std::string list = ListOf(call.request);
  MAYFLY_ASSIGN_OR_RETURN(const std::string after,
                          CursorPosition(call.context, call.request, list));
  Search::Page page;
  if (!filter.selects_nothing) {
    MAYFLY_ASSIGN_OR_RETURN(const store::Look look,
                            Recorded(call.store.audit().LookAtSearch(call.actor, call.now)));
    MAYFLY_ASSIGN_OR_RETURN(
        page, call.store.search().Find(look, query, filter.filter, after, limit, call.now));
  }
  const std::string next = page.next.empty() ? "" : SignCursor(call.context, list, page.next);
  WipeString(list);
  return ListDocument(
      call.request, next,
      [&](json::Writer& writer) {
        for (const Message& message : page.items) Render(writer, message);
      },
      RenderedBytes(page.items),
      [&](json::Writer& writer) { TimeField(writer, "reaches_back_to", page.reaches_back_to); });
}

}  // namespace

std::vector<Route> SearchRoutes(ApiContext& context) {
  Route find;
  find.method = "GET";
  find.pattern = "/v1/search";
  find.scope = Scope::kInboxRead;
  find.slow = true;  // it may read many dates, or wait until words are written out
  find.query = {"q", "account", "conversation", "sent_from", "sent_before", "limit", "cursor"};
  find.handler = WithStore(context, Find);
  return {find};
}

}  // namespace mayfly::service::api
