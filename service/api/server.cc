#include "service/api/server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <utility>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/status.hpp>

#include "service/api/chunked.h"
#include "service/api/head.h"
#include "service/api/problem.h"
#include "store/model/sensitive.h"

namespace mayfly::service::api {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Strand = asio::strand<asio::io_context::executor_type>;
// One socket type for TCP and Unix: connections differ only in how they were accepted.
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Strand>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Strand>;
using Descriptor = asio::posix::basic_stream_descriptor<Strand>;

constexpr std::size_t kReadBytes = 4096;
constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr int kAcceptsInARow = 64;
// After an answer with `Connection: close`: how much of what still comes in is thrown away, and for
// how long, before the socket goes.
constexpr std::size_t kLingerBytes = 1u << 20;
constexpr std::chrono::milliseconds kLingerTime{2'000};

class Connection;

}  // namespace

// What connections and acceptors share.
struct Server::Impl {
  Impl(const Router& router_in, Authenticator authenticate_in, const ServerLimits& limits_in)
      : router(router_in), authenticate(std::move(authenticate_in)), limits(limits_in) {}

  class Acceptor;

  const Router& router;
  const Authenticator authenticate;
  const ServerLimits limits;

  std::atomic<bool> ready{false};
  std::atomic<bool> draining{false};
  std::atomic<std::uint64_t> connections_seen{0}, requests{0}, refused_malformed{0},
      refused_limits{0}, accept_failures{0};
  std::atomic<std::size_t> slow_waiting{0};

  asio::io_context io;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::optional<asio::thread_pool> slow;
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<Acceptor>> acceptors;
  bool started = false;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> open;
  std::unordered_map<std::string, std::size_t> by_address;

  // Takes over `fd` in every case.
  void Accepted(int fd, int family, std::string address, bool admin, std::uint32_t peer_uid);
  void Remove(Connection* connection, const std::string& address);
  void Stop(std::chrono::milliseconds deadline);
};

namespace {

// One client. Everything runs on its strand, except a slow handler, during which the strand leaves
// request and admission alone.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  template <class ServerImpl>
  Connection(ServerImpl& server, Strand strand, int fd, int family, std::string address, bool admin,
             std::uint32_t peer_uid)
      : shared_{server.router,
                server.authenticate,
                server.limits,
                server.ready,
                server.draining,
                server.requests,
                server.refused_malformed,
                server.refused_limits,
                server.slow_waiting,
                *server.slow},
        socket_(strand),
        timer_(strand),
        address_(std::move(address)),
        admin_(admin),
        peer_uid_(peer_uid),
        on_closed_(
            [&server](Connection* self, const std::string& key) { server.Remove(self, key); }) {
    error_code error;
    socket_.assign(asio::generic::stream_protocol(family, 0), fd, error);
    if (error) ::close(fd);
  }

