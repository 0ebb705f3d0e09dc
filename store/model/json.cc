#include "store/model/json.h"

// Their checks stay on in release builds: a broken invariant ends the process instead of running on
// into undefined behaviour. None of them can be reached by input.
#include <cstdio>
#include <cstdlib>
namespace {
[[noreturn]] void Defect(const char* what) {
  std::fprintf(stderr, "mayfly: defect in the use of JSON: %s\n", what);
  std::abort();
}
}  // namespace
#define RAPIDJSON_ASSERT(x) ((x) ? static_cast<void>(0) : Defect(#x))

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <system_error>

#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/writer.h>

namespace mayfly::json {

namespace {

// ---- Eight bytes at a time ----------------------------------------------------------------------

constexpr std::uint64_t kEachByte = 0x0101010101010101u;
constexpr std::uint64_t kHighBits = kEachByte * 0x80;

std::uint64_t EightBytes(const char* at) {
  std::uint64_t bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

// Whether any of the eight is below `limit`, which is at most 0x80.
bool AnyBelow(std::uint64_t bytes, unsigned limit) {
  return ((bytes - kEachByte * limit) & ~bytes & kHighBits) != 0;
}
bool AnyIs(std::uint64_t bytes, char wanted) {
  return AnyBelow(bytes ^ (kEachByte * static_cast<unsigned char>(wanted)), 1);
}

// The length of the run at the front of `text` that a JSON string holds as it is.
std::size_t UnescapedLength(std::string_view text) {
  std::size_t at = 0;
  while (text.size() - at >= sizeof(std::uint64_t)) {
    const std::uint64_t bytes = EightBytes(text.data() + at);
    if (AnyBelow(bytes, 0x20) || AnyIs(bytes, '"') || AnyIs(bytes, '\\')) break;
    at += sizeof bytes;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x20 && text[at] != '"' &&
         text[at] != '\\') {
    ++at;
  }
  return at;
}

// ---- UTF-8 -------------------------------------------------------------------------------------

// Length of the well-formed sequence at `at` (Unicode table 3-7), or 0.
std::size_t SequenceLength(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u;
  };
  const auto in = [](unsigned value, unsigned low, unsigned high) {
    return value >= low && value <= high;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  if (in(first, 0xC2, 0xDF)) return in(byte(at + 1), 0x80, 0xBF) ? 2 : 0;
  if (in(first, 0xE0, 0xEF)) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;   // overlong
    const unsigned high = first == 0xED ? 0x9F : 0xBF;  // surrogates
    return in(byte(at + 1), low, high) && in(byte(at + 2), 0x80, 0xBF) ? 3 : 0;
  }
  if (in(first, 0xF0, 0xF4)) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;   // overlong
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;  // past U+10FFFF
    return in(byte(at + 1), low, high) && in(byte(at + 2), 0x80, 0xBF) &&
                   in(byte(at + 3), 0x80, 0xBF)
               ? 4
               : 0;
  }
  return 0;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string valid;
  valid.reserve(bytes.size() + 8);
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = SequenceLength(bytes, at);
    if (length == 0) {
      valid += "\xEF\xBF\xBD";
      ++at;
    } else {
      valid.append(bytes, at, length);
      at += length;
    }
  }
  return valid;
}

// ---- Numbers -----------------------------------------------------------------------------------

