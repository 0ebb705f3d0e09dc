// How a person is named in the body of a request: by one of their messages, by the conversation
// with them alone, or by the platform's id.
#ifndef MAYFLY_SERVICE_API_HANDLERS_PERSON_INPUT_H_
#define MAYFLY_SERVICE_API_HANDLERS_PERSON_INPUT_H_

#include <cstddef>
#include <optional>
#include <string>

#include "service/api/handlers/handler_support.h"
#include "service/api/input.h"

namespace mayfly::service::api {

inline constexpr std::size_t kPlatformIdBytesMax = 1024;

// An id of ours in the body. Malformed is refused, because there it is no address.
template <class Id>
Result<std::optional<Id>> OptId(const json::Value& body, const std::string& name) {
  MAYFLY_ASSIGN_OR_RETURN(const auto text, body.OptString(name));
  if (!text) return std::optional<Id>();
  const auto id = Id::Parse(*text);
  if (!id) return Fail(ErrorCode::kInvalidArgument, "This is not such an id.", "/" + name);
  return std::optional<Id>(*id);
}

inline Result<store::Erasure::Person> ReadPerson(const Call& call, const json::Value& body) {
  MAYFLY_ASSIGN_OR_RETURN(const auto message, OptId<MessageId>(body, "message_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto conversation, OptId<ConversationId>(body, "conversation_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto account, OptId<AccountId>(body, "account_id"));
  MAYFLY_ASSIGN_OR_RETURN(const auto platform_id, body.OptString("platform_id"));
  if (message.has_value() + conversation.has_value() + platform_id.has_value() != 1 ||
      account.has_value() != platform_id.has_value()) {
    return Fail(ErrorCode::kInvalidArgument,
                "Name one of message_id, conversation_id, or account_id with platform_id.");
  }
  if (message) return call.store.erasure().PersonOf(*message, call.now);
  if (conversation) return call.store.erasure().PersonOf(*conversation, call.now);
  MAYFLY_RETURN_IF_ERROR(CheckLine(*platform_id, kPlatformIdBytesMax, "/platform_id"));
  return store::Erasure::Person{*account, PlatformId(*platform_id)};
}

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_PERSON_INPUT_H_
