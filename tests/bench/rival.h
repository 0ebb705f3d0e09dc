// What somebody would pick instead of Mayfly's store, and that store itself, behind one interface.
// Each is set up as its own documentation advises for what ours keeps: a page of messages is one
// commit that outlives the loss of power, no message is kept twice, and messages are found by id,
// by conversation and (not in Redis) by person. docs/decisions/0025 has the figures.
#ifndef MAYFLY_TESTS_BENCH_RIVAL_H_
#define MAYFLY_TESTS_BENCH_RIVAL_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/model/retention.h"
#include "tests/bench/needles.h"
#include "tests/bench/traffic.h"

namespace mayfly::bench {

// The instant at which the date ends whose messages are looked for. Exactly 92 dates live before.
inline const TimePoint kEnd = *ParseRfc3339("2026-08-01T00:00:00Z");
inline constexpr auto kDates = std::chrono::days(92);

inline ExpiryDay DayOf(const Letter& letter) { return ExpiryDayOf(letter.sent_at, {}); }

// Something that is done and measured.
struct Step {
  std::string name;
  // What is to be said about it, or nothing.
  std::function<std::string()> run;
};

class Rival {
 public:
  virtual ~Rival() = default;
  virtual std::string Name() const = 0;
  virtual std::string Configuration() const = 0;
  // Of one date. When it returns they outlive the loss of power.
  virtual void Write(const std::vector<Letter>& page) = 0;
  // What three months of service would have brought about before the date ends: buffers written
  // out, logs turned over. Not measured.
  virtual void Settle() = 0;
  // What ends the date at kEnd: its everyday job, or what the system does by itself.
  virtual Step EndDate() = 0;
  // What its user can do besides, the strongest last.
  virtual std::vector<Step> CleanUps() { return {}; }
  // Given to the disk so far by all of its processes.
  virtual std::uint64_t Written() const = 0;
  virtual std::filesystem::path Files() const = 0;
  // Where bodies do not lie on the disk as they are: what stands there for them.
  virtual Needles SealedBodies() const { return {}; }
};

struct RivalOptions {
  std::size_t messages = 0;   // that will be written before kEnd
  std::chrono::seconds idle;  // how long those are watched that end dates by themselves
};

std::unique_ptr<Rival> MakeMayfly();
std::unique_ptr<Rival> MakeRocksDbTtl(const RivalOptions& options);
std::unique_ptr<Rival> MakeRocksDbFilter(const RivalOptions& options);
// Null when it cannot run here; the reason was printed.
std::unique_ptr<Rival> MakeRedis(const RivalOptions& options);
std::unique_ptr<Rival> MakePostgres();

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_RIVAL_H_
