// What every engine must do, run on each of them.
#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/engine/engine.h"
#include "store/engine/memory/memory_engine.h"
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "tests/support/engine_rows.h"
#include "tests/support/temp_dir.h"

namespace mayfly::store {
namespace {

using ::mayfly::testing::DayFamily;
using ::mayfly::testing::KeysOf;
using ::mayfly::testing::PutRow;
using ::mayfly::testing::Row;
using ::mayfly::testing::RowsOf;
using ::mayfly::testing::TempDir;
using ::mayfly::testing::ValueOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Family kSys = Family::Sys();
const Family kDay1 = DayFamily(1);
const Family kDay2 = DayFamily(2);
const Family kDay3 = DayFamily(3);

template <class T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? ErrorCode::kInternal : result.error().code;
}

class EngineConformance : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "memory") {
      engine_ = MakeMemoryEngine();
    } else {
      auto opened = OpenRocksDbEngine({.dir = dir_ / "store"});
      ASSERT_TRUE(opened.has_value()) << opened.error().message;
      engine_ = *std::move(opened);
    }
    ASSERT_TRUE(engine_->OpenFamily(kDay1).has_value());
    ASSERT_TRUE(engine_->OpenFamily(kDay2).has_value());
  }

  void Put(Family family, const std::string& key, const std::string& value) {
    const Status status = PutRow(*engine_, family, key, value);
    ASSERT_TRUE(status.has_value()) << status.error().message;
  }

  TempDir dir_;
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineConformance, ::testing::Values("memory", "rocksdb"),
                         [](const auto& info) { return info.param; });

// --- families

TEST(Family, NamesGoBothWays) {
  using namespace std::chrono;
  const Family day = Family::Day(sys_days(year(2027) / February / 22));
  EXPECT_EQ(Family::Sys().Name(), "sys");
  EXPECT_EQ(day.Name(), "D20270222");
  EXPECT_EQ(Family::Audit(202611).Name(), "A202611");
  EXPECT_EQ(Family::Twin(day.day()).Name(), "T20270222");
  for (const Family family : {Family::Sys(), day, Family::Audit(202611), Family::Twin(day.day())}) {
    EXPECT_EQ(Family::Parse(family.Name()), family);
  }
}

TEST(Family, OtherNamesAreRefused) {
  for (const char* name : {"", "default", "Sys", "sys ", "D", "D2027022", "D202702220", "D20270230",
                           "D20271301", "D2027-2-2", "D19691231", "d20270222", "A", "A20261",
                           "A2026111", "A202600", "A202613", "A+20261", "X202611"}) {
    EXPECT_FALSE(Family::Parse(name).has_value()) << name;
  }
}

TEST_P(EngineConformance, FamiliesAreListedByKindInOrder) {
  ASSERT_TRUE(engine_->OpenFamily(Family::Audit(202701)).has_value());
  ASSERT_TRUE(engine_->OpenFamily(Family::Audit(202611)).has_value());
  ASSERT_TRUE(engine_->OpenFamily(DayFamily(-400)).has_value());
  EXPECT_THAT(engine_->Families(Family::Kind::kSys), ElementsAre(kSys));
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(DayFamily(-400), kDay1, kDay2));
  EXPECT_THAT(engine_->Families(Family::Kind::kAudit),
              ElementsAre(Family::Audit(202611), Family::Audit(202701)));
}

TEST_P(EngineConformance, OpeningAgainChangesNothing) {
  Put(kDay1, "k", "v");
  EXPECT_TRUE(engine_->OpenFamily(kDay1).has_value());
  EXPECT_TRUE(engine_->OpenFamily(kSys).has_value());
  EXPECT_EQ(ValueOf(*engine_, kDay1, "k"), "v");
}

TEST_P(EngineConformance, SysCanBeNeitherClosedNorDropped) {
  EXPECT_EQ(CodeOf(engine_->CloseFamily(kSys)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(engine_->DropFamily(kSys)), ErrorCode::kInvalidArgument);
  Put(kSys, "k", "v");
  EXPECT_EQ(ValueOf(*engine_, kSys, "k"), "v");
}

// --- commits

TEST_P(EngineConformance, ABatchAppliesAcrossFamilies) {
  Put(kDay1, "old", "x");
  Batch batch;
  batch.Put(kSys, "cursor", "7");
  batch.Put(kDay1, "a", "1");
  batch.Put(kDay2, "b", "2");
  batch.Remove(kDay1, "old");
  batch.Remove(kDay2, "never there");
  ASSERT_TRUE(engine_->Commit(batch, Durability::kSynced).has_value());
  EXPECT_EQ(ValueOf(*engine_, kSys, "cursor"), "7");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "a"), "1");
  EXPECT_EQ(ValueOf(*engine_, kDay2, "b"), "2");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "old"), "(absent)");
}

