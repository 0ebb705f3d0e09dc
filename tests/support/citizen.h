// Runs tests/e2e/bluesky_client/citizen.mjs: a citizen driven by the npm package @atproto/api.
#ifndef MAYFLY_TESTS_SUPPORT_CITIZEN_H_
#define MAYFLY_TESTS_SUPPORT_CITIZEN_H_

#include <string>
#include <vector>

namespace mayfly::testing {

// Empty when the citizen can run; else the reason why not, for GTEST_SKIP. The folder with the
// installed package is MAYFLY_CITIZEN_DIR of the environment, else <build>/bluesky_client, else the
// folder in the source tree.
std::string CitizenMissing();

struct CitizenResult {
  int exit_code = -1;
  std::string out;     // one line of JSON
  std::string errors;  // for people
};
// Waits for its end, at most about a minute (then it is killed and exit_code is -1).
CitizenResult RunCitizen(const std::vector<std::string>& arguments);

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_CITIZEN_H_
