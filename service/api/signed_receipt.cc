#include "service/api/signed_receipt.h"

#include <algorithm>
#include <array>
#include <optional>
#include <sodium.h>
#include <utility>
#include <vector>

#include "store/store.h"

namespace mayfly::service::api {
namespace {

constexpr std::int64_t kExactMax = std::int64_t{1} << 53;  // RFC 8785, 3.2.2.3
constexpr int kBase64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

std::string ToBase64(std::string_view bytes) {
  std::vector<char> text(sodium_base64_encoded_len(bytes.size(), kBase64));
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), kBase64);
  return text.data();
}

template <std::size_t kSize>
std::optional<std::array<unsigned char, kSize>> FromBase64(std::string_view text) {
  std::array<unsigned char, kSize> bytes;
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size, &end,
                        kBase64) != 0 ||
      size != kSize || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return bytes;
}

// Names are ordered by their UTF-16 code units; among ASCII that is the order of bytes.
bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

Status AppendCanonical(json::Writer& writer, const json::Value& value) {
  if (value.is_null()) {
    writer.Null();
  } else if (const bool* flag = value.AsBool()) {
    writer.Bool(*flag);
  } else if (const std::int64_t* number = value.AsInt()) {
    if (*number > kExactMax || *number < -kExactMax) {
      return Fail(ErrorCode::kInvalidArgument, "A receipt holds no such number.");
    }
    writer.Int(*number);
  } else if (const std::string* text = value.AsString()) {
    // What RFC 8785 escapes in other letters than we do stands in no receipt.
    if (std::any_of(text->begin(), text->end(), [](unsigned char c) { return c < 0x20; })) {
      return Fail(ErrorCode::kInvalidArgument, "A receipt holds no control characters.");
    }
    writer.String(*text);
  } else if (const json::Array* items = value.AsArray()) {
    writer.StartArray();
    for (const json::Value& item : *items) MAYFLY_RETURN_IF_ERROR(AppendCanonical(writer, item));
    writer.EndArray();
  } else if (const json::Members* members = value.AsObject()) {
    std::vector<const std::pair<std::string, json::Value>*> sorted;
    for (const auto& member : *members) {
      if (!IsAscii(member.first)) {
        return Fail(ErrorCode::kInvalidArgument, "A receipt has no such member.");
      }
      sorted.push_back(&member);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->first < b->first; });
    writer.StartObject();
    for (const auto* member : sorted) {
      writer.Key(member->first);
      MAYFLY_RETURN_IF_ERROR(AppendCanonical(writer, member->second));
    }
    writer.EndObject();
  } else {
    return Fail(ErrorCode::kInvalidArgument, "A receipt holds no fractions.");
  }
  return {};
}

}  // namespace

Result<std::string> CanonicalJson(const json::Value& value) {
  std::string text;
  Status appended;
  {
    json::Writer writer(&text);
    appended = AppendCanonical(writer, value);
  }
  if (!appended) return Fail(std::move(appended).error());
  return text;
}

void RenderSigned(json::Writer& writer, const store::Store& store,
                  const std::function<void(json::Writer&)>& write_members) {
  std::string plain;
  {
    json::Writer alone(&plain);
    alone.StartObject();
    write_members(alone);
    alone.EndObject();
  }
  // What we write can be read and has a canonical form.
  const std::string canonical = CanonicalJson(json::Parse(plain).value()).value();
  writer.StartObject();
  write_members(writer);
  writer.Field("signature", ToBase64(store.SignReceipt(canonical)));
  writer.EndObject();
}

std::string ShownReceiptKey(const store::Store& store) { return ToBase64(store.ReceiptKey()); }

Result<bool> SignatureHolds(const json::Value& receipt, std::string_view key) {
  const auto pub = FromBase64<crypto_sign_PUBLICKEYBYTES>(key);
  if (!pub) {
    return Fail(ErrorCode::kInvalidArgument,
                "This is no key of receipts: 43 characters, as /v1/about shows them.");
  }
  MAYFLY_ASSIGN_OR_RETURN(const std::string text, receipt.String("signature"));
  const auto signature = FromBase64<crypto_sign_BYTES>(text);
  if (!signature) return Fail(ErrorCode::kInvalidArgument, "This is no signature.", "/signature");
  json::Members members = *receipt.AsObject();
  std::erase_if(members, [](const auto& member) { return member.first == "signature"; });
  MAYFLY_ASSIGN_OR_RETURN(const std::string canonical,
                          CanonicalJson(json::Value(std::move(members))));
  return crypto_sign_verify_detached(signature->data(),
                                     reinterpret_cast<const unsigned char*>(canonical.data()),
                                     canonical.size(), pub->data()) == 0;
}

}  // namespace mayfly::service::api
