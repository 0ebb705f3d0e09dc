// The rules of the house that a compiler does not know: who may include whom, and which words may
// stand where. Each failure prints file:line and the rule. To allow one more file, add its path to
// the rule's list below, with a reason where it is not plain.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// ---- The rules ---------------------------------------------------------------------------------

// A place is a path from the root of the tree. One that ends in '/' is a whole folder; '*' stands
// for any part of one name.
using Places = std::vector<std::string>;

// Code in `in` may include, of our own headers, only those in `may`.
struct LayerRule {
  std::string in;
  Places may;
  const char* why;
};
const std::vector<LayerRule>& LayerRules() {
  static const std::vector<LayerRule> rules = {
      {"store/model/", {"store/model/"}, "store/model includes nothing outside store/model"},
      {"store/", {"store/"}, "store includes neither connectors nor service"},
      {"connectors/",
       {"connectors/", "store/model/"},
       "connectors include only connectors and store/model, so that none can keep a message"},
      {"service/", {"service/", "store/", "connectors/"}, "our headers are named from the root"},
  };
  return rules;
}

// Headers that begin with one of `prefixes` may be included only by `may`.
struct HeaderRule {
  std::vector<std::string> prefixes;
  Places may;
  const char* why;
};
const std::vector<HeaderRule>& HeaderRules() {
  static const std::vector<HeaderRule> rules = {
      // Third parties, each behind one door.
      {{"rocksdb/"}, {"store/engine/rocksdb/"}, "RocksDB stays inside its engine"},
      {{"cpprest/", "pplx/"},
       {"connectors/http_client.cc"},
       "cpprestsdk stays inside the shared HTTP client"},
      {{"boost/beast"},
       {"connectors/simulator_server.cc", "service/admin_client.cc", "service/api/connection.cc",
        "service/api/connection.h", "service/api/head.cc"},
       "Beast stays inside the servers and the admin client"},
      {{"openssl/", "boost/asio/ssl"},
       {"connectors/http_client.cc", "service/api/stream.h", "service/api/tls.cc"},
       "TLS stays where it can be reviewed"},
      {{"seccomp.h", "linux/seccomp.h", "linux/landlock.h", "linux/filter.h"},
       {"service/sandbox/"},
       "kernel filters stay inside service/sandbox"},
      {{"rapidjson/"}, {"store/model/json.cc"}, "store/model/json.h is the one door for JSON"},
      {{"date/"}, {"store/model/retention.cc"}, "time zones stay behind store/model/retention.h"},
      {{"sodium"},
       {"store/keys/", "store/model/", "service/api/", "service/access/", "service/demo/",
        "connectors/*/simulator*.cc",
        // Wiping, comparing and random ids; sealing itself stays in store/keys.
        "store/audit_log.cc", "store/core.cc", "store/inspect.cc", "store/forward_ledger.cc",
        "store/outbox_queue.cc", "store/tokens.cc", "store/search/",
        "service/backup/files.cc"},  // hashes of files
       "cryptography stays where it can be reviewed"},
      {{"zstd"}, {"store/keys/"}, "compression is part of sealing"},
      {{"archive.h", "archive_entry.h"},
       {"service/access/zip.cc"},
       "libarchive stays behind service/access/zip.h"},
      {{"unicode/"},
       {"connectors/graphemes.cc", "connectors/mentions.cc", "store/search/tokenizer.cc"},
       "ICU stays behind connectors/graphemes.h, connectors/mentions.h and the tokenizer"},
      {{"libstemmer"}, {"store/search/tokenizer.cc"}, "stemming stays behind the tokenizer"},
      {{"toml++/"}, {"service/config.cc"}, "TOML stays inside the configuration"},
      {{"CLI/"},
       {"service/command_line.cc", "service/demo/"},
       "CLI11 stays inside the command lines"},
      {{"prometheus/"}, {"service/metrics.cc"}, "Prometheus stays behind service/metrics.h"},
      {{"spdlog/"}, {"service/logging.cc"}, "spdlog stays behind service/logging.h"},
      {{"google/protobuf/", "link.pb.h", "control.pb.h"},
       {"service/link/", "service/supervisor/", "service/worker/"},
       "Protocol Buffers stay inside the link"},
      // Our own: what would make the core large or a test double real.
      {{"connectors/factory.h", "connectors/http_client.h"},
       {"connectors/", "service/worker/"},
       "the core links the registry and no other part of connectors"},
      {{"connectors/simulator_server.h"},
       {"connectors/simulator_server.cc", "connectors/platform_faults.h",
        "connectors/*/simulator*"},
       "simulators are for tests and the demo only"},
      {{"store/engine/rocksdb/", "store/engine/memory/"},
       {"store/engine/", "service/open_store.cc"},
       "the store knows engines by their interface; one place chooses"},
  };
  return rules;
}

