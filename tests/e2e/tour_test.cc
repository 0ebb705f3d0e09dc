// The demonstration shows what it says: each scene checks itself, and the program fails when one
// does not hold.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Tour : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, Tour, ::testing::ValuesIn(Platforms()), PlatformName);

TEST_P(Tour, EverySceneShowsWhatItSays) {
  const RunResult tour =
      RunProgram({ProgramDir() + "/mayfly-demo", "tour", "--unattended", "--platform", GetParam(),
                  "--word", "marker-celadon-5530", "--seconds", "3"});
  ASSERT_EQ(tour.exit_code, 0) << tour.out << tour.err;
  EXPECT_THAT(tour.out, HasSubstr("queued -> unknown -> sent"));
  EXPECT_THAT(tour.out, HasSubstr("Bert received it 1 time(s)."));
  EXPECT_THAT(tour.out, HasSubstr("asks for Ada's message: 403"));
  EXPECT_THAT(tour.out, HasSubstr("My word is marker-celadon-5530"));
  EXPECT_THAT(tour.out, HasSubstr("before: the word in 2 records; now in 0"));
  EXPECT_THAT(tour.out, HasSubstr("its signature holds; with one digit changed it does not"));
  EXPECT_THAT(tour.out, HasSubstr("Nothing of it is left on this machine."));
  EXPECT_THAT(tour.err, Not(HasSubstr("marker-celadon-5530")));
}

}  // namespace
}  // namespace mayfly::testing
