// The certificate that the listener shows, and its renewal while the listener runs.
//
// The pair is read by the core itself: the supervisor knows no secret. It is read again only when
// somebody asks (`mayfly reload`, SIGHUP). A new pair that is not usable changes nothing.
//
// What is spoken: TLS 1.2 and 1.3, forward-secret AEAD suites, ALPN `http/1.1` (a client that
// offers ALPN without it is refused by alert). No renegotiation, no compression, no session tickets
// or cache, no early data, and nothing is taken from the machine's openssl.cnf.
#ifndef MAYFLY_SERVICE_API_TLS_H_
#define MAYFLY_SERVICE_API_TLS_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "store/model/result.h"
#include "store/model/time.h"

namespace boost::asio::ssl {
class context;
}

namespace mayfly::service::api {

// PEM. The certificate's file holds the chain, leaf first; the key is not encrypted.
struct TlsFiles {
  std::filesystem::path certificate;
  std::filesystem::path private_key;
};

// A pair that belongs together, ready for handshakes. Immutable; those that began with it may
// outlive its replacement.
struct TlsPair {
  std::shared_ptr<boost::asio::ssl::context> context;
  TimePoint expires_at;
};

// kInvalidArgument, with a sentence that names the file and the remedy: not readable, the key open
// to others than its owner or owned by somebody else than root or this process's user, not PEM,
// encrypted, not belonging together, too weak (OpenSSL's security level 2), not yet valid at `now`.
// An expired pair is loaded: whether it may be used is decided by the caller.
Result<TlsPair> LoadTlsPair(const TlsFiles& files, TimePoint now);

// The directories that hold the two files now, after following links as well: what the sandbox has
// to let the core read so that a renewal is seen. Landlock grants what lies in a directory, so a
// file that is replaced, or a link that is turned to another file in there, needs no new rule.
std::vector<std::filesystem::path> TlsDirectories(const TlsFiles& files);

// Thread-safe.
class TlsCertificates {
 public:
  explicit TlsCertificates(TlsFiles files) : files_(std::move(files)) {}

  // The first pair, at start. An expired one is taken, because clients say so better than a closed
  // port does. After an error there is none: connections are closed until Reload brings one.
  Status Load(TimePoint now);
  // A new pair for handshakes from now on; connections keep theirs. An error, also for an expired
  // pair, keeps what there was.
  Status Reload(TimePoint now);
  std::shared_ptr<const TlsPair> current() const;  // null when there is none
  struct View {
    std::optional<TimePoint> expires_at;  // of the pair in use
    std::uint64_t reloads = 0;
    std::uint64_t reload_failures = 0;
    bool last_reload_failed = false;
  };
  View view() const;

 private:
  const TlsFiles files_;
  std::mutex reloading_;      // one at a time; taken before mutex_
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const TlsPair> pair_;
  View view_;
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_TLS_H_
