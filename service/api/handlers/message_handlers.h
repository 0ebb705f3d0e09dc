#ifndef MAYFLY_SERVICE_API_HANDLERS_MESSAGE_HANDLERS_H_
#define MAYFLY_SERVICE_API_HANDLERS_MESSAGE_HANDLERS_H_

#include <vector>

#include "service/api/context.h"
#include "service/api/router.h"

namespace mayfly::service::api {

std::vector<Route> MessageRoutes(ApiContext& context);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HANDLERS_MESSAGE_HANDLERS_H_
