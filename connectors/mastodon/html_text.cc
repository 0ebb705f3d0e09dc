#include "connectors/mastodon/html_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "connectors/repair_json.h"

namespace mayfly::connectors::mastodon {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";
constexpr std::size_t kHandleBytesMax = 512;
constexpr int kBlankLinesMax = 2;  // line ends in a row

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), Lower);
  return lowered;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

bool IsControl(std::uint32_t code) { return code < 0x20 || (code >= 0x7F && code <= 0x9F); }

void AppendUtf8(std::uint32_t code, std::string& out) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) {
    out.append(kReplacement);
  } else if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

struct Named {
  std::string_view name;
  std::uint32_t code;
};
// Servers write the first five; the others come from people who post HTML.
constexpr std::array<Named, 26> kNamed = {{
    {"amp", '&'},      {"lt", '<'},        {"gt", '>'},       {"quot", '"'},     {"apos", '\''},
    {"nbsp", ' '},     {"hellip", 0x2026}, {"mdash", 0x2014}, {"ndash", 0x2013}, {"lsquo", 0x2018},
    {"rsquo", 0x2019}, {"ldquo", 0x201C},  {"rdquo", 0x201D}, {"sbquo", 0x201A}, {"bdquo", 0x201E},
    {"laquo", 0xAB},   {"raquo", 0xBB},    {"euro", 0x20AC},  {"pound", 0xA3},   {"copy", 0xA9},
    {"reg", 0xAE},     {"trade", 0x2122},  {"bull", 0x2022},  {"middot", 0xB7},  {"deg", 0xB0},
    {"zwnj", 0x200C},
}};

// A character reference at the start of `text`: how long it is and what it stands for.
struct Reference {
  std::size_t length = 0;  // 0: none; the & stands for itself
  std::uint32_t code = 0;
};
Reference ReadReference(std::string_view text) {
  constexpr std::size_t kLengthMax = 12;
  if (text.size() < 3 || text[0] != '&') return {};
  std::size_t i = 1;
  if (text[1] == '#') {
    const bool hex = text.size() > 2 && Lower(text[2]) == 'x';
    i = hex ? 3 : 2;
    std::uint32_t code = 0;
    const std::size_t first = i;
    for (; i < text.size() && i < kLengthMax; ++i) {
      const char c = Lower(text[i]);
      std::uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint32_t>(c - '0');
      } else if (hex && c >= 'a' && c <= 'f') {
        digit = static_cast<std::uint32_t>(c - 'a') + 10;
      } else {
        break;
      }
      code = std::min<std::uint32_t>(code * (hex ? 16 : 10) + digit, 0x110000);
    }
    if (i == first) return {};
    if (i < text.size() && text[i] == ';') ++i;
    return {.length = i, .code = code};
  }
  while (i < text.size() && i < kLengthMax && Lower(text[i]) >= 'a' && Lower(text[i]) <= 'z') ++i;
  if (i >= text.size() || text[i] != ';') return {};
  for (const Named& named : kNamed) {
    if (named.name == text.substr(1, i - 1)) return {.length = i + 1, .code = named.code};
  }
  return {};
}

// An attribute's value as a reader of addresses wants it: decoded, without blanks and controls.
std::string Address(std::string_view raw) {
  std::string address;
  for (std::size_t i = 0; i < raw.size();) {
    if (raw[i] == '&') {
      if (const Reference reference = ReadReference(raw.substr(i)); reference.length > 0) {
        if (!IsControl(reference.code) && reference.code != ' ') {
          AppendUtf8(reference.code, address);
        }
        i += reference.length;
        continue;
      }
    }
    const std::size_t length = SequenceLength(raw.substr(i));
    if (length == 0) {
      address.append(kReplacement);
      ++i;
      continue;
    }
    const auto byte = static_cast<unsigned char>(raw[i]);
    if (length == 1 && (IsControl(byte) || byte == ' ')) {
      // Left out.
    } else {
      address.append(raw.substr(i, length));
    }
    i += length;
  }
  // The brackets would end what we put between brackets.
  std::string shown;
  for (const char c : address) {
    if (c == '<') {
      shown += "%3C";
    } else if (c == '>') {
      shown += "%3E";
    } else {
      shown.push_back(c);
    }
  }
  return shown;
}

