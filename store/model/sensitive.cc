#include "store/model/sensitive.h"

#include <cstring>
#include <sodium.h>

namespace mayfly {

void WipeString(std::string& value) noexcept {
  // Most are short, and every move of a Sensitive value wipes what it leaves behind, so this is
  // called some forty times for a message that is shown. libstdc++ keeps up to 15 characters inside
  // the string, at data(), whatever its size.
  constexpr std::size_t kInside = 15;
  if (value.capacity() == kInside) {
    char* const bytes = value.data();
    std::memset(bytes, 0, kInside);
    __asm__ __volatile__("" : : "r"(bytes) : "memory");  // as libsodium does: it may not be dropped
    value.clear();
    return;
  }
  // The whole buffer, not only what is in use: a string that was shortened or moved from keeps its
  // old bytes past its end. Growing to the capacity never allocates.
  value.resize(value.capacity());
  sodium_memzero(value.data(), value.size());
  value.clear();
}

}  // namespace mayfly
