// Terms and the messages that have them, in memory: what has not been written as postings yet, and
// what is taken apart to be written anew. Wiped when it is destroyed. Not thread-safe.
#ifndef MAYFLY_STORE_SEARCH_WORD_TABLE_H_
#define MAYFLY_STORE_SEARCH_WORD_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "store/model/ids.h"
#include "store/model/time.h"
#include "store/search/posting_codec.h"
#include "store/search/secret_memory.h"

namespace mayfly::store::search {

class WordTable {
 public:
  // Documents in the order of Add; one that was removed has a zero message.
  const std::vector<Document>& documents() const { return documents_; }
  std::size_t living() const { return numbers_.size(); }
  // About how much memory it takes.
  std::size_t bytes() const { return bytes_; }

  // The message must not be there. Terms that repeat count once; longer ones than kTermBytesMax are
  // not taken.
  std::uint32_t AddDocument(const Bytes16& message, TimePoint sent_at);
  void AddTerm(std::uint32_t document, std::string_view term);

  // Everything that lives in `other`, which must have no message that is here.
  void Append(const WordTable& other);
  // Takes a message and its words out. False when it is not there.
  bool Remove(const Bytes16& message);

  // Null when no document has it. Ascending, and without removed documents.
  const std::vector<std::uint32_t>* Find(std::string_view term) const;

  using Terms = SecretMap<std::vector<std::uint32_t>>;
  const Terms& terms() const { return terms_; }

 private:
  std::vector<Document> documents_;
  std::map<Bytes16, std::uint32_t> numbers_;
  Terms terms_;
  std::size_t bytes_ = 0;
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_WORD_TABLE_H_
