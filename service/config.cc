#include "service/config.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include <toml++/toml.h>

#include "connectors/egress.h"
#include "store/search/tokenizer.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

// A table of the file together with the keys that it may hold. Reading a key marks it as known;
// what is left unread at the end is refused.
class Section {
 public:
  Section(const fs::path& file, std::string name, const toml::table* table)
      : file_(file), name_(std::move(name)), table_(table) {}

  Error Wrong(std::string_view key, std::string_view allowed) const {
    const toml::node* node = table_ != nullptr ? table_->get(key) : nullptr;
    return WrongAt(node, key, allowed);
  }
  Error WrongAt(const toml::node* node, std::string_view key, std::string_view allowed) const {
    std::ostringstream message;
    message << file_.string();
    if (node != nullptr && node->source().begin.line > 0)
      message << ":" << node->source().begin.line;
    message << ": " << name_ << "." << key << ": " << allowed;
    return {.code = ErrorCode::kInvalidArgument,
            .message = message.str(),
            .field = name_ + "." + std::string(key)};
  }

  Status String(std::string_view key, std::string* out, bool required = false) {
    const toml::node* node = Take(key);
    if (node == nullptr) {
      if (required) return Fail(Wrong(key, "is required and must be a text"));
      return {};
    }
    const auto value = node->value<std::string>();
    if (!node->is_string() || !value) return Fail(WrongAt(node, key, "must be a text in quotes"));
    if (value->empty() && required) return Fail(WrongAt(node, key, "must not be empty"));
    *out = *value;
    return {};
  }

  Status Path(std::string_view key, fs::path* out, bool required = true) {
    std::string text;
    MAYFLY_RETURN_IF_ERROR(String(key, &text, required));
    if (text.empty()) return {};
    *out = fs::path(text);
    if (out->is_relative()) *out = file_.parent_path() / *out;
    *out = out->lexically_normal();
    return {};
  }

  Status Bool(std::string_view key, bool* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return {};
    if (!node->is_boolean()) return Fail(WrongAt(node, key, "must be true or false"));
    *out = *node->value<bool>();
    return {};
  }

  template <class T>
  Status Integer(std::string_view key, T* out, std::int64_t low, std::int64_t high) {
    const toml::node* node = Take(key);
    if (node == nullptr) return {};
    const auto value = node->value<std::int64_t>();
    if (!node->is_integer() || !value || *value < low || *value > high) {
      return Fail(WrongAt(
          node, key,
          "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high)));
    }
    *out = static_cast<T>(*value);
    return {};
  }

  // "250ms", "20s", "5m".
  Status Duration(std::string_view key, std::chrono::milliseconds* out,
                  std::chrono::milliseconds low, std::chrono::milliseconds high) {
    const toml::node* node = Take(key);
    if (node == nullptr) return {};
    const std::string allowed = "must be a duration such as \"500ms\", \"20s\" or \"5m\", from " +
                                std::to_string(low.count()) + "ms to " +
                                std::to_string(high.count()) + "ms";
    const auto text = node->value<std::string>();
    if (!node->is_string() || !text) return Fail(WrongAt(node, key, allowed));
    std::int64_t number = 0;
    const char* const end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, number);
    if (error != std::errc() || number < 0 || number > 1'000'000'000) {
      return Fail(WrongAt(node, key, allowed));
    }
    const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
    std::chrono::milliseconds value{};
    if (unit == "ms") {
      value = std::chrono::milliseconds(number);
    } else if (unit == "s") {
      value = std::chrono::seconds(number);
    } else if (unit == "m") {
      value = std::chrono::minutes(number);
    } else {
      return Fail(WrongAt(node, key, allowed));
    }
    if (value < low || value > high) return Fail(WrongAt(node, key, allowed));
    *out = value;
    return {};
  }

  Status Strings(std::string_view key, std::vector<std::string>* out, bool* given = nullptr) {
    const toml::node* node = Take(key);
    if (node == nullptr) return {};
    if (given != nullptr) *given = true;
    const toml::array* array = node->as_array();
    if (array == nullptr) return Fail(WrongAt(node, key, "must be a list of texts"));
    for (const toml::node& item : *array) {
      const auto value = item.value<std::string>();
      if (!item.is_string() || !value) return Fail(WrongAt(&item, key, "must be a list of texts"));
      out->push_back(*value);
    }
    return {};
  }

  // A [section.key]; nothing when it is not there.
  Status Table(std::string_view key, std::optional<Section>* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return {};
    if (!node->is_table()) return Fail(WrongAt(node, key, "must be a [section]"));
    out->emplace(file_, name_ + "." + std::string(key), node->as_table());
    return {};
  }

  // Of a list of texts.
  Error WrongItem(std::string_view key, std::size_t index, std::string_view allowed) const {
    const toml::node* node = NodeOf(key);
    const toml::array* array = node != nullptr ? node->as_array() : nullptr;
    return WrongAt(array != nullptr ? array->get(index) : node, key, allowed);
  }

  const toml::node* NodeOf(std::string_view key) const {
    return table_ != nullptr ? table_->get(key) : nullptr;
  }

  // Refuses what nobody read.
  Status Done() const {
    if (table_ == nullptr) return {};
    for (const auto& [key, node] : *table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
        std::string allowed = "is not a setting; this section has";
        for (const std::string& name : known_) allowed += " " + name;
        return Fail(
            WrongAt(&node, IsWord(key.str()) ? key.str() : std::string_view("(unnamed)"), allowed));
      }
    }
    return {};
  }

