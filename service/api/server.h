// The listener: Boost.Beast with hard limits (T1). The only place, beside the simulators, that knows
// Beast. Descriptors come from the supervisor, already listening.
#ifndef MAYFLY_SERVICE_API_SERVER_H_
#define MAYFLY_SERVICE_API_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "service/api/http.h"
#include "service/api/router.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// Named settings of [http] in the configuration; each has a test that exceeds it.
struct ServerLimits {
  std::size_t head_bytes_max = 16u << 10;                    // 431
  std::size_t fields_max = 100;                              // 431
  std::size_t body_bytes_max = 64u << 10;                    // 413; a route may ask for less
  std::size_t target_bytes_max = 8u << 10;                   // 414
  std::chrono::milliseconds head_deadline{10'000};           // 408, then closed
  std::chrono::milliseconds body_deadline{30'000};           //
  std::chrono::milliseconds write_deadline{30'000};          // a reader that stalls is cut
  std::chrono::milliseconds idle_deadline{60'000};           // between requests
  std::size_t connections_max = 1'024;                       //
  std::size_t connections_per_address_max = 32;              // TCP; Unix sockets count as one address
  int threads = 2;
};

struct Listener {
  int fd = -1;        // listening, non-blocking; owned by the server
  bool unix_socket = false;
  bool admin = false;  // peers must be this process's user or root (SO_PEERCRED)
};

// Decides who asks. kNotFound: no or no valid token (401).
using Authenticator = std::function<Result<Actor>(const Request&)>;

struct ServerCounters {
  std::uint64_t connections = 0, requests = 0, refused_malformed = 0, refused_limits = 0;
};

class Server {
 public:
  // `router` and `authenticate` are used from the server's threads and must outlive it.
  Server(const Router& router, Authenticator authenticate, const ServerLimits& limits);
  ~Server();
  Status Start(std::vector<Listener> listeners);
  // Stops accepting, answers idle connections with close, finishes what is under way, cuts at the
  // deadline. Blocks until done.
  void Drain(std::chrono::milliseconds deadline);
  ServerCounters counters() const;
  // Until the service is ready (or while it is sealed) only routes with Access::kPublic answer; all
  // others get 503 `unavailable`.
  void SetReady(bool ready);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The whole path from a parsed request to an answer, without a socket: route, authenticate, check
// scope, body limit and query names, handle. Used by Server and by unit tests.
Response Dispatch(const Router& router, const Authenticator& authenticate, Request request,
                  bool ready);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_SERVER_H_
