// What the servers do with ids and with text: how they name things, find mentions, count characters
// and turn what was typed into HTML.
#ifndef MAYFLY_CONNECTORS_MASTODON_SIMULATOR_TEXT_H_
#define MAYFLY_CONNECTORS_MASTODON_SIMULATOR_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/mastodon/simulator.h"
#include "store/model/time.h"

namespace mayfly::connectors::mastodon::sim {

// The order of ids on every flavour: numbers by value, the others as they are.
struct ById {
  bool operator()(std::string_view a, std::string_view b) const {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
};

// Ids of statuses and accounts: snowflakes beyond 2^53 (Mastodon lib/mastodon/snowflake.rb), ULIDs
// (GoToSocial), flakes in base 62 (Pleroma), seconds and a digest (snac).
class IdMaker {
 public:
  explicit IdMaker(MastodonFlavour flavour) : flavour_(flavour) {}
  std::string Next(TimePoint at);

 private:
  MastodonFlavour flavour_;
  std::uint64_t count_ = 0;
};

// Mastodon's: above every id that was made at or before `at`.
std::string FirstIdAfter(TimePoint at);

struct Entity {
  enum class Kind { kMention, kUrl, kTag };
  Kind kind = Kind::kUrl;
  std::size_t begin = 0;  // bytes of the text, with the sign in front
  std::size_t end = 0;
  std::string user = {};    // of a mention
  std::string domain = {};  // of a mention; empty when it names none
};
// In order, never overlapping. Mentions as in Mastodon's Account::MENTION_RE.
std::vector<Entity> FindEntities(std::string_view text);

// As Mastodon app/validators/status_length_validator.rb: graphemes, a URL as 23, a mention without
// its domain.
std::size_t CountCharacters(std::string_view spoiler_text, std::string_view text);

std::string Escape(std::string_view text);  // & < > " '

struct Mentioned {
  std::string username;
  std::string domain;  // empty: local
  std::string url;
  std::string id;
};
using MentionLookup = std::function<std::optional<Mentioned>(const Entity&)>;
// `remote`: as it comes out of another server and the sanitiser of this one.
std::string RenderHtml(MastodonFlavour flavour, bool remote, std::string_view text,
                       const std::string& tag_base, const MentionLookup& lookup);

// The text without the mentions in front of it, as a reader sees it.
std::string WithoutLeadingMentions(std::string_view text);

// As Rails reads a parameter.
bool Truthy(const std::optional<std::string>& value);
std::string Trim(std::string_view text);
std::string Lower(std::string_view text);
std::string UrlEncode(std::string_view text);

// application/x-www-form-urlencoded, JSON or multipart/form-data into names and values, arrays as
// name[]. Nothing when malformed. JSON null is left out.
std::optional<std::vector<std::pair<std::string, std::string>>> ParseBody(
    const std::string& content_type, const std::string& body);

}  // namespace mayfly::connectors::mastodon::sim

#endif  // MAYFLY_CONNECTORS_MASTODON_SIMULATOR_TEXT_H_
