#include "service/logging.h"

#include <algorithm>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "store/model/json.h"

namespace mayfly::service {
namespace {

const Clock* g_clock = nullptr;  // set once before threads start
std::string* g_process = nullptr;

const char* NameOf(LogKey key) {
  switch (key) {
    case LogKey::kAccount:
      return "account";
    case LogKey::kCount:
      return "count";
    case LogKey::kDay:
      return "day";
    case LogKey::kDelayMs:
      return "delay_ms";
    case LogKey::kDuplicates:
      return "duplicates";
    case LogKey::kEpoch:
      return "epoch";
    case LogKey::kError:
      return "error";
    case LogKey::kExit:
      return "exit";
    case LogKey::kFreeMiB:
      return "free_mib";
    case LogKey::kLateMs:
      return "late_ms";
    case LogKey::kMessages:
      return "messages";
    case LogKey::kPlatform:
      return "platform";
    case LogKey::kReason:
      return "reason";
    case LogKey::kReply:
      return "reply";
    case LogKey::kSignal:
      return "signal";
    case LogKey::kState:
      return "state";
    case LogKey::kStored:
      return "stored";
  }
  return "field";
}

bool IsPlainWord(std::string_view word) {
  return word.size() <= 80 && std::all_of(word.begin(), word.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.' || c == ':';
         });
}

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

const char* NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

}  // namespace

void StartLogging(const Clock& clock, std::string_view process) {
  g_clock = &clock;
  static std::string name;
  name = std::string(process);
  g_process = &name;
  auto logger =
      std::make_shared<spdlog::logger>("mayfly", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");  // the whole line is ours
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  std::string line;
  json::Writer writer(&line);
  writer.StartObject();
  if (g_clock != nullptr) writer.Field("at", FormatRfc3339(g_clock->Now()));
  writer.Field("level", NameOf(level));
  if (g_process != nullptr) writer.Field("process", *g_process);
  writer.Field("event", event);
  for (const LogField& field : fields) {
    writer.Key(NameOf(field.key));
    if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
      writer.Int(*number);
    } else {
      const std::string& word = std::get<std::string>(field.value);
      writer.String(IsPlainWord(word) ? word : "?");
    }
  }
  writer.EndObject();
  spdlog::log(LevelOf(level), "{}", line);
}

}  // namespace mayfly::service
