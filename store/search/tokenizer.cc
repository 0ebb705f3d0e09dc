#include "store/search/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <libstemmer.h>
#include <map>
#include <utility>

#include <unicode/normalizer2.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "store/model/sensitive.h"

namespace mayfly::store::search {
namespace {

using Code = UChar32;

// What a character is to us.
enum class Kind { kSeparator, kWord, kMark, kIgnored, kEmoji, kFlag };

bool IsEmoji(Code c) {
  // Below are signs that people write as text, such as (c) and (r) in one character.
  return c >= 0x2190 && u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) != 0;
}

Kind KindOf(Code c) {
  if (c < 0x80) {
    const bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return word ? Kind::kWord : Kind::kSeparator;
  }
  if (u_isalnum(c) != 0) return Kind::kWord;
  if (c >= 0x1F1E6 && c <= 0x1F1FF) return Kind::kFlag;
  // A skin tone changes a picture, not what it is of.
  if (c >= 0x1F3FB && c <= 0x1F3FF) return Kind::kSeparator;
  if (IsEmoji(c)) return Kind::kEmoji;
  // Soft hyphens, joiners, variation selectors: not seen, so they part nothing. A space that is not
  // seen parts words all the same (Khmer).
  if (c == 0x200B) return Kind::kSeparator;
  if (u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) != 0) return Kind::kIgnored;
  const int category = u_charType(c);
  const bool mark = category == U_NON_SPACING_MARK || category == U_COMBINING_SPACING_MARK ||
                    category == U_ENCLOSING_MARK;
  return mark ? Kind::kMark : Kind::kSeparator;
}

// Up to here scripts part their words by spaces; farther up ICU is asked.
constexpr Code kSpacedBelow = 0x0590;

// Letters whose accent is part of them and has no code point of its own.
const char* Unaccented(Code c) {
  switch (c) {
    case 0x00E6:
      return "ae";
    case 0x0153:
      return "oe";
    case 0x00F8:
      return "o";
    case 0x0142:
      return "l";
    case 0x0111:
      return "d";
    case 0x0127:
      return "h";
    case 0x0131:
      return "i";
    case 0x0167:
      return "t";
  }
  return nullptr;
}

// Whether `mark`, of the letter `base`, is an accent that people leave out. Elsewhere marks make
// another letter (Japanese, Indic scripts, the Cyrillic short i).
bool IsAccent(Code base, Code mark) {
  if ((mark >= 0x0591 && mark <= 0x05C7) || (mark >= 0x064B && mark <= 0x0652) || mark == 0x0670) {
    return true;
  }
  if (mark < 0x0300 || mark > 0x036F) return false;
  UErrorCode status = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(base, &status);
  if (script == USCRIPT_LATIN || script == USCRIPT_GREEK) return true;
  return script == USCRIPT_CYRILLIC && (mark == 0x0301 || (mark == 0x0308 && base == 0x0435));
}

constexpr Code kTatweel = 0x0640;  // stretches an Arabic word

const icu::Normalizer2* Normalizer(const icu::Normalizer2* (*instance)(UErrorCode&)) {
  UErrorCode status = U_ZERO_ERROR;
  return instance(status);
}
const icu::Normalizer2* CaseFolding() {
  static const icu::Normalizer2* const made = Normalizer(icu::Normalizer2::getNFKCCasefoldInstance);
  return made;
}
const icu::Normalizer2* Decomposing() {
  static const icu::Normalizer2* const made = Normalizer(icu::Normalizer2::getNFDInstance);
  return made;
}
const icu::Normalizer2* Composing() {
  static const icu::Normalizer2* const made = Normalizer(icu::Normalizer2::getNFCInstance);
  return made;
}

// Small strings are kept in the object, so that these bytes too are wiped.
void Wipe(icu::UnicodeString& text) {
  if (!text.isEmpty()) {
    char16_t* const buffer = text.getBuffer(text.length());
    if (buffer != nullptr) {
      std::fill_n(static_cast<volatile char16_t*>(buffer), text.getCapacity(), u'\0');
      text.releaseBuffer(0);
    }
  }
}

// Cuts at the end of a character.
void Cut(std::string& word) {
  if (word.size() <= kWordBytesMax) return;
  std::size_t end = kWordBytesMax;
  while (end > 0 && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) --end;
  word.resize(end);
}

struct CloseBreaks {
  void operator()(UBreakIterator* breaks) const { ubrk_close(breaks); }
};

UBreakIterator* WordBreaks() {
  thread_local const std::unique_ptr<UBreakIterator, CloseBreaks> breaks = [] {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<UBreakIterator, CloseBreaks> made(
        ubrk_open(UBRK_WORD, "", nullptr, 0, &status));
    return U_SUCCESS(status) != 0 ? std::move(made) : nullptr;
  }();
  return breaks.get();
}

// Folded, with accents; and the same without them.
struct Folded {
  std::string accented;  // empty when it is the same
  std::string form;
  ~Folded() {
    WipeString(accented);
    WipeString(form);
  }
};