std::string_view WithoutScheme(std::string_view address) {
  for (const std::string_view scheme : {"https://", "http://", "mailto:", "xmpp:"}) {
    if (address.size() >= scheme.size() &&
        EqualIgnoringCase(address.substr(0, scheme.size()), scheme)) {
      address.remove_prefix(scheme.size());
      break;
    }
  }
  if (address.ends_with('/')) address.remove_suffix(1);
  return address;
}

// Whether `text` is the address itself, perhaps without its scheme or shortened with an ellipsis.
bool IsAddressOf(std::string_view text, std::string_view href) {
  std::string_view mine = WithoutScheme(text);
  std::string_view target = WithoutScheme(href);
  if (mine == target) return true;
  for (const std::string_view dots : {kEllipsis, std::string_view("...")}) {
    if (!mine.ends_with(dots)) continue;
    mine.remove_suffix(dots.size());
    if (target.starts_with("www.") && !mine.starts_with("www.")) target.remove_prefix(4);
    return mine.size() >= 4 && target.starts_with(mine);
  }
  return false;
}

std::string_view HostOf(std::string_view address) {
  const std::size_t at = address.find("://");
  if (at == std::string_view::npos) return {};
  address.remove_prefix(at + 3);
  return address.substr(0, std::min(address.find_first_of("/?#"), address.size()));
}

// One tag: its lower-case name, whether it closes, and the few attributes that matter here.
struct Tag {
  std::string name;
  bool closing = false;
  std::string_view href;
  std::string_view classes;
  std::string_view rel;
  std::string_view alt;
};

class Reader {
 public:
  Reader(std::string_view html, std::span<const LinkedPerson> people) : html_(html) {
    for (const LinkedPerson& person : people) {
      if (person.handle.empty() || person.handle.size() > kHandleBytesMax) continue;
      if (!person.url.empty()) by_url_.emplace(person.url, person.handle);
      by_handle_.emplace(Lowered(person.handle), person.handle);
    }
  }

  std::string Read(bool* cut) {
    std::size_t i = 0;
    while (i < html_.size() && out_.size() <= kTextBytesMax) {
      const char c = html_[i];
      if (c == '<') {
        i = ReadMarkup(i);
      } else if (c == '&') {
        const Reference reference = ReadReference(html_.substr(i));
        if (reference.length == 0) {
          Put("&");
          ++i;
        } else {
          PutCode(reference.code);
          i += reference.length;
        }
      } else {
        i = ReadCharacter(i);
      }
    }
    EndLink();
    const bool too_long = out_.size() > kTextBytesMax;
    if (too_long) {
      std::size_t end = kTextBytesMax - kEllipsis.size();
      while (end > 0 && (static_cast<unsigned char>(out_[end]) & 0xC0u) == 0x80u) --end;
      out_.resize(end);
      out_.append(kEllipsis);
    }
    if (cut != nullptr) *cut = too_long;
    while (!out_.empty() && IsSpace(out_.back())) out_.pop_back();
    return std::move(out_);
  }

 private:
  struct Link {
    std::string href;
    std::size_t start = 0;  // of its text in out_; set with the first character
    bool started = false;
    bool hashtag = false;
    bool mention = false;
    std::string whole;  // with what is invisible
  };

  // Pays the line ends that are owed, then writes.
  void Put(std::string_view text) {
    if (link_) link_->whole.append(text);
    if (invisible_at_ > 0) return;
    if (!out_.empty()) {
      if (owed_ > 0) {
        while (!out_.empty() && (out_.back() == ' ' || out_.back() == '\t')) out_.pop_back();
        const bool link_gone = link_ && link_->start >= out_.size();
        out_.append(static_cast<std::size_t>(owed_), '\n');
        // What the link had so far were blanks; it begins with what follows.
        if (link_gone) link_->start = out_.size();
      }
    }
    owed_ = 0;
    if (item_) {
      out_.append("- ");
      item_ = false;
    }
    if (link_ && !link_->started) {
      link_->started = true;
      link_->start = out_.size();
    }
    out_.append(text);
  }
  void PutCode(std::uint32_t code) {
    if (code == '\n' || code == '\r' || code == '\t' || code == ' ') {
      PutBlank(code == '\t' ? "\t" : " ");
    } else if (code == 0 || !IsControl(code)) {
      if (code == 0) return;
      std::string text;
      AppendUtf8(code, text);
      Put(text);
    }
  }
  // Blanks at the start of a line are markup's, not the writer's.
  void PutBlank(std::string_view blank) {
    if (owed_ > 0 || out_.empty()) {
      if (link_) link_->whole.append(blank);
      return;
    }
    Put(blank);
  }
  void Break(int lines) { owed_ = std::min(kBlankLinesMax, std::max(owed_, lines)); }

