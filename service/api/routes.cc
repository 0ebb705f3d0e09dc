#include "service/api/context.h"
#include "service/api/handlers/access_handlers.h"
#include "service/api/handlers/account_handlers.h"
#include "service/api/handlers/change_handlers.h"
#include "service/api/handlers/conversation_handlers.h"
#include "service/api/handlers/erasure_handlers.h"
#include "service/api/handlers/health_handlers.h"
#include "service/api/handlers/message_handlers.h"
#include "service/api/handlers/operation_handlers.h"
#include "service/api/handlers/reply_handlers.h"
#include "service/api/handlers/rights_handlers.h"
#include "service/api/handlers/search_handlers.h"
#include "service/api/router.h"

namespace mayfly::service::api {

Router MakeRouter(ApiContext& context) {
  Router router;
  router.SetRateLimiter(context.rate_limiter);
  router.Add(HealthRoutes(context));
  router.Add(AccountRoutes(context));
  router.Add(ConversationRoutes(context));
  router.Add(MessageRoutes(context));
  router.Add(ReplyRoutes(context));
  router.Add(SearchRoutes(context));
  router.Add(ChangeRoutes(context));
  router.Add(ErasureRoutes(context));
  router.Add(RightsRoutes(context));
  router.Add(AccessRoutes(context));
  router.Add(OperationRoutes(context));
  return router;
}

}  // namespace mayfly::service::api
