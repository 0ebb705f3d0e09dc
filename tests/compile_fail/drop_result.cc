// A result cannot be dropped.
#include "store/model/result.h"

mayfly::Result<int> Read();

int Use() {
#ifdef MAYFLY_CONTROL
  const mayfly::Result<int> result = Read();
  return result ? *result : 0;
#else
  Read();
  return 0;
#endif
}
