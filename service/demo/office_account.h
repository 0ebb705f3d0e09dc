// Connecting the office of a simulated platform, over the REST API like everybody else.
#ifndef MAYFLY_SERVICE_DEMO_OFFICE_ACCOUNT_H_
#define MAYFLY_SERVICE_DEMO_OFFICE_ACCOUNT_H_

#include <string>

#include "connectors/platform_simulator.h"

namespace mayfly::service {

// The body of POST /v1/accounts. An empty `retention` leaves the ceiling.
std::string AccountBody(const std::string& platform, const std::string& label,
                        const connectors::PlatformSimulator::Office& office,
                        const std::string& retention = "");

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_OFFICE_ACCOUNT_H_