TEST_P(EngineConformance, TheLaterChangeOfOneKeyWins) {
  Batch batch;
  batch.Put(kDay1, "a", "first");
  batch.Put(kDay1, "a", "second");
  batch.Put(kDay1, "b", "first");
  batch.Remove(kDay1, "b");
  ASSERT_TRUE(engine_->Commit(batch, Durability::kBuffered).has_value());
  EXPECT_EQ(ValueOf(*engine_, kDay1, "a"), "second");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "b"), "(absent)");
}

TEST_P(EngineConformance, AnEmptyBatchIsFine) {
  EXPECT_TRUE(engine_->Commit({}, Durability::kSynced).has_value());
}

TEST_P(EngineConformance, AnEmptyValueIsNotAnAbsentOne) {
  Put(kDay1, "k", "");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "k"), "");
  Batch batch;
  batch.conditions.push_back({kDay1, "k", std::nullopt});
  EXPECT_EQ(CodeOf(engine_->Commit(batch, Durability::kSynced)), ErrorCode::kPreconditionFailed);
  batch.conditions = {{kDay1, "k", ""}};
  EXPECT_TRUE(engine_->Commit(batch, Durability::kSynced).has_value());
}

TEST_P(EngineConformance, ConditionsThatHoldLetTheBatchThrough) {
  Put(kDay1, "revision", "4");
  Batch batch;
  batch.conditions = {{kDay1, "revision", "4"}, {kDay2, "reply", std::nullopt}};
  batch.Put(kDay1, "revision", "5");
  batch.Put(kDay2, "reply", "text");
  ASSERT_TRUE(engine_->Commit(batch, Durability::kSynced).has_value());
  EXPECT_EQ(ValueOf(*engine_, kDay1, "revision"), "5");
  EXPECT_EQ(ValueOf(*engine_, kDay2, "reply"), "text");
}

TEST_P(EngineConformance, AConditionThatFailsLeavesNothing) {
  Put(kDay1, "revision", "5");
  const std::vector<Condition> failing = {{kDay1, "revision", "4"},
                                          {kDay1, "revision", std::nullopt},
                                          {kDay1, "missing", "4"},
                                          {kDay2, "revision", "5"}};
  for (const Condition& condition : failing) {
    Batch batch;
    batch.conditions = {{kDay1, "revision", "5"}, condition};
    batch.Put(kSys, "a", "1");
    batch.Put(kDay1, "revision", "6");
    EXPECT_EQ(CodeOf(engine_->Commit(batch, Durability::kSynced)), ErrorCode::kPreconditionFailed);
  }
  EXPECT_EQ(ValueOf(*engine_, kSys, "a"), "(absent)");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "revision"), "5");
}

TEST_P(EngineConformance, ClosedFamiliesRefuseCommitsButNotReads) {
  Put(kDay1, "k", "v");
  ASSERT_TRUE(engine_->CloseFamily(kDay1).has_value());
  EXPECT_TRUE(engine_->CloseFamily(kDay1).has_value());

  Batch batch;
  batch.Put(kDay2, "other", "1");
  batch.Put(kDay1, "k", "changed");
  EXPECT_EQ(CodeOf(engine_->Commit(batch, Durability::kSynced)), ErrorCode::kExpired);
  EXPECT_EQ(ValueOf(*engine_, kDay2, "other"), "(absent)");
  Batch asking;
  asking.conditions.push_back({kDay1, "k", "v"});
  asking.Put(kDay2, "other", "1");
  EXPECT_EQ(CodeOf(engine_->Commit(asking, Durability::kSynced)), ErrorCode::kExpired);
  EXPECT_EQ(ValueOf(*engine_, kDay2, "other"), "(absent)");
  EXPECT_EQ(CodeOf(engine_->OpenFamily(kDay1)), ErrorCode::kExpired);

  EXPECT_EQ(ValueOf(*engine_, kDay1, "k"), "v");
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("k"));
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay1, kDay2));
}

