// What somebody looks for: words that must all be there, and quoted phrases.
//
//   postcode lookup        messages with both words, in any order and form (stems)
//   "no reply yet"         these words in this order, side by side, as written but for case and
//                          accents
//
// Quotation marks are " and the typographic ones, of any side. Nothing else has a meaning: - + * (
// ) OR and NOT are separators or words.
#ifndef MAYFLY_STORE_SEARCH_QUERY_H_
#define MAYFLY_STORE_SEARCH_QUERY_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/search/tokenizer.h"

namespace mayfly::store::search {

inline constexpr std::size_t kQueryBytesMax = 1'024;
inline constexpr std::size_t kQueryWordsMax = 16;

using QueryText = Sensitive<struct QueryTextTag>;

class Query {
 public:
  // kInvalidArgument, whose message says what to do and quotes nothing: not UTF-8, too long, too
  // many words, no word at all, a quotation mark without a partner, a phrase without a word.
  static Result<Query> Parse(const QueryText& text);

 private:
  friend class Matcher;
  struct Part {
    bool phrase = false;
    QueryText text;
  };
  std::vector<Part> parts_;
};

// A query as one tokenizer sees it. Used by one thread at a time.
class Matcher {
 public:
  Matcher(const Query& query, std::shared_ptr<const Tokenizer> tokenizer);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // For each word, those of phrases included, the terms of which a message must have one.
  const std::vector<std::vector<std::string>>& terms() const { return terms_; }
  bool has_phrases() const { return !phrases_.empty(); }
  // Whether a message says what is looked for. The one judge: postings only propose.
  bool Matches(const MessageBody& text) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::vector<std::string>> terms_;
  std::size_t loose_ = 0;  // the first so many of terms_ stand outside of phrases
  std::vector<std::vector<std::string>> phrases_;  // forms
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_QUERY_H_
