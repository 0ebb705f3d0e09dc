// The latest changes, in memory only: what was forgotten here is forgotten everywhere.
//
// A client takes a position, reads what it shows, and asks from time to time what changed since
// then. Positions hold the feed's epoch, drawn at start and again when the store cannot say whether
// a commit happened: one of an earlier epoch, or one that the ring no longer reaches back to,
// cannot be continued, and the client reads everything again.
#ifndef MAYFLY_SERVICE_API_CHANGE_FEED_H_
#define MAYFLY_SERVICE_API_CHANGE_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/change_observer.h"
#include "store/model/clock.h"

namespace mayfly::service::api {

// Thread-safe.
class ChangeFeed final : public store::ChangeObserver {
 public:
  // Keeps the last `capacity` changes, about 200 bytes each. `clock` must outlive it.
  explicit ChangeFeed(const Clock& clock, std::size_t capacity = 10'000);

  struct Entry {
    std::uint64_t sequence = 0;  // without gaps
    TimePoint at;                // when it was committed
    store::ChangeNotice change;
  };
  struct Page {
    bool reset = false;          // the position cannot be continued; `entries` is empty
    std::vector<Entry> entries;  // oldest first
    std::string next;            // position behind them
    bool has_more = false;
  };
  // An empty `after` is now. A position that was not made by a feed is a reset too.
  Page Read(std::string_view after, std::size_t limit) const;

  void OnCommitted(const std::vector<store::ChangeNotice>& changes) override;
  void OnDoubt() override;

 private:
  std::string PositionOf(std::uint64_t sequence) const;
  std::optional<std::uint64_t> SequenceOf(std::string_view position) const;

  const Clock& clock_;
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::string epoch_;
  std::deque<Entry> entries_;
  std::uint64_t last_ = 0;  // sequence of the newest
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_CHANGE_FEED_H_