// The word may stand only in `may`.
struct WordRule {
  std::vector<std::string> words;
  Places may;
  const char* why;
};
const std::vector<WordRule>& WordRules() {
  static const std::vector<WordRule> rules = {
      {{"system_clock::now", "gettimeofday(", "CLOCK_REALTIME", "time(nullptr)", "time(NULL)",
        "time(0)", "high_resolution_clock"},
       {"store/model/clock.cc"},
       "only SystemClock reads the wall clock; take a TimePoint now instead"},
      {{"sleep_for(", "sleep_until(", "sleep(", "usleep(", "nanosleep("},
       {"service/demo/",
        // Waits for RocksDB's own thread to unlink the files of a dropped family; there is no call
        // that tells when it has.
        "store/engine/rocksdb/rocksdb_engine.cc"},
       "nothing sleeps; wait on a condition or use Clock::SleepUntil"},
      {{"Reveal("},
       {
           "store/model/sensitive.h",  // defines it
           // Records and rows. Core and the thread writer turn platform ids into blind keys.
           "store/codec.cc", "store/core.cc", "store/core.h", "store/thread_writer.cc",
           "store/accounts.cc", "store/collection.cc", "store/conversations.cc",
           "store/outbox_queue.cc", "store/tokens.cc", "store/erasure/erasure.cc",
           "store/erasure/date_rewriter.cc", "store/rights/rights.cc",
           // Words of messages and of queries.
           "store/search/index.cc", "store/search/query.cc", "store/search/segment.cc",
           // Frames between core and worker, and the sealing of a rotated credential.
           "service/link/convert.cc", "service/worker/worker.cc",
           // A passphrase becomes a key.
           "store/keys/passphrase.cc",
           // Compares handles.
           "connectors/mentions.cc",
           // What people may read or give: the REST API and the printed token.
           "service/api/auth.cc", "service/api/render.cc", "service/access/",
           "service/api/handlers/operation_handlers.cc",  // a new token, once
           "service/command_line.cc", "service/demo/",
           "service/master_key_source.cc",  // the line of a master key file
           // Platforms.
           "connectors/http_client.cc", "connectors/*/api_types.cc", "connectors/*/client.cc",
           "connectors/*/connector.cc",
           "connectors/*/fuzz.cc",  // tests only
       },
       "Sensitive values are revealed only where they must leave"},
      {{".detach("}, {}, "nothing is detached; use std::jthread"},
  };
  return rules;
}

// A folder and a folder inside it that include each other. Between other folders no such pair is
// allowed at all; these are counted one by one, so that each new one is a decision.
const std::set<std::pair<std::string, std::string>>& KnownPairs() {
  static const std::set<std::pair<std::string, std::string>> pairs = {
      {"service", "service/backup"},            // the command line's; they open the store
      {"service", "service/expiry"},            // App wires the job; the job logs
      {"service", "service/ingest"},            // App wires the poller; the poller logs
      {"service", "service/outbox"},            // App wires the sender; the sender logs
      {"service/api", "service/api/handlers"},  // the table of routes, and what a handler is given
      {"store", "store/erasure"},               // Store hands out Erasure; it works on the core
      {"store", "store/expiry"},                // Store hands out Purge; Purge works on the core
      {"store", "store/rights"},                // Store hands out Rights; Rights works on the core
      {"store", "store/search"},                // Store hands out Search; Search works on the core
  };
  return pairs;
}

