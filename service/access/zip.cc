#include "service/access/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <chrono>
#include <utility>

namespace mayfly::service {
namespace {

constexpr std::size_t kReadBytes = 64u << 10;

struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
struct FreeReader {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

// libarchive's own sentences name files and numbers, never content.
tl::unexpected<Error> Failed(archive* which, ErrorCode code) {
  const char* why = archive_error_string(which);
  return Fail(code, std::string("zip: ") + (why != nullptr ? why : "no reason given"));
}

}  // namespace

struct ZipWriter::Impl {
  Sink sink;
  TimePoint now;
  archive* out = nullptr;

  static la_ssize_t Take(archive*, void* self, const void* bytes, std::size_t size) {
    static_cast<Impl*>(self)->sink({static_cast<const char*>(bytes), size});
    return static_cast<la_ssize_t>(size);
  }
};

ZipWriter::ZipWriter(Sink sink, TimePoint now) : impl_(std::make_unique<Impl>()) {
  impl_->sink = std::move(sink);
  impl_->now = now;
  impl_->out = archive_write_new();
  archive_write_set_format_zip(impl_->out);
  archive_write_set_options(impl_->out, "zip:compression=store");
  archive_write_set_bytes_per_block(impl_->out, 0);  // nothing is kept back
  archive_write_open(impl_->out, impl_.get(), nullptr, Impl::Take, nullptr);
}

ZipWriter::~ZipWriter() { archive_write_free(impl_->out); }

Status ZipWriter::Begin(const std::string& name) {
  const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0600);
  archive_entry_set_mtime(
      entry.get(),
      std::chrono::duration_cast<std::chrono::seconds>(impl_->now.time_since_epoch()).count(), 0);
  if (archive_write_header(impl_->out, entry.get()) != ARCHIVE_OK) {
    return Failed(impl_->out, ErrorCode::kIo);
  }
  return {};
}

Status ZipWriter::Write(std::string_view bytes) {
  const la_ssize_t wrote = archive_write_data(impl_->out, bytes.data(), bytes.size());
  if (wrote != static_cast<la_ssize_t>(bytes.size())) return Failed(impl_->out, ErrorCode::kIo);
  return {};
}

Status ZipWriter::End() {
  if (archive_write_finish_entry(impl_->out) != ARCHIVE_OK) {
    return Failed(impl_->out, ErrorCode::kIo);
  }
  return {};
}

Status ZipWriter::Finish() {
  if (archive_write_close(impl_->out) != ARCHIVE_OK) return Failed(impl_->out, ErrorCode::kIo);
  return {};
}

Status ReadZip(const std::filesystem::path& file,
               const std::function<Status(const std::string& name)>& begin,
               const std::function<Status(std::string_view bytes)>& write) {
  const std::unique_ptr<archive, FreeReader> in(archive_read_new());
  archive_read_support_format_zip_seekable(in.get());
  if (archive_read_open_filename(in.get(), file.c_str(), kReadBytes) != ARCHIVE_OK) {
    return Failed(in.get(), ErrorCode::kInvalidArgument);
  }
  std::string bytes(kReadBytes, '\0');
  for (;;) {
    archive_entry* entry = nullptr;
    const int next = archive_read_next_header(in.get(), &entry);
    if (next == ARCHIVE_EOF) return {};
    if (next != ARCHIVE_OK) return Failed(in.get(), ErrorCode::kInvalidArgument);
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || archive_entry_filetype(entry) != AE_IFREG) {
      return Fail(ErrorCode::kInvalidArgument, "zip: an entry is no plain file");
    }
    MAYFLY_RETURN_IF_ERROR(begin(name));
    for (;;) {
      const la_ssize_t got = archive_read_data(in.get(), bytes.data(), bytes.size());
      if (got == 0) break;
      if (got < 0) return Failed(in.get(), ErrorCode::kInvalidArgument);
      MAYFLY_RETURN_IF_ERROR(
          write(std::string_view(bytes).substr(0, static_cast<std::size_t>(got))));
    }
  }
}

}  // namespace mayfly::service
