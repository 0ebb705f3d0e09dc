// What every handler has around it: the store, the time, and errors that become problems.
#ifndef MAYFLY_SERVICE_API_HANDLERS_HANDLER_SUPPORT_H_
#define MAYFLY_SERVICE_API_HANDLERS_HANDLER_SUPPORT_H_

#include <functional>
#include <utility>

#include "service/api/context.h"
#include "service/api/problem.h"
#include "service/api/render.h"
#include "service/api/router.h"

namespace mayfly::service::api {

// One request's surroundings. `now` is taken once, so that an answer is of one instant.
struct Call {
  ApiContext& context;
  store::Store& store;
  const Request& request;
  const Actor& actor;
  TimePoint now;
};

using StoreHandler = std::function<Result<Response>(const Call&)>;

// A handler that needs the store. An Error becomes its problem document; without a store the
// service is sealed.
inline Handler WithStore(ApiContext& context, StoreHandler handle) {
  return [&context, handle = std::move(handle)](const Request& request,
                                                const Actor& actor) -> Response {
    if (context.store == nullptr) return Problem(request, Error{.code = ErrorCode::kSealed});
    Result<Response> response =
        handle(Call{context, *context.store, request, actor, context.clock->Now()});
    return response ? *std::move(response) : Problem(request, response.error());
  };
}

// A look that cannot be recorded does not happen (I6), whatever kept it from being recorded.
inline Result<store::Look> Recorded(Result<store::Look> look) {
  if (look) return look;
  return Fail(ErrorCode::kUnavailable, "The look cannot be recorded.");
}

// A precondition that must be there (428).
inline Response MissingPrecondition(const Request& request, const char* header) {
  return Problem(request, 428, "precondition-required", "A header field is needed.", header);
}

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_HANDLER_SUPPORT_H_
