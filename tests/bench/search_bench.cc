// Search: how long it takes, what it costs to make messages findable, and what that takes on disk,
// beside the plainest index that does the same in the clear: one RocksDB row for each word of each
// message.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include "store/keys/secret_key.h"
#include "store/schema.h"
#include "store/store.h"
#include "tests/bench/measure.h"
#include "tests/bench/rows.h"
#include "tests/bench/traffic.h"

namespace mayfly::bench {
namespace {

using std::chrono::days;
using namespace store::search;

constexpr std::size_t kVocabulary = 30'000;
constexpr std::size_t kWordsOfAMessage = 45;

// Words as frequent as those of a language: the n-th one 1/n as often as the first.
class Language {
 public:
  Language() {
    double sum = 0;
    for (std::size_t i = 0; i < kVocabulary; ++i) {
      std::string word;
      for (std::size_t n = 2 + random_() % 9; n > 0; --n) {
        word += static_cast<char>('a' + random_() % 26);
      }
      words_.push_back(word);
      sum += 1.0 / static_cast<double>(i + 2);
      sums_.push_back(sum);
    }
  }
  const std::string& Word() {
    const double at = std::uniform_real_distribution<double>(0, sums_.back())(random_);
    return words_[static_cast<std::size_t>(std::lower_bound(sums_.begin(), sums_.end(), at) -
                                           sums_.begin())];
  }
  std::string Text() {
    std::string text;
    for (std::size_t i = 0; i < kWordsOfAMessage; ++i) text += Word() + " ";
    return text;
  }
  std::size_t Pick(std::size_t below) { return random_() % below; }

 private:
  std::mt19937_64 random_{11};
  std::vector<std::string> words_;
  std::vector<double> sums_;
};

struct Filled {
  double rate = 0;    // messages a second
  double cpu_us = 0;  // a message, of the thread that collects
};
Filled FillFor(store::Store& store, AccountId account, std::size_t count,
               const std::vector<std::string>& texts) {
  const double begin = CpuSeconds();
  const double rate =
      Fill(store, account, {.name = "first", .count = count, .parallel = 50}, texts);
  return {.rate = rate, .cpu_us = (CpuSeconds() - begin) * 1e6 / static_cast<double>(count)};
}

struct Cost {
  double us = 0;
  double bytes = 0;
};

// One row for each word of each message, in the clear.
Cost PlainIndex(std::size_t count, const std::vector<std::string>& texts) {
  Dir dir;
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  rocksdb::DB* raw = nullptr;
  if (!rocksdb::DB::Open(options, (dir.path() / "plain").string(), &raw).ok()) Die("raw RocksDB");
  const std::unique_ptr<rocksdb::DB> db(raw);
  const auto tokenizer = Must(Tokenizer::Make({"en"}));
  const double begin = CpuSeconds();
  for (std::size_t at = 0; at < count; at += kPage) {
    rocksdb::WriteBatch batch;
    for (std::size_t i = at; i < std::min(count, at + kPage); ++i) {
      tokenizer->Visit(texts[i % texts.size()],
                       [&](std::string_view, const std::vector<std::string_view>& terms) {
                         for (const std::string_view term : terms) {
                           batch.Put(std::string(term) + '\0' + store::schema::U64(i), "");
                         }
                         return true;
                       });
    }
    if (!db->Write(rocksdb::WriteOptions(), &batch).ok()) Die("raw RocksDB write");
  }
  if (!db->Flush(rocksdb::FlushOptions()).ok()) Die("raw RocksDB flush");
  Cost cost{.us = (CpuSeconds() - begin) * 1e6 / static_cast<double>(count)};
  if (!db->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr).ok()) Die("compaction");
  std::uint64_t bytes = 0;
  if (!db->GetIntProperty("rocksdb.total-sst-files-size", &bytes)) Die("no size");
  cost.bytes = static_cast<double>(bytes) / static_cast<double>(count);
  return cost;
}

struct Latency {
  double p50_ms = 0, p99_ms = 0, found = 0;
};

// Two words of one message, so that something is found.
Latency Ask(store::Store& store, Language& language, const std::vector<std::string>& texts,
            std::size_t count) {
  const Actor actor{.id = "bench", .scopes = ScopesOf(Role::kComms), .request_id = "bench"};
  const auto look = Must(store.audit().LookAtSearch(actor, kNow));
  std::vector<double> took;
  Latency latency;
  for (std::size_t i = 0; i < count + count / 10; ++i) {
    const std::string& text = texts[language.Pick(texts.size())];
    std::vector<std::string> words;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find(' ', begin);
      words.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    const auto query = Must(Query::Parse(
        QueryText(words[language.Pick(words.size())] + " " + words[language.Pick(words.size())])));
    const auto begin = Steady::now();
    const auto page = Must(store.search().Find(look, query, {}, "", 50, kNow));
    if (i < count / 10) continue;  // to warm up
    took.push_back(SecondsSince(begin) * 1000);
    latency.found += static_cast<double>(page.items.size());
  }
  std::sort(took.begin(), took.end());
  latency.p50_ms = took[took.size() / 2];
  latency.p99_ms = took[took.size() * 99 / 100];
  latency.found /= static_cast<double>(took.size());
  return latency;
}

struct AtSize {
  Filled ingest, ingest_indexing;
  Cost index;
  Latency search;
};

std::uint64_t BytesOf(const fs::path& dir) {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (entry.is_regular_file() && entry.path().extension() == ".sst") bytes += entry.file_size();
  }
  return bytes;
}

