#include "store/keys/compression.h"

#include <cstdio>
#include <cstdlib>
#include <malloc.h>
#include <set>
#include <sodium.h>

// For a context with an allocator of ours; the functions are in the shared library.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "store/keys/dictionary.h"
#include "store/model/mutex.h"

namespace mayfly::store::internal {
namespace {

// With records of this size, 3 makes them no smaller and takes longer.
constexpr int kZstdLevel = 2;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void* Allocate(void*, std::size_t bytes) { return std::malloc(bytes); }
void WipeAndFree(void*, void* memory) {
  if (memory == nullptr) return;
  sodium_memzero(memory, ::malloc_usable_size(memory));
  std::free(memory);
}
constexpr ZSTD_customMem kWiping = {Allocate, WipeAndFree, nullptr};

const ZSTD_CDict* CompressionDictionary() {
  static const ZSTD_CDict* const dictionary = [] {
    const std::string_view bytes = RecordsDictionary1();
    const ZSTD_CDict* made = ZSTD_createCDict(bytes.data(), bytes.size(), kZstdLevel);
    if (made == nullptr) Die("the compression dictionary does not load");
    return made;
  }();
  return dictionary;
}

const ZSTD_DDict* DecompressionDictionary() {
  static const ZSTD_DDict* const dictionary = [] {
    const std::string_view bytes = RecordsDictionary1();
    const ZSTD_DDict* made = ZSTD_createDDict(bytes.data(), bytes.size());
    if (made == nullptr) Die("the decompression dictionary does not load");
    return made;
  }();
  return dictionary;
}

ZSTD_CCtx* MakeCompressor() {
  ZSTD_CCtx* const made = ZSTD_createCCtx_advanced(kWiping);
  // The dictionary is known from the flags byte and the length from the size field.
  if (made == nullptr || ZSTD_isError(ZSTD_CCtx_refCDict(made, CompressionDictionary())) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(made, ZSTD_c_contentSizeFlag, 0)) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(made, ZSTD_c_checksumFlag, 0)) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(made, ZSTD_c_dictIDFlag, 0))) {
    Die("the compressor does not start");
  }
  return made;
}

ZSTD_DCtx* MakeDecompressor() {
  ZSTD_DCtx* const made = ZSTD_createDCtx_advanced(kWiping);
  if (made == nullptr) Die("the decompressor does not start");
  return made;
}

// What one thread works with. Made when it is needed.
struct Contexts {
  Contexts();
  ~Contexts();
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;

  void Forget() MAYFLY_REQUIRES(mutex) {
    ZSTD_freeCCtx(compressor);
    ZSTD_freeDCtx(decompressor);
    compressor = nullptr;
    decompressor = nullptr;
  }

  Mutex mutex;
  ZSTD_CCtx* compressor MAYFLY_GUARDED_BY(mutex) = nullptr;
  ZSTD_DCtx* decompressor MAYFLY_GUARDED_BY(mutex) = nullptr;
};

// Before the mutex of any of them. Never destroyed: threads may end after main.
struct Registry {
  Mutex mutex;
  std::set<Contexts*> all MAYFLY_GUARDED_BY(mutex);
};
Registry& AllContexts() {
  static Registry* const registry = new Registry;
  return *registry;
}

Contexts::Contexts() {
  Registry& registry = AllContexts();
  const MutexLock lock(registry.mutex);
  registry.all.insert(this);
}

Contexts::~Contexts() {
  {
    Registry& registry = AllContexts();
    const MutexLock lock(registry.mutex);
    registry.all.erase(this);
  }
  const MutexLock lock(mutex);
  Forget();
}

Contexts& Mine() {
  thread_local Contexts contexts;
  return contexts;
}

}  // namespace

std::optional<std::size_t> Compress(std::string_view body, std::uint8_t* out, std::size_t room) {
  Contexts& contexts = Mine();
  const MutexLock lock(contexts.mutex);
  if (contexts.compressor == nullptr) contexts.compressor = MakeCompressor();
  const std::size_t size = ZSTD_compress2(contexts.compressor, out, room, body.data(), body.size());
  if (ZSTD_isError(size)) return std::nullopt;
  return size;
}

std::optional<std::size_t> FrameBytes(const std::uint8_t* content, std::size_t bytes) {
  const std::size_t frame = ZSTD_findFrameCompressedSize(content, bytes);
  if (ZSTD_isError(frame)) return std::nullopt;
  return frame;
}

bool Decompress(const std::uint8_t* frame, std::size_t frame_bytes, char* out, std::size_t size) {
  Contexts& contexts = Mine();
  const MutexLock lock(contexts.mutex);
  if (contexts.decompressor == nullptr) contexts.decompressor = MakeDecompressor();
  const std::size_t made = ZSTD_decompress_usingDDict(contexts.decompressor, out, size, frame,
                                                      frame_bytes, DecompressionDictionary());
  return !ZSTD_isError(made) && made == size;
}

void ForgetCompressed() {
  Registry& registry = AllContexts();
  const MutexLock lock(registry.mutex);
  for (Contexts* const contexts : registry.all) {
    const MutexLock each(contexts->mutex);
    contexts->Forget();
  }
}

}  // namespace mayfly::store::internal