TEST_P(EngineConformance, AbsentFamiliesAnswerExpired) {
  EXPECT_EQ(CodeOf(PutRow(*engine_, kDay3, "k", "v")), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(engine_->Get(kDay3, "k")), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(RowsOf(*engine_, kDay3)), ErrorCode::kExpired);
  EXPECT_TRUE(engine_->CloseFamily(kDay3).has_value());
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay1, kDay2));
}

TEST_P(EngineConformance, ValuesOfOneMebibyteComeBackWhole) {
  std::string value(1u << 20, '\0');
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 131 >> 3);
  Put(kDay1, "big", value);
  EXPECT_TRUE(ValueOf(*engine_, kDay1, "big") == value);
  ASSERT_TRUE(engine_->FlushAll().has_value());
  EXPECT_TRUE(ValueOf(*engine_, kDay1, "big") == value);
}

// --- scans

TEST_P(EngineConformance, KeysAreBytesInUnsignedOrder) {
  const std::vector<std::string> keys = {std::string(1, '\0'),
                                         std::string("\0\0", 2),
                                         std::string("\0a", 2),
                                         "a",
                                         std::string("a\0", 2),
                                         std::string("a\0z", 3),
                                         "a\x7f",
                                         "a\x80",
                                         "a\xff",
                                         "a\xff\xff",
                                         "b",
                                         "\xff",
                                         std::string("\xff\0", 2),
                                         "\xff\xff"};
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) Put(kDay1, *key, "v" + *key);
  EXPECT_EQ(KeysOf(*engine_, kDay1), keys);
  for (const std::string& key : keys) EXPECT_EQ(ValueOf(*engine_, kDay1, key), "v" + key);
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = std::string("a\0", 2)}),
              ElementsAre(std::string("a\0", 2), std::string("a\0z", 3)));
}

TEST_P(EngineConformance, PrefixesThatEndInFf) {
  for (const char* key :
       {"a", "a\xfe", "a\xff", "a\xff\x01", "a\xff\xff", "b", "\xff", "\xff\xff", "\xff\xff\x01"}) {
    Put(kDay1, key, "v");
  }
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "a\xff"}),
              ElementsAre("a\xff", "a\xff\x01", "a\xff\xff"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "a\xff", .reverse = true}),
              ElementsAre("a\xff\xff", "a\xff\x01", "a\xff"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "\xff\xff"}),
              ElementsAre("\xff\xff", "\xff\xff\x01"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "\xff", .reverse = true}),
              ElementsAre("\xff\xff\x01", "\xff\xff", "\xff"));
}

TEST_P(EngineConformance, ScansGoForwardAndBackWithinTheirPrefix) {
  for (const char* key : {"h1", "i1", "i2", "i3", "i4", "j1"}) Put(kDay1, key, "v");
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("h1", "i1", "i2", "i3", "i4", "j1"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.reverse = true}),
              ElementsAre("j1", "i4", "i3", "i2", "i1", "h1"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "i"}), ElementsAre("i1", "i2", "i3", "i4"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "i", .reverse = true}),
              ElementsAre("i4", "i3", "i2", "i1"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "i3"}), ElementsAre("i3"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "k"}), IsEmpty());
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.prefix = "k", .reverse = true}), IsEmpty());
  EXPECT_THAT(KeysOf(*engine_, kDay2), IsEmpty());
}

TEST_P(EngineConformance, AfterIsExclusiveAndNeedNotExist) {
  for (const char* key : {"h1", "i1", "i2", "i3", "j1"}) Put(kDay1, key, "v");
  const auto keys = [&](std::string prefix, std::string after, bool reverse) {
    return KeysOf(*engine_, kDay1,
                  {.prefix = std::move(prefix), .after = std::move(after), .reverse = reverse});
  };
  EXPECT_THAT(keys("i", "i1", false), ElementsAre("i2", "i3"));
  EXPECT_THAT(keys("i", "i15", false), ElementsAre("i2", "i3"));
  EXPECT_THAT(keys("i", "i3", false), IsEmpty());
  EXPECT_THAT(keys("i", "i3", true), ElementsAre("i2", "i1"));
  EXPECT_THAT(keys("i", "i25", true), ElementsAre("i2", "i1"));
  EXPECT_THAT(keys("i", "i1", true), IsEmpty());
  EXPECT_THAT(keys("", "i2", false), ElementsAre("i3", "j1"));
  EXPECT_THAT(keys("", "", false), ElementsAre("h1", "i1", "i2", "i3", "j1"));
  EXPECT_THAT(keys("", "", true), IsEmpty());
  // Outside the prefix: everything on that side, or nothing.
  EXPECT_THAT(keys("i", "a", false), ElementsAre("i1", "i2", "i3"));
  EXPECT_THAT(keys("i", "z", false), IsEmpty());
  EXPECT_THAT(keys("i", "z", true), ElementsAre("i3", "i2", "i1"));
  EXPECT_THAT(keys("i", "a", true), IsEmpty());
}

