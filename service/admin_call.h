// How a command reaches the store: through the running service, or by itself when none runs.
#ifndef MAYFLY_SERVICE_ADMIN_CALL_H_
#define MAYFLY_SERVICE_ADMIN_CALL_H_

#include <memory>
#include <string>

#include "service/admin_client.h"
#include "service/config.h"
#include "store/store.h"

namespace mayfly::service {

// An answer of 2xx. kUnavailable when no service runs; kIo, with the service's own words, when it
// refused or the exchange broke.
Result<LocalResponse> AskService(const Config& config, const std::string& method,
                                 const std::string& target, const std::string& body);
// Nobody serves and the store is ours to open. kIo when a process holds it all the same.
Result<std::unique_ptr<store::Store>> OpenAlone(const Config& config);
// Who acts, in the audit log.
Actor CommandLineActor();
// Says it on standard error; the exit code for it.
int Complain(const Error& error);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ADMIN_CALL_H_
