// Speed and size beside named references, measured in one run: the rows of docs/benchmarks.md.
// Ratios are what counts; absolute figures move with the machine.
#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include "service/api/auth.h"
#include "service/api/context.h"
#include "service/api/server.h"
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "store/keys/secret_key.h"
#include "store/model/json.h"
#include "store/store.h"

namespace mayfly::bench {

namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;
using std::chrono::days;
namespace api = mayfly::service::api;

const TimePoint kNow = *ParseRfc3339("2026-11-22T12:00:00Z");

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "mayfly_bench: " << what << "\n";
  std::exit(1);
}
template <class T>
T Must(Result<T> result) {
  if (!result) Die(result.error().message);
  return *std::move(result);
}
void Must(Status status) {
  if (!status) Die(status.error().message);
}

double SecondsSince(Steady::time_point begin) {
  return std::chrono::duration<double>(Steady::now() - begin).count();
}

struct Row {
  std::string name, unit, reference_name;
  double value = 0, reference = 0, ratio = 0;
  std::string bar;
  bool holds = false;
};

class Dir {
 public:
  Dir() {
    std::string name = (fs::temp_directory_path() / "mayfly-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) Die("no temporary directory");
    path_ = name;
  }
  ~Dir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class FixedClock final : public Clock {
 public:
  explicit FixedClock(TimePoint now) : now_(now) {}
  TimePoint Now() const override { return now_; }
  bool SleepUntil(TimePoint, std::stop_token) override { return false; }

 private:
  TimePoint now_;
};

// Words with a skewed distribution, so that they compress as letters from people do.
class Words {
 public:
  std::string Body(std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) {
      const auto rank = static_cast<std::size_t>(std::pow(2000.0, uniform_(random_)));
      text += words_[rank % words_.size()];
      text += ' ';
    }
    text.resize(bytes);
    return text;
  }
  Words() {
    for (int i = 0; i < 2000; ++i) {
      std::string word;
      for (std::size_t n = 2 + random_() % 8; n > 0; --n)
        word += static_cast<char>('a' + random_() % 26);
      words_.push_back(word);
    }
  }

 private:
  std::mt19937 random_{7};
  std::uniform_real_distribution<double> uniform_{0.0, 1.0};
  std::vector<std::string> words_;
};

std::unique_ptr<store::Store> OpenFresh(const fs::path& dir) {
  fs::create_directory(dir / "store");
  fs::create_directory(dir / "keys");
  fs::permissions(dir / "store", fs::perms::owner_all);
  fs::permissions(dir / "keys", fs::perms::owner_all);
  store::SecretKey master = store::SecretKey::Random();
  Must(store::CreateKeyVault({.dir = dir / "keys", .sync = false}, master));
  auto vault = Must(store::OpenKeyVault({.dir = dir / "keys", .sync = false}, std::move(master)));
  auto engine = Must(store::OpenRocksDbEngine({.dir = dir / "store"}));
  return Must(store::Store::Open(std::move(engine), std::move(vault),
                                 {.durability = store::Durability::kBuffered}));
}

AccountId Connect(store::Store& store) {
  return Must(store.accounts().Create({.platform = "bluesky",
                                       .label = "bench",
                                       .options = {},
                                       .retention = {},
                                       .credential = Credential("{}")},
                                      {.id = "system"}, kNow - days(95)))
      .id;
}

// Messages in time order over the living dates: 20 to a conversation, within about three days.
double Fill(store::Store& store, AccountId account, std::size_t count,
            const std::vector<std::string>& bodies) {
  const auto span = std::chrono::duration_cast<std::chrono::milliseconds>(days(87));
  const TimePoint first = kNow - span;
  constexpr std::size_t kPage = 100;
  // As many conversations are under way at once as three days hold.
  const std::size_t parallel = std::max<std::size_t>(1, count / 29 / 20);
  const auto begin = Steady::now();
  for (std::size_t at = 0; at < count; at += kPage) {
    store::CollectedPage page;
    page.account = account;
    page.cursor = "bench";
    std::vector<std::size_t> seen;
    for (std::size_t i = at; i < std::min(count, at + kPage); ++i) {
      const std::size_t conversation = (i / (parallel * 20)) * parallel + i % parallel;
      const std::string person = "did:plc:person" + std::to_string(conversation);
      const std::string convo = "convo" + std::to_string(conversation);
      if (std::find(seen.begin(), seen.end(), conversation) == seen.end()) {
        seen.push_back(conversation);
        page.conversations.push_back(
            {.id = PlatformId(convo),
             .participants = {{PlatformId(person), ContactHandle("person.example"), {}}}});
      }
      page.messages.push_back({.conversation = PlatformId(convo),
                               .id = PlatformId("message" + std::to_string(i)),
                               .sender = PlatformId(person),
                               .sent_at = first + span * static_cast<std::int64_t>(i) /
                                                      static_cast<std::int64_t>(count),
                               .text = MessageBody(bodies[i % bodies.size()])});
    }
    const TimePoint now = page.messages.back().sent_at.value();
    const auto outcome = Must(store.collection().Collect(page, now));
    if (outcome.stored != page.messages.size()) Die("a message was not stored");
  }
  return static_cast<double>(count) / SecondsSince(begin);
}

double RawPuts(std::size_t count, const std::vector<std::string>& bodies) {
  Dir dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = 32u << 20;
  rocksdb::DB* raw = nullptr;
  if (!rocksdb::DB::Open(options, (dir.path() / "raw").string(), &raw).ok()) Die("raw RocksDB");
  const std::unique_ptr<rocksdb::DB> db(raw);
  const auto begin = Steady::now();
  for (std::size_t at = 0; at < count; at += 100) {
    rocksdb::WriteBatch batch;
    for (std::size_t i = at; i < std::min(count, at + 100); ++i) {
      char key[33];
      std::snprintf(key, sizeof(key), "%032zu", i);
      batch.Put(rocksdb::Slice(key, 32), bodies[i % bodies.size()]);
    }
    if (!db->Write(rocksdb::WriteOptions(), &batch).ok()) Die("raw RocksDB write");
  }
  return static_cast<double>(count) / SecondsSince(begin);
}

struct PurgeCost {
  double keys_ms = 0, total_ms = 0;
  std::uint64_t messages = 0;
};

PurgeCost PurgeOldest(store::Store& store) {
  Must(store.FlushBeforeExpiry());
  const auto view = store.View(kNow - days(95));
  if (!view.oldest_living) Die("nothing to purge");
  PurgeCost cost;
  const auto begin = Steady::now();
  store.purge().set_fail_point([&](store::PurgeStep step, ExpiryDay) {
    if (step == store::PurgeStep::kKeysDestroyed) cost.keys_ms = SecondsSince(begin) * 1000;
  });
  const auto receipts = Must(store.purge().RunOnce(StartOf(*view.oldest_living)));
  cost.total_ms = SecondsSince(begin) * 1000;
  store.purge().set_fail_point(nullptr);
  if (receipts.size() != 1) Die("expected one date to end");
  cost.messages = receipts.front().messages;
  return cost;
}

// --- REST

int ListenOnLoopback(std::uint16_t* port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(fd, 128) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("no loopback listener");
  }
  *port = ntohs(address.sin_port);
  return fd;
}

