// JSON Schema, as far as our own documents use it, on RapidJSON's validator.
//
// That validator speaks draft 4; what differs in the draft of OpenAPI 3.1 (2020-12) is translated
// (`const`, `$ref` with siblings) or, when it is not known here, refused: a schema that would not
// be checked is an error, not a pass.
#ifndef MAYFLY_TESTS_SUPPORT_JSON_SCHEMA_H_
#define MAYFLY_TESTS_SUPPORT_JSON_SCHEMA_H_

#include <memory>
#include <string>

namespace mayfly::testing {

class JsonSchema {
 public:
  // Members that an object's schema does not name, where it does not say whether others may be
  // there: as the standard has it, or refused, so that nothing is shown that is not documented.
  enum class Unknown { kAllowed, kRefused };

  // `document` is the JSON text that holds the schema at `pointer` (RFC 6901; "" is the whole) and
  // everything that it refers to. Throws std::runtime_error for what it does not understand.
  JsonSchema(const std::string& document, const std::string& pointer,
             Unknown unknown = Unknown::kAllowed);
  JsonSchema(JsonSchema&&) noexcept;
  ~JsonSchema();

  // What is wrong with this JSON text: the broken rule and where; empty when nothing is. Quotes
  // nothing of the text but names of members.
  std::string Check(const std::string& json) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_JSON_SCHEMA_H_