// ---- Reading -----------------------------------------------------------------------------------

struct Source {
  std::string path;  // from the root of the tree
  std::string text;
};

struct Include {
  std::size_t line;
  std::string header;
  bool quoted;
};

// The text with comments, and the insides of string and character literals, turned into blanks.
// Lines keep their numbers. `keep_strings` is for reading #include "...".
std::string CodeOf(const std::string& text, bool keep_strings) {
  std::string code = text;
  const auto blank = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < std::min(to, code.size()); ++i) {
      if (code[i] != '\n') code[i] = ' ';
    }
  };
  const auto name_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, 2, "//") == 0) {
      const std::size_t end = std::min(text.find('\n', i), text.size());
      blank(i, end);
      i = end;
    } else if (text.compare(i, 2, "/*") == 0) {
      const std::size_t close = text.find("*/", i + 2);
      const std::size_t end = close == std::string::npos ? text.size() : close + 2;
      blank(i, end);
      i = end;
    } else if (text.compare(i, 2, "R\"") == 0 && (i == 0 || !name_char(text[i - 1]))) {
      const std::size_t open = text.find('(', i);
      if (open == std::string::npos) break;
      const std::string mark = ")" + text.substr(i + 2, open - i - 2) + "\"";
      const std::size_t close = text.find(mark, open);
      const std::size_t end = close == std::string::npos ? text.size() : close + mark.size();
      if (!keep_strings) blank(i, end);
      i = end;
    } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !name_char(text[i - 1])))) {
      // A quote after a digit separates digits.
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != text[i] && text[end] != '\n') {
        end += text[end] == '\\' ? 2 : 1;
      }
      if (!keep_strings) blank(i + 1, end);
      i = end + 1;
    } else {
      ++i;
    }
  }
  return code;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<Include> IncludesOf(const Source& source) {
  std::vector<Include> includes;
  const std::vector<std::string> lines = LinesOf(CodeOf(source.text, true));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    const auto skip_blanks = [&line] {
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    };
    skip_blanks();
    if (!line.starts_with('#')) continue;
    line.remove_prefix(1);
    skip_blanks();
    if (!line.starts_with("include")) continue;
    line.remove_prefix(std::string_view("include").size());
    skip_blanks();
    if (line.empty() || (line[0] != '"' && line[0] != '<')) continue;
    const bool quoted = line[0] == '"';
    const std::size_t end = line.find(quoted ? '"' : '>', 1);
    if (end == std::string_view::npos) continue;
    includes.push_back({i + 1, std::string(line.substr(1, end - 1)), quoted});
  }
  return includes;
}

// `*` stands for any characters but '/'.
bool IsAt(std::string_view path, std::string_view place) {
  if (place.empty()) return path.empty();
  if (place == "/") return path.starts_with('/');  // a whole folder
  if (place[0] == '*') {
    for (std::size_t taken = 0;; ++taken) {
      if (IsAt(path.substr(taken), place.substr(1))) return true;
      if (taken == path.size() || path[taken] == '/') return false;
    }
  }
  return !path.empty() && path[0] == place[0] && IsAt(path.substr(1), place.substr(1));
}

