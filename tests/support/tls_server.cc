#include "tests/support/tls_server.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <openssl/ssl.h>

#include "tests/support/certificates.h"

namespace mayfly::testing {
namespace {

constexpr std::size_t kHeadMax = 64 * 1024;

class Peer final : public TlsPeer {
 public:
  explicit Peer(SSL* ssl) : ssl_(ssl) {}
  const std::string& head() const override { return head_; }
  std::string server_name() const override {
    const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
    return name == nullptr ? "" : name;
  }
  std::string protocol() const override { return SSL_get_version(ssl_); }
  bool Write(std::string_view bytes) override {
    return SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) > 0;
  }
  // The head is kept, the body is only read: closing on unread bytes would reset the connection.
  bool ReadRequest() {
    char byte = 0;
    while (!head_.ends_with("\r\n\r\n")) {
      if (head_.size() >= kHeadMax || SSL_read(ssl_, &byte, 1) != 1) return false;
      head_.push_back(byte);
    }
    constexpr std::string_view kLength = "Content-Length:";
    const std::size_t at = head_.find(kLength);
    long left = at == std::string::npos ? 0 : std::strtol(&head_[at + kLength.size()], nullptr, 10);
    for (; left > 0; --left) {
      if (SSL_read(ssl_, &byte, 1) != 1) return false;
    }
    return true;
  }

 private:
  SSL* ssl_;
  std::string head_;
};

}  // namespace

struct TlsServer::Impl {
  TlsServerOptions options;
  SslContextPtr context;
  std::string ca_pem;
  int listener = -1;
  std::uint16_t port = 0;
  std::atomic<int> connections{0};
  std::atomic<int> requests{0};
  std::mutex mutex;
  bool stopping = false;  // guarded by `mutex`
  int current = -1;       // guarded by `mutex`: the connection being served
  std::thread thread;

  void Prepare() {
    const Validity validity = AroundNow();
    Validity leaf_validity = validity;
    if (options.expired) leaf_validity.until -= std::chrono::hours(25);  // an hour ago
    const KeyPtr ca_key = MakeKey();
    const CertificatePtr ca =
        MakeCertificate("Mayfly test CA", ca_key.get(), nullptr, ca_key.get(), "", validity);
    const KeyPtr key = MakeKey();
    const CertificatePtr leaf = MakeCertificate("leaf", key.get(), ca.get(), ca_key.get(),
                                                options.certificate_name, leaf_validity);
    ca_pem = ToPem(ca.get());
    context.reset(Must(SSL_CTX_new(TLS_server_method()), "context"));
    if (options.protocol_max != 0) {
      SSL_CTX_set_security_level(context.get(), 0);
      SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
      SSL_CTX_set_max_proto_version(context.get(), options.protocol_max);
    }
    Must(SSL_CTX_use_certificate(context.get(), leaf.get()), "certificate");
    Must(SSL_CTX_use_PrivateKey(context.get(), key.get()), "private key");
  }

  void Listen() {
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener, 16) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("listen");
    }
    port = ntohs(address.sin_port);
  }

  void Run() {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;  // the destructor shut the listener down
      const timeval limit = {.tv_sec = 30, .tv_usec = 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      {
        const std::lock_guard lock(mutex);
        if (stopping) {
          close(fd);
          return;
        }
        current = fd;
      }
      ++connections;
      Serve(fd);
      {
        const std::lock_guard lock(mutex);
        current = -1;
      }
      close(fd);
    }
  }

  void Serve(int fd) {
    if (options.never_shake_hands) {
      char byte = 0;
      while (recv(fd, &byte, 1, 0) > 0) continue;  // until the peer leaves
      return;
    }
    if (!options.instead_of_handshake.empty()) {
      char hello[4096];
      if (recv(fd, hello, sizeof hello, 0) <= 0) return;
      const std::string& bytes = options.instead_of_handshake;
      if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return;  // the peer left first
      shutdown(fd, SHUT_WR);
      while (recv(fd, hello, sizeof hello, 0) > 0) continue;
      return;
    }
    const SslPtr ssl(SSL_new(context.get()));
    if (!ssl || SSL_set_fd(ssl.get(), fd) != 1 || SSL_accept(ssl.get()) != 1) return;
    Peer peer(ssl.get());
    if (!peer.ReadRequest()) return;
    ++requests;
    if (options.respond) options.respond(peer);
    SSL_shutdown(ssl.get());
  }
};

TlsServer::TlsServer(TlsServerOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->Prepare();
  impl_->Listen();
  impl_->thread = std::thread([this] { impl_->Run(); });
}

TlsServer::~TlsServer() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    if (impl_->current >= 0) shutdown(impl_->current, SHUT_RDWR);
  }
  shutdown(impl_->listener, SHUT_RDWR);
  impl_->thread.join();
  close(impl_->listener);
}

std::uint16_t TlsServer::port() const { return impl_->port; }
const std::string& TlsServer::ca_pem() const { return impl_->ca_pem; }
int TlsServer::connections() const { return impl_->connections; }
int TlsServer::requests() const { return impl_->requests; }

}  // namespace mayfly::testing
