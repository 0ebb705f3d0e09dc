#include "service/api/connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/status.hpp>

#include "service/api/problem.h"
#include "service/api/render.h"
#include "service/api/tls.h"
#include "store/model/clock.h"
#include "store/model/sensitive.h"

namespace mayfly::service::api {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kReadBytes = 4096;
// After an answer with `Connection: close`: how much of what still comes in is thrown away, and for
// how long, before the socket goes.
constexpr std::size_t kLingerBytes = 1u << 20;
constexpr std::chrono::milliseconds kLingerTime{2'000};
constexpr unsigned char kTlsHandshakeRecord = 0x16;

constexpr HeadError kSpeaksTls{400, "malformed-request", "This address speaks TLS: use https."};
constexpr HeadError kBadProxy{400, "malformed-request",
                              "The proxy's X-Forwarded-For does not end in an address."};
constexpr HeadError kClearProxy{400, "malformed-request",
                                "The proxy says that the client did not use https."};

// Of RFC 9112, 7.1; of nothing, the last one.
std::string ChunkOf(std::string_view bytes) {
  std::ostringstream size;
  size << std::hex << bytes.size() << "\r\n";
  std::string chunk = size.str();
  chunk.reserve(chunk.size() + bytes.size() + 2);
  return chunk.append(bytes).append("\r\n");
}

}  // namespace

bool Occupancy::Enter(const std::string& key) {
  const std::lock_guard lock(mutex_);
  std::size_t& count = counts_[key];
  if (count >= each_max_) {
    if (count == 0) counts_.erase(key);
    return false;
  }
  ++count;
  return true;
}

void Occupancy::Leave(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(key);
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

Connection::Connection(ServerState& server, const Strand& strand, int fd, Origin origin,
                       std::function<void(Connection*)> on_closed)
    : server_(server),
      stream_(strand),
      timer_(strand),
      origin_(std::move(origin)),
      on_closed_(std::move(on_closed)) {
  error_code error;
  stream_.socket().assign(asio::generic::stream_protocol(origin_.family, 0), fd, error);
  if (error) ::close(fd);
}

void Connection::Start() {
  asio::post(stream_.strand(), [self = shared_from_this()] {
    if (!self->stream_.socket().is_open()) return self->Close();
    if (!self->origin_.tls) return self->AwaitRequest(/*first=*/true);
    self->state_ = State::kHandshake;
    self->Arm(self->server_.limits.handshake_deadline);
    self->AwaitHello();
  });
}

void Connection::Drain() {
  asio::post(stream_.strand(), [self = shared_from_this()] {
    if (self->state_ == State::kIdle || self->state_ == State::kHandshake) self->Close();
    if (self->state_ == State::kStreaming) self->PumpEvents();
  });
}

void Connection::Cut() {
  asio::post(stream_.strand(), [self = shared_from_this()] { self->Close(); });
}

HeadLimits Connection::head_limits() const {
  return {.head_bytes_max = server_.limits.head_bytes_max,
          .fields_max = server_.limits.fields_max,
          .target_bytes_max = server_.limits.target_bytes_max};
}

std::string_view Connection::Buffered() const {
  const auto data = buffer_.data();
  return {static_cast<const char*>(data.data()), data.size()};
}

// --- TLS

// Nothing of TLS is made before there is something to read.
void Connection::AwaitHello() {
  stream_.socket().async_wait(Stream::Socket::wait_read,
                              [self = shared_from_this(), epoch = epoch_](error_code error) {
                                if (epoch != self->epoch_) return;
                                if (error) return self->Close();
                                self->OnHello();
                              });
}

void Connection::OnHello() {
  unsigned char first = 0;
  const ssize_t got = ::recv(stream_.socket().native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return AwaitHello();
  if (got <= 0) return Close();
  if (first == kTlsHandshakeRecord) return Handshake();
  // Most often a person who typed http. The answer goes out in the clear, as the question came.
  request_.id = NewRequestId();
  Refuse(kSpeaksTls);
}

void Connection::Handshake() {
  const auto pair = server_.options.certificates->current();
  if (!pair) return Close();
  stream_.AsyncHandshake(*pair->context,
                         [self = shared_from_this(), epoch = epoch_](error_code error) {
                           if (epoch != self->epoch_) return;
                           if (error) {
                             ++self->server_.refused_handshakes;
                             return self->Close();
                           }
                           self->AwaitRequest(/*first=*/true);
                         });
}

// --- the head

void Connection::AwaitRequest(bool first) {
  LeaveClient();
  request_ = {};
  request_.id = NewRequestId();
  admission_ = {};
  head_only_ = false;
  http10_ = false;
  keep_alive_ = false;
  scanner_.emplace(head_limits());
  if (buffer_.size() > 0) {  // pipelined
    state_ = State::kHead;
    Arm(server_.limits.head_deadline);
    return ScanHead();
  }
  state_ = State::kIdle;
  if (server_.draining) return Close();
  buffer_.shrink_to_fit();
  Arm(first ? server_.limits.head_deadline : server_.limits.idle_deadline);
  ReadHead();
}

void Connection::ReadHead() {
  stream_.AsyncReadSome(buffer_.prepare(kReadBytes), [self = shared_from_this(), epoch = epoch_](
                                                         error_code error, std::size_t bytes) {
    if (epoch == self->epoch_) self->OnHeadBytes(error, bytes);
  });
}

void Connection::OnHeadBytes(error_code error, std::size_t bytes) {
  if (error == asio::error::eof && state_ == State::kHead) return Refuse({});
  if (error) return Close();
  buffer_.commit(bytes);
  if (state_ == State::kIdle) {
    state_ = State::kHead;
    Arm(server_.limits.head_deadline);
  }
  ScanHead();
}

void Connection::ScanHead() {
  const auto size = scanner_->Scan(Buffered());
  if (!size) return Refuse(size.error());
  if (!*size) return ReadHead();
  auto head = ParseHead(Buffered().substr(0, **size), head_limits());
  buffer_.consume(**size);
  if (!head) return Refuse(head.error());
  OnHead(*std::move(head));
}

void Connection::OnHead(Head head) {
  ++server_.requests;
  const std::string id = std::move(request_.id);
  request_ = std::move(head.request);
  request_.id = id;
  request_.admin_socket = origin_.admin;
  request_.peer_uid = origin_.peer_uid;
  head_only_ = request_.method == "HEAD";
  http10_ = head.http10;
  keep_alive_ = head.keep_alive;
  if (!KnowClient()) return;

  BodyPlan plan;
  plan.present = head.has_body();
  if (!head.chunked) plan.length = head.content_length;
  plan.bytes_max = server_.limits.body_bytes_max;
  try {
    admission_ = Admit(server_.router, server_.authenticate, request_, plan, server_.ready);
  } catch (const std::exception&) {
    admission_.refusal = Problem(request_, Error{.code = ErrorCode::kInternal});
  }
  if (admission_.refusal) {
    if (head.has_body()) {
      keep_alive_ = false;
      unread_ = true;
    }
    if (admission_.refusal->status == 413) ++server_.refused_limits;
    return Send(*std::move(admission_.refusal));
  }
  if (!head.has_body()) return Run();
  BeginBody(head);
}

// Sets request_.client. False when the request was answered here: over a proxy, one client may have
// as many requests under way as others may have connections.
bool Connection::KnowClient() {
  request_.client = origin_.key;
  if (!origin_.proxy) return true;
  const std::string* scheme = request_.Header("x-forwarded-proto");
  if (scheme != nullptr && *scheme != "https") {
    Refuse(kClearProxy);
    return false;
  }
  const auto client = ClientBehind(*origin_.proxy, server_.options.trusted_proxies,
                                   request_.Header("x-forwarded-for"));
  if (!client) {
    Refuse(kBadProxy);
    return false;
  }
  request_.client = CountingKey(*client);
  if (server_.occupancy.Enter(request_.client)) {
    client_ = request_.client;
    return true;
  }
  ++server_.refused_limits;
  keep_alive_ = false;
  unread_ = true;
  Send(Problem(request_, Error{.code = ErrorCode::kUnavailable}));
  return false;
}

void Connection::BeginBody(const Head& head) {
  state_ = State::kBody;
  Arm(server_.limits.body_deadline);
  remaining_ = head.content_length;
  chunked_.reset();
  if (head.chunked) chunked_.emplace(admission_.body_bytes_max);
  if (head.expect_continue && buffer_.size() == 0) return SendContinue();
  TakeBody();
}

// --- the body

void Connection::SendContinue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  saying_continue_ = true;
  stream_.AsyncWrite(asio::buffer(kContinue.data(), kContinue.size()),
                     [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t) {
                       self->saying_continue_ = false;
                       if (epoch != self->epoch_) return;
                       if (error) return self->Close();
                       self->TakeBody();
                     });
}

void Connection::TakeBody() {
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
  stream_.AsyncReadSome(buffer_.prepare(kReadBytes), [self = shared_from_this(), epoch = epoch_](
                                                         error_code error, std::size_t bytes) {
    if (epoch != self->epoch_) return;
    if (error == asio::error::eof) return self->Refuse({});
    if (error) return self->Close();
    self->buffer_.commit(bytes);
    self->TakeBody();
  });
}

// --- the answer

void Connection::Run() {
  state_ = State::kHandling;
  Disarm();
  if (!admission_.route->slow) return Send(Handle(admission_, request_));
  if (server_.slow_waiting.fetch_add(1) >= server_.limits.slow_queue_max) {
    --server_.slow_waiting;
    return Send(Problem(request_, Error{.code = ErrorCode::kUnavailable}));
  }
  asio::post(*server_.slow, [self = shared_from_this()] {
    Response response = Handle(self->admission_, self->request_);
    --self->server_.slow_waiting;
    asio::post(self->stream_.strand(), [self, response = std::move(response)]() mutable {
      self->Send(std::move(response));
    });
  });
}

// The listener's own refusal: the connection ends with it.
void Connection::Refuse(const HeadError& why) {
  // Half of a 100 (Continue) that nobody reads: an answer behind it would not be one.
  if (saying_continue_) return Close();
  ++epoch_;
  error_code ignored;
  stream_.socket().cancel(ignored);
  const bool limit =
      why.status == 408 || why.status == 413 || why.status == 414 || why.status == 431;
  ++(limit ? server_.refused_limits : server_.refused_malformed);
  keep_alive_ = false;
  unread_ = true;
  Send(Problem(request_, why.status, why.word, why.title));
}

void Connection::Send(Response response) {
  if (state_ == State::kClosed) return;  // cut while a slow handler ran
  WipeString(request_.body);             // it may hold a credential or a reply
  state_ = State::kWriting;
  if (server_.draining || response.events) keep_alive_ = false;
  events_ = response.events;
  source_left_ = response.source_bytes;
  source_ = head_only_ || source_left_ == 0u ? nullptr : response.source;
  // Without chunks, only the end of the connection says where it ends.
  if (response.source && !source_left_ && http10_) keep_alive_ = false;
  WriteHead(response);
  body_ = std::move(response.body);
  Arm(server_.limits.write_deadline);
  const bool with_body = !head_only_ && response.status != 204 && response.status != 304;
  const std::array<asio::const_buffer, 2> parts = {
      asio::buffer(head_),
      with_body ? asio::const_buffer(asio::buffer(body_)) : asio::const_buffer()};
  stream_.AsyncWrite(parts,
                     [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t) {
                       if (epoch == self->epoch_) self->OnSent(error);
                     });
}

void Connection::OnSent(error_code error) {
  WipeString(body_);
  if (error) return Close();
  if (source_) return SendPiece();
  if (events_ && !head_only_) return BeginEvents();
  if (keep_alive_) return AwaitRequest(/*first=*/false);
  if (unread_ || buffer_.size() > 0 || stream_.secure()) return Linger();
  Close();
}

void Connection::SendPiece() {
  Result<std::string> piece = source_->Next();
  if (!piece) return Close();
  if (source_left_) {
    // Too little or too much would shift whatever follows on this connection.
    if (piece->empty() || piece->size() > *source_left_) return Close();
    *source_left_ -= piece->size();
    if (*source_left_ == 0) source_.reset();
    body_ = *std::move(piece);
  } else {
    if (piece->empty()) source_.reset();
    body_ = http10_ ? *std::move(piece) : ChunkOf(*piece);
  }
  Arm(server_.limits.write_deadline);
  stream_.AsyncWrite(asio::buffer(body_),
                     [self = shared_from_this(), epoch = epoch_](error_code error, std::size_t) {
                       if (epoch == self->epoch_) self->OnSent(error);
                     });
}

void Connection::WriteHead(const Response& response) {
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  head_ = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head_.append(reason.data(), reason.size());
  const auto add = [this](std::string_view name, std::string_view value) {
    head_.append("\r\n").append(name).append(": ").append(value);
  };
  // What a handler says about these two counts.
  const auto said = [&response](std::string_view name) {
    return std::any_of(response.headers.begin(), response.headers.end(),
                       [&](const auto& header) { return header.first == name; });
  };
  if (server_.options.clock != nullptr && !said("Date")) {
    add("Date", FormatHttpDate(server_.options.clock->Now()));
  }
  add("X-Request-Id", request_.id);
  if (!said("Cache-Control")) add("Cache-Control", "no-store");
  add("X-Content-Type-Options", "nosniff");
  // A year, renewed with every answer. Names below this one are not ours to decide about.
  if (stream_.secure()) add("Strict-Transport-Security", "max-age=31536000");
  for (const auto& [name, value] : response.headers) add(name, value);
  if (response.events) {
    add("Content-Type", "text/event-stream");
    if (!http10_) add("Transfer-Encoding", "chunked");
  } else if (response.status != 204 && response.status != 304) {
    const bool any = response.source || !response.body.empty();
    if (any) add("Content-Type", response.content_type);
    if (!response.source) {
      add("Content-Length", std::to_string(response.body.size()));
    } else if (response.source_bytes) {
      add("Content-Length", std::to_string(*response.source_bytes));
    } else if (!http10_) {
      add("Transfer-Encoding", "chunked");
    }
  }
  if (!keep_alive_) {
    add("Connection", "close");
  } else if (http10_) {
    add("Connection", "keep-alive");
  }
  head_.append("\r\n\r\n");
}

// --- events

void Connection::BeginEvents() {
  // Called from any thread, as long as this connection lives.
  events_->OnReady([weak = weak_from_this(), strand = stream_.strand()] {
    asio::post(strand, [weak] {
      const auto self = weak.lock();
      if (self && self->state_ == State::kStreaming) self->PumpEvents();
    });
  });
  PumpEvents();
}

void Connection::PumpEvents() {
  EventStream::Pulled pulled = events_->Pull();
  const bool last = pulled.ended || server_.draining;
  if (!pulled.text.empty() || last) return SendEvents(std::move(pulled.text), last);
  state_ = State::kStreaming;
  Arm(server_.limits.event_heartbeat);
}

// As one chunk, and the last one behind it when that was all.
void Connection::SendEvents(std::string text, bool last) {
  state_ = State::kWriting;
  Arm(server_.limits.write_deadline);
  body_.clear();
  if (http10_) {
    body_ = std::move(text);
  } else {
    if (!text.empty()) body_ = ChunkOf(text);
    if (last) body_ += ChunkOf({});
  }
  stream_.AsyncWrite(asio::buffer(body_), [self = shared_from_this(), epoch = epoch_, last](
                                              error_code error, std::size_t) {
    if (epoch != self->epoch_) return;
    if (error) return self->Close();
    if (last) return self->Linger();
    self->PumpEvents();
  });
}

// --- the end

void Connection::LeaveClient() {
  if (client_) server_.occupancy.Leave(*client_);
  client_.reset();
}

// Closing at once, with input unread, would reset the connection and could take the answer away
// from the client. Over TLS the client is told, besides, that nothing was cut off.
void Connection::Linger() {
  state_ = State::kLingering;
  LeaveClient();
  buffer_.consume(buffer_.size());
  Arm(std::min(kLingerTime, server_.limits.write_deadline));
  if (!stream_.secure()) return EndSending();
  stream_.AsyncCloseNotify([self = shared_from_this(), epoch = epoch_](error_code error) {
    if (epoch != self->epoch_) return;
    if (!error || error == asio::error::eof) return self->Close();
    self->EndSending();  // it still sends: what comes is not even deciphered
  });
}

void Connection::EndSending() {
  error_code failed;
  stream_.socket().shutdown(Stream::Socket::shutdown_send, failed);
  if (failed) return Close();
  Discard(0);
}

void Connection::Discard(std::size_t already) {
  stream_.AsyncReadRaw(buffer_.prepare(kReadBytes), [self = shared_from_this(), epoch = epoch_,
                                                     already](error_code error, std::size_t bytes) {
    if (epoch != self->epoch_) return;
    if (error || already + bytes > kLingerBytes) return self->Close();
    self->Discard(already + bytes);
  });
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  ++epoch_;
  Disarm();
  LeaveClient();
  source_.reset();
  WipeString(body_);
  if (events_) {
    events_->OnReady(nullptr);
    events_->End();  // the producer learns it with its next event
  }
  error_code ignored;
  stream_.socket().close(ignored);
  on_closed_(this);
}

// --- deadlines

void Connection::Arm(std::chrono::milliseconds wait) {
  const std::uint64_t round = ++timer_round_;
  timer_.expires_after(wait);
  timer_.async_wait([self = shared_from_this(), round](error_code error) {
    if (!error && round == self->timer_round_) self->OnDeadline();
  });
}

void Connection::Disarm() {
  ++timer_round_;
  timer_.cancel();
}

void Connection::OnDeadline() {
  if (state_ == State::kHead || state_ == State::kBody) {
    return Refuse({408, "request-timeout", "The request took too long to arrive."});
  }
  if (state_ == State::kStreaming) return SendEvents(kHeartbeat, /*last=*/false);
  // Waiting for a handshake, a request, a reader, or for the end of what nobody reads.
  if (state_ == State::kWriting || state_ == State::kHandshake) ++server_.refused_limits;
  Close();
}

}  // namespace mayfly::service::api
