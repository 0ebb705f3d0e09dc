// A Sensitive value cannot be formatted.
#include <string>

#include <fmt/format.h>

#include "store/model/sensitive.h"

std::string Line(const mayfly::MessageBody& body) {
#ifdef MAYFLY_CONTROL
  return fmt::format("{}", body.size());
#else
  return fmt::format("{}", body);
#endif
}
