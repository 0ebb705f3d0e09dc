// Attachments: what is read is what was written, whole or in part; and they go with their message,
// whichever way it goes, with everything that was written on the way there.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/schema.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using std::chrono::days;
using std::chrono::hours;
using store::Family;
using store::kAttachmentPieceBytes;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kNow = At("2026-03-05T10:00:00.000Z");
const ExpiryDay kEnd = DayAt("2026-06-05");
constexpr char kMarker[] = "marker-in-a-picture-7f3a";
constexpr std::size_t kMiB = 1u << 20;

std::string KindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kMemory ? "Memory" : "RocksDb";
}

// Bytes that do not repeat and do not compress, so that no piece passes for another.
std::string Bytes(std::size_t size, std::uint32_t seed = 1) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    seed = seed * 1664525u + 1013904223u;
    byte = static_cast<char>(seed >> 24);
  }
  return bytes;
}

class Attached {
 public:
  explicit Attached(EngineKind kind) : store(kind), account(Connect(*store, kNow - days(1))) {}

  static store::CollectedAttachment Listed(const std::string& name,
                                           std::optional<std::uint64_t> bytes = std::nullopt) {
    return {.name = AttachmentName(name),
            .bytes = bytes,
            .locator = AttachmentLocator("locator-of-" + name)};
  }
  // A message of this person with one attachment of this name for each of `names`.
  MessageId Serve(const std::string& who, const std::string& id,
                  const std::vector<std::string>& names, TimePoint at = kNow) {
    store::CollectedMessage message = Incoming(who, id, at, "text of " + id);
    for (const std::string& name : names) message.attachments.push_back(Listed(name));
    Must(store->collection().Collect(PageOf(account.id, {message}), kNow));
    return IdOf(id);
  }
  MessageId IdOf(const std::string& platform_id) {
    for (const Conversation& conversation : Inbox(*store, kNow)) {
      for (const Message& message : Thread(*store, conversation.id, kNow)) {
        if (message.platform_id == PlatformId(platform_id)) return message.id;
      }
    }
    throw std::runtime_error("no message " + platform_id);
  }
  store::Look Look() { return Must(store->audit().LookAtInbox(Officer(), kNow)); }
  Attachment Get(const MessageId& message, std::uint16_t number = 1) {
    return Must(store->attachments().Get(Look(), message, number, kNow));
  }
  void Keep(const MessageId& message, std::uint16_t number, const std::string& bytes,
            std::size_t at_once = 10'000) {
    const auto writer = Must(store->attachments().Write(message, number, kNow));
    for (std::size_t at = 0; at < bytes.size(); at += at_once) {
      Must(writer->Append(std::string_view(bytes).substr(at, at_once), kNow));
    }
    Must(writer->Finish(kNow));
  }
  std::string Read(const MessageId& message, std::uint16_t number = 1, std::uint64_t from = 0,
                   TimePoint now = kNow) {
    std::string all;
    for (;;) {
      const std::string piece =
          Must(store->attachments().Read(Look(), message, number, from + all.size(), now));
      if (piece.empty()) return all;
      EXPECT_LE(piece.size(), kAttachmentPieceBytes);
      all += piece;
    }
  }
  std::optional<ErrorCode> FailureToRead(const MessageId& message, TimePoint now = kNow) {
    const auto look = Must(store->audit().LookAtInbox(Officer(), now));
    EXPECT_EQ(FailureOf(store->attachments().Get(look, message, 1, now)),
              FailureOf(store->attachments().Read(look, message, 1, 0, now)));
    return FailureOf(store->attachments().Read(look, message, 1, 0, now));
  }
  void Withdraw(const std::string& who, const std::string& id) {
    store::CollectedPage page = PageOf(account.id, {});
    page.withdrawals.push_back({PlatformId(who), PlatformId(id)});
    ASSERT_EQ(Must(store->collection().Collect(page, kNow)).withdrawn, 1u);
  }
  std::size_t Rows(char kind, ExpiryDay day = kEnd) {
    return store.Rows(Family::Day(day), kind).size();
  }
  std::vector<store::WantedAttachment> Wanted(std::size_t count = 100) {
    return Must(store->attachments().Wanted(account.id, count, kNow));
  }

  TempStore store;
  Account account;
};

