// `mayfly verify`: looks for what must not be there, and proves that what must be there opens.
#ifndef MAYFLY_SERVICE_BACKUP_VERIFY_H_
#define MAYFLY_SERVICE_BACKUP_VERIFY_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "service/config.h"
#include "store/inspect.h"

namespace mayfly::service {

struct Finding {
  std::string kind;   // past-date-name, key-in-clear, key-file-copy, unreferenced-file,
                      // unknown-file, keys-of-past-date, damaged-records, unopenable, altered-file
  std::string where;  // file, with the place in it
  std::string what;   // a date, or the name of a key file; never bytes
  std::uint64_t count = 1;
};

struct VerifyReport {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  // read
  std::vector<store::FamilyReport> families;
  std::vector<Finding> findings;
};

struct VerifyTarget {
  std::filesystem::path root;    // every byte below it is read
  std::filesystem::path engine;  // the store, checkpoint or copy whose records are opened; empty:
                                 // none are
  bool is_backup = false;        // families that had not ended when it was made may be named
  std::set<std::string> named_families;  // by its manifest
  // Of root/store; nothing is said about unreferenced files without it.
  std::optional<std::set<std::string>> files_of_store;
  std::filesystem::path checkpoint;  // of a running service, left out
};

// Every byte of every file: names of dates that have passed, and keys, each raw and as hex of
// either case. Blind keys of ended dates cannot be looked for: what derives them is gone with the
// date, and where it is not, that is found as keys-of-past-date. Then the records, all of them or
// `sample` of each date. Memory does not grow with what is read. Files that go away meanwhile are
// passed over.
Result<VerifyReport> Verify(const Config& config, const VerifyTarget& target,
                            std::optional<std::size_t> sample, TimePoint now);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_BACKUP_VERIFY_H_
