// Receipts that prove to whoever keeps them that this installation gave them out: a signature over
// the receipt in the canonical form of JSON (RFC 8785), Ed25519 (RFC 8032), so that any library can
// check it. The key is on /v1/about; an auditor takes it down once.
#ifndef MAYFLY_SERVICE_API_SIGNED_RECEIPT_H_
#define MAYFLY_SERVICE_API_SIGNED_RECEIPT_H_

#include <functional>
#include <string>
#include <string_view>

#include "store/model/json.h"
#include "store/model/result.h"

namespace mayfly::store {
class Store;
}

namespace mayfly::service::api {

// RFC 8785 of a value without fractions and without integers beyond 2^53: kInvalidArgument.
Result<std::string> CanonicalJson(const json::Value& value);

// The object whose members `write_members` writes, with `signature` behind them: that of the object
// without it, 64 bytes as base64url without padding.
void RenderSigned(json::Writer& writer, const store::Store& store,
                  const std::function<void(json::Writer&)>& write_members);

// The installation's key as people copy it: base64url without padding, 43 characters.
std::string ShownReceiptKey(const store::Store& store);

// Whether this object was signed with the key, exactly as it stands. kInvalidArgument when it is no
// signed object, or the key is none.
Result<bool> SignatureHolds(const json::Value& receipt, std::string_view key);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_SIGNED_RECEIPT_H_