bool IsAtAny(std::string_view path, const Places& places) {
  return std::any_of(places.begin(), places.end(),
                     [&](const std::string& place) { return IsAt(path, place); });
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// The folder of a platform, `bluesky` for connectors/bluesky/client.h, or nothing.
std::string PlatformOf(std::string_view path) {
  constexpr std::string_view kConnectors = "connectors/";
  if (!path.starts_with(kConnectors)) return {};
  path.remove_prefix(kConnectors.size());
  const std::size_t slash = path.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

// ---- Checking ----------------------------------------------------------------------------------

using Violations = std::vector<std::string>;

std::string Say(const Source& source, std::size_t line, const std::string& what,
                const std::string& why) {
  return source.path + ":" + std::to_string(line) + ": " + what + " breaks the rule: " + why;
}

void CheckInclude(const Source& source, const Include& include, Violations& found) {
  const auto broken = [&](const std::string& why) {
    found.push_back(Say(source, include.line, "#include of " + include.header, why));
  };
  const bool generated = include.header.ends_with(".pb.h");
  if (include.quoted && !generated) {
    // The first rule whose folder holds the file is the narrowest.
    for (const LayerRule& rule : LayerRules()) {
      if (!IsAt(source.path, rule.in)) continue;
      if (!IsAtAny(include.header, rule.may)) broken(rule.why);
      break;
    }
  }
  for (const HeaderRule& rule : HeaderRules()) {
    const bool concerns =
        std::any_of(rule.prefixes.begin(), rule.prefixes.end(),
                    [&](const std::string& prefix) { return include.header.starts_with(prefix); });
    if (concerns && !IsAtAny(source.path, rule.may)) broken(rule.why);
  }
  const std::string theirs = PlatformOf(include.header);
  if (!theirs.empty() && theirs != PlatformOf(source.path) && !IsAt(source.path, "service/demo/")) {
    broken("no platform folder is included from outside it; connectors.def is the only list");
  }
}

bool HoldsWord(std::string_view line, const std::string& word) {
  const auto name_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (std::size_t at = line.find(word); at != std::string_view::npos;
       at = line.find(word, at + 1)) {
    if (at == 0 || !name_char(word[0]) || !name_char(line[at - 1])) return true;
  }
  return false;
}

Violations CheckIncludes(const std::vector<Source>& sources) {
  Violations found;
  for (const Source& source : sources) {
    for (const Include& include : IncludesOf(source)) CheckInclude(source, include, found);
  }
  return found;
}

Violations CheckWords(const std::vector<Source>& sources) {
  Violations found;
  for (const Source& source : sources) {
    const std::vector<std::string> lines = LinesOf(CodeOf(source.text, false));
    for (const WordRule& rule : WordRules()) {
      if (IsAtAny(source.path, rule.may)) continue;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        for (const std::string& word : rule.words) {
          if (!HoldsWord(lines[i], word)) continue;
          found.push_back(Say(source, i + 1, word, rule.why));
          break;
        }
      }
    }
  }
  return found;
}

Violations CheckPairs(const std::vector<Source>& sources) {
  // (from folder, to folder) -> where.
  std::map<std::pair<std::string, std::string>, std::string> edges;
  std::set<std::string> folders;
  for (const Source& source : sources) folders.insert(FolderOf(source.path));
  for (const Source& source : sources) {
    for (const Include& include : IncludesOf(source)) {
      const std::string from = FolderOf(source.path);
      const std::string to = FolderOf(include.header);
      if (!include.quoted || from == to || !folders.contains(to)) continue;
      edges.try_emplace({from, to}, source.path + ":" + std::to_string(include.line) +
                                        " includes " + include.header);
    }
  }
  Violations found;
  for (const auto& [edge, where] : edges) {
    const auto& [one, other] = edge;
    const auto back = edges.find({other, one});
    if (one > other || back == edges.end() || KnownPairs().contains(edge)) continue;
    found.push_back(where + ", and " + back->second + ": the folders " + one + " and " + other +
                    " include each other");
  }
  return found;
}

std::vector<Source> ReadTree() {
  const fs::path root = MAYFLY_SOURCE_DIR;
  std::vector<Source> sources;
  for (const char* layer : {"connectors", "store", "service"}) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / layer)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::ostringstream text;
      text << file.rdbuf();
      EXPECT_TRUE(file.good()) << entry.path();
      sources.push_back({entry.path().lexically_relative(root).generic_string(), text.str()});
    }
  }
  std::sort(sources.begin(), sources.end(),
            [](const Source& a, const Source& b) { return a.path < b.path; });
  return sources;
}

