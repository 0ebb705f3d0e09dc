#include "service/backup/commands.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <system_error>
#include <utility>

#include "service/admin_call.h"
#include "service/backup/backup.h"
#include "service/backup/restore.h"
#include "service/backup/verify.h"
#include "service/open_store.h"
#include "service/version.h"
#include "store/model/json.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSampleOfCheck = 100;
constexpr const char* kCheckpointPath = "/admin/checkpoint";

// A checkpoint of the running service, or of the store that is ours to open while none runs.
class Checkpoints {
 public:
  Checkpoints(const Config& config, const Clock& clock) : config_(config), clock_(clock) {}

  Result<BackupSource::Checkpoint> Take() {
    if (store_ == nullptr) {
      auto answer = AskService(config_, "POST", kCheckpointPath, "");
      if (answer) return Read(*answer);
      if (answer.error().code != ErrorCode::kUnavailable) return Fail(std::move(answer).error());
      MAYFLY_ASSIGN_OR_RETURN(store_, OpenAlone(config_));
    }
    MAYFLY_ASSIGN_OR_RETURN(fs::path taken,
                            store_->TakeCheckpoint(CommandLineActor(), clock_.Now()));
    return BackupSource::Checkpoint{.dir = std::move(taken), .keys_print = store_->KeysPrint()};
  }

  Status Drop() {
    if (store_ != nullptr) return store_->DropCheckpoint();
    auto answer = AskService(config_, "DELETE", kCheckpointPath, "");
    // A service that ended meanwhile drops it when it starts.
    if (!answer && answer.error().code != ErrorCode::kUnavailable) {
      return Fail(std::move(answer).error());
    }
    return {};
  }

 private:
  static Result<BackupSource::Checkpoint> Read(const LocalResponse& answer) {
    MAYFLY_ASSIGN_OR_RETURN(const json::Value body, json::Parse(answer.body));
    MAYFLY_ASSIGN_OR_RETURN(const std::string path, body.String("path"));
    MAYFLY_ASSIGN_OR_RETURN(const std::string keys, body.String("keys"));
    return BackupSource::Checkpoint{.dir = path, .keys_print = keys};
  }

  const Config& config_;
  const Clock& clock_;
  std::unique_ptr<store::Store> store_;
};

bool IsBelow(const fs::path& path, const fs::path& dir) {
  std::error_code error;
  const fs::path relative =
      fs::weakly_canonical(path, error).lexically_relative(fs::weakly_canonical(dir, error));
  return !relative.empty() && *relative.begin() != "..";
}

fs::path Absolute(const std::string& dir) {
  std::error_code error;
  fs::path path = fs::absolute(dir, error).lexically_normal();
  return path.has_filename() ? path : path.parent_path();  // without a slash at its end
}

void Render(json::Writer& writer, const std::vector<store::FamilyReport>& families) {
  writer.Key("families").StartArray();
  for (const store::FamilyReport& family : families) {
    writer.StartObject()
        .Field("family", family.family.Name())
        .Field("standing", ToString(family.standing));
    writer.Key("rows").Uint(family.rows.rows);
    writer.Key("opened").Uint(family.rows.opened);
    writer.Key("erased").Uint(family.rows.erased);
    writer.Key("damaged").Uint(family.rows.damaged);
    writer.EndObject();
  }
  writer.EndArray();
}

void Print(const std::vector<store::FamilyReport>& families) {
  for (const store::FamilyReport& family : families) {
    std::cout << family.family.Name() << ": " << ToString(family.standing);
    if (family.standing != store::Standing::kEnded) {
      std::cout << ", " << family.rows.rows << " rows read, " << family.rows.opened << " opened, "
                << family.rows.erased << " erased, " << family.rows.damaged << " damaged";
    }
    std::cout << "\n";
  }
}

bool Opens(const std::vector<store::FamilyReport>& families) {
  for (const store::FamilyReport& family : families) {
    if (family.standing == store::Standing::kUnopenable || family.rows.damaged > 0) return false;
  }
  return true;
}

