// A store of its own for one test, on either engine, that can be closed, reopened, and made to
// fail.
#ifndef MAYFLY_TESTS_SUPPORT_TEMP_STORE_H_
#define MAYFLY_TESTS_SUPPORT_TEMP_STORE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string.h>
#include <string>
#include <utility>
#include <vector>

#include "store/engine/memory/memory_engine.h"
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "store/store.h"
#include "tests/support/temp_dir.h"

namespace mayfly::testing {

enum class EngineKind { kMemory, kRocksDb };

// What a commit that fails does before it fails.
enum class Fault { kRefused, kUnknownNotDone, kUnknownDone };

// Passes everything on, so that a test keeps its engine when the store is closed, and fails the
// commits that it is told to.
class TestEngine final : public store::Engine {
 public:
  explicit TestEngine(std::shared_ptr<store::Engine> engine) : engine_(std::move(engine)) {}

  // The next one, or one after `others` that succeed.
  void FailNextCommit(Fault fault, int others = 0) {
    fault_ = fault;
    others_ = others;
  }
  void FailNoCommit() { fault_.reset(); }
  // Called after each commit into the twin of a date.
  void OnTwinCommit(std::function<void()> hook) { twin_hook_ = std::move(hook); }
  std::uint64_t commits() const { return commits_; }
  std::uint64_t gets() const { return gets_; }

  Status Commit(const store::Batch& batch, store::Durability durability) override {
    ++commits_;
    const bool spared = fault_ && others_-- > 0;
    const auto fault = spared ? std::nullopt : std::exchange(fault_, std::nullopt);
    if (fault == Fault::kRefused) return Fail(ErrorCode::kIo, "injected: refused");
    if (fault == Fault::kUnknownDone) {
      auto done = engine_->Commit(batch, durability);
      if (!done) return done;
    }
    if (fault) return Fail(ErrorCode::kOutcomeUnknown, "injected: outcome unknown");
    auto done = engine_->Commit(batch, durability);
    const bool twin =
        !batch.changes.empty() && batch.changes.front().family.kind == store::Family::Kind::kTwin;
    // A copy: the hook may be replaced in its own call.
    if (const auto hook = twin_hook_; done && twin && hook) hook();
    return done;
  }
  Result<std::optional<std::string>> Get(store::Family family,
                                         std::string_view key) const override {
    ++gets_;
    return engine_->Get(family, key);
  }
  Status Scan(store::Family family, const store::ScanOptions& options,
              const Visitor& visit) const override {
    return engine_->Scan(family, options, visit);
  }
  Status MergeScan(const std::vector<store::MergeSource>& sources,
                   const store::ScanOptions& options, const MergeVisitor& visit) const override {
    return engine_->MergeScan(sources, options, visit);
  }
  Status OpenFamily(store::Family family) override { return engine_->OpenFamily(family); }
  std::vector<store::Family> Families(store::Family::Kind kind) const override {
    return engine_->Families(kind);
  }
  Status CloseFamily(store::Family family) override { return engine_->CloseFamily(family); }
  Result<store::DropReport> DropFamily(store::Family family) override {
    return engine_->DropFamily(family);
  }
  Status SwapTwin(ExpiryDay day) override { return engine_->SwapTwin(day); }
  Status Erase(store::Family family) override { return engine_->Erase(family); }
  Status FlushAll() override { return engine_->FlushAll(); }
  Status ReleaseLogs() override { return engine_->ReleaseLogs(); }
  Status Checkpoint(const std::filesystem::path& dir) const override {
    return engine_->Checkpoint(dir);
  }
  Status Health() const override { return health_ ? Fail(*health_) : engine_->Health(); }
  Status Mend() override { return health_ ? Fail(*health_) : engine_->Mend(); }
  store::DiskRoom Room() const override { return room_ ? *room_ : engine_->Room(); }
  // What they say from here on, whatever the disk of the test's machine is like.
  void SetHealth(std::optional<Error> error) { health_ = std::move(error); }
  void SetRoom(store::DiskRoom room) { room_ = room; }

 private:
  const std::shared_ptr<store::Engine> engine_;
  std::optional<Fault> fault_;
  int others_ = 0;
  std::optional<Error> health_;
  std::optional<store::DiskRoom> room_;
  std::function<void()> twin_hook_;
  std::uint64_t commits_ = 0;
  mutable std::atomic<std::uint64_t> gets_{0};
};

template <class T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error("unexpected error: " + result.error().message);
  return *std::move(result);
}
inline void Must(const Status& status) {
  if (!status) throw std::runtime_error("unexpected error: " + status.error().message);
}

