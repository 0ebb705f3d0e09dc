// The real programs under test: supervisor, core and worker as `mayfly-demo serve` starts them, and
// one clock for all of them that the test moves. Simulated platforms run in the test's process.
#ifndef MAYFLY_TESTS_SUPPORT_SERVICE_PROCESS_H_
#define MAYFLY_TESTS_SUPPORT_SERVICE_PROCESS_H_

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "connectors/platform_simulator.h"
#include "service/demo/demo_clock.h"
#include "store/model/json.h"
#include "tests/support/validating_proxy.h"

namespace mayfly::testing {

// The names in connectors.def, for tests that run on each of them.
std::vector<std::string> Platforms();
std::string PlatformName(const ::testing::TestParamInfo<std::string>& info);
// How fast the clock must run so that the service polls this platform twice a second.
double RateFor(const std::string& platform);
// The values in the office's credential.
std::vector<std::string> SecretsOf(const connectors::PlatformSimulator::Office& office);

struct Answer {
  int status = 0;
  std::string body;
  json::Value json;                            // null when the body is not JSON
  std::map<std::string, std::string> headers;  // lower-case names
  std::string Text(std::string_view key) const { return json.String(key).value_or(""); }
  const json::Array& Items() const;  // of a list answer; empty when there are none
};

struct RunResult {
  int exit_code = -1;
  std::string out, err;
};
// Runs a program to its end, at most a minute.
RunResult RunProgram(const std::vector<std::string>& command);

// Polls `condition` until it holds, for at most `seconds` of real time (not the test's clock).
bool Eventually(const std::function<bool()>& condition, int seconds = 60);

std::string ProgramDir();  // where mayfly, mayfly-worker and mayfly-demo lie

// All bytes of all regular files below `dir`, by path.
std::map<std::string, std::string> ReadTree(const std::filesystem::path& dir);
// Places where `marker` stands in them, raw or as hex in either case.
std::vector<std::string> FindMarker(const std::map<std::string, std::string>& files,
                                    const std::string& marker);

// The body of POST /v1/conversations/{id}/replies.
std::string ReplyBody(const std::string& text, const std::string& after);

// Whether the file lies where overwritten keys are gone; tests of grades need that.
bool OverwritingHolds(const std::filesystem::path& file);

class ServiceProcess {
 public:
  // Makes directories, configuration, keys and a clock that runs at `rate`. Nothing runs yet.
  explicit ServiceProcess(TimePoint start_at, double rate = 1.0);
  ~ServiceProcess();  // ends everything that it started

  // Besides those of every start.
  void set_serve_arguments(std::vector<std::string> arguments) {
    serve_arguments_ = std::move(arguments);
  }
  void Start();  // and waits until the port opens
  void StartWithoutWaiting();
  bool AwaitAnswer(int seconds = 60);  // healthz answers
  int Stop();                          // SIGTERM; the supervisor's exit code
  void KillSupervisor();               // SIGKILL
  bool KillCore();                     // SIGKILL; false when there is none at the moment
  bool KillWorker();
  std::optional<pid_t> CorePid() const;
  std::optional<pid_t> WorkerPid() const;
  pid_t supervisor() const { return supervisor_; }

  // Tokens for every role, by `token create` or the running service. Call after Start.
  void MakeTokens();
  const std::string& token(const std::string& role) const { return tokens_.at(role); }
  // Each answer is held against service/api/openapi.json: by our own judge, or, with
  // MAYFLY_VALIDATING_PROXY in the environment, by a proxy that was written elsewhere, through
  // which everything then goes that the service takes over TCP. What it finds wrong fails the
  // test; where it is not installed the whole program is skipped.
  Answer Ask(const std::string& role, const std::string& method, const std::string& target,
             const std::string& body = "", std::map<std::string, std::string> headers = {});
  // The account id. An empty `retention` leaves the ceiling.
  std::string ConnectAccount(const std::string& platform,
                             const connectors::PlatformSimulator::Office& office,
                             const std::string& retention = "");
  // Everything in the inbox: message ids and their texts, through list and thread pages.
  std::map<std::string, std::string> ReadAll();
  // The id of the message with this text, once it was collected. Fails the test, and is empty, when
  // it never arrives.
  std::string AwaitMessage(const std::string& text);

  service::DemoClock& clock() { return *clock_; }
  const std::filesystem::path& dir() const { return dir_; }
  std::filesystem::path data_dir() const { return dir_ / "data"; }
  std::filesystem::path config_file() const { return dir_ / "mayfly.toml"; }
  std::filesystem::path log_file() const { return dir_ / "service.log"; }
  std::string Log() const;

 private:
  ValidatingProxy* Proxy();  // null: ask directly

  std::filesystem::path dir_;
  std::unique_ptr<service::DemoClock> clock_;
  std::map<std::string, std::string> tokens_;
  std::vector<std::string> serve_arguments_;
  pid_t supervisor_ = -1;
  std::unique_ptr<ValidatingProxy> proxy_;  // while the service runs that it was started for
};

// The simulator of `platform` on the clock of `service`, which must outlive it.
std::unique_ptr<connectors::PlatformSimulator> StartPlatform(const std::string& platform,
                                                             ServiceProcess& service);

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SERVICE_PROCESS_H_
