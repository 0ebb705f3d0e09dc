#include "service/demo/citizens.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

namespace mayfly::service {
namespace {

using std::chrono::days;
using std::chrono::hours;

struct Citizen {
  const char* handle;
  const char* name;
};
constexpr std::array<Citizen, 4> kCitizens = {{{"ada.test", "Ada"},
                                               {"emmy.test", "Emmy"},
                                               {"florence.test", "Florence"},
                                               {"ruth.test", "Ruth"}}};

// Enough for the watcher to see things happen; then the citizens only answer.
constexpr std::array<const char*, 6> kQuestions = {
    "Hello! Where do I find the population of my town?",
    "Is the consumer price index for last month out yet?",
    "I got a letter about the labour force survey. Is it really from you?",
    "Could you send the 2021 census table by age and district?",
    "My postcode is missing from the lookup file. Whom can I tell?",
    "Thanks for the new trade figures, they are very clear."};

bool Pause(std::chrono::milliseconds length, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, length, [] { return false; });
  return !stop.stop_requested();
}

// Whoever the office answered since the last look says thank you, once per answer.
void AnswerTheOffice(connectors::BlueskySimulator& platform, std::set<std::string>& answered) {
  for (const Citizen& citizen : kCitizens) {
    for (const auto& message : platform.MessagesBetween(citizen.handle, kOfficeHandle)) {
      if (message.sender_handle != kOfficeHandle || !answered.insert(message.id).second) continue;
      (void)platform.SendAs(citizen.handle, kOfficeHandle, "Thank you, that helps!");
    }
  }
}

}  // namespace

Status WriteHistory(connectors::BlueskySimulator& platform, const Clock& clock) {
  platform.AddActor({.handle = kOfficeHandle,
                     .password = kOfficePassword,
                     .app_passwords = {{kOfficeAppPassword, /*direct_messages=*/true}},
                     .display_name = "Example Statistics Office"});
  for (const Citizen& citizen : kCitizens) {
    platform.AddActor({.handle = citizen.handle,
                       .password = "demo-citizen-password",
                       .display_name = citizen.name});
  }
  const TimePoint now = clock.Now();
  const auto write = [&](const char* from, hours age, const char* text) -> Status {
    auto sent =
        platform.SendAs(from, kOfficeHandle, text, {.sent_at = now - age, .leave_request = true});
    if (!sent) return Fail(sent.error());
    return {};
  };
  MAYFLY_RETURN_IF_ERROR(
      write("ruth.test", days(120), "This is four months old: it is never stored."));
  for (int age = 92; age >= 84; --age) {
    MAYFLY_RETURN_IF_ERROR(write(kCitizens[static_cast<std::size_t>(age) % 4].handle, days(age),
                                 "An old question. It goes at one of the next midnights."));
  }
  MAYFLY_RETURN_IF_ERROR(write("emmy.test", days(40), "Which figures count commuters?"));
  return write("florence.test", days(3), "Is there a table of hospitals by region?");
}

void LetCitizensAct(connectors::BlueskySimulator& platform, std::stop_token stop) {
  std::set<std::string> answered;
  std::size_t next = 0;
  int beat = 0;
  while (Pause(std::chrono::milliseconds(500), stop)) {
    AnswerTheOffice(platform, answered);
    if (++beat % 8 == 4 && next < kQuestions.size()) {
      // The platform's rules apply to citizens too; a refusal is part of the play.
      (void)platform.SendAs(kCitizens[next % kCitizens.size()].handle, kOfficeHandle,
                            kQuestions[next]);
      ++next;
    }
    if (beat == 24) {
      auto regretted =
          platform.SendAs("ruth.test", kOfficeHandle, "Sorry, this was meant for somebody else.");
      if (regretted && Pause(std::chrono::seconds(3), stop)) {
        (void)platform.DeleteForBoth(regretted->conversation_id, regretted->message_id);
      }
    }
  }
}

}  // namespace mayfly::service
