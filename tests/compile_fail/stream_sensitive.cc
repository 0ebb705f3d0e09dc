// A Sensitive value cannot be streamed.
#include <ostream>

#include "store/model/sensitive.h"

void Print(std::ostream& out, const mayfly::Credential& credential) {
#ifdef MAYFLY_CONTROL
  out << credential.size();
#else
  out << credential;
#endif
}
