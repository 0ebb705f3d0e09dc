// The command line: init, serve, unseal, key create, key rotate, token create, expire --dry-run,
// status, clock, reload, backup, restore, verify, check-receipt, package-key, open-package,
// version, and the hidden `core` that the supervisor starts. While the service runs, commands ask
// it over its Unix socket; they open the store themselves only when no service runs.
#ifndef MAYFLY_SERVICE_COMMAND_LINE_H_
#define MAYFLY_SERVICE_COMMAND_LINE_H_

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "service/app.h"

namespace CLI {
class App;
}

namespace mayfly::service {

// What a program built on this command line adds. `mayfly` adds nothing.
struct ProgramTraits {
  std::string name = "mayfly";
  // Adds options and commands, before parsing.
  std::function<void(CLI::App&)> extend;
  // Filled after parsing, before a command runs.
  std::function<CoreHooks()> core_hooks;
  // Passed on to the core by `serve`.
  std::function<std::vector<std::string>()> core_arguments;
  // Before `serve` starts the core again; a growing one when this or its answer is empty.
  std::function<std::optional<std::chrono::milliseconds>()> core_restart_delay;
};

// Parses and runs. Returns the process's exit code: 0, 1 for a failure, 2 for wrong usage, 78 for a
// wrong configuration.
int RunCommandLine(int argc, char** argv, const ProgramTraits& traits);

// The directory that this program lies in, where mayfly-worker is found as well.
std::filesystem::path ProgramPath();

// `init`: writes configuration, master key, keys and store. Overwrites nothing.
Status Initialise(const std::filesystem::path& config_file, const InitAnswers& answers,
                  const store::Passphrase& passphrase = {});

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_COMMAND_LINE_H_
