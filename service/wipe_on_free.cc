// Memory that C++ code gives back is overwritten first, in every program that holds messages. What
// people wrote passes through buffers of libraries (frames, HTTP, JSON, the engine's cache) that
// free it as it is; without this, old words lie about in the heap until something else is put
// there, long after their date. Measured, and what it costs: docs/decisions/0029.
//
// Replaces the operators of [new.delete], in the shared libraries as well. What is allocated with
// malloc by C code is not reached. Under a sanitizer, which brings its own, nothing is replaced.
#include <cstddef>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <string.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

// The default operator new takes its memory from malloc and aligned_alloc; so does this give it
// back.
void WipeAndFree(void* memory) noexcept {
  if (memory == nullptr) return;
  ::explicit_bzero(memory, ::malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void operator delete(void* memory) noexcept { WipeAndFree(memory); }
void operator delete[](void* memory) noexcept { WipeAndFree(memory); }
void operator delete(void* memory, std::size_t) noexcept { WipeAndFree(memory); }
void operator delete[](void* memory, std::size_t) noexcept { WipeAndFree(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { WipeAndFree(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { WipeAndFree(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { WipeAndFree(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { WipeAndFree(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { WipeAndFree(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  WipeAndFree(memory);
}
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  WipeAndFree(memory);
}
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  WipeAndFree(memory);
}

#endif