AtSize MeasureAt(std::size_t count, Language& language, const std::vector<std::string>& texts) {
  AtSize at;
  {
    // As the service does it: one thread collects, another reads the words.
    Dir dir;
    auto store = OpenFresh(dir.path(), store::SecretKey::Random());
    const AccountId account = Connect(*store);
    std::jthread indexing([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) Must(store->search_index().CatchUp(kNow - days(87)));
    });
    at.ingest_indexing = FillFor(*store, account, std::min<std::size_t>(count, 200'000), texts);
  }
  Dir dir;
  auto store = OpenFresh(dir.path(), store::SecretKey::Random());
  const AccountId account = Connect(*store);
  at.ingest = FillFor(*store, account, count, texts);
  Must(store->FlushBeforeExpiry());
  const std::uint64_t before = BytesOf(dir.path() / "store");
  const double begin = CpuSeconds();
  Must(store->search_index().WriteOut(kNow - days(87)));
  at.index.us = (CpuSeconds() - begin) * 1e6 / static_cast<double>(count);
  Must(store->FlushBeforeExpiry());
  at.index.bytes =
      static_cast<double>(BytesOf(dir.path() / "store") - before) / static_cast<double>(count);
  at.search = Ask(*store, language, texts, 500);
  return at;
}

Rows Run(std::size_t count) {
  Language language;
  std::vector<std::string> texts;
  for (int i = 0; i < 50'000; ++i) texts.push_back(language.Text());
  const std::size_t plain_count = std::min<std::size_t>(count, 100'000);
  const Cost plain = PlainIndex(plain_count, texts);
  const AtSize at = MeasureAt(count, language, texts);
  Rows rows;
  const std::string size = " at " + std::to_string(count / 1'000) + " k messages";
  rows.Add("search, two words over all dates, p99" + size, "ms", at.search.p99_ms, "the bar", 50,
           "under 50 ms", at.search.p99_ms < 50);
  rows.Add("search, the same, p50" + size, "ms", at.search.p50_ms, "results on a page",
           at.search.found, "none", true);
  rows.Add("making a message findable, CPU", "us/message", at.index.us,
           "plain index, one row for each word", plain.us, "<= 1", at.index.us <= plain.us);
  rows.Add("postings on disk", "bytes/msg", at.index.bytes, "plain index, one row for each word",
           plain.bytes, "<= 0.3", at.index.bytes <= 0.3 * plain.bytes);
  rows.Add("collecting while another thread indexes, CPU", "us/message", at.ingest_indexing.cpu_us,
           "collecting alone", at.ingest.cpu_us, "<= 1.1",
           at.ingest_indexing.cpu_us <= 1.1 * at.ingest.cpu_us);
  // Both want a core: on a busy machine with two of them this says little.
  rows.Add("the same, rate", "messages/s", at.ingest_indexing.rate, "collecting alone",
           at.ingest.rate, "none", true);
  return rows;
}

}  // namespace
}  // namespace mayfly::bench

int main(int argc, char** argv) {
  using namespace mayfly;
  std::string json_file;
  std::size_t count = 1'000'000;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      json_file = argv[++i];
    } else if (word == "--quick") {
      count = 100'000;
    } else if (word == "--large") {
      count = 10'000'000;
    } else if (word == "--messages" && i + 1 < argc) {
      count = std::max<std::size_t>(10'000, std::strtoul(argv[++i], nullptr, 10));
    } else {
      std::cerr << "usage: search_bench [--json FILE] [--quick | --large | --messages N]\n";
      return 2;
    }
  }
  const bench::Rows rows = bench::Run(count);
  rows.Print();
  if (!json_file.empty() && !rows.WriteJson(json_file)) {
    std::cerr << "search_bench: " << json_file << " cannot be written\n";
    return 1;
  }
  return 0;
}
