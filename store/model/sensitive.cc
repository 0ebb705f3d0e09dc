#include "store/model/sensitive.h"

#include <sodium.h>

namespace mayfly {

void WipeString(std::string& value) noexcept {
  // The whole buffer, not only what is in use: a string that was shortened or moved from keeps its
  // old bytes past its end. Growing to the capacity never allocates.
  value.resize(value.capacity());
  sodium_memzero(value.data(), value.size());
  value.clear();
}

}  // namespace mayfly
