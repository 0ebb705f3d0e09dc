#include "connectors/simulator_server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <string_view>
#include <thread>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

namespace mayfly::connectors {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kConnectionsMax = 256;
constexpr std::uint32_t kHeadBytesMax = 64 * 1024;
constexpr std::uint64_t kBodyBytesMax = 8u << 20;
constexpr std::chrono::seconds kReadTimeout{120};  // idle or slow
constexpr std::chrono::seconds kWriteTimeout{60};
constexpr std::chrono::milliseconds kAcceptRetry{50};

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A percent sign without two hex digits stands for itself.
std::string PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 &&
        HexValue(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2])));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::vector<std::pair<std::string, std::string>> ParseQuery(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (item.empty()) continue;
    const std::size_t equals = std::min(item.find('='), item.size());
    out.emplace_back(PercentDecode(item.substr(0, equals), true),
                     PercentDecode(item.substr(std::min(equals + 1, item.size())), true));
  }
  return out;
}

SimulatorRequest Translate(http::request<http::string_body> in) {
  SimulatorRequest out;
  out.method = std::string(in.method_string());
  const std::string target(in.target());
  const std::string_view view = target;
  const std::size_t mark = std::min(view.find('?'), view.size());
  out.path = PercentDecode(view.substr(0, mark), false);
  out.query = ParseQuery(view.substr(std::min(mark + 1, view.size())));
  for (const auto& field : in) {
    const std::string_view name(field.name_string().data(), field.name_string().size());
    const std::string_view value(field.value().data(), field.value().size());
    auto [at, inserted] = out.headers.emplace(LowerCase(name), std::string(value));
    if (!inserted) at->second.append(", ").append(value);
  }
  out.body = std::move(in.body());
  return out;
}

// What all connections share; touched by the server's thread only, apart from the counter.
struct Shared {
  SimulatorHandler handler;
  std::size_t open = 0;
  std::atomic<std::uint64_t> accepted{0};
};

// One connection. Lives as long as an operation of it is pending.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, Shared& shared)
      : stream_(std::move(socket)), pause_(stream_.get_executor()), shared_(shared) {
    ++shared_.open;
  }
  ~Session() { --shared_.open; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Read() {
    parser_.emplace();
    parser_->header_limit(kHeadBytesMax);
    parser_->body_limit(kBodyBytesMax);
    stream_.expires_after(kReadTimeout);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code error, std::size_t) { self->OnRead(error); });
  }

 private:
  void OnRead(error_code error) {
    if (error) {
      // Anything but a peer that left or stayed silent broke HTTP: say so.
      if (error.category() != http::make_error_code(http::error::bad_method).category() ||
          error == http::error::end_of_stream || error == http::error::partial_message) {
        Close();
        return;
      }
      SimulatorResponse bad;
      bad.status = 400;
      Answer(std::move(bad), 11, false, false);
      return;
    }
    http::request<http::string_body> request = parser_->release();
    const unsigned version = request.version();
    const bool keep_alive = request.keep_alive();
    const bool head = request.method() == http::verb::head;
    SimulatorResponse response;
    try {
      response = shared_.handler(Translate(std::move(request)));
    } catch (const std::exception&) {
      response = SimulatorResponse{};
      response.status = 500;
    }
    if (response.drop_connection) {
      Close();
    } else if (response.raw_bytes || response.raw_stream || response.hold_open) {
      AnswerRaw(std::move(response));
    } else {
      Answer(std::move(response), version, keep_alive, head);
    }
  }

  void Answer(SimulatorResponse from, unsigned version, bool keep_alive, bool head) {
    try {
      Encode(std::move(from), version, keep_alive, head);
    } catch (const std::exception&) {  // a header that HTTP cannot carry
      SimulatorResponse refused;
      refused.status = 500;
      Encode(std::move(refused), version, false, head);
    }
    Write();
  }

  void Encode(SimulatorResponse from, unsigned version, bool keep_alive, bool head) {
    response_ = http::response<http::string_body>();
    response_.version(version);
    response_.result(static_cast<unsigned>(from.status));
    if (!from.content_type.empty()) response_.set(http::field::content_type, from.content_type);
    response_.keep_alive(keep_alive);
    for (const auto& [name, value] : from.headers) response_.insert(name, value);
    const bool bodiless = from.status == 204 || from.status == 304 || from.status / 100 == 1;
    if (head) {
      response_.content_length(from.body.size());
    } else if (!bodiless) {
      response_.body() = std::move(from.body);
      response_.prepare_payload();
    }
  }

  void Write() {
    stream_.expires_after(kWriteTimeout);
    http::async_write(stream_, response_,
                      [self = shared_from_this()](error_code error, std::size_t) {
                        if (error || !self->response_.keep_alive()) {
                          self->Close();
                        } else {
                          self->Read();
                        }
                      });
  }

  // Raw bytes, then the stream piece by piece, so that an endless one costs one piece of memory.
  void AnswerRaw(SimulatorResponse from) {
    raw_ = std::move(from);
    stream_.expires_never();
    WatchPeer();
    piece_ = raw_.raw_bytes.value_or(std::string());
    WritePiece();
  }

  void WritePiece() {
    asio::async_write(stream_.socket(), asio::buffer(piece_),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        if (error) {
                          self->Close();
                        } else {
                          self->NextPiece();
                        }
                      });
  }

  void NextPiece() {
    if (!stream_.socket().is_open()) return;
    if (!raw_.raw_stream) {
      if (!raw_.hold_open) Close();
      return;  // held open: WatchPeer ends it
    }
    pause_.expires_after(raw_.raw_interval);
    pause_.async_wait([self = shared_from_this()](error_code error) {
      if (error || !self->stream_.socket().is_open()) return;
      try {
        self->piece_ = self->raw_.raw_stream();
      } catch (const std::exception&) {
        self->piece_.clear();
      }
      if (self->piece_.empty()) {
        self->raw_.raw_stream = nullptr;
        self->NextPiece();
      } else {
        self->WritePiece();
      }
    });
  }

  void WatchPeer() {
    stream_.socket().async_read_some(asio::buffer(discard_),
                                     [self = shared_from_this()](error_code error, std::size_t) {
                                       if (error) {
                                         self->Close();
                                       } else {
                                         self->WatchPeer();
                                       }
                                     });
  }

  void Close() {
    pause_.cancel();
    error_code ignored;  // the peer may be gone already
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.socket().close(ignored);
  }

  beast::tcp_stream stream_;
  asio::steady_timer pause_;
  Shared& shared_;
  beast::flat_buffer buffer_{kHeadBytesMax + kBodyBytesMax};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  SimulatorResponse raw_;
  std::string piece_;
  std::array<char, 1024> discard_;
};

}  // namespace

