// A platform's own OpenAPI (3.x) or Swagger (2.0) description, against which its simulator's
// answers are held. Such files are not part of the project; they lie beside it, or the test is
// skipped.
#ifndef MAYFLY_TESTS_SUPPORT_PLATFORM_CONTRACT_H_
#define MAYFLY_TESTS_SUPPORT_PLATFORM_CONTRACT_H_

#include <memory>
#include <string>

namespace mayfly::testing {

class PlatformContract {
 public:
  // `file` under the folder with the contracts, for example "mastodon/openapi.dm.json". Null when
  // it is not there; `*reason` then says so, for GTEST_SKIP. Throws for a file that is no JSON.
  static std::unique_ptr<PlatformContract> Open(const std::string& file, std::string* reason);
  ~PlatformContract();

  // What is wrong with this answer: the broken rule and where; empty when nothing is. `path` is as
  // the description writes it ("/api/v1/statuses/{id}"). What it does not describe is wrong.
  std::string Check(const std::string& method, const std::string& path, int status,
                    const std::string& json) const;

 private:
  struct Impl;
  explicit PlatformContract(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_PLATFORM_CONTRACT_H_
