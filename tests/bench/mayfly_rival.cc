// Mayfly's store: a column family and a key for each date.
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "store/schema.h"
#include "tests/bench/measure.h"
#include "tests/bench/rival.h"

namespace mayfly::bench {
namespace {

class MayflyRival final : public Rival {
 public:
  MayflyRival()
      : store_(OpenFresh(dir_.path(), store::SecretKey::Random(), /*sync=*/true)),
        account_(Connect(*store_)) {}

  std::string Name() const override { return "Mayfly"; }
  std::string Configuration() const override {
    return "sealed, all rows; each page one synced commit; key files synced";
  }
  void Write(const std::vector<Letter>& page) override {
    const auto outcome =
        Must(store_->collection().Collect(ToCollect(account_, page), page.back().sent_at));
    if (outcome.stored != page.size()) Die("a message was not stored");
  }
  void Settle() override {
    Must(store_->FlushBeforeExpiry());
    AwaitQuiet();
  }
  Step EndDate() override {
    return {"the expiry job", [this] {
              const auto receipts = Must(store_->purge().RunOnce(kEnd));
              if (receipts.size() != 1) Die("expected one date to end");
              return std::string();
            }};
  }
  std::uint64_t Written() const override { return WrittenBytes() - written_before_; }
  fs::path Files() const override { return dir_.path(); }

  // The tag at the end of each sealed message of the date.
  Needles SealedBodies() const override {
    const auto engine =
        Must(store::OpenRocksDbEngine({.dir = dir_.path() / "store", .read_only = true}));
    Needles tags;
    const auto day = std::chrono::floor<std::chrono::days>(kEnd);
    Must(engine->Scan(store::Family::Day(day),
                      {.prefix = store::schema::Key(store::schema::kMessage)},
                      [&](std::string_view, std::string_view sealed) {
                        tags.Add(sealed.substr(sealed.size() - Needles::kBytes));
                        return true;
                      }));
    return tags;
  }

 private:
  const std::uint64_t written_before_ = WrittenBytes();
  Dir dir_;
  std::unique_ptr<store::Store> store_;
  AccountId account_;
};

}  // namespace

std::unique_ptr<Rival> MakeMayfly() { return std::make_unique<MayflyRival>(); }

}  // namespace mayfly::bench
