#include <map>
#include <memory>
#include <string>
#include <utility>

#include "connectors/mastodon/simulator.h"
#include "connectors/mastodon/simulator_text.h"
#include "store/model/json.h"
#include "store/model/mutex.h"

namespace mayfly::connectors::mastodon {
namespace {

constexpr const char* kOffice = "office";
constexpr const char* kDomain = "social.example";
constexpr const char* kScopes =
    "read:accounts read:statuses read:notifications write:statuses";  // what the connector asks for
constexpr std::size_t kNotificationsMax = 80;

std::string AcctOf(int person) {
  const std::string name = "citizen" + std::to_string(person);
  return person % 2 != 0 ? name : name + "@far.example";
}

// With the domain, also of local people.
std::string FullHandle(const std::string& acct) {
  return acct.find('@') != std::string::npos ? acct : acct + "@" + kDomain;
}

class Platform final : public PlatformSimulator {
 public:
  Platform(std::unique_ptr<MastodonSimulator> simulator, std::string token)
      : simulator_(std::move(simulator)), token_(std::move(token)) {}

  std::string origin() const override { return simulator_->origin(); }

  Office office() const override {
    std::string credential;
    json::Writer writer(&credential);
    writer.StartObject().Field("access_token", token_).EndObject();
    return Office{.options = {{"server", origin()}}, .credential = Credential(credential)};
  }

  Result<Written> Write(int person, const std::string& text,
                        std::optional<TimePoint> sent_at) override {
    return Post(person, AcctOf(person), "@" + FullHandle(kOffice), text, sent_at);
  }

  Result<Written> WriteAsOffice(int person, const std::string& text) override {
    return Post(person, kOffice, "@" + AcctOf(person), text, std::nullopt);
  }

  Status Edit(const Written& written, const std::string& text) override {
    MutexLock lock(mutex_);
    const auto mention = mentions_.find(written.message);
    if (mention == mentions_.end()) {
      return Fail(ErrorCode::kNotFound, "The simulated platform has no such status.");
    }
    return simulator_->Edit(written.message, mention->second + " " + text);
  }

  Status Delete(const Written& written) override { return simulator_->Delete(written.message); }

  std::size_t CountReceived(int person, const std::string& text) const override {
    std::size_t count = 0;
    for (const auto& seen : simulator_->StatusesSeenBy(AcctOf(person))) {
      if (seen.author == kOffice && !seen.deleted &&
          sim::WithoutLeadingMentions(seen.text) == sim::Trim(text)) {
        ++count;
      }
    }
    return count;
  }

  std::string HandleOf(int person) const override { return FullHandle(AcctOf(person)); }
  Status WriteElsewhere(int person, const std::string& text) override {
    simulator_->AddAccount(AcctOf(person));
    MastodonSimulator::PostOptions options{.visibility = "public"};
    auto posted = simulator_->Post(AcctOf(person), "@" + FullHandle(kOffice) + " " + text, options);
    if (!posted) return tl::unexpected(posted.error());
    return {};
  }
  Status Inject(PlatformFault fault, int count, int after) override {
    return simulator_->Inject(fault, count, after);
  }
  std::size_t CountRequests() const override { return simulator_->CountRequests(); }
  std::size_t MessagesPerAnswer() const override { return kNotificationsMax; }

 private:
  // Goes on in the thread of the office and this person.
  Result<Written> Post(int person, const std::string& author, const std::string& mention,
                       const std::string& text, std::optional<TimePoint> at) {
    MutexLock lock(mutex_);
    const std::string person_id = simulator_->AddAccount(AcctOf(person));
    MastodonSimulator::PostOptions options{.at = at};
    for (const auto& seen : simulator_->StatusesSeenBy(AcctOf(person))) {
      if (seen.visibility != "direct") continue;
      // What the office sent through the API belongs to the thread that it answers.
      const auto above = roots_.find(seen.in_reply_to_id);
      roots_.try_emplace(seen.id, above != roots_.end() ? above->second : seen.id);
      // Nothing answers what is newer than itself; ids rise with time.
      const bool older = !at || sim::ById()(seen.id, sim::FirstIdAfter(*at));
      if (older && !seen.deleted) options.in_reply_to_id = seen.id;
    }
    MAYFLY_ASSIGN_OR_RETURN(const auto posted,
                            simulator_->Post(author, mention + " " + text, options));
    const auto root = roots_.find(options.in_reply_to_id);
    roots_[posted.id] = root != roots_.end() ? root->second : posted.id;
    mentions_[posted.id] = mention;
    return Written{.conversation = roots_[posted.id] + "~" + person_id, .message = posted.id};
  }

  const std::unique_ptr<MastodonSimulator> simulator_;
  const std::string token_;
  Mutex mutex_;
  // What stands in front of each status, by its id.
  std::map<std::string, std::string> mentions_ MAYFLY_GUARDED_BY(mutex_);
  // The first status of its thread.
  std::map<std::string, std::string> roots_ MAYFLY_GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<PlatformSimulator>> StartPlatform(const Clock& clock,
                                                         const PlatformSimulatorOptions& options) {
  MAYFLY_ASSIGN_OR_RETURN(
      auto simulator,
      MastodonSimulator::Start(clock, {.port = options.port,
                                       .control_endpoints = options.control_endpoints,
                                       .domain = kDomain}));
  simulator->AddAccount(
      MastodonSimulator::AccountOptions{.acct = kOffice, .display_name = "The office"});
  MAYFLY_ASSIGN_OR_RETURN(std::string token, simulator->IssueToken(kOffice, kScopes));
  return std::unique_ptr<PlatformSimulator>(
      std::make_unique<Platform>(std::move(simulator), std::move(token)));
}

}  // namespace mayfly::connectors::mastodon