  void Start() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (!self->socket_.is_open()) return self->Close();
      self->AwaitRequest(/*first=*/true);
    });
  }
  // A drain has begun: whoever waits for the next request has waited enough.
  void Drain() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->state_ == State::kIdle) self->Close();
    });
  }
  void Cut() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->Close(); });
  }

 private:
  enum class State { kIdle, kHead, kBody, kHandling, kWriting, kLingering, kClosed };

  struct Shared {
    const Router& router;
    const Authenticator& authenticate;
    const ServerLimits& limits;
    const std::atomic<bool>& ready;
    const std::atomic<bool>& draining;
    std::atomic<std::uint64_t>& requests;
    std::atomic<std::uint64_t>& refused_malformed;
    std::atomic<std::uint64_t>& refused_limits;
    std::atomic<std::size_t>& slow_waiting;
    asio::thread_pool& slow;
  };

  HeadLimits head_limits() const {
    return {.head_bytes_max = shared_.limits.head_bytes_max,
            .fields_max = shared_.limits.fields_max,
            .target_bytes_max = shared_.limits.target_bytes_max};
  }

  std::string_view Buffered() const {
    const auto data = buffer_.data();
    return {static_cast<const char*>(data.data()), data.size()};
  }

  // --- the head

  void AwaitRequest(bool first) {
    request_ = {};
    request_.id = NewRequestId();
    admission_ = {};
    head_only_ = false;
    http10_ = false;
    keep_alive_ = false;
    scanner_.emplace(head_limits());
    if (buffer_.size() > 0) {  // pipelined
      state_ = State::kHead;
      Arm(shared_.limits.head_deadline);
      return ScanHead();
    }
    state_ = State::kIdle;
    if (shared_.draining) return Close();
    buffer_.shrink_to_fit();
    Arm(first ? shared_.limits.head_deadline : shared_.limits.idle_deadline);
    ReadHead();
  }

  void ReadHead() {
    socket_.async_read_some(
        buffer_.prepare(kReadBytes),
        [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t bytes) {
          if (epoch == self->epoch_) self->OnHeadBytes(error, bytes);
        });
  }

  void OnHeadBytes(error_code error, std::size_t bytes) {
    if (error == asio::error::eof && state_ == State::kHead) return Refuse({});
    if (error) return Close();
    buffer_.commit(bytes);
    if (state_ == State::kIdle) {
      state_ = State::kHead;
      Arm(shared_.limits.head_deadline);
    }
    ScanHead();
  }

  void ScanHead() {
    const auto size = scanner_->Scan(Buffered());
    if (!size) return Refuse(size.error());
    if (!*size) return ReadHead();
    auto head = ParseHead(Buffered().substr(0, **size), head_limits());
    buffer_.consume(**size);
    if (!head) return Refuse(head.error());
    OnHead(*std::move(head));
  }

  void OnHead(Head head) {
    ++shared_.requests;
    const std::string id = std::move(request_.id);
    request_ = std::move(head.request);
    request_.id = id;
    request_.admin_socket = admin_;
    request_.peer_uid = peer_uid_;
    head_only_ = request_.method == "HEAD";
    http10_ = head.http10;
    keep_alive_ = head.keep_alive;

    BodyPlan plan;
    plan.present = head.has_body();
    if (!head.chunked) plan.length = head.content_length;
    plan.bytes_max = shared_.limits.body_bytes_max;
    try {
      admission_ = Admit(shared_.router, shared_.authenticate, request_, plan, shared_.ready);
    } catch (const std::exception&) {
      admission_.refusal = Problem(request_, Error{.code = ErrorCode::kInternal});
    }
    if (admission_.refusal) {
      if (head.has_body()) {
        keep_alive_ = false;
        unread_ = true;
      }
      if (admission_.refusal->status == 413) ++shared_.refused_limits;
      return Send(*std::move(admission_.refusal));
    }
    if (!head.has_body()) return Run();
    state_ = State::kBody;
    Arm(shared_.limits.body_deadline);
    remaining_ = head.content_length;
    chunked_.reset();
    if (head.chunked) chunked_.emplace(admission_.body_bytes_max);
    if (head.expect_continue && buffer_.size() == 0) return SendContinue();
    TakeBody();
  }

  // --- the body

  void SendContinue() {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(socket_, asio::buffer(kContinue.data(), kContinue.size()),
                      [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t) {
                        if (epoch != self->epoch_) return;
                        if (error) return self->Close();
                        self->TakeBody();
                      });
  }

  void TakeBody() {
    std::string_view input = Buffered();
    const std::size_t before = input.size();
    bool done = false;
    if (chunked_) {
      const auto verdict = chunked_->Feed(input, request_.body);
      if (verdict == ChunkedDecoder::Verdict::kMalformed) return Refuse({});
      if (verdict == ChunkedDecoder::Verdict::kTooLarge) {
        return Refuse({413, "too-large", "The body is too large."});
      }
      done = verdict == ChunkedDecoder::Verdict::kDone;
    } else {
      const auto take = static_cast<std::size_t>(
          std::min<std::uint64_t>(remaining_, static_cast<std::uint64_t>(input.size())));
      request_.body.append(input.substr(0, take));
      input.remove_prefix(take);
      remaining_ -= take;
      done = remaining_ == 0;
    }
    buffer_.consume(before - input.size());
    if (done) return Run();
    socket_.async_read_some(
        buffer_.prepare(kReadBytes),
        [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t bytes) {
          if (epoch != self->epoch_) return;
          if (error == asio::error::eof) return self->Refuse({});
          if (error) return self->Close();
          self->buffer_.commit(bytes);
          self->TakeBody();
        });
  }

  // --- the answer

  void Run() {
    state_ = State::kHandling;
    Disarm();
    if (!admission_.route->slow) return Send(Handle(admission_, request_));
    if (shared_.slow_waiting.fetch_add(1) >= shared_.limits.slow_queue_max) {
      --shared_.slow_waiting;
      return Send(Problem(request_, Error{.code = ErrorCode::kUnavailable}));
    }
    asio::post(shared_.slow, [self = shared_from_this()] {
      Response response = Handle(self->admission_, self->request_);
      --self->shared_.slow_waiting;
      asio::post(self->socket_.get_executor(), [self, response = std::move(response)]() mutable {
        self->Send(std::move(response));
      });
    });
  }

  // The listener's own refusal: the connection ends with it.
  void Refuse(const HeadError& why) {
    ++epoch_;
    error_code ignored;
    socket_.cancel(ignored);
    const bool limit =
        why.status == 408 || why.status == 413 || why.status == 414 || why.status == 431;
    ++(limit ? shared_.refused_limits : shared_.refused_malformed);
    keep_alive_ = false;
    unread_ = true;
    Send(Problem(request_, why.status, why.word, why.title));
  }

  void Send(Response response) {
    if (state_ == State::kClosed) return;  // cut while a slow handler ran
    WipeString(request_.body);             // it may hold a credential or a reply
    state_ = State::kWriting;
    if (shared_.draining) keep_alive_ = false;
    WriteHead(response);
    body_ = std::move(response.body);
    Arm(shared_.limits.write_deadline);
    const bool with_body = !head_only_ && response.status != 204 && response.status != 304;
    const std::array<asio::const_buffer, 2> parts = {
        asio::buffer(head_),
        with_body ? asio::const_buffer(asio::buffer(body_)) : asio::const_buffer()};
    asio::async_write(socket_, parts,
                      [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t) {
                        if (epoch != self->epoch_) return;
                        WipeString(self->body_);
                        if (error) return self->Close();
                        if (self->unread_ || (!self->keep_alive_ && self->buffer_.size() > 0)) {
                          return self->Linger();
                        }
                        if (!self->keep_alive_) return self->Close();
                        self->AwaitRequest(/*first=*/false);
                      });
  }

  void WriteHead(const Response& response) {
    const auto reason = boost::beast::http::obsolete_reason(
        boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
    head_ = "HTTP/1.1 " + std::to_string(response.status) + " ";
    head_.append(reason.data(), reason.size());
    const auto add = [this](std::string_view name, std::string_view value) {
      head_.append("\r\n").append(name).append(": ").append(value);
    };
    add("X-Request-Id", request_.id);
    if (response.Header("Cache-Control") == nullptr) add("Cache-Control", "no-store");
    add("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : response.headers) add(name, value);
    if (response.status != 204 && response.status != 304) {
      if (!response.body.empty()) add("Content-Type", response.content_type);
      add("Content-Length", std::to_string(response.body.size()));
    }
    if (!keep_alive_) {
      add("Connection", "close");
    } else if (http10_) {
      add("Connection", "keep-alive");
    }
    head_.append("\r\n\r\n");
  }

  // --- the end

  // Closing at once, with input unread, would reset the connection and could take the answer away
  // from the client.
  void Linger() {
    state_ = State::kLingering;
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    if (ignored) return Close();
    buffer_.consume(buffer_.size());
    Arm(std::min(kLingerTime, shared_.limits.write_deadline));
    Discard(0);
  }

  void Discard(std::size_t already) {
    socket_.async_read_some(
        buffer_.prepare(kReadBytes),
        [self = shared_from_this(), epoch = epoch_, already](error_code error, std::size_t bytes) {
          if (epoch != self->epoch_) return;
          if (error || already + bytes > kLingerBytes) return self->Close();
          self->Discard(already + bytes);
        });
  }

  void Close() {
    if (state_ == State::kClosed) return;
    state_ = State::kClosed;
    ++epoch_;
    Disarm();
    error_code ignored;
    socket_.close(ignored);
    on_closed_(this, address_);
  }

  // --- deadlines

  void Arm(std::chrono::milliseconds wait) {
    const std::uint64_t round = ++timer_round_;
    timer_.expires_after(wait);
    timer_.async_wait([self = shared_from_this(), round](error_code error) {
      if (!error && round == self->timer_round_) self->OnDeadline();
    });
  }

  void Disarm() {
    ++timer_round_;
    timer_.cancel();
  }

  void OnDeadline() {
    if (state_ != State::kHead && state_ != State::kBody) {
      // Waiting for a request, for a reader, or for the end of what nobody reads.
      if (state_ == State::kWriting) ++shared_.refused_limits;
      return Close();
    }
    Refuse({408, "request-timeout", "The request took too long to arrive."});
  }

  Shared shared_;
  Socket socket_;
  Timer timer_;
  const std::string address_;  // the key under which it is counted
  const bool admin_;
  const std::uint32_t peer_uid_;
  const std::function<void(Connection*, const std::string&)> on_closed_;

  State state_ = State::kIdle;
  std::uint64_t epoch_ = 0;        // completions of an earlier epoch are ignored
  std::uint64_t timer_round_ = 0;  // and so are deadlines of an earlier round

  boost::beast::flat_buffer buffer_;  // read, not yet used
  std::optional<HeadScanner> scanner_;
  std::optional<ChunkedDecoder> chunked_;
  std::uint64_t remaining_ = 0;  // of a body with Content-Length
  Request request_;
  Admission admission_;
  bool head_only_ = false;
  bool http10_ = false;
  bool keep_alive_ = false;
  bool unread_ = false;  // the client may be sending what we shall not read
  std::string head_;     // of the answer
  std::string body_;
};

// The cap key of a peer: an IPv4 address, or the /64 that one IPv6 customer has.
std::string AddressKey(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(peer);
    return "4" + std::string(reinterpret_cast<const char*>(&in.sin_addr), 4);
  }
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(peer);
  const char* bytes = reinterpret_cast<const char*>(&in6.sin6_addr);
  if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) return "4" + std::string(bytes + 12, 4);
  return "6" + std::string(bytes, 8);
}

