// A process with a store of its own, driven by rocksdb_engine_test.
//
//   engine_child commit <dir> <first>   commits numbered batches for ever; reports each to stdout
//   engine_child expire <dir> <first>   the same, and drops families as their day passes
//   engine_child full <dir>             mounts 48 MiB on <dir>, fills it, frees it by a drop
//   engine_child full-reopen <dir>      the same, and opens it anew in between
//   engine_child flush <dir>            mounts 48 MiB on <dir>, and flushes when it is full
//   engine_child flush-limit <dir>      fails in the middle of a flush, opens anew
//   engine_child limit <dir>            fails in the middle of a log, opens anew
//
// A report is one line, written after the engine acknowledged: "b <number>" or "d <day>".
// Exit status: 0 done, 1 a check failed (stderr says which), 77 not permitted to mount.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sched.h>
#include <signal.h>
#include <string>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/engine/engine.h"
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "tests/support/engine_rows.h"

namespace {

using namespace mayfly;
using namespace mayfly::store;
using mayfly::testing::DayFamily;
using mayfly::testing::PutRow;
using mayfly::testing::ValueOf;

[[noreturn]] void Stop(const char* what, const std::string& why) {
  std::fprintf(stderr, "engine_child: %s: %s\n", what, why.c_str());
  std::exit(1);
}
void Must(const Status& status, const char* what) {
  if (!status) Stop(what, status.error().message);
}
void Check(bool holds, const char* what) {
  if (!holds) Stop(what, "does not hold");
}

constexpr std::uint64_t kBallast = 4u << 20;

std::unique_ptr<Engine> Open(const std::string& dir, RocksDbOptions options = {}) {
  options.dir = dir;
  options.write_buffer_bytes = 1u << 20;
  options.ballast_bytes = kBallast;
  auto opened = OpenRocksDbEngine(options);
  if (!opened) Stop("open", opened.error().message);
  return *std::move(opened);
}

void Report(char kind, int number) {
  char line[32];
  const int size = std::snprintf(line, sizeof(line), "%c %d\n", kind, number);
  if (::write(STDOUT_FILENO, line, static_cast<std::size_t>(size)) != size) std::exit(0);
}

// Rows "<number>/<i>" in sys and in the family of the batch's day.
void CommitForEver(const std::string& dir, int first, bool expire) {
  const std::unique_ptr<Engine> engine = Open(dir);
  for (int number = first;; ++number) {
    const int day = number / 10;
    const Family family = DayFamily(day);
    Must(engine->OpenFamily(family), "open family");
    Batch batch;
    for (int i = 0; i < 10; ++i) {
      const std::string key = std::to_string(number) + "/" + std::to_string(i);
      batch.Put(Family::Sys(), key, std::string(2000, 's'));
      batch.Put(family, key, std::string(2000, 'd'));
    }
    batch.conditions.push_back({family, std::to_string(number) + "/0", std::nullopt});
    Must(engine->Commit(batch, Durability::kSynced), "commit");
    Report('b', number);
    if (!expire || number % 10 != 9) continue;
    for (const Family old : engine->Families(Family::Kind::kDay)) {
      if (!(old < DayFamily(day - 1))) continue;
      Must(engine->CloseFamily(old), "close");
      const auto dropped = engine->DropFamily(old);
      if (!dropped) Stop("drop", dropped.error().message);
      Report('d', static_cast<int>(old.number - DayFamily(0).number));
      Must(PutRow(*engine, Family::Sys(), "receipt", std::to_string(day)), "receipt");
      Must(engine->ReleaseLogs(), "release");
    }
  }
}

bool WriteText(const char* path, const std::string& text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  return written;
}

// A disk of our own to fill, in a namespace where we may mount.
void MountSmallDisk(const char* dir) {
  const std::string user = std::to_string(::getuid()), group = std::to_string(::getgid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !WriteText("/proc/self/setgroups", "deny") ||
      !WriteText("/proc/self/uid_map", "0 " + user + " 1") ||
      !WriteText("/proc/self/gid_map", "0 " + group + " 1") ||
      ::mount("tmpfs", dir, "tmpfs", 0, "size=48m") != 0) {
    std::exit(77);
  }
}

// Takes all that is left of the disk.
void TakeTheRest(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) Stop("filler", std::strerror(errno));
  const std::string block(4096, 'x');
  while (::write(file, block.data(), block.size()) > 0) {
  }
  Check(errno == ENOSPC, "nothing is left of the disk");
  ::close(file);
}

