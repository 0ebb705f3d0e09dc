// What the service does, one scene after the other, in a terminal, with a key for each.
#ifndef MAYFLY_SERVICE_DEMO_TOUR_H_
#define MAYFLY_SERVICE_DEMO_TOUR_H_

#include <string>

namespace mayfly::service {

struct TourOptions {
  std::string platform = "bluesky";
  bool unattended = false;  // waits for no key
  std::string word = {};    // empty: the person who watches is asked for one
  int seconds = 20;         // that 92 days take
};

// The exit code: 0 when every scene showed what it says; 1, with a sentence, when one did not. With
// SIGINT, SIGTERM and SIGCHLD blocked, before this process has threads.
int RunTour(const TourOptions& options);

// Puts this process behind the core's filter and tries to open a connection. 0 when it was refused,
// 1 when it was not, 2 when the filter cannot be had here.
int TryToLeave();

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_TOUR_H_
