#include "tests/bench/traffic.h"

#include <algorithm>
#include <cmath>

#include "store/engine/rocksdb/rocksdb_engine.h"
#include "tests/bench/measure.h"

namespace mayfly::bench {

Words::Words() {
  for (int i = 0; i < 2000; ++i) {
    std::string word;
    for (std::size_t n = 2 + random_() % 8; n > 0; --n)
      word += static_cast<char>('a' + random_() % 26);
    words_.push_back(word);
  }
}

std::string Words::Body(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    const auto rank = static_cast<std::size_t>(std::pow(2000.0, uniform_(random_)));
    text += words_[rank % words_.size()];
    text += ' ';
  }
  text.resize(bytes);
  return text;
}

std::vector<std::string> MakeBodies() {
  Words words;
  std::vector<std::string> bodies;
  for (int i = 0; i < 10'000; ++i) bodies.push_back(words.Body(300));
  return bodies;
}

std::vector<Letter> PageOf(const Traffic& traffic, std::size_t from,
                           const std::vector<std::string>& bodies) {
  const auto& [name, count, span, each, parallel, history, until] = traffic;
  std::vector<Letter> page;
  page.reserve(kPage);
  for (std::size_t i = from; i < std::min(count, from + kPage); ++i) {
    const std::size_t conversation = (i / (parallel * each)) * parallel + i % parallel;
    page.push_back(
        {.conversation = name + "-convo" + std::to_string(conversation),
         .person = "did:plc:" + name + std::to_string(conversation),
         .id = name + std::to_string(i),
         .text = bodies[i % bodies.size()],
         .sent_at = until - span +
                    span * static_cast<std::int64_t>(i) / static_cast<std::int64_t>(count)});
  }
  return page;
}

store::CollectedPage ToCollect(AccountId account, const std::vector<Letter>& page) {
  store::CollectedPage collected;
  collected.account = account;
  collected.cursor = "bench";
  for (const Letter& letter : page) {
    const PlatformId conversation(letter.conversation);
    const PlatformId person(letter.person);
    const auto same = [&](const auto& other) { return other.id == conversation; };
    if (std::none_of(collected.conversations.begin(), collected.conversations.end(), same)) {
      collected.conversations.push_back(
          {.id = conversation, .participants = {{person, ContactHandle("person.example"), {}}}});
    }
    collected.messages.push_back({.conversation = conversation,
                                  .id = PlatformId(letter.id),
                                  .sender = person,
                                  .sent_at = letter.sent_at,
                                  .text = MessageBody(letter.text)});
  }
  return collected;
}

double Fill(store::Store& store, AccountId account, const Traffic& traffic,
            const std::vector<std::string>& bodies) {
  const auto begin = Steady::now();
  for (std::size_t at = 0; at < traffic.count; at += kPage) {
    const store::CollectedPage page = ToCollect(account, PageOf(traffic, at, bodies));
    const TimePoint now = traffic.history ? kNow : page.messages.back().sent_at.value();
    const auto outcome = Must(store.collection().Collect(page, now));
    if (outcome.stored != page.messages.size()) Die("a message was not stored");
  }
  return static_cast<double>(traffic.count) / SecondsSince(begin);
}

std::unique_ptr<store::Store> OpenExisting(const fs::path& dir, const store::SecretKey& master,
                                           bool sync) {
  auto vault =
      Must(store::OpenKeyVault({.dir = dir / "keys", .sync = sync, .any_file_system = true},
                               store::SecretKey::FromBytes(master.bytes())));
  auto engine = Must(store::OpenRocksDbEngine({.dir = dir / "store"}));
  return Must(store::Store::Open(
      std::move(engine), std::move(vault),
      {.durability = sync ? store::Durability::kSynced : store::Durability::kBuffered}));
}

std::unique_ptr<store::Store> OpenFresh(const fs::path& dir, const store::SecretKey& master,
                                        bool sync) {
  for (const char* name : {"store", "keys"}) {
    fs::create_directory(dir / name);
    fs::permissions(dir / name, fs::perms::owner_all);
  }
  Must(store::CreateKeyVault({.dir = dir / "keys", .sync = sync, .any_file_system = true}, master));
  return OpenExisting(dir, master, sync);
}

AccountId Connect(store::Store& store) {
  return Must(store.accounts().Create({.platform = "bluesky",
                                       .label = "bench",
                                       .options = {},
                                       .retention = {},
                                       .credential = Credential("{}")},
                                      {.id = "system"}, kNow - std::chrono::days(95)))
      .id;
}

std::string Named(std::size_t count) {
  if (count % 1'000'000 == 0) return std::to_string(count / 1'000'000) + " M";
  if (count % 1'000 == 0) return std::to_string(count / 1'000) + " k";
  return std::to_string(count);
}

}  // namespace mayfly::bench
