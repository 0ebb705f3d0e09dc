#include "tests/support/json_schema.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <rapidjson/schema.h>
#include <rapidjson/stringbuffer.h>

namespace mayfly::testing {
namespace {

using rapidjson::Document;
using rapidjson::Value;

constexpr int kDepthMax = 40;

// Keywords whose values are not schemas and mean the same in both drafts.
const std::set<std::string>& Plain() {
  static const std::set<std::string> words = {
      "type",      "enum",      "required", "pattern",  "minimum",       "maximum",
      "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"};
  return words;
}

// Notes for readers; they refuse nothing. `format` is one of them in 2020-12: what must hold is
// said by a `pattern`.
const std::set<std::string>& Notes() {
  static const std::set<std::string> words = {"title",   "description", "default",   "examples",
                                              "example", "readOnly",    "writeOnly", "format"};
  return words;
}

class Translator {
 public:
  Translator(const Document& document, Document& out, JsonSchema::Unknown unknown)
      : document_(document), allocator_(out.GetAllocator()), unknown_(unknown) {}

  Value Translate(const Value& schema, bool part, int depth = 0) {
    if (depth > kDepthMax) throw std::runtime_error("a schema refers to itself");
    if (!schema.IsObject()) throw std::runtime_error("a schema is not an object");
    Value out(rapidjson::kObjectType);
    for (const auto& member : schema.GetObject()) {
      const std::string word = member.name.GetString();
      if (word == "$ref") {
        // In draft 4 its siblings would be ignored.
        Value all(rapidjson::kArrayType);
        all.PushBack(Translate(Resolve(member.value), part, depth + 1), allocator_);
        if (schema.MemberCount() == 1) return std::move(all[0]);
        Add(out, "allOf", std::move(all));
      } else if (word == "const") {
        Value one(rapidjson::kArrayType);
        one.PushBack(Value(member.value, allocator_), allocator_);
        Add(out, "enum", std::move(one));
      } else if (word == "properties") {
        Value properties(rapidjson::kObjectType);
        for (const auto& property : member.value.GetObject()) {
          Add(properties, property.name.GetString(),
              Translate(property.value, /*part=*/false, depth + 1));
        }
        Add(out, word, std::move(properties));
      } else if (word == "items") {
        Add(out, word, Translate(member.value, /*part=*/false, depth + 1));
      } else if (word == "additionalProperties") {
        Add(out, word,
            member.value.IsBool() ? Value(member.value, allocator_)
                                  : Translate(member.value, /*part=*/false, depth + 1));
      } else if (word == "allOf" || word == "anyOf" || word == "oneOf") {
        Value all(rapidjson::kArrayType);
        for (const Value& one : member.value.GetArray()) {
          // What one of several schemas does not name, another may.
          all.PushBack(Translate(one, /*part=*/true, depth + 1), allocator_);
        }
        Add(out, word, std::move(all));
      } else if (Plain().contains(word)) {
        Add(out, word, Value(member.value, allocator_));
      } else if (!Notes().contains(word)) {
        throw std::runtime_error("a schema uses \"" + word + "\", which is not checked here");
      }
    }
    if (unknown_ == JsonSchema::Unknown::kRefused && !part && out.HasMember("properties") &&
        !out.HasMember("additionalProperties")) {
      Add(out, "additionalProperties", Value(false));
    }
    return out;
  }

  const Value& Resolve(const Value& reference) const {
    const std::string text = reference.GetString();
    const Value* found =
        text.starts_with("#") ? rapidjson::Pointer(text.c_str()).Get(document_) : nullptr;
    if (found == nullptr) throw std::runtime_error("a $ref leads nowhere: " + text);
    return *found;
  }

 private:
  void Add(Value& object, const std::string& name, Value value) {
    object.AddMember(Value(name.c_str(), allocator_), value, allocator_);
  }

  const Document& document_;
  Document::AllocatorType& allocator_;
  const JsonSchema::Unknown unknown_;
};

std::string TextOf(const rapidjson::Pointer& pointer) {
  rapidjson::StringBuffer buffer;
  pointer.Stringify(buffer);
  return buffer.GetString();
}

}  // namespace

struct JsonSchema::Impl {
  Document translated;
  std::unique_ptr<rapidjson::SchemaDocument> schema;
};

JsonSchema::JsonSchema(const std::string& document, const std::string& pointer, Unknown unknown)
    : impl_(std::make_unique<Impl>()) {
  Document parsed;
  if (parsed.Parse(document.c_str(), document.size()).HasParseError()) {
    throw std::runtime_error("the document with the schema is not JSON");
  }
  const Value* schema = rapidjson::Pointer(pointer.c_str()).Get(parsed);
  if (schema == nullptr) throw std::runtime_error("there is no schema at " + pointer);
  Translator translator(parsed, impl_->translated, unknown);
  Value value = translator.Translate(*schema, /*part=*/false);
  static_cast<Value&>(impl_->translated) = std::move(value);
  impl_->schema = std::make_unique<rapidjson::SchemaDocument>(impl_->translated);
}
JsonSchema::JsonSchema(JsonSchema&&) noexcept = default;
JsonSchema::~JsonSchema() = default;

std::string JsonSchema::Check(const std::string& json) const {
  Document value;
  if (value.Parse(json.c_str(), json.size()).HasParseError()) return "it is not JSON";
  rapidjson::SchemaValidator validator(*impl_->schema);
  if (value.Accept(validator)) return "";
  return std::string("it breaks \"") + validator.GetInvalidSchemaKeyword() + "\" at \"" +
         TextOf(validator.GetInvalidDocumentPointer()) + "\" (rule at \"" +
         TextOf(validator.GetInvalidSchemaPointer()) + "\")";
}

}  // namespace mayfly::testing
