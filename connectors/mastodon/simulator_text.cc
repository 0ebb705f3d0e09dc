#include "connectors/mastodon/simulator_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "connectors/graphemes.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon::sim {
namespace {

constexpr std::size_t kUrlCharacters = 23;
constexpr std::size_t kUrlShown = 30;  // Mastodon app/lib/text_formatter.rb
constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::string_view kBase62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool IsAsciiWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
// Letters of other scripts count as word characters.
bool IsWord(char c) { return IsAsciiWord(c) || static_cast<unsigned char>(c) >= 0x80; }
bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Word characters, with single or repeated dots and hyphens between them but not at the end.
template <class Word>
std::size_t NameEnd(std::string_view text, std::size_t begin, Word word) {
  std::size_t end = begin;
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (word(text[i])) {
      end = i + 1;
    } else if ((text[i] != '.' && text[i] != '-') || end == begin) {
      break;
    }
  }
  return end;
}

std::size_t UrlEnd(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() && !IsSpace(text[end]) && text[end] != '<' && text[end] != '>' &&
         text[end] != '"') {
    ++end;
  }
  while (end > begin &&
         std::string_view(".,;:!?)'").find(text[end - 1]) != std::string_view::npos) {
    --end;
  }
  return end;
}

std::optional<Entity> UrlAt(std::string_view text, std::size_t i) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (text.substr(i, scheme.size()) != scheme) continue;
    const std::size_t end = UrlEnd(text, i);
    if (end > i + scheme.size()) return Entity{.kind = Entity::Kind::kUrl, .begin = i, .end = end};
  }
  return std::nullopt;
}

std::optional<Entity> MentionAt(std::string_view text, std::size_t i) {
  if (text[i] != '@') return std::nullopt;
  if (i > 0 && (IsWord(text[i - 1]) || text[i - 1] == '=' || text[i - 1] == '/')) {
    return std::nullopt;
  }
  const std::size_t user_end = NameEnd(text, i + 1, IsAsciiWord);
  if (user_end == i + 1) return std::nullopt;
  Entity entity{.kind = Entity::Kind::kMention,
                .begin = i,
                .end = user_end,
                .user = std::string(text.substr(i + 1, user_end - i - 1))};
  if (user_end < text.size() && text[user_end] == '@') {
    const std::size_t end = NameEnd(text, user_end + 1, IsWord);
    if (end > user_end + 1) {
      entity.domain = std::string(text.substr(user_end + 1, end - user_end - 1));
      entity.end = end;
    }
  }
  return entity;
}

std::optional<Entity> TagAt(std::string_view text, std::size_t i) {
  if (text[i] != '#' || (i > 0 && (IsWord(text[i - 1]) || text[i - 1] == '/'))) return std::nullopt;
  std::size_t end = i + 1;
  bool letters = false;
  for (; end < text.size() && IsWord(text[end]); ++end) {
    letters = letters || std::isdigit(static_cast<unsigned char>(text[end])) == 0;
  }
  if (!letters) return std::nullopt;
  return Entity{.kind = Entity::Kind::kTag, .begin = i, .end = end};
}

const char* LinkRel(MastodonFlavour flavour) {
  switch (flavour) {
    case MastodonFlavour::kGoToSocial:
      return "nofollow noreferrer noopener";
    case MastodonFlavour::kPleroma:
      return "ugc";
    default:
      return "nofollow noopener";
  }
}

bool RendersAsMastodon(MastodonFlavour flavour) {
  return flavour == MastodonFlavour::kMastodon || flavour == MastodonFlavour::kHometown;
}

std::string UrlHtml(MastodonFlavour flavour, std::string_view url) {
  if (!RendersAsMastodon(flavour)) {
    const std::string safe = Escape(url);
    return "<a href=\"" + safe + "\" rel=\"" + LinkRel(flavour) + "\" target=\"_blank\">" + safe +
           "</a>";
  }
  std::size_t prefix = url.starts_with("https://") ? 8 : 7;
  if (url.substr(prefix).starts_with("www.")) prefix += 4;
  const std::string_view rest = url.substr(prefix);
  const bool cut = rest.size() > kUrlShown;
  return "<a href=\"" + Escape(url) + "\" target=\"_blank\" rel=\"" + LinkRel(flavour) +
         "\" translate=\"no\"><span class=\"invisible\">" + Escape(url.substr(0, prefix)) +
         "</span><span class=\"" + (cut ? "ellipsis" : "") + "\">" +
         Escape(rest.substr(0, kUrlShown)) + "</span><span class=\"invisible\">" +
         Escape(cut ? rest.substr(kUrlShown) : std::string_view()) + "</span></a>";
}

