// What a person gets who asks what is held of them.
#ifndef MAYFLY_SERVICE_API_HANDLERS_ACCESS_HANDLERS_H_
#define MAYFLY_SERVICE_API_HANDLERS_ACCESS_HANDLERS_H_

#include <vector>

#include "service/api/context.h"
#include "service/api/router.h"

namespace mayfly::service::api {

std::vector<Route> AccessRoutes(ApiContext& context);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_ACCESS_HANDLERS_H_
