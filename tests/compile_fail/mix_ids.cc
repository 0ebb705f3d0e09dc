// The id of a reply is not the id of a message.
#include "store/model/ids.h"

bool Same(const mayfly::MessageId& message, const mayfly::ReplyId& reply) {
#ifdef MAYFLY_CONTROL
  return message.day == reply.day;
#else
  return message == reply;
#endif
}
