// A worker for tests of the supervisor: the real worker loop, and a connector that tells what the
// process finds itself with. Links no platform.
//
// Its check report: own_platform_id is its pid; own_handle the names in its environment;
// permissions_held its open descriptors, permissions_missing its arguments and limits.
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

#include "service/supervisor/supervisor.h"
#include "service/worker/worker.h"
#include "tests/support/fake_connector.h"

extern char** environ;

int main(int argc, char** argv) {
  using mayfly::Result;
  std::uint64_t epoch = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--epoch") epoch = std::strtoull(argv[i + 1], nullptr, 10);
  }
  const auto make = [&](std::string_view, const mayfly::connectors::ConnectorContext&) {
    auto connector = std::make_unique<mayfly::testing::FakeConnector>();
    connector->on_check = [&]() -> Result<mayfly::connectors::CheckReport> {
      mayfly::connectors::CheckReport report;
      report.own_platform_id = std::to_string(getpid());
      for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        report.own_handle += text.substr(0, text.find('=')) + " ";
      }
      for (int fd = 0; fd < 1024; ++fd) {
        // Given by the supervisor; what the worker loop opened itself is marked FD_CLOEXEC.
        if (fcntl(fd, F_GETFD) == 0) report.permissions_held.push_back(std::to_string(fd));
      }
      for (int i = 1; i < argc; ++i) report.permissions_missing.emplace_back(argv[i]);
      rlimit data = {};
      rlimit core = {};
      if (getrlimit(RLIMIT_DATA, &data) == 0 && getrlimit(RLIMIT_CORE, &core) == 0) {
        report.permissions_missing.push_back("data=" + std::to_string(data.rlim_cur));
        report.permissions_missing.push_back("core=" + std::to_string(core.rlim_cur));
      }
      return report;
    };
    return Result<std::unique_ptr<mayfly::connectors::Connector>>(std::move(connector));
  };
  return mayfly::service::RunWorker(mayfly::service::kWorkerFromCoreFd,
                                    mayfly::service::kWorkerToCoreFd, epoch, make);
}