int CheckCommand(const Config& config, const RestoreArguments& arguments, TimePoint now) {
  auto checked = CheckBackup(config, Absolute(arguments.dir), kSampleOfCheck, now);
  if (!checked) return Complain(checked.error());
  const std::string created_at = FormatRfc3339(checked->manifest.created_at);
  if (arguments.as_json) {
    std::string out;
    {
      json::Writer writer(&out);
      writer.StartObject()
          .Field("backup", checked->backup.string())
          .Field("created_at", created_at)
          .Field("engine", checked->manifest.engine);
      writer.Key("files").Uint(checked->manifest.files.size());
      writer.Key("hole").StartObject().Field("from", created_at);
      writer.Field("until", FormatRfc3339(now)).EndObject();
      Render(writer, checked->families);
      writer.EndObject();
    }
    std::cout << out << "\n";
  } else {
    std::cout << checked->backup.string() << ": whole, " << checked->manifest.files.size()
              << " files\n";
    Print(checked->families);
    std::cout << "Missing after a restore: what came between " << created_at << " and "
              << FormatRfc3339(now)
              << ".\nThe platforms are read again; what they no longer have stays a hole.\n";
  }
  return Opens(checked->families) ? 0 : kExitFound;
}

// The newest backup of `dir`, or the data directory. Holds on to what must stay while it is read.
Result<VerifyTarget> TargetOf(const Config& config, const VerifyArguments& arguments,
                              Checkpoints* checkpoints, bool* serving) {
  if (!arguments.dir.empty()) {
    MAYFLY_ASSIGN_OR_RETURN(const fs::path backup, FindBackup(Absolute(arguments.dir)));
    MAYFLY_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(backup));
    VerifyTarget target{.root = backup, .engine = backup / "store", .is_backup = true};
    target.named_families.insert(manifest.families.begin(), manifest.families.end());
    target.files_of_store.emplace();
    for (const BackupFile& file : manifest.files) target.files_of_store->insert(file.name);
    return target;
  }
  auto answer = AskService(config, "GET", "/admin/status", "");
  *serving = answer.has_value();
  if (!answer && answer.error().code != ErrorCode::kUnavailable) {
    return Fail(std::move(answer).error());
  }
  if (!*serving) {
    MAYFLY_ASSIGN_OR_RETURN(auto files, FilesOfStore(config.store_dir()));
    return VerifyTarget{
        .root = config.data_dir, .engine = config.store_dir(), .files_of_store = std::move(files)};
  }
  MAYFLY_ASSIGN_OR_RETURN(const BackupSource::Checkpoint taken, checkpoints->Take());
  return VerifyTarget{.root = config.data_dir, .engine = taken.dir, .checkpoint = taken.dir};
}

std::set<std::string> TablesIn(const fs::path& dir) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".sst") names.insert(at->path().filename().string());
  }
  return names;
}

// Beside a running service: tables that were there before and after, and are not in the checkpoint
// that was taken in between.
void FindTables(const Config& config, const std::set<std::string>& before,
                const std::set<std::string>& referenced, VerifyReport* report) {
  const std::set<std::string> after = TablesIn(config.store_dir());
  for (const std::string& name : before) {
    if (!after.contains(name) || referenced.contains(name)) continue;
    report->findings.push_back(
        {.kind = "unreferenced-file", .where = "store/" + name, .what = "store"});
  }
}

// Of a backup: bytes that are not those of its manifest.
Result<std::vector<Finding>> FindAltered(const fs::path& backup) {
  MAYFLY_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(backup));
  std::vector<Finding> found;
  for (const BackupFile& file : manifest.files) {
    const auto read = HashFile(backup / "store" / file.name);
    if (read && read->bytes == file.bytes && read->hash == file.hash) continue;
    found.push_back({.kind = "altered-file", .where = "store/" + file.name, .what = "backup"});
  }
  return found;
}

void Print(const VerifyReport& report, bool as_json) {
  if (!as_json) {
    Print(report.families);
    for (const Finding& finding : report.findings) {
      std::cout << "FOUND " << finding.kind << ": " << finding.where << " (" << finding.what << ")";
      if (finding.count > 1) std::cout << " x " << finding.count;
      std::cout << "\n";
    }
    std::cout << report.files << " files, " << report.bytes << " bytes read, "
              << report.findings.size() << " findings\n";
    return;
  }
  std::string out;
  {
    json::Writer writer(&out);
    writer.StartObject().Field("clean", report.findings.empty());
    writer.Key("files").Uint(report.files);
    writer.Key("bytes").Uint(report.bytes);
    Render(writer, report.families);
    writer.Key("findings").StartArray();
    for (const Finding& finding : report.findings) {
      writer.StartObject()
          .Field("kind", finding.kind)
          .Field("where", finding.where)
          .Field("what", finding.what);
      writer.Key("count").Uint(finding.count);
      writer.EndObject();
    }
    writer.EndArray().EndObject();
  }
  std::cout << out << "\n";
}

}  // namespace

