#include "service/api/tls.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <boost/asio/ssl/context.hpp>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "store/keys/descriptor.h"
#include "store/model/sensitive.h"

namespace mayfly::service::api {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPemBytesMax = 256u << 10;
constexpr int kChainMax = 10;
constexpr int kSecurityLevel = 2;
// For TLS 1.2; the suites of 1.3 all are forward-secret AEADs.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr unsigned char kAlpn[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

tl::unexpected<Error> Unusable(const fs::path& file, std::string_view why) {
  ERR_clear_error();
  return Fail(ErrorCode::kInvalidArgument, file.string() + ": " + std::string(why));
}

Status CheckPrivate(const fs::path& file, const struct stat& info) {
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return Unusable(file,
                    "the private key belongs to another user; run: chown to root or to the user of "
                    "the service");
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Unusable(file, "the private key is open to others; run: chmod 0400 " + file.string() +
                              ", as the user of the service or with a copy that belongs to it");
  }
  return {};
}

Result<std::string> ReadPem(const fs::path& file, bool must_be_private) {
  const store::Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info = {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) {
    return Unusable(file, "cannot be read by the user of the service: " +
                              std::error_code(errno, std::generic_category()).message() +
                              "; put it there, or give the user a copy of its own");
  }
  if (!S_ISREG(info.st_mode)) return Unusable(file, "is not a regular file");
  if (must_be_private) MAYFLY_RETURN_IF_ERROR(CheckPrivate(file, info));
  // Sized once, so that no copy of a key stays behind in freed memory.
  std::string text(kPemBytesMax + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      WipeString(text);
      return Unusable(file, "could not be read whole");
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kPemBytesMax) {
    WipeString(text);
    return Unusable(file, "is larger than 256 KiB: that is no certificate or key");
  }
  text.resize(size);
  return text;
}

// Never asks at the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

Bio Memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::optional<TimePoint> ToTime(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return TimePoint(std::chrono::seconds(::timegm(&parts)));
}

int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kAlpn, sizeof kAlpn, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// What is spoken, whatever the pair.
std::shared_ptr<boost::asio::ssl::context> MakeContext() {
  // The first call of OpenSSL in this process, or at least before any that would read openssl.cnf.
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  auto context = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
  SSL_CTX* const raw = context->native_handle();
  SSL_CTX_set_security_level(raw, kSecurityLevel);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(raw, ChooseProtocol, nullptr);
  const bool set = SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(raw, kCiphers) == 1 &&
                   SSL_CTX_set_num_tickets(raw, 0) == 1 && SSL_CTX_set_max_early_data(raw, 0) == 1;
  return set ? context : nullptr;
}

// The certificate, and those after it that lead to the authority.
Result<Certificate> UseChain(SSL_CTX* context, const fs::path& file, const std::string& text) {
  const Bio bio = Memory(text);
  Certificate leaf(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
  if (!leaf) return Unusable(file, "holds no certificate in PEM");
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return Unusable(file,
                    "the certificate is too weak or of a kind that is not spoken; RSA needs "
                    "2048 bits, and no SHA-1");
  }
  for (int i = 0;; ++i) {
    Certificate next(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
    if (!next) break;
    if (i == kChainMax || SSL_CTX_add0_chain_cert(context, next.get()) != 1) {
      return Unusable(file, "the chain behind the certificate is too long or too weak");
    }
    (void)next.release();  // the context's now
  }
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return Unusable(file, "a certificate of the chain is damaged");
  }
  ERR_clear_error();
  return leaf;
}

Status UseKey(SSL_CTX* context, X509* leaf, const fs::path& file, const std::string& text) {
  const Bio bio = Memory(text);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (!key) {
    return Unusable(file, "holds no private key in PEM that is usable without a password");
  }
  if (X509_check_private_key(leaf, key.get()) != 1) {
    return Unusable(file,
                    "the private key does not belong to the certificate; both come from one "
                    "renewal");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return Unusable(file, "the private key cannot be used");
  }
  return {};
}

}  // namespace

Result<TlsPair> LoadTlsPair(const TlsFiles& files, TimePoint now) {
  TlsPair pair;
  pair.context = MakeContext();
  if (!pair.context) return Fail(ErrorCode::kInternal, "OpenSSL takes no settings");
  SSL_CTX* const raw = pair.context->native_handle();
  ERR_clear_error();
  MAYFLY_ASSIGN_OR_RETURN(const std::string chain, ReadPem(files.certificate, false));
  MAYFLY_ASSIGN_OR_RETURN(const Certificate leaf, UseChain(raw, files.certificate, chain));
  MAYFLY_ASSIGN_OR_RETURN(std::string key, ReadPem(files.private_key, true));
  const Status used = UseKey(raw, leaf.get(), files.private_key, key);
  WipeString(key);
  if (!used) return Fail(used.error());

  const auto from = ToTime(X509_get0_notBefore(leaf.get()));
  const auto until = ToTime(X509_get0_notAfter(leaf.get()));
  if (!from || !until) return Unusable(files.certificate, "the certificate's dates are damaged");
  if (now < *from) {
    return Unusable(files.certificate,
                    "the certificate is not yet valid; check the clock, or wait");
  }
  pair.expires_at = *until;
  return pair;
}

std::vector<fs::path> TlsDirectories(const TlsFiles& files) {
  std::vector<fs::path> directories;
  const auto add = [&](const fs::path& directory) {
    if (std::find(directories.begin(), directories.end(), directory) == directories.end()) {
      directories.push_back(directory);
    }
  };
  for (const fs::path* file : {&files.certificate, &files.private_key}) {
    add(file->parent_path());
    std::error_code error;
    const fs::path real = fs::canonical(*file, error);
    if (!error) add(real.parent_path());
  }
  return directories;
}

Status TlsCertificates::Load(TimePoint now) {
  const std::lock_guard one(reloading_);
  auto pair = LoadTlsPair(files_, now);
  if (!pair) return Fail(pair.error());
  const std::lock_guard lock(mutex_);
  view_.expires_at = pair->expires_at;
  pair_ = std::make_shared<const TlsPair>(*std::move(pair));
  return {};
}

Status TlsCertificates::Reload(TimePoint now) {
  const std::lock_guard one(reloading_);
  auto pair = LoadTlsPair(files_, now);
  if (pair && pair->expires_at <= now) {
    pair = Unusable(files_.certificate, "the certificate has expired; get a new one");
  }
  const std::lock_guard lock(mutex_);
  ++(pair ? view_.reloads : view_.reload_failures);
  view_.last_reload_failed = !pair;
  if (!pair) return Fail(pair.error());
  view_.expires_at = pair->expires_at;
  pair_ = std::make_shared<const TlsPair>(*std::move(pair));
  return {};
}

std::shared_ptr<const TlsPair> TlsCertificates::current() const {
  const std::lock_guard lock(mutex_);
  return pair_;
}

TlsCertificates::View TlsCertificates::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

}  // namespace mayfly::service::api