void FoldAscii(std::string_view raw, Folded& out) {
  for (const char c : raw) {
    out.form.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
}

void FoldOther(std::string_view raw, Folded& out) {
  UErrorCode status = U_ZERO_ERROR;
  icu::UnicodeString text = icu::UnicodeString::fromUTF8(
      icu::StringPiece(raw.data(), static_cast<std::int32_t>(raw.size())));
  icu::UnicodeString folded = CaseFolding()->normalize(text, status);
  icu::UnicodeString parted = Decomposing()->normalize(folded, status);
  icu::UnicodeString plain;
  Code base = 0;
  for (std::int32_t i = 0; i < parted.length();) {
    const Code c = parted.char32At(i);
    i += U16_LENGTH(c);
    if (KindOf(c) == Kind::kMark) {
      if (!IsAccent(base, c)) plain.append(c);
      continue;
    }
    base = c;
    if (c == kTatweel) continue;
    if (const char* letters = Unaccented(c)) {
      plain.append(icu::UnicodeString(letters, -1, US_INV));
    } else {
      plain.append(c);
    }
  }
  icu::UnicodeString form = Composing()->normalize(plain, status);
  if (U_SUCCESS(status) != 0) {
    folded.toUTF8String(out.accented);
    form.toUTF8String(out.form);
    if (out.accented == out.form) WipeString(out.accented);
  }
  for (icu::UnicodeString* used : {&text, &folded, &parted, &plain, &form}) Wipe(*used);
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct CloseStemmer {
  void operator()(sb_stemmer* stemmer) const { sb_stemmer_delete(stemmer); }
};

// One of each thread: a stemmer keeps its last word. It is given a blank one after use.
sb_stemmer* StemmerOf(const std::string& language) {
  thread_local std::map<std::string, std::unique_ptr<sb_stemmer, CloseStemmer>> stemmers;
  auto& stemmer = stemmers[language];
  if (stemmer == nullptr) stemmer.reset(sb_stemmer_new(language.c_str(), nullptr));
  return stemmer.get();
}

std::string_view Stem(sb_stemmer* stemmer, std::string_view word) {
  const sb_symbol* stem = sb_stemmer_stem(stemmer, reinterpret_cast<const sb_symbol*>(word.data()),
                                          static_cast<int>(word.size()));
  if (stem == nullptr) return word;  // no memory: the word as it is
  const int size = sb_stemmer_length(stemmer);
  return size > 0
             ? std::string_view(reinterpret_cast<const char*>(stem), static_cast<std::size_t>(size))
             : word;
}

// The work of one text: buffers that are used again for each word, and wiped at the end.
class Pass {
 public:
  Pass(const std::vector<std::string>& languages, const Tokenizer::Visitor& visit) : visit_(visit) {
    for (const std::string& language : languages) stemmers_.push_back(StemmerOf(language));
  }
  ~Pass() {
    static const std::string blank(kWordBytesMax + 32, '.');
    for (sb_stemmer* stemmer : stemmers_) (void)Stem(stemmer, blank);
    for (std::string& term : terms_) WipeString(term);
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  // False when nobody wants more.
  bool Word(std::string_view raw) {
    Folded folded;
    if (raw.size() <= 4 * kWordBytesMax) {
      folded.accented.reserve(raw.size() + 16);
      folded.form.reserve(raw.size() + 16);
    }
    if (IsAscii(raw)) {
      FoldAscii(raw, folded);
    } else {
      FoldOther(raw, folded);
    }
    Cut(folded.form);
    Cut(folded.accented);
    if (folded.form.empty()) return true;
    used_ = 0;
    if (stemmers_.empty()) Take(folded.form);
    for (sb_stemmer* stemmer : stemmers_) {
      Take(Stem(stemmer, folded.form));
      if (!folded.accented.empty()) TakeUnaccented(Stem(stemmer, folded.accented));
    }
    views_.clear();
    for (std::size_t i = 0; i < used_; ++i) views_.emplace_back(terms_[i]);
    return visit_(folded.form, views_);
  }

  // A run in any script, or its pieces where a dictionary parts it.
  bool Run(std::string_view raw, bool spaced) {
    UBreakIterator* const breaks = spaced ? nullptr : WordBreaks();
    if (breaks == nullptr) return Word(raw);
    icu::UnicodeString text = icu::UnicodeString::fromUTF8(
        icu::StringPiece(raw.data(), static_cast<std::int32_t>(raw.size())));
    UErrorCode status = U_ZERO_ERROR;
    ubrk_setText(breaks, text.getBuffer(), text.length(), &status);
    bool wanted = true;
    std::string piece;
    std::int32_t from = ubrk_first(breaks);
    for (std::int32_t to = ubrk_next(breaks); wanted && to != UBRK_DONE; to = ubrk_next(breaks)) {
      WipeString(piece);
      text.tempSubString(from, to - from).toUTF8String(piece);
      wanted = Word(piece);
      from = to;
    }
    WipeString(piece);
    static const char16_t kNothing[] = u"";
    ubrk_setText(breaks, kNothing, 0, &status);
    Wipe(text);
    return wanted;
  }

 private:
  void Take(std::string_view term) {
    for (std::size_t i = 0; i < used_; ++i) {
      if (terms_[i] == term) return;
    }
    if (used_ == terms_.size()) terms_.emplace_back().reserve(2 * kWordBytesMax);
    terms_[used_++].assign(term);
  }
  void TakeUnaccented(std::string_view stem) {
    const std::string accented(stem);  // the stemmer's own buffer
    Folded folded;
    FoldOther(accented, folded);
    Cut(folded.form);
    if (!folded.form.empty()) Take(folded.form);
  }

  const Tokenizer::Visitor& visit_;
  std::vector<sb_stemmer*> stemmers_;
  std::vector<std::string> terms_;
  std::size_t used_ = 0;
  std::vector<std::string_view> views_;
};

const std::map<std::string, std::string>& Algorithms() {
  static const std::map<std::string, std::string> algorithms = [] {
    const std::map<std::string, std::string> named = {
        {"ar", "arabic"},     {"ca", "catalan"},  {"da", "danish"},     {"de", "german"},
        {"el", "greek"},      {"en", "english"},  {"es", "spanish"},    {"eu", "basque"},
        {"fi", "finnish"},    {"fr", "french"},   {"ga", "irish"},      {"hi", "hindi"},
        {"hu", "hungarian"},  {"hy", "armenian"}, {"id", "indonesian"}, {"it", "italian"},
        {"lt", "lithuanian"}, {"ne", "nepali"},   {"nl", "dutch"},      {"no", "norwegian"},
        {"pt", "portuguese"}, {"ro", "romanian"}, {"ru", "russian"},    {"sr", "serbian"},
        {"sv", "swedish"},    {"ta", "tamil"},    {"tr", "turkish"},    {"yi", "yiddish"}};
    std::map<std::string, std::string> present;
    for (const auto& [code, name] : named) {
      const std::unique_ptr<sb_stemmer, CloseStemmer> stemmer(
          sb_stemmer_new(name.c_str(), nullptr));
      if (stemmer != nullptr) present.emplace(code, name);
    }
    return present;
  }();
  return algorithms;
}

}  // namespace

const std::vector<std::string>& KnownLanguages() {
  static const std::vector<std::string> codes = [] {
    std::vector<std::string> all;
    for (const auto& [code, name] : Algorithms()) all.push_back(code);
    return all;
  }();
  return codes;
}

Tokenizer::Tokenizer(std::vector<std::string> languages) : languages_(std::move(languages)) {
  for (const std::string& code : languages_) algorithms_.push_back(Algorithms().at(code));
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Make(
    const std::vector<std::string>& languages) {
  if (languages.size() > kLanguagesMax) {
    return Fail(ErrorCode::kInvalidArgument, "There may be at most four languages.");
  }
  for (std::size_t i = 0; i < languages.size(); ++i) {
    if (!Algorithms().contains(languages[i])) {
      return Fail(ErrorCode::kInvalidArgument, "A language is not one that has a stemmer.");
    }
    if (std::find(languages.begin(), languages.begin() + static_cast<std::ptrdiff_t>(i),
                  languages[i]) != languages.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Fail(ErrorCode::kInvalidArgument, "A language is named twice.");
    }
  }
  if (CaseFolding() == nullptr || Decomposing() == nullptr || Composing() == nullptr) {
    return Fail(ErrorCode::kInternal, "ICU has no data for normalisation.");
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(languages));
}

void Tokenizer::Visit(std::string_view text, const Visitor& visit) const {
  Pass pass(algorithms_, visit);
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t run = -1;  // where the run began
  bool spaced = true;
  std::int64_t flag = -1;  // where half a flag stands
  const auto end_run = [&](std::int64_t end) {
    if (run < 0) return true;
    const std::int64_t begin = std::exchange(run, -1);
    return pass.Run(
        text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
        std::exchange(spaced, true));
  };
  std::int64_t at = 0;
  while (at < size) {
    const std::int64_t begin = at;
    Code c = 0;
    U8_NEXT(text.data(), at, size, c);
    const Kind kind = c < 0 ? Kind::kSeparator : KindOf(c);
    if (kind == Kind::kWord || (kind == Kind::kMark && run >= 0)) {
      if (run < 0) run = begin;
      if (c >= kSpacedBelow) spaced = false;
      flag = -1;
      continue;
    }
    if (kind == Kind::kIgnored) continue;
    if (!end_run(begin)) return;
    if (kind == Kind::kFlag && flag >= 0) {
      if (!pass.Word(
              text.substr(static_cast<std::size_t>(flag), static_cast<std::size_t>(at - flag)))) {
        return;
      }
      flag = -1;
      continue;
    }
    flag = kind == Kind::kFlag ? begin : -1;
    if (kind == Kind::kEmoji && !pass.Word(text.substr(static_cast<std::size_t>(begin),
                                                       static_cast<std::size_t>(at - begin)))) {
      return;
    }
  }
  (void)end_run(size);
}

}  // namespace mayfly::store::search
