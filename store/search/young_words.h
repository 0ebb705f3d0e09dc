// The words of messages that have no postings yet, date by date, in memory; and what commits tell
// the index. Bounded by SearchIndex, which writes them out; wiped with their date.
//
// Thread-safe. Its lock is taken last: under the commit lock, and never around I/O.
#ifndef MAYFLY_STORE_SEARCH_YOUNG_WORDS_H_
#define MAYFLY_STORE_SEARCH_YOUNG_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/ids.h"
#include "store/model/mutex.h"
#include "store/model/time.h"
#include "store/search/word_table.h"

namespace mayfly::store::search {

class YoungWords {
 public:
  // --- called under the commit lock
  // The date has `w` rows that were not read. Also when it is not certain that a commit happened.
  void NoteWaiting(ExpiryDay day);
  // Words of some message of the store may have changed or gone.
  void NoteChanged() { changes_.fetch_add(1); }
  // The date was written anew: its words are read again from its `w` rows, and searches under way
  // look again.
  void BeginAnew(ExpiryDay day);
  // Wipes everything of the date, and takes nothing of it any more.
  void Hide(ExpiryDay day);

  // --- for SearchIndex, one caller at a time
  std::set<ExpiryDay> TakeWaiting();
  std::uint64_t changes() const { return changes_.load(); }
  // The highest `w` row of the date that was read; 0 when none was.
  std::uint64_t ReadThrough(ExpiryDay day) const;
  // Ignored when the date was begun anew since this epoch of it.
  void SetReadThrough(ExpiryDay day, std::uint64_t sequence, std::uint64_t epoch);
  std::uint64_t Epoch(ExpiryDay day) const;
  // The number of changes that the words of the date are not behind.
  std::uint64_t CleanAt(ExpiryDay day) const;
  void SetCleanAt(ExpiryDay day, std::uint64_t changes);
  void Add(ExpiryDay day, const Bytes16& message, TimePoint sent_at,
           const std::vector<std::string>& terms);
  void Remove(ExpiryDay day, const Bytes16& message);
  struct Size {
    ExpiryDay day;
    std::size_t messages = 0;
    std::size_t bytes = 0;
  };
  std::vector<Size> Sizes() const;
  // Calls `use` with the date's words, under the lock. False when it has none.
  bool Use(ExpiryDay day, const std::function<void(const WordTable&)>& use) const;
  // What of it was written out is forgotten: everything that is there.
  void Written(ExpiryDay day);
  // A search that began before and has not ended may have missed what moved.
  std::uint64_t moves() const { return moves_.load(); }
  void NoteMoved() { moves_.fetch_add(1); }

 private:
  struct Day {
    std::uint64_t read_through = 0;
    std::uint64_t clean_at = 0;
    WordTable words;
  };
  mutable Mutex mutex_;
  std::map<ExpiryDay, Day> days_ MAYFLY_GUARDED_BY(mutex_);
  std::map<ExpiryDay, std::uint64_t> epochs_ MAYFLY_GUARDED_BY(mutex_);
  std::set<ExpiryDay> waiting_ MAYFLY_GUARDED_BY(mutex_);
  std::set<ExpiryDay> hidden_ MAYFLY_GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<std::uint64_t> moves_{0};
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_YOUNG_WORDS_H_
