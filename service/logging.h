// Log lines: event, ids of ours, counts. One JSON object a line on standard error.
//
// Fields come from a closed list and values are numbers or short words in plain ASCII, so that
// nothing from outside can enter: a word with any other character is written as "?".
#ifndef MAYFLY_SERVICE_LOGGING_H_
#define MAYFLY_SERVICE_LOGGING_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "store/model/clock.h"
#include "store/model/ids.h"
#include "store/model/result.h"

namespace mayfly::service {

enum class LogKey {
  kAccount,
  kCount,
  kDay,
  kDelayMs,
  kDuplicates,
  kEpoch,
  kError,
  kExit,
  kFreeMiB,
  kLateMs,
  kMessages,
  kPlatform,
  kReason,
  kReply,
  kSignal,
  kState,
  kStored,
};

struct LogField {
  LogKey key;
  std::variant<std::int64_t, std::string> value;
  LogField(LogKey k, std::int64_t number) : key(k), value(number) {}
  LogField(LogKey k, std::string word) : key(k), value(std::move(word)) {}
};

enum class LogLevel { kInfo, kWarning, kError };

// Call once per process, before threads. `clock` must outlive logging.
void StartLogging(const Clock& clock, std::string_view process);
// Thread-safe. `event` is a literal such as "purge.done".
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_LOGGING_H_