std::string MentionHtml(MastodonFlavour flavour, const Mentioned& who) {
  const std::string url = Escape(who.url);
  const std::string name = Escape(who.username);
  switch (flavour) {
    case MastodonFlavour::kGoToSocial:
      return "<span class=\"h-card\"><a href=\"" + url +
             "\" class=\"u-url mention\" rel=\"nofollow noreferrer noopener\" "
             "target=\"_blank\">@<span>" +
             name + "</span></a></span>";
    case MastodonFlavour::kPleroma:
      return "<span class=\"h-card\"><a class=\"u-url mention\" data-user=\"" + who.id +
             "\" href=\"" + url + "\" rel=\"ugc\">@<span>" + name + "</span></a></span>";
    case MastodonFlavour::kSnac:
      return "<a href=\"" + url + "\" class=\"u-url mention\">@" + name + "</a>";
    default:
      return "<span class=\"h-card\" translate=\"no\"><a href=\"" + url +
             "\" class=\"u-url mention\">@<span>" + name + "</span></a></span>";
  }
}

// As Rails' simple_format, whose newlines Mastodon deletes.
std::string Paragraphs(const std::string& html, const std::string& line_break) {
  std::string out = "<p>";
  for (std::size_t i = 0; i < html.size(); ++i) {
    if (html[i] != '\n') {
      out += html[i];
      continue;
    }
    std::size_t run = i;
    while (run < html.size() && html[run] == '\n') ++run;
    out += run - i > 1 ? "</p><p>" : line_break;
    i = run - 1;
  }
  return out + "</p>";
}

