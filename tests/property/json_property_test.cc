#include <bit>
#include <cmath>
#include <cstdint>
#include <rapidcheck.h>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "store/model/json.h"

namespace mayfly::json {
namespace {

// A stream of choices. Drawing the tape and building the document from it keeps shrinking simple.
class Tape {
 public:
  explicit Tape(std::vector<std::uint64_t> numbers) : numbers_(std::move(numbers)) {}
  std::uint64_t Next() { return at_ < numbers_.size() ? numbers_[at_++] : 0; }

 private:
  std::vector<std::uint64_t> numbers_;
  std::size_t at_ = 0;
};

void AppendCodePoint(std::uint32_t point, std::string& text) {
  if (point < 0x80) {
    text += static_cast<char>(point);
  } else if (point < 0x800) {
    text += static_cast<char>(0xC0 | point >> 6);
    text += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    text += static_cast<char>(0xE0 | point >> 12);
    text += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | point >> 18);
    text += static_cast<char>(0x80 | (point >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (point >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (point & 0x3F));
  }
}

std::string AnyText(Tape& tape) {
  std::string text;
  const std::uint64_t length = tape.Next() % 12;
  for (std::uint64_t i = 0; i < length; ++i) {
    const std::uint64_t draw = tape.Next();
    // Half of them where escapes are needed, the rest anywhere.
    auto point = static_cast<std::uint32_t>(draw % 2 == 0 ? draw / 2 % 0x80 : draw / 2 % 0x110000);
    if (point >= 0xD800 && point <= 0xDFFF) point -= 0x800;
    AppendCodePoint(point, text);
  }
  return text;
}

Value AnyValue(Tape& tape, int depth) {
  switch (tape.Next() % (depth > 5 ? 5 : 7)) {
    case 0:
      return Value();
    case 1:
      return Value(tape.Next() % 2 == 0);
    case 2:
      return Value(static_cast<std::int64_t>(tape.Next()));
    case 3: {
      const auto real = std::bit_cast<double>(tape.Next());
      return std::isfinite(real) ? Value(real) : Value(0.5);
    }
    case 4:
      return Value(AnyText(tape));
    case 5: {
      Array items;
      const std::uint64_t length = tape.Next() % 5;
      for (std::uint64_t i = 0; i < length; ++i) items.push_back(AnyValue(tape, depth + 1));
      return Value(std::move(items));
    }
    default: {
      Members members;
      std::set<std::string> keys;
      const std::uint64_t length = tape.Next() % 14;
      for (std::uint64_t i = 0; i < length; ++i) {
        std::string key = AnyText(tape);
        if (!keys.insert(key).second) continue;
        Value value = AnyValue(tape, depth + 1);
        members.emplace_back(std::move(key), std::move(value));
      }
      return Value(std::move(members));
    }
  }
}

void Write(const Value& value, Writer& writer) {
  if (value.is_null()) {
    writer.Null();
  } else if (const bool* flag = value.AsBool()) {
    writer.Bool(*flag);
  } else if (const std::int64_t* integer = value.AsInt()) {
    writer.Int(*integer);
  } else if (const std::string* text = value.AsString()) {
    writer.String(*text);
  } else if (const Array* items = value.AsArray()) {
    writer.StartArray();
    for (const Value& item : *items) Write(item, writer);
    writer.EndArray();
  } else if (const Members* members = value.AsObject()) {
    writer.StartObject();
    for (const auto& [key, member] : *members) {
      writer.Key(key);
      Write(member, writer);
    }
    writer.EndObject();
  } else {
    writer.Double(value.AsNumber().value());
  }
}

bool Same(const Value& a, const Value& b) {
  if (a.is_null()) return b.is_null();
  if (a.AsBool()) return b.AsBool() && *a.AsBool() == *b.AsBool();
  if (a.AsInt()) return b.AsInt() && *a.AsInt() == *b.AsInt();
  if (a.AsString()) return b.AsString() && *a.AsString() == *b.AsString();
  if (a.AsArray()) {
    if (!b.AsArray() || a.AsArray()->size() != b.AsArray()->size()) return false;
    for (std::size_t i = 0; i < a.AsArray()->size(); ++i) {
      if (!Same((*a.AsArray())[i], (*b.AsArray())[i])) return false;
    }
    return true;
  }
  if (a.AsObject()) {
    if (!b.AsObject() || a.AsObject()->size() != b.AsObject()->size()) return false;
    for (std::size_t i = 0; i < a.AsObject()->size(); ++i) {
      const auto& [a_key, a_value] = (*a.AsObject())[i];
      const auto& [b_key, b_value] = (*b.AsObject())[i];
      if (a_key != b_key || !Same(a_value, b_value)) return false;
    }
    return true;
  }
  // A real stays a real, to the last bit.
  return !b.AsInt() && b.AsNumber() &&
         std::bit_cast<std::uint64_t>(*a.AsNumber()) == std::bit_cast<std::uint64_t>(*b.AsNumber());
}

std::string Written(const Value& value) {
  std::string out;
  Writer writer(&out);
  Write(value, writer);
  return out;
}

// Uniform over 64 bits, whatever the size of the run.
rc::Gen<std::vector<std::uint64_t>> Tapes() {
  return rc::gen::container<std::vector<std::uint64_t>>(
      rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint64_t>()));
}

RC_GTEST_PROP(JsonProperty, WhatIsWrittenIsReadAgain, ()) {
  Tape tape(*Tapes());
  const Value value = AnyValue(tape, 0);
  const std::string text = Written(value);
  const Result<Value> read = Parse(text);
  RC_ASSERT(read.has_value());
  RC_ASSERT(Same(value, *read));
  RC_ASSERT(Written(*read) == text);
}

RC_GTEST_PROP(JsonProperty, EveryRealComesBackToTheBit, (std::uint64_t bits)) {
  const auto real = std::bit_cast<double>(bits * 0x9E3779B97F4A7C15u);
  RC_PRE(std::isfinite(real));
  const Value value(real);
  const Result<Value> read = Parse(Written(value));
  RC_ASSERT(read.has_value());
  RC_ASSERT(Same(value, *read));
}

RC_GTEST_PROP(JsonProperty, AnyBytesAreWrittenAsAValidString, (const std::string& bytes)) {
  const std::string text = Written(Value(bytes));
  RC_ASSERT(IsValidUtf8(text));
  const Result<Value> read = Parse(text);
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->AsString() != nullptr);
  RC_ASSERT(!IsValidUtf8(bytes) || *read->AsString() == bytes);
}

RC_GTEST_PROP(JsonProperty, ADamagedDocumentIsRefusedOrReadAsWhatItSays, ()) {
  Tape tape(*Tapes());
  std::string text = Written(AnyValue(tape, 0));
  const std::size_t at = *rc::gen::inRange<std::size_t>(0, text.size());
  text[at] = *rc::gen::arbitrary<char>();
  const Result<Value> read = Parse(text);
  if (!read) {
    RC_ASSERT(read.error().code == ErrorCode::kInvalidArgument);
    return;
  }
  RC_ASSERT(IsValidUtf8(text));
  const Result<Value> again = Parse(Written(*read));
  RC_ASSERT(again.has_value());
  RC_ASSERT(Same(*read, *again));
}

RC_GTEST_PROP(JsonProperty, ACutDocumentIsRefused, ()) {
  Tape tape(*Tapes());
  const std::string text = Written(Value(Array{AnyValue(tape, 0)}));
  RC_ASSERT(!Parse(text.substr(0, *rc::gen::inRange<std::size_t>(0, text.size()))));
}

}  // namespace
}  // namespace mayfly::json
