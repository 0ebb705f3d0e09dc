// PostgreSQL: a partition for each date.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <pwd.h>
#include <set>
#include <unistd.h>

#include <libpq-fe.h>

#include "tests/bench/measure.h"
#include "tests/bench/rival.h"
#include "tests/bench/server_process.h"

namespace mayfly::bench {
namespace {

// The newest that Debian's packages have put there.
std::optional<fs::path> FindPrograms() {
  std::optional<fs::path> found;
  long newest = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", none)) {
    const long version = std::strtol(entry.path().filename().c_str(), nullptr, 10);
    if (version <= newest || !fs::exists(entry.path() / "bin" / "postgres")) continue;
    newest = version;
    found = entry.path() / "bin";
  }
  return found;
}

class PostgresRival final : public Rival {
 public:
  PostgresRival(const fs::path& programs, const RunAs& as) {
    const fs::path home = dir_.path() / "home";
    fs::create_directory(home);
    fs::permissions(home, fs::perms::owner_all);
    if (as.changed) {
      fs::permissions(dir_.path(), fs::perms::others_exec, fs::perm_options::add);
      if (::chown(home.c_str(), as.user, as.group) != 0) Die("no directory for PostgreSQL");
    }
    const fs::path log = home / "log";
    files_ = home / "data";
    ServerProcess({programs / "initdb", "--pgdata", files_, "--username", "bench", "--auth",
                   "trust", "--encoding", "UTF8", "--no-locale", "--no-instructions"},
                  log, SIGTERM, as)
        .MustSucceed();
    server_ = std::make_unique<ServerProcess>(
        std::vector<std::string>{programs / "postgres", "-D", files_, "-c", "listen_addresses=",
                                 "-c", "unix_socket_directories=" + home.string(),
                                 // So that the log is overwritten while it is filled, as it would
                                 // be in three months.
                                 "-c", "max_wal_size=96MB"},
        log, SIGQUIT, as);
    const std::string to = "user=bench dbname=postgres host=" + home.string();
    server_->Await([&] {
      connection_.reset(::PQconnectdb(to.c_str()));
      return ::PQstatus(connection_.get()) == CONNECTION_OK;
    });
    Do("SET client_min_messages = warning");
    Do("CREATE TABLE message (id text, ends_on date, conversation text NOT NULL, person text NOT "
       "NULL, sent_at timestamptz NOT NULL, body text NOT NULL, PRIMARY KEY (id, ends_on)) "
       "PARTITION BY RANGE (ends_on)");
    Do("CREATE INDEX ON message (conversation, sent_at DESC)");
    Do("CREATE INDEX ON message (person)");
    written_before_ = server_->Written();
  }

  std::string Name() const override {
    return "PostgreSQL " + std::to_string(::PQserverVersion(connection_.get()) / 10'000);
  }
  std::string Configuration() const override {
    return "as initdb leaves it (fsync, synchronous_commit, full_page_writes on) but for "
           "max_wal_size=96MB, so that its log is overwritten as in three months; a partition a "
           "date, made with its first message; key and two indexes; each page one INSERT ... ON "
           "CONFLICT DO NOTHING from arrays";
  }
  void Write(const std::vector<Letter>& page) override {
    const std::string day = FormatDay(DayOf(page.front()));
    if (partitions_.insert(day).second) {
      Do("CREATE TABLE " + Partition(DayOf(page.front())) +
         " PARTITION OF message FOR VALUES FROM ('" + day + "') TO ('" +
         FormatDay(DayOf(page.front()) + std::chrono::days(1)) + "')");
    }
    std::string ids = "{", conversations = "{", persons = "{", times = "{", bodies = "{";
    for (const Letter& letter : page) {
      Append(ids, letter.id);
      Append(conversations, letter.conversation);
      Append(persons, letter.person);
      Append(times, FormatRfc3339(letter.sent_at));
      Append(bodies, letter.text);
    }
    for (std::string* list : {&ids, &conversations, &persons, &times, &bodies}) list->back() = '}';
    const char* const values[] = {ids.c_str(),   conversations.c_str(), persons.c_str(),
                                  times.c_str(), bodies.c_str(),        day.c_str()};
    const Answer answer(::PQexecParams(
        connection_.get(),
        "INSERT INTO message (id, conversation, person, sent_at, body, ends_on) SELECT *, $6::date "
        "FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]) ON "
        "CONFLICT DO NOTHING",
        6, nullptr, values, nullptr, nullptr, 0));
    Check(answer);
    if (std::string(::PQcmdTuples(answer.get())) != std::to_string(page.size())) {
      Die("PostgreSQL did not store a message");
    }
  }
  void Settle() override {
    Do("CHECKPOINT");
    Do("SELECT pg_switch_wal()");
    Do("CHECKPOINT");
  }
  Step EndDate() override {
    return {"DROP TABLE of its partition", [this] {
              Do("DROP TABLE " + Partition(std::chrono::floor<std::chrono::days>(kEnd)));
              return std::string();
            }};
  }
  std::vector<Step> CleanUps() override {
    return {{"CHECKPOINT",
             [this] {
               Do("CHECKPOINT");
               return std::string();
             }},
            {"VACUUM FULL message, WAL switch, CHECKPOINT", [this] {
               Do("VACUUM FULL message");
               Settle();
               return std::string();
             }}};
  }
  std::uint64_t Written() const override { return server_->Written() - written_before_; }
  fs::path Files() const override { return files_; }

 private:
  struct Free {
    void operator()(PGresult* result) const { ::PQclear(result); }
    void operator()(PGconn* connection) const { ::PQfinish(connection); }
  };
  using Answer = std::unique_ptr<PGresult, Free>;

  // What is written here has neither quotes nor backslashes.
  static void Append(std::string& list, const std::string& value) { list += '"' + value + "\","; }
  static std::string Partition(ExpiryDay day) { return "message_" + FormatDayCompact(day); }
  void Check(const Answer& answer) const {
    const auto status = ::PQresultStatus(answer.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      Die("PostgreSQL: " + std::string(::PQerrorMessage(connection_.get())));
    }
  }
  void Do(const std::string& command) const {
    Check(Answer(::PQexec(connection_.get(), command.c_str())));
  }

  Dir dir_;
  fs::path files_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<PGconn, Free> connection_;
  std::set<std::string> partitions_;
  std::uint64_t written_before_ = 0;
};

}  // namespace

std::unique_ptr<Rival> MakePostgres() {
  const auto programs = FindPrograms();
  if (!programs) {
    std::cout << "SKIPPED: PostgreSQL, because it is not installed (postgresql)\n";
    return nullptr;
  }
  RunAs as;
  if (::geteuid() == 0) {
    const passwd* const user = ::getpwnam("postgres");
    if (user == nullptr) {
      std::cout << "SKIPPED: PostgreSQL, which refuses to be root, and there is no user postgres\n";
      return nullptr;
    }
    as = {.user = user->pw_uid, .group = user->pw_gid, .changed = true};
  }
  return std::make_unique<PostgresRival>(*programs, as);
}

}  // namespace mayfly::bench