std::string Lines(const std::string& html, const std::string& line_break) {
  std::string out;
  for (const char c : html) {
    if (c == '\n') {
      out += line_break;
    } else {
      out += c;
    }
  }
  return out;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string FormDecode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
               HexDigit(text[i + 2]) >= 0) {
      out += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields ParseForm(std::string_view body) {
  Fields fields;
  while (!body.empty()) {
    const std::string_view pair = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(body.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (pair.empty()) continue;
    fields.emplace_back(
        FormDecode(pair.substr(0, equals)),
        equals == std::string_view::npos ? std::string() : FormDecode(pair.substr(equals + 1)));
  }
  return fields;
}

std::optional<std::string> Scalar(const json::Value& value) {
  if (const std::string* text = value.AsString()) return *text;
  if (const bool* flag = value.AsBool()) return *flag ? "true" : "false";
  if (const std::int64_t* number = value.AsInt()) return std::to_string(*number);
  return std::nullopt;
}

std::optional<Fields> ParseJson(const std::string& body) {
  const auto parsed = json::Parse(body);
  if (!parsed || !parsed->is_object()) return std::nullopt;
  Fields fields;
  for (const auto& [key, value] : *parsed->AsObject()) {
    if (const auto scalar = Scalar(value)) fields.emplace_back(key, *scalar);
    if (value.AsArray() == nullptr) continue;
    for (const json::Value& item : *value.AsArray()) {
      if (const auto scalar = Scalar(item)) fields.emplace_back(key + "[]", *scalar);
    }
  }
  return fields;
}

std::optional<Fields> ParseMultipart(const std::string& content_type, std::string_view body) {
  const std::size_t at = content_type.find("boundary=");
  if (at == std::string::npos) return std::nullopt;
  std::string boundary = content_type.substr(at + 9, content_type.find(';', at) - at - 9);
  if (boundary.size() > 1 && boundary.front() == '"') {
    boundary = boundary.substr(1, boundary.size() - 2);
  }
  const std::string mark = "--" + boundary;
  Fields fields;
  std::size_t begin = body.find(mark);
  while (begin != std::string_view::npos) {
    begin += mark.size();
    if (body.substr(begin, 2) == "--") return fields;
    const std::size_t end = body.find("\r\n" + mark, begin);
    const std::size_t blank = body.find("\r\n\r\n", begin);
    if (end == std::string_view::npos || blank == std::string_view::npos) return std::nullopt;
    const std::string_view head = body.substr(begin, blank - begin);
    const std::size_t name = head.find("name=\"");
    if (name == std::string_view::npos) return std::nullopt;
    const std::size_t name_end = head.find('"', name + 6);
    if (name_end == std::string_view::npos) return std::nullopt;
    const std::size_t value = blank + 4;
    fields.emplace_back(head.substr(name + 6, name_end - name - 6),
                        value <= end ? body.substr(value, end - value) : std::string_view());
    begin = end + 2;
  }
  return std::nullopt;
}

}  // namespace

std::string IdMaker::Next(TimePoint at) {
  const auto ms = static_cast<std::uint64_t>(at.time_since_epoch().count());
  const std::uint64_t count = count_++;
  std::string id;
  switch (flavour_) {
    case MastodonFlavour::kMastodon:
    case MastodonFlavour::kHometown:
      return std::to_string((ms << 16) | (count & 0xffff));
    case MastodonFlavour::kGoToSocial: {
      for (int shift = 45; shift >= 0; shift -= 5) id += kCrockford[(ms >> shift) & 31];
      for (int shift = 75; shift >= 0; shift -= 5) {
        id += kCrockford[shift < 60 ? (count >> shift) & 31 : 0];
      }
      return id;
    }
    case MastodonFlavour::kPleroma: {
      // 64 bits of time, then 64 bits of worker and sequence, as one number in base 62.
      std::array<std::uint32_t, 4> words = {
          static_cast<std::uint32_t>(ms >> 32), static_cast<std::uint32_t>(ms),
          static_cast<std::uint32_t>(count >> 32), static_cast<std::uint32_t>(count)};
      for (int digit = 0; digit < 18; ++digit) {
        std::uint64_t rest = 0;
        for (std::uint32_t& word : words) {
          const std::uint64_t value = (rest << 32) | word;
          word = static_cast<std::uint32_t>(value / 62);
          rest = value % 62;
        }
        id += kBase62[rest];
      }
      std::reverse(id.begin(), id.end());
      return id;
    }
    case MastodonFlavour::kSnac: {
      id = std::to_string(ms / 1'000);
      for (int shift = 124; shift >= 0; shift -= 4) {
        id += "0123456789abcdef"[shift < 64 ? (count >> shift) & 15 : 10];
      }
      return id;
    }
  }
  return id;
}

std::string FirstIdAfter(TimePoint at) {
  return std::to_string(static_cast<std::uint64_t>(at.time_since_epoch().count() + 1) << 16);
}

std::vector<Entity> FindEntities(std::string_view text) {
  std::vector<Entity> entities;
  for (std::size_t i = 0; i < text.size();) {
    auto entity = UrlAt(text, i);
    if (!entity) entity = MentionAt(text, i);
    if (!entity) entity = TagAt(text, i);
    if (!entity) {
      ++i;
      continue;
    }
    i = entity->end;
    entities.push_back(*std::move(entity));
  }
  return entities;
}

std::size_t CountCharacters(std::string_view spoiler_text, std::string_view text) {
  std::string counted(spoiler_text);
  std::size_t at = 0;
  for (const Entity& entity : FindEntities(text)) {
    if (entity.kind == Entity::Kind::kTag) continue;
    counted += text.substr(at, entity.begin - at);
    counted +=
        entity.kind == Entity::Kind::kUrl ? std::string(kUrlCharacters, 'x') : "@" + entity.user;
    at = entity.end;
  }
  counted += text.substr(at);
  return CountGraphemes(counted);
}

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string RenderHtml(MastodonFlavour flavour, bool remote, std::string_view text,
                       const std::string& tag_base, const MentionLookup& lookup) {
  std::string html;
  std::size_t at = 0;
  for (const Entity& entity : FindEntities(text)) {
    html += Escape(text.substr(at, entity.begin - at));
    at = entity.end;
    const std::string_view piece = text.substr(entity.begin, entity.end - entity.begin);
    if (entity.kind == Entity::Kind::kUrl) {
      html += UrlHtml(flavour, piece);
    } else if (entity.kind == Entity::Kind::kTag) {
      html += "<a href=\"" + Escape(tag_base) + UrlEncode(Lower(piece.substr(1))) +
              "\" class=\"mention hashtag\" rel=\"tag\">#<span>" + Escape(piece.substr(1)) +
              "</span></a>";
    } else if (const auto who = lookup(entity)) {
      html += MentionHtml(flavour, *who);
    } else {
      html += Escape(piece);  // nobody has that name: it stays text and reaches nobody
    }
  }
  html += Escape(text.substr(at));
  std::erase(html, '\r');
  if (flavour == MastodonFlavour::kPleroma) return Lines(html, "<br/>");
  if (RendersAsMastodon(flavour)) return Paragraphs(html, remote ? "<br>" : "<br />");
  return "<p>" + Lines(html, "<br>") + "</p>";
}

std::string WithoutLeadingMentions(std::string_view text) {
  std::size_t at = 0;
  for (const Entity& entity : FindEntities(text)) {
    if (entity.kind != Entity::Kind::kMention) break;
    if (!Trim(text.substr(at, entity.begin - at)).empty()) break;
    at = entity.end;
  }
  return Trim(text.substr(at));
}

bool Truthy(const std::optional<std::string>& value) {
  return value && *value != "false" && *value != "0" && *value != "f" && *value != "off" &&
         !value->empty();
}

std::string Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return std::string(text);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsAsciiWord(c) || c == '-' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::optional<Fields> ParseBody(const std::string& content_type, const std::string& body) {
  if (body.empty()) return Fields{};
  const std::string type = Lower(content_type);
  if (type.starts_with("application/json")) return ParseJson(body);
  if (type.starts_with("multipart/form-data")) return ParseMultipart(content_type, body);
  if (type.starts_with("application/x-www-form-urlencoded")) return ParseForm(body);
  return Fields{};  // Rails reads no parameters out of another type
}

}  // namespace mayfly::connectors::mastodon::sim