TEST_P(EngineConformance, ScansStopAtTheirLimitOrWhenTold) {
  for (const char* key : {"1", "2", "3", "4"}) Put(kDay1, key, "v");
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.limit = 2}), ElementsAre("1", "2"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.reverse = true, .limit = 1}), ElementsAre("4"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.limit = 4}), ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(KeysOf(*engine_, kDay1, {.limit = 0}), IsEmpty());
  std::vector<std::string> seen;
  ASSERT_TRUE(engine_
                  ->Scan(kDay1, {},
                         [&](std::string_view key, std::string_view) {
                           seen.emplace_back(key);
                           return seen.size() < 3;
                         })
                  .has_value());
  EXPECT_THAT(seen, ElementsAre("1", "2", "3"));
}

TEST_P(EngineConformance, AScanSeesOneSnapshotAndItsVisitorMayCommit) {
  for (const char* key : {"1", "2", "3"}) Put(kDay1, key, "before");
  std::vector<Row> seen;
  ASSERT_TRUE(engine_
                  ->Scan(kDay1, {},
                         [&](std::string_view key, std::string_view value) {
                           seen.emplace_back(key, value);
                           Batch batch;
                           batch.Put(kDay1, "2", "after");
                           batch.Put(kDay1, "25", "after");
                           batch.Remove(kDay1, "3");
                           EXPECT_TRUE(engine_->Commit(batch, Durability::kBuffered).has_value());
                           return true;
                         })
                  .has_value());
  EXPECT_THAT(seen, ElementsAre(Row("1", "before"), Row("2", "before"), Row("3", "before")));
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("1", "2", "25"));
}

// --- merged scans

std::vector<MergeSource> Sources(const std::vector<Family>& families) {
  std::vector<MergeSource> sources;
  for (const Family family : families) sources.push_back({.family = family, .not_before = {}});
  return sources;
}

std::vector<std::string> Merged(const Engine& engine, const std::vector<MergeSource>& sources,
                                const ScanOptions& options, std::size_t stop_after = SIZE_MAX) {
  std::vector<std::string> seen;
  const Status status = engine.MergeScan(
      sources, options, [&](Family family, std::string_view key, std::string_view value) {
        seen.push_back(family.Name().substr(7) + ":" + std::string(key) + "=" + std::string(value));
        return seen.size() < stop_after;
      });
  EXPECT_TRUE(status.has_value());
  return seen;
}

TEST_P(EngineConformance, MergedScansAreInKeyOrderAndTiesInFamilyOrder) {
  ASSERT_TRUE(engine_->OpenFamily(kDay3).has_value());  // stays empty
  Put(kDay1, "i1", "a");
  Put(kDay1, "i3", "b");
  Put(kDay1, "i5", "c");
  Put(kDay2, "i2", "d");
  Put(kDay2, "i3", "e");
  Put(kDay2, "j1", "f");
  const auto up = Sources({kDay1, kDay2, kDay3});
  const auto down = Sources({kDay3, kDay2, kDay1});
  EXPECT_THAT(Merged(*engine_, up, {.prefix = "i"}),
              ElementsAre("02:i1=a", "03:i2=d", "02:i3=b", "03:i3=e", "02:i5=c"));
  EXPECT_THAT(Merged(*engine_, down, {.prefix = "i"}),
              ElementsAre("02:i1=a", "03:i2=d", "03:i3=e", "02:i3=b", "02:i5=c"));
  EXPECT_THAT(Merged(*engine_, up, {.prefix = "i", .reverse = true}),
              ElementsAre("02:i5=c", "02:i3=b", "03:i3=e", "03:i2=d", "02:i1=a"));
  EXPECT_THAT(Merged(*engine_, up, {.prefix = "i", .after = "i2", .limit = 2}),
              ElementsAre("02:i3=b", "03:i3=e"));
  EXPECT_THAT(Merged(*engine_, up, {.after = "i3", .reverse = true}),
              ElementsAre("03:i2=d", "02:i1=a"));
  EXPECT_THAT(Merged(*engine_, up, {}, 1), ElementsAre("02:i1=a"));
  EXPECT_THAT(Merged(*engine_, up, {.limit = 0}), IsEmpty());
  EXPECT_THAT(Merged(*engine_, {}, {}), IsEmpty());
}

