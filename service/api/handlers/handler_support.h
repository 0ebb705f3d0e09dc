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

// What a GET answers, with its ETag unless the handler set one; 304 when the client has it. A
// stream goes on and is never the same.
inline Response Fresh(const ApiContext& context, const Request& request, Response response) {
  const bool read = request.method == "GET" || request.method == "HEAD";
  if (!read || response.status != 200 || response.events) return response;
  if (response.Header("ETag") == nullptr) response = Tagged(context, std::move(response));
  return Conditional(request, std::move(response));
}

// A handler that needs the store. An Error becomes its problem document; without a store the
// service is sealed.
inline Handler WithStore(ApiContext& context, StoreHandler handle) {
  return [&context, handle = std::move(handle)](const Request& request,
                                                const Actor& actor) -> Response {
    if (context.store == nullptr) return Problem(request, Error{.code = ErrorCode::kSealed});
    Result<Response> response =
        handle(Call{context, *context.store, request, actor, context.clock->Now()});
    if (!response) return Problem(request, response.error());
    return Fresh(context, request, *std::move(response));
  };
}

// A look that cannot be recorded does not happen (I6), whatever kept it from being recorded.
inline Result<store::Look> Recorded(Result<store::Look> look) {
  if (look) return look;
  return Fail(ErrorCode::kUnavailable, "The look cannot be recorded.");
}

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_HANDLER_SUPPORT_H_