  std::size_t ReadCharacter(std::size_t i) {
    const std::size_t length = SequenceLength(html_.substr(i));
    if (length == 0) {
      Put(kReplacement);
      return i + 1;
    }
    const char c = html_[i];
    if (length == 1 && (c == '\n' || c == '\r')) {
      if (preformatted_) {
        if (c == '\n') Break(owed_ + 1);
      } else if (!out_.empty() && !IsSpace(out_.back())) {
        PutBlank(" ");
      }
    } else if (length == 1 && (c == ' ' || c == '\t')) {
      PutBlank(html_.substr(i, 1));
    } else if (length == 1 && IsControl(static_cast<unsigned char>(c))) {
      // Dropped.
    } else if (length == 2 && static_cast<unsigned char>(c) == 0xC2 &&
               static_cast<unsigned char>(html_[i + 1]) <= 0x9F) {
      // A control character of the second block. Dropped.
    } else {
      Put(html_.substr(i, length));
    }
    return i + length;
  }

  // What begins with <. Returns the place behind it.
  std::size_t ReadMarkup(std::size_t i) {
    const std::string_view rest = html_.substr(i);
    const char next = rest.size() > 1 ? rest[1] : '\0';
    if (rest.starts_with("<!--")) {
      const std::size_t end = html_.find("-->", i + 4);
      return end == std::string_view::npos ? html_.size() : end + 3;
    }
    const bool letter = (Lower(next) >= 'a' && Lower(next) <= 'z');
    if (!letter && next != '/' && next != '!' && next != '?') {
      Put("<");
      return i + 1;
    }
    Tag tag;
    const std::size_t end = ReadTag(i, tag);
    if (!tag.closing && (tag.name == "script" || tag.name == "style")) {
      return SkipPast(end, tag.name);
    }
    Apply(tag);
    return end;
  }

  std::size_t ReadTag(std::size_t i, Tag& tag) {
    ++i;
    if (i < html_.size() && html_[i] == '/') {
      tag.closing = true;
      ++i;
    }
    const std::size_t name = i;
    while (i < html_.size() && !IsSpace(html_[i]) && html_[i] != '>' && html_[i] != '/') ++i;
    tag.name = Lowered(html_.substr(name, std::min<std::size_t>(i - name, 16)));
    while (i < html_.size() && html_[i] != '>') {
      if (IsSpace(html_[i]) || html_[i] == '/' || html_[i] == '=') {
        ++i;
        continue;
      }
      const std::size_t key = i;
      while (i < html_.size() && !IsSpace(html_[i]) && html_[i] != '=' && html_[i] != '>') ++i;
      const std::string_view key_text = html_.substr(key, i - key);
      while (i < html_.size() && IsSpace(html_[i])) ++i;
      if (i >= html_.size() || html_[i] != '=') continue;
      ++i;
      while (i < html_.size() && IsSpace(html_[i])) ++i;
      std::string_view value;
      if (i < html_.size() && (html_[i] == '"' || html_[i] == '\'')) {
        const std::size_t close = std::min(html_.find(html_[i], i + 1), html_.size());
        value = html_.substr(i + 1, close - i - 1);
        i = std::min(close + 1, html_.size());
      } else {
        const std::size_t begin = i;
        while (i < html_.size() && !IsSpace(html_[i]) && html_[i] != '>') ++i;
        value = html_.substr(begin, i - begin);
      }
      Note(key_text, value, tag);
    }
    return std::min(i + 1, html_.size());
  }