TEST_P(EngineConformance, MergedScansGiveTheSameWhateverIsKnownOfWhereFamiliesBegin) {
  ASSERT_TRUE(engine_->OpenFamily(kDay3).has_value());
  Put(kDay1, "i1", "a");
  Put(kDay1, "i4", "b");
  Put(kDay2, "i3", "c");
  Put(kDay2, "i6", "d");
  Put(kDay3, "i4", "e");
  const auto all = ElementsAre("02:i1=a", "03:i3=c", "02:i4=b", "04:i4=e", "03:i6=d");
  EXPECT_THAT(Merged(*engine_, Sources({kDay1, kDay2, kDay3}), {}), all);
  EXPECT_THAT(Merged(*engine_, {{kDay1, "i1"}, {kDay2, "i3"}, {kDay3, "i4"}}, {}), all);
  EXPECT_THAT(Merged(*engine_, {{kDay1, ""}, {kDay2, "i2"}, {kDay3, "i2"}}, {}), all);
  EXPECT_THAT(Merged(*engine_, {{kDay1, "i1"}, {kDay2, "i3"}, {kDay3, "i4"}}, {.after = "i3"}),
              ElementsAre("02:i4=b", "04:i4=e", "03:i6=d"));
  // Only the later family holds anything in the range.
  EXPECT_THAT(Merged(*engine_, {{kDay1, "i1"}, {kDay2, "i3"}}, {.after = "i5"}),
              ElementsAre("03:i6=d"));
}

TEST_P(EngineConformance, MergedScansSeeOneSnapshotOfFamiliesThatTheyReachLater) {
  Put(kDay1, "1", "before");
  Put(kDay2, "2", "before");
  std::vector<std::string> seen;
  ASSERT_TRUE(engine_
                  ->MergeScan({{kDay1, ""}, {kDay2, "2"}}, {},
                              [&](Family, std::string_view key, std::string_view value) {
                                seen.push_back(std::string(key) + "=" + std::string(value));
                                EXPECT_TRUE(PutRow(*engine_, kDay2, "2", "after").has_value());
                                return true;
                              })
                  .has_value());
  EXPECT_THAT(seen, ElementsAre("1=before", "2=before"));
}

TEST_P(EngineConformance, MergedScansSeeOneSnapshotOfAllFamilies) {
  Put(kDay1, "1", "before");
  Put(kDay2, "2", "before");
  std::vector<std::string> seen;
  ASSERT_TRUE(engine_
                  ->MergeScan(Sources({kDay1, kDay2}), {},
                              [&](Family, std::string_view key, std::string_view value) {
                                seen.push_back(std::string(key) + "=" + std::string(value));
                                EXPECT_TRUE(PutRow(*engine_, kDay2, "2", "after").has_value());
                                EXPECT_TRUE(PutRow(*engine_, kDay2, "3", "after").has_value());
                                return true;
                              })
                  .has_value());
  EXPECT_THAT(seen, ElementsAre("1=before", "2=before"));
}

TEST_P(EngineConformance, MergedScansLeaveOutFamiliesThatAreGone) {
  Put(kDay1, "1", "v");
  Put(kDay2, "2", "v");
  ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
  EXPECT_THAT(Merged(*engine_, Sources({kDay1, kDay2, kDay3}), {}), ElementsAre("03:2=v"));
}

TEST_P(EngineConformance, MergedScansOverNinetyThreeFamilies) {
  std::vector<Family> families;
  Batch batch;
  for (int day = 0; day < 93; ++day) {
    families.push_back(DayFamily(day));
    ASSERT_TRUE(engine_->OpenFamily(families.back()).has_value());
    for (int row = 0; row < 3; ++row) {
      const int place = row * 93 + (day * 40) % 93;  // 40 and 93 share no divisor
      batch.Put(families.back(), std::to_string(1000 + place), "v");
    }
  }
  ASSERT_TRUE(engine_->Commit(batch, Durability::kSynced).has_value());
  std::vector<int> seen;
  ASSERT_TRUE(engine_
                  ->MergeScan(Sources(families), {},
                              [&](Family, std::string_view key, std::string_view) {
                                seen.push_back(std::stoi(std::string(key)));
                                return true;
                              })
                  .has_value());
  ASSERT_EQ(seen.size(), 3u * 93);
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], 1000 + static_cast<int>(i));
}

