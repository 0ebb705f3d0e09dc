#include "service/api/handlers/message_handlers.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

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

// Reads on as the client takes it. Each piece is looked up anew: what is destroyed in between ends
// the answer. The look at its conversation is recorded already.
class AttachmentSource final : public BodySource {
 public:
  AttachmentSource(const Call& call, store::Look look, const MessageId& message,
                   std::uint16_t number, ByteRange range)
      : store_(call.store),
        clock_(*call.context.clock),
        look_(std::move(look)),
        message_(message),
        number_(number),
        range_(range) {}

  Result<std::string> Next() override {
    MAYFLY_ASSIGN_OR_RETURN(
        std::string piece,
        store_.attachments().Read(look_, message_, number_, range_.first, clock_.Now()));
    if (piece.size() > range_.bytes) piece.resize(range_.bytes);
    range_.first += piece.size();
    range_.bytes -= piece.size();
    return piece;
  }

 private:
  store::Store& store_;
  const Clock& clock_;
  const store::Look look_;
  const MessageId message_;
  const std::uint16_t number_;
  ByteRange range_;
};

// Always to be saved, never to be shown by the browser by itself: whatever it holds runs nowhere.
Result<Response> GetAttachment(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<MessageId>(call.request, "message"));
  const auto number = ParseNumber(call.request.captures.at("number"));
  if (!number || *number < 1 || *number > kAttachmentsMax) {
    return Fail(ErrorCode::kNotFound, "no such number");
  }
  MAYFLY_ASSIGN_OR_RETURN(const ConversationId conversation,
                          call.store.conversations().ConversationOf(id, call.now));
  MAYFLY_ASSIGN_OR_RETURN(store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                call.actor, conversation, call.now)));
  const auto which = static_cast<std::uint16_t>(*number);
  MAYFLY_ASSIGN_OR_RETURN(const Attachment attachment,
                          call.store.attachments().Get(look, id, which, call.now));
  if (attachment.state != AttachmentState::kKept) {
    return Fail(ErrorCode::kNotFound, "It is not kept; its message says why.");
  }
  // What is kept never changes: its name is as good as its bytes.
  Response named;
  named.body = id.ToString() + "/" + std::to_string(which);
  const std::string etag = *Tagged(call.context, std::move(named)).Header("ETag");
  Response response;
  response.With("ETag", etag).With("Sunset", FormatHttpDate(StartOf(id.day)));
  if (MatchesNone(call.request, etag)) {
    response.status = 304;
    return response;
  }
  const WantedRange wanted = ParseRange(call.request, attachment.bytes, etag);
  const std::string size = "/" + std::to_string(attachment.bytes);
  if (!wanted.satisfiable) {
    return Problem(call.request, 416, "range-not-satisfiable", "There are not so many bytes.")
        .With("Content-Range", "bytes *" + size);
  }
  const ByteRange range = wanted.range.value_or(ByteRange{.first = 0, .bytes = attachment.bytes});
  if (wanted.range) {
    response.status = 206;
    response.With("Content-Range", "bytes " + std::to_string(range.first) + "-" +
                                       std::to_string(range.first + range.bytes - 1) + size);
  }
  response.With("Accept-Ranges", "bytes");
  response.With("Content-Disposition", DispositionOf(attachment));
  response.With("Content-Security-Policy", "sandbox; default-src 'none'");
  response.With("Cross-Origin-Resource-Policy", "same-origin");
  response.content_type = "application/octet-stream";
  response.source_bytes = range.bytes;
  response.source = std::make_shared<AttachmentSource>(call, std::move(look), id, which, range);
  return response;
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
  Route attachment;
  attachment.method = "GET";
  attachment.pattern = "/v1/messages/{message}/attachments/{number}";
  attachment.scope = Scope::kInboxRead;
  attachment.handler = WithStore(context, GetAttachment);
  return {list, get, attachment};
}

}  // namespace mayfly::service::api
