// Asks a simulator over HTTP, one connection for each request, and shows the answer as it is.
#ifndef MAYFLY_TESTS_SUPPORT_SIMULATOR_CLIENT_H_
#define MAYFLY_TESTS_SUPPORT_SIMULATOR_CLIENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "store/model/json.h"
#include "tests/support/api_raw_client.h"

namespace mayfly::testing {

class SimulatorClient {
 public:
  // An empty token: no Authorization header.
  SimulatorClient(std::uint16_t port, std::string token) : port_(port), token_(std::move(token)) {}

  // Nothing when the connection ends without an answer.
  std::optional<RawResponse> TryAsk(const std::string& method, const std::string& target,
                                    const std::string& body = "",
                                    const std::string& content_type = "application/json",
                                    const std::map<std::string, std::string>& headers = {}) const {
    std::string request = method + " " + target + " HTTP/1.1\r\nHost: simulator\r\n";
    if (!token_.empty()) request += "Authorization: Bearer " + token_ + "\r\n";
    for (const auto& [name, value] : headers) request += name + ": " + value + "\r\n";
    if (!body.empty()) request += "Content-Type: " + content_type + "\r\n";
    if (!body.empty() || method != "GET") {
      request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    }
    return RawClient(port_).Ask(request + "\r\n" + body);
  }
  RawResponse Ask(const std::string& method, const std::string& target,
                  const std::string& body = "",
                  const std::string& content_type = "application/json",
                  const std::map<std::string, std::string>& headers = {}) const {
    auto response = TryAsk(method, target, body, content_type, headers);
    if (!response) throw std::runtime_error("no answer to " + method + " " + target);
    return *std::move(response);
  }
  RawResponse Get(const std::string& target) const { return Ask("GET", target); }

  // The answer's JSON; throws, and so fails the test, for any other status than 200.
  json::Value GetJson(const std::string& target) const { return Parse(Get(target)); }
  json::Value PostJson(const std::string& target, const std::string& body,
                       const std::map<std::string, std::string>& headers = {}) const {
    return Parse(Ask("POST", target, body, "application/json", headers));
  }
  static json::Value Parse(const RawResponse& response) {
    if (response.status != 200) {
      throw std::runtime_error("status " + std::to_string(response.status) + ": " + response.body);
    }
    return json::Parse(response.body, {.bytes_max = 64u << 20, .items_max = 1'000'000}).value();
  }

 private:
  std::uint16_t port_;
  std::string token_;
};

// One member of each item of a list, in order; a dot leads into an object ("last_status.id").
inline std::vector<std::string> Column(const json::Value& list, const std::string& path) {
  std::vector<std::string> column;
  for (const json::Value& item : *list.AsArray()) {
    const std::size_t dot = path.find('.');
    const json::Value& holder = dot == std::string::npos ? item : *item.Find(path.substr(0, dot));
    column.push_back(holder.String(path.substr(dot == std::string::npos ? 0 : dot + 1)).value());
  }
  return column;
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SIMULATOR_CLIENT_H_
