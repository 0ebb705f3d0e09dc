// Who asks for another start, and when: never for a disk that is full, damaged, or works again.
#include "service/disk_job.h"

#include <optional>

#include <gtest/gtest.h>

#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"

namespace mayfly::service {
namespace {

using mayfly::testing::EngineKind;
using mayfly::testing::SimulatedClock;
using mayfly::testing::TempStore;

class DiskJobTest : public ::testing::Test {
 protected:
  void Fail(const char* field, ErrorCode code = ErrorCode::kIo) {
    store_.engine().SetHealth(Error{.code = code, .message = "injected", .field = field});
  }
  void Work() { store_.engine().SetHealth(std::nullopt); }
  void Look(int times) {
    for (int i = 0; i < times; ++i) (void)job_.RunOnce();
  }

  TempStore store_{EngineKind::kMemory};
  SimulatedClock clock_{mayfly::testing::At("2026-03-05T10:00:00.000Z")};
  int asked_ = 0;
  DiskJob job_{*store_, clock_, [this] { ++asked_; }};
};

TEST_F(DiskJobTest, AsksOnceWhenOnlyOpeningAnewHelps) {
  EXPECT_TRUE(job_.RunOnce());
  EXPECT_EQ(asked_, 0);
  Fail("reopen");
  EXPECT_FALSE(job_.RunOnce());
  EXPECT_EQ(asked_, 1);
  Look(30);
  EXPECT_EQ(asked_, 1);
}

TEST_F(DiskJobTest, WaitsForRoomHoweverLong) {
  Fail("disk-full");
  Look(1'000);
  EXPECT_EQ(asked_, 0);
  Work();
  EXPECT_TRUE(job_.RunOnce());
}

TEST_F(DiskJobTest, GivesAnErrorThatSaysNothingAMinute) {
  Fail("");
  Look(11);
  Work();
  Look(1);
  Fail("");
  Look(11);
  EXPECT_EQ(asked_, 0) << "it had worked in between";
  Look(1);
  EXPECT_EQ(asked_, 1);
}

TEST_F(DiskJobTest, LeavesDamageToAPerson) {
  Fail("", ErrorCode::kCorrupt);
  Look(1'000);
  EXPECT_EQ(asked_, 0);
}

TEST_F(DiskJobTest, AsksNobodyWhereAPersonHoldsTheKey) {
  DiskJob job(*store_, clock_, {});
  Fail("reopen");
  EXPECT_FALSE(job.RunOnce());
  EXPECT_FALSE(job.RunOnce());
}

}  // namespace
}  // namespace mayfly::service