// --- drops

TEST_P(EngineConformance, ADropTakesTheWholeFamilyAndNothingElse) {
  Put(kDay1, "k", std::string(1000, 'x'));
  Put(kDay2, "k", "stays");
  ASSERT_TRUE(engine_->FlushAll().has_value());
  ASSERT_TRUE(engine_->CloseFamily(kDay1).has_value());
  const auto report = engine_->DropFamily(kDay1);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_GE(report->bytes_dropped, 1000u);
  EXPECT_EQ(CodeOf(engine_->Get(kDay1, "k")), ErrorCode::kExpired);
  EXPECT_EQ(CodeOf(PutRow(*engine_, kDay1, "k", "v")), ErrorCode::kExpired);
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay2));
  EXPECT_EQ(ValueOf(*engine_, kDay2, "k"), "stays");
  ASSERT_TRUE(PutRow(*engine_, kSys, "receipt", "1").has_value());
  EXPECT_TRUE(engine_->ReleaseLogs().has_value());
  EXPECT_EQ(ValueOf(*engine_, kSys, "receipt"), "1");
}

TEST_P(EngineConformance, ADropCanBeRepeated) {
  Put(kDay1, "k", "v");
  ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
  ASSERT_TRUE(engine_->ReleaseLogs().has_value());
  for (int i = 0; i < 2; ++i) {
    const auto again = engine_->DropFamily(kDay1);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->bytes_dropped, 0u);
    EXPECT_TRUE(again->log_released);
    EXPECT_TRUE(engine_->CloseFamily(kDay1).has_value());
    EXPECT_TRUE(engine_->ReleaseLogs().has_value());
  }
  EXPECT_TRUE(engine_->DropFamily(kDay3).has_value());
}

TEST_P(EngineConformance, AFamilyOpenedAfterItsDropIsNew) {
  Put(kDay1, "k", "v");
  ASSERT_TRUE(engine_->CloseFamily(kDay1).has_value());
  ASSERT_TRUE(engine_->DropFamily(kDay1).has_value());
  ASSERT_TRUE(engine_->OpenFamily(kDay1).has_value());
  EXPECT_EQ(ValueOf(*engine_, kDay1, "k"), "(absent)");
  Put(kDay1, "k", "new");
  EXPECT_EQ(ValueOf(*engine_, kDay1, "k"), "new");
}

TEST_P(EngineConformance, ADropWaitsForTheScanUnderWay) {
  for (int i = 0; i < 100; ++i) Put(kDay1, "k" + std::to_string(100 + i), "v");
  std::atomic<bool> scan_done = false;
  std::future<bool> scan_was_done;
  std::size_t seen = 0;
  const Status scanned = engine_->Scan(kDay1, {}, [&](std::string_view, std::string_view) {
    if (++seen == 1) {
      scan_was_done = std::async(std::launch::async, [&] {
        return engine_->DropFamily(kDay1).has_value() && scan_done.load();
      });
      // Once the drop has begun, newcomers are refused; the scan goes on all the same.
      while (ValueOf(*engine_, kDay1, "k100") == "v") std::this_thread::yield();
    }
    if (seen == 100) scan_done = true;
    return true;
  });
  EXPECT_TRUE(scanned.has_value());
  EXPECT_EQ(seen, 100u);
  ASSERT_TRUE(scan_was_done.valid());
  EXPECT_TRUE(scan_was_done.get());
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay2));
}

TEST_P(EngineConformance, TwoDropsAtOnceBothSucceed) {
  Put(kDay1, "k", "v");
  std::vector<std::future<bool>> drops;
  for (int i = 0; i < 4; ++i) {
    drops.push_back(
        std::async(std::launch::async, [&] { return engine_->DropFamily(kDay1).has_value(); }));
  }
  for (auto& drop : drops) EXPECT_TRUE(drop.get());
  EXPECT_THAT(engine_->Families(Family::Kind::kDay), ElementsAre(kDay2));
}

// --- threads