 private:
  static bool IsWord(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
  }

  const toml::node* Take(std::string_view key) {
    known_.emplace_back(key);
    return NodeOf(key);
  }

  const fs::path& file_;
  std::string name_;
  const toml::table* table_;
  std::vector<std::string> known_;
};

constexpr std::string_view kListenRule =
    "must be a list of \"127.0.0.1:PORT\", \"[::1]:PORT\", another IP address with its port, or "
    "\"unix:/absolute/path\"";
constexpr std::string_view kClearRule =
    "an address that others can reach needs TLS: add [http.tls] with certificate and private_key; "
    "or, when a proxy in front speaks TLS, http.trusted_proxies with the proxy's addresses; or "
    "listen on 127.0.0.1";

std::optional<ListenAddress> ParseListen(const std::string& text) {
  if (text.starts_with("unix:")) {
    const fs::path path(text.substr(5));
    if (!path.is_absolute() || path.string().size() > 100) return std::nullopt;
    return ListenAddress{.unix_path = path};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = text.substr(0, colon);
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  const bool v6 = host.find(':') != std::string::npos;
  if (v6 != brackets || !api::ParseIpAddress(host)) return std::nullopt;
  unsigned port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || rest != end || port > 65'535) return std::nullopt;
  return ListenAddress{.host = host, .port = static_cast<std::uint16_t>(port)};
}

Status ReadOrganisation(Section section, Config* config) {
  MAYFLY_RETURN_IF_ERROR(section.String("name", &config->about.organisation, true));
  MAYFLY_RETURN_IF_ERROR(section.String("purposes", &config->about.purposes, true));
  MAYFLY_RETURN_IF_ERROR(section.String("recipients", &config->about.recipients, true));
  MAYFLY_RETURN_IF_ERROR(section.String("data_location", &config->about.data_location, true));
  MAYFLY_RETURN_IF_ERROR(section.String("contact", &config->about.contact, true));
  MAYFLY_RETURN_IF_ERROR(section.String("zone", &config->zone_name));
  auto zone = Zone::Load(config->zone_name);
  if (!zone) {
    return Fail(section.Wrong("zone",
                              "must be a time zone name of the IANA database, such as "
                              "\"Europe/London\""));
  }
  config->zone = *zone;
  return section.Done();
}

Status ReadKeys(Section section, Config* config) {
  std::string source = "file", from = "this-disk";
  MAYFLY_RETURN_IF_ERROR(section.String("source", &source));
  if (source == "credential") {
    config->key_source = KeySource::kCredential;
  } else if (source == "passphrase") {
    config->key_source = KeySource::kPassphrase;
  } else if (source != "file") {
    return Fail(section.Wrong("source", "must be \"file\", \"credential\" or \"passphrase\""));
  }
  MAYFLY_RETURN_IF_ERROR(section.String("credential_from", &from));
  if (from != "this-disk" && from != "elsewhere") {
    return Fail(section.Wrong("credential_from", "must be \"this-disk\" or \"elsewhere\""));
  }
  config->credential_from_elsewhere = from == "elsewhere";
  if (config->credential_from_elsewhere && config->key_source != KeySource::kCredential) {
    return Fail(section.Wrong("credential_from", "says something of source = \"credential\" only"));
  }
  MAYFLY_RETURN_IF_ERROR(section.Bool("any_file_system", &config->any_file_system));
  return section.Done();
}

Status ReadPaths(Section section, Config* config) {
  MAYFLY_RETURN_IF_ERROR(section.Path("data", &config->data_dir));
  const bool from_file = config->key_source == KeySource::kFile;
  MAYFLY_RETURN_IF_ERROR(section.Path("master_key", &config->master_key, from_file));
  if (!from_file && !config->master_key.empty()) {
    return Fail(section.Wrong("master_key",
                              "must be left out: keys.source says that the master key does not "
                              "come from a file"));
  }
  MAYFLY_RETURN_IF_ERROR(section.Path("run", &config->run_dir));
  const fs::path relative = config->master_key.lexically_relative(config->data_dir);
  if (!relative.empty() && *relative.begin() != "..") {
    return Fail(section.Wrong("master_key",
                              "must lie outside paths.data: whoever copies the data must not get "
                              "the key with it"));
  }
  if (config->admin_socket().string().size() > 100) {
    return Fail(
        section.Wrong("run", "must be a path of at most 90 bytes: a Unix socket lies in it"));
  }
  return section.Done();
}

Status ReadTls(Section* http, Config* config) {
  std::optional<Section> section;
  MAYFLY_RETURN_IF_ERROR(http->Table("tls", &section));
  if (!section) return {};
  api::TlsFiles files;
  MAYFLY_RETURN_IF_ERROR(section->Path("certificate", &files.certificate));
  MAYFLY_RETURN_IF_ERROR(section->Path("private_key", &files.private_key));
  for (const auto& [key, file] :
       {std::pair("certificate", files.certificate), std::pair("private_key", files.private_key)}) {
    if (!MayBeReadWhole(file.parent_path(), *config)) {
      return Fail(
          section->Wrong(key,
                         "must lie in a directory of its own, such as /etc/mayfly/tls/: the "
                         "core may read whatever is in that directory, so it must hold "
                         "neither the master key nor the data, nor be a directory of the "
                         "system"));
    }
  }
  config->tls = files;
  return section->Done();
}

Status ReadTrustedProxies(Section* section, Config* config) {
  constexpr std::string_view kRule =
      "must be a list of at most 32 IP addresses, such as \"10.0.0.7\" or \"2001:db8::7\"";
  std::vector<std::string> proxies;
  MAYFLY_RETURN_IF_ERROR(section->Strings("trusted_proxies", &proxies));
  for (const std::string& text : proxies) {
    const auto address = api::ParseIpAddress(text);
    if (!address || proxies.size() > 32) return Fail(section->Wrong("trusted_proxies", kRule));
    config->trusted_proxies.push_back(*address);
  }
  return {};
}

Status ReadListen(Section* section, Config* config) {
  std::vector<std::string> listen;
  MAYFLY_RETURN_IF_ERROR(section->Strings("listen", &listen));
  if (listen.empty()) return Fail(section->Wrong("listen", kListenRule));
  if (listen.size() > 8) return Fail(section->Wrong("listen", "may hold at most 8 addresses"));
  for (std::size_t i = 0; i < listen.size(); ++i) {
    auto address = ParseListen(listen[i]);
    if (!address) return Fail(section->WrongItem("listen", i, kListenRule));
    if (address->unix_path.empty()) {
      address->tls = config->tls.has_value();
      const bool loopback = api::IsLoopback(*api::ParseIpAddress(address->host));
      if (!loopback && !address->tls) {
        if (config->trusted_proxies.empty())
          return Fail(section->WrongItem("listen", i, kClearRule));
        address->proxies_only = true;
      }
    }
    config->listen.push_back(*address);
  }
  return {};
}

Status ReadHttp(Section section, Config* config) {
  using std::chrono::milliseconds;
  MAYFLY_RETURN_IF_ERROR(ReadTls(&section, config));
  MAYFLY_RETURN_IF_ERROR(ReadTrustedProxies(&section, config));
  MAYFLY_RETURN_IF_ERROR(ReadListen(&section, config));
  api::ServerLimits& limits = config->limits;
  const milliseconds low{100}, high{600'000};
  MAYFLY_RETURN_IF_ERROR(section.Integer("head_bytes_max", &limits.head_bytes_max, 1'024, 65'536));
  MAYFLY_RETURN_IF_ERROR(section.Integer("fields_max", &limits.fields_max, 10, 1'000));
  MAYFLY_RETURN_IF_ERROR(section.Integer("body_bytes_max", &limits.body_bytes_max, 1'024, 1 << 20));
  MAYFLY_RETURN_IF_ERROR(
      section.Integer("target_bytes_max", &limits.target_bytes_max, 256, 16'384));
  MAYFLY_RETURN_IF_ERROR(
      section.Duration("handshake_deadline", &limits.handshake_deadline, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Duration("head_deadline", &limits.head_deadline, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Duration("body_deadline", &limits.body_deadline, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Duration("write_deadline", &limits.write_deadline, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Duration("idle_deadline", &limits.idle_deadline, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Duration("event_heartbeat", &limits.event_heartbeat, low, high));
  MAYFLY_RETURN_IF_ERROR(section.Integer("connections_max", &limits.connections_max, 1, 65'536));
  MAYFLY_RETURN_IF_ERROR(section.Integer("connections_per_address_max",
                                         &limits.connections_per_address_max, 1, 65'536));
  api::EventStreamLimits& streams = config->event_streams;
  MAYFLY_RETURN_IF_ERROR(section.Integer("event_streams_max", &streams.streams_max, 1, 65'536));
  MAYFLY_RETURN_IF_ERROR(
      section.Integer("event_streams_per_token_max", &streams.streams_per_token_max, 1, 1'024));
  // Whoever looks on must leave connections to whoever works.
  streams.streams_max =
      std::min(streams.streams_max, std::max<std::size_t>(limits.connections_max / 2, 1));
  MAYFLY_RETURN_IF_ERROR(section.Integer("threads", &limits.threads, 1, 64));
  MAYFLY_RETURN_IF_ERROR(
      section.Duration("drain_deadline", &config->drain_deadline, low, milliseconds(120'000)));
  return section.Done();
}

Status ReadRateLimits(Section section, Config* config) {
  for (std::size_t i = 0; i < api::kBudgets; ++i) {
    MAYFLY_RETURN_IF_ERROR(section.Integer(api::ToString(static_cast<api::Budget>(i)),
                                           &config->rate_limits.per_minute[i], 1, 1'000'000));
  }
  return section.Done();
}

Status ReadEgress(Section section, Config* config) {
  MAYFLY_RETURN_IF_ERROR(section.Bool("insecure_loopback", &config->egress.insecure_loopback));
  MAYFLY_RETURN_IF_ERROR(section.Strings("allow", &config->egress.private_hosts));
  MAYFLY_RETURN_IF_ERROR(section.String("ca_file", &config->egress.ca_file));
  for (const std::string& host : config->egress.private_hosts) {
    const bool lower =
        std::none_of(host.begin(), host.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!lower || !connectors::IsHostEntry(host)) {
      return Fail(section.Wrong("allow", "must be a list of host or host:port in lower case"));
    }
  }
  if (!config->egress.ca_file.empty() && !fs::path(config->egress.ca_file).is_absolute()) {
    return Fail(section.Wrong("ca_file", "must be an absolute path"));
  }
  return section.Done();
}

Status ReadSearch(Section section, Config* config) {
  std::vector<std::string> languages;
  bool given = false;
  MAYFLY_RETURN_IF_ERROR(section.Strings("languages", &languages, &given));
  if (given) config->search_languages = languages;
  if (!store::search::Tokenizer::Make(config->search_languages)) {
    std::string known;
    for (const std::string& code : store::search::KnownLanguages()) {
      known += (known.empty() ? "" : ", ") + code;
    }
    return Fail(section.Wrong("languages",
                              "must be a list of at most four different languages of: " + known));
  }
  return section.Done();
}

Result<Config> FromTable(const toml::table& table, const fs::path& file) {
  Config config;
  config.file = file;
  const auto section = [&](std::string name) {
    const toml::node* node = table.get(name);
    return Section(file, name, node != nullptr ? node->as_table() : nullptr);
  };
  Section top(file, "(top level)", &table);
  for (const auto& [key, node] : table) {
    static constexpr std::string_view kSections[] = {"organisation", "paths",   "keys",   "http",
                                                     "rate_limits",  "polling", "egress", "search",
                                                     "sandbox",      "store"};
    if (std::find(std::begin(kSections), std::end(kSections), key.str()) == std::end(kSections)) {
      return Fail(top.WrongAt(&node, "(unknown)",
                              "is not a section; there are organisation, paths, keys, http, "
                              "rate_limits, polling, egress, search, store and sandbox"));
    }
    if (!node.is_table()) return Fail(top.WrongAt(&node, key.str(), "must be a [section]"));
  }
  MAYFLY_RETURN_IF_ERROR(ReadOrganisation(section("organisation"), &config));
  MAYFLY_RETURN_IF_ERROR(ReadKeys(section("keys"), &config));
  MAYFLY_RETURN_IF_ERROR(ReadPaths(section("paths"), &config));
  MAYFLY_RETURN_IF_ERROR(ReadHttp(section("http"), &config));
  MAYFLY_RETURN_IF_ERROR(ReadRateLimits(section("rate_limits"), &config));
  Section polling = section("polling");
  MAYFLY_RETURN_IF_ERROR(polling.Duration("interval", &config.poll_interval,
                                          std::chrono::milliseconds(200), std::chrono::hours(1)));
  MAYFLY_RETURN_IF_ERROR(polling.Done());
  MAYFLY_RETURN_IF_ERROR(ReadEgress(section("egress"), &config));
  MAYFLY_RETURN_IF_ERROR(ReadSearch(section("search"), &config));
  Section store = section("store");
  MAYFLY_RETURN_IF_ERROR(
      store.Integer("ingest_stops_at_free_percent", &config.room.percent, 1, 50));
  MAYFLY_RETURN_IF_ERROR(store.Integer("ballast_mib", &config.ballast_mib, 16, 65'536));
  MAYFLY_RETURN_IF_ERROR(store.Done());
  Section sandbox = section("sandbox");
  MAYFLY_RETURN_IF_ERROR(sandbox.Bool("required", &config.sandbox_required));
  MAYFLY_RETURN_IF_ERROR(sandbox.Done());
  return config;
}

}  // namespace

Result<Config> ParseConfig(const std::string& text, const fs::path& file) {
  try {
    const toml::table table = toml::parse(text, file.string());
    return FromTable(table, file);
  } catch (const toml::parse_error& error) {
    // The library's sentence may quote the file, so only the place is told.
    return Fail(ErrorCode::kInvalidArgument,
                file.string() + ":" + std::to_string(error.source().begin.line) +
                    ": is not TOML from here on; texts need quotes, sections stand in [brackets]");
  }
}

bool MayBeReadWhole(const fs::path& directory, const Config& config) {
  const auto below = [&](const fs::path& file) {
    const fs::path relative = file.lexically_relative(directory);
    return !relative.empty() && *relative.begin() != "..";
  };
  const auto holds = [&](const fs::path& file) {
    std::error_code ignored;
    return below(file) || below(fs::weakly_canonical(file, ignored));
  };
  const fs::path parts = directory.relative_path();
  return std::distance(parts.begin(), parts.end()) >= 2 &&
         (config.master_key.empty() || !holds(config.master_key)) && !holds(config.data_dir);
}

Result<Config> LoadConfig(const fs::path& file) {
  std::error_code ignored;
  const fs::path absolute = fs::absolute(file, ignored);
  std::ifstream in(absolute, std::ios::binary);
  if (!in) {
    return Fail(ErrorCode::kInvalidArgument,
                absolute.string() + ": cannot be read; make one with `mayfly init`");
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (text.str().size() > (1u << 20)) {
    return Fail(ErrorCode::kInvalidArgument, absolute.string() + ": is larger than 1 MiB");
  }
  return ParseConfig(text.str(), absolute);
}

std::string RenderConfig(const InitAnswers& answers) {
  std::ostringstream out;
  out << R"(# Mayfly. Every setting is explained in config/mayfly.example.toml.

[organisation]
name = "Example Statistics Office"
zone = "Europe/London"        # the second clock of "three calendar months"; UTC is always the first
purposes = "Answering the messages that people send us"
recipients = "Our communications team; the platform on which a message was sent"
data_location = "This server"
contact = "privacy@example.org"

[paths]
data = ")"
      << answers.data_dir.string() << "\"\n";
  if (answers.key_source == KeySource::kFile) {
    out << "master_key = \"" << answers.master_key.string()
        << "\"   # keep it away from backups of the data\n";
  }
  out << "run = \"" << answers.run_dir.string() << "\"\n\n";
  if (answers.key_source != KeySource::kFile || answers.any_file_system) out << "[keys]\n";
  if (answers.key_source == KeySource::kCredential) {
    out << "source = \"credential\"   # LoadCredential=mayfly.master-key:... in the unit\n";
  } else if (answers.key_source == KeySource::kPassphrase) {
    out << "source = \"passphrase\"   # mayfly unseal, after each start\n";
  }
  if (answers.any_file_system) {
    out << "any_file_system = true   # destroyed keys may stay on the disk; for trying out only\n";
  }
  out << R"([http]
listen = [)";
  for (std::size_t i = 0; i < answers.listen.size(); ++i) {
    out << (i == 0 ? "" : ", ") << '"' << answers.listen[i] << '"';
  }
  out << "]\n";
  if (answers.insecure_loopback) {
    out << "\n[egress]\ninsecure_loopback = true   # a platform imitation on this machine; never "
           "in "
           "production\n";
  }
  return out.str();
}

}  // namespace mayfly::service
