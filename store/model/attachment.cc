#include "store/model/attachment.h"

namespace mayfly {
namespace {

struct Signature {
  std::size_t at;  // offset of `bytes`
  std::string_view bytes;
  const char* type;
};

// The first that holds counts.
constexpr Signature kSignatures[] = {
    {0, "\xff\xd8\xff", "image/jpeg"},
    {0, "\x89PNG\r\n\x1a\n", "image/png"},
    {0, "GIF87a", "image/gif"},
    {0, "GIF89a", "image/gif"},
    {0, "%PDF-", "application/pdf"},
    {0, "OggS", "audio/ogg"},
    {0, "fLaC", "audio/flac"},
    {0, "ID3", "audio/mpeg"},
    {0, "\x1a\x45\xdf\xa3", "video/webm"},
    {4, "ftypavif", "image/avif"},
    {4, "ftypheic", "image/heic"},
    {4, "ftypM4A", "audio/mp4"},
    {4, "ftypqt", "video/quicktime"},
    {4, "ftyp", "video/mp4"},
};

struct InRiff {
  std::string_view form;
  const char* type;
};
constexpr InRiff kInRiff[] = {
    {"WEBP", "image/webp"}, {"WAVE", "audio/wav"}, {"AVI ", "video/x-msvideo"}};

bool Holds(std::string_view begin, std::size_t at, std::string_view bytes) {
  return begin.size() >= at + bytes.size() && begin.substr(at, bytes.size()) == bytes;
}

}  // namespace

const char* MediaTypeOf(std::string_view begin) {
  for (const Signature& signature : kSignatures) {
    if (Holds(begin, signature.at, signature.bytes)) return signature.type;
  }
  if (Holds(begin, 0, "RIFF")) {
    for (const InRiff& kind : kInRiff) {
      if (Holds(begin, 8, kind.form)) return kind.type;
    }
  }
  return "application/octet-stream";
}

}  // namespace mayfly