TEST_P(EngineConformance, CommitsOfFourThreadsAreAllPresent) {
  constexpr int kThreads = 4, kCommits = 50;
  std::latch start(kThreads);
  std::atomic<int> failed = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        for (int i = 0; i < kCommits; ++i) {
          const std::string key = std::to_string(t) + "/" + std::to_string(i);
          Batch batch;
          batch.Put(kDay1, key, "one");
          batch.Put(kDay2, key, "two");
          if (i % 2 == 0) batch.conditions.push_back({kDay1, key, std::nullopt});
          if (!engine_->Commit(batch, Durability::kSynced)) ++failed;
        }
      });
    }
  }
  EXPECT_EQ(failed, 0);
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kCommits; ++i) {
      const std::string key = std::to_string(t) + "/" + std::to_string(i);
      EXPECT_EQ(ValueOf(*engine_, kDay1, key), "one");
      EXPECT_EQ(ValueOf(*engine_, kDay2, key), "two");
    }
  }
}

TEST_P(EngineConformance, OfManyCommitsOnOneConditionOneWins) {
  // Each thread counts one key up under a condition; a lost update would make the sum too small.
  constexpr int kThreads = 4, kSteps = 25;
  Put(kSys, "count", "0");
  std::latch start(kThreads);
  std::atomic<int> failed = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (int step = 0; step < kSteps;) {
          const std::string now = ValueOf(*engine_, kSys, "count");
          Batch batch;
          batch.conditions.push_back({kSys, "count", now});
          batch.Put(kSys, "count", std::to_string(std::stoi(now) + 1));
          const Status status = engine_->Commit(batch, Durability::kBuffered);
          if (status) {
            ++step;
          } else if (status.error().code != ErrorCode::kPreconditionFailed) {
            ++failed;
            return;
          }
        }
      });
    }
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(ValueOf(*engine_, kSys, "count"), std::to_string(kThreads * kSteps));
}

TEST_P(EngineConformance, AConditionHoldsAgainstCommitsWithoutOne) {
  // One thread counts `guard` up without conditions and marks each step in `witness`. The other
  // writes `witness` only while `guard` is what it read. Were a step of the first one to slip in
  // between check and write, the witness would be older than the guard.
  constexpr int kSteps = 100;
  Put(kSys, "guard", "0");
  Put(kSys, "witness", "0");
  std::atomic<bool> stop = false;
  std::atomic<int> admitted = 0, failed = 0;
  std::jthread conditional([&] {
    while (!stop) {
      const std::string guard = ValueOf(*engine_, kSys, "guard");
      Batch batch;
      batch.conditions.push_back({kSys, "guard", guard});
      batch.Put(kSys, "witness", guard);
      const Status status = engine_->Commit(batch, Durability::kBuffered);
      if (status) {
        ++admitted;
      } else if (status.error().code != ErrorCode::kPreconditionFailed) {
        ++failed;
        return;
      }
    }
  });
  int stale = 0;
  for (int step = 1; step <= kSteps; ++step) {
    Batch batch;
    batch.Put(kSys, "guard", std::to_string(step));
    batch.Put(kSys, "witness", std::to_string(step));
    if (!engine_->Commit(batch, Durability::kBuffered)) ++failed;
    // Leaves the other one time to write, and to get it wrong.
    for (const int before = admitted; admitted == before && failed == 0;) {
      std::this_thread::yield();
    }
    stale += ValueOf(*engine_, kSys, "witness") != std::to_string(step);
  }
  stop = true;
  conditional.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(stale, 0);
  EXPECT_GT(admitted, 0);
}

TEST_P(EngineConformance, ClosingWaitsForCommitsUnderWay) {
  // After the close nothing may arrive: what a scan then finds stays what it is.
  std::atomic<int> acknowledged = 0, other_errors = 0;
  std::latch start(3);
  std::vector<std::jthread> writers;
  for (int t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      start.arrive_and_wait();
      for (int i = 0; i < 100000; ++i) {
        const Status status =
            PutRow(*engine_, kDay1, std::to_string(t) + "/" + std::to_string(i), "v");
        if (status) {
          ++acknowledged;
        } else {
          if (status.error().code != ErrorCode::kExpired) ++other_errors;
          return;
        }
      }
    });
  }
  start.arrive_and_wait();
  while (acknowledged < 20 && other_errors == 0) std::this_thread::yield();
  ASSERT_TRUE(engine_->CloseFamily(kDay1).has_value());
  const std::size_t at_close = KeysOf(*engine_, kDay1).size();
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(other_errors, 0);
  EXPECT_EQ(at_close, static_cast<std::size_t>(acknowledged));
  EXPECT_EQ(KeysOf(*engine_, kDay1).size(), at_close);
}

