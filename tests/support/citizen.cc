#include "tests/support/citizen.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

extern char** environ;  // NOLINT

namespace mayfly::testing {
namespace {

constexpr std::chrono::seconds kPatience{60};

std::optional<std::filesystem::path> Folder(const CitizenClient& client) {
  std::vector<std::filesystem::path> candidates;
  if (const char* given = std::getenv("MAYFLY_CITIZEN_DIR")) candidates.emplace_back(given);
  candidates.emplace_back(MAYFLY_BINARY_DIR);
  candidates.emplace_back(std::filesystem::path(MAYFLY_SOURCE_DIR) / "tests/e2e");
  for (const auto& parent : candidates) {
    const std::filesystem::path folder = parent / client.folder;
    const std::filesystem::path package = folder / "node_modules" / client.package;
    std::error_code ignored;
    if (std::filesystem::exists(folder / "citizen.mjs", ignored) &&
        std::filesystem::exists(package / "package.json", ignored)) {
      return folder;
    }
  }
  return std::nullopt;
}

struct Ended {
  int exit_code = -1;
  std::string out;
  std::string errors;
};

Ended Run(const std::vector<std::string>& command) {
  Ended ended;
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (pipe(out.data()) != 0 || pipe(err.data()) != 0) return ended;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  for (const int fd : {out[0], out[1], err[0], err[1]}) {
    posix_spawn_file_actions_addclose(&actions, fd);
  }
  std::vector<char*> argv;
  for (const std::string& part : command) argv.push_back(const_cast<char*>(part.c_str()));
  argv.push_back(nullptr);
  pid_t child = -1;
  const int spawned = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  if (spawned == 0) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    std::array<pollfd, 2> waits = {pollfd{out[0], POLLIN, 0}, pollfd{err[0], POLLIN, 0}};
    bool late = false;
    while (!late && (waits[0].fd >= 0 || waits[1].fd >= 0)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      late = left.count() <= 0 ||
             poll(waits.data(), waits.size(), static_cast<int>(left.count())) == 0;
      for (std::size_t i = 0; i < waits.size() && !late; ++i) {
        if (waits[i].fd < 0 || waits[i].revents == 0) continue;
        std::array<char, 4096> buffer{};
        const ssize_t got = read(waits[i].fd, buffer.data(), buffer.size());
        if (got <= 0) {
          waits[i].fd = -1;
        } else {
          (i == 0 ? ended.out : ended.errors).append(buffer.data(), static_cast<std::size_t>(got));
        }
      }
    }
    if (late) kill(child, SIGKILL);
    int status = 0;
    if (waitpid(child, &status, 0) == child && WIFEXITED(status)) {
      ended.exit_code = WEXITSTATUS(status);
    }
  }
  close(out[0]);
  close(err[0]);
  return ended;
}

}  // namespace

std::string CitizenMissing(const CitizenClient& client) {
  if (Run({"node", "--version"}).exit_code != 0) return "Node is not installed";
  if (Folder(client)) return {};
  return std::string(client.package) + " is not installed: npm ci in tests/e2e/" + client.folder;
}

CitizenResult RunCitizen(const std::vector<std::string>& arguments, const CitizenClient& client) {
  const auto folder = Folder(client);
  if (!folder) return {};
  std::vector<std::string> command = {"node", (*folder / "citizen.mjs").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Ended ended = Run(command);
  return {
      .exit_code = ended.exit_code, .out = std::move(ended.out), .errors = std::move(ended.errors)};
}

}  // namespace mayfly::testing