  static void Note(std::string_view key, std::string_view value, Tag& tag) {
    const auto first = [&](std::string_view& member) {
      if (member.empty()) member = value;
    };
    if (EqualIgnoringCase(key, "href")) {
      first(tag.href);
    } else if (EqualIgnoringCase(key, "class")) {
      first(tag.classes);
    } else if (EqualIgnoringCase(key, "rel")) {
      first(tag.rel);
    } else if (EqualIgnoringCase(key, "alt")) {
      first(tag.alt);
    }
  }

  // Behind the closing tag of `name`, or the end.
  std::size_t SkipPast(std::size_t i, std::string_view name) {
    for (; i < html_.size(); ++i) {
      i = html_.find("</", i);
      if (i == std::string_view::npos) return html_.size();
      if (!EqualIgnoringCase(html_.substr(i + 2, name.size()), name)) continue;
      Tag tag;
      return ReadTag(i, tag);
    }
    return html_.size();
  }

  static bool HasWord(std::string_view words, std::string_view word) {
    while (!words.empty()) {
      const std::size_t end = std::min(words.find_first_of(" \t\n\r\f"), words.size());
      if (EqualIgnoringCase(words.substr(0, end), word)) return true;
      words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
  }

  void Apply(const Tag& tag) {
    const std::string& name = tag.name;
    if (name == "a") {
      EndLink();
      if (!tag.closing) StartLink(tag);
    } else if (name == "span") {
      Span(tag);
    } else if (name == "br") {
      Break(owed_ + 1);
    } else if (name == "p" || name == "blockquote" || name == "pre" || name == "ul" ||
               name == "ol" || name == "table" || (name.size() == 2 && name[0] == 'h')) {
      Block(2);
      if (name == "pre") preformatted_ = !tag.closing;
    } else if (name == "li") {
      Block(1);
      item_ = !tag.closing;
    } else if (name == "div" || name == "tr" || name == "section" || name == "article" ||
               name == "details" || name == "summary" || name == "dt" || name == "dd") {
      Block(1);
    } else if (name == "td" || name == "th") {
      if (!tag.closing) PutBlank(" ");
    } else if (name == "img" && !tag.alt.empty()) {
      for (std::size_t i = 0; i < tag.alt.size();) {
        const std::size_t length = SequenceLength(tag.alt.substr(i));
        const auto byte = static_cast<unsigned char>(tag.alt[i]);
        if (length > 0 && !(length == 1 && IsControl(byte))) Put(tag.alt.substr(i, length));
        i += std::max<std::size_t>(length, 1);
      }
    }
  }
  // What a browser would close here is closed: a span that was forgotten hides no later paragraph.
  void Block(int lines) {
    EndLink();
    Break(lines);
    item_ = false;
    invisible_at_ = 0;
    spans_ = 0;
  }
  void Span(const Tag& tag) {
    if (tag.closing) {
      if (spans_ > 0 && spans_ == invisible_at_) invisible_at_ = 0;
      if (spans_ > 0) --spans_;
      return;
    }
    ++spans_;
    if (invisible_at_ == 0 && HasWord(tag.classes, "invisible")) invisible_at_ = spans_;
  }

  void StartLink(const Tag& tag) {
    std::string href = Address(tag.href);
    if (href.empty()) return;
    link_ = Link{.href = std::move(href),
                 .hashtag = HasWord(tag.classes, "hashtag") || HasWord(tag.rel, "tag"),
                 .mention = HasWord(tag.classes, "mention"),
                 .whole = {}};
  }

  void EndLink() {
    if (!link_) return;
    const Link link = *std::move(link_);
    link_.reset();
    invisible_at_ = 0;
    const std::size_t start = std::min(link.start, out_.size());
    const std::string visible(link.started ? std::string_view(out_).substr(start)
                                           : std::string_view());
    const std::string shown = Shown(link, visible);
    if (link.started) {
      out_.resize(start);
      out_.append(shown);
    } else {
      Put(shown);
    }
  }

  std::string Shown(const Link& link, const std::string& visible) const {
    if (IsAddressOf(link.whole, link.href) || IsAddressOf(visible, link.href)) {
      return link.href.starts_with("mailto:") || link.href.starts_with("xmpp:") ? visible
                                                                                : link.href;
    }
    if (visible.starts_with('@')) {
      if (const auto handle = HandleOf(link, visible)) return "@" + std::string(*handle);
    }
    if (link.hashtag && visible.starts_with('#') &&
        visible.find_first_of(" \n") == std::string::npos) {
      return visible;
    }
    if (visible.empty()) return "<" + link.href + ">";
    return visible + " <" + link.href + ">";
  }

  // Whom a link mentions, if it leads to one of the people.
  std::optional<std::string_view> HandleOf(const Link& link, std::string_view visible) const {
    if (const auto it = by_url_.find(link.href); it != by_url_.end()) return it->second;
    visible.remove_prefix(1);
    if (visible.size() > kHandleBytesMax) return std::nullopt;
    std::string handle = Lowered(visible);
    if (handle.find('@') == std::string::npos) handle += "@" + Lowered(HostOf(link.href));
    const auto it = by_handle_.find(handle);
    if (it == by_handle_.end()) return std::nullopt;
    // A link that says it leads to somebody and leads to another host tells both.
    const bool same_host =
        EqualIgnoringCase(HostOf(link.href), std::string_view(handle).substr(handle.find('@') + 1));
    return same_host || link.mention ? std::optional(it->second) : std::nullopt;
  }

  std::string_view html_;
  std::unordered_map<std::string_view, std::string_view> by_url_;
  std::unordered_map<std::string, std::string_view> by_handle_;
  std::string out_;
  int owed_ = 0;  // line ends before the next character
  bool item_ = false;
  bool preformatted_ = false;
  int spans_ = 0;         // open
  int invisible_at_ = 0;  // the span that made everything in it invisible; 0: none
  std::optional<Link> link_;
};

}  // namespace

