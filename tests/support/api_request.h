// Requests for tests of handlers, parsed as the listener parses them.
#ifndef MAYFLY_TESTS_SUPPORT_API_REQUEST_H_
#define MAYFLY_TESTS_SUPPORT_API_REQUEST_H_

#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "service/api/dispatch.h"
#include "service/api/head.h"

namespace mayfly::testing {

inline service::api::Request MakeRequest(const std::string& method, const std::string& target,
                                         const std::map<std::string, std::string>& headers = {},
                                         std::string body = "") {
  std::string head = method + " " + target + " HTTP/1.1\r\nHost: mayfly\r\n";
  for (const auto& [name, value] : headers) head += name + ": " + value + "\r\n";
  if (!body.empty()) head += "Content-Type: application/json\r\n";
  auto parsed = service::api::ParseHead(head + "\r\n", {});
  if (!parsed) throw std::runtime_error("not a request: " + method + " " + target);
  service::api::Request request = std::move(parsed->request);
  request.id = service::api::NewRequestId();
  request.body = std::move(body);
  return request;
}

inline std::string HeaderOf(const service::api::Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_API_REQUEST_H_
