#include "tests/support/service_process.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "connectors/registry.h"
#include "service/admin_client.h"
#include "service/demo/office_account.h"
#include "store/keys/file_system.h"
#include "store/model/ids.h"
#include "tests/support/api_contract.h"
#include "tests/support/api_request.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                   "/children");
  pid_t child = 0;
  while (in >> child) children.push_back(child);
  return children;
}

std::string CommandLineOf(pid_t pid) {
  return ReadFile("/proc/" + std::to_string(pid) + "/cmdline");
}

// Short and never growing: these tests end processes more often than life does.
constexpr const char* kRestartDelayMs = "50";

bool ThroughProxy() { return std::getenv("MAYFLY_VALIDATING_PROXY") != nullptr; }

class NothingWithoutTheProxy final : public ::testing::Environment {
 public:
  void SetUp() override {
    if (!ThroughProxy() || ValidatingProxy::Missing().empty()) return;
    std::cout << "SKIPPED: " << ValidatingProxy::Missing() << "\n";
    GTEST_SKIP() << ValidatingProxy::Missing();
  }
};
[[maybe_unused]] ::testing::Environment* const nothing_without_the_proxy =
    ::testing::AddGlobalTestEnvironment(new NothingWithoutTheProxy);

// A pause between looks at another process; what the test waits for decides, not this length.
void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

}  // namespace

const json::Array& Answer::Items() const {
  static const json::Array none;
  const json::Value* items = json.Find("items");
  return items != nullptr && items->is_array() ? *items->AsArray() : none;
}

std::vector<std::string> Platforms() {
  std::vector<std::string> names;
  for (const connectors::ConnectorInfo* info : connectors::AllConnectors()) {
    names.push_back(info->name);
  }
  return names;
}

