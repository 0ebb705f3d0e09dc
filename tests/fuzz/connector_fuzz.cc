// Every connector's parsers, through the one function that its folder declares (connectors/fuzz.h).
// Built once for each line of connectors.def, with MAYFLY_PLATFORM.
#include "tests/fuzz/fuzz.h"

namespace mayfly::connectors::MAYFLY_PLATFORM {
const char* Fuzz(std::string_view answer);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  const char* broken = connectors::MAYFLY_PLATFORM::Fuzz(fuzz::Text(data, size));
  fuzz::Check(broken == nullptr, broken == nullptr ? "" : broken);
  return 0;
}
