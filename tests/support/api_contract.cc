#include "tests/support/api_contract.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>

#include <gtest/gtest.h>
#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "tests/support/json_schema.h"

namespace mayfly::testing {
namespace {

using rapidjson::Document;
using rapidjson::Value;
using service::api::Request;
using Breaks = std::vector<std::string>;

constexpr const char* kMethods[] = {"get", "post", "put", "patch", "delete"};

// Of HTTP, or told in the document's introduction.
bool IsEverywhere(const std::string& header) {
  static const std::set<std::string> names = {"content-type", "content-length",
                                              "connection",   "x-content-type-options",
                                              "allow",        "transfer-encoding"};
  return names.contains(header);
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

std::string Quoted(const std::string& text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.c_str(), static_cast<rapidjson::SizeType>(text.size()));
  return buffer.GetString();
}

// A part of a JSON Pointer.
std::string Part(const std::string& name) {
  std::string part = "/";
  for (const char c : name) {
    if (c == '~') {
      part += "~0";
    } else if (c == '/') {
      part += "~1";
    } else {
      part += c;
    }
  }
  return part;
}

std::vector<std::string> SegmentsOf(const std::string& path) {
  std::vector<std::string> segments;
  std::istringstream in(path.substr(1));
  for (std::string segment; std::getline(in, segment, '/');) segments.push_back(segment);
  return segments;
}

class Contract {
 public:
  static Contract& Get() {
    static Contract contract;
    return contract;
  }

  const std::string& text() const { return text_; }

  std::set<std::string> Operations() const {
    std::set<std::string> operations;
    for (const auto& path : document_["paths"].GetObject()) {
      for (const char* method : kMethods) {
        if (!path.value.HasMember(method)) continue;
        std::string upper = method;
        for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
        operations.insert(upper + " " + path.name.GetString());
      }
    }
    return operations;
  }

  // The pattern of the path, or nothing.
  std::optional<std::string> PathOf(const Request& request) const {
    std::optional<std::string> fits;
    for (const auto& path : document_["paths"].GetObject()) {
      const std::string pattern = path.name.GetString();
      const auto segments = SegmentsOf(pattern);
      const bool same =
          std::equal(segments.begin(), segments.end(), request.path.begin(), request.path.end(),
                     [](const std::string& part, const std::string& segment) {
                       return part.front() == '{' ? !segment.empty() : part == segment;
                     });
      // One without a capture is the nearer one.
      if (same && (!fits || pattern.find('{') == std::string::npos)) fits = pattern;
    }
    return fits;
  }

  Breaks Check(const Request& request, const ContractAnswer& answer) {
    const std::lock_guard lock(mutex_);
    const auto path = PathOf(request);
    const std::string method = request.method == "HEAD" ? "get" : Lower(request.method);
    const std::string at = path ? "/paths" + Part(*path) + "/" + method : "";
    const Value* operation = path ? Find(at) : nullptr;
    if (operation == nullptr) return CheckListener(answer);
    const std::string response_at = Resolve(at + "/responses/" + std::to_string(answer.status));
    if (response_at.empty()) return CheckListener(answer);

    Breaks breaks;
    CheckHeaders(response_at + "/headers", answer, breaks);
    CheckBody(response_at + "/content", request, answer, breaks);
    if (answer.status < 300) CheckRequest(*path, at, request, breaks);
    return breaks;
  }

 private:
  Contract() {
    std::ifstream in(std::string(MAYFLY_SOURCE_DIR) + "/service/api/openapi.json");
    std::ostringstream text;
    text << in.rdbuf();
    text_ = text.str();
    if (document_.Parse(text_.c_str()).HasParseError()) {
      throw std::runtime_error("service/api/openapi.json is not JSON");
    }
  }

  const Value* Find(const std::string& pointer) const {
    return rapidjson::Pointer(pointer.c_str()).Get(document_);
  }

  // The pointer behind references; empty when nothing is there.
  std::string Resolve(std::string pointer) const {
    for (int i = 0; i < 10; ++i) {
      const Value* value = Find(pointer);
      if (value == nullptr) return "";
      if (!value->IsObject() || !value->HasMember("$ref")) return pointer;
      pointer = std::string((*value)["$ref"].GetString()).substr(1);
    }
    throw std::runtime_error("a $ref refers to itself");
  }