class TempStore {
 public:
  explicit TempStore(EngineKind kind, store::StoreOptions options = {})
      : kind_(kind), options_(std::move(options)) {
    master_.fill(7);
    for (const auto& path : {store_dir(), keys_dir()}) {
      std::filesystem::create_directory(path);
      std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    }
    const store::SecretKey master = store::SecretKey::FromBytes(master_);
    // Key files are not synced: these tests end processes, not power.
    Must(
        store::CreateKeyVault({.dir = keys_dir(), .sync = false, .any_file_system = true}, master));
    Open();
  }

  store::Store* operator->() { return store_.get(); }
  store::Store& operator*() { return *store_; }
  TestEngine& engine() { return *engine_; }
  store::KeyVault& vault() { return *vault_; }
  std::filesystem::path dir() const { return dir_.path(); }
  std::filesystem::path store_dir() const { return dir_ / "store"; }
  std::filesystem::path keys_dir() const { return dir_ / "keys"; }
  store::StoreOptions& options() { return options_; }

  void Close() {
    store_.reset();
    engine_ = nullptr;
    vault_ = nullptr;
    if (kind_ == EngineKind::kRocksDb) kept_.reset();  // so that the next one reads the disk
  }
  void Open() {
    if (kept_ == nullptr) {
      kept_ = kind_ == EngineKind::kMemory
                  ? store::MakeMemoryEngine()
                  : Must(store::OpenRocksDbEngine({.dir = store_dir(),
                                                   .block_cache_bytes = 8u << 20,
                                                   .write_buffer_bytes = 8u << 20,
                                                   .ballast_bytes = ballast_bytes_,
                                                   .room = room_}));
    }
    auto engine = std::make_unique<TestEngine>(kept_);
    auto vault = OpenVault();
    engine_ = engine.get();
    vault_ = vault.get();
    if (kind_ == EngineKind::kRocksDb) kept_.reset();
    store_ = Must(store::Store::Open(std::move(engine), std::move(vault), options_));
  }
  void Reopen() {
    Close();
    Open();
  }
  std::unique_ptr<store::KeyVault> OpenVault() {
    return Must(store::OpenKeyVault({.dir = keys_dir(), .sync = false, .any_file_system = true},
                                    store::SecretKey::FromBytes(master_)));
  }

  // From the next opening on.
  void SetDisk(store::RoomSource room, std::uint64_t ballast_bytes) {
    room_ = std::move(room);
    ballast_bytes_ = ballast_bytes;
  }

  // The raw rows of a family whose keys begin with organisation 1 and this kind.
  std::vector<std::pair<std::string, std::string>> Rows(store::Family family, char kind) {
    std::vector<std::pair<std::string, std::string>> rows;
    Must(engine_->Scan(family, {.prefix = std::string("\0\1", 2) + kind},
                       [&](std::string_view key, std::string_view value) {
                         rows.emplace_back(key, value);
                         return true;
                       }));
    return rows;
  }

 private:
  const EngineKind kind_;
  store::StoreOptions options_;
  store::RoomSource room_;
  std::uint64_t ballast_bytes_ = 0;
  TempDir dir_;
  std::array<std::uint8_t, 32> master_{};
  std::shared_ptr<store::Engine> kept_;
  TestEngine* engine_ = nullptr;
  store::KeyVault* vault_ = nullptr;
  std::unique_ptr<store::Store> store_;
};

inline TimePoint At(const std::string& text) {
  const auto at = ParseRfc3339(text);
  if (!at) throw std::runtime_error("no time: " + text);
  return *at;
}
inline ExpiryDay DayAt(const std::string& text) {
  const auto day = ParseDay(text);
  if (!day) throw std::runtime_error("no day: " + text);
  return *day;
}

inline Actor Officer(const std::string& id = "tok_officer") {
  return {.id = id, .scopes = ScopesOf(Role::kComms), .request_id = "req_1"};
}

inline Actor PrivacyOfficer() {
  return {.id = "tok_privacy", .scopes = ScopesOf(Role::kPrivacy), .request_id = "req_2"};
}