// One keep-alive connection; returns requests a second.
double Requests(std::uint16_t port, const std::string& target, const std::string& token, int count,
                std::size_t* bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) Die("connect");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const std::string request = "GET " + target +
                              " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token +
                              "\r\n\r\n";
  std::string buffer;
  const auto begin = Steady::now();
  for (int i = 0; i < count; ++i) {
    if (::write(fd, request.data(), request.size()) != static_cast<ssize_t>(request.size()))
      Die("write");
    std::size_t need = 0;
    while (need == 0 || buffer.size() < need) {
      char chunk[65536];
      const ssize_t n = ::read(fd, chunk, sizeof(chunk));
      if (n <= 0) Die("the listener closed");
      buffer.append(chunk, static_cast<std::size_t>(n));
      const std::size_t head = buffer.find("\r\n\r\n");
      if (need != 0 || head == std::string::npos) continue;
      if (buffer.compare(0, 12, "HTTP/1.1 200") != 0) Die("not 200: " + buffer.substr(0, 12));
      const std::size_t length = buffer.find("Content-Length: ");
      if (length == std::string::npos) Die("no Content-Length");
      need = head + 4 + std::strtoul(buffer.c_str() + length + 16, nullptr, 10);
    }
    *bytes = need;
    buffer.erase(0, need);
  }
  const double rate = count / SecondsSince(begin);
  ::close(fd);
  return rate;
}