  const JsonSchema& SchemaAt(const std::string& pointer, JsonSchema::Unknown unknown) {
    const std::string key = (unknown == JsonSchema::Unknown::kRefused ? "closed " : "") + pointer;
    auto found = schemas_.find(key);
    if (found == schemas_.end()) {
      found = schemas_.emplace(key, JsonSchema(text_, pointer, unknown)).first;
    }
    return found->second;
  }

  // What HTTP itself asks for, and what has no operation.
  Breaks CheckListener(const ContractAnswer& answer) {
    const Value* words = Find("/x-listener-problems/statuses/" + std::to_string(answer.status));
    if (words == nullptr) {
      return {"status " + std::to_string(answer.status) + " is not listed"};
    }
    Breaks breaks;
    const auto type = answer.headers.find("content-type");
    if (type == answer.headers.end() || type->second != "application/problem+json") {
      breaks.push_back("it is not application/problem+json");
    }
    const std::string wrong =
        SchemaAt("/components/schemas/Problem", JsonSchema::Unknown::kRefused).Check(answer.body);
    if (!wrong.empty()) return {"the problem: " + wrong};
    Document problem;
    problem.Parse(answer.body.c_str());
    const std::string word =
        std::string(problem["type"].GetString()).substr(std::string("/problems/").size());
    const auto listed = words->GetArray();
    if (std::none_of(listed.begin(), listed.end(),
                     [&](const Value& one) { return word == one.GetString(); })) {
      breaks.push_back("problem " + word + " is not listed for status " +
                       std::to_string(answer.status));
    }
    return breaks;
  }

  void CheckHeaders(const std::string& at, const ContractAnswer& answer, Breaks& breaks) {
    std::set<std::string> documented;
    if (const Value* headers = Find(at)) {
      for (const auto& header : headers->GetObject()) {
        const std::string name = Lower(header.name.GetString());
        documented.insert(name);
        const std::string where = Resolve(at + Part(header.name.GetString()));
        const auto got = answer.headers.find(name);
        if (got == answer.headers.end()) {
          const bool listeners =
              name == "x-request-id" || name == "cache-control" || name == "date";
          const Value* required = Find(where + "/required");
          if (required != nullptr && required->GetBool() && (answer.over_socket || !listeners)) {
            breaks.push_back("header " + name + " is missing");
          }
          continue;
        }
        const std::string wrong =
            SchemaAt(where + "/schema", JsonSchema::Unknown::kAllowed).Check(Quoted(got->second));
        if (!wrong.empty()) breaks.push_back("header " + name + ": " + wrong);
      }
    }
    for (const auto& [name, value] : answer.headers) {
      if (!documented.contains(name) && !IsEverywhere(name)) {
        breaks.push_back("header " + name + " is not documented");
      }
    }
  }

  void CheckBody(const std::string& at, const Request& request, const ContractAnswer& answer,
                 Breaks& breaks) {
    const Value* content = Find(at);
    if (content == nullptr) {
      if (!answer.body.empty()) breaks.push_back("a body is not documented");
      return;
    }
    const auto type = answer.headers.find("content-type");
    const std::string name = type == answer.headers.end() ? "" : type->second;
    if (!content->HasMember(name.c_str())) {
      breaks.push_back("media type \"" + name + "\" is not documented");
      return;
    }
    if (request.method == "HEAD") return;
    if (name == "application/octet-stream") return;  // any bytes
    const bool json = name.starts_with("application/");
    const std::string wrong = SchemaAt(at + Part(name) + "/schema", JsonSchema::Unknown::kRefused)
                                  .Check(json ? answer.body : Quoted(answer.body));
    if (!wrong.empty()) breaks.push_back("the body: " + wrong);
  }

