#include "service/backup/verify.h"

#include <algorithm>
#include <bitset>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <system_error>
#include <unistd.h>
#include <unordered_map>
#include <utility>

#include "service/open_store.h"
#include "store/keys/descriptor.h"
#include "store/keys/key_file.h"
#include "store/keys/key_traces.h"
#include "store/keys/master_key.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = 1u << 20;
constexpr std::size_t kPrefixBytes = 8;  // by which patterns are found; none is shorter
constexpr int kPastDays = 400;  // receipts are kept no longer, so nobody knows of older dates
constexpr std::uint64_t kFindingsOfAFile = 20;  // then it is said once how many more there were

struct Pattern {
  std::string bytes;
  std::string kind;
  std::string what;
  bool not_in_keys = false;  // may stand in keys/
  Pattern() = default;
  Pattern(Pattern&&) = default;
  Pattern& operator=(Pattern&&) = default;
  ~Pattern() { WipeString(bytes); }
};

std::uint64_t PrefixOf(const char* at) {
  std::uint64_t prefix;
  std::memcpy(&prefix, at, sizeof prefix);
  return prefix;
}

// All patterns at once: a bit for the hash of eight bytes, then the patterns that begin with them.
class Patterns {
 public:
  // Raw and as hex in either case.
  void Add(const std::string& kind, const std::string& what, const std::string& bytes,
           bool not_in_keys) {
    std::string lower = ToHex(bytes);
    std::string upper = lower;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    for (std::string* form : {&lower, &upper}) {
      AddForm(kind, what, *form, not_in_keys);
      WipeString(*form);
    }
    AddForm(kind, what, bytes, not_in_keys);
  }
  std::size_t longest() const { return longest_; }

  // Calls `found(pattern, offset)` for each that begins in the first `begins` bytes.
  template <class Found>
  void Search(std::string_view text, std::size_t begins, const Found& found) const {
    if (text.size() < kPrefixBytes) return;
    const std::size_t last = std::min(begins, text.size() - kPrefixBytes + 1);
    for (std::size_t i = 0; i < last; ++i) {
      const std::uint64_t prefix = PrefixOf(text.data() + i);
      if (!filter_.test(Bit(prefix))) continue;
      const auto [from, to] = by_prefix_.equal_range(prefix);
      for (auto at = from; at != to; ++at) {
        const Pattern& pattern = patterns_[at->second];
        if (text.substr(i).starts_with(pattern.bytes)) found(pattern, i);
      }
    }
  }

 private:
  static std::size_t Bit(std::uint64_t prefix) {
    return static_cast<std::size_t>((prefix * 0x9e3779b97f4a7c15u) >> 48);
  }
  void AddForm(const std::string& kind, const std::string& what, const std::string& bytes,
               bool not_in_keys) {
    Pattern pattern;
    pattern.bytes = bytes;
    pattern.kind = kind;
    pattern.what = what;
    pattern.not_in_keys = not_in_keys;
    const std::uint64_t prefix = PrefixOf(bytes.data());
    filter_.set(Bit(prefix));
    by_prefix_.emplace(prefix, patterns_.size());
    longest_ = std::max(longest_, bytes.size());
    patterns_.push_back(std::move(pattern));
  }

  std::bitset<1u << 16> filter_;
  std::unordered_multimap<std::uint64_t, std::size_t> by_prefix_;
  std::vector<Pattern> patterns_;
  std::size_t longest_ = kPrefixBytes;
};

class Verifier {
 public:
  Verifier(const Config& config, const VerifyTarget& target, std::optional<std::size_t> sample,
           TimePoint now)
      : config_(config), target_(target), sample_(sample), now_(now) {}

  Result<VerifyReport> Run() {
    MAYFLY_ASSIGN_OR_RETURN(const KeysToLookAt keys, OpenKeysReadOnly(config_));
    MAYFLY_RETURN_IF_ERROR(LookAtKeys(*keys.vault));
    MAYFLY_RETURN_IF_ERROR(GatherPatterns(keys.master));
    MAYFLY_RETURN_IF_ERROR(ReadAll());
    MAYFLY_RETURN_IF_ERROR(LookAtRecords(*keys.vault));
    return std::move(report_);
  }

 private:
  void Find(const std::string& kind, const std::string& where, const std::string& what,
            std::uint64_t count = 1) {
    report_.findings.push_back({.kind = kind, .where = where, .what = what, .count = count});
  }

  ExpiryDay Today() const { return std::chrono::floor<std::chrono::days>(now_); }

  Status LookAtKeys(const store::KeyVault& vault) {
    for (const ExpiryDay day : vault.Dates()) {
      if (StartOf(day) <= now_) Find("keys-of-past-date", "keys/", FormatDay(day));
    }
    return {};
  }

  Status GatherPatterns(const store::SecretKey& master) {
    for (ExpiryDay day = Today() - std::chrono::days(kPastDays); day <= Today();
         day += std::chrono::days(1)) {
      const std::string name = store::Family::Day(day).Name();
      if (target_.named_families.contains(name)) continue;
      patterns_.Add("past-date-name", FormatDay(day), name, false);
    }
    MAYFLY_ASSIGN_OR_RETURN(const auto traces, store::KeyTraces(config_.keys_dir(), master));
    for (const store::KeyTrace& trace : traces) {
      patterns_.Add(trace.in_clear ? "key-in-clear" : "key-file-copy", trace.owner, trace.bytes,
                    !trace.in_clear);
    }
    return {};
  }

