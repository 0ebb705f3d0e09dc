// A TLS server on loopback with a certificate authority of its own, for tests of the HTTP client.
#ifndef MAYFLY_TESTS_SUPPORT_TLS_SERVER_H_
#define MAYFLY_TESTS_SUPPORT_TLS_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mayfly::testing {

// One accepted connection on which a whole request was read.
class TlsPeer {
 public:
  virtual ~TlsPeer() = default;
  virtual const std::string& head() const = 0;     // the request up to the empty line
  virtual std::string server_name() const = 0;     // SNI, or empty
  virtual std::string protocol() const = 0;        // for example TLSv1.3
  virtual bool Write(std::string_view bytes) = 0;  // false once the peer has left
};

struct TlsServerOptions {
  std::string certificate_name = "DNS:localhost";  // subjectAltName
  int protocol_max = 0;                            // 0: no limit; TLS1_1_VERSION, for example
  bool expired = false;                            // the certificate ended an hour ago
  bool never_shake_hands = false;                  // accepts and stays silent
  // Written instead of a handshake, once the peer has begun one; then the connection closes.
  std::string instead_of_handshake = {};
  // Answers one request; the connection is closed afterwards. Runs on the server's thread.
  std::function<void(TlsPeer&)> respond;
};

class TlsServer {
 public:
  explicit TlsServer(TlsServerOptions options);  // throws std::runtime_error
  ~TlsServer();                                  // stops and joins
  std::uint16_t port() const;
  const std::string& ca_pem() const;
  int connections() const;  // accepted
  int requests() const;     // read whole

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_TLS_SERVER_H_