  // A request that was accepted must be one that the contract allows.
  void CheckRequest(const std::string& path, const std::string& at, const Request& request,
                    Breaks& breaks) {
    std::map<std::string, std::string> known;  // "query limit" -> where
    for (const std::string& list : {"/paths" + Part(path) + "/parameters", at + "/parameters"}) {
      const Value* parameters = Find(list);
      for (std::size_t i = 0; parameters != nullptr && i < parameters->Size(); ++i) {
        const std::string where = Resolve(list + "/" + std::to_string(i));
        const Value& parameter = *Find(where);
        known[std::string(parameter["in"].GetString()) + " " + parameter["name"].GetString()] =
            where;
      }
    }
    const auto segments = SegmentsOf(path);
    for (std::size_t i = 0; i < segments.size(); ++i) {
      if (segments[i].front() != '{') continue;
      const std::string name = segments[i].substr(1, segments[i].size() - 2);
      CheckParameter(known, "path " + name, request.path[i], breaks);
    }
    for (const auto& [name, value] : request.query) {
      CheckParameter(known, "query " + name, value, breaks);
    }
    for (const auto& [key, where] : known) {
      if (!key.starts_with("header ")) continue;
      const std::string* value = request.Header(Lower(key.substr(7)));
      const Value& parameter = *Find(where);
      if (value != nullptr) {
        CheckParameter(known, key, *value, breaks);
      } else if (parameter.HasMember("required") && parameter["required"].GetBool()) {
        breaks.push_back("it was accepted without " + key);
      }
    }
    const Value* body = Find(at + "/requestBody");
    if (body == nullptr) {
      if (!request.body.empty()) breaks.push_back("a body was accepted that is not documented");
      return;
    }
    const std::string wrong = SchemaAt(at + "/requestBody/content/application~1json/schema",
                                       JsonSchema::Unknown::kAllowed)
                                  .Check(request.body);
    if (!wrong.empty()) breaks.push_back("a body was accepted although " + wrong);
  }

  void CheckParameter(const std::map<std::string, std::string>& known, const std::string& key,
                      const std::string& value, Breaks& breaks) {
    const auto found = known.find(key);
    if (found == known.end()) {
      breaks.push_back("it was accepted with " + key + ", which is not documented");
      return;
    }
    const std::string schema_at = Resolve(found->second + "/schema");
    const std::string type = (*Find(schema_at))["type"].GetString();
    const std::string wrong = SchemaAt(schema_at, JsonSchema::Unknown::kAllowed)
                                  .Check(type == "string" ? Quoted(value) : value);
    if (!wrong.empty()) breaks.push_back(key + " was accepted although " + wrong);
  }

  std::mutex mutex_;
  std::string text_;
  Document document_;
  std::map<std::string, JsonSchema> schemas_;
};

std::mutex count_mutex;
ContractCount count;

// Says at the end how much was judged.
class Summary final : public ::testing::Environment {
 public:
  void TearDown() override {
    const ContractCount counted = Counted();
    std::cout << "contract: " << counted.answers << " answers held against openapi.json; "
              << counted.succeeded.size() << " of " << ContractOperations().size()
              << " operations succeeded\n";
  }
};
[[maybe_unused]] ::testing::Environment* const summary =
    ::testing::AddGlobalTestEnvironment(new Summary);

}  // namespace

Breaks BreaksOfContract(const Request& request, const ContractAnswer& answer) {
  if (request.admin_socket || (!request.path.empty() && request.path.front() == "admin")) return {};
  return Contract::Get().Check(request, answer);
}

void ExpectContract(const Request& request, const ContractAnswer& answer) {
  const auto path = Contract::Get().PathOf(request);
  if (request.admin_socket) return;
  {
    const std::lock_guard lock(count_mutex);
    ++count.answers;
    if (path && answer.status >= 200 && answer.status < 300 && request.method != "HEAD") {
      count.succeeded.insert(request.method + " " + *path);
    }
  }
  for (const std::string& sentence : BreaksOfContract(request, answer)) {
    ADD_FAILURE() << "openapi.json: " << request.method << " " << path.value_or("(no such path)")
                  << " -> " << answer.status << ": " << sentence;
  }
}

void ExpectContract(const Request& request, const service::api::Response& response) {
  ContractAnswer answer{.status = response.status, .body = response.body};
  for (const auto& [name, value] : response.headers) answer.headers[Lower(name)] = value;
  if (!response.body.empty()) answer.headers["content-type"] = response.content_type;
  if (response.events) answer.headers["content-type"] = "text/event-stream";
  if (response.source) answer.headers["content-type"] = response.content_type;
  ExpectContract(request, answer);
}

ContractCount Counted() {
  const std::lock_guard lock(count_mutex);
  return count;
}

std::set<std::string> ContractOperations() { return Contract::Get().Operations(); }

const std::string& ContractText() { return Contract::Get().text(); }

}  // namespace mayfly::testing
