// The listener: Boost.Beast and Asio with hard limits (T1). This folder is the only place, beside
// the simulators, that knows them. Descriptors come from the supervisor, already listening.
//
// Runs under the core's allow-list filter: after Start() it needs epoll, timerfd, eventfd, accept4,
// getsockopt(SO_PEERCRED), setsockopt(TCP_NODELAY), recvmsg, sendmsg, recvfrom, sendto, readv,
// writev, shutdown, ioctl(FIONBIO), close and what threads need; never socket, bind, listen or
// connect.
//
// How a connection ends: a request that breaks HTTP or a limit gets its answer and `Connection:
// close`; then what the client still sends is thrown away for a moment, so that the answer is not
// lost to a reset. An idle connection is closed without a word. A connection over one of the two
// caps gets a fixed 503 if that fits without waiting, and is closed at once; over TLS it is only
// closed.
//
// Where we are stricter than RFC 9112 asks: no empty line before a request, no chunk extensions,
// only HTTP/1.1 and 1.0. Nobody whom we know needs them, and each has carried hidden requests past
// a proxy. docs/decisions/0013 has the list.
#ifndef MAYFLY_SERVICE_API_SERVER_H_
#define MAYFLY_SERVICE_API_SERVER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "service/api/dispatch.h"
#include "service/api/http.h"
#include "service/api/peer.h"
#include "service/api/router.h"
#include "service/api/tls.h"
#include "store/model/clock.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// Named settings of [http] in the configuration; each has a test that exceeds it.
struct ServerLimits {
  std::size_t head_bytes_max = 16u << 10;                // 431
  std::size_t fields_max = 100;                          // 431
  std::size_t body_bytes_max = 64u << 10;                // 413; a route may ask for less
  std::size_t target_bytes_max = 8u << 10;               // 414
  std::chrono::milliseconds handshake_deadline{10'000};  // from accept to the end of it; closed
  std::chrono::milliseconds head_deadline{10'000};       // 408, then closed
  std::chrono::milliseconds body_deadline{30'000};       // 408, then closed
  std::chrono::milliseconds write_deadline{30'000};      // a reader that stalls is cut
  std::chrono::milliseconds idle_deadline{60'000};       // between requests; closed
  std::chrono::milliseconds event_heartbeat{15'000};     // of a silent stream of events
  std::size_t connections_max = 1'024;           // 503 or closed; the admin socket is exempt;
                                                 // those in the TLS handshake count
  std::size_t connections_per_address_max = 32;  // the same; IPv6 by /64; each Unix listener
                                                 // counts as one address. Behind a trusted
                                                 // proxy: requests under way for each client
  int threads = 2;
  int slow_threads = 2;             // for routes marked `slow`
  std::size_t slow_queue_max = 16;  // 503
};

struct Listener {
  int fd = -1;  // listening, non-blocking; owned by the server
  bool unix_socket = false;
  bool admin = false;         // peers must be this process's user or root (SO_PEERCRED)
  bool tls = false;           // needs ServerOptions::certificates
  bool proxies_only = false;  // peers that are not trusted proxies are closed
};

// What not every server has.
struct ServerOptions {
  TlsCertificates* certificates = nullptr;  // outlives the server
  TrustedProxies trusted_proxies = {};      // whose X-Forwarded-For is heeded; nobody else's is
  const Clock* clock = nullptr;             // for the Date field, which is left out without one
};

struct ServerCounters {
  std::uint64_t connections = 0;         // accepted
  std::uint64_t requests = 0;            // with a well-formed head
  std::uint64_t refused_malformed = 0;   // 400, 417, 501, 505 from the listener itself
  std::uint64_t refused_limits = 0;      // sizes, deadlines and caps
  std::uint64_t refused_handshakes = 0;  // TLS was begun and failed
  std::uint64_t accept_failures = 0;     // out of descriptors or memory; tried again after a pause
  std::uint64_t open = 0;                // connections now
};

class Server {
 public:
  // `router` and `authenticate` are used from the server's threads and must outlive it.
  Server(const Router& router, Authenticator authenticate, const ServerLimits& limits,
         ServerOptions options = {});
  ~Server();
  // kInvalidArgument for a descriptor that cannot be used, and for TLS without certificates; then
  // nothing runs. Once.
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

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_SERVER_H_
