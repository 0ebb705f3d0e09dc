// Redis: SET with EXAT, append-only file.
#include <csignal>
#include <cstdarg>
#include <memory>
#include <thread>

#include <hiredis/hiredis.h>

#include "tests/bench/measure.h"
#include "tests/bench/rival.h"
#include "tests/bench/server_process.h"

namespace mayfly::bench {
namespace {

using std::chrono::seconds;
using Strings = std::vector<std::string>;
constexpr const char* kServer = "/usr/bin/redis-server";

class RedisRival final : public Rival {
 public:
  // Redis knows no time but that of the machine: kEnd is put so far ahead that everything will have
  // been written by then.
  explicit RedisRival(const RivalOptions& options)
      : idle_(options.idle),
        end_(std::chrono::floor<seconds>(std::chrono::system_clock::now()) + seconds(15) +
             seconds(options.messages / 4'000)) {
    fs::create_directory(dir_.path() / "data");
    const std::string socket = dir_.path() / "socket";
    server_ = std::make_unique<ServerProcess>(
        Strings{kServer, "--port", "0", "--unixsocket", socket, "--dir", dir_.path() / "data",
                "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--rdbcompression",
                "no", "--daemonize", "no"},
        dir_.path() / "log", SIGTERM);
    server_->Await([&] {
      redis_.reset(::redisConnectUnix(socket.c_str()));
      return redis_ != nullptr && redis_->err == 0 && Ask({"PING"}) == "PONG";
    });
  }

  std::string Name() const override { return "Redis " + Info("server", "redis_version"); }
  std::string Configuration() const override {
    return "appendonly yes, appendfsync always, no RDB snapshots, rdbcompression no (so that what "
           "is there can be seen); each page one MULTI ... EXEC of SET NX EXAT, ZADD to the "
           "conversation and EXPIREAT of it for each message";
  }
  void Write(const std::vector<Letter>& page) override {
    Send({"MULTI"});
    for (const Letter& letter : page) {
      const std::string sent = std::to_string(letter.sent_at.time_since_epoch().count());
      const std::string end = std::to_string(Mapped(StartOf(DayOf(letter))));
      const std::string thread = "c:" + letter.conversation;
      Send({"SET", "m:" + letter.id,
            letter.conversation + '\n' + letter.person + '\n' + sent + '\n' + letter.text, "NX",
            "EXAT", end});
      Send({"ZADD", thread, sent, letter.id});
      Send({"EXPIREAT", thread, end});
    }
    Send({"EXEC"});
    for (std::size_t i = 0; i < 3 * page.size() + 1; ++i) Receive();
    const Reply done = Receive();
    if (done->type != REDIS_REPLY_ARRAY || done->elements != 3 * page.size()) {
      Die("Redis did not store a page");
    }
  }
  void Settle() override {
    Rewrite();
    if (std::chrono::system_clock::now() >= end_) Die("writing took longer than was planned for");
    std::this_thread::sleep_until(end_);
  }
  Step EndDate() override {
    return {"its active expiry, " + std::to_string(idle_.count()) + " s", [this] {
              std::this_thread::sleep_for(idle_);
              return Removed();
            }};
  }
  std::vector<Step> CleanUps() override {
    return {{"BGREWRITEAOF",
             [this] {
               Rewrite();
               return Removed();
             }},
            // A scan meets every key, and one that has expired is removed when it is met.
            {"SCAN of all keys, BGREWRITEAOF", [this] {
               std::string cursor = "0";
               do {
                 const Reply reply = Command({"SCAN", cursor, "COUNT", "1000"});
                 cursor = reply->element[0]->str;
               } while (cursor != "0");
               Rewrite();
               return Removed();
             }}};
  }
  std::uint64_t Written() const override { return server_->Written(); }
  fs::path Files() const override { return dir_.path() / "data"; }

 private:
  struct Free {
    void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
    void operator()(redisContext* context) const { ::redisFree(context); }
  };
  using Reply = std::unique_ptr<redisReply, Free>;

  void Send(const Strings& words) const {
    std::vector<const char*> parts;
    std::vector<std::size_t> sizes;
    for (const std::string& word : words) {
      parts.push_back(word.data());
      sizes.push_back(word.size());
    }
    if (::redisAppendCommandArgv(redis_.get(), static_cast<int>(parts.size()), parts.data(),
                                 sizes.data()) != REDIS_OK) {
      Die("Redis takes no command");
    }
  }
  Reply Receive() const {
    void* reply = nullptr;
    if (::redisGetReply(redis_.get(), &reply) != REDIS_OK) Die("Redis does not answer");
    Reply answer(static_cast<redisReply*>(reply));
    if (answer->type == REDIS_REPLY_ERROR) Die("Redis: " + std::string(answer->str));
    return answer;
  }
  Reply Command(const Strings& words) const {
    Send(words);
    return Receive();
  }
  std::string Ask(const Strings& words) const {
    const Reply reply = Command(words);
    return reply->str == nullptr ? "" : std::string(reply->str, reply->len);
  }
  std::string Info(const std::string& section, const std::string& name) const {
    const std::string info = Ask({"INFO", section});
    const std::size_t at = info.find(name + ":");
    if (at == std::string::npos) Die("Redis does not say " + name);
    const std::size_t begin = at + name.size() + 1;
    return info.substr(begin, info.find('\r', begin) - begin);
  }
  std::string Removed() const {
    return Info("stats", "expired_keys") + " keys removed so far, conversations included";
  }
  void Rewrite() {
    Command({"BGREWRITEAOF"});
    while (Info("persistence", "aof_rewrite_in_progress") != "0" ||
           Info("persistence", "aof_rewrite_scheduled") != "0") {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (Info("persistence", "aof_last_bgrewrite_status") != "ok") Die("BGREWRITEAOF failed");
  }
  std::int64_t Mapped(TimePoint at) const {
    const auto mapped = end_ + std::chrono::duration_cast<seconds>(at - kEnd);
    return mapped.time_since_epoch().count();
  }

  const seconds idle_;
  const std::chrono::sys_seconds end_;
  Dir dir_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<redisContext, Free> redis_;
};

}  // namespace

std::unique_ptr<Rival> MakeRedis(const RivalOptions& options) {
  if (!fs::exists(kServer)) {
    std::cout << "SKIPPED: Redis, because " << kServer << " is not installed (redis-server)\n";
    return nullptr;
  }
  return std::make_unique<RedisRival>(options);
}

}  // namespace mayfly::bench