struct PageRates {
  double ours = 0, memory = 0;
  std::size_t bytes = 0;
};

PageRates NewestPage(store::Store& store, int count) {
  const FixedClock clock(kNow);
  const Actor actor{.id = "system", .scopes = ScopesOf(Role::kComms), .request_id = "bench"};
  const auto look = Must(store.audit().LookAtInbox(actor, kNow));
  const auto inbox = Must(store.conversations().List(look, {}, "", 200, kNow));
  if (inbox.items.empty()) Die("an empty inbox");
  const auto token =
      Must(store.tokens().Create(Role::kComms, "bench", days(30), actor, kNow)).token;

  api::ApiContext context;
  context.store = &store;
  context.clock = &clock;
  context.cursor_key = store.PageCursorKey();
  const api::Router router = api::MakeRouter(context);

  auto authenticate = api::MakeAuthenticator(store.tokens(), clock);
  const std::string target =
      "/v1/conversations/" + inbox.items.front().id.ToString() + "/messages?limit=50";

  // The same listener, sending the same bytes from memory.
  std::string body;
  {
    api::Request request;
    request.method = "GET";
    request.path = {"v1", "conversations", inbox.items.front().id.ToString(), "messages"};
    request.query = {{"limit", "50"}};
    request.headers["authorization"] = "Bearer " + token.Reveal();
    const api::Response response = api::Dispatch(router, authenticate, request, true);
    if (response.status != 200) Die("the page was refused");
    body = response.body;
  }
  api::Router memory;
  memory.Add({{.method = "GET",
               .pattern = "/memory",
               .access = api::Access::kPublic,
               .handler = [&](const api::Request&, const Actor&) {
                 return api::Response::Json(200, body);
               }}});

  PageRates rates;
  const auto run = [&](const api::Router& routes, const std::string& path) {
    api::Server server(routes, authenticate, {});
    server.SetReady(true);
    std::uint16_t port = 0;
    Must(server.Start({{.fd = ListenOnLoopback(&port)}}));
    Requests(port, path, token.Reveal(), count / 10 + 1, &rates.bytes);  // warm
    const double rate = Requests(port, path, token.Reveal(), count, &rates.bytes);
    server.Drain(std::chrono::milliseconds(1'000));
    return rate;
  };
  rates.ours = run(router, target);
  rates.memory = run(memory, "/memory");
  return rates;
}

long ResidentKb() {
  std::ifstream in("/proc/self/status");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind("VmRSS:", 0) == 0) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

std::vector<Row> Run(std::size_t small, std::size_t large) {
  std::vector<Row> rows;
  Words words;
  std::vector<std::string> bodies;
  for (int i = 0; i < 10'000; ++i) bodies.push_back(words.Body(300));

  // Raw, ours, raw again: the machine's mood is averaged.
  const double raw_before = RawPuts(small, bodies);
  auto small_dir = std::make_unique<Dir>();
  auto store = OpenFresh(small_dir->path());
  AccountId account = Connect(*store);
  const double ingest = Fill(*store, account, small, bodies);
  const double raw = (raw_before + RawPuts(small, bodies)) / 2;
  rows.push_back({.name = "sealed ingest, all rows, no sync",
                  .unit = "messages/s",
                  .reference_name = "raw one-key RocksDB put",
                  .value = ingest,
                  .reference = raw,
                  .ratio = ingest / raw,
                  .bar = ">= 0.25",
                  .holds = ingest / raw >= 0.25});

  const PageRates page = NewestPage(*store, 3'000);
  rows.push_back({.name = "newest 50 messages over REST, keep-alive",
                  .unit = "requests/s",
                  .reference_name = "same listener, same bytes from memory",
                  .value = page.ours,
                  .reference = page.memory,
                  .ratio = page.ours / page.memory,
                  .bar = ">= 0.2",
                  .holds = page.ours / page.memory >= 0.2});

  const PurgeCost purge_small = PurgeOldest(*store);
  store.reset();
  small_dir.reset();
  Dir large_dir;
  store = OpenFresh(large_dir.path());
  account = Connect(*store);
  Fill(*store, account, large, bodies);
  const long resident_mb = ResidentKb() / 1024;
  const PurgeCost purge_large = PurgeOldest(*store);
  rows.push_back({.name = "key of one date destroyed (" + std::to_string(large) + " stored)",
                  .unit = "ms",
                  .reference_name = std::to_string(small) + " stored",
                  .value = purge_large.keys_ms,
                  .reference = purge_small.keys_ms,
                  .ratio = purge_large.keys_ms / purge_small.keys_ms,
                  .bar = "under 20 ms",
                  .holds = purge_large.keys_ms < 20});
  rows.push_back(
      {.name = "one date gone, bytes too (" + std::to_string(purge_large.messages) + " of " +
               std::to_string(large) + ")",
       .unit = "ms",
       .reference_name = std::to_string(purge_small.messages) + " of " + std::to_string(small),
       .value = purge_large.total_ms,
       .reference = purge_small.total_ms,
       .ratio = purge_large.total_ms / purge_small.total_ms,
       .bar = "under 250 ms",
       .holds = purge_large.total_ms < 250});
  rows.push_back({.name = "resident memory of this process at " + std::to_string(large),
                  .unit = "MB",
                  .reference_name = "bar at 1 M messages",
                  .value = static_cast<double>(resident_mb),
                  .reference = 128,
                  .ratio = static_cast<double>(resident_mb) / 128,
                  .bar = "under 128 MB",
                  .holds = resident_mb < 128});
  return rows;
}

}  // namespace
}  // namespace mayfly::bench

int main(int argc, char** argv) {
  using namespace mayfly;
  std::string json_file;
  std::size_t small = 50'000, large = 250'000;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      json_file = argv[++i];
    } else if (word == "--quick") {
      small = 20'000;
      large = 100'000;
    } else if (word == "--large") {
      small = 100'000;
      large = 1'000'000;
    } else {
      std::cerr << "usage: mayfly_bench [--json FILE] [--quick | --large]\n";
      return 2;
    }
  }
  const std::vector<bench::Row> rows = bench::Run(small, large);
  std::string out;
  {
    json::Writer writer(&out);
    writer.StartArray();
    for (const bench::Row& row : rows) {
      std::printf("%-58s %12.1f %-10s  %12.1f %-40s  ratio %5.2f  bar %-12s %s\n", row.name.c_str(),
                  row.value, row.unit.c_str(), row.reference, row.reference_name.c_str(), row.ratio,
                  row.bar.c_str(), row.holds ? "holds" : "MISSED");
      writer.StartObject()
          .Field("name", row.name)
          .Key("value")
          .Double(row.value)
          .Field("unit", row.unit)
          .Key("reference")
          .Double(row.reference)
          .Field("reference_name", row.reference_name)
          .Key("ratio")
          .Double(row.ratio)
          .Field("bar", row.bar)
          .Field("holds", row.holds)
          .EndObject();
    }
    writer.EndArray();
  }
  if (!json_file.empty()) std::ofstream(json_file) << out << "\n";
  return 0;
}
