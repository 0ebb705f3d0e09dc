#include "store/search/query.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "store/model/json.h"

namespace mayfly::store::search {
namespace {

// ", the typographic double quotes, and guillemets.
constexpr std::string_view kQuotes[] = {"\"",           "\xE2\x80\x9C", "\xE2\x80\x9D",
                                        "\xE2\x80\x9E", "\xC2\xAB",     "\xC2\xBB"};

// Bytes of the quotation mark at the head of `text`; 0 when there is none.
std::size_t QuoteAt(std::string_view text) {
  for (const std::string_view quote : kQuotes) {
    if (text.starts_with(quote)) return quote.size();
  }
  return 0;
}

const Tokenizer& Plain() {
  static const std::shared_ptr<const Tokenizer> tokenizer = *Tokenizer::Make({});
  return *tokenizer;
}

std::size_t WordsIn(const std::string& text) {
  std::size_t count = 0;
  Plain().Visit(text, [&](std::string_view, const std::vector<std::string_view>&) {
    return ++count <= kQueryWordsMax;
  });
  return count;
}

tl::unexpected<Error> Wrong(const char* what) { return Fail(ErrorCode::kInvalidArgument, what); }

void WipeAll(std::vector<std::vector<std::string>>& lists) {
  for (auto& list : lists) {
    for (std::string& text : list) WipeString(text);
  }
}

}  // namespace

Result<Query> Query::Parse(const QueryText& text) {
  const std::string_view bytes = text.Reveal();
  if (bytes.size() > kQueryBytesMax) {
    return Wrong("It may have at most 1024 bytes; look for fewer words.");
  }
  if (!json::IsValidUtf8(bytes))
    return Wrong("It is not UTF-8; percent-encode the bytes of UTF-8.");
  Query query;
  bool inside = false;
  std::size_t begin = 0;
  std::size_t words = 0;
  const auto take = [&](std::size_t end) -> Status {
    QueryText part(std::string(bytes.substr(begin, end - begin)));
    const std::size_t count = WordsIn(part.Reveal());
    if (inside && count == 0) {
      return Wrong("A phrase in quotation marks has no word; put one in, or leave the marks out.");
    }
    words += count;
    if (count > 0) query.parts_.push_back({inside, std::move(part)});
    return {};
  };
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t quote = QuoteAt(bytes.substr(at));
    if (quote == 0) {
      ++at;
      continue;
    }
    MAYFLY_RETURN_IF_ERROR(take(at));
    at += quote;
    begin = at;
    inside = !inside;
  }
  if (inside) {
    return Wrong("A quotation mark has no partner; close the phrase, or leave the mark out.");
  }
  MAYFLY_RETURN_IF_ERROR(take(bytes.size()));
  if (words == 0) return Wrong("It has no word; give at least one letter, digit or emoji.");
  if (words > kQueryWordsMax) {
    return Wrong("It may have at most 16 words; leave out those that say the least.");
  }
  return query;
}

Matcher::Matcher(const Query& query, std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)) {
  for (const bool phrase : {false, true}) {
    for (const Query::Part& part : query.parts_) {
      if (part.phrase != phrase) continue;
      std::vector<std::string> forms;
      tokenizer_->Visit(part.text.Reveal(),
                        [&](std::string_view form, const std::vector<std::string_view>& terms) {
                          forms.emplace_back(form);
                          terms_.emplace_back(terms.begin(), terms.end());
                          return true;
                        });
      if (phrase) phrases_.push_back(std::move(forms));
      if (!phrase) loose_ = terms_.size();
    }
  }
}

Matcher::~Matcher() {
  WipeAll(terms_);
  WipeAll(phrases_);
}

bool Matcher::Matches(const MessageBody& text) const {
  std::vector<bool> found(loose_, false);
  std::size_t missing = loose_;
  // For each phrase, bit i: the last i + 1 words are its first i + 1.
  std::vector<std::uint32_t> begun(phrases_.size(), 0);
  std::vector<bool> said(phrases_.size(), false);
  std::size_t unsaid = phrases_.size();
  static_assert(kQueryWordsMax <= 32);
  tokenizer_->Visit(
      text.Reveal(), [&](std::string_view form, const std::vector<std::string_view>& terms) {
        for (std::size_t i = 0; i < loose_; ++i) {
          if (found[i]) continue;
          found[i] = std::any_of(terms.begin(), terms.end(), [&](std::string_view term) {
            return std::find(terms_[i].begin(), terms_[i].end(), term) != terms_[i].end();
          });
          if (found[i]) --missing;
        }
        for (std::size_t p = 0; p < phrases_.size(); ++p) {
          const std::vector<std::string>& phrase = phrases_[p];
          std::uint32_t here = 0;
          for (std::size_t i = 0; i < phrase.size(); ++i) {
            if (phrase[i] == form) here |= 1u << i;
          }
          begun[p] = ((begun[p] << 1) | 1u) & here;
          if (!said[p] && (begun[p] >> (phrase.size() - 1) & 1u) != 0) {
            said[p] = true;
            --unsaid;
          }
        }
        return missing + unsaid > 0;
      });
  return missing + unsaid == 0;
}

}  // namespace mayfly::store::search