inline Account Connect(store::Store& store, TimePoint now, const std::string& period = "P3M") {
  store::Accounts::NewAccount account;
  account.platform = "bluesky";
  account.label = "Press office";
  account.options = {{"service", "https://example.invalid"}};
  account.retention = Must(RetentionPeriod::Parse(period));
  account.credential = Credential("credential-of-the-account");
  Account created = Must(store.accounts().Create(account, Officer("cli:0"), now));
  Must(store.accounts().SetState(
      created.id,
      {.state = AccountState::kOk, .own_platform_id = "did:own", .own_handle = "press.example"},
      now));
  return created;
}

inline store::CollectedMessage Incoming(const std::string& conversation, const std::string& id,
                                        std::optional<TimePoint> sent_at,
                                        const std::string& text = "Good morning") {
  store::CollectedMessage message;
  message.conversation = PlatformId(conversation);
  message.id = PlatformId(id);
  message.sender = PlatformId("person-of-" + conversation);
  message.sent_at = sent_at;
  message.text = MessageBody(text);
  return message;
}

inline store::CollectedMessage Outgoing(const std::string& conversation, const std::string& id,
                                        std::optional<TimePoint> sent_at,
                                        const std::string& text = "Thank you for writing") {
  store::CollectedMessage message = Incoming(conversation, id, sent_at, text);
  message.direction = Direction::kOutgoing;
  message.sender = PlatformId("did:own");
  return message;
}

inline store::CollectedConversation Described(const std::string& conversation,
                                              const std::string& handle = "") {
  store::CollectedConversation described;
  described.id = PlatformId(conversation);
  described.participants.push_back(
      {.platform_id = PlatformId("person-of-" + conversation),
       .handle = ContactHandle(handle.empty() ? conversation + ".example" : handle),
       .display_name = ContactHandle("Name of " + conversation)});
  return described;
}

inline store::CollectedPage PageOf(AccountId account,
                                   std::vector<store::CollectedMessage> messages) {
  store::CollectedPage page;
  page.account = account;
  for (const auto& message : messages) {
    const bool known = std::any_of(
        page.conversations.begin(), page.conversations.end(),
        [&](const auto& conversation) { return conversation.id == message.conversation; });
    if (!known) page.conversations.push_back(Described(message.conversation.Reveal()));
  }
  page.messages = std::move(messages);
  page.cursor = "cursor-1";
  return page;
}

// Everything that a reader can see, by the public paths.
inline std::vector<Conversation> Inbox(store::Store& store, TimePoint now,
                                       const Actor& actor = Officer()) {
  const auto look = Must(store.audit().LookAtInbox(actor, now));
  std::vector<Conversation> all;
  std::string after;
  do {
    auto page = Must(store.conversations().List(look, {}, after, 7, now));
    for (auto& item : page.items) all.push_back(std::move(item));
    after = page.next;
  } while (!after.empty());
  return all;
}
inline std::vector<Message> Thread(store::Store& store, ConversationId id, TimePoint now,
                                   std::size_t page_size = 5, const Actor& actor = Officer()) {
  const auto look = Must(store.audit().LookAtConversation(actor, id, now));
  std::vector<Message> all;
  std::string after;
  do {
    auto page = Must(store.conversations().Messages(look, id, after, page_size, now));
    for (auto& item : page.items) all.push_back(std::move(item));
    after = page.next;
  } while (!after.empty());
  return all;
}
inline store::Look LookAt(store::Store& store, ConversationId id, TimePoint now) {
  return Must(store.audit().LookAtConversation(Officer(), id, now));
}

// Files below `root` that hold one of the markers, raw or as hex of either case, with the marker.
inline std::vector<std::string> FilesWith(const std::filesystem::path& root,
                                          const std::vector<std::string>& markers) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::string bytes(entry.file_size(), '\0');
    std::ifstream file(entry.path(), std::ios::binary);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    for (const std::string& marker : markers) {
      const std::string hex = ToHex(marker);
      std::string upper = hex;
      std::transform(upper.begin(), upper.end(), upper.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      for (const std::string& form : {marker, hex, upper}) {
        if (::memmem(bytes.data(), bytes.size(), form.data(), form.size()) != nullptr) {
          found.push_back(entry.path().string() + " has " + marker);
        }
      }
    }
  }
  return found;
}

// The code of a failure; nothing when there was none.
template <class T>
std::optional<ErrorCode> FailureOf(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code;
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_TEMP_STORE_H_