// Batch `i` has a row in `old`, and every eighth one in `young` too. Returns how many there are.
int CommitUntilItFails(Engine& engine, Family old, Family young, const std::string& value,
                       Status& failed) {
  int acknowledged = 0;
  for (; acknowledged < 5000; ++acknowledged) {
    Batch batch;
    batch.Put(old, std::to_string(acknowledged), value);
    if (acknowledged % 8 == 0) batch.Put(young, std::to_string(acknowledged), value);
    failed = engine.Commit(batch, Durability::kSynced);
    if (!failed) break;
  }
  Check(!failed, "a commit fails at some time");
  std::printf("%d commits, then %s: %s\n", acknowledged, ToString(failed.error().code),
              failed.error().message.c_str());
  return acknowledged;
}

void CheckRows(const Engine& engine, Family young, int acknowledged, const std::string& value) {
  for (int i = 0; i < acknowledged; i += 8) {
    Check(ValueOf(engine, young, std::to_string(i)) == value, "acknowledged rows are there");
  }
}

void FillTheDisk(const std::string& dir, bool reopen) {
  MountSmallDisk(dir.c_str());
  std::unique_ptr<Engine> engine = Open(dir + "/store");
  const Family old = DayFamily(1), young = DayFamily(2);
  Must(engine->OpenFamily(old), "open family");
  Must(engine->OpenFamily(young), "open family");
  Must(engine->Health(), "health at the beginning");
  const std::string value(32 << 10, 'v');
  Status failed;
  const int acknowledged = CommitUntilItFails(*engine, old, young, value, failed);
  Check(failed.error().code == ErrorCode::kIo, "nothing happened");
  Check(ValueOf(*engine, old, std::to_string(acknowledged)) == "(absent)", "nothing happened");

  // Somebody else takes what we left. The drop works all the same, and so does opening before it.
  if (reopen) {
    engine.reset();
    TakeTheRest(dir + "/filler");
    engine = Open(dir + "/store");
    Check(!PutRow(*engine, young, "more", value), "a full disk takes no more");
  } else {
    bool full = false;  // a compaction that ends just now may still free a little
    for (int i = 0; i < 100 && !full; ++i) {
      TakeTheRest(dir + "/filler" + std::to_string(i));
      full = !engine->Health() && !PutRow(*engine, young, "more", value);
    }
    Check(full, "health tells of it, and no more is taken");
  }
  CheckRows(*engine, young, acknowledged, value);
  Must(engine->CloseFamily(old), "close");
  const auto dropped = engine->DropFamily(old);
  if (!dropped) Stop("drop on a full disk", dropped.error().message);
  std::printf("dropped %llu bytes\n", static_cast<unsigned long long>(dropped->bytes_dropped));
  Check(dropped->bytes_dropped > (16u << 20), "it held most of the disk");
  Status receipt;  // a compaction under way may take the room for a moment
  for (int i = 0; i < 100; ++i) {
    receipt = PutRow(*engine, Family::Sys(), "receipt", "1");
    if (receipt) break;
    Must(engine->FlushAll(), "flush after the drop made room");
  }
  Must(receipt, "commit after the drop made room");
  Must(engine->ReleaseLogs(), "release of logs");
  Must(engine->Health(), "health after the drop");
  CheckRows(*engine, young, acknowledged, value);
}

// A disk that becomes full between a commit and its flush, as when somebody else fills it.
void FlushOnAFullDisk(const std::string& dir) {
  MountSmallDisk(dir.c_str());
  // An engine that looks for room finds it, so that it is the write that fails.
  DiskRoom room;
  const std::unique_ptr<Engine> engine = Open(dir + "/store", {.room = [&room] { return room; }});
  Check(engine->Room().ballast == kBallast, "there is a ballast");
  const std::string value(64 << 10, 'v');  // little enough that nothing is flushed by itself
  Must(PutRow(*engine, Family::Sys(), "first", value), "commit");
  TakeTheRest(dir + "/filler");
  Must(engine->FlushAll(), "flush on a full disk");
  Check(engine->Room().ballast == 0, "the ballast was given up for it");
  Must(engine->Health(), "health after the flush");

  // Nothing is left that could still free a little.
  room.available = engine->Room().needed;
  Must(engine->ReleaseLogs(), "release of logs");
  Check(engine->Room().ballast == 0, "there was no room for another");

  // Without any ballast left it fails, and goes on by itself once there is room.
  Must(PutRow(*engine, Family::Sys(), "second", value), "commit");
  TakeTheRest(dir + "/filler2");
  const Status failed = engine->FlushAll();
  if (failed) Stop("flush without room", "it succeeded");
  std::printf("%s: %s\n", ToString(failed.error().code), failed.error().message.c_str());
  const Status full = engine->Mend();
  Check(!full && full.error().field == "disk-full", "room would help");
  Check(ValueOf(*engine, Family::Sys(), "second") == value, "reads go on");
  Check(::unlink((dir + "/filler").c_str()) == 0 && ::unlink((dir + "/filler2").c_str()) == 0,
        "unlink");
  room = DiskRoom{};
  Must(engine->Mend(), "mend");
  Check(engine->Room().ballast == kBallast, "the ballast is back");
  Must(engine->FlushAll(), "flush");
  Must(PutRow(*engine, Family::Sys(), "third", value), "commit");
  Check(ValueOf(*engine, Family::Sys(), "second") == value, "nothing is lost");
}

