#include "store/keys/dictionary.h"

#include <cstddef>

namespace mayfly::store {

// Defined in the file that CMake writes from dictionary/records-1.zdict.
extern const unsigned char kRecordsDictionary1[];
extern const std::size_t kRecordsDictionary1Bytes;

std::string_view RecordsDictionary1() {
  return std::string_view(reinterpret_cast<const char*>(kRecordsDictionary1),
                          kRecordsDictionary1Bytes);
}

}  // namespace mayfly::store
