// The one door for JSON, in and out. RapidJSON's reader and writer stay behind json.cc.
//
// In: RFC 8259, whole document, UTF-8 checked (overlong forms and lone surrogates refused), depth
// at most 32, duplicate keys refused, numbers finite, size and item caps given by the caller. No
// error text quotes the input. Out: an append writer; lists are streamed through it, never built as
// trees.
#ifndef MAYFLY_STORE_MODEL_JSON_H_
#define MAYFLY_STORE_MODEL_JSON_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "store/model/result.h"

namespace mayfly::json {

inline constexpr int kDepthMax = 32;

class Value;
using Array = std::vector<Value>;
using Members = std::vector<std::pair<std::string, Value>>;  // in document order, keys unique

// A parsed value. Owns its data. Integers that fit in 64 bits stay exact; strings are valid UTF-8.
class Value {
 public:
  Value() = default;  // null
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string value) : data_(std::move(value)) {}
  // Without this a literal would become a bool.
  explicit Value(const char* value) : data_(std::string(value)) {}
  explicit Value(Array value) : data_(std::move(value)) {}
  explicit Value(Members value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_object() const { return std::holds_alternative<Members>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }

  // Null pointers when the value has another type.
  const bool* AsBool() const { return std::get_if<bool>(&data_); }
  const std::int64_t* AsInt() const { return std::get_if<std::int64_t>(&data_); }
  const std::string* AsString() const { return std::get_if<std::string>(&data_); }
  const Array* AsArray() const { return std::get_if<Array>(&data_); }
  const Members* AsObject() const { return std::get_if<Members>(&data_); }
  std::optional<double> AsNumber() const;  // integer or double

  // Member of an object; null pointer when absent or when this is no object.
  const Value* Find(std::string_view key) const;

  // Typed members. kInvalidArgument with field "/key" (prefixed with `at`) when the member is
  // absent or has another type. The Opt forms treat an absent or null member as nullopt.
  Result<std::string> String(std::string_view key, std::string_view at = "") const;
  Result<std::int64_t> Int(std::string_view key, std::string_view at = "") const;
  Result<bool> Bool(std::string_view key, std::string_view at = "") const;
  Result<std::optional<std::string>> OptString(std::string_view key,
                                               std::string_view at = "") const;
  Result<std::optional<std::int64_t>> OptInt(std::string_view key, std::string_view at = "") const;
  Result<std::optional<bool>> OptBool(std::string_view key, std::string_view at = "") const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Members> data_;
};

struct Limits {
  std::size_t bytes_max = 1u << 20;
  std::size_t items_max = 100'000;  // values in all
};

// kInvalidArgument (malformed, too deep, duplicate key, bad UTF-8) or kTooLarge.
Result<Value> Parse(std::string_view text, const Limits& limits = {});

bool IsValidUtf8(std::string_view bytes);
// As much of valid UTF-8 as fits into `bytes_max`, cut between two characters.
std::string_view Utf8Prefix(std::string_view text, std::size_t bytes_max);

// Appends one document to a string. Calls must form valid JSON; a wrong order is a defect and
// asserts. Invalid UTF-8 in a string is written as U+FFFD, so the output is always valid.
class Writer {
 public:
  explicit Writer(std::string* out);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Writer& StartObject();
  Writer& EndObject();
  Writer& StartArray();
  Writer& EndArray();
  Writer& Key(std::string_view key);
  Writer& String(std::string_view value);
  Writer& Int(std::int64_t value);
  Writer& Uint(std::uint64_t value);
  Writer& Double(double value);  // NaN and infinities are written as null
  Writer& Bool(bool value);
  Writer& Null();
  // Key and value in one call.
  Writer& Field(std::string_view key, std::string_view value) { return Key(key).String(value); }
  Writer& Field(std::string_view key, const char* value) { return Key(key).String(value); }
  Writer& Field(std::string_view key, bool value) { return Key(key).Bool(value); }
  Writer& IntField(std::string_view key, std::int64_t value) { return Key(key).Int(value); }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::json

#endif  // MAYFLY_STORE_MODEL_JSON_H_