// --- twins

TEST_P(EngineConformance, ATwinTakesThePlaceOfItsDate) {
  const Family twin = Family::Twin(kDay1.day());
  EXPECT_EQ(CodeOf(engine_->SwapTwin(kDay1.day())), ErrorCode::kExpired);
  ASSERT_TRUE(engine_->OpenFamily(twin).has_value());
  Put(kDay1, "old", "1");
  Batch batch;
  batch.Put(twin, "new", "2");
  ASSERT_TRUE(engine_->Commit(batch, Durability::kUnlogged).has_value());
  ASSERT_TRUE(engine_->SwapTwin(kDay1.day()).has_value());
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("new"));
  EXPECT_THAT(KeysOf(*engine_, twin), ElementsAre("old"));
  Put(kDay1, "newer", "3");
  EXPECT_TRUE(engine_->DropFamily(twin).has_value());
  EXPECT_THAT(engine_->Families(Family::Kind::kTwin), IsEmpty());
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("new", "newer"));
  EXPECT_THAT(KeysOf(*engine_, kDay2), IsEmpty());
  // And again, back to the first container's name.
  ASSERT_TRUE(engine_->OpenFamily(twin).has_value());
  EXPECT_THAT(KeysOf(*engine_, twin), IsEmpty());
  Put(twin, "newest", "4");
  ASSERT_TRUE(engine_->SwapTwin(kDay1.day()).has_value());
  EXPECT_TRUE(engine_->DropFamily(twin).has_value());
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("newest"));
  EXPECT_TRUE(engine_->DropFamily(kDay1).has_value());
  ASSERT_TRUE(engine_->OpenFamily(kDay1).has_value());
  EXPECT_THAT(KeysOf(*engine_, kDay1), IsEmpty());
}

TEST_P(EngineConformance, ASwapWaitsForTheScanUnderWay) {
  ASSERT_TRUE(engine_->OpenFamily(Family::Twin(kDay1.day())).has_value());
  Put(kDay1, "a", "1");
  Put(kDay1, "b", "2");
  std::latch inside(1);
  std::latch leave(1);
  std::vector<std::string> seen;
  std::jthread scan([&] {
    EXPECT_TRUE(engine_->Scan(kDay1, {}, [&](std::string_view key, std::string_view) {
      if (seen.empty()) {
        inside.count_down();
        leave.wait();
      }
      seen.emplace_back(key);
      return true;
    }));
  });
  inside.wait();
  std::atomic<bool> swapped = false;
  std::jthread swap([&] {
    EXPECT_TRUE(engine_->SwapTwin(kDay1.day()).has_value());
    swapped = true;
  });
  EXPECT_FALSE(swapped);
  leave.count_down();
  scan.join();
  swap.join();
  EXPECT_THAT(seen, ElementsAre("a", "b"));
  EXPECT_THAT(KeysOf(*engine_, kDay1), IsEmpty());
}

TEST_P(EngineConformance, ErasingChangesNothingThatCounts) {
  EXPECT_EQ(CodeOf(engine_->Erase(kDay3)), ErrorCode::kExpired);
  EXPECT_TRUE(engine_->Erase(kDay1).has_value()) << "an empty family";
  Put(kDay1, "a", "1");
  Put(kDay1, "b", "2");
  Put(kDay1, "a", "3");
  Batch batch;
  batch.Remove(kDay1, "b");
  ASSERT_TRUE(engine_->Commit(batch, Durability::kSynced).has_value());
  EXPECT_TRUE(engine_->Erase(kDay1).has_value());
  EXPECT_TRUE(engine_->Erase(kDay1).has_value());
  EXPECT_EQ(ValueOf(*engine_, kDay1, "a"), "3");
  EXPECT_THAT(KeysOf(*engine_, kDay1), ElementsAre("a"));
}

TEST_P(EngineConformance, IsHealthy) {
  Put(kDay1, "k", "v");
  EXPECT_TRUE(engine_->FlushAll().has_value());
  EXPECT_TRUE(engine_->Health().has_value());
}

}  // namespace
}  // namespace mayfly::store
