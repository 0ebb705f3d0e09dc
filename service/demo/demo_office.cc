#include "service/demo/demo_office.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "connectors/registry.h"
#include "service/command_line.h"
#include "service/config.h"
#include "service/demo/office_account.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoles[] = {"comms", "privacy", "administrator", "auditor", "operator"};

}  // namespace

Result<std::unique_ptr<DemoOffice>> DemoOffice::Start(const DemoSetup& setup) {
  std::unique_ptr<DemoOffice> office(new DemoOffice(setup));
  MAYFLY_RETURN_IF_ERROR(office->Prepare());
  MAYFLY_RETURN_IF_ERROR(office->StartService());
  return office;
}

DemoOffice::~DemoOffice() {
  if (service_ > 0) {
    ::kill(service_, SIGTERM);
    int status = 0;
    ::waitpid(service_, &status, 0);
  }
  platform_.reset();
  if (temporary_) {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
}

Status DemoOffice::Prepare() {
  if (setup_.data.empty()) {
    std::string name = (fs::temp_directory_path() / "mayfly-demo-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      return Fail(ErrorCode::kIo, "no temporary directory can be made; give one with --data");
    }
    dir_ = name;
    temporary_ = true;
  } else {
    dir_ = fs::absolute(setup_.data);
    std::error_code error;
    fs::create_directories(dir_, error);
    if (error) return Fail(ErrorCode::kIo, dir_.string() + ": cannot be made");
  }
  clock_file_ = dir_ / "clock";
  config_file_ = dir_ / "mayfly.toml";
  socket_ = dir_ / "run" / "api.sock";
  // The machine's time is where the demo begins; from then on its own clock runs.
  MAYFLY_RETURN_IF_ERROR(DemoClock::Create(clock_file_, SystemClock().Now(), setup_.clock_rate));
  if (!fs::exists(config_file_)) {
    MAYFLY_RETURN_IF_ERROR(Initialise(
        config_file_,
        {.data_dir = dir_ / "data",
         .master_key = dir_ / "master.key",
         .run_dir = dir_ / "run",
         .listen = {"127.0.0.1:" + std::to_string(setup_.port), "unix:" + socket_.string()},
         .insecure_loopback = true,
         .any_file_system = true}));
    std::ofstream more(config_file_, std::ios::app);
    more << "\n[polling]\ninterval = \"1s\"\n";
  }
  MAYFLY_ASSIGN_OR_RETURN(clock_, DemoClock::Open(clock_file_));
  return {};
}

Status DemoOffice::StartService() {
  const fs::path program = ProgramPath();
  const std::string log = (dir_ / "service.log").string();
  const pid_t parent = ::getpid();
  service_ = ::fork();
  if (service_ < 0) return Fail(ErrorCode::kIo, "no process can be started");
  if (service_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::setpgid(0, 0);  // Ctrl-C reaches this demo, which then ends the service in order
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
      ::dup2(fd, STDERR_FILENO);
      ::dup2(fd, STDOUT_FILENO);
    }
    ::execl(program.c_str(), program.c_str(), "serve", "--config", config_file_.c_str(),
            "--clock-file", clock_file_.c_str(), nullptr);
    ::_exit(127);
  }
  return {};
}

Status DemoOffice::StartPlatform() {
  MAYFLY_ASSIGN_OR_RETURN(platform_, connectors::StartPlatformSimulator(setup_.platform, *clock_));
  return {};
}

Status DemoOffice::AwaitReady() {
  for (int i = 0; i < 300; ++i) {
    int status = 0;
    if (::waitpid(service_, &status, WNOHANG) == service_) {
      service_ = -1;
      return Fail(ErrorCode::kUnavailable, "the service ended; its log is " +
                                               (dir_ / "service.log").string() +
                                               (temporary_ ? " (give --data to keep it)" : ""));
    }
    auto ready = CallUnixSocket(socket_, "GET", "/readyz", {}, "");
    if (ready && ready->status == 200) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return Fail(ErrorCode::kUnavailable, "the service did not become ready");
}

Status DemoOffice::MakeTokens() {
  for (const char* role : kRoles) {
    std::string body;
    json::Writer(&body)
        .StartObject()
        .Field("role", role)
        .Field("label", "demo")
        .IntField("days", 90)
        .EndObject();
    MAYFLY_ASSIGN_OR_RETURN(
        const LocalResponse answer,
        CallUnixSocket(dir_ / "run" / "admin.sock", "POST", "/admin/tokens", {}, body));
    MAYFLY_ASSIGN_OR_RETURN(const json::Value parsed, json::Parse(answer.body));
    MAYFLY_ASSIGN_OR_RETURN(tokens_[role], parsed.String("token"));
  }
  tokens_end_ = clock_->Now() + std::chrono::days(90);
  if (setup_.tokens_file.empty()) return {};
  std::string text;
  {
    json::Writer writer(&text);
    writer.StartObject();
    for (const auto& [role, token] : tokens_) writer.Field(role, token);
    writer.EndObject();
  }
  // Written beside and renamed, so that a script never reads half of it.
  const std::string fresh = setup_.tokens_file + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  if (!written || ::rename(fresh.c_str(), setup_.tokens_file.c_str()) != 0) {
    return Fail(ErrorCode::kIo, setup_.tokens_file + ": cannot be written");
  }
  return {};
}

Result<LocalResponse> DemoOffice::Ask(const std::string& role, const std::string& method,
                                      const std::string& target, const std::string& body,
                                      std::map<std::string, std::string> headers) {
  headers["Authorization"] = "Bearer " + tokens_[role];
  return CallUnixSocket(socket_, method, target, headers, body);
}

Status DemoOffice::ConnectAccount() {
  const connectors::ConnectorInfo* info = connectors::FindConnector(setup_.platform);
  MAYFLY_ASSIGN_OR_RETURN(
      const LocalResponse answer,
      Ask("administrator", "POST", "/v1/accounts",
          AccountBody(setup_.platform,
                      "Our office on " + (info != nullptr ? info->display_name : ""),
                      platform_->office())));
  if (answer.status != 201) {
    return Fail(ErrorCode::kUnavailable,
                "the account could not be connected (" + std::to_string(answer.status) + ")");
  }
  return {};
}

std::string DemoOffice::Address() const {
  std::ifstream in(dir_ / "run" / "api.addresses");
  std::string line;
  std::getline(in, line);
  return line;
}

json::Array DemoOffice::ItemsOf(const Result<LocalResponse>& answer) {
  if (!answer || answer->status != 200) return {};
  const auto parsed = json::Parse(answer->body);
  const json::Value* items = parsed ? parsed->Find("items") : nullptr;
  return items != nullptr && items->is_array() ? *items->AsArray() : json::Array();
}

}  // namespace mayfly::service
