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
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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
    std::string epoch;  // for PositionAfter
  };
  // The position behind one entry of a page.
  static std::string PositionAfter(const Page& page, const Entry& entry);
  // An empty `after` is now. A position that was not made by a feed is a reset too.
  Page Read(std::string_view after, std::size_t limit) const;

  // `news` is called after each change and doubt, on the thread that committed, under the store's
  // commit lock: it returns soon and does not call the store. Set before the first commit.
  void OnNews(std::function<void()> news) { news_ = std::move(news); }

  void OnCommitted(const std::vector<store::ChangeNotice>& changes) override;
  void OnDoubt() override;

 private:
  static std::string PositionOf(const std::string& epoch, std::uint64_t sequence);
  std::optional<std::uint64_t> SequenceOf(std::string_view position) const;

  const Clock& clock_;
  const std::size_t capacity_;
  std::function<void()> news_;
  mutable std::mutex mutex_;
  std::string epoch_;
  std::deque<Entry> entries_;
  std::uint64_t last_ = 0;  // sequence of the newest
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_CHANGE_FEED_H_
