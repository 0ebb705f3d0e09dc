// Counts what a reader sees as one character, because platforms limit replies by it.
#ifndef MAYFLY_CONNECTORS_GRAPHEMES_H_
#define MAYFLY_CONNECTORS_GRAPHEMES_H_

#include <cstddef>
#include <string_view>

namespace mayfly::connectors {

// The number of extended grapheme clusters (Unicode Annex 29) in `utf8`. A family emoji is one, CR
// LF is one, an ill-formed byte sequence counts as U+FFFD. Thread-safe; keeps nothing. Should ICU
// refuse (no memory), the answer is the number of bytes, which is never too small.
std::size_t CountGraphemes(std::string_view utf8);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_GRAPHEMES_H_
