// Search: any bytes as a message, as a query and as postings.
#include <string>
#include <vector>

#include "store/model/json.h"
#include "store/search/posting_codec.h"
#include "store/search/query.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using namespace store::search;

const std::shared_ptr<const Tokenizer>& Words() {
  static const std::shared_ptr<const Tokenizer> tokenizer = *Tokenizer::Make({"en", "fr", "ru"});
  return tokenizer;
}

void CheckWords(std::string_view text) {
  std::size_t words = 0;
  Words()->Visit(text, [&](std::string_view form, const std::vector<std::string_view>& terms) {
    ++words;
    Check(!form.empty() && form.size() <= kWordBytesMax, "a form has its size");
    Check(json::IsValidUtf8(form), "a form is UTF-8");
    Check(!terms.empty(), "a word has a term");
    for (const std::string_view term : terms) {
      Check(!term.empty() && term.size() <= kTermBytesMax, "a term has its size");
      Check(static_cast<unsigned char>(term.front()) > 2, "no word is an account's term");
    }
    return true;
  });
  Check(words <= text.size(), "no word comes from nothing");
}

void CheckQuery(const std::string& text) {
  const auto query = Query::Parse(QueryText(text));
  if (!query) {
    Check(query.error().code == ErrorCode::kInvalidArgument, "what is no query is refused");
    Check(text.size() < 8 || query.error().message.find(text) == std::string::npos,
          "an error quotes nothing");
    return;
  }
  const Matcher matcher(*query, Words());
  Check(!matcher.terms().empty() && matcher.terms().size() <= kQueryWordsMax,
        "a query has its words");
  Check(matcher.Matches(MessageBody(text)), "a text says what it says itself");
}

void CheckPostings(std::string_view bytes) {
  if (const auto bucket = DecodeBucket(bytes)) {
    Check(EncodeBucket(*bucket) == bytes, "what decodes encodes to the same bytes");
    for (const Postings& postings : *bucket) {
      std::vector<std::uint32_t> found;
      Check(FindInBucket(bytes, postings.term, found).has_value() && found == postings.documents,
            "each term is found");
    }
  }
  if (const auto block = DecodeBlock(bytes)) {
    Check(EncodeBlock(*block) == bytes, "what decodes encodes to the same bytes");
  }
  if (const auto meta = DecodeMeta(bytes)) {
    Check(Encode(*meta) == bytes, "what decodes encodes to the same bytes");
  }
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = mayfly::fuzz::Text(data, size);
  mayfly::fuzz::CheckWords(text);
  mayfly::fuzz::CheckQuery(std::string(text));
  mayfly::fuzz::CheckPostings(text);
  return 0;
}
