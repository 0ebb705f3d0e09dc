// service/api/openapi.json as a judge: whether an answer is one that the contract allows.
//
// The shared clients of the tests (RestTest, ServiceProcess::Ask) hand every exchange to it, so
// that whichever test provokes an answer that is not documented fails.
#ifndef MAYFLY_TESTS_SUPPORT_API_CONTRACT_H_
#define MAYFLY_TESTS_SUPPORT_API_CONTRACT_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "service/api/http.h"

namespace mayfly::testing {

struct ContractAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  // Came over a socket. If not, it lacks what the listener adds: X-Request-Id, Date,
  // Cache-Control.
  bool over_socket = false;
};

// What breaks the contract, one sentence each: a status, media type, header field or member that is
// not documented, or one that is and is missing; a body that does not fit its schema; and a request
// that was accepted although the contract does not allow it. Paths of the admin socket are no part
// of it. Thread-safe.
std::vector<std::string> BreaksOfContract(const service::api::Request& request,
                                          const ContractAnswer& answer);

// The same, as failures of the running test. Counts.
void ExpectContract(const service::api::Request& request, const ContractAnswer& answer);
void ExpectContract(const service::api::Request& request, const service::api::Response& response);

// Since the program began, by ExpectContract.
struct ContractCount {
  std::size_t answers = 0;
  std::set<std::string> succeeded;  // operations ("GET /v1/about") that answered 2xx
};
ContractCount Counted();

// "GET /v1/accounts/{account}" of all operations.
std::set<std::string> ContractOperations();

// The document itself, as text.
const std::string& ContractText();

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_API_CONTRACT_H_
