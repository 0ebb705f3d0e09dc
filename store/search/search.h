// Finding messages by what they say. Promise P1 holds here as everywhere: postings only propose;
// what is answered was read from the living record through the one predicate, and says what was
// looked for when it was read. What is withheld from who looks (rights/rights.h) is not found.
#ifndef MAYFLY_STORE_SEARCH_SEARCH_H_
#define MAYFLY_STORE_SEARCH_SEARCH_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "store/audit_log.h"
#include "store/model/message.h"
#include "store/model/result.h"
#include "store/search/index.h"
#include "store/search/query.h"

namespace mayfly::store {
class Core;
}  // namespace mayfly::store

namespace mayfly::store::search {

// Messages of one answer that are opened and turn out not to say it (phrases whose words are
// common) before the page is given as it is.
inline constexpr std::size_t kOpenedMax = 1'000;

class Search {
 public:
  Search(Core& core, SearchIndex& index) : core_(core), index_(index) {}

  struct Filter {
    std::optional<AccountId> account;
    std::optional<ConversationId> conversation;
    std::optional<TimePoint> sent_from;    // at this instant or later
    std::optional<TimePoint> sent_before;  // earlier than this instant
  };
  struct Page {
    std::vector<Message> items;  // by sent time, newest first
    std::string next;            // opaque position, empty when there is no more
    // When the oldest message that can be found was sent; absent when there is none at all.
    std::optional<TimePoint> reaches_back_to;
  };
  // A page may have fewer items than `limit`, or none, and go on all the same. What was committed
  // before is found. kCursorInvalid for an `after` that is no `next`. The looks at the
  // conversations that the page shows are recorded before it is returned; when they cannot be, the
  // error is returned instead.
  Result<Page> Find(const Look& look, const Query& query, const Filter& filter,
                    const std::string& after, std::size_t limit, TimePoint now) const;

 private:
  class Run;

  Core& core_;
  SearchIndex& index_;
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_SEARCH_H_
