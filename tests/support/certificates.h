// Keys and certificates made on the spot, for tests of both ends of TLS.
#ifndef MAYFLY_TESTS_SUPPORT_CERTIFICATES_H_
#define MAYFLY_TESTS_SUPPORT_CERTIFICATES_H_

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "store/model/time.h"

namespace mayfly::testing {

template <auto Free>
struct OpensslDeleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslDeleter<X509_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslDeleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslDeleter<SSL_free>>;

// Throws when an OpenSSL call gave nothing.
template <class T>
T Must(T value, const char* what) {
  if (!value) throw std::runtime_error(what);
  return value;
}

struct Validity {
  TimePoint from, until;
};
Validity AroundNow();  // a day to either side of the machine's clock

KeyPtr MakeKey();  // P-256
// Self-signed, and an authority, when `issuer` is null. `alternative` is a subjectAltName such as
// "DNS:localhost", or empty.
CertificatePtr MakeCertificate(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                               const std::string& alternative, const Validity& validity);
std::string ToPem(X509* certificate);
std::string ToPem(EVP_PKEY* key, const char* password = nullptr);

// A self-signed certificate for "localhost" with its key, as PEM.
struct PemPair {
  std::string certificate, private_key;
};
PemPair MakePemPair(const Validity& validity);
// As fullchain.pem and privkey.pem, mode 0600, replacing what is there by rename.
void WritePemPair(const std::filesystem::path& directory, const PemPair& pair);

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_CERTIFICATES_H_
