// The scripted people of the demo: they write to the office, regret, correct, and say thank you.
#ifndef MAYFLY_SERVICE_DEMO_CITIZENS_H_
#define MAYFLY_SERVICE_DEMO_CITIZENS_H_

#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "connectors/platform_simulator.h"

namespace mayfly::service {

// What lies on the platform before the office connects: messages of many ages, some of which expire
// in the next days, one of which is older than three months and must never be stored.
Status WriteHistory(connectors::PlatformSimulator& platform, const Clock& clock);

// Lets citizens act until stopped, by the wall clock of the person who watches: somebody writes
// every few seconds, one withdraws a message, and one corrects theirs where the platform lets them.
void LetCitizensAct(connectors::PlatformSimulator& platform, std::stop_token stop);

// Whoever was sent one of `replies` says thank you, once for each.
void ThankForReplies(connectors::PlatformSimulator& platform,
                     const std::vector<std::string>& replies, std::set<std::string>& thanked);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_CITIZENS_H_
