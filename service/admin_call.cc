#include "service/admin_call.h"

#include <iostream>
#include <unistd.h>
#include <utility>

#include "service/app.h"
#include "service/open_store.h"
#include "store/keys/master_key.h"
#include "store/model/json.h"

namespace mayfly::service {

Result<LocalResponse> AskService(const Config& config, const std::string& method,
                                 const std::string& target, const std::string& body) {
  MAYFLY_ASSIGN_OR_RETURN(const LocalResponse answer,
                          CallUnixSocket(config.admin_socket(), method, target, {}, body));
  if (answer.status < 200 || answer.status > 299) {
    auto problem = json::Parse(answer.body);
    std::string title = "the service refused";
    if (problem) {
      if (auto text = problem->String("title")) title = *text;
      if (auto text = problem->String("detail")) title += " " + *text;
    }
    return Fail(ErrorCode::kIo, title + " (" + std::to_string(answer.status) + ")");
  }
  return answer;
}

Result<std::unique_ptr<store::Store>> OpenAlone(const Config& config) {
  MAYFLY_ASSIGN_OR_RETURN(MasterKeys masters, AskForMasterKeys(config));
  MAYFLY_ASSIGN_OR_RETURN(OpenedStore opened,
                          OpenStore(config, std::move(masters), /*create=*/false));
  return std::move(opened.store);
}

Actor CommandLineActor() {
  return {.id = "cli:" + std::to_string(::getuid()), .scopes = 0, .request_id = "cli"};
}

int Complain(const Error& error) {
  std::cerr << "mayfly: " << error.message << "\n";
  return error.code == ErrorCode::kInvalidArgument ? kExitConfig : 1;
}

}  // namespace mayfly::service
