// From a parsed request to its answer, in two steps: what the head alone decides, before a byte of
// the body is read, and the handler. Knows no socket.
#ifndef MAYFLY_SERVICE_API_DISPATCH_H_
#define MAYFLY_SERVICE_API_DISPATCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "service/api/http.h"
#include "service/api/rate_limiter.h"
#include "service/api/router.h"
#include "store/model/actor.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// Decides who asks. kNotFound: no or no valid token (401).
using Authenticator = std::function<Result<Actor>(const Request&)>;

// What the head says about the body.
struct BodyPlan {
  bool present = false;
  std::optional<std::uint64_t> length;  // absent: chunked
  std::size_t bytes_max = SIZE_MAX;     // the server's own limit; the smaller of it and the route's
};

// A request that may go on, or its refusal.
struct Admission {
  std::optional<Response> refusal;
  const Route* route = nullptr;
  Actor actor;
  std::size_t body_bytes_max = 0;
  const Router* router = nullptr;            // that admitted it
  std::optional<RateLimiter::Verdict> rate;  // of the token's budget; absent without a token
};

// Checks in this order, each with its own answer: path (404), method (405), readiness (503), token
// (401), the token's budget (429), scope (403), query names (400), required header fields (428),
// body not taken here (400), media type (415), size (413). Every answer to a token tells the state
// of its budget. Fills request.captures. A route of the admin socket does not exist (404) for
// anybody else.
Admission Admit(const Router& router, const Authenticator& authenticate, Request& request,
                const BodyPlan& body, bool ready);

// Runs the handler. An exception becomes 500, without its text; so does a header with a control
// character or a name that is none. A 304 costs the token nothing.
Response Handle(const Admission& admission, const Request& request);

// The whole path at once. Used by unit tests; Server takes the same two steps.
Response Dispatch(const Router& router, const Authenticator& authenticate, Request request,
                  bool ready);

// 128 random bits in hex.
std::string NewRequestId();

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_DISPATCH_H_
