#include "connectors/http_client.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string_view>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cpprest/astreambuf.h>
#include <cpprest/http_client.h>
#include <openssl/ssl.h>
#include <pplx/threadpool.h>

#include "connectors/egress.h"
#include "store/model/time.h"

namespace mayfly::connectors {
namespace {

namespace http = web::http;
namespace streams = concurrency::streams;
using std::chrono::steady_clock;

constexpr std::size_t kHeadersMax = 200;
constexpr std::size_t kHeaderBytesMax = 64 * 1024;
constexpr std::size_t kLengthDigitsMax = 15;
constexpr std::size_t kTargetBytesMax = 16 * 1024;
constexpr int kAddressesTriedMax = 4;
// How long a request may take to notice that it was cancelled (some milliseconds, as measured).
constexpr std::chrono::seconds kCancelGrace{5};

// --- What a request may contain ---------------------------------------------------------------

bool IsAlphaNumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

// Percent-encoded already, absolute, and without segments that would climb out of it.
bool IsPath(std::string_view path) {
  if (!path.starts_with('/') || path.starts_with("//")) return false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '%') {
      if (i + 2 >= path.size() || !IsHexDigit(path[i + 1]) || !IsHexDigit(path[i + 2])) {
        return false;
      }
    } else if (!IsAlphaNumeric(c) &&
               std::string_view("/-._~!$&'()*+,;=:@").find(c) == std::string_view::npos) {
      return false;
    }
  }
  for (std::string_view rest = path.substr(1);;) {
    const std::size_t end = rest.find('/');
    const std::string segment = LowerCase(rest.substr(0, end));
    if (segment == "." || segment == ".." || segment == "%2e" || segment == "%2e%2e" ||
        segment == ".%2e" || segment == "%2e.") {
      return false;
    }
    if (end == std::string_view::npos) return true;
    rest.remove_prefix(end + 1);
  }
}

void AppendEncoded(std::string& out, std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (const char c : text) {
    if (IsAlphaNumeric(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
}

std::string Target(const HttpRequest& request) {
  std::string out = request.path;
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    out.push_back(separator);
    AppendEncoded(out, name);
    out.push_back('=');
    AppendEncoded(out, value);
    separator = '&';
  }
  return out;
}

bool IsHeaderName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return IsAlphaNumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string::npos;
  });
}

// No control characters: a CR or LF would begin a header, or a request, of somebody else's choice.
bool IsHeaderValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

// Those that say where a message goes or ends are the client's to write.
bool IsReservedHeader(std::string_view name) {
  constexpr std::string_view kReserved[] = {"host",
                                            "content-length",
                                            "content-type",
                                            "transfer-encoding",
                                            "connection",
                                            "expect",
                                            "upgrade",
                                            "te",
                                            "trailer",
                                            "accept-encoding",
                                            "proxy-authorization",
                                            "proxy-connection",
                                            "keep-alive"};
  return std::find(std::begin(kReserved), std::end(kReserved), LowerCase(name)) !=
         std::end(kReserved);
}

// Whether the head leaves no doubt about where the answer ends. The library takes two lengths, a
// length beside chunks, or one that is no number, and goes on with one of them; whoever sits in
// between may have gone on with another.
bool IsWellFormed(const std::map<std::string, std::string>& headers) {
  for (const auto& [name, value] : headers) {
    if (!IsHeaderName(name) || !IsHeaderValue(value)) return false;
  }
  const auto length = headers.find("content-length");
  const auto coding = headers.find("transfer-encoding");
  if (coding != headers.end()) {
    return length == headers.end() && LowerCase(coding->second) == "chunked";
  }
  return length == headers.end() ||
         (!length->second.empty() && length->second.size() <= kLengthDigitsMax &&
          std::all_of(length->second.begin(), length->second.end(),
                      [](char c) { return c >= '0' && c <= '9'; }));
}

bool IsSafe(const std::string& method) { return method == "GET" || method == "HEAD"; }

