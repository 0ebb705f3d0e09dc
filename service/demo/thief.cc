#include "service/demo/thief.h"

#include <fstream>
#include <sodium.h>
#include <string_view>

#include "service/open_store.h"
#include "store/keys/seal.h"
#include "store/model/ids.h"
#include "store/model/sensitive.h"
#include "store/schema.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

std::uint64_t CountIn(std::string_view text, std::string_view word) {
  std::uint64_t count = 0;
  for (std::size_t at = text.find(word); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    ++count;
  }
  return count;
}

void SearchFile(const fs::path& path, const std::string& word, ThiefsView* view) {
  std::ifstream file(path, std::ios::binary);
  // A file that has gone meanwhile holds nothing.
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  ++view->files;
  view->bytes += bytes.size();
  view->raw_hits += CountIn(bytes, word) + CountIn(bytes, ToHex(word));
}

void SearchFiles(const fs::path& path, const std::string& word, ThiefsView* view) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return SearchFile(path, word, view);
  for (const auto& entry : fs::recursive_directory_iterator(path, ignored)) {
    if (entry.is_regular_file(ignored)) SearchFile(entry.path(), word, view);
  }
}

Status OpenRows(const fs::path& store, store::KeyVault& vault, const std::string& word,
                ThiefsView* view) {
  MAYFLY_ASSIGN_OR_RETURN(const auto engine, OpenEngineReadOnly(store));
  for (const store::Family family : engine->Families(store::Family::Kind::kDay)) {
    const std::string name = family.Name();
    MAYFLY_RETURN_IF_ERROR(
        engine->Scan(family, {}, [&](std::string_view key, std::string_view sealed) {
          const char kind = store::schema::KindOf(key);
          if (store::schema::IsPlain(kind)) return true;
          const auto header = store::PeekSealed(sealed);
          if (!header) return true;
          ++view->rows;
          auto pair = vault.PairFor(family.day(), header->slot);
          if (!pair) return true;  // its key is destroyed
          auto body = store::Unseal(*pair,
                                    {.organisation = store::schema::kOrganisation,
                                     .family = name,
                                     .column = kind,
                                     .engine_key = key,
                                     .expires_at = StartOf(family.day())},
                                    sealed);
          sodium_memzero(pair->data(), pair->size());
          if (!body) return true;
          ++view->opened;
          view->hits += CountIn(*body, word) > 0 ? 1 : 0;
          WipeString(*body);
          return true;
        }));
  }
  return {};
}

}  // namespace

Result<ThiefsView> LookAsThief(const Config& config, const std::vector<fs::path>& places,
                               const std::vector<fs::path>& stores, const std::string& word) {
  ThiefsView view;
  for (const fs::path& place : places) SearchFiles(place, word, &view);
  MAYFLY_ASSIGN_OR_RETURN(const KeysToLookAt keys, OpenKeysReadOnly(config));
  for (const fs::path& store : stores) {
    MAYFLY_RETURN_IF_ERROR(OpenRows(store, *keys.vault, word, &view));
  }
  return view;
}

}  // namespace mayfly::service