int BackupCommand(const Config& config, const BackupArguments& arguments, const Clock& clock) {
  const fs::path dir = Absolute(arguments.dir);
  if (IsBelow(dir, config.data_dir)) {
    return Complain(
        {.code = ErrorCode::kInvalidArgument,
         .message = dir.string() + ": lies below the data; a backup belongs elsewhere"});
  }
  Checkpoints checkpoints(config, clock);
  const BackupSource source{.take = [&] { return checkpoints.Take(); },
                            .drop = [&] { return checkpoints.Drop(); }};
  auto taken =
      TakeBackup(source, {.dir = dir, .keep = arguments.keep, .program = kVersion}, clock.Now());
  if (!taken) return Complain(taken.error());
  if (arguments.as_json) {
    std::string out;
    {
      json::Writer writer(&out);
      writer.StartObject().Field("backup", taken->backup.string());
      writer.Key("files").Uint(taken->files);
      writer.Key("linked").Uint(taken->linked);
      writer.Key("bytes_copied").Uint(taken->bytes_copied);
      writer.Key("removed").Uint(taken->removed);
      writer.EndObject();
    }
    std::cout << out << "\n";
  } else {
    std::cout << taken->backup.string() << ": " << taken->files << " files, " << taken->linked
              << " of them unchanged, " << taken->bytes_copied << " bytes copied; "
              << taken->removed << " old backups removed\n";
  }
  return 0;
}

int RestoreCommand(const Config& config, const RestoreArguments& arguments, const Clock& clock) {
  if (arguments.check) return CheckCommand(config, arguments, clock.Now());
  if (AskService(config, "GET", "/admin/status", "").has_value()) {
    return Complain({.code = ErrorCode::kInvalidArgument,
                     .message = "the service is running; stop it before a restore"});
  }
  auto restored = RestoreBackup(config, {.dir = Absolute(arguments.dir), .force = arguments.force});
  if (!restored) return Complain(restored.error());
  const std::string created_at = FormatRfc3339(restored->created_at);
  if (arguments.as_json) {
    std::string out;
    json::Writer(&out)
        .StartObject()
        .Field("restored", true)
        .Field("created_at", created_at)
        .EndObject();
    std::cout << out << "\n";
  } else {
    std::cout << "The store is that of " << created_at
              << ". Start the service: it drops the dates that ended since, reads the platforms "
                 "again, and sends nothing a second time. Replies can be written when each "
                 "account has been read up to now.\n";
  }
  return 0;
}

int VerifyCommand(const Config& config, const VerifyArguments& arguments, const Clock& clock) {
  Checkpoints checkpoints(config, clock);
  bool serving = false;
  const std::set<std::string> before = TablesIn(config.store_dir());
  auto target = TargetOf(config, arguments, &checkpoints, &serving);
  if (!target) return Complain(target.error());
  const std::set<std::string> referenced = serving ? TablesIn(target->engine) : before;
  std::vector<Finding> altered;
  if (target->is_backup) {
    auto found = FindAltered(target->root);
    if (!found) return Complain(found.error());
    altered = *std::move(found);
    if (!altered.empty()) target->engine.clear();  // nobody knows what it would say
  }
  auto report = Verify(config, *target, arguments.sample, clock.Now());
  if (serving) {
    if (report) FindTables(config, before, referenced, &*report);
    if (auto dropped = checkpoints.Drop(); !dropped) return Complain(dropped.error());
  }
  if (!report) return Complain(report.error());
  report->findings.insert(report->findings.end(), altered.begin(), altered.end());
  Print(*report, arguments.as_json);
  return report->findings.empty() ? 0 : kExitFound;
}

}  // namespace mayfly::service