std::optional<std::string> SimulatorRequest::Query(const std::string& name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string SimulatorRequest::Header(const std::string& name) const {
  const auto at = headers.find(LowerCase(name));
  return at == headers.end() ? std::string() : at->second;
}

struct SimulatorServer::Impl {
  // Declared first, so that it outlives the context, which holds the connections.
  Shared shared;
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer retry{context};
  std::uint16_t port = 0;
  std::thread thread;

  Status Listen(std::uint16_t wanted) {
    error_code error;
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), wanted);
    acceptor.open(tcp::v4(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port = acceptor.local_endpoint(error).port();
    if (error) return Fail(ErrorCode::kIo, "cannot listen on loopback: " + error.message());
    return {};
  }

  void Accept() {
    acceptor.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {  // out of descriptors, for example: do not spin
        retry.expires_after(kAcceptRetry);
        retry.async_wait([this](error_code cancelled) {
          if (!cancelled) Accept();
        });
        return;
      }
      ++shared.accepted;
      if (shared.open < kConnectionsMax) {
        error_code ignored;  // a slower answer, not a wrong one
        socket.set_option(tcp::no_delay(true), ignored);
        std::make_shared<Session>(std::move(socket), shared)->Read();
      }
      Accept();
    });
  }
};

Result<std::unique_ptr<SimulatorServer>> SimulatorServer::Start(SimulatorHandler handler,
                                                                std::uint16_t port) {
  auto impl = std::make_unique<Impl>();
  impl->shared.handler = std::move(handler);
  MAYFLY_RETURN_IF_ERROR(impl->Listen(port));
  impl->Accept();
  impl->thread = std::thread([context = &impl->context] { context->run(); });
  return std::unique_ptr<SimulatorServer>(new SimulatorServer(std::move(impl)));
}

SimulatorServer::SimulatorServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

SimulatorServer::~SimulatorServer() {
  impl_->context.stop();
  impl_->thread.join();
}

std::uint16_t SimulatorServer::port() const { return impl_->port; }

std::string SimulatorServer::origin() const {
  return "http://127.0.0.1:" + std::to_string(impl_->port);
}

std::uint64_t SimulatorServer::connections() const { return impl_->shared.accepted; }

}  // namespace mayfly::connectors
