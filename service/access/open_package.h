// `mayfly open-package` and `mayfly package-key`: for the officer who hands over what a person
// asked for, on a machine of their own. Needs neither service nor configuration nor network.
#ifndef MAYFLY_SERVICE_ACCESS_OPEN_PACKAGE_H_
#define MAYFLY_SERVICE_ACCESS_OPEN_PACKAGE_H_

#include <filesystem>
#include <string>

namespace mayfly::service {

// Makes a file (0600) with a fresh identity and prints its recipient, which is what a package is
// asked for with. Overwrites nothing. The exit code.
int PackageKeyCommand(const std::filesystem::path& file);

struct OpenPackageArguments {
  std::filesystem::path package;
  std::filesystem::path identity;  // as PackageKeyCommand or age-keygen made it
  std::filesystem::path to;        // made here; must not exist
  std::string key;                 // receipt_key of the installation; empty: signature unchecked
};
inline constexpr int kExitPackageDiffers = 3;

// Opens the package into `to`, 0700, and checks every file against the manifest and that against
// the key. 0 when all holds, kExitPackageDiffers when something was changed, is missing or is too
// much (what was written stays, to be looked at); 1 when it cannot be opened: then nothing is left.
int OpenPackageCommand(const OpenPackageArguments& arguments);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ACCESS_OPEN_PACKAGE_H_
