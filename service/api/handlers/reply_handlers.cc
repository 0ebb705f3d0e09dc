#include "service/api/handlers/reply_handlers.h"

#include <algorithm>
#include <string>
#include <utility>

#include "connectors/graphemes.h"
#include "connectors/mentions.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

constexpr std::size_t kKeyBytesMax = 255;

bool IsIdempotencyKey(const std::string& key) {
  return !key.empty() && key.size() <= kKeyBytesMax &&
         std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// What the platform would refuse is refused before it is queued, while its writer still looks.
Status CheckText(const std::string& text, const connectors::Capabilities& capabilities) {
  const auto refuse = [](std::string why) {
    return Fail(ErrorCode::kInvalidArgument, std::move(why), "/text");
  };
  if (text.empty()) return refuse("It must not be empty.");
  const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\r' && c != '\t') || byte == 0x7f;
  });
  if (!plain) return refuse("It must not hold control characters.");
  if (capabilities.text_bytes_max > 0 && text.size() > capabilities.text_bytes_max) {
    return refuse("The platform takes at most " + std::to_string(capabilities.text_bytes_max) +
                  " bytes.");
  }
  if (capabilities.text_graphemes_max > 0 &&
      connectors::CountGraphemes(text) > capabilities.text_graphemes_max) {
    return refuse("The platform takes at most " + std::to_string(capabilities.text_graphemes_max) +
                  " characters.");
  }
  return {};
}

// An account of which it is certain that nothing can be sent. Its reply would only wait to fail.
Response CannotSend(const Request& request, const Account& account, const Error& error) {
  return Problem(request, error, [&](json::Writer& writer) {
    writer.Field("account", account.id.ToString());
    writer.Field("since", FormatRfc3339(account.state_since));
  });
}

// The mentions in `text` that would make somebody a recipient who is not in the conversation.
std::vector<connectors::Mention> AddedRecipients(const std::string& text,
                                                 const Conversation& conversation,
                                                 const Account& account) {
  std::vector<ContactHandle> known = {ContactHandle(account.own_handle)};
  for (const Contact& contact : conversation.participants) known.push_back(contact.handle);
  // Handles on such platforms end with their server (connectors/connector.h).
  const std::size_t at = account.own_handle.rfind('@');
  const std::string own_host =
      at == std::string::npos ? std::string() : account.own_handle.substr(at + 1);
  return connectors::MentionsOfOthers(text, known, own_host);
}

// Where they stand and never who they are: a problem document may end in a log.
Response AddsRecipient(const Request& request, const std::vector<connectors::Mention>& mentions,
                       const Error& error) {
  return Problem(request, error, [&](json::Writer& writer) {
    writer.Key("mentions").StartArray();
    for (const connectors::Mention& mention : mentions) {
      writer.StartObject();
      writer.Key("offset").Uint(mention.offset);
      writer.Key("length").Uint(mention.length);
      writer.EndObject();
    }
    writer.EndArray();
  });
}

Response ConversationMoved(const Call& call, ConversationId id, const MessageId& after,
                           const Error& error) {
  const auto newer = call.store.outbox().NewerThan(id, after, call.now);
  if (!newer) return Problem(call.request, newer.error());
  return Problem(call.request, error, [&](json::Writer& writer) {
    writer.Key("newer_message_ids").StartArray();
    for (const MessageId& message : *newer) writer.String(message.ToString());
    writer.EndArray();
  });
}

