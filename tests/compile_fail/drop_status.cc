// A status cannot be dropped.
#include "store/model/result.h"

mayfly::Status Write();

bool Use() {
#ifdef MAYFLY_CONTROL
  return Write().has_value();
#else
  Write();
  return true;
#endif
}
