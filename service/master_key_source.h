// What opens the keys: a file, a credential of the service manager, or a passphrase.
#ifndef MAYFLY_SERVICE_MASTER_KEY_SOURCE_H_
#define MAYFLY_SERVICE_MASTER_KEY_SOURCE_H_

#include <string>
#include <vector>

#include "service/config.h"
#include "store/expiry/purge.h"
#include "store/keys/file_system.h"
#include "store/keys/passphrase.h"
#include "store/keys/secret_key.h"
#include "store/model/result.h"

namespace mayfly::service {

// Names below $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=). The second one is there
// only while the master key is being replaced.
inline constexpr const char* kCredentialName = "mayfly.master-key";
inline constexpr const char* kNextCredentialName = "mayfly.master-key.next";

// A master key that may be the one; `next` is that to which the keys are being moved.
struct MasterKey {
  store::SecretKey key;
  bool next = false;
};
using MasterKeys = std::vector<MasterKey>;  // in the order in which they are to be tried

// What the source gives by itself. kSealed with the remedy when it gives nothing, with the field
// "passphrase" when somebody has to type one.
Result<MasterKeys> LoadMasterKeys(const Config& config);
// What a passphrase gives: kSealed when it is wrong. Takes a second and 256 MiB.
Result<MasterKeys> MasterKeysOf(const Config& config, const store::Passphrase& passphrase);
// A master key that is handed over as the line of its file. kSealed when it is none.
Result<MasterKeys> MasterKeysOf(const MasterKeyLine& line);

// What the destruction of a key is worth here, and why, in a sentence for /v1/about.
struct P2Standing {
  store::P2Grade grade = store::P2Grade::kC;
  std::string reason = {};
  std::string file_system = {};
  bool overwriting_holds = true;
};
P2Standing StandingOf(const Config& config, const store::FileSystemVerdict& file_system);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_MASTER_KEY_SOURCE_H_
