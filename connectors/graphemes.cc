#include "connectors/graphemes.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include <unicode/brkiter.h>
#include <unicode/locid.h>
#include <unicode/utext.h>

namespace mayfly::connectors {
namespace {

struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};

}  // namespace

std::size_t CountGraphemes(std::string_view utf8) {
  // Plain ASCII is the common case, and in it only CR LF is one cluster of two bytes.
  const bool plain = std::all_of(utf8.begin(), utf8.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80 && c != '\r';
  });
  if (plain) return utf8.size();

  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UText, CloseText> text(
      utext_openUTF8(nullptr, utf8.data(), static_cast<std::int64_t>(utf8.size()), &status));
  if (U_FAILURE(status)) return utf8.size();
  const std::unique_ptr<icu::BreakIterator> clusters(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  if (U_FAILURE(status) || clusters == nullptr) return utf8.size();
  clusters->setText(text.get(), status);
  if (U_FAILURE(status)) return utf8.size();
  std::size_t count = 0;
  clusters->first();
  while (clusters->next() != icu::BreakIterator::DONE) ++count;
  return count;
}

}  // namespace mayfly::connectors