Status CheckRequest(const HttpRequest& request) {
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  if (std::find(std::begin(kMethods), std::end(kMethods), request.method) == std::end(kMethods)) {
    return Fail(ErrorCode::kInvalidArgument, "not a method that this client sends", "method");
  }
  if (!IsPath(request.path)) {
    return Fail(ErrorCode::kInvalidArgument, "not an absolute, percent-encoded path", "path");
  }
  if (Target(request).size() > kTargetBytesMax) {
    return Fail(ErrorCode::kInvalidArgument, "path and query are too long", "query");
  }
  for (const auto& [name, value] : request.headers) {
    if (!IsHeaderName(name) || IsReservedHeader(name)) {
      return Fail(ErrorCode::kInvalidArgument, "not a header that a connector may set", "headers");
    }
    if (!IsHeaderValue(value.Reveal())) {
      return Fail(ErrorCode::kInvalidArgument, "a header value holds control characters",
                  "headers");
    }
  }
  if (!IsHeaderValue(request.content_type)) {
    return Fail(ErrorCode::kInvalidArgument, "holds control characters", "content_type");
  }
  if (IsSafe(request.method) && !request.body.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "this method carries no body", "body");
  }
  return {};
}

// --- One request on its way -------------------------------------------------------------------

// Takes the body as it arrives, up to a cap. Refusing bytes ends the request. The counts that come
// with them are the library's and may be absurd: it passes on a chunk size of -1 as 2^64-1.
class CappedBody final : public streams::details::streambuf_state_manager<std::uint8_t> {
  using Base = streams::details::streambuf_state_manager<std::uint8_t>;

 public:
  explicit CappedBody(std::size_t cap) : Base(std::ios_base::out), cap_(cap) {}
  bool exceeded() const { return exceeded_; }
  std::string Take() { return std::move(bytes_); }

  bool can_seek() const override { return false; }
  bool has_size() const override { return false; }
  std::size_t buffer_size(std::ios_base::openmode) const override { return 0; }
  void set_buffer_size(std::size_t, std::ios_base::openmode) override {}
  std::size_t in_avail() const override { return 0; }
  pos_type getpos(std::ios_base::openmode) const override { return pos_type(traits::eof()); }
  pos_type seekpos(pos_type, std::ios_base::openmode) override { return pos_type(traits::eof()); }
  pos_type seekoff(off_type, std::ios_base::seekdir, std::ios_base::openmode) override {
    return pos_type(traits::eof());
  }
  bool acquire(std::uint8_t*& data, std::size_t& count) override {
    data = nullptr;
    count = 0;
    return false;
  }
  void release(std::uint8_t*, std::size_t) override {}

  // In place of the base class's, which waits for the stream to close when a write fails: on the
  // only thread of the pool, for ever.
  pplx::task<std::size_t> putn_nocopy(const std::uint8_t* data, std::size_t count) override {
    return _putn(data, count);
  }

 protected:
  using Base::_putn;
  pplx::task<std::size_t> _putn(const std::uint8_t* data, std::size_t count) override {
    if (count > cap_ - bytes_.size()) {
      exceeded_ = true;
      return pplx::task_from_exception<std::size_t>(std::length_error("body cap"));
    }
    try {
      bytes_.append(reinterpret_cast<const char*>(data), count);
    } catch (const std::bad_alloc&) {  // as a failed task, which the library can handle
      return pplx::task_from_exception<std::size_t>(std::current_exception());
    }
    return pplx::task_from_result(count);
  }
  pplx::task<int_type> _putc(std::uint8_t byte) override {
    return _putn(&byte, 1).then([byte](std::size_t) { return static_cast<int_type>(byte); });
  }
  pplx::task<bool> _sync() override { return pplx::task_from_result(true); }
  std::uint8_t* _alloc(std::size_t) override { return nullptr; }
  void _commit(std::size_t) override {}
  // Nobody reads from it through the library.
  pplx::task<int_type> _bumpc() override { return End(); }
  int_type _sbumpc() override { return traits::eof(); }
  pplx::task<int_type> _getc() override { return End(); }
  int_type _sgetc() override { return traits::eof(); }
  pplx::task<int_type> _nextc() override { return End(); }
  pplx::task<int_type> _ungetc() override { return End(); }
  pplx::task<std::size_t> _getn(std::uint8_t*, std::size_t) override {
    return pplx::task_from_result(std::size_t{0});
  }
  std::size_t _scopy(std::uint8_t*, std::size_t) override { return 0; }

 private:
  static pplx::task<int_type> End() { return pplx::task_from_result<int_type>(traits::eof()); }

  const std::size_t cap_;
  std::string bytes_;
  std::atomic<bool> exceeded_{false};
};

