#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "connectors/mastodon/html_text.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

std::string Repeat(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

std::string Text(const std::string& html) {
  const LinkedPerson people[] = {
      {.url = "https://far.example/@ann", .handle = "ann@far.example"},
      {.url = "https://social.example/@office", .handle = "office@social.example"},
      {.url = "https://ple.example/users/bob", .handle = "bob@ple.example"},
  };
  return HtmlToText(html, people);
}

struct Row {
  const char* html;
  const char* text;
};

TEST(MastodonHtmlText, ReadsWhatServersWrite) {
  const Row rows[] = {
      {"", ""},
      {"<p>one</p>", "one"},
      {"<p>one</p><p>two</p>", "one\n\ntwo"},
      {"<p>one<br>two<br/>three<br />four</p>", "one\ntwo\nthree\nfour"},
      {"<p>one<br><br><br><br>two</p>", "one\n\ntwo"},
      {"plain", "plain"},
      {"<p>a  b\tc</p>", "a  b\tc"},
      {"<p>one</p>\n<p>two</p>\n", "one\n\ntwo"},
      {"<p>one\ntwo</p>", "one two"},
      {"<pre><code>one\n  two\n</code></pre><p>three</p>", "one\ntwo\n\nthree"},
      {"<p>list</p><ul><li>one</li><li>two</li></ul><p>end</p>", "list\n\n- one\n- two\n\nend"},
      {"<p>said</p><blockquote><p>words</p></blockquote><p>so</p>", "said\n\nwords\n\nso"},
      {"<p>&amp;&lt;&gt;&quot;&#39;&apos;&#x41;&#65;&nbsp;x</p>", "&<>\"''AA x"},
      {"<p>&hellip;&unknown;&#xZZ;&;&</p>", "…&unknown;&#xZZ;&;&"},
      {"<p>&#0;&#xD800;&#x110000;&#7;z</p>", "\xEF\xBF\xBD\xEF\xBF\xBDz"},
      {"a < b, 3 <4 and <p>x", "a < b, 3 <4 and\n\nx"},
      {"<p>x<!-- <p>hidden</p> -->y<script>bad()</script>z<STYLE>p{}</Style>!</p>", "xyz!"},
      {"<p>x<script>never closed", "x"},
      {"<p>open <b title=\"a>b\">bold</b> <i>i</i></p>", "open bold i"},
      {"<p>hi :smile: <img src=\"x\" alt=\":wave:\"></p>", "hi :smile: :wave:"},
  };
  for (const Row& row : rows) EXPECT_EQ(Text(row.html), row.text) << row.html;
}

TEST(MastodonHtmlText, LinksKeepTheirTarget) {
  const Row rows[] = {
      // As Mastodon shortens: three spans, two of them invisible.
      {"<p>see <a href=\"https://www.example.org/a/very/long/path?x=1&amp;y=2\" rel=\"nofollow "
       "noopener\"><span class=\"invisible\">https://www.</span><span class=\"ellipsis\">"
       "example.org/a/very/long/path</span><span class=\"invisible\">?x=1&amp;y=2</span></a>.</p>",
       "see https://www.example.org/a/very/long/path?x=1&y=2."},
      {"<a href=\"https://example.org/\">https://example.org</a>", "https://example.org/"},
      {"<a href=\"https://example.org/a\">example.org/a</a>", "https://example.org/a"},
      {"<a href=\"https://example.org/abc/def\">example.org/ab…</a>",
       "https://example.org/abc/def"},
      {"<a href=\"https://evil.example/\">your bank</a>", "your bank <https://evil.example/>"},
      {"<a href=\"https://evil.example/\">https://bank.example/</a>",
       "https://bank.example/ <https://evil.example/>"},
      {"<a href=\"https://evil.example/\"><span class=\"invisible\">https://bank.example</span>"
       "bank</a>",
       "bank <https://evil.example/>"},
      {"<a href='https://x.example/>q<'>x</a>", "x <https://x.example/%3Eq%3C>"},
      {"<a href=https://x.example/q>word</a>", "word <https://x.example/q>"},
      {"<a href=\"https://x.example/pic\"><img></a>", "<https://x.example/pic>"},
      {"<a>no target</a> <a href=\"\">none</a>", "no target none"},
      {"<a href=\"mailto:me@example.org\">me@example.org</a>", "me@example.org"},
      {"<a href=\"https://s.example/tags/cats\" class=\"mention hashtag\" rel=\"tag\">#<span>cats"
       "</span></a>",
       "#cats"},
      {"<p>first <a href=\"https://x.example\">never closed</p><p>second</p>",
       "first never closed <https://x.example>\n\nsecond"},
  };
  for (const Row& row : rows) EXPECT_EQ(Text(row.html), row.text) << row.html;
}

TEST(MastodonHtmlText, MentionsNameTheirServer) {
  const Row rows[] = {
      {"<p><span class=\"h-card\"><a href=\"https://far.example/@ann\" class=\"u-url mention\">"
       "@<span>ann</span></a></span> hello</p>",
       "@ann@far.example hello"},
      {"<a href=\"https://far.example/@ann\" class=\"u-url mention\">@ann@far.example</a>",
       "@ann@far.example"},
      // Pleroma names people by another address than their profile's.
      {"<a class=\"u-url mention\" href=\"https://ple.example/bob\">@<span>bob</span></a>",
       "@bob@ple.example"},
      // Who is not among the mentioned stays what the link says.
      {"<a class=\"u-url mention\" href=\"https://x.example/@eve\">@<span>eve</span></a>",
       "@eve <https://x.example/@eve>"},
      {"<a href=\"https://evil.example/@ann\">@ann@far.example</a>",
       "@ann@far.example <https://evil.example/@ann>"},
  };
  for (const Row& row : rows) EXPECT_EQ(Text(row.html), row.text) << row.html;
}

TEST(MastodonHtmlText, InvisibleSpansOutsideLinksAreLeftOut) {
  EXPECT_EQ(Text("<p>a<span class=\"invisible\">b<span>c</span>d</span>e</p>"), "ae");
  EXPECT_EQ(Text("<p>a<span class=\"invisible\">b</p><p>c</p>"), "a\n\nc");
}

TEST(MastodonHtmlText, ALineEndTakesBlanksThatALinkBeganWith) {
  const Row rows[] = {
      {"<p>abc   <a href=\"https://x.example/\"> <br>x</a></p>", "abc\nx <https://x.example/>"},
      {"<p>abc <a href=\"https://x.example/\">\t <br><br> </a> y",
       "abc \t  <https://x.example/>\n\ny"},
      {"<a href=\"https://x.example/\"> <br> </a>z", "<https://x.example/>z"},
  };
  for (const Row& row : rows) EXPECT_EQ(Text(row.html), row.text) << row.html;
}

TEST(MastodonHtmlText, LongTextsAreCutBetweenCharacters) {
  bool cut = false;
  const std::string text = HtmlToText("x" + Repeat("é", 100'000), {}, &cut);
  EXPECT_TRUE(cut);
  EXPECT_LE(text.size(), kTextBytesMax);
  EXPECT_TRUE(text.ends_with("é…"));
  EXPECT_TRUE(json::IsValidUtf8(text));
  HtmlToText("short", {}, &cut);
  EXPECT_FALSE(cut);
}

TEST(MastodonHtmlText, DepthDoesNotMatter) {
  EXPECT_EQ(Text(Repeat("<div>", 200'000) + "x" + Repeat("</div>", 200'000)), "x");
  EXPECT_EQ(Text(Repeat("<span>", 200'000) + "x"), "x");
  EXPECT_EQ(Text(Repeat("<blockquote><ul><li>", 50'000) + "x"), "- x");
}

// Time is not asserted; what is quadratic here would not come back.
TEST(MastodonHtmlText, EndsOnWhatIsRepeated) {
  for (const char* part : {"<", "</", "<a href=\"", "<!--", "&", "&#", "&#x", "<a href=x>",
                           "<script>", "</script", "<a href='y'>@<span class=invisible>", "\xFF",
                           "<p", "=", "<a =", "<span class=\"invisible"}) {
    const std::string text = Text(Repeat(part, 60'000));
    EXPECT_LE(text.size(), kTextBytesMax) << part;
    EXPECT_TRUE(json::IsValidUtf8(text)) << part;
  }
}

TEST(MastodonHtmlText, AManyTimesMentionedLongNameIsBounded) {
  const std::string handle = std::string(500, 'a') + "@x.example";
  const LinkedPerson people[] = {{.url = "x", .handle = handle}};
  bool cut = false;
  const std::string text = HtmlToText(Repeat("<a href=x>@b</a> ", 50'000), people, &cut);
  EXPECT_TRUE(cut);
  EXPECT_LE(text.size(), kTextBytesMax);
}

TEST(MastodonHtmlText, LeadingMentionsOfAddresseesGo) {
  const std::vector<std::string> us = {"office@social.example"};
  const Row rows[] = {
      {"@office@social.example hello", "hello"},
      {"@Office@Social.Example hello", "hello"},
      {"@bob@x.example @office@social.example hello", "@bob@x.example hello"},
      {"@office@social.example\nhello", "hello"},
      {"hello @office@social.example", "hello @office@social.example"},
      {"@office@social.example", "@office@social.example"},
      {"@office@social.example @office@social.example",
       "@office@social.example @office@social.example"},
      {"@home: @office@social.example hi", "@home: @office@social.example hi"},
      {"@ alone", "@ alone"},
      {"", ""},
  };
  for (const Row& row : rows) EXPECT_EQ(WithoutLeadingMentions(row.html, us), row.text) << row.html;
}

TEST(MastodonHtmlText, ComparesTextsAsServersShowThem) {
  EXPECT_EQ(Comparable("a\n\n\nb  c "), Comparable(" a b\tc"));
  EXPECT_EQ(Comparable("see https://x.example/a"), Comparable("see x.example/a"));
  EXPECT_NE(Comparable("ab"), Comparable("a b"));
  EXPECT_NE(Comparable("a"), Comparable("A"));
  EXPECT_EQ(Comparable(""), Comparable(" \n"));
}

TEST(MastodonHtmlText, PlainTextLosesControlsOnly) {
  EXPECT_EQ(PlainText(std::string("a\0b\x07"
                                  "c\nd<b>\xC2\x85"
                                  "e\xFF",
                                  15)),
            "abc\nd<b>e\xEF\xBF\xBD");
}

}  // namespace
}  // namespace mayfly::connectors::mastodon
