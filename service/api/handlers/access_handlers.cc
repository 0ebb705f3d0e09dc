#include "service/api/handlers/access_handlers.h"

#include <memory>
#include <string>
#include <utility>

#include "service/access/access_package.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/handlers/person_input.h"
#include "service/api/input.h"

namespace mayfly::service::api {
namespace {

class PackageSource final : public BodySource {
 public:
  explicit PackageSource(std::unique_ptr<AccessPackage> package) : package_(std::move(package)) {}
  Result<std::string> Next() override { return package_->Next(); }

 private:
  const std::unique_ptr<AccessPackage> package_;
};

// Made while it is sent, and sealed for a key that is not here.
Result<Response> MakePackage(const Call& call) {
  MAYFLY_ASSIGN_OR_RETURN(const json::Value body,
                          ParseObject(call.request, {"recipient", "message_id", "conversation_id",
                                                     "account_id", "platform_id"}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string text, body.String("recipient"));
  auto recipient = ParseAgeRecipient(text);
  if (!recipient) {
    return Fail(ErrorCode::kInvalidArgument, recipient.error().message, "/recipient");
  }
  MAYFLY_ASSIGN_OR_RETURN(const store::Erasure::Person person, ReadPerson(call, body));
  MAYFLY_ASSIGN_OR_RETURN(
      auto people, call.store.rights().FindById(person.account, person.id, call.actor, call.now));
  if (people.empty() || people.front().conversations.empty()) {
    return Fail(ErrorCode::kNotFound, "Nothing is held of this person.");
  }
  store::HeldPerson& held = people.front();
  MAYFLY_RETURN_IF_ERROR(call.store.audit().Record(call.actor, "person.package",
                                                   held.person.account.ToString(), call.now));
  std::optional<store::Look> look;
  for (const store::HeldPerson::In& in : held.conversations) {
    MAYFLY_ASSIGN_OR_RETURN(look, Recorded(call.store.audit().LookAtConversation(
                                      call.actor, in.conversation, call.now)));
  }
  auto package = AccessPackage::Begin(call.store, *call.context.clock, *std::move(look),
                                      std::move(held), call.context.about, *recipient);
  if (!package) {
    return Fail(ErrorCode::kInvalidArgument, package.error().message, "/recipient");
  }
  Response response;
  response.content_type = "application/octet-stream";
  response.With("Content-Disposition", "attachment; filename=\"access-package.zip.age\"");
  response.source = std::make_shared<PackageSource>(*std::move(package));
  return response;
}

}  // namespace

std::vector<Route> AccessRoutes(ApiContext& context) {
  Route package;
  package.method = "POST";
  package.pattern = "/v1/access-packages";
  package.scope = Scope::kPrivacyAccess;
  package.budget = Budget::kPrivacy;
  package.slow = true;  // it reads every date on which they are
  package.body_bytes_max = 4096;
  package.handler = WithStore(context, MakePackage);
  return {package};
}

}  // namespace mayfly::service::api