// Whether a JSON number that no double can hold is too large, as opposed to too close to zero.
bool IsLarge(std::string_view number) {
  if (number.starts_with('-')) number.remove_prefix(1);
  const std::size_t exponent_at = number.find_first_of("eE");
  long exponent = 0;
  if (exponent_at != std::string_view::npos) {
    std::string_view digits = number.substr(exponent_at + 1);
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    for (const char c : digits) exponent = std::min(exponent * 10 + (c - '0'), 1'000'000'000L);
    if (negative) exponent = -exponent;
    number = number.substr(0, exponent_at);
  }
  const std::size_t point = std::min(number.find('.'), number.size());
  long magnitude = static_cast<long>(point);  // digits before the point
  if (number[0] == '0') {
    const std::size_t nonzero = number.find_first_not_of("0.");
    if (nonzero == std::string_view::npos) return false;
    magnitude = static_cast<long>(point) + 1 - static_cast<long>(nonzero);
  }
  return magnitude + exponent > 0;
}

// `number` follows the JSON grammar. False when it is not finite.
bool ParseNumber(std::string_view number, Value& value) {
  const char* const begin = number.data();
  const char* const end = begin + number.size();
  if (number.find_first_of(".eE") == std::string_view::npos) {
    std::int64_t integer = 0;
    const auto [rest, error] = std::from_chars(begin, end, integer);
    if (error == std::errc() && rest == end) {
      value = Value(integer);
      return true;
    }
  }
  double real = 0;
  const auto [rest, error] = std::from_chars(begin, end, real);
  if (error == std::errc::result_out_of_range) {
    if (IsLarge(number)) return false;
    real = number.starts_with('-') ? -0.0 : 0.0;
  } else if (error != std::errc() || rest != end) {
    return false;
  }
  if (!std::isfinite(real)) return false;
  value = Value(real);
  return true;
}

// ---- Reading -----------------------------------------------------------------------------------

constexpr unsigned kReadFlags = rapidjson::kParseIterativeFlag |
                                rapidjson::kParseValidateEncodingFlag |
                                // Their number conversion overflows an int on long exponents.
                                rapidjson::kParseNumbersAsStringsFlag;

// Sorting, not hashing: the worst key set costs n log n.
bool HasDuplicateKey(const Members& members) {
  constexpr std::size_t kFew = 8;
  if (members.size() <= kFew) {
    for (std::size_t i = 1; i < members.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (members[i].first == members[j].first) return true;
      }
    }
    return false;
  }
  std::vector<std::string_view> keys;
  keys.reserve(members.size());
  for (const auto& [key, value] : members) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return std::adjacent_find(keys.begin(), keys.end()) != keys.end();
}

// Builds the tree from their events. Every event returns false to stop; `error_` then says why.
class Builder {
 public:
  explicit Builder(std::size_t items_max) : items_left_(items_max) {}

  bool Null() { return Add(Value()); }
  bool Bool(bool value) { return Add(Value(value)); }
  bool RawNumber(const char* text, rapidjson::SizeType length, bool) {
    Value value;
    if (!ParseNumber(std::string_view(text, length), value))
      return Stop("holds a number that is not finite");
    return Add(std::move(value));
  }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    std::string value(text, length);
    // They let a lone low surrogate escape through.
    if (!IsValidUtf8(value)) return Stop("holds a string that is not valid Unicode");
    return Add(Value(std::move(value)));
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    std::string key(text, length);
    if (!IsValidUtf8(key)) return Stop("holds a string that is not valid Unicode");
    open_.back().key = std::move(key);
    return true;
  }
  bool StartObject() { return Open(true); }
  bool EndObject(rapidjson::SizeType) {
    Members members = std::move(open_.back().members);
    open_.pop_back();
    if (HasDuplicateKey(members)) return Stop("repeats a member name");
    return Place(Value(std::move(members)));
  }
  bool StartArray() { return Open(false); }
  bool EndArray(rapidjson::SizeType) {
    Array items = std::move(open_.back().items);
    open_.pop_back();
    return Place(Value(std::move(items)));
  }
  // Numbers arrive as text.
  bool Int(int) { return Stop("is malformed"); }
  bool Uint(unsigned) { return Stop("is malformed"); }
  bool Int64(std::int64_t) { return Stop("is malformed"); }
  bool Uint64(std::uint64_t) { return Stop("is malformed"); }
  bool Double(double) { return Stop("is malformed"); }

  const char* complaint() const { return complaint_; }
  bool too_many() const { return too_many_; }
  Value TakeRoot() { return std::move(root_); }

 private:
  struct Container {
    bool object = false;
    std::string key;  // of the member that is being read
    Members members;
    Array items;
  };

  bool Stop(const char* complaint) {
    complaint_ = complaint;
    return false;
  }
  bool Count() {
    if (items_left_ == 0) {
      too_many_ = true;
      return Stop("holds too many values");
    }
    --items_left_;
    return true;
  }
  bool Open(bool object) {
    if (!Count()) return false;
    if (open_.size() >= static_cast<std::size_t>(kDepthMax)) return Stop("is nested too deeply");
    open_.emplace_back();
    open_.back().object = object;
    return true;
  }
  bool Add(Value value) { return Count() && Place(std::move(value)); }
  bool Place(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().object) {
      open_.back().members.emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::size_t items_left_;
  std::vector<Container> open_;
  Value root_;
  const char* complaint_ = "is malformed";
  bool too_many_ = false;
};