std::string PlatformName(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

double RateFor(const std::string& platform) {
  const auto interval = connectors::FindConnector(platform)->capabilities.poll_interval_min;
  return std::max(2.0, std::chrono::duration<double>(interval).count() * 2);
}

std::vector<std::string> SecretsOf(const connectors::PlatformSimulator::Office& office) {
  std::vector<std::string> secrets;
  const json::Value credential = json::Parse(office.credential.Reveal()).value();
  for (const auto& [name, value] : *credential.AsObject()) secrets.push_back(*value.AsString());
  return secrets;
}

std::unique_ptr<connectors::PlatformSimulator> StartPlatform(const std::string& platform,
                                                             ServiceProcess& service) {
  return connectors::StartPlatformSimulator(platform, service.clock()).value();
}

std::string ProgramDir() { return MAYFLY_BINARY_DIR; }

RunResult RunProgram(const std::vector<std::string>& command) {
  int out[2], err[2];
  if (::pipe(out) != 0 || ::pipe(err) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    for (int fd : {out[0], out[1], err[0], err[1]}) ::close(fd);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  RunResult result;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  bool out_open = true, err_open = true;
  while ((out_open || err_open) && std::chrono::steady_clock::now() < deadline) {
    pollfd fds[] = {{.fd = out_open ? out[0] : -1, .events = POLLIN},
                    {.fd = err_open ? err[0] : -1, .events = POLLIN}};
    if (::poll(fds, 2, 1'000) <= 0) continue;
    char buffer[4096];
    if (fds[0].revents != 0) {
      const ssize_t n = ::read(out[0], buffer, sizeof(buffer));
      if (n > 0) result.out.append(buffer, static_cast<std::size_t>(n));
      out_open = n > 0;
    }
    if (fds[1].revents != 0) {
      const ssize_t n = ::read(err[0], buffer, sizeof(buffer));
      if (n > 0) result.err.append(buffer, static_cast<std::size_t>(n));
      err_open = n > 0;
    }
  }
  ::close(out[0]);
  ::close(err[0]);
  if (out_open || err_open) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

bool Eventually(const std::function<bool()>& condition, int seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    Pause();
  }
  return true;
}

std::map<std::string, std::string> ReadTree(const fs::path& dir) {
  std::map<std::string, std::string> files;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(dir, error);
       it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_regular_file(error)) files[it->path().string()] = ReadFile(it->path());
  }
  return files;
}

std::vector<std::string> FindMarker(const std::map<std::string, std::string>& files,
                                    const std::string& marker) {
  const std::string lower = ToHex(marker);
  std::string upper = lower;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::vector<std::string> found;
  for (const auto& [path, bytes] : files) {
    for (const std::string& form : {marker, lower, upper}) {
      if (bytes.find(form) != std::string::npos) found.push_back(path);
    }
  }
  return found;
}

bool OverwritingHolds(const fs::path& file) {
  const auto facts = store::LookAtFileSystem(file);
  return facts && store::Judge(*facts).holds();
}

ServiceProcess::ServiceProcess(TimePoint start_at, double rate) {
  std::string name = (fs::temp_directory_path() / "mayfly-e2e-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
  dir_ = name;
  const fs::path clock_file = dir_ / "clock";
  if (auto made = service::DemoClock::Create(clock_file, start_at, rate); !made) {
    ADD_FAILURE() << made.error().message;
  }
  clock_ = service::DemoClock::Open(clock_file).value();
  clock_->SetRoom(std::uint64_t{40} << 30);  // whatever the machine of the tests has
  std::vector<std::string> init = {ProgramDir() + "/mayfly",
                                   "init",
                                   "--dir",
                                   dir_.string(),
                                   "--insecure-loopback",
                                   "--listen",
                                   "127.0.0.1:0",
                                   "unix:" + (dir_ / "run" / "api.sock").string()};
  // The machine of the tests may have any.
  if (!OverwritingHolds(clock_file)) init.push_back("--any-file-system");
  const RunResult made = RunProgram(init);
  EXPECT_EQ(made.exit_code, 0) << made.err;
  std::ofstream more(config_file(), std::ios::app);
  more << "\n[polling]\ninterval = \"1s\"\n";
  more << "\n[store]\nballast_mib = 16\n";  // tests read every byte of every file
  // Tests ask many times a second, some of them while the clock stands still.
  more << "\n[rate_limits]\nreading = 1000000\nreplying = 1000000\n"
          "administration = 1000000\n";
}

ServiceProcess::~ServiceProcess() {
  if (supervisor_ > 0) {
    Stop();
  }
  if (::testing::Test::HasFailure()) {
    std::cerr << "--- log of the service ---\n" << Log() << "--- end of log ---\n";
  }
  std::error_code ignored;
  fs::remove_all(dir_, ignored);
}

void ServiceProcess::StartWithoutWaiting() {
  const std::string program = ProgramDir() + "/mayfly-demo";
  const std::string config = config_file().string();
  const std::string clock = (dir_ / "clock").string();
  const std::string log = log_file().string();
  const pid_t parent = ::getpid();
  supervisor_ = ::fork();
  if (supervisor_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    std::vector<std::string> words = {
        program,        "serve", "--config",           config,
        "--clock-file", clock,   "--restart-delay-ms", kRestartDelayMs};
    words.insert(words.end(), serve_arguments_.begin(), serve_arguments_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(program.c_str(), arguments.data());
    ::_exit(127);
  }
}

bool ServiceProcess::AwaitAnswer(int seconds) {
  return Eventually(
      [&] {
        auto answer = service::CallUnixSocket(dir_ / "run" / "api.sock", "GET", "/healthz", {}, "");
        return answer && answer->status != 0;
      },
      seconds);
}

void ServiceProcess::Start() {
  StartWithoutWaiting();
  ASSERT_TRUE(AwaitAnswer()) << "the service did not start";
}

int ServiceProcess::Stop() {
  proxy_.reset();
  ::kill(supervisor_, SIGTERM);
  int status = 0;
  const bool ended =
      Eventually([&] { return ::waitpid(supervisor_, &status, WNOHANG) == supervisor_; }, 30);
  if (!ended) {
    ADD_FAILURE() << "the supervisor did not end after SIGTERM";
    ::kill(supervisor_, SIGKILL);
    ::waitpid(supervisor_, &status, 0);
  }
  supervisor_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void ServiceProcess::KillSupervisor() {
  proxy_.reset();
  // Its children notice by themselves; they are awaited so that the next start finds the store
  // free.
  const std::vector<pid_t> children = ChildrenOf(supervisor_);
  ::kill(supervisor_, SIGKILL);
  ::waitpid(supervisor_, nullptr, 0);
  supervisor_ = -1;
  for (const pid_t child : children) {
    EXPECT_TRUE(Eventually([&] { return ::kill(child, 0) != 0; }))
        << "a process outlived its supervisor";
  }
}

std::optional<pid_t> ServiceProcess::CorePid() const {
  for (const pid_t child : ChildrenOf(supervisor_)) {
    if (CommandLineOf(child).find("mayfly-demo") != std::string::npos) return child;
  }
  return std::nullopt;
}

std::optional<pid_t> ServiceProcess::WorkerPid() const {
  for (const pid_t child : ChildrenOf(supervisor_)) {
    if (CommandLineOf(child).find("mayfly-worker") != std::string::npos) return child;
  }
  return std::nullopt;
}

bool ServiceProcess::KillCore() {
  const auto pid = CorePid();
  return pid && ::kill(*pid, SIGKILL) == 0;
}

bool ServiceProcess::KillWorker() {
  const auto pid = WorkerPid();
  return pid && ::kill(*pid, SIGKILL) == 0;
}

void ServiceProcess::MakeTokens() {
  for (const char* role : {"comms", "privacy", "administrator", "auditor", "operator"}) {
    const RunResult made =
        RunProgram({ProgramDir() + "/mayfly-demo", "token", "create", "--config",
                    config_file().string(), "--clock-file", (dir_ / "clock").string(), "--role",
                    role, "--label", "test", "--days", "90"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    tokens_[role] = made.out.substr(0, made.out.find('\n'));
  }
}

Answer ServiceProcess::Ask(const std::string& role, const std::string& method,
                           const std::string& target, const std::string& body,
                           std::map<std::string, std::string> headers) {
  if (!role.empty()) headers["Authorization"] = "Bearer " + tokens_[role];
  Answer answer;
  std::optional<RawResponse> proxied;
  if (ValidatingProxy* const proxy = Proxy(); proxy != nullptr) {
    proxied = proxy->Ask(method, target, headers, body);
  }
  if (proxied) {
    answer = {.status = proxied->status, .body = proxied->body, .headers = proxied->headers};
  } else {
    // Also what a proxy cannot reach: a service whose certificate is not usable, for one.
    auto response =
        service::CallUnixSocket(dir_ / "run" / "api.sock", method, target, headers, body);
    if (!response) return {};
    ExpectContract(MakeRequest(method, target, headers, body), {.status = response->status,
                                                                .headers = response->headers,
                                                                .body = response->body,
                                                                .over_socket = true});
    answer = {.status = response->status, .body = response->body, .headers = response->headers};
  }
  if (auto parsed = json::Parse(answer.body, {.bytes_max = 64u << 20})) answer.json = *parsed;
  return answer;
}

// Started when first needed: most of these tests restart the service, and it is slow to start.
ValidatingProxy* ServiceProcess::Proxy() {
  if (!ThroughProxy() || supervisor_ <= 0) return nullptr;
  if (proxy_ != nullptr) return proxy_.get();
  std::ifstream in(dir_ / "run" / "api.addresses");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("http")) continue;
    proxy_ = std::make_unique<ValidatingProxy>(line, dir_);
    return proxy_.get();
  }
  return nullptr;
}

std::string ServiceProcess::ConnectAccount(const std::string& platform,
                                           const connectors::PlatformSimulator::Office& office,
                                           const std::string& retention) {
  const Answer answer = Ask("administrator", "POST", "/v1/accounts",
                            service::AccountBody(platform, "Office", office, retention));
  EXPECT_EQ(answer.status, 201) << answer.body;
  return answer.Text("id");
}

std::map<std::string, std::string> ServiceProcess::ReadAll() {
  std::map<std::string, std::string> messages;
  std::string inbox_cursor;
  for (int page = 0; page < 100; ++page) {
    const Answer inbox = Ask(
        "comms", "GET",
        "/v1/conversations?limit=200" + (inbox_cursor.empty() ? "" : "&cursor=" + inbox_cursor));
    if (inbox.status != 200) return messages;
    for (const json::Value& conversation : inbox.Items()) {
      const std::string id = conversation.String("id").value_or("");
      std::string cursor;
      for (int thread_page = 0; thread_page < 100; ++thread_page) {
        const Answer thread = Ask("comms", "GET",
                                  "/v1/conversations/" + id + "/messages?limit=200" +
                                      (cursor.empty() ? "" : "&cursor=" + cursor));
        if (thread.status != 200) break;
        for (const json::Value& message : thread.Items()) {
          messages[message.String("id").value_or("")] = message.String("text").value_or("");
        }
        cursor = thread.Text("next_cursor");
        if (cursor.empty()) break;
      }
    }
    inbox_cursor = inbox.Text("next_cursor");
    if (inbox_cursor.empty()) break;
  }
  return messages;
}

std::string ServiceProcess::AwaitMessage(const std::string& text) {
  std::string id;
  EXPECT_TRUE(Eventually([&] {
    for (const auto& [message, body] : ReadAll()) {
      if (body == text) id = message;
    }
    return !id.empty();
  })) << "a message never arrived";
  return id;
}

std::string ReplyBody(const std::string& text, const std::string& after) {
  std::string body;
  json::Writer(&body)
      .StartObject()
      .Field("text", text)
      .Field("after_message_id", after)
      .EndObject();
  return body;
}

std::string ServiceProcess::Log() const { return ReadFile(log_file()); }

}  // namespace mayfly::testing
