// A raw client that speaks through TLS. It trusts whatever certificate it is shown, and tells
// which.
#ifndef MAYFLY_TESTS_SUPPORT_API_TLS_CLIENT_H_
#define MAYFLY_TESTS_SUPPORT_API_TLS_CLIENT_H_

#include <csignal>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <utility>

#include <openssl/ssl.h>

#include "tests/support/api_raw_client.h"
#include "tests/support/certificates.h"

namespace mayfly::testing {

struct TlsClientOptions {
  std::string alpn = {};  // as on the wire: "\x08http/1.1"
  int protocol_max = 0;   // TLS1_2_VERSION, for example; 0: no limit
};

class TlsClient final : public RawClient {
 public:
  explicit TlsClient(std::uint16_t port, const TlsClientOptions& options = {}) : RawClient(port) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    const timeval patience = {.tv_sec = kPatience.count(), .tv_usec = 0};
    ::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    context_.reset(Must(SSL_CTX_new(TLS_client_method()), "context"));
    if (options.protocol_max != 0) {
      SSL_CTX_set_security_level(context_.get(), 0);
      SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
      SSL_CTX_set_max_proto_version(context_.get(), options.protocol_max);
    }
    ssl_.reset(Must(SSL_new(context_.get()), "ssl"));
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                        static_cast<unsigned>(options.alpn.size()));
    SSL_set_fd(ssl_.get(), fd());
    secure_ = SSL_connect(ssl_.get()) == 1;
  }
  TlsClient(TlsClient&&) = default;
  ~TlsClient() override = default;

  bool secure() const { return secure_; }  // the handshake succeeded
  std::string protocol() const { return SSL_get_version(ssl_.get()); }
  std::string cipher() const { return SSL_get_cipher_name(ssl_.get()); }
  std::string alpn() const {
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
    return size == 0 ? "" : std::string(reinterpret_cast<const char*>(chosen), size);
  }
  // The certificate that the server showed, as PEM.
  std::string certificate() const {
    const CertificatePtr shown(SSL_get1_peer_certificate(ssl_.get()));
    return shown ? ToPem(shown.get()) : "";
  }
  SSL* ssl() { return ssl_.get(); }
  // The server said that nothing was cut off.
  bool closed_in_order() const {
    return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }
  void HalfClose() override { SSL_shutdown(ssl_.get()); }

 private:
  ssize_t SendSome(std::string_view bytes) override {
    return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  ssize_t ReceiveSome(char* bytes, std::size_t size) override {
    return SSL_read(ssl_.get(), bytes, static_cast<int>(size));
  }
  bool HasPending() override { return SSL_has_pending(ssl_.get()) == 1; }

  SslContextPtr context_;
  SslPtr ssl_;
  bool secure_ = false;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_API_TLS_CLIENT_H_