void RefuseOverCap(int fd) {
  const std::string answer = "HTTP/1.1 503 Service Unavailable\r\nX-Request-Id: " + NewRequestId() +
                             "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff"
                             "\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  // Best effort: whoever opens too many connections may miss the reason.
  [[maybe_unused]] const ssize_t sent =
      ::send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::close(fd);
}

// Signals are for the main thread, apart from those that a thread raises itself.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF}) {
      sigdelset(&all, own);
    }
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

// One listening descriptor.
class Server::Impl::Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(Impl& server, const Listener& listener, std::size_t number)
      : server_(server),
        listener_(listener),
        key_("u" + std::to_string(number)),
        descriptor_(asio::make_strand(server.io)),
        timer_(descriptor_.get_executor()) {}

  // On success the descriptor belongs to the acceptor.
  error_code Open() {
    error_code error;
    descriptor_.assign(listener_.fd, error);
    return error;
  }
  void Start() {
    asio::post(descriptor_.get_executor(), [self = shared_from_this()] { self->Wait(); });
  }
  void Stop() {
    asio::post(descriptor_.get_executor(), [self = shared_from_this()] {
      error_code ignored;
      self->timer_.cancel();
      self->descriptor_.close(ignored);
    });
  }

 private:
  void Wait() {
    if (!descriptor_.is_open()) return;
    descriptor_.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code error) {
      if (!error) self->Accept();
    });
  }

  void Accept() {
    for (int i = 0; i < kAcceptsInARow && descriptor_.is_open(); ++i) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      const int fd = ::accept4(listener_.fd, reinterpret_cast<sockaddr*>(&peer), &size,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        ++server_.connections_seen;
        Admit(fd, peer);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return Pause();
      }
      // Anything else concerns the one connection that was refused; at most a row of them is taken
      // before others have their turn.
    }
    Wait();
  }

  // Out of descriptors or memory: the next try would fail at once, again and again.
  void Pause() {
    ++server_.accept_failures;
    timer_.expires_after(kAcceptPause);
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->Accept();
    });
  }

  void Admit(int fd, const sockaddr_storage& peer) {
    if (!listener_.unix_socket) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return server_.Accepted(fd, peer.ss_family, AddressKey(peer), false, 0);
    }
    ucred peer_process{};
    if (listener_.admin) {
      socklen_t size = sizeof peer_process;
      const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer_process, &size) == 0;
      if (!known || (peer_process.uid != ::geteuid() && peer_process.uid != 0)) {
        ::close(fd);
        return;
      }
    }
    server_.Accepted(fd, AF_UNIX, key_, listener_.admin, peer_process.uid);
  }

  Impl& server_;
  const Listener listener_;
  const std::string key_;
  Descriptor descriptor_;
  Timer timer_;
};

