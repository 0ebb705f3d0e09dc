// Runs tests/e2e/<folder>/citizen.mjs: somebody on a simulated platform, driven by a client library
// of that platform, which was written elsewhere and comes from npm.
#ifndef MAYFLY_TESTS_SUPPORT_CITIZEN_H_
#define MAYFLY_TESTS_SUPPORT_CITIZEN_H_

#include <string>
#include <vector>

namespace mayfly::testing {

struct CitizenClient {
  const char* folder;   // under tests/e2e
  const char* package;  // that must be installed in it
};
inline constexpr CitizenClient kBlueskyCitizen = {"bluesky_client", "@atproto/api"};
inline constexpr CitizenClient kMastodonCitizen = {"mastodon_client", "masto"};

// Empty when the citizen can run; else the reason why not, for GTEST_SKIP. The folder with the
// installed package is below MAYFLY_CITIZEN_DIR of the environment, else <build>/<folder>, else the
// folder in the source tree.
std::string CitizenMissing(const CitizenClient& client = kBlueskyCitizen);

struct CitizenResult {
  int exit_code = -1;
  std::string out;     // one line of JSON
  std::string errors;  // for people
};
// Waits for its end, at most about a minute (then it is killed and exit_code is -1).
CitizenResult RunCitizen(const std::vector<std::string>& arguments,
                         const CitizenClient& client = kBlueskyCitizen);

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_CITIZEN_H_
