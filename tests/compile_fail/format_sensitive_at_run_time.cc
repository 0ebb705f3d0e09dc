// A format string that is known only at run time opens no way around.
#include <string>

#include <fmt/format.h>

#include "store/model/sensitive.h"

std::string Line(const std::string& format, const mayfly::AccessToken& token) {
#ifdef MAYFLY_CONTROL
  return fmt::format(fmt::runtime(format), token.size());
#else
  return fmt::format(fmt::runtime(format), token);
#endif
}