// Shared by the waiting thread and the library's: whoever leaves last destroys it, so that a
// request that does not react to its cancellation can be left behind.
struct Exchange {
  explicit Exchange(std::size_t body_bytes_max)
      : body(std::make_shared<CappedBody>(body_bytes_max)) {}

  const std::shared_ptr<CappedBody> body;
  pplx::cancellation_token_source cancel;

  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;     // guarded by `mutex`, as is all below
  bool flooded = false;  // more bytes on the wire than any good answer has
  std::string failure;   // the library's words, never passed on; empty: there is an answer
  int status = 0;
  std::map<std::string, std::string> headers;
  bool headers_too_large = false;

  void Finish(std::string words) {
    {
      const std::lock_guard lock(mutex);
      done = true;
      failure = std::move(words);
    }
    changed.notify_all();
  }

  void TakeHead(const http::http_response& response) {
    const std::lock_guard lock(mutex);
    status = response.status_code();
    std::size_t bytes = 0;
    for (const auto& [name, value] : response.headers()) {
      bytes += name.size() + value.size();
      if (headers.size() >= kHeadersMax || bytes > kHeaderBytesMax) {
        headers_too_large = true;
        headers.clear();
        return;
      }
      headers.emplace(LowerCase(name), value);
    }
  }
};

// What OpenSSL sees of one client's connections. The library tells neither whether a failed request
// was written nor how much it holds in memory; this does, for TLS.
struct Wire {
  explicit Wire(std::uint64_t limit) : received_max(limit) {}
  const std::uint64_t received_max;
  std::atomic<bool> established{false};  // a handshake was completed: bytes may have been sent
  std::atomic<std::uint64_t> received{0};
  std::mutex mutex;
  std::weak_ptr<Exchange> current;  // guarded by `mutex`

  void Begin(const std::shared_ptr<Exchange>& exchange) {
    received = 0;
    const std::lock_guard lock(mutex);
    current = exchange;
  }

  void Count(std::uint64_t bytes) {
    if ((received += bytes) <= received_max) return;
    std::shared_ptr<Exchange> exchange;
    {
      const std::lock_guard lock(mutex);
      exchange = current.lock();
    }
    if (!exchange) return;
    // Only flagged here, inside the library's own read; the waiting thread cancels.
    {
      const std::lock_guard lock(exchange->mutex);
      exchange->flooded = true;
    }
    exchange->changed.notify_all();
  }
};

// The context keeps its Wire alive, since it outlives the client by a moment.
int WireIndex() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* wire, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<std::shared_ptr<Wire>*>(wire);
      });
  return index;
}

void OnTlsState(const SSL* ssl, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_DONE) == 0) return;
  const auto* wire = static_cast<const std::shared_ptr<Wire>*>(
      SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), WireIndex()));
  if (wire != nullptr) (*wire)->established = true;
}

void OnTlsRecord(int written, int, int type, const void* bytes, std::size_t size, SSL*,
                 void* wire) {
  if (written != 0 || type != SSL3_RT_HEADER || size < 5) return;
  const auto* head = static_cast<const unsigned char*>(bytes);
  static_cast<Wire*>(wire)->Count(5u + (head[3] << 8 | head[4]));
}

void PrepareTls(boost::asio::ssl::context& context, const std::string& ca_file,
                const std::shared_ptr<Wire>& wire) {
  SSL_CTX* native = context.native_handle();
  if (SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) != 1) {
    throw std::runtime_error("TLS version");
  }
  if (!ca_file.empty()) context.load_verify_file(ca_file);
  auto owner = std::make_unique<std::shared_ptr<Wire>>(wire);
  if (SSL_CTX_set_ex_data(native, WireIndex(), owner.get()) != 1) {
    throw std::bad_alloc();
  }
  owner.release();  // NOLINT(bugprone-unused-return-value): the context's since the line above
  SSL_CTX_set_info_callback(native, &OnTlsState);
  SSL_CTX_set_msg_callback(native, &OnTlsRecord);
  SSL_CTX_set_msg_callback_arg(native, wire.get());
}

// All of the library's work happens on its pool, and the pool has one thread. With two, a timeout
// or a cancellation closes a socket while a read on the other thread starts its next step, and the
// process ends in a segmentation fault: seen with 2.10.18, reproducible within seconds on TLS.
bool StartPool() {
  static const bool started = [] {
    try {
      crossplat::threadpool::initialize_with_threads(1);
      return true;
    } catch (const std::exception&) {
      return false;  // somebody else's pool, of some other size
    }
  }();
  return started;
}

