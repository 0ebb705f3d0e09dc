// One client of the listener, from its first byte to the end. Server owns what connections share.
#ifndef MAYFLY_SERVICE_API_CONNECTION_H_
#define MAYFLY_SERVICE_API_CONNECTION_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "service/api/chunked.h"
#include "service/api/dispatch.h"
#include "service/api/head.h"
#include "service/api/peer.h"
#include "service/api/router.h"
#include "service/api/server.h"
#include "service/api/stream.h"

namespace mayfly::service::api {

class Connection;

// How much is under way for each client, by counting key, with a limit. Thread-safe.
class Occupancy {
 public:
  explicit Occupancy(std::size_t each_max) : each_max_(each_max) {}
  // False when that client has its share already.
  bool Enter(const std::string& key);
  void Leave(const std::string& key);

 private:
  const std::size_t each_max_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> counts_;  // none of them 0
};

// What connections share.
struct ServerState {
  ServerState(const Router& router_in, Authenticator authenticate_in, const ServerLimits& limits_in,
              ServerOptions options_in)
      : router(router_in),
        authenticate(std::move(authenticate_in)),
        limits(limits_in),
        options(std::move(options_in)),
        occupancy(limits.connections_per_address_max) {}

  const Router& router;
  const Authenticator authenticate;
  const ServerLimits limits;
  const ServerOptions options;

  std::atomic<bool> ready{false};
  std::atomic<bool> draining{false};
  std::atomic<std::uint64_t> connections{0}, requests{0}, refused_malformed{0}, refused_limits{0},
      refused_handshakes{0}, accept_failures{0};
  std::atomic<std::size_t> slow_waiting{0};
  Occupancy occupancy;
  std::optional<boost::asio::thread_pool> slow;
};

// How a connection came in.
struct Origin {
  int family = 0;
  bool admin = false;
  std::uint32_t peer_uid = 0;  // of the admin socket
  bool tls = false;
  std::string key;                 // under which it is counted
  std::optional<IpAddress> proxy;  // set: a trusted proxy. Then the connection is not counted under
                                   // `key`, but each request under that of its client
};

// Everything runs on its strand, except a slow handler, during which the strand leaves request and
// admission alone.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Takes over `fd`. `on_closed` is called once, on the strand.
  Connection(ServerState& server, const Strand& strand, int fd, Origin origin,
             std::function<void(Connection*)> on_closed);

  void Start();
  // A drain has begun: whoever waits for the next request has waited enough.
  void Drain();
  void Cut();
  const Origin& origin() const { return origin_; }

 private:
  using error_code = boost::system::error_code;
  using Timer = boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Strand>;
  enum class State {
    kHandshake,
    kIdle,
    kHead,
    kBody,
    kHandling,
    kWriting,
    kStreaming,  // events: nothing to send at the moment
    kLingering,
    kClosed,
  };

  HeadLimits head_limits() const;
  std::string_view Buffered() const;

  // TLS.
  void AwaitHello();
  void OnHello();
  void Handshake();
  // The head.
  void AwaitRequest(bool first);
  void ReadHead();
  void OnHeadBytes(error_code error, std::size_t bytes);
  void ScanHead();
  void OnHead(Head head);
  bool KnowClient();
  void BeginBody(const Head& head);
  // The body.
  void SendContinue();
  void TakeBody();
  // The answer.
  void Run();
  void Refuse(const HeadError& why);
  void Send(Response response);
  void OnSent(error_code error);
  void WriteHead(const Response& response);
  void SendPiece();
  // An answer of events.
  void BeginEvents();
  void PumpEvents();
  void SendEvents(std::string text, bool last);
  // The end.
  void LeaveClient();
  void Linger();
  void EndSending();
  void Discard(std::size_t already);
  void Close();
  // Deadlines.
  void Arm(std::chrono::milliseconds wait);
  void Disarm();
  void OnDeadline();

  ServerState& server_;
  Stream stream_;
  Timer timer_;
  const Origin origin_;
  const std::function<void(Connection*)> on_closed_;

  State state_ = State::kIdle;
  std::uint64_t epoch_ = 0;        // completions of an earlier epoch are ignored
  std::uint64_t timer_round_ = 0;  // and so are deadlines of an earlier round

  boost::beast::flat_buffer buffer_;  // read, not yet used
  std::optional<HeadScanner> scanner_;
  std::optional<ChunkedDecoder> chunked_;
  std::uint64_t remaining_ = 0;  // of a body with Content-Length
  Request request_;
  Admission admission_;
  std::optional<std::string> client_;  // counted in occupancy for the request under way
  bool head_only_ = false;
  bool http10_ = false;
  bool keep_alive_ = false;
  bool saying_continue_ = false;
  bool unread_ = false;  // the client may be sending what we shall not read
  std::string head_;     // of the answer
  std::string body_;
  std::shared_ptr<EventStream> events_;       // while they go on
  std::shared_ptr<BodySource> source_;        // while it is sent
  std::optional<std::uint64_t> source_left_;  // absent: in chunks, until it ends
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_CONNECTION_H_
