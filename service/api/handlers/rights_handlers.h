// Finding a person, restricting what is held of them, hearing an objection.
// service/api/openapi.json.
#ifndef MAYFLY_SERVICE_API_HANDLERS_RIGHTS_HANDLERS_H_
#define MAYFLY_SERVICE_API_HANDLERS_RIGHTS_HANDLERS_H_

#include <vector>

#include "service/api/context.h"
#include "service/api/router.h"

namespace mayfly::service::api {

std::vector<Route> RightsRoutes(ApiContext& context);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_RIGHTS_HANDLERS_H_