template <class Work>
void OnPool(Work work) {
  boost::asio::post(crossplat::threadpool::shared_instance().service(), std::move(work));
}

std::string What(const std::exception_ptr& caught) {
  try {
    std::rethrow_exception(caught);
  } catch (const std::exception& e) {
    const std::string words = e.what();
    return words.empty() ? "unknown" : words;
  } catch (...) {
    return "unknown";
  }
}

// The library's own words say best how far a request came. Those that are not known here mean "it
// may have arrived", so that a change of wording errs on the safe side; the tests would show it.
bool IsOneOf(std::string_view words, std::initializer_list<std::string_view> known) {
  return std::any_of(known.begin(), known.end(),
                     [words](std::string_view k) { return words.starts_with(k); });
}

}  // namespace

// --- The client -------------------------------------------------------------------------------

struct HttpClient::Impl {
  struct Channel {
    std::shared_ptr<http::client::http_client> client;
    std::shared_ptr<Wire> wire;
  };
  // Of one attempt. `unreached`: nothing of the request was written, so that another address of the
  // platform may be tried.
  struct Attempt {
    Result<HttpResponse> result;
    bool unreached = false;
  };

  Origin origin;
  std::string ca_file;
  HttpLimits limits;
  PlatformTimeSink platform_time;
  std::mutex busy;                     // one request at a time
  std::vector<std::string> addresses;  // not yet failed; the front one is in use
  std::optional<Channel> kept;         // for requests that may be repeated

  Channel Open() const {
    Channel out;
    out.wire = std::make_shared<Wire>(2 * std::uint64_t{limits.body_bytes_max} + (1u << 20));
    http::client::http_client_config config;
    config.set_max_redirects(0);
    config.set_validate_certificates(true);
    config.set_request_compressed_response(false);
    config.set_proxy(web::web_proxy(web::web_proxy::disabled));
    config.set_timeout(std::min(limits.step_timeout, limits.total_deadline));
    if (origin.tls) {
      config.set_ssl_context_callback(
          [file = ca_file, wire = out.wire](boost::asio::ssl::context& context) {
            PrepareTls(context, file, wire);
          });
    }
    const std::string address = std::string(origin.tls ? "https://" : "http://") +
                                addresses.front() + ":" + std::to_string(origin.port);
    // Its connections are closed where they are used, too.
    out.client = std::shared_ptr<http::client::http_client>(
        new http::client::http_client(web::uri(address), config),
        [](http::client::http_client* client) {
          OnPool([owner = std::unique_ptr<http::client::http_client>(client)] {});
        });
    return out;
  }

  http::http_request Encode(const HttpRequest& from, const Exchange& exchange) const {
    http::http_request out{http::method(from.method)};
    out.set_request_uri(web::uri(Target(from)));
    if (!from.body.empty()) {
      out.set_body(from.body, from.content_type.empty() ? std::string("application/octet-stream")
                                                        : from.content_type);
    }
    // The library takes the name for SNI and for the certificate from here, port and all: so no
    // port, even where it is not 443. For plain HTTP it writes address and port by itself.
    if (origin.tls) out.headers().add("Host", origin.host);
    for (const auto& [name, value] : from.headers) out.headers().add(name, value.Reveal());
    if (!out.headers().has("User-Agent")) out.headers().add("User-Agent", "Mayfly");
    out.set_response_stream(
        streams::streambuf<std::uint8_t>(
            std::shared_ptr<streams::details::basic_streambuf<std::uint8_t>>(exchange.body))
            .create_ostream());
    return out;
  }

