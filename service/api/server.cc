#include "service/api/server.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <utility>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "service/api/connection.h"

namespace mayfly::service::api {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Strand>;
using Descriptor = asio::posix::basic_stream_descriptor<Strand>;

constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr int kAcceptsInARow = 64;

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

struct Server::Impl {
  Impl(const Router& router, Authenticator authenticate, const ServerLimits& limits,
       ServerOptions options)
      : state(router, std::move(authenticate), limits, std::move(options)) {}

  class Acceptor;

  ServerState state;
  asio::io_context io;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<Acceptor>> acceptors;
  bool started = false;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> open;

  // Takes over `fd` in every case.
  void Accepted(int fd, Origin origin);
  void Remove(Connection* connection);
  void Stop(std::chrono::milliseconds deadline);
};

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
        ++server_.state.connections;
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
    ++server_.state.accept_failures;
    timer_.expires_after(kAcceptPause);
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->Accept();
    });
  }

  void Admit(int fd, const sockaddr_storage& peer) {
    Origin origin;
    origin.tls = listener_.tls;
    const bool welcome =
        listener_.unix_socket ? AdmitUnix(fd, &origin) : AdmitTcp(fd, peer, &origin);
    if (welcome) return server_.Accepted(fd, std::move(origin));
    ++server_.state.refused_limits;
    ::close(fd);
  }

  bool AdmitUnix(int fd, Origin* origin) {
    origin->family = AF_UNIX;
    origin->key = key_;
    if (!listener_.admin) return true;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    origin->admin = true;
    origin->peer_uid = peer.uid;
    return peer.uid == ::geteuid() || peer.uid == 0;
  }

  bool AdmitTcp(int fd, const sockaddr_storage& peer, Origin* origin) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const IpAddress address = AddressOf(peer);
    origin->family = peer.ss_family;
    origin->key = CountingKey(address);
    if (IsTrusted(server_.state.options.trusted_proxies, address)) origin->proxy = address;
    return origin->proxy.has_value() || !listener_.proxies_only;
  }

  Impl& server_;
  const Listener listener_;
  const std::string key_;
  Descriptor descriptor_;
  Timer timer_;
};

void Server::Impl::Accepted(int fd, Origin origin) {
  const bool tls = origin.tls;
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const bool room = origin.admin || open.size() < state.limits.connections_max;
    const bool counted = !origin.proxy.has_value();
    if (room && !state.draining && (!counted || state.occupancy.Enter(origin.key))) {
      connection = std::make_shared<Connection>(state, asio::make_strand(io), fd, std::move(origin),
                                                [this](Connection* closed) { Remove(closed); });
      open.emplace(connection.get(), connection);
    }
  }
  if (connection) return connection->Start();
  ++state.refused_limits;
  if (tls) {
    ::close(fd);
  } else {
    RefuseOverCap(fd);
  }
}

void Server::Impl::Remove(Connection* connection) {
  std::shared_ptr<Connection> last;  // dies outside the lock
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = open.find(connection);
  if (found == open.end()) return;
  last = std::move(found->second);
  open.erase(found);
  if (!last->origin().proxy) state.occupancy.Leave(last->origin().key);
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
    state.draining = true;
    each(&Connection::Drain);
    if (!changed.wait_until(lock, until, [this] { return open.empty(); })) {
      each(&Connection::Cut);
      changed.wait(lock, [this] { return open.empty(); });
    }
  }
  state.slow->join();  // a handler cannot be interrupted; its answer goes nowhere
  work.reset();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  acceptors.clear();
}

Server::Server(const Router& router, Authenticator authenticate, const ServerLimits& limits,
               ServerOptions options)
    : impl_(std::make_unique<Impl>(router, std::move(authenticate), limits, std::move(options))) {}

Server::~Server() { Drain(std::chrono::milliseconds(0)); }

Status Server::Start(std::vector<Listener> listeners) {
  Impl& impl = *impl_;
  if (impl.state.slow) {
    return Fail(ErrorCode::kInternal, "The server was started before.");
  }
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    auto acceptor = std::make_shared<Impl::Acceptor>(impl, listeners[i], i);
    const bool no_certificate = listeners[i].tls && impl.state.options.certificates == nullptr;
    if (no_certificate || acceptor->Open()) {
      for (std::size_t rest = i; rest < listeners.size(); ++rest) ::close(listeners[rest].fd);
      impl.acceptors.clear();
      return Fail(ErrorCode::kInvalidArgument, no_certificate
                                                   ? "TLS needs a certificate."
                                                   : "A listening descriptor cannot be used.");
    }
    impl.acceptors.push_back(std::move(acceptor));
  }
  const SignalsBlocked blocked;
  impl.started = true;
  impl.work.emplace(impl.io.get_executor());
  impl.state.slow.emplace(static_cast<std::size_t>(std::max(1, impl.state.limits.slow_threads)));
  for (int i = 0; i < std::max(1, impl.state.limits.threads); ++i) {
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
  const ServerState& state = impl.state;
  ServerCounters counters{.connections = state.connections,
                          .requests = state.requests,
                          .refused_malformed = state.refused_malformed,
                          .refused_limits = state.refused_limits,
                          .refused_handshakes = state.refused_handshakes,
                          .accept_failures = state.accept_failures};
  const std::lock_guard<std::mutex> lock(impl.mutex);
  counters.open = impl.open.size();
  return counters;
}

void Server::SetReady(bool ready) { impl_->state.ready = ready; }

}  // namespace mayfly::service::api
