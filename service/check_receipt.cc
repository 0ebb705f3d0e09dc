#include "service/check_receipt.h"

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "service/api/signed_receipt.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

constexpr std::size_t kBytesMax = 16u << 20;

Result<std::string> ReadAll(const std::filesystem::path& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return Fail(ErrorCode::kIo, path.string() + ": cannot be read");
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text(kBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad()) return Fail(ErrorCode::kIo, path.string() + ": cannot be read");
  if (text.size() > kBytesMax) {
    return Fail(ErrorCode::kTooLarge, path.string() + ": more than 16 MiB are no receipts");
  }
  return text;
}

// What a person knows it by: a date that ended, or the id of an erasure.
std::string NameOf(const json::Value& receipt) {
  for (const char* member : {"day", "id"}) {
    if (const auto name = receipt.String(member)) return *name;
  }
  return "(without a name)";
}

Result<bool> CheckAll(const CheckReceiptArguments& arguments) {
  MAYFLY_ASSIGN_OR_RETURN(const std::string text, ReadAll(arguments.file));
  MAYFLY_ASSIGN_OR_RETURN(const json::Value document, json::Parse(text, {.bytes_max = kBytesMax}));
  const json::Value* items = document.Find("items");
  const json::Array one = {document};
  const json::Array& receipts = items != nullptr && items->is_array() ? *items->AsArray() : one;
  if (receipts.empty()) return Fail(ErrorCode::kInvalidArgument, "There is no receipt in it.");
  bool all = true;
  for (const json::Value& receipt : receipts) {
    MAYFLY_ASSIGN_OR_RETURN(const bool holds, api::SignatureHolds(receipt, arguments.key));
    std::cout << NameOf(receipt) << (holds ? "  holds\n" : "  DOES NOT HOLD\n");
    all = all && holds;
  }
  return all;
}

}  // namespace

int CheckReceiptCommand(const CheckReceiptArguments& arguments) {
  const auto checked = CheckAll(arguments);
  if (checked) return *checked ? 0 : kExitDoesNotHold;
  const Error& error = checked.error();
  std::cerr << error.message << (error.field.empty() ? "" : " (" + error.field + ")") << "\n";
  return 1;
}

}  // namespace mayfly::service
