// The bytes of one connection: a socket, and TLS over it from the moment at which it was begun.
#ifndef MAYFLY_SERVICE_API_STREAM_H_
#define MAYFLY_SERVICE_API_STREAM_H_

#include <cstddef>
#include <optional>
#include <utility>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>

namespace mayfly::service::api {

using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;

// Everything on one strand. Completions come as from Asio.
class Stream {
 public:
  // One socket type for TCP and Unix: connections differ only in how they were accepted.
  using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, Strand>;

  explicit Stream(const Strand& strand) : socket_(strand) {}
  Socket& socket() { return socket_; }
  Strand strand() { return socket_.get_executor(); }
  bool secure() const { return tls_.has_value(); }

  // From here on everything goes through TLS. The state of it (some 50 KB) comes into being now and
  // not before, so that a client that sends nothing costs no more than its socket.
  template <class Handler>
  void AsyncHandshake(boost::asio::ssl::context& context, Handler handler) {
    tls_.emplace(socket_, context);
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::move(handler));
  }
  template <class Buffers, class Handler>
  void AsyncReadSome(const Buffers& buffers, Handler handler) {
    if (tls_) return tls_->async_read_some(buffers, std::move(handler));
    socket_.async_read_some(buffers, std::move(handler));
  }
  template <class Buffers, class Handler>
  void AsyncWrite(const Buffers& buffers, Handler handler) {
    if (tls_) return boost::asio::async_write(*tls_, buffers, std::move(handler));
    boost::asio::async_write(socket_, buffers, std::move(handler));
  }
  // Says that nothing more will come, and waits for the same from the peer. Only when secure().
  template <class Handler>
  void AsyncCloseNotify(Handler handler) {
    tls_->async_shutdown(std::move(handler));
  }
  // What lies below TLS: for throwing away what comes after our close_notify.
  template <class Buffers, class Handler>
  void AsyncReadRaw(const Buffers& buffers, Handler handler) {
    socket_.async_read_some(buffers, std::move(handler));
  }

 private:
  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_STREAM_H_