Result<Response> Post(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ConversationId>(call.request, "conversation"));
  const std::string* key = call.request.Header("idempotency-key");
  if (key == nullptr || !IsIdempotencyKey(*key)) {
    return Fail(ErrorCode::kInvalidArgument, "A key is 1 to 255 visible ASCII characters.",
                "Idempotency-Key");
  }
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"text", "after_message_id"}));
  MAYFLY_ASSIGN_OR_RETURN(std::string text, body.String("text"));
  MAYFLY_ASSIGN_OR_RETURN(const std::string after_text, body.String("after_message_id"));
  const auto after = MessageId::Parse(after_text);
  if (!after) {
    return Fail(ErrorCode::kInvalidArgument, "It is not the id of a message.", "/after_message_id");
  }

  // The account decides what can be sent; who writes an answer has the conversation open.
  auto& conversations = call.store.conversations();
  MAYFLY_ASSIGN_OR_RETURN(const bool exists, conversations.Exists(id, call.now));
  if (!exists) return Fail(ErrorCode::kNotFound, "no such conversation");
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, id, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const Conversation conversation, conversations.Get(look, id, call.now));
  MAYFLY_ASSIGN_OR_RETURN(const Account account, call.store.accounts().Get(conversation.account));
  const connectors::ConnectorInfo* info = call.context.find_connector(account.platform);
  if (info == nullptr) return Fail(ErrorCode::kInternal, "account without a connector");
  MAYFLY_RETURN_IF_ERROR(CheckText(text, info->capabilities));

  std::vector<connectors::Mention> added;
  if (info->capabilities.mentions_deliver) added = AddedRecipients(text, conversation, account);

  store::OutboxQueue::NewReply reply;
  if (!added.empty()) {
    reply.refusal = Error{.code = ErrorCode::kAddsRecipient,
                          .message = "The text mentions somebody who is not in the conversation.",
                          .field = "/text"};
  }
  reply.conversation = id;
  reply.after_message = *after;
  reply.text = MessageBody(std::move(text));
  reply.idempotency_key = *key;
  if (!call.context.clock->IsCertain()) {
    return Fail(ErrorCode::kUnavailable,
                "This machine's clock is in doubt: nothing can be sent until it is settled.");
  }
  const auto queued = call.store.outbox().Enqueue(reply, call.actor, call.now);
  if (!queued && queued.error().code == ErrorCode::kConversationMoved) {
    return ConversationMoved(call, id, *after, queued.error());
  }
  if (!queued && queued.error().code == ErrorCode::kAddsRecipient) {
    return AddsRecipient(call.request, added, queued.error());
  }
  if (!queued && (queued.error().code == ErrorCode::kCredentialDead ||
                  queued.error().code == ErrorCode::kMissingPrivilege)) {
    return CannotSend(call.request, account, queued.error());
  }
  if (!queued) return Fail(queued.error());
  call.context.runtime->ReplyQueued(queued->reply.id);
  Response response = Document(202, [&](json::Writer& writer) { Render(writer, queued->reply); });
  response.With("Location", "/v1/replies/" + queued->reply.id.ToString());
  if (queued->replayed) response.With("Idempotency-Replayed", "true");
  return response;
}

Result<Response> Get(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ReplyId>(call.request, "reply"));
  MAYFLY_ASSIGN_OR_RETURN(const ConversationId conversation,
                          call.store.outbox().ConversationOf(id, call.now));
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, conversation, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const Reply reply, call.store.outbox().Get(look, id, call.now));
  return Document(200, [&](json::Writer& writer) { Render(writer, reply); })
      .With("Sunset", FormatHttpDate(reply.expires_at));
}

// Those that are not final: what a thread shows below its messages.
Result<Response> PendingOfConversation(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const auto id, PathId<ConversationId>(call.request, "conversation"));
  MAYFLY_ASSIGN_OR_RETURN(const bool exists, call.store.conversations().Exists(id, call.now));
  if (!exists) return Fail(ErrorCode::kNotFound, "no such conversation");
  MAYFLY_ASSIGN_OR_RETURN(const store::Look look, Recorded(call.store.audit().LookAtConversation(
                                                      call.actor, id, call.now)));
  MAYFLY_ASSIGN_OR_RETURN(const auto replies, call.store.outbox().PendingOf(look, id, call.now));
  return ListDocument(call.request, "", [&](json::Writer& writer) {
    for (const Reply& reply : replies) Render(writer, reply);
  });
}

}  // namespace

std::vector<Route> ReplyRoutes(ApiContext& context) {
  Route post;
  post.method = "POST";
  post.pattern = "/v1/conversations/{conversation}/replies";
  post.scope = Scope::kInboxReply;
  post.body_bytes_max = 64u << 10;
  post.budget = Budget::kReplying;
  post.required_headers = {"Idempotency-Key"};
  post.handler = WithStore(context, Post);
  Route pending;
  pending.method = "GET";
  pending.pattern = post.pattern;
  pending.scope = Scope::kInboxRead;
  pending.handler = WithStore(context, PendingOfConversation);
  Route get;
  get.method = "GET";
  get.pattern = "/v1/replies/{reply}";
  get.scope = Scope::kInboxRead;
  get.handler = WithStore(context, Get);
  return {post, pending, get};
}

}  // namespace mayfly::service::api
