// What a person and an operator see of the running service: how long until a message can be read,
// and how much memory its processes take. The real programs, each platform's simulator.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/bench/measure.h"
#include "tests/bench/rows.h"
#include "tests/support/service_process.h"

namespace mayfly::bench {
namespace {

using testing::Answer;
using testing::ServiceProcess;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr int kPeople = 20;
constexpr double kIntervalMs = 1'000;  // as ServiceProcess configures it

double ResidentMb(std::optional<pid_t> pid) {
  if (!pid) Die("a process of the service is not there");
  std::ifstream in("/proc/" + std::to_string(*pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  Die("a process of the service has ended");
}

std::string NewestText(ServiceProcess& service) {
  const Answer inbox = service.Ask("comms", "GET", "/v1/conversations?limit=1");
  if (inbox.status != 200 || inbox.Items().empty()) return "";
  const Answer thread = service.Ask(
      "comms", "GET",
      "/v1/conversations/" + inbox.Items().front().String("id").value_or("") + "/messages?limit=1");
  if (thread.status != 200 || thread.Items().empty()) return "";
  return thread.Items().front().String("text").value_or("");
}

void Collect(ServiceProcess& service, connectors::PlatformSimulator& platform, int count) {
  for (int i = 0; i < count; ++i) {
    if (!platform.Write(i % kPeople, "message " + std::to_string(i))) {
      Die("the platform refused a message");
    }
  }
  const auto all = static_cast<std::size_t>(count);
  if (!testing::Eventually([&] { return service.ReadAll().size() >= all; }, 120)) {
    Die("the messages were not collected");
  }
}

// From the platform's word that it has the message until the API shows it, in milliseconds.
std::vector<double> Freshness(ServiceProcess& service, connectors::PlatformSimulator& platform,
                              int count) {
  std::mt19937 random(7);
  std::vector<double> delays;
  for (int i = 0; i < count; ++i) {
    // At any moment between two polls.
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 1'000));
    const std::string text = "fresh " + std::to_string(i);
    if (!platform.Write(i % kPeople, text)) Die("the platform refused a message");
    const auto written = Steady::now();
    while (NewestText(service) != text) {
      if (Steady::now() - written > std::chrono::seconds(30)) Die("a message does not show");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    delays.push_back(std::chrono::duration<double, std::milli>(Steady::now() - written).count());
  }
  std::sort(delays.begin(), delays.end());
  return delays;
}

void MeasureMemory(const std::string& name, Rows& rows) {
  ServiceProcess service(kStart, testing::RateFor(name));
  const auto platform = testing::StartPlatform(name, service);
  service.Start();
  service.MakeTokens();
  service.ConnectAccount(name, platform->office());
  Collect(service, *platform, 2'000);
  const double worker = ResidentMb(service.WorkerPid());
  rows.Add("resident memory of a worker, " + name, "MB", worker, "the bar", 24, "under 24 MB",
           worker < 24);
  const double core = ResidentMb(service.CorePid());
  rows.Add("resident memory of the core, 2,000 messages", "MB", core, "the bar at 1 M", 128,
           "under 128 MB", core < 128);
}

void MeasureFreshness(Rows& rows) {
  // The one platform that may be asked every second.
  ServiceProcess service(kStart);
  const auto platform = testing::StartPlatform("bluesky", service);
  service.Start();
  service.MakeTokens();
  service.ConnectAccount("bluesky", platform->office());
  Collect(service, *platform, kPeople);
  const std::vector<double> delays = Freshness(service, *platform, 60);
  rows.Add("platform has it -> API shows it, median of 60", "ms", delays[delays.size() / 2],
           "poll interval", kIntervalMs, "none", true);
  rows.Add("platform has it -> API shows it, worst of 60", "ms", delays.back(),
           "poll interval + 50 ms", kIntervalMs + 50, "<= 1", delays.back() <= kIntervalMs + 50);
}

}  // namespace
}  // namespace mayfly::bench

// Takes the options of mayfly_bench; --json FILE writes FILE.service beside its FILE.
int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);  // ServiceProcess reports through it
  std::string json_file;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string(argv[i]) == "--json") json_file = std::string(argv[i + 1]) + ".service";
  }
  mayfly::bench::Rows rows;
  mayfly::bench::MeasureFreshness(rows);
  for (const std::string& name : mayfly::testing::Platforms()) {
    mayfly::bench::MeasureMemory(name, rows);
  }
  rows.Print();
  if (!json_file.empty() && !rows.WriteJson(json_file)) {
    std::cerr << "service_bench: " << json_file << " cannot be written\n";
    return 1;
  }
  return 0;
}
