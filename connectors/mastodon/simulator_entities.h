// The simulated server's JSON entities, as app/serializers/rest of Mastodon writes them, and as
// the other flavours differ.
#ifndef MAYFLY_CONNECTORS_MASTODON_SIMULATOR_ENTITIES_H_
#define MAYFLY_CONNECTORS_MASTODON_SIMULATOR_ENTITIES_H_

#include <string>
#include <utility>

#include "connectors/mastodon/simulator_world.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon::sim {

class Entities {
 public:
  explicit Entities(World& world) : world_(world) {}
  void SetOrigin(std::string origin) { origin_ = std::move(origin); }

  void WriteAccount(json::Writer& writer, const Account& account, bool with_source = false);
  // `viewer` is null for a reader without a token. `source`: the text instead of the HTML, as the
  // answer to a deletion has it.
  void WriteStatus(json::Writer& writer, const Note& note, const Account* viewer,
                   bool source = false);
  void WriteConversation(json::Writer& writer, const Entry& entry);
  void WriteNotification(json::Writer& writer, const Notice& notice);
  void WriteRequest(json::Writer& writer, const Request& request);
  void WriteHistory(json::Writer& writer, const Note& note);
  void WriteSource(json::Writer& writer, const Note& note);
  void WritePolicy(json::Writer& writer, const Account& account, bool version_1);
  void WriteInstance(json::Writer& writer, bool version_1);

 private:
  void WriteMentions(json::Writer& writer, const Note& note);
  void WriteTags(json::Writer& writer, const Note& note);
  void WriteMedia(json::Writer& writer, const Note& note);
  void WritePoll(json::Writer& writer, const Note& note);
  void WriteEdit(json::Writer& writer, const Note& note, const Version& version);
  void WriteConfiguration(json::Writer& writer);
  std::string Visibility(const Note& note) const;
  std::string ServerVersion() const;

  World& world_;
  std::string origin_;
};

}  // namespace mayfly::connectors::mastodon::sim

#endif  // MAYFLY_CONNECTORS_MASTODON_SIMULATOR_ENTITIES_H_
