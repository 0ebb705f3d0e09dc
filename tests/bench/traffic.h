// The messages that the benchmarks keep, and the store of ours that keeps them.
#ifndef MAYFLY_TESTS_BENCH_TRAFFIC_H_
#define MAYFLY_TESTS_BENCH_TRAFFIC_H_

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "store/keys/secret_key.h"
#include "store/store.h"

namespace mayfly::bench {

inline const TimePoint kNow = *ParseRfc3339("2026-11-22T12:00:00Z");

// Words with a skewed distribution, so that they compress as letters from people do.
class Words {
 public:
  Words();
  std::string Body(std::size_t bytes);

 private:
  std::mt19937 random_{7};
  std::uniform_real_distribution<double> uniform_{0.0, 1.0};
  std::vector<std::string> words_;
};

// 10,000 bodies of 300 bytes.
std::vector<std::string> MakeBodies();

// Messages to be collected, in time order up to `until`.
struct Traffic {
  std::string name;  // of its people, conversations and messages
  std::size_t count = 0;
  std::chrono::milliseconds span = std::chrono::days(87);
  std::size_t each = 20;     // messages of a conversation ...
  std::size_t parallel = 1;  // ... of which so many are under way at once
  bool history = false;      // served by the platform at kNow, not as it was written
  TimePoint until = kNow;
};

struct Letter {
  std::string conversation, person, id, text;
  TimePoint sent_at;
};

// How many messages a platform serves at once, and so how many are committed at once.
inline constexpr std::size_t kPage = 100;

// The messages of a traffic from the `from`th on, at most a page of them.
std::vector<Letter> PageOf(const Traffic& traffic, std::size_t from,
                           const std::vector<std::string>& bodies);
store::CollectedPage ToCollect(AccountId account, const std::vector<Letter>& page);

// Collects it all. Messages a second.
double Fill(store::Store& store, AccountId account, const Traffic& traffic,
            const std::vector<std::string>& bodies);

// The store in `dir`. Without `sync` nothing waits for the disk.
std::unique_ptr<store::Store> OpenExisting(const std::filesystem::path& dir,
                                           const store::SecretKey& master, bool sync = false);
std::unique_ptr<store::Store> OpenFresh(const std::filesystem::path& dir,
                                        const store::SecretKey& master, bool sync = false);
AccountId Connect(store::Store& store);  // 95 days before kNow

std::string Named(std::size_t count);  // 200 k, 1 M

}  // namespace mayfly::bench

#endif  // MAYFLY_TESTS_BENCH_TRAFFIC_H_
