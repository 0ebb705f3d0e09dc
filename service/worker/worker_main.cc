// mayfly-worker: started by the supervisor with the two pipes of one account and nothing else.
//
//   mayfly-worker --epoch N [--read PATH]...
//
// Everything that it must know arrives as the first frame; --read only widens what Landlock lets it
// read, and so has to be known before that.
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <malloc.h>
#include <optional>
#include <string_view>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <vector>

#include "connectors/factory.h"
#include "connectors/http_client.h"
#include "service/link/frames.h"
#include "service/sandbox/sandbox.h"
#include "service/supervisor/supervisor.h"
#include "service/worker/worker.h"

namespace {

constexpr int kExitUsage = 64;
constexpr int kExitSandbox = 71;

struct Arguments {
  std::uint64_t epoch = 0;
  std::vector<std::filesystem::path> read_paths;
};

std::optional<Arguments> ParseArguments(int argc, char** argv) {
  Arguments arguments;
  bool has_epoch = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view value = argv[i + 1];
    if (name == "--epoch") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), arguments.epoch);
      has_epoch = error == std::errc() && end == value.data() + value.size();
      if (!has_epoch) return std::nullopt;
    } else if (name == "--read") {
      arguments.read_paths.emplace_back(value);
    } else {
      return std::nullopt;
    }
  }
  if (argc % 2 == 0 || !has_epoch) return std::nullopt;
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  // The pipe's end tells as well; this also ends a worker that no longer reads its pipe.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(077);
  mallopt(M_ARENA_MAX, 1);
  mayfly::service::IgnoreBrokenPipes();

  std::optional<Arguments> arguments = ParseArguments(argc, argv);
  if (!arguments) {
    std::fprintf(stderr,
                 "mayfly-worker: started by the supervisor only: --epoch N [--read PATH]\n");
    return kExitUsage;
  }

  // Before the first thread: Landlock covers the calling thread and those that it starts.
  std::vector<std::filesystem::path> readable = mayfly::service::DefaultWorkerReadPaths();
  readable.insert(readable.end(), arguments->read_paths.begin(), arguments->read_paths.end());
  const auto sandbox = mayfly::service::EnterWorkerSandbox(readable);
  if (!sandbox) {
    std::fprintf(stderr, "mayfly-worker: %s\n", sandbox.error().message.c_str());
    return kExitSandbox;
  }
  mayfly::connectors::InitialiseHttpThreads();

  const mayfly::service::WorkerSandboxState state{
      .landlock = sandbox->landlock,
      .landlock_abi = static_cast<std::uint32_t>(sandbox->landlock_abi),
  };
  return mayfly::service::RunWorker(mayfly::service::kWorkerFromCoreFd,
                                    mayfly::service::kWorkerToCoreFd, arguments->epoch,
                                    mayfly::connectors::MakeConnector, state);
}
