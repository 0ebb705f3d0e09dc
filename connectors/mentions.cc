#include "connectors/mentions.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <unicode/uchar.h>
#include <unicode/utf8.h>

namespace mayfly::connectors {
namespace {

// A code point, or a negative number for an ill-formed sequence, and where it ends.
struct Next {
  UChar32 point = -1;
  std::size_t end = 0;
};

Next ReadAt(std::string_view text, std::size_t at) {
  auto end = static_cast<std::int32_t>(at);
  UChar32 point = -1;
  U8_NEXT(text.data(), end, static_cast<std::int32_t>(text.size()), point);
  return {point, static_cast<std::size_t>(end)};
}

// Ruby's [[:word:]] by the letter of its manual. Servers whose class is larger see fewer mentions
// after such a character, never more.
bool IsNarrowWord(UChar32 c) {
  return c >= 0 && (U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK));
}

// The same with all that is alphabetic, as Ruby's tables have it: a host that reaches further than
// the server's equals no recipient's, and is refused.
bool IsWideWord(UChar32 c) { return IsNarrowWord(c) || (c >= 0 && u_isUAlphabetic(c)); }

bool IsJoint(UChar32 c) { return c == '.' || c == '-'; }

// [a-z0-9_] with the two letters that Ruby folds onto it when it ignores case.
bool IsNameLetter(UChar32 c) {
  constexpr UChar32 kLongS = 0x17F;
  constexpr UChar32 kKelvin = 0x212A;
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == kLongS || c == kKelvin;
}

// Where a run that may hold dots and hyphens, but does not end with one, ends; `at` if none begins
// there.
template <class IsLetter>
std::size_t EndOfRun(std::string_view text, std::size_t at, IsLetter is_letter) {
  std::size_t end = at;
  while (at < text.size()) {
    const Next next = ReadAt(text, at);
    if (is_letter(next.point)) {
      end = next.end;
    } else if (!IsJoint(next.point)) {
      break;
    }
    at = next.end;
  }
  return end;
}

// A name begins with a letter; a host may, in older servers, begin with a dot or a hyphen. A name
// in another script is no name to Mastodon, but may be one elsewhere.
std::size_t EndOfName(std::string_view text, std::size_t at) {
  if (at >= text.size()) return at;
  const UChar32 first = ReadAt(text, at).point;
  if (IsNameLetter(first)) return EndOfRun(text, at, IsNameLetter);
  if (IsWideWord(first)) return EndOfRun(text, at, IsWideWord);
  return at;
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Newer servers take no mention after an equals sign, for the sake of addresses with a query; older
// ones do. Only inside an address is there no doubt.
bool InsideAddress(std::string_view before) {
  std::size_t begin = before.size();
  while (begin > 0 && !IsSpace(before[begin - 1])) --begin;
  return before.substr(begin).find("://") != std::string_view::npos;
}

bool MayBeginAfter(std::string_view before) {
  if (before.empty()) return true;
  auto at = static_cast<std::int32_t>(before.size());
  UChar32 previous = -1;
  U8_PREV(before.data(), 0, at, previous);
  if (previous == '/' || IsNarrowWord(previous)) return false;
  return previous != '=' || !InsideAddress(before);
}

// Where the mention that begins with the @ at `at` ends; `at` when there is none.
std::size_t EndOfMention(std::string_view text, std::size_t at) {
  if (!MayBeginAfter(text.substr(0, at))) return at;
  const std::size_t name_end = EndOfName(text, at + 1);
  if (name_end == at + 1) return at;
  if (name_end == text.size() || text[name_end] != '@') return name_end;
  const std::size_t host_end = EndOfRun(text, name_end + 1, IsWideWord);
  return host_end == name_end + 1 ? name_end : host_end;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

// "name@host" in lower case, without a leading @.
ContactHandle WholeHandle(const ContactHandle& handle, std::string_view own_host) {
  std::string_view text = handle.Reveal();
  if (text.starts_with('@')) text.remove_prefix(1);
  std::string whole = Lower(text);
  if (!own_host.empty() && whole.find('@') == std::string::npos) {
    whole += '@' + Lower(own_host);
  }
  return ContactHandle(std::move(whole));
}

}  // namespace

std::vector<Mention> FindMentions(std::string_view utf8) {
  std::vector<Mention> mentions;
  std::size_t at = utf8.find('@');
  while (at != std::string_view::npos) {
    const std::size_t end = EndOfMention(utf8, at);
    if (end > at) {
      mentions.push_back(
          {at, end - at, ContactHandle(std::string(utf8.substr(at + 1, end - at - 1)))});
    }
    at = utf8.find('@', std::max(end, at + 1));
  }
  return mentions;
}

std::vector<Mention> MentionsOfOthers(std::string_view utf8, std::span<const ContactHandle> known,
                                      std::string_view own_host) {
  std::vector<ContactHandle> whole;
  whole.reserve(known.size());
  for (const ContactHandle& handle : known) whole.push_back(WholeHandle(handle, own_host));
  std::vector<Mention> others = FindMentions(utf8);
  std::erase_if(others, [&](const Mention& mention) {
    return std::ranges::find(whole, WholeHandle(mention.handle, own_host)) != whole.end();
  });
  return others;
}

}  // namespace mayfly::connectors
