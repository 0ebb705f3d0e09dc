#include "service/backup/files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sodium.h>
#include <string_view>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "store/keys/descriptor.h"
#include "store/model/ids.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest";
constexpr std::size_t kChunkBytes = 1u << 20;
constexpr std::size_t kManifestBytesMax = 64u << 20;

class Hash {
 public:
  Hash() { crypto_generichash_init(&state_, nullptr, 0, crypto_generichash_BYTES); }
  void Add(const char* bytes, std::size_t size) {
    crypto_generichash_update(&state_, reinterpret_cast<const unsigned char*>(bytes), size);
  }
  std::string Hex() {
    std::array<char, crypto_generichash_BYTES> out;
    crypto_generichash_final(&state_, reinterpret_cast<unsigned char*>(out.data()), out.size());
    return ToHex({out.data(), out.size()});
  }

 private:
  crypto_generichash_state state_;
};

std::string HashOf(std::string_view bytes) {
  Hash hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

tl::unexpected<Error> Failed(const fs::path& file, const char* what, int error) {
  const std::string reason = std::generic_category().message(error);
  return Fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
              file.string() + ": " + what + ": " + reason);
}

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// Reads `from` to its end; `to` may be -1.
Result<BackupFile> Pump(const fs::path& from, const fs::path& target, int to) {
  const store::Descriptor in(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (in.get() < 0) return Failed(from, "cannot be opened", errno);
  BackupFile file{.name = from.filename().string()};
  Hash hash;
  std::string chunk(kChunkBytes, '\0');
  while (true) {
    const ssize_t got = ::read(in.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(from, "cannot be read", errno);
    if (got == 0) break;
    hash.Add(chunk.data(), static_cast<std::size_t>(got));
    file.bytes += static_cast<std::uint64_t>(got);
    if (to >= 0 && !WriteAll(to, {chunk.data(), static_cast<std::size_t>(got)})) {
      return Failed(target, "cannot be written", errno);
    }
  }
  file.hash = hash.Hex();
  return file;
}

Result<Manifest> DecodeManifest(const json::Value& json) {
  Manifest manifest;
  MAYFLY_ASSIGN_OR_RETURN(const std::int64_t format, json.Int("format"));
  if (format != kBackupFormat) {
    return Fail(ErrorCode::kInvalidArgument, "it is of another format than this version reads");
  }
  MAYFLY_ASSIGN_OR_RETURN(const std::string created_at, json.String("created_at"));
  const auto at = ParseRfc3339(created_at);
  if (!at) return Fail(ErrorCode::kCorrupt, "it has no time");
  manifest.created_at = *at;
  MAYFLY_ASSIGN_OR_RETURN(manifest.engine, json.String("engine"));
  MAYFLY_ASSIGN_OR_RETURN(manifest.program, json.String("program"));
  MAYFLY_ASSIGN_OR_RETURN(manifest.keys_print, json.String("keys"));
  const json::Value* families = json.Find("families");
  const json::Value* files = json.Find("files");
  if (families == nullptr || !families->is_array() || files == nullptr || !files->is_array()) {
    return Fail(ErrorCode::kCorrupt, "it lists no files");
  }
  for (const json::Value& family : *families->AsArray()) {
    if (!family.is_string()) return Fail(ErrorCode::kCorrupt, "it lists no families");
    manifest.families.push_back(*family.AsString());
  }
  for (const json::Value& item : *files->AsArray()) {
    BackupFile file;
    MAYFLY_ASSIGN_OR_RETURN(file.name, item.String("name"));
    MAYFLY_ASSIGN_OR_RETURN(const std::int64_t bytes, item.Int("bytes"));
    MAYFLY_ASSIGN_OR_RETURN(file.hash, item.String("blake2b"));
    // A name must stay below store/.
    if (file.name.empty() || file.name[0] == '.' || file.name.find('/') != std::string::npos ||
        bytes < 0) {
      return Fail(ErrorCode::kCorrupt, "it names a file that a store cannot have");
    }
    file.bytes = static_cast<std::uint64_t>(bytes);
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

}  // namespace

const BackupFile* Manifest::Find(const std::string& name) const {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const BackupFile& file) { return file.name == name; });
  return found == files.end() ? nullptr : &*found;
}

Status WriteManifest(const fs::path& backup, const Manifest& manifest) {
  std::string text;
  {
    json::Writer writer(&text);
    writer.StartObject()
        .IntField("format", manifest.format)
        .Field("created_at", FormatRfc3339(manifest.created_at))
        .Field("engine", manifest.engine)
        .Field("program", manifest.program)
        .Field("keys", manifest.keys_print);
    writer.Key("families").StartArray();
    for (const std::string& family : manifest.families) writer.String(family);
    writer.EndArray().Key("files").StartArray();
    for (const BackupFile& file : manifest.files) {
      writer.StartObject().Field("name", file.name).Key("bytes").Uint(file.bytes);
      writer.Field("blake2b", file.hash).EndObject();
    }
    writer.EndArray().EndObject();
  }
  const std::string bytes = text + "\n" + HashOf(text) + "\n";
  const fs::path path = backup / kManifest;
  store::Descriptor out(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (out.get() < 0) return Failed(path, "cannot be made", errno);
  if (!WriteAll(out.get(), bytes) || ::fsync(out.get()) != 0 || !out.Close()) {
    return Failed(path, "cannot be written", errno);
  }
  return SyncDir(backup);
}

Result<Manifest> ReadManifest(const fs::path& backup) {
  const fs::path path = backup / kManifest;
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return Fail(ErrorCode::kNotFound,
                path.string() + ": is missing; this backup was never finished");
  }
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  const std::size_t line = bytes.find('\n');
  if (bytes.size() > kManifestBytesMax || line == std::string::npos ||
      bytes.substr(line + 1) != HashOf(std::string_view(bytes).substr(0, line)) + "\n") {
    return Fail(ErrorCode::kCorrupt, path.string() + ": is cut off or was altered");
  }
  const auto json = json::Parse(std::string_view(bytes).substr(0, line),
                                {.bytes_max = kManifestBytesMax, .items_max = 10'000'000});
  auto manifest = json ? DecodeManifest(*json) : Result<Manifest>(Fail(json.error()));
  if (manifest) return manifest;
  const bool other = manifest.error().code == ErrorCode::kInvalidArgument && json;
  return Fail(other ? ErrorCode::kInvalidArgument : ErrorCode::kCorrupt,
              path.string() + ": " + manifest.error().message);
}

std::string BackupName(TimePoint at) {
  std::string name = FormatRfc3339(at);  // 2026-11-22T12:00:00.000Z
  std::erase_if(name, [](char c) { return c == '-' || c == ':'; });
  return name;
}

std::vector<fs::path> ListBackups(const fs::path& dir) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const fs::path path = at->path();
    if (path.extension() == ".part" || !fs::is_regular_file(path / kManifest, error)) continue;
    found.push_back(path);
  }
  std::sort(found.begin(), found.end());  // names are times
  return found;
}