// Files may not grow further than this, and are not cut off with a signal.
void LimitFiles(rlim_t bytes) {
  rlimit limit{};
  Check(::getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
  limit.rlim_cur = std::min(bytes, limit.rlim_max);
  ::signal(SIGXFSZ, SIG_IGN);
  Check(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

// A table that cannot be written, for another reason than room.
void BreakAFlush(const std::string& dir) {
  std::unique_ptr<Engine> engine = Open(dir + "/store");
  const std::string value(200 << 10, 'v');
  Must(PutRow(*engine, Family::Sys(), "first", value), "commit");
  LimitFiles(64 << 10);
  const Status failed = engine->FlushAll();
  Check(!failed && failed.error().code == ErrorCode::kIo, "the flush fails");
  LimitFiles(RLIM_INFINITY);
  const Status mended = engine->Mend();
  Check(!mended && mended.error().field == "reopen", "only opening anew helps");
  const Status refused = PutRow(*engine, Family::Sys(), "more", value);
  Check(!refused && refused.error().code == ErrorCode::kIo, "nothing more is taken");
  Check(ValueOf(*engine, Family::Sys(), "first") == value, "reads go on");
  engine.reset();
  engine = Open(dir + "/store");
  Check(ValueOf(*engine, Family::Sys(), "first") == value, "nothing is lost");
  Must(engine->Mend(), "mend after opening anew");
  Must(engine->FlushAll(), "flush after opening anew");
  Must(PutRow(*engine, Family::Sys(), "more", value), "commit after opening anew");
}

// A log that cannot be written, because files may not grow further.
void BreakTheLog(const std::string& dir) {
  std::unique_ptr<Engine> engine = Open(dir + "/store");
  const Family old = DayFamily(1), young = DayFamily(2);
  Must(engine->OpenFamily(old), "open family");
  Must(engine->OpenFamily(young), "open family");
  LimitFiles(256 << 10);
  const std::string value(32 << 10, 'v');
  Status failed;
  const int acknowledged = CommitUntilItFails(*engine, old, young, value, failed);
  Check(failed.error().code == ErrorCode::kOutcomeUnknown, "the outcome is unknown");
  Check(!engine->Health() && engine->Health().error().field == "reopen", "health tells of it");
  LimitFiles(RLIM_INFINITY);
  const Status refused = PutRow(*engine, young, "more", value);
  Check(!refused && refused.error().code == ErrorCode::kIo, "a broken log takes no more");
  Check(!engine->Mend(), "nor does it mend");
  CheckRows(*engine, young, acknowledged, value);
  engine.reset();
  engine = Open(dir + "/store");
  CheckRows(*engine, young, acknowledged, value);
  Must(engine->Health(), "health after opening anew");
  Must(PutRow(*engine, young, "more", value), "commit after opening anew");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "commit" && argc == 4) CommitForEver(argv[2], std::atoi(argv[3]), false);
  if (mode == "expire" && argc == 4) CommitForEver(argv[2], std::atoi(argv[3]), true);
  if ((mode == "full" || mode == "full-reopen") && argc == 3) {
    FillTheDisk(argv[2], mode == "full-reopen");
    return 0;
  }
  if (mode == "flush" && argc == 3) {
    FlushOnAFullDisk(argv[2]);
    return 0;
  }
  if (mode == "flush-limit" && argc == 3) {
    BreakAFlush(argv[2]);
    return 0;
  }
  if (mode == "limit" && argc == 3) {
    BreakTheLog(argv[2]);
    return 0;
  }
  std::fprintf(stderr,
               "usage: engine_child commit|expire <dir> <first> | "
               "full|full-reopen|flush|flush-limit|limit <dir>\n");
  return 2;
}
