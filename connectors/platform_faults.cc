#include "connectors/platform_faults.h"

#include <array>
#include <cstddef>
#include <string>
#include <utility>

namespace mayfly::connectors {
namespace {

// Far beyond what any client of ours takes, and cheap to have around once.
constexpr std::size_t kHugeBytes = 24u << 20;

}  // namespace

void PlatformFaults::Inject(PlatformFault fault, int count, int after) {
  armed_.erase(fault);
  if (count > 0) armed_[fault] = Armed{.count = count, .after = after + 1};
}

void PlatformFaults::Arrived() {
  for (auto& [fault, armed] : armed_) {
    if (armed.after > 0) --armed.after;
  }
}

bool PlatformFaults::Take(PlatformFault fault) {
  const auto it = armed_.find(fault);
  if (it == armed_.end() || it->second.after > 0) return false;
  if (--it->second.count == 0) armed_.erase(it);
  return true;
}

std::optional<PlatformFault> PlatformFaults::TakeForRead() {
  for (const PlatformFault fault :
       {PlatformFault::kRateLimited, PlatformFault::kUnavailable, PlatformFault::kTruncatedAnswer,
        PlatformFault::kHugeAnswer, PlatformFault::kNotJson, PlatformFault::kWrongShape,
        PlatformFault::kConnectionClosed, PlatformFault::kRedirect}) {
    if (Take(fault)) return fault;
  }
  return std::nullopt;
}

SimulatorResponse BrokenAnswer(PlatformFault fault, SimulatorResponse right) {
  switch (fault) {
    case PlatformFault::kUnavailable:
      // As a proxy in front of the platform says it.
      return {.status = 503,
              .headers = {},
              .body = "<html><h1>503 Service Unavailable</h1></html>",
              .content_type = "text/html"};
    case PlatformFault::kTruncatedAnswer:
      right.body.resize(right.body.size() / 2);
      return right;
    case PlatformFault::kHugeAnswer:
      right.body.append(kHugeBytes, ' ');  // JSON all the same
      return right;
    case PlatformFault::kNotJson:
      return {.status = 200,
              .headers = {},
              .body = "<!DOCTYPE html><html><body>We will be back soon.</body></html>",
              .content_type = "text/html"};
    case PlatformFault::kWrongShape:
      right.body = right.body.starts_with('[') ? "{\"error\":null}" : "[[]]";
      return right;
    case PlatformFault::kConnectionClosed:
      right.drop_connection = true;
      return right;
    case PlatformFault::kRedirect:
      return {.status = 302,
              .headers = {{"Location", "http://elsewhere.invalid/"}},
              .body = "",
              .content_type = "text/html"};
    default:
      return right;
  }
}

}  // namespace mayfly::connectors
