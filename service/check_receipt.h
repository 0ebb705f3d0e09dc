// `mayfly check-receipt`: whether receipts were given out by the installation that a key belongs
// to, exactly as they stand. Needs neither service nor configuration: an auditor runs it at their
// desk.
#ifndef MAYFLY_SERVICE_CHECK_RECEIPT_H_
#define MAYFLY_SERVICE_CHECK_RECEIPT_H_

#include <filesystem>
#include <string>

namespace mayfly::service {

inline constexpr int kExitDoesNotHold = 3;

struct CheckReceiptArguments {
  std::filesystem::path file;  // "-": standard input
  std::string key;             // as /v1/about shows it
};

// `file` holds one receipt or a list of them, as /v1/ops/receipts and /v1/erasures give them. One
// line for each on standard output. Returns the exit code: 0 when all hold, kExitDoesNotHold when
// one does not, 1 when something is no receipt or there is none.
int CheckReceiptCommand(const CheckReceiptArguments& arguments);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_CHECK_RECEIPT_H_
