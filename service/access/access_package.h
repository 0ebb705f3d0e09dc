// Everything that is held of one person, as they are to be given it (GDPR Art. 15 and 20): a zip
// file, sealed for the officer who hands it over, made while it is sent. Nothing of it is kept
// here.
//
//   about.txt                 who holds it, why, for how long, and what is in here
//   messages.ndjson           one message a line, newest first, for programs
//   messages.html             the same for people
//   attachments/<message>-<number>.<kind>
//   manifest.json             size and SHA-256 of each of them, signed as receipts are
//
// Of a conversation with them alone: all of it. Of a group: what they wrote. A message that ends or
// is destroyed while the package is made is in it in part or not at all.
#ifndef MAYFLY_SERVICE_ACCESS_ACCESS_PACKAGE_H_
#define MAYFLY_SERVICE_ACCESS_ACCESS_PACKAGE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "service/access/age.h"
#include "service/api/about_text.h"
#include "store/audit_log.h"
#include "store/model/clock.h"
#include "store/model/message.h"
#include "store/rights/rights.h"
#include "store/store.h"

namespace mayfly::service {

inline constexpr const char* kPackageFormat = "mayfly-access-package-1";

class AccessPackage {
 public:
  // `look` was recorded for every conversation of `held`. The store and the clock must outlive it.
  // kInvalidArgument for a recipient that nobody could open it with.
  static Result<std::unique_ptr<AccessPackage>> Begin(store::Store& store, const Clock& clock,
                                                      store::Look look, store::HeldPerson held,
                                                      api::AboutText about,
                                                      const AgeKey& recipient);
  ~AccessPackage();
  AccessPackage(const AccessPackage&) = delete;
  AccessPackage& operator=(const AccessPackage&) = delete;

  // The next bytes; none at the end. After an error it is worth nothing.
  Result<std::string> Next();

 private:
  struct Impl;
  explicit AccessPackage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ACCESS_ACCESS_PACKAGE_H_
