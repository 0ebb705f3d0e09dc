#include "service/access/open_package.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <sodium.h>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "service/access/access_package.h"
#include "service/access/age.h"
#include "service/access/zip.h"
#include "service/api/signed_receipt.h"
#include "store/keys/descriptor.h"
#include "store/model/ids.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::size_t kIdentityBytesMax = 64u << 10;
constexpr std::size_t kManifestBytesMax = 64u << 20;

int Complain(const Error& error) {
  std::cerr << error.message << "\n";
  return 1;
}

// Names that we give, and no way out of the folder.
bool IsOurName(std::string_view name) {
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  const std::size_t slash = name.find('/');
  if (slash != std::string_view::npos) {
    if (name.substr(0, slash) != "attachments") return false;
    name.remove_prefix(slash + 1);
  }
  return !name.empty() && name.front() != '.' && name.size() <= 100 &&
         name.find_first_not_of(kLetters) == std::string_view::npos;
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return Fail(ErrorCode::kIo, "A file cannot be written: is the disk full?");
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

store::Descriptor NewFile(const fs::path& path) {
  return store::Descriptor(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

Result<AgeIdentity> LoadIdentity(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kIdentityBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.empty()) return Fail(ErrorCode::kIo, path.string() + ": cannot be read");
  return AgeIdentity::Parse(AgeIdentityText(std::move(text)));
}

Status Unseal(const fs::path& package, const AgeIdentity& identity, const fs::path& zip) {
  std::ifstream in(package, std::ios::binary);
  if (!in) return Fail(ErrorCode::kIo, package.string() + ": cannot be read");
  const store::Descriptor out = NewFile(zip);
  if (!out.open()) return Fail(ErrorCode::kIo, zip.string() + ": cannot be made");
  AgeOpener opener(identity);
  std::string sealed(kReadBytes, '\0'), plain;
  const auto flush = [&]() -> Status {
    const Status written = WriteAll(out.get(), plain);
    WipeString(plain);
    return written;
  };
  while (in.read(sealed.data(), static_cast<std::streamsize>(sealed.size())) || in.gcount() > 0) {
    MAYFLY_RETURN_IF_ERROR(opener.Append(
        std::string_view(sealed).substr(0, static_cast<std::size_t>(in.gcount())), &plain));
    MAYFLY_RETURN_IF_ERROR(flush());
  }
  if (in.bad()) return Fail(ErrorCode::kIo, package.string() + ": cannot be read");
  MAYFLY_RETURN_IF_ERROR(opener.Finish(&plain));
  return flush();
}

struct Unpacked {
  std::uint64_t bytes = 0;
  std::string sha256;
};

Result<std::map<std::string, Unpacked>> Unzip(const fs::path& zip, const fs::path& to) {
  std::map<std::string, Unpacked> files;
  std::string name;
  std::optional<store::Descriptor> out;
  crypto_hash_sha256_state hash;
  const auto end = [&] {
    if (!out) return;
    std::string sum(crypto_hash_sha256_BYTES, '\0');
    crypto_hash_sha256_final(&hash, reinterpret_cast<unsigned char*>(sum.data()));
    files[name].sha256 = ToHex(sum);
    out.reset();
  };
  const auto begin = [&](const std::string& entry) -> Status {
    end();
    if (!IsOurName(entry)) {
      return Fail(ErrorCode::kInvalidArgument,
                  "A file in the package has a name that is not ours.");
    }
    name = entry;
    std::error_code ignored;
    if (fs::path(entry).has_parent_path()) fs::create_directory(to / "attachments", ignored);
    out.emplace(NewFile(to / entry));
    if (!out->open()) return Fail(ErrorCode::kIo, (to / entry).string() + ": cannot be made");
    files[name] = {};
    crypto_hash_sha256_init(&hash);
    return {};
  };
  const auto write = [&](std::string_view bytes) -> Status {
    crypto_hash_sha256_update(&hash, reinterpret_cast<const unsigned char*>(bytes.data()),
                              bytes.size());
    files[name].bytes += bytes.size();
    return WriteAll(out->get(), bytes);
  };
  MAYFLY_RETURN_IF_ERROR(ReadZip(zip, begin, write));
  end();
  return files;
}

// Sentences about what is not as the manifest says; none when everything is.
Result<std::vector<std::string>> Differences(const fs::path& to,
                                             std::map<std::string, Unpacked> files,
                                             const std::string& key) {
  std::vector<std::string> wrong;
  if (files.erase("manifest.json") == 0) return std::vector<std::string>{"It has no manifest."};
  std::ifstream in(to / "manifest.json", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  MAYFLY_ASSIGN_OR_RETURN(
      const json::Value manifest,
      json::Parse(text, {.bytes_max = kManifestBytesMax, .items_max = 10'000'000}));
  MAYFLY_ASSIGN_OR_RETURN(const std::string format, manifest.String("format"));
  if (format != kPackageFormat) wrong.push_back("Its manifest is of a form not known here.");
  if (!key.empty()) {
    MAYFLY_ASSIGN_OR_RETURN(const bool holds, api::SignatureHolds(manifest, key));
    if (!holds) wrong.push_back("Its manifest was not signed with this key.");
  }
  const json::Value* listed = manifest.Find("files");
  if (listed == nullptr || !listed->is_array()) {
    return Fail(ErrorCode::kInvalidArgument, "Its manifest lists no files.");
  }
  for (const json::Value& file : *listed->AsArray()) {
    MAYFLY_ASSIGN_OR_RETURN(const std::string name, file.String("name"));
    MAYFLY_ASSIGN_OR_RETURN(const std::int64_t bytes, file.Int("bytes"));
    MAYFLY_ASSIGN_OR_RETURN(const std::string sha256, file.String("sha256"));
    const auto found = files.find(name);
    if (found == files.end()) {
      wrong.push_back("Missing: " + name);
      continue;
    }
    if (found->second.bytes != static_cast<std::uint64_t>(bytes) ||
        found->second.sha256 != sha256) {
      wrong.push_back("Changed: " + name);
    }
    files.erase(found);
  }
  for (const auto& [name, unpacked] : files) wrong.push_back("Not in the manifest: " + name);
  return wrong;
}

}  // namespace

int PackageKeyCommand(const fs::path& file) {
  const AgeIdentity identity = AgeIdentity::Make();
  const std::string recipient = FormatAgeRecipient(identity.Recipient());
  const store::Descriptor out = NewFile(file);
  if (!out.open()) {
    return Complain(
        {.message = file.string() + (errno == EEXIST ? ": exists already; nothing is overwritten"
                                                     : ": cannot be made")});
  }
  std::string text = "# recipient: " + recipient + "\n" + identity.Text().Reveal() + "\n";
  const Status written = WriteAll(out.get(), text);
  WipeString(text);
  if (!written || ::fsync(out.get()) != 0) {
    return Complain({.message = file.string() + ": could not be written whole"});
  }
  std::cout << recipient << "\n";
  return 0;
}

int OpenPackageCommand(const OpenPackageArguments& arguments) {
  const auto identity = LoadIdentity(arguments.identity);
  if (!identity) return Complain(identity.error());
  std::error_code error;
  if (!fs::create_directory(arguments.to, error)) {
    return Complain({.message = arguments.to.string() + ": exists already, or cannot be made"});
  }
  fs::permissions(arguments.to, fs::perms::owner_all, error);
  const auto give_up = [&](const Error& why) {
    std::error_code ignored;
    fs::remove_all(arguments.to, ignored);
    return Complain(why);
  };
  const fs::path zip = arguments.to / ".package.zip";
  if (const Status opened = Unseal(arguments.package, *identity, zip); !opened) {
    return give_up(opened.error());
  }
  auto files = Unzip(zip, arguments.to);
  fs::remove(zip, error);
  if (!files) return give_up(files.error());
  const std::size_t count = files->size();
  const auto wrong = Differences(arguments.to, *std::move(files), arguments.key);
  if (!wrong) return give_up(wrong.error());
  for (const std::string& sentence : *wrong) std::cout << sentence << "\n";
  if (!wrong->empty()) return kExitPackageDiffers;
  std::cout << count << " files in " << arguments.to.string() << ", as they were packed. "
            << (arguments.key.empty() ? "Whether they are the installation's was not checked: give "
                                        "--key with its receipt_key.\n"
                                      : "Signed by the installation that the key belongs to.\n");
  return 0;
}

}  // namespace mayfly::service
