#include "service/master_key_source.h"

#include <cstdlib>
#include <utility>

#include "store/keys/master_key.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

// The key in `file` and the one that takes its place, if somebody is about to replace it. One of
// the two is enough: between the two steps of the replacement the old file is overwritten already.
Result<MasterKeys> LoadPair(const fs::path& file, const fs::path& next_file) {
  MasterKeys keys;
  auto current = store::LoadMasterKey(file);
  std::error_code ignored;
  if (fs::exists(next_file, ignored)) {
    if (auto next = store::LoadMasterKey(next_file)) {
      if (current) keys.push_back({.key = *std::move(current), .next = false});
      keys.push_back({.key = *std::move(next), .next = true});
      return keys;
    }
  }
  if (!current) return Fail(std::move(current).error());
  keys.push_back({.key = *std::move(current), .next = false});
  return keys;
}

}  // namespace

Result<MasterKeys> LoadMasterKeys(const Config& config) {
  switch (config.key_source) {
    case KeySource::kFile:
      return LoadPair(config.master_key, store::NextMasterKeyFile(config.master_key));
    case KeySource::kCredential: {
      const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
      if (directory == nullptr) {
        return Fail(ErrorCode::kSealed,
                    std::string("the service manager gave no credentials; add to the unit: "
                                "LoadCredential=") +
                        kCredentialName + ":/path/of/the/key, or LoadCredentialEncrypted=");
      }
      return LoadPair(fs::path(directory) / kCredentialName,
                      fs::path(directory) / kNextCredentialName);
    }
    case KeySource::kPassphrase:
      break;
  }
  return Fail(ErrorCode::kSealed, "waiting for the passphrase; run: mayfly unseal", "passphrase");
}

Result<MasterKeys> MasterKeysOf(const Config& config, const store::Passphrase& passphrase) {
  using store::PassphraseRecord;
  MasterKeys keys;
  Status wrong;
  for (const bool next : {false, true}) {
    const auto record = next ? PassphraseRecord::kNext : PassphraseRecord::kCurrent;
    if (next && !store::HasPassphrase(config.keys_dir(), record)) break;
    auto key = store::OpenPassphrase(config.keys_dir(), record, passphrase);
    if (key) {
      keys.push_back({.key = *std::move(key), .next = next});
    } else if (wrong) {
      wrong = Fail(std::move(key).error());
    }
  }
  if (keys.empty()) return Fail(std::move(wrong).error());
  return keys;
}

Result<MasterKeys> MasterKeysOf(const MasterKeyLine& line) {
  auto key = store::ParseMasterKey(line.Reveal());
  if (!key) return Fail(ErrorCode::kSealed, "this is not a master key");
  MasterKeys keys;
  keys.push_back({.key = *std::move(key), .next = false});
  return keys;
}

P2Standing StandingOf(const Config& config, const store::FileSystemVerdict& file_system) {
  using store::P2Grade;
  P2Standing standing{.file_system = file_system.name, .overwriting_holds = file_system.holds()};
  switch (config.key_source) {
    case KeySource::kFile:
      standing.reason = "The master key is a file on this machine.";
      break;
    case KeySource::kCredential:
      standing.reason = config.credential_from_elsewhere
                            ? "The service manager hands the master key over; the operator says "
                              "that it is not kept on this machine's disk."
                            : "The service manager hands the master key over; where it keeps it "
                              "cannot be seen from here.";
      if (config.credential_from_elsewhere) standing.grade = P2Grade::kB;
      break;
    case KeySource::kPassphrase:
      standing.grade = P2Grade::kB;
      standing.reason = "The master key is made from a passphrase that is typed at each start.";
      break;
  }
  if (!standing.overwriting_holds) {
    standing.grade = standing.grade == P2Grade::kB ? P2Grade::kC : P2Grade::kNone;
    standing.reason += " The keys lie on " + file_system.name +
                       ", where overwriting does not destroy; the setting [keys] any_file_system "
                       "goes on all the same.";
  }
  return standing;
}

}  // namespace mayfly::service
