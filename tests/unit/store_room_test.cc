// A disk that becomes full: what people write waits, and everything else goes on.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::minutes;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kGiB = 1u << 30;
const TimePoint kNow = At("2026-03-05T10:00:00.000Z");

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

store::StoreOptions KeepTenPercent() {
  store::StoreOptions options;
  options.room = {.percent = 10, .bytes_max = 20 * kGiB};
  return options;
}

class StoreRoom : public ::testing::TestWithParam<EngineKind> {
 protected:
  StoreRoom() : store_(GetParam(), KeepTenPercent()) { SetFree(50 * kGiB); }

  void SetFree(std::uint64_t bytes) {
    store_.engine().SetRoom({.available = bytes, .capacity = 100 * kGiB, .needed = 40 * kMiB});
  }
  store::RoomView LookAt(std::uint64_t available, std::uint64_t capacity) {
    store_.engine().SetRoom({.available = available, .capacity = capacity, .needed = 40 * kMiB});
    return store_->Room();
  }

  TempStore store_;
};

TEST_P(StoreRoom, StopsBelowTheShareAndGoesOnATenthAboveIt) {
  SetFree(10 * kGiB);
  EXPECT_EQ(store_->Room().stops_below, 10 * kGiB);
  EXPECT_FALSE(store_->Room().stopped);
  SetFree(10 * kGiB - 1);
  EXPECT_TRUE(store_->Room().stopped);
  SetFree(11 * kGiB - 1);
  EXPECT_TRUE(store_->Room().stopped) << "it would come and go";
  SetFree(11 * kGiB);
  EXPECT_FALSE(store_->Room().stopped);
  SetFree(10 * kGiB);
  EXPECT_FALSE(store_->Room().stopped);
}

