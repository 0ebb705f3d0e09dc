#include "service/demo/citizens.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace mayfly::service {
namespace {

using std::chrono::days;
using std::chrono::hours;

constexpr int kCitizens = 4;

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

}  // namespace

Status WriteHistory(connectors::PlatformSimulator& platform, const Clock& clock) {
  const TimePoint now = clock.Now();
  const auto write = [&](int person, hours age, const char* text) -> Status {
    auto written = platform.Write(person, text, now - age);
    if (!written) return Fail(written.error());
    return {};
  };
  MAYFLY_RETURN_IF_ERROR(write(3, days(120), "This is four months old: it is never stored."));
  for (int age = 92; age >= 84; --age) {
    MAYFLY_RETURN_IF_ERROR(write(age % kCitizens, days(age),
                                 "An old question. It goes at one of the next midnights."));
  }
  MAYFLY_RETURN_IF_ERROR(write(1, days(40), "Which figures count commuters?"));
  return write(2, days(3), "Is there a table of hospitals by region?");
}

void LetCitizensAct(connectors::PlatformSimulator& platform, std::stop_token stop) {
  std::size_t next = 0;
  int beat = 0;
  // The platform's rules apply to citizens too; a refusal is part of the play.
  while (Pause(std::chrono::milliseconds(500), stop)) {
    if (++beat % 8 == 4 && next < kQuestions.size()) {
      (void)platform.Write(static_cast<int>(next) % kCitizens, kQuestions[next]);
      ++next;
    }
    if (beat == 24) {
      const auto regretted = platform.Write(3, "Sorry, this was meant for somebody else.");
      if (regretted && Pause(std::chrono::seconds(3), stop)) (void)platform.Delete(*regretted);
    }
    if (beat == 30) {
      const auto hasty = platform.Write(0, "Is the offic open on Monday?");
      if (hasty && Pause(std::chrono::seconds(3), stop)) {
        (void)platform.Edit(*hasty, "Is the office open on Monday?");
      }
    }
  }
}

void ThankForReplies(connectors::PlatformSimulator& platform,
                     const std::vector<std::string>& replies, std::set<std::string>& thanked) {
  for (const std::string& reply : replies) {
    for (int person = 0; person < kCitizens; ++person) {
      if (thanked.contains(reply) || platform.CountReceived(person, reply) == 0) continue;
      thanked.insert(reply);
      (void)platform.Write(person, "Thank you, that helps!");
    }
  }
}

}  // namespace mayfly::service