void Server::Impl::Accepted(int fd, int family, std::string address, bool admin,
                            std::uint32_t peer_uid) {
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto counted = by_address.find(address);
    const bool over =
        (!admin && open.size() >= limits.connections_max) ||
        (counted != by_address.end() && counted->second >= limits.connections_per_address_max);
    if (!over && !draining) {
      connection = std::make_shared<Connection>(*this, asio::make_strand(io), fd, family, address,
                                                admin, peer_uid);
      open.emplace(connection.get(), connection);
      ++by_address[address];
    }
  }
  if (connection) return connection->Start();
  ++refused_limits;
  RefuseOverCap(fd);
}

void Server::Impl::Remove(Connection* connection, const std::string& address) {
  std::shared_ptr<Connection> last;  // dies outside the lock
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = open.find(connection);
  if (found == open.end()) return;
  last = std::move(found->second);
  open.erase(found);
  const auto counted = by_address.find(address);
  if (counted != by_address.end() && --counted->second == 0) by_address.erase(counted);
  changed.notify_all();
}

void Server::Impl::Stop(std::chrono::milliseconds deadline) {
  if (!started) return;
  started = false;
  const auto until = std::chrono::steady_clock::now() + deadline;
  for (const auto& acceptor : acceptors) acceptor->Stop();
  const auto each = [this](void (Connection::*call)()) {
    for (const auto& [key, connection] : open) (connection.get()->*call)();
  };
  {
    std::unique_lock<std::mutex> lock(mutex);
    draining = true;
    each(&Connection::Drain);
    if (!changed.wait_until(lock, until, [this] { return open.empty(); })) {
      each(&Connection::Cut);
      changed.wait(lock, [this] { return open.empty(); });
    }
  }
  slow->join();  // a handler cannot be interrupted; its answer goes nowhere
  work.reset();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  acceptors.clear();
}

