#include "service/api/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly::service::api {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

Route Make(const char* method, const char* pattern) {
  Route route;
  route.method = method;
  route.pattern = pattern;
  return route;
}

Router Sample() {
  Router router;
  router.Add({Make("GET", "/v1/accounts"), Make("POST", "/v1/accounts")});
  router.Add({Make("GET", "/v1/accounts/{account}"), Make("DELETE", "/v1/accounts/{account}"),
              Make("POST", "/v1/accounts/{account}/check")});
  return router;
}

TEST(Router, FindsAPathAndItsCaptures) {
  const Router router = Sample();
  const auto match = router.Find("GET", {"v1", "accounts", "acc_1"});
  ASSERT_NE(match.route, nullptr);
  EXPECT_EQ(match.route->pattern, "/v1/accounts/{account}");
  EXPECT_THAT(match.captures, ElementsAre(Pair("account", "acc_1")));
}

TEST(Router, TellsTheMethodsOfAPathThatHasOthers) {
  const Router router = Sample();
  const auto match = router.Find("PUT", {"v1", "accounts", "acc_1"});
  EXPECT_EQ(match.route, nullptr);
  EXPECT_THAT(match.allowed_methods, ElementsAre("GET", "HEAD", "DELETE"));
}

TEST(Router, KnowsNothingOfOtherPaths) {
  const Router router = Sample();
  for (const std::vector<std::string>& path :
       std::vector<std::vector<std::string>>{{},
                                             {""},
                                             {"v1"},
                                             {"v1", "accounts", ""},
                                             {"v1", "accounts", "acc_1", ""},
                                             {"v1", "accounts", "acc_1", "check", "more"},
                                             {"v1", "", "accounts"},
                                             {"V1", "accounts"},
                                             {"v1", "{account}"}}) {
    const auto match = router.Find("GET", path);
    EXPECT_EQ(match.route, nullptr);
    EXPECT_THAT(match.allowed_methods, IsEmpty());
  }
}

TEST(Router, AnswersHeadWithGetAndNothingElse) {
  const Router router = Sample();
  const auto match = router.Find("HEAD", {"v1", "accounts"});
  ASSERT_NE(match.route, nullptr);
  EXPECT_EQ(match.route->method, "GET");
  EXPECT_EQ(router.Find("HEAD", {"v1", "accounts", "acc_1", "check"}).route, nullptr);
}

TEST(Router, TakesACaptureOnlyAsAWholeSegment) {
  Router router;
  router.Add({Make("GET", "/problems/{word}")});
  EXPECT_EQ(router.Find("GET", {"problems", "a", "b"}).route, nullptr);
  EXPECT_EQ(router.Find("GET", {"problems"}).route, nullptr);
  EXPECT_NE(router.Find("GET", {"problems", "expired"}).route, nullptr);
}

}  // namespace
}  // namespace mayfly::service::api
