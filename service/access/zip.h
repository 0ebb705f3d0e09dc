// Zip files, by libarchive: written as bytes come, read from a whole file.
#ifndef MAYFLY_SERVICE_ACCESS_ZIP_H_
#define MAYFLY_SERVICE_ACCESS_ZIP_H_

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::service {

// Entries are stored as they are: compressing would leave what people wrote in buffers of a library
// that does not wipe them.
class ZipWriter {
 public:
  using Sink = std::function<void(std::string_view)>;
  // `sink` takes the file's bytes, during the calls below.
  ZipWriter(Sink sink, TimePoint now);
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  // kIo when libarchive refuses; the file is worth nothing then.
  Status Begin(const std::string& name);  // ASCII, '/' between folders
  Status Write(std::string_view bytes);
  Status End();
  Status Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Calls `begin` for each entry and `write` with its bytes. What `begin` refuses ends it. Only plain
// files are given out. kInvalidArgument when it is no zip file.
Status ReadZip(const std::filesystem::path& file,
               const std::function<Status(const std::string& name)>& begin,
               const std::function<Status(std::string_view bytes)>& write);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_ACCESS_ZIP_H_
