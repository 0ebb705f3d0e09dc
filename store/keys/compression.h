// zstd with the fixed dictionary, for the bodies of records. Internal to the keys. Any thread.
//
// A context of zstd keeps what it worked on last: up to 128 KiB of it, for as long as its thread
// lives. So whoever destroys keys calls ForgetCompressed, or what they sealed would lie in memory
// in clear.
#ifndef MAYFLY_STORE_KEYS_COMPRESSION_H_
#define MAYFLY_STORE_KEYS_COMPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mayfly::store::internal {

// The compressed size; nullopt when it does not fit into `room`.
std::optional<std::size_t> Compress(std::string_view body, std::uint8_t* out, std::size_t room);

// Bytes of the one frame at the beginning of `content`; nullopt when there is none.
std::optional<std::size_t> FrameBytes(const std::uint8_t* content, std::size_t bytes);
// False when the frame does not decompress to exactly `size` bytes.
bool Decompress(const std::uint8_t* frame, std::size_t frame_bytes, char* out, std::size_t size);

// Overwrites what compressing and decompressing left in memory, of every thread.
void ForgetCompressed();

}  // namespace mayfly::store::internal

#endif  // MAYFLY_STORE_KEYS_COMPRESSION_H_
