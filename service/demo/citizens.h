// The scripted people of the demo: they write to the office, withdraw, and answer.
#ifndef MAYFLY_SERVICE_DEMO_CITIZENS_H_
#define MAYFLY_SERVICE_DEMO_CITIZENS_H_

#include <stop_token>
#include <string>

#include "connectors/bluesky/simulator.h"

namespace mayfly::service {

inline constexpr const char* kOfficeHandle = "stats-office.test";
inline constexpr const char* kOfficePassword = "demo-office-password";
inline constexpr const char* kOfficeAppPassword = "demo-app-pass-word";

// What lies on the platform before the office connects: messages of many ages, some of which expire
// in the next days, one of which is older than three months and must never be stored.
Status WriteHistory(connectors::BlueskySimulator& platform, const Clock& clock);

// Lets citizens act until stopped, by the wall clock of the person who watches: somebody writes
// every few seconds, one withdraws a message, and whoever is answered says thank you.
void LetCitizensAct(connectors::BlueskySimulator& platform, std::stop_token stop);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_CITIZENS_H_