std::string Pointer(std::string_view at, std::string_view key) {
  std::string pointer(at);
  pointer += '/';
  for (const char c : key) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

tl::unexpected<Error> Unfit(const char* message, std::string_view at, std::string_view key) {
  return Fail(ErrorCode::kInvalidArgument, message, Pointer(at, key));
}

// One pattern for the six typed accessors.
template <class T, class Get>
Result<std::optional<T>> Optional(const Value& object, std::string_view key, std::string_view at,
                                  const char* message, Get get) {
  const Value* member = object.Find(key);
  if (member == nullptr || member->is_null()) return std::optional<T>();
  const T* value = get(*member);
  if (value == nullptr) return Unfit(message, at, key);
  return std::optional<T>(*value);
}

template <class T, class Get>
Result<T> Required(const Value& object, std::string_view key, std::string_view at,
                   const char* message, Get get) {
  const Value* member = object.Find(key);
  const T* value = member == nullptr ? nullptr : get(*member);
  if (value == nullptr) return Unfit(message, at, key);
  return *value;
}

constexpr char kNeedString[] = "This member must be a string.";
constexpr char kNeedInt[] = "This member must be an integer of at most 64 bits.";
constexpr char kNeedBool[] = "This member must be true or false.";

}  // namespace

std::optional<double> Value::AsNumber() const {
  if (const std::int64_t* integer = std::get_if<std::int64_t>(&data_)) {
    return static_cast<double>(*integer);
  }
  if (const double* real = std::get_if<double>(&data_)) return *real;
  return std::nullopt;
}

const Value* Value::Find(std::string_view key) const {
  const Members* members = AsObject();
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<std::string> Value::String(std::string_view key, std::string_view at) const {
  return Required<std::string>(*this, key, at, kNeedString,
                               [](const Value& value) { return value.AsString(); });
}
Result<std::int64_t> Value::Int(std::string_view key, std::string_view at) const {
  return Required<std::int64_t>(*this, key, at, kNeedInt,
                                [](const Value& value) { return value.AsInt(); });
}
Result<bool> Value::Bool(std::string_view key, std::string_view at) const {
  return Required<bool>(*this, key, at, kNeedBool,
                        [](const Value& value) { return value.AsBool(); });
}
Result<std::optional<std::string>> Value::OptString(std::string_view key,
                                                    std::string_view at) const {
  return Optional<std::string>(*this, key, at, kNeedString,
                               [](const Value& value) { return value.AsString(); });
}
Result<std::optional<std::int64_t>> Value::OptInt(std::string_view key, std::string_view at) const {
  return Optional<std::int64_t>(*this, key, at, kNeedInt,
                                [](const Value& value) { return value.AsInt(); });
}
Result<std::optional<bool>> Value::OptBool(std::string_view key, std::string_view at) const {
  return Optional<bool>(*this, key, at, kNeedBool,
                        [](const Value& value) { return value.AsBool(); });
}

std::string_view Utf8Prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

bool IsValidUtf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    // Most texts are ASCII in long runs.
    if (bytes.size() - at >= sizeof(std::uint64_t) &&
        (EightBytes(bytes.data() + at) & kHighBits) == 0) {
      at += sizeof(std::uint64_t);
      continue;
    }
    const std::size_t length = SequenceLength(bytes, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

Result<Value> Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes_max) {
    return Fail(ErrorCode::kTooLarge, "The JSON text is longer than is allowed here.");
  }
  // They take a zero byte for the end and would not look at what follows. It is never legal in
  // JSON; inside a string it is written \u0000.
  if (text.find('\0') != std::string_view::npos) {
    return Fail(ErrorCode::kInvalidArgument, "The JSON text holds a zero byte.");
  }
  Builder builder(limits.items_max);
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  const rapidjson::ParseResult parsed = reader.Parse<kReadFlags>(stream, builder);
  if (parsed.IsError()) {
    return Fail(builder.too_many() ? ErrorCode::kTooLarge : ErrorCode::kInvalidArgument,
                std::string("The JSON text ") + builder.complaint() + " (byte " +
                    std::to_string(parsed.Offset()) + ").");
  }
  return builder.TakeRoot();
}

// ---- Writing -----------------------------------------------------------------------------------

namespace {

// The least that their writer asks of an output.
struct StringSink {
  using Ch = char;
  std::string* out;
  void Put(char c) { out->push_back(c); }
  void Flush() {}
};

}  // namespace

}  // namespace mayfly::json

