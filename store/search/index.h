// Keeps the words of all living messages findable: reads what commits left waiting (rows `w`),
// keeps it in memory, and writes it out as segments when it has grown. Nothing of it is waited for
// by those who collect messages; whoever searches waits until everything committed before is found.
#ifndef MAYFLY_STORE_SEARCH_INDEX_H_
#define MAYFLY_STORE_SEARCH_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "store/model/result.h"
#include "store/model/time.h"
#include "store/search/segment.h"
#include "store/search/tokenizer.h"
#include "store/search/word_table.h"

namespace mayfly::store {
class Core;
}  // namespace mayfly::store

namespace mayfly::store::search {

// How much may be in memory. The defaults take about 24 MB at most and half a second to read again
// at start. Tests make them small.
struct IndexLimits {
  std::size_t day_messages_max = 4'096;      // of one date; then it is written out
  std::size_t messages_max = 12'288;         // of all dates; then the largest are written out
  std::size_t bytes_max = 24u << 20;         // the same in memory
  std::size_t joined_messages_max = 65'536;  // larger segments are not joined
};

class SearchIndex {
 public:
  SearchIndex(Core& core, std::shared_ptr<const Tokenizer> tokenizer, const IndexLimits& limits)
      : core_(core), tokenizer_(std::move(tokenizer)), limits_(limits) {}

  // Everything committed before is findable when it returns; what has grown past its limit is
  // written out. A message that does not open is counted and passed over. An error leaves the rest
  // for the next time. A thread of the service calls it, so that those who search seldom wait.
  Status CatchUp(TimePoint now);
  // Writes everything out, however small. For tests and measurements.
  Status WriteOut(TimePoint now);
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  // Held while segments are read or replaced; taken before the commit lock. A search takes it only
  // when what it reads has moved too often.
  std::mutex& work_mutex() { return work_mutex_; }
  Status CatchUpLocked(TimePoint now);

 private:
  Result<bool> ReadSomeWaiting(ExpiryDay day, TimePoint now);  // whether there may be more
  Status Shrink(TimePoint now);
  Status ReadMessage(ExpiryDay day, const Bytes16& message, TimePoint now);
  Status WriteOutDay(ExpiryDay day, TimePoint now);
  Result<Slot> SlotOfPostings(ExpiryDay day, TimePoint now);
  Status Join(ExpiryDay day, const PostingKeys& keys, std::uint64_t through,
              const std::set<Bytes16>& here, WordTable& table, std::vector<SegmentHead>& joined,
              bool& written_before);
  // False when something changed meanwhile: nothing was written.
  Result<bool> TryWriteOutDay(ExpiryDay day, TimePoint now);

  Core& core_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const IndexLimits limits_;
  std::mutex work_mutex_;
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_INDEX_H_
