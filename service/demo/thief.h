// What somebody gets who has taken everything: the disk, the logs, an old backup, and today's keys.
#ifndef MAYFLY_SERVICE_DEMO_THIEF_H_
#define MAYFLY_SERVICE_DEMO_THIEF_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "service/config.h"
#include "store/model/result.h"

namespace mayfly::service {

struct ThiefsView {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t raw_hits = 0;  // the word in a file, in clear or as hex
  std::uint64_t rows = 0;      // sealed records of people
  std::uint64_t opened = 0;    // of these, with today's keys
  std::uint64_t hits = 0;      // opened ones that hold the word
};

// Reads every byte of the files and directories `places`, and every record of the stores in
// `stores` with the keys of the configuration, without asking what is visible. Beside a running
// service; changes nothing.
Result<ThiefsView> LookAsThief(const Config& config,
                               const std::vector<std::filesystem::path>& places,
                               const std::vector<std::filesystem::path>& stores,
                               const std::string& word);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_THIEF_H_