  Status ReadAll() {
    std::error_code error;
    fs::recursive_directory_iterator at(target_.root, error), end;
    if (error) return Fail(ErrorCode::kIo, target_.root.string() + ": cannot be listed");
    for (; at != end; at.increment(error)) {
      const fs::path path = at->path();
      const std::string below = path.lexically_relative(target_.root).string();
      if (path == target_.checkpoint) {
        at.disable_recursion_pending();
        continue;
      }
      std::error_code gone;
      const fs::file_status status = fs::symlink_status(path, gone);
      if (gone || fs::is_directory(status)) continue;
      JudgeName(path, below);
      if (fs::is_regular_file(status)) MAYFLY_RETURN_IF_ERROR(Read(path, below));
    }
    if (error) return Fail(ErrorCode::kIo, target_.root.string() + ": cannot be listed whole");
    return {};
  }

  // Whether anybody knows what this file is.
  void JudgeName(const fs::path& path, const std::string& below) {
    const std::string folder = path.parent_path().lexically_relative(target_.root).string();
    const std::string name = path.filename().string();
    if (folder == "store") {
      if (target_.files_of_store && !target_.files_of_store->contains(name)) {
        Find("unreferenced-file", below, "store");
      }
    } else if (folder == "keys" && !target_.is_backup) {
      static const std::set<std::string> kOthers = {
          "forward",      "forward.new",  "ledger.a",          "ledger.b",
          "passphrase.a", "passphrase.b", "passphrase-next.a", "passphrase-next.b"};
      const bool known = kOthers.contains(name) || store::KeyFile::ParseFileName(name).has_value();
      if (!known) Find("unknown-file", below, "keys");
    } else if (!(target_.is_backup && below == "manifest")) {
      Find("unknown-file", below, target_.is_backup ? "backup" : "data");
    }
  }

  Status Read(const fs::path& path, const std::string& below) {
    const store::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.open()) {
      if (errno == ENOENT) return {};
      return Fail(ErrorCode::kIo, path.string() + ": cannot be opened");
    }
    const bool in_keys = !target_.is_backup && below.starts_with("keys/");
    // What one chunk ends with is looked at again in front of the next one.
    const std::size_t overlap = patterns_.longest();
    std::string chunk;
    std::uint64_t offset = 0;
    std::uint64_t found = 0;
    bool more = true;
    Status outcome;
    while (more) {
      const std::size_t kept = chunk.size();
      chunk.resize(kept + kChunkBytes);
      ssize_t got = 0;
      do {
        got = ::read(fd.get(), chunk.data() + kept, kChunkBytes);
      } while (got < 0 && errno == EINTR);
      if (got < 0) {
        outcome = Fail(ErrorCode::kIo, path.string() + ": cannot be read");
        break;
      }
      chunk.resize(kept + static_cast<std::size_t>(got));
      more = got > 0;
      report_.bytes += static_cast<std::uint64_t>(got);
      const std::size_t begins =
          more ? chunk.size() - std::min(chunk.size(), overlap) : chunk.size();
      patterns_.Search(chunk, begins, [&](const Pattern& pattern, std::size_t at) {
        if (pattern.not_in_keys && in_keys) return;
        if (++found > kFindingsOfAFile) return;
        Find(pattern.kind, below + " at " + std::to_string(offset + at), pattern.what);
      });
      offset += begins;
      chunk.erase(0, begins);
    }
    ++report_.files;
    if (found > kFindingsOfAFile) Find("more", below, "not listed", found - kFindingsOfAFile);
    return outcome;
  }

  Status LookAtRecords(store::KeyVault& vault) {
    if (target_.engine.empty()) return {};
    MAYFLY_ASSIGN_OR_RETURN(const auto engine, OpenEngineReadOnly(target_.engine));
    MAYFLY_ASSIGN_OR_RETURN(report_.families,
                            store::Inspect(*engine, vault, {.now = now_, .sample = sample_}));
    for (const store::FamilyReport& family : report_.families) {
      const std::string name = family.family.Name();
      if (family.standing == store::Standing::kUnopenable) {
        Find("unopenable", "store", name);
      } else if (family.rows.damaged > 0) {
        Find("damaged-records", "store", name, family.rows.damaged);
      }
      // In a backup it is noise, as it has to be; in the store its end is not finished.
      const bool past = family.family.kind == store::Family::Kind::kDay &&
                        family.standing == store::Standing::kEnded;
      if (past && !target_.is_backup) {
        Find("past-date-name", "store: family", FormatDay(family.family.day()));
      }
    }
    return {};
  }

  const Config& config_;
  const VerifyTarget& target_;
  const std::optional<std::size_t> sample_;
  const TimePoint now_;
  Patterns patterns_;
  VerifyReport report_;
};

}  // namespace

Result<VerifyReport> Verify(const Config& config, const VerifyTarget& target,
                            std::optional<std::size_t> sample, TimePoint now) {
  return Verifier(config, target, sample, now).Run();
}

}  // namespace mayfly::service
