// The one door for JSON: what parses is valid UTF-8, within the limits, and once written parses to
// the same.
#include <cmath>
#include <string>

#include "store/model/json.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using json::Value;

void Write(const Value& value, json::Writer& writer) {
  if (const bool* flag = value.AsBool()) {
    writer.Bool(*flag);
  } else if (const std::int64_t* integer = value.AsInt()) {
    writer.Int(*integer);
  } else if (const auto number = value.AsNumber()) {
    writer.Double(*number);
  } else if (const std::string* text = value.AsString()) {
    writer.String(*text);
  } else if (const json::Array* items = value.AsArray()) {
    writer.StartArray();
    for (const Value& item : *items) Write(item, writer);
    writer.EndArray();
  } else if (const json::Members* members = value.AsObject()) {
    writer.StartObject();
    for (const auto& [key, member] : *members) {
      writer.Key(key);
      Write(member, writer);
    }
    writer.EndObject();
  } else {
    writer.Null();
  }
}

std::string Written(const Value& value) {
  std::string text;
  json::Writer writer(&text);
  Write(value, writer);
  return text;
}

bool Same(const Value& a, const Value& b) {
  if (a.is_null() || b.is_null()) return a.is_null() == b.is_null();
  if (a.AsBool() && b.AsBool()) return *a.AsBool() == *b.AsBool();
  if (a.AsInt() || b.AsInt()) return a.AsInt() && b.AsInt() && *a.AsInt() == *b.AsInt();
  if (a.AsNumber() && b.AsNumber()) {
    // A zero keeps its sign.
    return *a.AsNumber() == *b.AsNumber() &&
           std::signbit(*a.AsNumber()) == std::signbit(*b.AsNumber());
  }
  if (a.AsString() && b.AsString()) return *a.AsString() == *b.AsString();
  if (a.AsArray() && b.AsArray()) {
    if (a.AsArray()->size() != b.AsArray()->size()) return false;
    for (std::size_t i = 0; i < a.AsArray()->size(); ++i) {
      if (!Same((*a.AsArray())[i], (*b.AsArray())[i])) return false;
    }
    return true;
  }
  if (!a.AsObject() || !b.AsObject() || a.AsObject()->size() != b.AsObject()->size()) return false;
  for (std::size_t i = 0; i < a.AsObject()->size(); ++i) {
    const auto& [a_key, a_value] = (*a.AsObject())[i];
    const auto& [b_key, b_value] = (*b.AsObject())[i];
    if (a_key != b_key || !Same(a_value, b_value)) return false;
  }
  return true;
}

// How many values there are, every one of them checked.
std::size_t CheckValue(const Value& value, int depth) {
  Check(depth <= json::kDepthMax, "no value is nested deeper than the limit");
  std::size_t count = 1;
  if (value.AsString()) Check(json::IsValidUtf8(*value.AsString()), "strings are valid UTF-8");
  if (value.AsNumber()) Check(std::isfinite(*value.AsNumber()), "numbers are finite");
  if (value.AsArray()) {
    for (const Value& item : *value.AsArray()) count += CheckValue(item, depth + 1);
  }
  if (value.AsObject()) {
    for (const auto& [key, member] : *value.AsObject()) {
      Check(json::IsValidUtf8(key), "names of members are valid UTF-8");
      Check(value.Find(key) == &member, "no member is hidden behind another of its name");
      count += CheckValue(member, depth + 1);
    }
  }
  return count;
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  const std::string_view text = fuzz::Text(data, size);
  const json::Limits limits = {.bytes_max = 4096, .items_max = 200};
  const Result<json::Value> value = json::Parse(text, limits);
  // Whatever came in, a string is written as valid JSON.
  std::string quoted;
  json::Writer(&quoted).String(text);
  const Result<json::Value> unquoted = json::Parse(quoted);
  fuzz::Check(unquoted && unquoted->AsString() != nullptr, "any bytes are written as a string");
  fuzz::Check(!json::IsValidUtf8(text) || *unquoted->AsString() == text,
              "valid text comes back as it was");
  if (!value) {
    const ErrorCode code = value.error().code;
    fuzz::Check(code == ErrorCode::kInvalidArgument || code == ErrorCode::kTooLarge,
                "a refusal says that the text is malformed or too large");
    return 0;
  }
  fuzz::Check(size <= limits.bytes_max, "no longer text is read");
  fuzz::Check(json::IsValidUtf8(text), "what parses is valid UTF-8");
  fuzz::Check(fuzz::CheckValue(*value, 0) <= limits.items_max, "no more values are read");
  const std::string written = fuzz::Written(*value);
  const Result<json::Value> again = json::Parse(written);
  fuzz::Check(again && fuzz::Same(*value, *again), "what is written parses to the same");
  fuzz::Check(fuzz::Written(*again) == written, "writing is a function of the value");
  return 0;
}