class StoreAttachments : public ::testing::TestWithParam<EngineKind> {};
INSTANTIATE_TEST_SUITE_P(, StoreAttachments,
                         ::testing::Values(EngineKind::kMemory, EngineKind::kRocksDb), KindName);

TEST_P(StoreAttachments, AreListedWithTheirMessageThenFetchedAndRead) {
  Attached office(GetParam());
  const MessageId id = office.Serve("anna", "a1", {"first.png", "second.txt"});
  const std::vector<store::WantedAttachment> wanted = office.Wanted();
  ASSERT_THAT(wanted, SizeIs(2));
  EXPECT_EQ(wanted[0].message, id);
  EXPECT_EQ(wanted[0].number, 1);
  EXPECT_EQ(wanted[0].platform_message, PlatformId("a1"));
  EXPECT_EQ(wanted[0].locator, AttachmentLocator("locator-of-first.png"));
  EXPECT_THAT(office.Wanted(1), SizeIs(1));
  EXPECT_EQ(office.Get(id, 1).state, AttachmentState::kWaiting);
  EXPECT_EQ(office.FailureToRead(office.Serve("bert", "b1", {}, kNow - hours(1))),
            ErrorCode::kNotFound);

  const std::string picture = "\x89PNG\r\n\x1a\n" + Bytes(200'000);
  const std::uint64_t revision = Inbox(*office.store, kNow)[0].revision;
  office.Keep(id, 1, picture);
  const auto thread = Thread(*office.store, Inbox(*office.store, kNow)[0].id, kNow);
  ASSERT_THAT(thread, SizeIs(1));
  ASSERT_THAT(thread[0].attachments, SizeIs(2));
  const Attachment& kept = thread[0].attachments[0];
  EXPECT_EQ(kept.number, 1);
  EXPECT_EQ(kept.state, AttachmentState::kKept);
  EXPECT_EQ(kept.bytes, picture.size());
  EXPECT_EQ(kept.media_type, "image/png");
  EXPECT_EQ(kept.name, AttachmentName("first.png"));
  EXPECT_EQ(thread[0].attachments[1].state, AttachmentState::kWaiting);
  EXPECT_GT(Inbox(*office.store, kNow)[0].revision, revision) << "it reads differently";
  EXPECT_THAT(office.Wanted(), SizeIs(1));

  office.store.Reopen();
  EXPECT_EQ(office.Read(id), picture);
  for (const std::uint64_t from : {1ull, 65'535ull, 65'536ull, 65'537ull, 200'007ull, 200'008ull}) {
    EXPECT_EQ(office.Read(id, 1, from), picture.substr(from)) << from;
  }
  EXPECT_EQ(FailureOf(office.store->attachments().Read(office.Look(), id, 2, 0, kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(office.store->attachments().Read(office.Look(), id, 3, 0, kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(office.store->attachments().Write(id, 1, kNow)), ErrorCode::kNotFound)
      << "what is kept is not written again";
  // Served again with others, it stays as it was.
  EXPECT_EQ(office.Serve("anna", "a1", {"third"}), id);
  EXPECT_THAT(Thread(*office.store, Inbox(*office.store, kNow)[0].id, kNow)[0].attachments,
              SizeIs(2));
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreAttachments, OfAnySizeUpToTheLimitAndNoFurther) {
  Attached office(GetParam());
  int count = 0;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kAttachmentPieceBytes - 1, kAttachmentPieceBytes,
        kAttachmentPieceBytes + 1, 4 * kAttachmentPieceBytes, 4 * kAttachmentPieceBytes + 1,
        std::size_t{kAttachmentBytesMax}}) {
    const MessageId id = office.Serve("anna", "m" + std::to_string(++count), {"file"});
    const std::string bytes = Bytes(size, static_cast<std::uint32_t>(count));
    office.Keep(id, 1, bytes, 300'001);
    EXPECT_EQ(office.Get(id).bytes, size);
    EXPECT_TRUE(office.Read(id) == bytes) << size;
  }
  const MessageId id = office.Serve("anna", "too-large", {"file"});
  const auto writer = Must(office.store->attachments().Write(id, 1, kNow));
  const std::string bytes = Bytes(kMiB);
  for (int i = 0; i < 25; ++i) Must(writer->Append(bytes, kNow));
  EXPECT_EQ(FailureOf(writer->Append("x", kNow)), ErrorCode::kTooLarge);
  EXPECT_EQ(office.Get(id).state, AttachmentState::kRefused);
  EXPECT_EQ(office.Get(id).refusal, AttachmentRefusal::kTooLarge);
  EXPECT_EQ(FailureOf(writer->Finish(kNow)), ErrorCode::kNotFound);
  EXPECT_THAT(office.Wanted(), IsEmpty());
}

TEST_P(StoreAttachments, WhatCannotBeFetchedIsRefusedAndSaysWhy) {
  Attached office(GetParam());
  store::CollectedMessage message = Incoming("anna", "a1", kNow, "many");
  message.attachments.push_back(Attached::Listed("huge", kAttachmentBytesMax + 1));
  message.attachments.push_back({.name = AttachmentName("nowhere")});
  message.attachments.push_back(
      {.locator = AttachmentLocator(std::string(kAttachmentLocatorBytesMax + 1, 'x'))});
  for (int i = 0; i < 10'000; ++i)
    message.attachments.push_back(Attached::Listed(std::string(300, 'n')));
  Must(office.store->collection().Collect(PageOf(office.account.id, {message}), kNow));
  const MessageId id = office.IdOf("a1");
  const auto thread = Thread(*office.store, Inbox(*office.store, kNow)[0].id, kNow);
  ASSERT_THAT(thread[0].attachments, SizeIs(kAttachmentsMax));
  EXPECT_TRUE(thread[0].has_unsupported_content) << "there were more";
  EXPECT_EQ(thread[0].attachments[0].refusal, AttachmentRefusal::kTooLarge);
  EXPECT_EQ(thread[0].attachments[1].refusal, AttachmentRefusal::kUnfetchable);
  EXPECT_EQ(thread[0].attachments[2].refusal, AttachmentRefusal::kUnfetchable);
  EXPECT_EQ(thread[0].attachments[3].name.size(), kAttachmentNameBytesMax);
  EXPECT_THAT(office.Wanted(1'000), SizeIs(kAttachmentsMax - 3));

  Must(office.store->attachments().Refuse(id, 4, AttachmentRefusal::kGone, kNow));
  Must(office.store->attachments().Refuse(id, 4, AttachmentRefusal::kNotAllowed, kNow));
  EXPECT_EQ(office.Get(id, 4).refusal, AttachmentRefusal::kGone) << "told again";
  EXPECT_THAT(office.Wanted(1'000), SizeIs(kAttachmentsMax - 4));
  office.Keep(id, 5, "bytes");
  EXPECT_EQ(FailureOf(office.store->attachments().Refuse(id, 5, AttachmentRefusal::kGone, kNow)),
            ErrorCode::kNotFound);
  // A stub is id and time only.
  message = Incoming("anna", "a2", kNow, "");
  message.unreadable = UnreadableReason::kEncrypted;
  message.attachments.push_back(Attached::Listed("sealed"));
  Must(office.store->collection().Collect(PageOf(office.account.id, {message}), kNow));
  EXPECT_EQ(office.FailureToRead(office.IdOf("a2")), ErrorCode::kNotFound);
}

TEST_P(StoreAttachments, EndWithTheirDate) {
  Attached office(GetParam());
  const MessageId id = office.Serve("anna", "a1", {"file", "other"});
  office.Keep(id, 1, Bytes(100'000));
  const TimePoint end = StartOf(kEnd);
  EXPECT_EQ(office.Read(id, 1, 0, end - std::chrono::milliseconds(1)).size(), 100'000u);
  EXPECT_EQ(office.FailureToRead(id, end), ErrorCode::kExpired);
  EXPECT_THAT(Must(office.store->attachments().Wanted(office.account.id, 10, end)), IsEmpty());
  EXPECT_EQ(FailureOf(office.store->attachments().Write(id, 2, end)), ErrorCode::kExpired);
  Must(office.store->purge().RunOnce(end));
  EXPECT_EQ(office.FailureToRead(id, end), ErrorCode::kExpired);
  office.store.Reopen();
  EXPECT_EQ(office.FailureToRead(id, end), ErrorCode::kExpired);
}

TEST_P(StoreAttachments, GoWithAMessageThatIsWithdrawnAndOthersStay) {
  Attached office(GetParam());
  const MessageId gone = office.Serve("anna", "a1", {"file", "waiting"});
  const MessageId stays = office.Serve("anna", "a2", {"file", "waiting"});
  office.Keep(gone, 1, Bytes(9 * kAttachmentPieceBytes, 1));
  const std::string other = Bytes(80 * kAttachmentPieceBytes, 2);  // moved in several commits
  office.Keep(stays, 1, other);
  const auto writer = Must(office.store->attachments().Write(gone, 2, kNow));
  Must(writer->Append(Bytes(5 * kAttachmentPieceBytes, 3), kNow));

  office.Withdraw("anna", "a1");
  EXPECT_EQ(office.FailureToRead(gone), ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(writer->Append(Bytes(5 * kAttachmentPieceBytes, 3), kNow)),
            ErrorCode::kNotFound);
  EXPECT_THAT(office.Wanted(), SizeIs(1));
  EXPECT_EQ(office.Rows(store::schema::kAttachment), 2u + 80u) << "nothing of it is left";
  EXPECT_EQ(office.Rows(store::schema::kWanted), 1u);
  EXPECT_EQ(office.Read(stays), other);
  Must(office.store->erasure().RunOnce(kNow));
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  EXPECT_EQ(office.Read(stays), other);
  office.Keep(stays, 2, "more");
  office.store.Reopen();
  EXPECT_EQ(office.Read(stays), other);
  EXPECT_EQ(office.Read(stays, 2), "more");
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

// While the person's rows move to another slot, something is being fetched for them.
TEST_P(StoreAttachments, AreWrittenWhileTheirSlotIsReplaced) {
  Attached office(GetParam());
  office.Serve("anna", "a1", {});
  const MessageId stays = office.Serve("anna", "a2", {"file"});
  const std::string bytes = Bytes(10 * kAttachmentPieceBytes);
  const auto writer = Must(office.store->attachments().Write(stays, 1, kNow));
  Must(writer->Append(std::string_view(bytes).substr(0, 5 * kAttachmentPieceBytes), kNow));
  office.Withdraw("anna", "a1");
  // The new slot is written down, and no row is moved yet.
  office.store.engine().FailNextCommit(Fault::kRefused, 1);
  EXPECT_FALSE(office.store->erasure().RunOnce(kNow));
  office.store.engine().FailNoCommit();
  Must(writer->Append(std::string_view(bytes).substr(5 * kAttachmentPieceBytes), kNow));
  Must(office.store->erasure().RunOnce(kNow));
  Must(writer->Finish(kNow));
  EXPECT_EQ(office.Read(stays), bytes);
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreAttachments, ThoseOfAnErasedPersonGoAndOthersStay) {
  Attached office(GetParam());
  const MessageId anna = office.Serve("anna", "a1", {"file", "waiting"});
  const MessageId bert = office.Serve("bert", "b1", {"file", "second"});
  office.Keep(anna, 1, Bytes(3 * kAttachmentPieceBytes, 1));
  const std::string file = Bytes(70 * kAttachmentPieceBytes, 2);
  office.Keep(bert, 1, file);
  const std::string second = Bytes(9 * kAttachmentPieceBytes, 3);
  const auto writer = Must(office.store->attachments().Write(bert, 2, kNow));
  std::size_t written = 0;
  // While the date is written anew, bytes go on coming.
  office.store.engine().OnTwinCommit([&] {
    if (written >= second.size()) return;
    Must(writer->Append(std::string_view(second).substr(written, 4 * kAttachmentPieceBytes), kNow));
    written += 4 * kAttachmentPieceBytes;
  });
  const ConversationId hers = Must(office.store->conversations().ConversationOf(anna, kNow));
  const auto person = Must(office.store->erasure().PersonOf(hers, kNow));
  Must(office.store->erasure().ErasePerson(person, Officer("tok_privacy"), kNow));
  EXPECT_EQ(office.FailureToRead(anna), ErrorCode::kNotFound);
  EXPECT_THAT(office.Wanted(), SizeIs(1)) << "Bert's second";
  Must(office.store->erasure().RunOnce(kNow));
  office.store.engine().OnTwinCommit(nullptr);
  EXPECT_GT(written, 0u);
  EXPECT_EQ(Must(office.store->erasure().Unfinished()), 0u);
  if (written < second.size()) Must(writer->Append(std::string_view(second).substr(written), kNow));
  Must(writer->Finish(kNow));
  EXPECT_EQ(office.Rows(store::schema::kAttachment), 2u + 70u + 9u);
  EXPECT_EQ(office.Rows(store::schema::kWanted), 0u);
  office.store.Reopen();
  EXPECT_EQ(office.Read(bert), file);
  EXPECT_EQ(office.Read(bert, 2), second);
  EXPECT_EQ(office.FailureToRead(anna), ErrorCode::kNotFound);
  EXPECT_EQ(office.store->damaged_records(), 0u);
}

TEST_P(StoreAttachments, AnInterruptedWritingIsBegunAgain) {
  for (const Fault fault : {Fault::kRefused, Fault::kUnknownDone, Fault::kUnknownNotDone}) {
    Attached office(GetParam());
    const MessageId id = office.Serve("anna", "a1", {"file"});
    {
      const auto writer = Must(office.store->attachments().Write(id, 1, kNow));
      Must(writer->Append(Bytes(12 * kAttachmentPieceBytes, 1), kNow));
      office.store.engine().FailNextCommit(fault);
      EXPECT_FALSE(writer->Append(Bytes(4 * kAttachmentPieceBytes, 2), kNow));
    }
    office.store.Reopen();
    EXPECT_EQ(office.Get(id).state, AttachmentState::kWaiting);
    EXPECT_THAT(office.Wanted(), SizeIs(1));
    // Shorter than what lies there already.
    const std::string bytes = Bytes(2 * kAttachmentPieceBytes + 5, 9);
    office.Keep(id, 1, bytes);
    EXPECT_EQ(office.Read(id), bytes);
    EXPECT_EQ(office.Rows(store::schema::kAttachment), 1u + 3u) << "nothing of the first try";
    EXPECT_EQ(office.store->damaged_records(), 0u);
  }
}

TEST_P(StoreAttachments, WaitWhileTheDiskIsTooFull) {
  Attached office(GetParam());
  const MessageId id = office.Serve("anna", "a1", {"file", "other"});
  office.Keep(id, 2, "kept before");
  office.store.Close();
  office.store.options().room = {.percent = 10};
  office.store.Open();
  const auto writer = Must(office.store->attachments().Write(id, 1, kNow));
  office.store.engine().SetRoom({.available = 1, .capacity = 1'000'000});
  EXPECT_EQ(FailureOf(writer->Append(Bytes(4 * kAttachmentPieceBytes), kNow)),
            ErrorCode::kDiskFull);
  EXPECT_EQ(office.Read(id, 2), "kept before");
  office.store.engine().SetRoom({.available = 900'000, .capacity = 1'000'000});
  EXPECT_THAT(office.Wanted(), SizeIs(1));
  office.Keep(id, 1, "there is room again");
  EXPECT_EQ(office.Read(id), "there is room again");
}

TEST_P(StoreAttachments, OfTwoWritersTheFirstToFinishCounts) {
  Attached office(GetParam());
  const MessageId id = office.Serve("anna", "a1", {"file"});
  const auto first = Must(office.store->attachments().Write(id, 1, kNow));
  const auto second = Must(office.store->attachments().Write(id, 1, kNow));
  const std::string bytes = Bytes(4 * kAttachmentPieceBytes, 1);
  Must(first->Append(Bytes(4 * kAttachmentPieceBytes, 2), kNow));
  Must(second->Append(bytes, kNow));
  Must(second->Finish(kNow));
  EXPECT_EQ(FailureOf(first->Append(Bytes(4 * kAttachmentPieceBytes, 2), kNow)),
            ErrorCode::kNotFound);
  EXPECT_EQ(FailureOf(first->Finish(kNow)), ErrorCode::kNotFound);
  EXPECT_EQ(office.Read(id), bytes);
}

// What was hidden for now comes back with its files.
TEST_P(StoreAttachments, AHeldMessageKeepsThemOutOfSight) {
  Attached office(GetParam());
  std::vector<MessageId> ids;
  for (int i = 0; i < 60; ++i)
    ids.push_back(office.Serve("anna", "m" + std::to_string(i), {"file"}));
  office.Keep(ids[0], 1, "kept");
  store::CollectedPage page = PageOf(office.account.id, {});
  for (int i = 0; i < 30; ++i) {
    page.withdrawals.push_back({PlatformId("anna"), PlatformId("m" + std::to_string(i))});
  }
  ASSERT_EQ(Must(office.store->collection().Collect(page, kNow)).held, 30u);
  EXPECT_EQ(office.FailureToRead(ids[0]), ErrorCode::kNotFound);
  EXPECT_THAT(office.Wanted(), SizeIs(30));
  Must(office.store->erasure().RestoreHeld(office.account.id, Officer(), kNow));
  EXPECT_EQ(office.Read(ids[0]), "kept");
  EXPECT_THAT(office.Wanted(), SizeIs(59));
}

// Somebody who can write to the disk takes a piece away, or puts another in its place.
TEST_P(StoreAttachments, AMissingOrStrangePieceIsSaidToBeDamaged) {
  Attached office(GetParam());
  const MessageId id = office.Serve("anna", "a1", {"file"});
  const std::string bytes = Bytes(3 * kAttachmentPieceBytes);
  office.Keep(id, 1, bytes);
  const auto rows = office.store.Rows(Family::Day(kEnd), store::schema::kAttachment);
  ASSERT_THAT(rows, SizeIs(4));
  const auto put = [&](std::size_t at, std::optional<std::string> value) {
    store::Batch batch;
    batch.changes.push_back({Family::Day(kEnd), rows[at].first, std::move(value)});
    Must(office.store.engine().Commit(batch, store::Durability::kSynced));
  };
  const auto read = [&](std::uint64_t from) {
    return office.store->attachments().Read(office.Look(), id, 1, from, kNow);
  };
  put(2, rows[3].second);
  EXPECT_EQ(FailureOf(read(kAttachmentPieceBytes)), ErrorCode::kCorrupt);
  EXPECT_TRUE(read(0)) << "what is whole can be read";
  put(2, std::nullopt);
  EXPECT_EQ(FailureOf(read(kAttachmentPieceBytes)), ErrorCode::kCorrupt);
  EXPECT_EQ(office.store->damaged_records(), 2u);
  put(2, rows[2].second);
  EXPECT_EQ(office.Read(id), bytes);
  // And the message is there without what is known of its attachment.
  put(0, rows[1].second);
  EXPECT_THAT(Thread(*office.store, Inbox(*office.store, kNow)[0].id, kNow), SizeIs(1));
}

TEST(StoreAttachmentsOnDisk, NothingOfThemIsReadable) {
  Attached office(EngineKind::kRocksDb);
  const MessageId id = office.Serve("anna", "a1", {kMarker});
  std::string bytes;
  while (bytes.size() < 300'000) bytes += kMarker;
  office.Keep(id, 1, bytes);
  Must(office.store->FlushBeforeExpiry());
  EXPECT_THAT(FilesWith(office.store.dir(), {kMarker}), IsEmpty());
  EXPECT_THAT(FilesWith(office.store.dir(), {"locator-of-"}), IsEmpty());
  EXPECT_EQ(office.Read(id), bytes);
}

TEST(MediaType, IsWhatTheBytesSay) {
  EXPECT_STREQ(MediaTypeOf("\xff\xd8\xff\xe0 JFIF"), "image/jpeg");
  EXPECT_STREQ(MediaTypeOf("GIF89a..."), "image/gif");
  EXPECT_STREQ(MediaTypeOf("RIFF\x10\x20\x30\x40WEBPVP8 "), "image/webp");
  EXPECT_STREQ(MediaTypeOf(std::string("\0\0\0\x20"
                                       "ftypisom",
                                       12)),
               "video/mp4");
  EXPECT_STREQ(MediaTypeOf("%PDF-1.7"), "application/pdf");
  for (const char* text :
       {"", "<html><script>", "<?xml version=\"1.0\"?><svg/>", "MZ", "RIFF", "GIF8"}) {
    EXPECT_STREQ(MediaTypeOf(text), "application/octet-stream") << text;
  }
}

}  // namespace
}  // namespace mayfly::testing
