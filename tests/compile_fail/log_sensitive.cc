// A Sensitive value cannot be logged.
#include <spdlog/spdlog.h>

#include "store/model/sensitive.h"

void Log(const mayfly::ContactHandle& handle) {
#ifdef MAYFLY_CONTROL
  spdlog::info("handle of {} bytes", handle.size());
#else
  spdlog::info("handle {}", handle);
#endif
}