TEST_P(StoreRoom, KeepsNoMoreOfALargeDiskAndNoLessThanCommitsNeed) {
  EXPECT_EQ(LookAt(1024 * kGiB, 10'240 * kGiB).stops_below, 20 * kGiB);
  EXPECT_EQ(LookAt(100 * kMiB, 200 * kMiB).stops_below, 50 * kMiB);
}

TEST_P(StoreRoom, NothingIsTakenAndReadingErasingAndEndingGoOn) {
  const Account account = Connect(*store_, kNow, "P7D");
  const auto collect = [&](std::vector<store::CollectedMessage> messages, const char* cursor,
                           TimePoint now) {
    store::CollectedPage page = PageOf(account.id, std::move(messages));
    page.cursor = cursor;
    return store_->collection().Collect(page, now);
  };
  Must(collect({Incoming("anna", "a1", kNow, "before"), Incoming("bert", "b1", kNow, "beside")},
               "first", kNow));
  const Conversation anna = *[&] {
    for (const Conversation& conversation : Inbox(*store_, kNow)) {
      for (const Message& message : Thread(*store_, conversation.id, kNow)) {
        if (message.text.Reveal() == "before") return std::optional(conversation);
      }
    }
    return std::optional<Conversation>();
  }();
  const auto draft = [&](const char* key) {
    return store::OutboxQueue::NewReply{.conversation = anna.id,
                                        .after_message = *anna.last_message,
                                        .text = MessageBody("An answer"),
                                        .idempotency_key = key};
  };
  const Reply queued = Must(store_->outbox().Enqueue(draft("key-1"), Officer(), kNow)).reply;
  const std::size_t told = Must(store_->audit().Read(0, 1'000)).size();

  SetFree(kGiB);
  const TimePoint later = kNow + minutes(10);
  const auto waiting = [&] {
    return std::vector{Incoming("carl", "c1", kNow + minutes(5), "waits at the platform")};
  };
  EXPECT_EQ(FailureOf(collect(waiting(), "second", later)), ErrorCode::kDiskFull);
  EXPECT_EQ(Must(store_->collection().Cursor(account.id)), "first");
  EXPECT_EQ(FailureOf(store_->outbox().Enqueue(draft("key-2"), Officer(), later)),
            ErrorCode::kDiskFull);
  EXPECT_EQ(Must(store_->outbox().Enqueue(draft("key-1"), Officer(), later)).reply.id, queued.id)
      << "what was taken before is told all the same";

  // Read, with its record; sent; erased; ended.
  EXPECT_THAT(Inbox(*store_, later), SizeIs(2));
  EXPECT_THAT(Thread(*store_, anna.id, later), SizeIs(1));
  EXPECT_GT(Must(store_->audit().Read(0, 1'000)).size(), told);
  Must(store_->outbox().StartSending(queued.id, later));
  Must(store_->outbox().MarkSent(queued.id, PlatformId("r1"), later, later));
  Must(store_->erasure().ErasePerson(Must(store_->erasure().PersonOf(anna.id, later)),
                                     Officer("tok_privacy"), later));
  EXPECT_THAT(Inbox(*store_, later), SizeIs(1));
  Must(store_->erasure().RunOnce(later));
  EXPECT_EQ(Must(store_->erasure().Unfinished()), 0u);
  Must(store_->purge().RunOnce(kNow + days(8)));
  EXPECT_THAT(Inbox(*store_, kNow + days(8)), IsEmpty());
  EXPECT_THAT(store_->View(kNow + days(8)).due_not_destroyed, IsEmpty());

  // And then it goes on where it had stopped, once.
  SetFree(50 * kGiB);
  const TimePoint again = kNow + days(8);
  const auto late = [&] {
    return std::vector{Incoming("carl", "c2", kNow + days(5), "waits at the platform")};
  };
  EXPECT_EQ(Must(collect(late(), "second", again)).stored, 1u);
  EXPECT_EQ(Must(collect(late(), "second", again)).stored, 0u);
  EXPECT_EQ(Must(store_->collection().Cursor(account.id)), "second");
  EXPECT_THAT(Inbox(*store_, again), SizeIs(1));
}

// Others fill the disk to its last byte.
TEST(StoreBallast, ErasingAndEndingHaveRoomOnADiskThatOthersFilled) {
  TempStore store(EngineKind::kRocksDb, KeepTenPercent());
  std::uint64_t left = kGiB;  // for the reserve and what is available beside it
  const auto reserved = [&] {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(store.store_dir() / "reserve", error);
    return error ? 0 : size;
  };
  store.SetDisk(
      [&] {
        return store::DiskRoom{.available = left - std::min<std::uint64_t>(left, reserved()),
                               .capacity = kGiB};
      },
      20 * kMiB);
  store.Reopen();
  const Account account = Connect(*store, kNow, "P7D");
  const auto page = PageOf(account.id, {Incoming("anna", "a1", kNow, "to be erased"),
                                        Incoming("bert", "b1", kNow, "to be ended")});
  Must(store->collection().Collect(page, kNow));

  left = reserved();
  ASSERT_EQ(store->Room().disk.available, 0u);
  EXPECT_EQ(FailureOf(store->collection().Collect(page, kNow)), ErrorCode::kDiskFull);
  EXPECT_EQ(store->Room().disk.ballast, 20 * kMiB) << "collecting does not take it";
  EXPECT_TRUE(store->Health());
  for (const Conversation& conversation : Inbox(*store, kNow)) {
    if (Thread(*store, conversation.id, kNow).front().text.Reveal() != "to be erased") continue;
    const auto person = Must(store->erasure().PersonOf(conversation.id, kNow));
    Must(store->erasure().ErasePerson(person, Officer("tok_privacy"), kNow));
  }
  Must(store->erasure().RunOnce(kNow));
  EXPECT_EQ(Must(store->erasure().Unfinished()), 0u);
  EXPECT_THAT(Inbox(*store, kNow), SizeIs(1));
  EXPECT_EQ(store->Room().disk.ballast, 0u);
  EXPECT_THAT(Must(store->purge().RunOnce(kNow + days(8))), SizeIs(1));
  EXPECT_THAT(store->View(kNow + days(8)).due_not_destroyed, IsEmpty());

  left = kGiB;
  EXPECT_TRUE(store->Mend());
  EXPECT_EQ(store->Room().disk.ballast, 20 * kMiB);
}

TEST(StoreRoomOff, WithoutAShareNothingStops) {
  TempStore store(EngineKind::kMemory);
  store.engine().SetRoom({.available = 0, .capacity = 100 * kGiB, .needed = 40 * kMiB});
  EXPECT_FALSE(store->Room().stopped);
  const Account account = Connect(*store, kNow);
  EXPECT_TRUE(store->collection().Collect(PageOf(account.id, {Incoming("a", "1", kNow)}), kNow));
}

INSTANTIATE_TEST_SUITE_P(, StoreRoom, ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb),
                         KindName);

}  // namespace
}  // namespace mayfly::testing