  // Waits for the resolver without being at its mercy: Asio asks it on a thread of its own.
  Status Resolve(steady_clock::time_point deadline, const std::stop_token& stop) {
    using boost::asio::ip::tcp;
    // This name is never asked for outside (RFC 6761 section 6.3), and a minimal system has no file
    // that knows it.
    if (origin.host == "localhost") return Permit({"127.0.0.1"});
    struct Question {
      tcp::resolver resolver{crossplat::threadpool::shared_instance().service()};
      std::mutex mutex;
      std::condition_variable_any changed;
      std::optional<std::vector<std::string>> found;  // guarded by `mutex`
    };
    auto question = std::make_shared<Question>();
    OnPool([question, host = origin.host] {
      question->resolver.async_resolve(
          tcp::v4(), host, "", tcp::resolver::flags(),
          [question](const boost::system::error_code&, const tcp::resolver::results_type& results) {
            std::vector<std::string> found;  // empty after a failure
            for (const auto& entry : results) {
              found.push_back(entry.endpoint().address().to_string());
            }
            {
              const std::lock_guard lock(question->mutex);
              question->found = std::move(found);
            }
            question->changed.notify_all();
          });
    });
    std::unique_lock lock(question->mutex);
    if (!question->changed.wait_until(lock, stop, deadline,
                                      [&] { return question->found.has_value(); })) {
      if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "asked to stop");
      return Fail(ErrorCode::kPlatformUnavailable, "the resolver did not answer in time");
    }
    if (question->found->empty()) {
      return Fail(ErrorCode::kPlatformUnavailable, "the platform's host name does not resolve");
    }
    return Permit(*question->found);
  }

  Status Permit(const std::vector<std::string>& found) {
    MAYFLY_ASSIGN_OR_RETURN(addresses, PermittedAddresses(origin, found));
    return {};
  }

  Attempt TryOnce(const HttpRequest& request, steady_clock::time_point deadline,
                  const std::stop_token& stop) {
    auto exchange = std::make_shared<Exchange>(limits.body_bytes_max);
    Channel channel;
    try {
      http::http_request encoded = Encode(request, *exchange);
      // The library resends a request by itself when a kept connection turns out to be dead,
      // whatever the method. So what must not be repeated gets a connection of its own.
      if (!IsSafe(request.method)) {
        channel = Open();
      } else {
        if (!kept) kept = Open();
        channel = *kept;
      }
      channel.wire->Begin(exchange);
      Start(channel, std::move(encoded), exchange);
    } catch (const std::exception&) {
      // Before anything was handed to the library's threads; its words may quote the request.
      return {.result = Fail(ErrorCode::kInternal, "the request cannot be encoded")};
    }
    Await(exchange, deadline, stop);
    return Conclude(request, channel, *exchange, stop);
  }

  static void Start(const Channel& channel, http::http_request request,
                    const std::shared_ptr<Exchange>& exchange) {
    OnPool([client = channel.client, request = std::move(request), exchange] {
      // Both chains end in a continuation that looks at the task: an unobserved failure would end
      // the process.
      try {
        client->request(request, exchange->cancel.get_token())
            .then([exchange](const pplx::task<http::http_response>& head) {
              try {
                const http::http_response response = head.get();
                exchange->TakeHead(response);
                response.content_ready().then(
                    [exchange](const pplx::task<http::http_response>& whole) {
                      try {
                        whole.get();
                        exchange->Finish("");
                      } catch (...) {
                        exchange->Finish(What(std::current_exception()));
                      }
                    });
              } catch (...) {
                exchange->Finish(What(std::current_exception()));
              }
            });
      } catch (...) {
        exchange->Finish(What(std::current_exception()));
      }
    });
  }

  // Returns when the request is done, or was cancelled and had time to end.
  static void Await(const std::shared_ptr<Exchange>& exchange, steady_clock::time_point deadline,
                    const std::stop_token& stop) {
    std::unique_lock lock(exchange->mutex);
    const auto settled = [&] { return exchange->done || exchange->flooded; };
    exchange->changed.wait_until(lock, stop, deadline, settled);
    if (exchange->done) return;
    OnPool([exchange] { exchange->cancel.cancel(); });
    exchange->changed.wait_for(lock, kCancelGrace, [&] { return exchange->done; });
  }

  Attempt Conclude(const HttpRequest& request, const Channel& channel, Exchange& exchange,
                   const std::stop_token& stop) {
    const std::lock_guard lock(exchange.mutex);
    if (exchange.done && exchange.failure.empty() && !exchange.flooded) {
      return {.result = Answer(exchange)};
    }
    // A connection that failed once is not used again; nor is the address, if it was never reached.
    if (IsSafe(request.method)) kept.reset();
    // A request that did not even react to its cancellation may still go out.
    const bool unreached =
        exchange.done &&
        (IsOneOf(exchange.failure, {"Failed to connect to any resolved endpoint",
                                    "Error resolving address", "Error in SSL handshake"}) ||
         (origin.tls && !channel.wire->established));
    if (stop.stop_requested()) {
      return {.result = Fail(ErrorCode::kCancelled, "asked to stop")};
    }
    if (exchange.body->exceeded() || exchange.flooded) {
      return {.result = Fail(ErrorCode::kTooLarge, "the platform's answer is too large")};
    }
    if (unreached) {
      return {.result = Fail(ErrorCode::kPlatformUnavailable,
                             origin.tls ? "no TLS connection to the platform"
                                        : "no connection to the platform"),
              .unreached = true};
    }
    if (IsOneOf(exchange.failure,
                {"Invalid HTTP status line", "Invalid chunked response header"})) {
      return {.result = Fail(ErrorCode::kProtocol, "the platform's answer is not HTTP")};
    }
    return {.result = Fail(ErrorCode::kOutcomeUnknown,
                           "the platform did not answer in time or the connection was lost")};
  }

  void TellTime(const HttpResponse& response) const {
    if (!platform_time || !origin.tls) return;
    const auto date = response.headers.find("date");
    if (date == response.headers.end()) return;
    if (const auto said = ParseHttpDate(date->second)) platform_time(*said);
  }

  static Result<HttpResponse> Answer(Exchange& exchange) {
    if (exchange.headers_too_large) {
      return Fail(ErrorCode::kTooLarge, "the headers of the platform's answer are too large");
    }
    if (exchange.status < 200 || exchange.status > 599) {
      return Fail(ErrorCode::kProtocol, "the platform's answer has no valid status");
    }
    if (!IsWellFormed(exchange.headers)) {
      return Fail(ErrorCode::kProtocol, "the head of the platform's answer is malformed");
    }
    const auto encoding = exchange.headers.find("content-encoding");
    if (encoding != exchange.headers.end() && LowerCase(encoding->second) != "identity") {
      return Fail(ErrorCode::kProtocol, "the platform's answer is compressed, unasked");
    }
    return HttpResponse{.status = exchange.status,
                        .headers = std::move(exchange.headers),
                        .body = exchange.body->Take()};
  }
};