Result<fs::path> FindBackup(const fs::path& dir) {
  std::error_code error;
  if (dir.extension() == ".part") {
    return Fail(ErrorCode::kNotFound, dir.string() + ": this backup was never finished");
  }
  if (fs::is_regular_file(dir / kManifest, error)) return dir;
  const std::vector<fs::path> backups = ListBackups(dir);
  if (!backups.empty()) return backups.back();
  const bool half = fs::is_directory(dir / "store", error);
  return Fail(ErrorCode::kNotFound,
              dir.string() + (half ? ": has no manifest; this backup was never finished"
                                   : ": holds no finished backup"));
}

Result<BackupFile> HashFile(const fs::path& file) { return Pump(file, {}, -1); }

Result<BackupFile> CopyFile(const fs::path& from, const fs::path& to) {
  store::Descriptor out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (out.get() < 0) return Failed(to, "cannot be made", errno);
  auto copied = Pump(from, to, out.get());
  if (copied && (::fsync(out.get()) != 0 || !out.Close())) {
    copied = Failed(to, "cannot be written", errno);
  }
  if (!copied) ::unlink(to.c_str());
  return copied;
}

Status SyncDir(const fs::path& dir) {
  const store::Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return Failed(dir, "cannot be synced", errno);
  return {};
}

Status RemoveTree(const fs::path& dir) {
  std::error_code error;
  fs::remove_all(dir, error);
  if (error) return Fail(ErrorCode::kIo, dir.string() + ": cannot be removed: " + error.message());
  return {};
}

Result<std::shared_ptr<void>> LockDir(const fs::path& dir) {
  const fs::path path = dir / ".lock";
  auto file =
      std::make_shared<store::Descriptor>(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file->get() < 0) return Failed(path, "cannot be made", errno);
  if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) {
    return Fail(ErrorCode::kUnavailable, dir.string() + ": another backup is being written there");
  }
  return std::shared_ptr<void>(file);
}

}  // namespace mayfly::service