// Their hook for writing a run of characters at once, as they use it for their own buffers. What is
// left at the front of `is` is one character that must be escaped.
template <>
inline bool rapidjson::Writer<mayfly::json::StringSink>::ScanWriteUnescapedString(
    StringStream& is, std::size_t length) {
  const std::string_view rest(is.src_, length - is.Tell());
  const std::size_t run = mayfly::json::UnescapedLength(rest);
  os_->out->append(rest, 0, run);
  is.src_ += run;
  return run < rest.size();
}

namespace mayfly::json {

struct Writer::Impl {
  enum class Place : std::uint8_t { kArray, kKey, kValue };  // what an open container expects

  explicit Impl(std::string* out) : sink{out}, writer(sink) {}

  void Require(bool holds, const char* what) const {
    if (!holds) Defect(what);
  }
  // Called before each value.
  void Value() {
    if (open.empty()) {
      Require(!done, "a second document in one writer");
      done = true;
    } else {
      Require(open.back() != Place::kKey, "a value where a member name belongs");
      if (open.back() == Place::kValue) open.back() = Place::kKey;
    }
  }
  void Check(bool written) const { Require(written, "the writer refused a value"); }

  StringSink sink;
  rapidjson::Writer<StringSink> writer;
  std::vector<Place> open;
  bool done = false;
};

Writer::Writer(std::string* out) : impl_(std::make_unique<Impl>(out)) {}
Writer::~Writer() = default;

Writer& Writer::StartObject() {
  impl_->Value();
  impl_->open.push_back(Impl::Place::kKey);
  impl_->Check(impl_->writer.StartObject());
  return *this;
}
Writer& Writer::EndObject() {
  impl_->Require(!impl_->open.empty() && impl_->open.back() == Impl::Place::kKey,
                 "the end of an object that is not open");
  impl_->open.pop_back();
  impl_->Check(impl_->writer.EndObject());
  return *this;
}
Writer& Writer::StartArray() {
  impl_->Value();
  impl_->open.push_back(Impl::Place::kArray);
  impl_->Check(impl_->writer.StartArray());
  return *this;
}
Writer& Writer::EndArray() {
  impl_->Require(!impl_->open.empty() && impl_->open.back() == Impl::Place::kArray,
                 "the end of an array that is not open");
  impl_->open.pop_back();
  impl_->Check(impl_->writer.EndArray());
  return *this;
}
Writer& Writer::Key(std::string_view key) {
  impl_->Require(!impl_->open.empty() && impl_->open.back() == Impl::Place::kKey,
                 "a member name where none belongs");
  impl_->open.back() = Impl::Place::kValue;
  if (!IsValidUtf8(key)) {
    const std::string valid = ReplaceInvalidUtf8(key);
    impl_->Check(impl_->writer.Key(valid.data(), static_cast<rapidjson::SizeType>(valid.size())));
    return *this;
  }
  // They refuse a null pointer, which an empty view may hold.
  impl_->Check(impl_->writer.Key(key.empty() ? "" : key.data(),
                                 static_cast<rapidjson::SizeType>(key.size())));
  return *this;
}
Writer& Writer::String(std::string_view value) {
  impl_->Value();
  if (!IsValidUtf8(value)) {
    const std::string valid = ReplaceInvalidUtf8(value);
    impl_->Check(
        impl_->writer.String(valid.data(), static_cast<rapidjson::SizeType>(valid.size())));
    return *this;
  }
  impl_->Check(impl_->writer.String(value.empty() ? "" : value.data(),
                                    static_cast<rapidjson::SizeType>(value.size())));
  return *this;
}
Writer& Writer::Int(std::int64_t value) {
  impl_->Value();
  impl_->Check(impl_->writer.Int64(value));
  return *this;
}
Writer& Writer::Uint(std::uint64_t value) {
  impl_->Value();
  impl_->Check(impl_->writer.Uint64(value));
  return *this;
}
Writer& Writer::Double(double value) {
  impl_->Value();
  impl_->Check(std::isfinite(value) ? impl_->writer.Double(value) : impl_->writer.Null());
  return *this;
}
Writer& Writer::Bool(bool value) {
  impl_->Value();
  impl_->Check(impl_->writer.Bool(value));
  return *this;
}
Writer& Writer::Null() {
  impl_->Value();
  impl_->Check(impl_->writer.Null());
  return *this;
}

}  // namespace mayfly::json
