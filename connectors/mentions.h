// Finds mentions such as @name@example.org in a text, because on some platforms
// (Capabilities::mentions_deliver) each of them makes somebody a recipient.
#ifndef MAYFLY_CONNECTORS_MENTIONS_H_
#define MAYFLY_CONNECTORS_MENTIONS_H_

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "store/model/sensitive.h"

namespace mayfly::connectors {

struct Mention {
  std::size_t offset = 0;  // of its first @, in bytes
  std::size_t length = 0;  // in bytes, with that @
  ContactHandle handle;    // as written: "name" or "name@host"
};

// The mentions in `utf8`, in order, not overlapping. The grammar is that of Mastodon's server
// (Account::MENTION_RE in app/models/account.rb): an @ that follows neither a letter, a digit, an
// underscore nor a slash; a name; perhaps a second @ and a host. So an e-mail address and a profile
// page's address hold none. In doubt it is a mention: see the .cc for each place where servers
// differ. Ill-formed UTF-8 is read as a character that is no letter. Thread-safe; keeps nothing.
std::vector<Mention> FindMentions(std::string_view utf8);

// Those of FindMentions whose handle is none of `known`: the people who would be added. Pass the
// recipients and our own account. Handles are compared without regard to ASCII case, with or
// without a leading @; one without a host is taken to be on `own_host`, the server on which the
// text is posted. An empty `own_host` means that it is not known: then a handle without a host is
// the same only as another without one.
std::vector<Mention> MentionsOfOthers(std::string_view utf8, std::span<const ContactHandle> known,
                                      std::string_view own_host);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_MENTIONS_H_