std::string Join(const Violations& violations) {
  std::string text;
  for (const std::string& violation : violations) text += "\n  " + violation;
  return text;
}

// ---- The tree ----------------------------------------------------------------------------------

TEST(Layers, TheTreeIsReadWhole) {
  const std::vector<Source> sources = ReadTree();
  EXPECT_GT(sources.size(), 80u);
  std::size_t includes = 0;
  for (const Source& source : sources) includes += IncludesOf(source).size();
  EXPECT_GT(includes, 300u);
}

TEST(Layers, EveryoneIncludesOnlyWhatTheyMay) {
  const Violations found = CheckIncludes(ReadTree());
  EXPECT_TRUE(found.empty()) << Join(found);
}

TEST(Layers, WordsStandOnlyWhereTheyMay) {
  const Violations found = CheckWords(ReadTree());
  EXPECT_TRUE(found.empty()) << Join(found);
}

TEST(Layers, NoTwoFoldersIncludeEachOther) {
  const Violations found = CheckPairs(ReadTree());
  EXPECT_TRUE(found.empty()) << Join(found);
}

// ---- The checks themselves ---------------------------------------------------------------------

struct BadInclude {
  const char* path;
  const char* line;
};

TEST(LayersOfLayers, EachForbiddenIncludeIsFound) {
  for (const BadInclude& bad : std::vector<BadInclude>{
           {"store/model/ids.cc", "#include \"store/store.h\""},
           {"store/model/ids.cc", "#include \"connectors/connector.h\""},
           {"store/model/ids.cc", "#include \"ids.h\""},
           {"store/core.cc", "#include \"connectors/connector.h\""},
           {"store/core.cc", "#include \"service/app.h\""},
           {"connectors/pacer.cc", "#include \"store/store.h\""},
           {"connectors/pacer.cc", "#include \"service/app.h\""},
           {"connectors/mastodon/client.cc", "#include \"connectors/bluesky/client.h\""},
           {"connectors/registry.cc", "#include \"connectors/bluesky/connector.h\""},
           {"service/app.cc", "#include \"connectors/bluesky/connector.h\""},
           {"service/app.cc", "#include \"connectors/factory.h\""},
           {"service/app.cc", "#include \"connectors/http_client.h\""},
           {"service/app.cc", "#include \"connectors/simulator_server.h\""},
           {"service/app.cc", "#include \"tests/support/clock.h\""},
           {"service/app.cc", "#include \"app.h\""},
           {"service/app.cc", "#include \"store/engine/rocksdb/rocksdb_engine.h\""},
           {"service/app.cc", "  #  include <rocksdb/db.h>"},
           {"store/core.cc", "#include <rocksdb/db.h>"},
           {"connectors/bluesky/client.cc", "#include <cpprest/http_client.h>"},
           {"service/app.cc", "#include <boost/beast.hpp>"},
           {"service/app.cc", "#include <seccomp.h>"},
           {"service/app.cc", "#include <rapidjson/document.h>"},
           {"service/app.cc", "#include <sodium.h>"},
           {"connectors/bluesky/client.cc", "#include <sodium.h>"},
           {"connectors/bluesky/deep/simulator.cc", "#include <sodium.h>"},
           {"store/accounts.cc", "#include <sodium/crypto_box.h>"},
           {"store/core.cc", "#include <spdlog/spdlog.h>"},
           {"store/core.cc", "#include \"link.pb.h\""},
           {"service/app.cc", "/* why */ #include <date/tz.h>  // because"},
       }) {
    const Violations found = CheckIncludes({{bad.path, "// first\n" + std::string(bad.line)}});
    ASSERT_FALSE(found.empty()) << bad.path << " " << bad.line;
    EXPECT_TRUE(found[0].starts_with(std::string(bad.path) + ":2: ")) << found[0];
  }
}

