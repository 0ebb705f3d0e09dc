// A pure function from method and path to a route. Knows no engine, no socket.
#ifndef MAYFLY_SERVICE_API_ROUTER_H_
#define MAYFLY_SERVICE_API_ROUTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "service/api/http.h"
#include "service/api/rate_limiter.h"
#include "store/model/actor.h"

namespace mayfly::service::api {

enum class Access {
  kPublic,       // no token: healthz, readyz, about
  kScope,        // a bearer token that has `scope`
  kAdminSocket,  // the Unix admin socket only
};

// For Route::any_scope: every token, whatever its role.
inline constexpr std::uint32_t kAnyToken = 0xffffffffu;
constexpr std::uint32_t operator|(Scope a, Scope b) {
  return static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b);
}
constexpr std::uint32_t operator|(std::uint32_t a, Scope b) {
  return a | static_cast<std::uint32_t>(b);
}

using Handler = std::function<Response(const Request&, const Actor&)>;

struct Route {
  std::string method;
  std::string pattern;  // "/v1/conversations/{conversation}/messages"
  Access access = Access::kScope;
  Scope scope = Scope::kInboxRead;
  std::uint32_t any_scope = 0;     // if not 0: any one of these bits instead of `scope`
  bool while_sealed = false;       // answered although the service is not ready
  bool slow = false;               // may wait for a platform or a worker: not on an I/O thread
  std::size_t body_bytes_max = 0;  // 0: a body is refused
  std::vector<std::string> query;  // allowed parameter names; another one is 400
  std::vector<std::string> required_headers;  // "If-Match"; without one of them: 428
  Budget budget = Budget::kReading;           // what a request of a token is counted under
  Handler handler;
};

class Router {
 public:
  void Add(std::vector<Route> routes);
  struct Match {
    const Route* route = nullptr;  // null: no such path (404) or method (405)
    std::map<std::string, std::string> captures;
    std::vector<std::string> allowed_methods;  // of the path; empty: 404
  };
  // HEAD matches GET.
  Match Find(std::string_view method, const std::vector<std::string>& path) const;
  const std::vector<Route>& routes() const { return routes_; }  // in the order of Add

  // Whose verdict each answer to a token carries; null: none. Must outlive the router.
  void SetRateLimiter(RateLimiter* limiter) { rate_limiter_ = limiter; }
  RateLimiter* rate_limiter() const { return rate_limiter_; }

 private:
  std::vector<Route> routes_;
  RateLimiter* rate_limiter_ = nullptr;
};

// The whole REST API: one line for each resource, in routes.cc. `context` must outlive the router.
struct ApiContext;
Router MakeRouter(ApiContext& context);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_ROUTER_H_
