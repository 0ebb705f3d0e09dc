#include "tests/support/platform_contract.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <rapidjson/schema.h>
#include <rapidjson/stringbuffer.h>

namespace mayfly::testing {
namespace {

using rapidjson::Document;
using rapidjson::Value;

// Of a schema keep what refuses something, so that notes for readers are never taken for schemas.
// Recursion stays as it is: references are resolved while validating.
bool Refuses(const std::string& word) {
  for (const char* each : {"$ref", "type", "enum", "required", "properties", "items", "allOf",
                           "anyOf", "oneOf", "additionalProperties", "minimum", "maximum",
                           "minLength", "maxLength", "minItems", "maxItems", "pattern"}) {
    if (word == each) return true;
  }
  return false;
}

Value Cleaned(const Value& schema, Document::AllocatorType& allocator) {
  if (!schema.IsObject()) return Value(schema, allocator);
  Value out(rapidjson::kObjectType);
  for (const auto& member : schema.GetObject()) {
    const std::string word = member.name.GetString();
    if (!Refuses(word)) continue;
    Value value;
    if (word == "properties") {
      value.SetObject();
      for (const auto& property : member.value.GetObject()) {
        value.AddMember(Value(property.name, allocator), Cleaned(property.value, allocator),
                        allocator);
      }
    } else if (word == "allOf" || word == "anyOf" || word == "oneOf") {
      value.SetArray();
      for (const Value& one : member.value.GetArray()) {
        value.PushBack(Cleaned(one, allocator), allocator);
      }
    } else if (word == "items" || word == "additionalProperties") {
      value = Cleaned(member.value, allocator);
    } else {
      value = Value(member.value, allocator);
    }
    out.AddMember(Value(member.name, allocator), value, allocator);
  }
  return out;
}

void RemoveNulls(Value& value) {
  if (value.IsArray()) {
    for (Value& item : value.GetArray()) RemoveNulls(item);
  } else if (value.IsObject()) {
    for (auto it = value.MemberBegin(); it != value.MemberEnd();) {
      RemoveNulls(it->value);
      it = it->value.IsNull() ? value.EraseMember(it) : std::next(it);
    }
  }
}

std::string TextOf(const rapidjson::Pointer& pointer) {
  rapidjson::StringBuffer buffer;
  pointer.Stringify(buffer);
  return buffer.GetString();
}

std::string Escaped(const std::string& part) {
  std::string out;
  for (const char c : part) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

}  // namespace

struct PlatformContract::Impl {
  Document document;
};

PlatformContract::PlatformContract(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PlatformContract::~PlatformContract() = default;

std::unique_ptr<PlatformContract> PlatformContract::Open(const std::string& file,
                                                         std::string* reason) {
  const std::filesystem::path path =
      std::filesystem::path(MAYFLY_SOURCE_DIR) / "../shared/contracts" / file;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    *reason =
        "the platform's description is not beside the source tree: ../shared/contracts/" + file;
    return nullptr;
  }
  std::ostringstream text;
  text << stream.rdbuf();
  auto impl = std::make_unique<Impl>();
  if (impl->document.Parse(text.str().c_str()).HasParseError()) {
    throw std::runtime_error("no JSON: " + file);
  }
  return std::unique_ptr<PlatformContract>(new PlatformContract(std::move(impl)));
}

std::string PlatformContract::Check(const std::string& method, const std::string& path, int status,
                                    const std::string& json) const {
  std::string lower = method;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  std::string at = "/paths/" + Escaped(path) + "/" + lower + "/responses/" + std::to_string(status);
  const Value* response = rapidjson::Pointer(at.c_str()).Get(impl_->document);
  if (response != nullptr && response->HasMember("$ref")) {
    at = std::string((*response)["$ref"].GetString()).substr(1);
    response = rapidjson::Pointer(at.c_str()).Get(impl_->document);
  }
  if (response == nullptr) return "not described: " + method + " " + path + " " + at;
  const Value* schema = rapidjson::Pointer("/content/application~1json/schema").Get(*response);
  if (schema == nullptr) schema = rapidjson::Pointer("/schema").Get(*response);  // Swagger 2.0
  if (schema == nullptr) return "no schema: " + method + " " + path + " " + std::to_string(status);

  // One document with the answer's schema at its root and everything that it may refer to.
  Document rules(rapidjson::kObjectType);
  auto& allocator = rules.GetAllocator();
  for (const char* place : {"/components/schemas", "/definitions"}) {
    const Value* named = rapidjson::Pointer(place).Get(impl_->document);
    if (named == nullptr) continue;
    Value schemas(rapidjson::kObjectType);
    for (const auto& member : named->GetObject()) {
      schemas.AddMember(Value(member.name, allocator), Cleaned(member.value, allocator), allocator);
    }
    rapidjson::Pointer(place).Set(rules, schemas, allocator);
  }
  while (schema->HasMember("$ref")) {
    const std::string leads = std::string((*schema)["$ref"].GetString()).substr(1);
    schema = rapidjson::Pointer(leads.c_str()).Get(impl_->document);
    if (schema == nullptr) return "a $ref leads nowhere: " + leads;
  }
  Value root = Cleaned(*schema, allocator);
  for (auto& member : root.GetObject()) rules.AddMember(member.name, member.value, allocator);

  Document value;
  if (value.Parse(json.c_str(), json.size()).HasParseError()) return "it is not JSON";
  if (impl_->document.HasMember("swagger")) RemoveNulls(value);  // 2.0 cannot say "or null"
  const rapidjson::SchemaDocument compiled(rules);
  rapidjson::SchemaValidator validator(compiled);
  if (value.Accept(validator)) return "";
  return std::string("it breaks \"") + validator.GetInvalidSchemaKeyword() + "\" at \"" +
         TextOf(validator.GetInvalidDocumentPointer()) + "\" (rule at \"" +
         TextOf(validator.GetInvalidSchemaPointer()) + "\")";
}

}  // namespace mayfly::testing