Result<std::unique_ptr<HttpClient>> HttpClient::Create(const std::string& origin,
                                                       const EgressPolicy& egress,
                                                       const HttpLimits& limits,
                                                       PlatformTimeSink platform_time) {
  if (!StartPool()) {
    return Fail(ErrorCode::kInternal, "the HTTP library's threads were started elsewhere");
  }
  auto impl = std::make_unique<Impl>();
  MAYFLY_ASSIGN_OR_RETURN(impl->origin, ParseOrigin(origin, egress));
  impl->limits = limits;
  impl->platform_time = std::move(platform_time);
  if (impl->origin.private_allowed && !egress.ca_file.empty()) {
    impl->ca_file = egress.ca_file;
    try {
      boost::asio::ssl::context probe(boost::asio::ssl::context::tls_client);
      probe.load_verify_file(impl->ca_file);
    } catch (const std::exception&) {
      return Fail(ErrorCode::kInvalidArgument, "not a readable file of PEM certificates",
                  "ca_file");
    }
  }
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::Send(const HttpRequest& request, std::stop_token stop) {
  MAYFLY_RETURN_IF_ERROR(CheckRequest(request));
  const std::lock_guard lock(impl_->busy);
  const auto deadline = steady_clock::now() + impl_->limits.total_deadline;
  for (int tried = 1;; ++tried) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "asked to stop");
    if (impl_->addresses.empty()) MAYFLY_RETURN_IF_ERROR(impl_->Resolve(deadline, stop));
    Impl::Attempt attempt = impl_->TryOnce(request, deadline, stop);
    if (attempt.result) impl_->TellTime(*attempt.result);
    if (!attempt.unreached) return std::move(attempt.result);
    // The next of the addresses; once all have failed, the next request resolves anew.
    impl_->addresses.erase(impl_->addresses.begin());
    impl_->kept.reset();
    if (impl_->addresses.empty() || tried >= kAddressesTriedMax ||
        steady_clock::now() >= deadline) {
      return std::move(attempt.result);
    }
  }
}

void InitialiseHttpThreads(int) { StartPool(); }

}  // namespace mayfly::connectors
