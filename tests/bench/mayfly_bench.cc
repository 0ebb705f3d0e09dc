// Speed and size of the store and of the pages that it gives, beside named references.
#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <malloc.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sstream>
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
#include "store/keys/secret_key.h"
#include "store/store.h"
#include "tests/bench/measure.h"
#include "tests/bench/rows.h"
#include "tests/bench/traffic.h"

namespace mayfly::bench {

namespace {

using std::chrono::days;
namespace api = mayfly::service::api;

class FixedClock final : public Clock {
 public:
  explicit FixedClock(TimePoint now) : now_(now) {}
  TimePoint Now() const override { return now_; }
  bool SleepUntil(TimePoint, std::stop_token) override { return false; }

 private:
  TimePoint now_;
};

// Over the living dates: 20 messages to a conversation, within about three days.
Traffic Ordinary(const std::string& name, std::size_t count, bool history = false) {
  return {.name = name,
          .count = count,
          .parallel = std::max<std::size_t>(1, count / 29 / 20),
          .history = history};
}

// History as a platform serves it, a conversation after the other: a page holds a hundred messages
// of one.
Traffic OneByOne(const std::string& name, std::size_t count) {
  return {.name = name, .count = count, .span = days(60), .each = 100, .history = true};
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
  double keys_ms = 0, total_ms = 0, written_kb = 0;
  std::uint64_t messages = 0;
};

PurgeCost PurgeOldest(store::Store& store) {
  // As in the service, where a minute lies between the two.
  Must(store.FlushBeforeExpiry());
  AwaitQuiet();
  const auto view = store.View(kNow - days(95));
  if (!view.oldest_living) Die("nothing to purge");
  PurgeCost cost;
  const std::uint64_t written = WrittenBytes();
  const auto begin = Steady::now();
  store.purge().set_fail_point([&](store::PurgeStep step, ExpiryDay) {
    if (step == store::PurgeStep::kKeysDestroyed) cost.keys_ms = SecondsSince(begin) * 1000;
  });
  const auto receipts = Must(store.purge().RunOnce(StartOf(*view.oldest_living)));
  cost.total_ms = SecondsSince(begin) * 1000;
  cost.written_kb = static_cast<double>(WrittenBytes() - written) / 1000;
  store.purge().set_fail_point(nullptr);
  if (receipts.size() != 1) Die("expected one date to end");
  cost.messages = receipts.front().messages;
  return cost;
}

// --- erasing

// What it costs to destroy one message, and then the person, who wrote `messages` over six dates.
// Everything synced, as in a service.
struct ErasureCost {
  std::size_t messages = 0;
  double message_ms = 0;     // one message destroyed by key, its bytes gone
  double unreadable_ms = 0;  // the person's keys destroyed
  double gone_ms = 0;        // and their bytes gone
};

ErasureCost MeasureErasure(store::Store& store, AccountId account, std::size_t messages,
                           const std::vector<std::string>& bodies) {
  const std::string name = "one-of-" + std::to_string(messages) + "-";
  Fill(store, account,
       {.name = name, .count = messages, .span = days(6), .each = messages, .parallel = 1}, bodies);
  Must(store.FlushBeforeExpiry());
  const Actor actor{.id = "system"};
  const auto look = Must(store.audit().LookAtInbox(actor, kNow));
  const auto newest = Must(store.conversations().List(look, {}, "", 1, kNow)).items;
  if (newest.empty() || !newest.front().last_message) Die("nothing to destroy");
  ErasureCost cost{.messages = messages};
  auto begin = Steady::now();
  Must(store.erasure().DestroyMessage(*newest.front().last_message, actor, kNow));
  Must(store.erasure().RunOnce(kNow));
  cost.message_ms = SecondsSince(begin) * 1000;

  begin = Steady::now();
  const store::Erasure::Person person{account, PlatformId("did:plc:" + name + "0")};
  const ErasureId id = Must(store.erasure().ErasePerson(person, actor, kNow));
  cost.unreadable_ms = SecondsSince(begin) * 1000;
  Must(store.erasure().RunOnce(kNow));
  cost.gone_ms = SecondsSince(begin) * 1000;
  const auto progress = Must(store.erasure().Find(id));
  if (!progress.finished || progress.receipt.messages != messages) Die("not all was erased");
  return cost;
}

void AddErasureRows(Rows& rows, std::size_t a_date, const std::vector<std::string>& bodies) {
  Dir dir;
  const store::SecretKey master = store::SecretKey::Random();
  auto store = OpenFresh(dir.path(), master);
  const AccountId account = Connect(*store);
  Fill(*store, account,
       {.name = "others", .count = 6 * a_date, .span = days(6), .parallel = 6 * a_date / 60},
       bodies);
  store.reset();
  store = OpenExisting(dir.path(), master, /*sync=*/true);
  std::vector<ErasureCost> costs;
  for (const std::size_t messages : {10, 1'000, 100'000}) {
    costs.push_back(MeasureErasure(*store, account, messages, bodies));
  }
  const std::string beside = ", " + Named(a_date) + " a date";
  for (const ErasureCost& cost : costs) {
    const std::string of = " of " + std::to_string(cost.messages);
    rows.Add("one message" + of + " destroyed, bytes too" + beside, "ms", cost.message_ms,
             "ms of 10", costs.front().message_ms, "none", true);
    rows.Add("erase one person" + of + ", unreadable" + beside, "ms", cost.unreadable_ms,
             "ms of 10", costs.front().unreadable_ms, "under 100 ms", cost.unreadable_ms < 100);
    rows.Add("erase one person" + of + ", bytes gone" + beside, "ms", cost.gone_ms, "ms of 10",
             costs.front().gone_ms, "under 5 s", cost.gone_ms < 5'000);
  }
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

// A keep-alive connection, as a browser or a script of the team holds one.
class Connection {
 public:
  Connection(std::uint16_t port, std::string token) : token_(std::move(token)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) Die("connect");
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Asks and reads the whole answer, which must be 200.
  void Get(const std::string& target) {
    const std::string request = "GET " + target +
                                " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token_ +
                                "\r\n\r\n";
    if (::write(fd_, request.data(), request.size()) != static_cast<ssize_t>(request.size())) {
      Die("write");
    }
    std::size_t need = 0;
    while (need == 0 || buffer_.size() < need) {
      char chunk[65536];
      const ssize_t n = ::read(fd_, chunk, sizeof(chunk));
      if (n <= 0) Die("the listener closed");
      buffer_.append(chunk, static_cast<std::size_t>(n));
      const std::size_t head = buffer_.find("\r\n\r\n");
      if (need != 0 || head == std::string::npos) continue;
      if (buffer_.compare(0, 12, "HTTP/1.1 200") != 0) Die("not 200: " + buffer_.substr(0, 12));
      const std::size_t length = buffer_.find("Content-Length: ");
      if (length == std::string::npos) Die("no Content-Length");
      need = head + 4 + std::strtoul(buffer_.c_str() + length + 16, nullptr, 10);
    }
    buffer_.erase(0, need);
  }

 private:
  int fd_ = -1;
  const std::string token_;
  std::string buffer_;
};

struct Latency {
  double rate = 0;  // requests a second
  double p50_us = 0, p99_us = 0;
};

// Requests one after the other over the targets in turn, after a tenth of them to warm up.
Latency Measure(std::uint16_t port, const std::vector<std::string>& targets,
                const std::string& token, int count) {
  Connection connection(port, token);
  for (int i = 0; i < count / 10 + 1; ++i) connection.Get(targets[i % targets.size()]);
  std::vector<double> took;
  took.reserve(static_cast<std::size_t>(count));
  const auto begin = Steady::now();
  for (int i = 0; i < count; ++i) {
    const auto asked = Steady::now();
    connection.Get(targets[static_cast<std::size_t>(i) % targets.size()]);
    took.push_back(SecondsSince(asked) * 1e6);
  }
  Latency latency{.rate = count / SecondsSince(begin)};
  std::sort(took.begin(), took.end());
  latency.p50_us = took[took.size() / 2];
  latency.p99_us = took[took.size() * 99 / 100];
  return latency;
}

// The REST API over a store, and beside it the same listener sending the same bytes from memory.
class Rest {
 public:
  explicit Rest(store::Store& store) : store_(store), clock_(kNow) {
    const Actor actor{.id = "system", .scopes = ScopesOf(Role::kComms), .request_id = "bench"};
    token_ =
        Must(store.tokens().Create(Role::kComms, "bench", days(30), actor, kNow)).token.Reveal();
    context_.store = &store;
    context_.clock = &clock_;
    context_.cursor_key = store.PageCursorKey();
    router_ = api::MakeRouter(context_);
    const auto look = Must(store.audit().LookAtInbox(actor, kNow));
    for (const Conversation& conversation :
         Must(store.conversations().List(look, {}, "", 200, kNow)).items) {
      threads_.push_back("/v1/conversations/" + conversation.id.ToString() + "/messages?limit=50");
    }
    if (threads_.empty()) Die("an empty inbox");
  }

  // Newest messages of the 200 conversations in front, in turn.
  const std::vector<std::string>& threads() const { return threads_; }

  Latency Ours(const std::vector<std::string>& targets, int count) {
    return Serve(router_, targets, count);
  }
  // The answer to `target`, from memory.
  Latency FromMemory(const std::string& target, int count) {
    api::Request request;
    request.method = "GET";
    const std::size_t question = target.find('?');
    std::stringstream path(target.substr(1, question - 1));
    for (std::string part; std::getline(path, part, '/');) request.path.push_back(part);
    if (question != std::string::npos) request.query = {{"limit", "50"}};
    request.headers["authorization"] = "Bearer " + token_;
    const auto authenticate = api::MakeAuthenticator(store_.tokens(), clock_);
    const api::Response response = api::Dispatch(router_, authenticate, request, true);
    if (response.status != 200) Die("the page was refused");
    api::Router memory;
    memory.Add({{.method = "GET",
                 .pattern = "/memory",
                 .access = api::Access::kPublic,
                 .handler = [&](const api::Request&, const Actor&) {
                   return api::Response::Json(200, response.body);
                 }}});
    return Serve(memory, {"/memory"}, count);
  }

 private:
  Latency Serve(const api::Router& router, const std::vector<std::string>& targets, int count) {
    api::Server server(router, api::MakeAuthenticator(store_.tokens(), clock_), {});
    server.SetReady(true);
    std::uint16_t port = 0;
    Must(server.Start({{.fd = ListenOnLoopback(&port)}}));
    const Latency latency = Measure(port, targets, token_, count);
    server.Drain(std::chrono::milliseconds(1'000));
    return latency;
  }

  store::Store& store_;
  const FixedClock clock_;
  std::string token_;
  api::ApiContext context_;
  api::Router router_;
  std::vector<std::string> threads_;
};

long ResidentKb() {
  std::ifstream in("/proc/self/status");
  std::string line;
  while (std::getline(in, line)) {
    if (line.rfind("VmRSS:", 0) == 0) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

const char* const kInbox = "/v1/conversations?limit=50";

// What is measured at each size of the store.
struct AtSize {
  double ingest = 0;      // messages/s, opening of all dates included
  double filling = 0;     // messages/s into dates that are open
  double one_by_one = 0;  // the same, a conversation to a page
  Latency thread, thread_memory, inbox, inbox_memory;
  double start_s = 0;
  long resident_mb = 0;
  PurgeCost purge;
};

AtSize MeasureAt(std::size_t count, const std::vector<std::string>& bodies) {
  Dir dir;
  AtSize at;
  const store::SecretKey master = store::SecretKey::Random();
  auto store = OpenFresh(dir.path(), master);
  const AccountId account = Connect(*store);
  at.ingest = Fill(*store, account, Ordinary("first", count), bodies);
  at.filling =
      Fill(*store, account, Ordinary("again", std::min<std::size_t>(count, 100'000), true), bodies);
  at.one_by_one =
      Fill(*store, account, OneByOne("thread", std::min<std::size_t>(count, 100'000)), bodies);
  // The conversations that are read: the same in a small store and in a large one.
  Fill(*store, account,
       {.name = "read", .count = 200 * 60, .span = days(3), .each = 60, .parallel = 200}, bodies);
  // The memory of a service that has been started on this store and is being read.
  Must(store->FlushBeforeExpiry());
  store.reset();
  ::malloc_trim(0);
  const long before_mb = ResidentKb() / 1024;
  const auto begin = Steady::now();
  store = OpenExisting(dir.path(), master);
  at.start_s = SecondsSince(begin);
  {
    Rest rest(*store);
    at.thread = rest.Ours(rest.threads(), 4'000);
    at.thread_memory = rest.FromMemory(rest.threads().front(), 4'000);
    at.inbox = rest.Ours({kInbox}, 1'000);
    at.inbox_memory = rest.FromMemory(kInbox, 1'000);
  }
  Fill(*store, account, Ordinary("more", 50'000, true), bodies);
  at.resident_mb = ResidentKb() / 1024;
  std::cerr << Named(count) << " stored: " << before_mb << " MB before the store was opened, "
            << at.resident_mb << " MB after reading and writing\n";
  at.purge = PurgeOldest(*store);
  return at;
}

// --- with and without sealing

double Ingest(std::size_t count) {
  const std::vector<std::string> bodies = MakeBodies();
  Dir dir;
  const store::SecretKey master = store::SecretKey::Random();
  const auto store = OpenFresh(dir.path(), master);
  const AccountId account = Connect(*store);
  Fill(*store, account, Ordinary("first", 2'000), bodies);  // opens the dates
  return Fill(*store, account, Ordinary("again", count, true), bodies);
}

// What `program --ingest count` prints.
double IngestOf(const fs::path& program, std::size_t count) {
  const std::string command = "'" + program.string() + "' --ingest " + std::to_string(count);
  FILE* const output = ::popen(command.c_str(), "r");
  if (output == nullptr) Die("no process for the other store");
  double rate = 0;
  const bool said = std::fscanf(output, "%lf", &rate) == 1;
  if (::pclose(output) != 0 || !said) Die("the other store said nothing");
  return rate;
}

struct Sealing {
  double sealed = 0, unsealed = 0;
};

// Each in processes of its own, in turn; the best of three rounds, because other work on the
// machine can only slow a round down.
Sealing MeasureSealing(std::size_t count) {
  const fs::path ours = fs::read_symlink("/proc/self/exe");
  const fs::path unsealed = ours.parent_path() / "mayfly_bench_unsealed";
  Sealing best;
  for (int round = 0; round < 3; ++round) {
    best.sealed = std::max(best.sealed, IngestOf(ours, count));
    best.unsealed = std::max(best.unsealed, IngestOf(unsealed, count));
  }
  return best;
}

Rows Run(std::size_t small, std::size_t large, std::size_t a_date) {
  const std::vector<std::string> bodies = MakeBodies();

  // Raw, ours, raw again: the machine's mood is averaged.
  const double raw_before = RawPuts(small, bodies);
  const AtSize s = MeasureAt(small, bodies);
  const AtSize l = MeasureAt(large, bodies);
  const double raw = (raw_before + RawPuts(small, bodies)) / 2;
  const Sealing sealing = MeasureSealing(small);

  Rows rows;
  AddErasureRows(rows, a_date, bodies);
  const std::string at_small = " at " + Named(small);
  const std::string at_large = " at " + Named(large);
  rows.Add("sealed ingest, all rows, no sync, dates opened too", "messages/s", l.ingest,
           "raw one-key RocksDB put", raw, ">= 0.25", l.ingest / raw >= 0.25);
  rows.Add("the same into dates that are open", "messages/s", l.filling, "raw one-key RocksDB put",
           raw, ">= 0.25", l.filling / raw >= 0.25);
  rows.Add("the same, 100 messages of one conversation to a page", "messages/s", l.one_by_one,
           "raw one-key RocksDB put", raw, ">= 0.25", l.one_by_one / raw >= 0.25);
  rows.Add("sealed ingest into open dates", "messages/s", sealing.sealed, "same store, unsealed",
           sealing.unsealed, ">= 0.80", sealing.sealed / sealing.unsealed >= 0.80);
  rows.Add("newest 50 messages over REST, keep-alive" + at_large, "requests/s", l.thread.rate,
           "same listener, same bytes from memory", l.thread_memory.rate, ">= 0.2",
           l.thread.rate / l.thread_memory.rate >= 0.2);
  rows.Add("the same page, p50" + at_large, "us", l.thread.p50_us, "p50" + at_small,
           s.thread.p50_us, "<= 1.3", l.thread.p50_us / s.thread.p50_us <= 1.3);
  rows.Add("first 50 conversations over REST" + at_large, "requests/s", l.inbox.rate,
           "same listener, same bytes from memory", l.inbox_memory.rate, "none", true);
  rows.Add("the same page, p50" + at_large, "us", l.inbox.p50_us, "p50" + at_small, s.inbox.p50_us,
           "<= 1.3", l.inbox.p50_us / s.inbox.p50_us <= 1.3);
  rows.Add("key of one date destroyed" + at_large, "ms", l.purge.keys_ms, "ms" + at_small,
           s.purge.keys_ms, "under 20 ms", l.purge.keys_ms < 20);
  rows.Add("one date gone, bytes too (" + std::to_string(l.purge.messages) + " messages)", "ms",
           l.purge.total_ms, "ms for " + std::to_string(s.purge.messages), s.purge.total_ms,
           "under 250 ms", l.purge.total_ms < 250);
  rows.Add("one date gone" + at_large, "ms", l.purge.total_ms, "ms" + at_small, s.purge.total_ms,
           "<= 1.5", l.purge.total_ms / s.purge.total_ms <= 1.5);
  rows.Add("written to end that date" + at_large, "kB", l.purge.written_kb, "kB" + at_small,
           s.purge.written_kb, "under 2 MB", l.purge.written_kb < 2'000);
  rows.Add("store opened, ready to serve" + at_large, "ms", l.start_s * 1000, "ms" + at_small,
           s.start_s * 1000, "under 1 s", l.start_s < 1);
  rows.Add("resident memory of this process" + at_large, "MB", static_cast<double>(l.resident_mb),
           "the bar at 1 M", 128, "under 128 MB", l.resident_mb < 128);
  return rows;
}

// These rows alone.
Rows RunErasing(std::size_t a_date) {
  const std::vector<std::string> bodies = MakeBodies();
  Rows rows;
  AddErasureRows(rows, a_date, bodies);
  return rows;
}

}  // namespace
}  // namespace mayfly::bench

int main(int argc, char** argv) {
  using namespace mayfly;
  std::string json_file;
  std::size_t small = 100'000, large = 1'000'000, a_date = 110'000;
  bool erasing = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      json_file = argv[++i];
    } else if (word == "--ingest" && i + 1 < argc) {
      std::printf("%.1f\n", bench::Ingest(std::strtoul(argv[++i], nullptr, 10)));
      return 0;
    } else if (word == "--quick") {
      small = 20'000;
      large = 100'000;
      a_date = 10'000;
    } else if (word == "--large") {
      small = 1'000'000;
      large = 10'000'000;
    } else if (word == "--messages" && i + 1 < argc) {
      large = std::max<std::size_t>(10'000, std::strtoul(argv[++i], nullptr, 10));
      small = large / 10;
      a_date = std::min(a_date, small);
    } else if (word == "--erasing") {
      erasing = true;
    } else {
      std::cerr
          << "usage: mayfly_bench [--json FILE] [--quick | --large | --messages N] [--erasing]\n"
             "       mayfly_bench --ingest MESSAGES\n";
      return 2;
    }
  }
  const bench::Rows rows = erasing ? bench::RunErasing(a_date) : bench::Run(small, large, a_date);
  rows.Print();
  if (!json_file.empty() && !rows.WriteJson(json_file)) {
    std::cerr << "mayfly_bench: " << json_file << " cannot be written\n";
    return 1;
  }
  return 0;
}
