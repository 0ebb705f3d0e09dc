#include "store/keys/key_traces.h"

#include <fstream>
#include <system_error>
#include <utility>

#include "store/keys/key_file.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

// See key_file.h.
constexpr std::string_view kMark = "mayfly-key-file";
constexpr std::size_t kSealedAt = 88;
constexpr std::size_t kSealedBytes = 80;

void Add(std::vector<KeyTrace>* traces, const std::string& owner, std::string bytes,
         bool in_clear) {
  KeyTrace trace;
  trace.owner = owner;
  trace.bytes = std::move(bytes);
  trace.in_clear = in_clear;
  traces->push_back(std::move(trace));
}

void AddKey(std::vector<KeyTrace>* traces, const std::string& owner, const SecretKey& key) {
  if (key.empty()) return;
  const KeyBytes bytes = key.bytes();
  Add(traces, owner, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), true);
}

}  // namespace

Result<std::vector<KeyTrace>> KeyTraces(const fs::path& dir, const SecretKey& master) {
  std::vector<KeyTrace> traces;
  Add(&traces, "any", std::string(kMark), false);
  AddKey(&traces, "master", master);
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const auto id = KeyFile::ParseFileName(at->path().filename().string());
    if (!id) continue;
    KeyFile file(dir, *id, /*sync=*/false, /*read_only=*/true);
    if (at->path().extension() == ".a") {
      const auto opened = file.Open(master);
      // One that does not open, or is gone by now, has no key that could be known.
      if (opened) {
        AddKey(&traces, file.name(), opened->keys.first);
        if (id->kind == KeyFileKind::kDate) AddKey(&traces, file.name(), opened->keys.second);
      }
    }
    std::ifstream in(at->path(), std::ios::binary);
    std::string sealed(kSealedBytes, '\0');
    in.seekg(kSealedAt);
    in.read(sealed.data(), kSealedBytes);
    const bool whole = in.gcount() == static_cast<std::streamsize>(kSealedBytes);
    if (whole && sealed != std::string(kSealedBytes, '\0')) {
      Add(&traces, file.name(), std::move(sealed), false);
    }
  }
  if (error) return Fail(ErrorCode::kIo, "cannot list the key directory: " + error.message());
  return traces;
}

}  // namespace mayfly::store
