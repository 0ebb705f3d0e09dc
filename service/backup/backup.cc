#include "service/backup/backup.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "service/open_store.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 3;

// An earlier backup to link to.
struct Earlier {
  fs::path dir;
  Manifest manifest;
};

class BackupWriter {
 public:
  BackupWriter(const BackupSource& source, const BackupOptions& options, TimePoint now)
      : source_(source), options_(options), now_(now) {}

  Result<BackupReport> Run() {
    std::error_code error;
    fs::create_directories(options_.dir, error);
    if (error) return Fail(ErrorCode::kIo, options_.dir.string() + ": cannot be made");
    MAYFLY_ASSIGN_OR_RETURN(const auto lock, LockDir(options_.dir));
    MAYFLY_RETURN_IF_ERROR(RemoveParts());
    FindEarlier();
    MAYFLY_RETURN_IF_ERROR(ChooseName());
    for (int attempt = 1;; ++attempt) {
      report_ = {};
      auto written = Write();
      auto dropped = source_.drop();
      if (written) {
        MAYFLY_RETURN_IF_ERROR(std::move(dropped));
        Reached(BackupStep::kCheckpointDropped);
        break;
      }
      MAYFLY_RETURN_IF_ERROR(RemoveTree(part_));
      // A date ended and took the checkpoint with it.
      const bool again = written.error().code == ErrorCode::kNotFound && attempt < kAttempts;
      if (!again) return Fail(std::move(written).error());
    }
    MAYFLY_RETURN_IF_ERROR(Prune());
    return report_;
  }

 private:
  void Reached(BackupStep step) const {
    if (options_.hook) options_.hook(step);
  }

  // What was cut off: half a backup, or half of one being removed.
  Status RemoveParts() const {
    std::vector<fs::path> parts;
    std::error_code error;
    for (fs::directory_iterator at(options_.dir, error), end; !error && at != end;
         at.increment(error)) {
      if (at->path().extension() == ".part") parts.push_back(at->path());
    }
    for (const fs::path& part : parts) MAYFLY_RETURN_IF_ERROR(RemoveTree(part));
    return {};
  }

  void FindEarlier() {
    const std::vector<fs::path> backups = ListBackups(options_.dir);
    for (auto at = backups.rbegin(); at != backups.rend(); ++at) {
      auto manifest = ReadManifest(*at);
      if (!manifest) continue;  // a damaged one is no reason to have no new one
      earlier_ = Earlier{*at, *std::move(manifest)};
      return;
    }
  }

  Status ChooseName() {
    std::error_code error;
    TimePoint at = now_;
    do {
      final_ = options_.dir / BackupName(at);
      at += std::chrono::milliseconds(1);
    } while (fs::exists(final_, error));
    part_ = final_;
    part_ += ".part";
    return {};
  }

  Status Write() {
    MAYFLY_ASSIGN_OR_RETURN(const BackupSource::Checkpoint checkpoint, source_.take());
    Reached(BackupStep::kCheckpointTaken);
    std::error_code error;
    fs::create_directories(part_ / "store", error);
    if (error) return Fail(ErrorCode::kIo, part_.string() + ": cannot be made: " + error.message());
    Manifest manifest{.created_at = now_,
                      .engine = EngineVersion(),
                      .program = options_.program,
                      .keys_print = checkpoint.keys_print};
    const std::vector<std::string> names = NamesIn(checkpoint.dir, &error);
    for (const std::string& name : names) {
      MAYFLY_ASSIGN_OR_RETURN(BackupFile file, Bring(checkpoint.dir / name));
      manifest.files.push_back(std::move(file));
      Reached(BackupStep::kFileCopied);
    }
    // Whether it was whole when it was listed.
    if (!error && NamesIn(checkpoint.dir, &error) != names)
      error = std::make_error_code(std::errc::no_such_file_or_directory);
    if (error) return Fail(ErrorCode::kNotFound, checkpoint.dir.string() + ": is gone");
    MAYFLY_RETURN_IF_ERROR(SyncDir(part_ / "store"));
    // Opened as it will be when it is needed; so a backup that cannot be opened is none.
    MAYFLY_ASSIGN_OR_RETURN(const auto engine, OpenEngineReadOnly(part_ / "store"));
    for (const auto kind : {store::Family::Kind::kDay, store::Family::Kind::kAudit}) {
      for (const store::Family family : engine->Families(kind)) {
        manifest.families.push_back(family.Name());
      }
    }
    report_.files = manifest.files.size();
    MAYFLY_RETURN_IF_ERROR(WriteManifest(part_, manifest));
    Reached(BackupStep::kManifestWritten);
    fs::rename(part_, final_, error);
    if (error) return Fail(ErrorCode::kIo, final_.string() + ": cannot be put in its place");
    MAYFLY_RETURN_IF_ERROR(SyncDir(options_.dir));
    report_.backup = final_;
    Reached(BackupStep::kInPlace);
    return {};
  }

  static std::vector<std::string> NamesIn(const fs::path& dir, std::error_code* error) {
    std::vector<std::string> names;
    for (fs::directory_iterator at(dir, *error), end; !*error && at != end; at.increment(*error)) {
      names.push_back(at->path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<BackupFile> Bring(const fs::path& from) {
    const fs::path to = part_ / "store" / from.filename();
    if (const BackupFile* before =
            earlier_ ? earlier_->manifest.Find(from.filename().string()) : nullptr) {
      MAYFLY_ASSIGN_OR_RETURN(const bool linked, Link(*before, from, to));
      if (linked) return *before;
    }
    MAYFLY_ASSIGN_OR_RETURN(BackupFile copied, CopyFile(from, to));
    report_.bytes_copied += copied.bytes;
    return copied;
  }

  // The name alone says nothing: after a restore numbers are given out again. And a link to a file
  // that has rotted would carry the rot into every later backup. So both are read.
  Result<bool> Link(const BackupFile& before, const fs::path& from, const fs::path& to) {
    std::error_code error;
    if (fs::file_size(from, error) != before.bytes) return false;
    MAYFLY_ASSIGN_OR_RETURN(const BackupFile present, HashFile(from));
    if (present.hash != before.hash) return false;
    const fs::path old = earlier_->dir / "store" / before.name;
    const auto kept = HashFile(old);
    if (!kept || kept->hash != before.hash) return false;
    if (::link(old.c_str(), to.c_str()) != 0) return false;  // a file system without links
    ++report_.linked;
    return true;
  }

  Status Prune() {
    std::vector<fs::path> backups = ListBackups(options_.dir);
    const std::size_t keep = std::max<std::size_t>(options_.keep, 1);
    for (std::size_t i = 0; i + keep < backups.size(); ++i) {
      fs::path part = backups[i];
      part += ".part";  // from here it is none
      std::error_code error;
      fs::rename(backups[i], part, error);
      if (error) return Fail(ErrorCode::kIo, backups[i].string() + ": cannot be removed");
      MAYFLY_RETURN_IF_ERROR(RemoveTree(part));
      ++report_.removed;
    }
    Reached(BackupStep::kPruned);
    return {};
  }

  const BackupSource& source_;
  const BackupOptions& options_;
  const TimePoint now_;
  std::optional<Earlier> earlier_;
  fs::path final_, part_;
  BackupReport report_;
};

}  // namespace

Result<BackupReport> TakeBackup(const BackupSource& source, const BackupOptions& options,
                                TimePoint now) {
  return BackupWriter(source, options, now).Run();
}

}  // namespace mayfly::service
