// Configuration: one TOML file, read once at start, immutable afterwards.
//
// Every value is validated. A wrong one gives kInvalidArgument whose message names file, line, key
// and what is allowed, and never quotes the value. Unknown keys are refused. There is no secret in
// the file: the master key has a file of its own, and credentials are given through the REST API.
#ifndef MAYFLY_SERVICE_CONFIG_H_
#define MAYFLY_SERVICE_CONFIG_H_

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "connectors/connector.h"
#include "service/api/context.h"
#include "service/api/peer.h"
#include "service/api/rate_limiter.h"
#include "service/api/server.h"
#include "service/api/tls.h"
#include "service/supervisor/supervisor.h"
#include "store/model/retention.h"
#include "store/room_gate.h"

namespace mayfly::service {

// Where the master key comes from.
enum class KeySource { kFile, kCredential, kPassphrase };

struct Config {
  std::filesystem::path file;  // absolute

  // [organisation]
  api::AboutText about;
  std::string zone_name = "UTC";
  Zone zone = Zone::Utc();

  // [paths]
  std::filesystem::path data_dir;    // holds store/ and keys/
  std::filesystem::path master_key;  // outside data_dir; empty unless it comes from a file
  std::filesystem::path run_dir;     // admin.sock, api.addresses
  std::filesystem::path store_dir() const { return data_dir / "store"; }
  std::filesystem::path keys_dir() const { return data_dir / "keys"; }
  std::filesystem::path admin_socket() const { return run_dir / "admin.sock"; }
  std::filesystem::path port_file() const { return run_dir / "api.addresses"; }

  // [keys]
  KeySource key_source = KeySource::kFile;
  bool credential_from_elsewhere = false;  // as the operator says
  bool any_file_system = false;

  // [http]
  std::vector<ListenAddress> listen;
  api::TrustedProxies trusted_proxies;
  api::ServerLimits limits;
  api::EventStreamLimits event_streams;
  std::chrono::milliseconds drain_deadline{10'000};

  // [http.tls]: every TCP address speaks TLS, a Unix socket never does
  std::optional<api::TlsFiles> tls;

  // [rate_limits]
  api::RateLimits rate_limits;

  // [polling]
  std::chrono::milliseconds poll_interval{0};  // 0: the connector's default

  // [egress]
  connectors::EgressPolicy egress;

  // [store]
  store::RoomKept room{.percent = 10};
  std::uint64_t ballast_mib = 64;

  // [search]
  std::vector<std::string> search_languages{"en"};

  // [sandbox]
  bool sandbox_required = true;
};

Result<Config> LoadConfig(const std::filesystem::path& file);
// The same from text, for tests and for checking what `init` writes. `file` is used in messages.
Result<Config> ParseConfig(const std::string& text, const std::filesystem::path& file);

// Whether the core may be given all of `directory` to read, because a file of [http.tls] lies in
// it: not when it holds the master key or the data, nor when it is one of the system's own (/,
// /etc). What a link leads to is judged by its real path.
bool MayBeReadWhole(const std::filesystem::path& directory, const Config& config);

// What `mayfly init` writes.
struct InitAnswers {
  std::filesystem::path data_dir, master_key, run_dir;
  std::vector<std::string> listen;
  bool insecure_loopback = false;
  KeySource key_source = KeySource::kFile;  // with kCredential, master_key is written and not named
  bool any_file_system = false;
};
std::string RenderConfig(const InitAnswers& answers);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_CONFIG_H_
