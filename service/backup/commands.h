// `mayfly backup`, `restore` and `verify`: what they print, and their exit codes: 0, 1 for a
// failure, 3 when verify or --check found something, 78 for what the operator has to change first.
// What they print holds dates, counts and names of files, and nothing of any message.
#ifndef MAYFLY_SERVICE_BACKUP_COMMANDS_H_
#define MAYFLY_SERVICE_BACKUP_COMMANDS_H_

#include <cstddef>
#include <optional>
#include <string>

#include "service/config.h"
#include "store/model/clock.h"

namespace mayfly::service {

inline constexpr int kExitFound = 3;

struct BackupArguments {
  std::string dir;
  std::size_t keep = 7;
  bool as_json = false;
};
struct RestoreArguments {
  std::string dir;
  bool check = false;
  bool force = false;
  bool as_json = false;
};
struct VerifyArguments {
  std::string dir;  // empty: the data
  std::optional<std::size_t> sample;
  bool as_json = false;
};

int BackupCommand(const Config& config, const BackupArguments& arguments, const Clock& clock);
int RestoreCommand(const Config& config, const RestoreArguments& arguments, const Clock& clock);
int VerifyCommand(const Config& config, const VerifyArguments& arguments, const Clock& clock);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_BACKUP_COMMANDS_H_
