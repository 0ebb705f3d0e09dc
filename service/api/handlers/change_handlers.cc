#include "service/api/handlers/change_handlers.h"

#include <string>
#include <utility>

#include "service/api/change_feed.h"
#include "service/api/event_streams.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"
#include "store/expiry/visibility.h"

namespace mayfly::service::api {
namespace {

constexpr const char* kList = "changes";
constexpr std::size_t kEventsAtOnce = 100;

// The id of what changed stands under the name of what it is.
const char* NounOf(store::ChangeKind kind) {
  switch (kind) {
    case store::ChangeKind::kMessageReceived:
    case store::ChangeKind::kMessageEdited:
    case store::ChangeKind::kMessageWithdrawn:
    case store::ChangeKind::kAttachmentUpdated:
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

void RenderReset(json::Writer& writer, TimePoint now) {
  writer.StartObject().Field("kind", "reset");
  writer.Field("at", FormatRfc3339(now)).EndObject();
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
      RenderReset(writer, call.now);
    }
    for (const ChangeFeed::Entry& entry : page.entries) Render(writer, entry);
    writer.EndArray();
    writer.Field("next_cursor", SignCursor(call.context, kList, page.next));
    writer.Field("has_more", page.has_more);
    writer.EndObject();
  });
}

// What one stream tells, from a position on. Asked by one connection, when that can take more; so a
// slow reader falls behind in the feed, and at worst is told to read everything again.
class Teller {
 public:
  Teller(const ApiContext& context, std::string token, std::string position)
      : context_(context), token_(std::move(token)), position_(std::move(position)) {}

  void operator()(EventStream& stream) {
    const TimePoint now = context_.clock->Now();
    if (!begun_ && !Begin(stream, now)) return;
    if (!store::IsVisible(token_expires_at_, now)) return stream.End();
    const ChangeFeed::Page page = context_.changes->Read(position_, kEventsAtOnce);
    if (page.reset)
      Push(stream, page.next, "reset", [&](auto& writer) { RenderReset(writer, now); });
    for (const ChangeFeed::Entry& entry : page.entries) {
      Push(stream, ChangeFeed::PositionAfter(page, entry), store::ToString(entry.change.kind),
           [&](auto& writer) { Render(writer, entry); });
    }
    position_ = page.next;
  }

 private:
  // Not before the stream is among those that a revocation ends: one that came in between is seen
  // here. The client learns at once from where to go on, though nothing may happen for long.
  bool Begin(EventStream& stream, TimePoint now) {
    const auto token = context_.store->tokens().Find(token_, now);
    if (!token) {
      stream.End();
      return false;
    }
    token_expires_at_ = token->expires_at;
    begun_ = true;
    return stream.Push({.id = SignCursor(context_, kList, position_), .silent = true});
  }

  template <class Write>
  void Push(EventStream& stream, const std::string& position, std::string name,
            const Write& write) {
    Event event{.id = SignCursor(context_, kList, position), .name = std::move(name)};
    {
      json::Writer writer(&event.data);
      write(writer);
    }
    stream.Push(event);
  }

  const ApiContext& context_;
  const std::string token_;  // its id
  std::string position_;
  TimePoint token_expires_at_{};
  bool begun_ = false;
};

// The position that a client comes back with counts more than the one in the address, which it
// repeats unchanged.
Result<std::string> StreamPosition(const Call& call) {
  const std::string* last = call.request.Header("last-event-id");
  if (last != nullptr && !last->empty()) return OpenCursor(call.context, kList, *last);
  return CursorPosition(call.context, call.request, kList, "since");
}

Result<Response> Stream(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(std::string position, StreamPosition(call));
  if (call.context.changes == nullptr || call.context.streams == nullptr) {
    return Fail(ErrorCode::kUnavailable, "no feed");
  }
  if (position.empty()) position = call.context.changes->Read("", 1).next;
  auto stream = call.context.streams->Open(
      call.actor.id, Teller(call.context, call.actor.id, std::move(position)));
  if (!stream && stream.error().code == ErrorCode::kRateLimited) {
    return Problem(call.request, 429, "rate-limited", "Too many streams of events with this token.")
        .With("Retry-After", "60");
  }
  if (!stream) return Fail(stream.error());
  Response response;
  response.events = *std::move(stream);
  // A reverse proxy that collects an answer before it passes it on would collect for ever.
  return response.With("X-Accel-Buffering", "no");
}

}  // namespace

std::vector<Route> ChangeRoutes(ApiContext& context) {
  Route list;
  list.method = "GET";
  list.pattern = "/v1/changes";
  list.scope = Scope::kInboxRead;
  list.query = {"since", "limit"};
  list.handler = WithStore(context, List);
  Route stream = list;
  stream.pattern = "/v1/events";
  stream.query = {"since"};
  stream.handler = WithStore(context, Stream);
  return {list, stream};
}

}  // namespace mayfly::service::api
