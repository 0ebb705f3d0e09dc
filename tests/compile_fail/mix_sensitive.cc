// A handle is no message text.
#include "store/model/sensitive.h"

bool Same(const mayfly::MessageBody& body, const mayfly::ContactHandle& handle) {
#ifdef MAYFLY_CONTROL
  return body.size() == handle.size();
#else
  return body == handle;
#endif
}
