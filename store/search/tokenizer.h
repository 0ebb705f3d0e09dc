// Text into words, and words into the terms under which they are found. The same for messages and
// for queries; what it says of a text depends on the text and the languages alone.
//
// A word is a run of letters, digits and the marks on them. Runs in scripts that are written
// without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are cut by ICU's dictionaries. An
// emoji and a flag are words of their own. Everything else separates: "l'eau" is two words, and so
// is "example.org". Bytes that are no UTF-8 separate too.
//
// A word's form is its text in NFKC with case folded and accents taken off Latin, Greek and
// Cyrillic letters, vowel points off Arabic and Hebrew ones ("Dépôt" -> "depot"). Its terms are the
// stems of the form in each language, and of the accented word where it has accents. Two words
// match when they share a term; so words with the same form always do. A language's stemmer reads
// every word, because nobody says in which language a message is written. There is no list of stop
// words.
//
// Sources: Unicode Standard Annex 29 (word boundaries) and 15 (normalisation); Snowball
// (snowballstem.org), whose stemmers do not change within a version of Debian.
#ifndef MAYFLY_STORE_SEARCH_TOKENIZER_H_
#define MAYFLY_STORE_SEARCH_TOKENIZER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/result.h"

namespace mayfly::store::search {

// A word's form is cut here, at the end of a character.
inline constexpr std::size_t kWordBytesMax = 96;
inline constexpr std::size_t kLanguagesMax = 4;

// Two-letter codes (ISO 639-1) for which there is a stemmer, ascending.
const std::vector<std::string>& KnownLanguages();

class Tokenizer {
 public:
  // kInvalidArgument for a language that is not known, given twice, or one too many. None at all is
  // right: words are then found as they are written, but for case and accents.
  static Result<std::shared_ptr<const Tokenizer>> Make(const std::vector<std::string>& languages);

  const std::vector<std::string>& languages() const { return languages_; }

  // Calls `visit` with the form of each word and its terms, each once, in the order of the text,
  // until it returns false. Both live until the next call only, and are wiped then. Thread-safe.
  using Visitor =
      std::function<bool(std::string_view form, const std::vector<std::string_view>& terms)>;
  void Visit(std::string_view text, const Visitor& visit) const;

 private:
  explicit Tokenizer(std::vector<std::string> languages);

  const std::vector<std::string> languages_;
  std::vector<std::string> algorithms_;  // Snowball's names of them
};

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_TOKENIZER_H_