TEST(LayersOfLayers, AllowedIncludesPass) {
  for (const BadInclude& good : std::vector<BadInclude>{
           {"store/model/ids.cc", "#include \"store/model/ids.h\""},
           {"store/core.cc", "#include \"store/model/ids.h\""},
           {"connectors/pacer.cc", "#include \"store/model/time.h\""},
           {"connectors/bluesky/client.cc", "#include \"connectors/bluesky/client.h\""},
           {"connectors/bluesky/client.cc", "#include \"connectors/http_client.h\""},
           {"connectors/bluesky/simulator.cc", "#include <sodium.h>"},
           {"connectors/bluesky/simulator_tokens.cc", "#include <sodium.h>"},
           {"connectors/registry.cc", "#include \"connectors/platform_headers.h\""},
           {"service/demo/citizens.h", "#include \"connectors/bluesky/simulator.h\""},
           {"service/worker/worker.cc", "#include \"link.pb.h\""},
           {"store/engine/rocksdb/rocksdb_engine.cc", "#include <rocksdb/db.h>"},
           {"store/core.cc", "// #include \"service/app.h\""},
           {"store/core.cc", "/*\n#include \"service/app.h\"\n*/"},
           {"store/core.cc", "#include <vector>"},
       }) {
    EXPECT_EQ(CheckIncludes({{good.path, good.line}}), Violations()) << good.path;
  }
}

TEST(LayersOfLayers, EachForbiddenWordIsFound) {
  for (const char* line :
       {"auto now = std::chrono::system_clock::now();", "std::time(nullptr);", "x = time(0);",
        "clock_gettime(CLOCK_REALTIME, &t);", "std::this_thread::sleep_for(1s);", "::sleep(1);",
        "usleep(1);", "std::thread(f).detach();", "log(body.Reveal());", "body->Reveal()",
        "'\"' + body.Reveal() + '\"'", "1'000'000 + x.Reveal() + 2'0", "\"\\\"\" + x.Reveal()",
        "R\"(\")\" + x.Reveal()"}) {
    const Violations found = CheckWords({{"service/app.cc", "\n\n" + std::string(line)}});
    ASSERT_EQ(found.size(), 1u) << line;
    EXPECT_TRUE(found[0].starts_with("service/app.cc:3: ")) << found[0];
  }
}

TEST(LayersOfLayers, WordsInCommentsStringsAndLongerNamesPass) {
  for (const char* line :
       {"// body.Reveal()", "/* sleep_for(1s) */", "\"system_clock::now\"", "Log(\"nanosleep(\");",
        "clock.SleepUntil(at, stop);", "downtime(0);", "asleep(1);", "R\"x(sleep(1) \" )x\"",
        "'\"'; // sleep(1)", "steady_clock::now()"}) {
    EXPECT_EQ(CheckWords({{"service/app.cc", line}}), Violations()) << line;
  }
  EXPECT_EQ(CheckWords({{"store/codec.cc", "body.Reveal()"}}), Violations());
  EXPECT_EQ(CheckWords({{"store/model/clock.cc", "system_clock::now()"}}), Violations());
}

TEST(LayersOfLayers, FoldersThatIncludeEachOtherAreFound) {
  const std::vector<Source> sources = {{"service/link/a.h", "#include \"service/worker/b.h\""},
                                       {"service/worker/b.h", ""},
                                       {"service/worker/c.cc", "\n#include \"service/link/a.h\""}};
  const Violations found = CheckPairs(sources);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].find("service/link/a.h:1"), std::string::npos);
  EXPECT_NE(found[0].find("service/worker/c.cc:2"), std::string::npos);
  EXPECT_EQ(CheckPairs({sources[0], sources[1]}), Violations());
}

}  // namespace
}  // namespace mayfly
