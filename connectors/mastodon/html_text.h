// From a status's HTML to the text that staff read. Pure, linear in the input, without recursion,
// safe on any bytes: a stranger wrote them, and another server may not have cleaned them.
//
// Line breaks of <br>, paragraphs, lists and quotations stay. A link keeps its real target: one
// whose text is its address, whole or shortened, becomes the whole address, any other becomes
// "text <target>". Hashtags stay words. What is marked invisible is left out, except where it is
// part of an address. Comments, scripts and styles are dropped with their content; so are NUL and
// control characters. The result is valid UTF-8.
#ifndef MAYFLY_CONNECTORS_MASTODON_HTML_TEXT_H_
#define MAYFLY_CONNECTORS_MASTODON_HTML_TEXT_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mayfly::connectors::mastodon {

// Texts are cut here. Several times what any server of the family lets its own people write, and
// well within a frame of the link to the core.
inline constexpr std::size_t kTextBytesMax = 100'000;

// Somebody whom a status mentions: a link to `url` is shown as @handle. `handle` is user@host.
struct LinkedPerson {
  std::string_view url;
  std::string_view handle;
};

// `*cut`, if given, tells whether the text was too long.
std::string HtmlToText(std::string_view html, std::span<const LinkedPerson> people,
                       bool* cut = nullptr);

// A text without markup (a content warning, a name) made safe in the same way.
std::string PlainText(std::string_view text);

// Without those of `handles` (user@host) that stand among the mentions at the very beginning: what
// software writes there and not the person. Other mentions there stay. Where nothing else than
// mentions would be lost, the text is returned as it is.
std::string WithoutLeadingMentions(std::string_view text, std::span<const std::string> handles);

// A form in which a text that we sent and the same text as a server shows it are equal: white space
// is one blank each, and the scheme of an address does not count, because some servers add it.
std::string Comparable(std::string_view text);

}  // namespace mayfly::connectors::mastodon

#endif  // MAYFLY_CONNECTORS_MASTODON_HTML_TEXT_H_
