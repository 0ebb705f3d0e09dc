#include "service/api/handlers/change_handlers.h"

#include <string>

#include "service/api/change_feed.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

constexpr const char* kList = "changes";

// The id of what changed stands under the name of what it is.
const char* NounOf(store::ChangeKind kind) {
  switch (kind) {
    case store::ChangeKind::kMessageReceived:
    case store::ChangeKind::kMessageEdited:
    case store::ChangeKind::kMessageWithdrawn:
      return "message";
    case store::ChangeKind::kMessageExpired:
      return "day";
    case store::ChangeKind::kConversationUpdated:
      return "conversation";
    case store::ChangeKind::kReplyUpdated:
      return "reply";
    case store::ChangeKind::kAccountState:
    case store::ChangeKind::kCoverageHole:
      return "account";
  }
  return "";
}

void Render(json::Writer& writer, const ChangeFeed::Entry& entry) {
  writer.StartObject();
  writer.Field("kind", store::ToString(entry.change.kind));
  writer.Key("sequence").Uint(entry.sequence);
  writer.Field("at", FormatRfc3339(entry.at));
  writer.Field(NounOf(entry.change.kind), entry.change.id);
  if (entry.change.conversation) {
    writer.Field("conversation", entry.change.conversation->ToString());
  }
  writer.EndObject();
}

// Not a look at anybody's messages: ids tell nothing by themselves, and each read of what they name
// is recorded.
Result<Response> List(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t limit, PageLimit(call.request));
  MAYFLY_ASSIGN_OR_RETURN(const std::string after,
                          CursorPosition(call.context, call.request, kList, "since"));
  if (call.context.changes == nullptr) return Fail(ErrorCode::kUnavailable, "no feed");
  const ChangeFeed::Page page = call.context.changes->Read(after, limit);
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Key("items").StartArray();
    if (page.reset) {
      writer.StartObject().Field("kind", "reset");
      writer.Field("at", FormatRfc3339(call.now)).EndObject();
    }
    for (const ChangeFeed::Entry& entry : page.entries) Render(writer, entry);
    writer.EndArray();
    writer.Field("next_cursor", SignCursor(call.context, kList, page.next));
    writer.Field("has_more", page.has_more);
    writer.EndObject();
  });
}

}  // namespace

std::vector<Route> ChangeRoutes(ApiContext& context) {
  Route list;
  list.method = "GET";
  list.pattern = "/v1/changes";
  list.scope = Scope::kInboxRead;
  list.query = {"since", "limit"};
  list.handler = WithStore(context, List);
  return {list};
}

}  // namespace mayfly::service::api
