// The Bluesky simulator behind the face that all simulators share.
#include <algorithm>
#include <set>
#include <utility>

#include "connectors/bluesky/simulator.h"
#include "store/model/json.h"
#include "store/model/mutex.h"

namespace mayfly::connectors::bluesky {
namespace {

constexpr const char* kOffice = "office.simulator.test";
constexpr const char* kNeighbour = "neighbour.simulator.test";
constexpr const char* kPassword = "the account's own password";
constexpr const char* kAppPassword = "abcd-efgh-ijkl-mnop";
constexpr std::size_t kAnswerItems = 100;

class Platform final : public PlatformSimulator {
 public:
  explicit Platform(std::unique_ptr<BlueskySimulator> simulator)
      : simulator_(std::move(simulator)) {
    simulator_->AddActor(kOffice, kPassword, {{.password = kAppPassword, .direct_messages = true}});
    simulator_->AddActor(kNeighbour, kPassword);
  }

  std::string origin() const override { return simulator_->origin(); }

  Office office() const override {
    std::string credential;
    json::Writer writer(&credential);
    writer.StartObject().Field("password", kAppPassword).EndObject();
    return {.options = {{"service", origin()}, {"identifier", kOffice}},
            .credential = Credential(std::move(credential))};
  }

  Result<Written> Write(int person, const std::string& text,
                        std::optional<TimePoint> sent_at) override {
    return Send(Met(person), kOffice, text, sent_at);
  }

  Result<Written> WriteAsOffice(int person, const std::string& text) override {
    return Send(kOffice, Met(person), text, std::nullopt);
  }

  Status Edit(const Written&, const std::string&) override {
    return Fail(ErrorCode::kPlatformRejected, "This platform has no edits.");
  }

  Status Delete(const Written& written) override {
    return simulator_->DeleteForBoth(written.conversation, written.message);
  }

  Status WriteElsewhere(int person, const std::string& text) override {
    MAYFLY_RETURN_IF_ERROR(Send(Met(person), kNeighbour, text, std::nullopt));
    return {};
  }

  std::size_t CountReceived(int person, const std::string& text) const override {
    const auto seen = simulator_->MessagesBetween(HandleOf(person), kOffice);
    return static_cast<std::size_t>(std::count_if(seen.begin(), seen.end(), [&](const auto& each) {
      return !each.deleted && each.sender_handle == kOffice && each.text == text;
    }));
  }

  std::string HandleOf(int person) const override {
    return "person-" + std::to_string(person) + ".simulator.test";
  }

  Status Inject(PlatformFault fault, int count, int after) override {
    simulator_->Inject(fault, count, after);
    return {};
  }

  std::size_t CountRequests() const override { return simulator_->CountRequests(); }
  std::size_t MessagesPerAnswer() const override { return kAnswerItems; }

 private:
  // The handle of a person who is there from now on.
  std::string Met(int person) {
    std::string handle = HandleOf(person);
    MutexLock lock(mutex_);
    if (met_.insert(person).second) {
      simulator_->AddActor({.handle = handle,
                            .password = kPassword,
                            .display_name = "Person " + std::to_string(person)});
    }
    return handle;
  }

  Result<Written> Send(const std::string& from, const std::string& to, const std::string& text,
                       std::optional<TimePoint> sent_at) {
    MAYFLY_ASSIGN_OR_RETURN(
        BlueskySimulator::Sent sent,
        simulator_->SendAs(from, to, text, BlueskySimulator::SendOptions{.sent_at = sent_at}));
    return Written{.conversation = std::move(sent.conversation_id),
                   .message = std::move(sent.message_id)};
  }

  const std::unique_ptr<BlueskySimulator> simulator_;
  Mutex mutex_;
  std::set<int> met_ MAYFLY_GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<PlatformSimulator>> StartPlatform(const Clock& clock,
                                                         const PlatformSimulatorOptions& options) {
  MAYFLY_ASSIGN_OR_RETURN(
      std::unique_ptr<BlueskySimulator> simulator,
      BlueskySimulator::Start(clock, {.port = options.port,
                                      .control_endpoints = options.control_endpoints,
                                      .log_page_max = kAnswerItems}));
  return std::unique_ptr<PlatformSimulator>(new Platform(std::move(simulator)));
}

}  // namespace mayfly::connectors::bluesky
