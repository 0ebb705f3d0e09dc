// An office for a demonstration: the real service in processes of its own, a simulated platform in
// this one, a clock for both, a token for each role. Ends what it started.
#ifndef MAYFLY_SERVICE_DEMO_DEMO_OFFICE_H_
#define MAYFLY_SERVICE_DEMO_DEMO_OFFICE_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <sys/types.h>

#include "connectors/platform_simulator.h"
#include "service/admin_client.h"
#include "service/demo/demo_clock.h"
#include "store/model/json.h"

namespace mayfly::service {

struct DemoSetup {
  std::string platform = "bluesky";
  int port = 8080;                  // on 127.0.0.1; 0 lets the kernel choose
  std::filesystem::path data = {};  // empty: a temporary directory, which goes at the end
  std::string tokens_file = {};     // empty: none is written
  double clock_rate = 1.0;
};

// Not thread-safe, but for the platform and the clock.
class DemoOffice {
 public:
  // Starts the service. Before this process has threads; SIGCHLD tells of its end.
  static Result<std::unique_ptr<DemoOffice>> Start(const DemoSetup& setup);
  ~DemoOffice();
  DemoOffice(const DemoOffice&) = delete;
  DemoOffice& operator=(const DemoOffice&) = delete;

  // The platform begins. The service need not be ready.
  Status StartPlatform();
  Status AwaitReady();  // half a minute at most
  Status MakeTokens();  // 90 days of the demo's clock
  Status ConnectAccount();

  Result<LocalResponse> Ask(const std::string& role, const std::string& method,
                            const std::string& target, const std::string& body = "",
                            std::map<std::string, std::string> headers = {});
  // The items of a list answer; none when it is no good one.
  static json::Array ItemsOf(const Result<LocalResponse>& answer);

  DemoClock& clock() { return *clock_; }
  connectors::PlatformSimulator& platform() { return *platform_; }
  const std::map<std::string, std::string>& tokens() const { return tokens_; }
  TimePoint tokens_end() const { return tokens_end_; }
  std::string Address() const;
  const std::filesystem::path& dir() const { return dir_; }
  const std::filesystem::path& config_file() const { return config_file_; }
  const std::filesystem::path& clock_file() const { return clock_file_; }
  pid_t service() const { return service_; }  // its supervisor

 private:
  explicit DemoOffice(const DemoSetup& setup) : setup_(setup) {}
  Status Prepare();
  Status StartService();

  const DemoSetup setup_;
  std::filesystem::path dir_, clock_file_, config_file_, socket_;
  bool temporary_ = false;
  pid_t service_ = -1;
  std::unique_ptr<DemoClock> clock_;
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::map<std::string, std::string> tokens_;
  TimePoint tokens_end_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_DEMO_DEMO_OFFICE_H_
