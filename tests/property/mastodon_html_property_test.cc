// Whatever a stranger posts: no exception, valid UTF-8, bounded, no control characters.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "connectors/mastodon/html_text.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

rc::Gen<std::string> Html() {
  const auto piece =
      rc::gen::oneOf(rc::gen::elementOf(std::vector<std::string>{
                         "<p>",       "</p>",
                         "<br>",      "<a href=\"https://x.example/a\" class=\"mention\">",
                         "</a>",      "<span class=\"invisible\">",
                         "<span>",    "</span>",
                         "<ul><li>",  "</li></ul>",
                         "<pre>",     "</pre>",
                         "<!--",      "-->",
                         "<script>",  "</script>",
                         "<style",    "&amp;",
                         "&#x1F600;", "&#0;",
                         "&#",        "@ann",
                         "#tag",      "https://x.example/a",
                         "\n",        "\"",
                         "'",         ">",
                         "<",         "=",
                         "…",         " ",
                         "\t",        "&nbsp;",
                         "&#32;",     "abc   "}),
                     rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(piece),
                      [](const std::vector<std::string>& pieces) {
                        std::string html;
                        for (const std::string& each : pieces) html += each;
                        return html;
                      });
}

bool IsClean(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) return false;
  }
  return json::IsValidUtf8(text);
}

RC_GTEST_PROP(MastodonHtmlProperty, TextIsCleanAndBounded, ()) {
  const std::string html = *Html();
  const LinkedPerson people[] = {{.url = "https://x.example/a", .handle = "ann@x.example"}};
  const std::string text = HtmlToText(html, people);
  RC_ASSERT(IsClean(text));
  // A reference grows at most from 3 to 3 bytes, a byte that is no UTF-8 from 1 to 3, a bracket in
  // an address from 1 to 3; an address stands once; a mention is at least 30 bytes of markup.
  RC_ASSERT(text.size() <= 4 * html.size() + 16);
}

RC_GTEST_PROP(MastodonHtmlProperty, PlainTextStaysWhatItIs, ()) {
  const std::string text = PlainText(*Html());
  RC_ASSERT(IsClean(text));
  RC_ASSERT(PlainText(text) == text);
  RC_ASSERT(Comparable(Comparable(text)) == Comparable(text) ||
            text.find("http") != std::string::npos);
}

// Blanks that a line end takes away may be all that a link had so far.
RC_GTEST_PROP(MastodonHtmlProperty, BlanksAroundLinksAreClean, ()) {
  const auto pieces =
      *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::vector<std::string>{
          "   ", "\n", "<br>", "x", "<a href=\"https://x.example/\">", "</a>"}));
  std::string html = *rc::gen::element<std::string>("x", "", "x      ");
  html += "<a href=\"https://x.example/\">";
  for (const std::string& piece : pieces) html += piece;
  RC_ASSERT(IsClean(HtmlToText(html, {})));
}

}  // namespace
}  // namespace mayfly::connectors::mastodon