std::string HtmlToText(std::string_view html, std::span<const LinkedPerson> people, bool* cut) {
  return Reader(html, people).Read(cut);
}

std::string PlainText(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size() && plain.size() < kTextBytesMax;) {
    const std::size_t length = SequenceLength(text.substr(i));
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0) {
      plain.append(kReplacement);
    } else if ((length == 1 && IsControl(byte) && byte != '\n' && byte != '\t') ||
               (length == 2 && byte == 0xC2 && static_cast<unsigned char>(text[i + 1]) <= 0x9F)) {
      // Dropped.
    } else {
      plain.append(text.substr(i, length));
    }
    i += std::max<std::size_t>(length, 1);
  }
  return plain;
}

std::string WithoutLeadingMentions(std::string_view text, std::span<const std::string> handles) {
  std::string kept;
  std::size_t i = 0;
  while (i < text.size()) {
    std::size_t at = i;
    while (at < text.size() && IsSpace(text[at])) ++at;
    if (at >= text.size() || text[at] != '@') break;
    std::size_t end = at;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    const std::string_view handle = text.substr(at + 1, end - at - 1);
    if (handle.empty()) break;
    const bool drop = std::any_of(handles.begin(), handles.end(), [&](const std::string& known) {
      return EqualIgnoringCase(known, handle);
    });
    // A word with @ that is not a mention, such as "@home:", ends the run like any other word.
    if (!drop && handle.find('@') == std::string_view::npos) break;
    if (!drop) kept.append(text.substr(at, end - at)).push_back(' ');
    i = end;
  }
  std::string_view rest = text.substr(i);
  while (!rest.empty() && IsSpace(rest.front())) rest.remove_prefix(1);
  if (rest.empty()) return std::string(text);
  return kept.append(rest);
}

std::string Comparable(std::string_view text) {
  std::string form;
  bool blank = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (IsSpace(text[i]) || rest.starts_with("\xC2\xA0")) {
      blank = true;
      if (!IsSpace(text[i])) ++i;
      continue;
    }
    if (rest.starts_with("https://")) {
      i += 7;
      continue;
    }
    if (rest.starts_with("http://")) {
      i += 6;
      continue;
    }
    if (IsControl(static_cast<unsigned char>(text[i])) &&
        static_cast<unsigned char>(text[i]) < 0x80) {
      continue;
    }
    if (blank && !form.empty()) form.push_back(' ');
    blank = false;
    form.push_back(text[i]);
  }
  return form;
}

}  // namespace mayfly::connectors::mastodon