Server::Server(const Router& router, Authenticator authenticate, const ServerLimits& limits)
    : impl_(std::make_unique<Impl>(router, std::move(authenticate), limits)) {}

Server::~Server() { Drain(std::chrono::milliseconds(0)); }

Status Server::Start(std::vector<Listener> listeners) {
  Impl& impl = *impl_;
  if (impl.slow) {
    return Fail(ErrorCode::kInternal, "The server was started before.");
  }
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    auto acceptor = std::make_shared<Impl::Acceptor>(impl, listeners[i], i);
    if (acceptor->Open()) {
      for (std::size_t rest = i; rest < listeners.size(); ++rest) ::close(listeners[rest].fd);
      impl.acceptors.clear();
      return Fail(ErrorCode::kInvalidArgument, "A listening descriptor cannot be used.");
    }
    impl.acceptors.push_back(std::move(acceptor));
  }
  const SignalsBlocked blocked;
  impl.started = true;
  impl.work.emplace(impl.io.get_executor());
  impl.slow.emplace(static_cast<std::size_t>(std::max(1, impl.limits.slow_threads)));
  for (int i = 0; i < std::max(1, impl.limits.threads); ++i) {
    impl.threads.emplace_back([&impl, i] {
      pthread_setname_np(pthread_self(), ("api-" + std::to_string(i)).c_str());
      for (bool more = true; more;) {
        try {
          impl.io.run();
          more = false;
        } catch (const std::exception&) {
          // Out of memory in one connection, at worst. Its deadline ends it; the others go on.
        }
      }
    });
  }
  for (const auto& acceptor : impl.acceptors) acceptor->Start();
  return {};
}

void Server::Drain(std::chrono::milliseconds deadline) { impl_->Stop(deadline); }

ServerCounters Server::counters() const {
  Impl& impl = *impl_;
  ServerCounters counters{.connections = impl.connections_seen,
                          .requests = impl.requests,
                          .refused_malformed = impl.refused_malformed,
                          .refused_limits = impl.refused_limits,
                          .accept_failures = impl.accept_failures};
  const std::lock_guard<std::mutex> lock(impl.mutex);
  counters.open = impl.open.size();
  return counters;
}

void Server::SetReady(bool ready) { impl_->ready = ready; }

}  // namespace mayfly::service::api
