#include <bit>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "store/model/account.h"
#include "store/model/actor.h"
#include "store/model/conversation.h"
#include "store/model/message.h"
#include "store/model/reply.h"
#include "store/model/result.h"

namespace mayfly {
namespace {

constexpr Role kRoles[] = {Role::kComms, Role::kPrivacy, Role::kAdministrator, Role::kAuditor,
                           Role::kOperator};

bool Has(Role role, Scope scope) {
  return (ScopesOf(role) & static_cast<std::uint32_t>(scope)) != 0;
}

TEST(Words, EveryErrorCodeHasItsOwnAndGoesBothWays) {
  std::set<std::string> seen;
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    const std::string word = ToString(code);
    EXPECT_TRUE(seen.insert(word).second) << word;
    EXPECT_EQ(word.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string::npos) << word;
    EXPECT_EQ(ParseErrorCode(word), code) << word;
  }
  EXPECT_FALSE(seen.contains("unnamed"));
  EXPECT_FALSE(ParseErrorCode("unnamed"));
  EXPECT_FALSE(ParseErrorCode(""));
  EXPECT_FALSE(ParseErrorCode("Internal"));
}

TEST(Words, EveryAccountStateGoesBothWays) {
  std::set<std::string> seen;
  for (int i = 0; i <= static_cast<int>(AccountState::kDiskFull); ++i) {
    const auto state = static_cast<AccountState>(i);
    EXPECT_TRUE(seen.insert(ToString(state)).second);
    EXPECT_EQ(ParseAccountState(ToString(state)), state);
  }
  EXPECT_FALSE(seen.contains("unnamed"));
  EXPECT_STREQ(ToString(AccountState::kCredentialDead), "credential-dead");
  EXPECT_FALSE(ParseAccountState("dead"));
}

TEST(Words, TheSmallOnesAreAsDocumented) {
  EXPECT_STREQ(ToString(Direction::kIncoming), "incoming");
  EXPECT_STREQ(ToString(Direction::kOutgoing), "outgoing");
  EXPECT_STREQ(ToString(UnreadableReason::kNotAvailable), "not-available");
  EXPECT_STREQ(ToString(ConversationStatus::kClosed), "closed");
  EXPECT_EQ(ParseConversationStatus("open"), ConversationStatus::kOpen);
  EXPECT_FALSE(ParseConversationStatus("opened"));
  EXPECT_STREQ(ToString(PlatformStanding::kRequest), "request");
  EXPECT_STREQ(ToString(ReplyState::kUnknown), "unknown");
  EXPECT_STREQ(ToString(Scope::kInboxRead), "inbox:read");
  EXPECT_STREQ(ToString(static_cast<ReplyState>(99)), "unnamed");
}

TEST(Roles, GoBothWays) {
  for (const Role role : kRoles) EXPECT_EQ(ParseRole(ToString(role)), role);
  EXPECT_FALSE(ParseRole("admin"));
  EXPECT_EQ(ScopesOf(static_cast<Role>(0)), 0u);
}

TEST(Roles, OnlyCommsReadsTheInbox) {
  for (const Role role : kRoles) {
    for (const Scope scope : {Scope::kInboxRead, Scope::kInboxReply, Scope::kInboxManage}) {
      EXPECT_EQ(Has(role, scope), role == Role::kComms) << ToString(role) << ToString(scope);
    }
  }
}

TEST(Roles, NoneHoldsPrivacyAndAdministrationTogether) {
  constexpr std::uint32_t kPrivacy = static_cast<std::uint32_t>(Scope::kPrivacyAccess) |
                                     static_cast<std::uint32_t>(Scope::kPrivacyErase) |
                                     static_cast<std::uint32_t>(Scope::kPrivacyRestrict);
  constexpr std::uint32_t kAdmin = static_cast<std::uint32_t>(Scope::kAdminAccounts) |
                                   static_cast<std::uint32_t>(Scope::kAdminSettings);
  for (const Role role : kRoles) {
    EXPECT_FALSE((ScopesOf(role) & kPrivacy) != 0 && (ScopesOf(role) & kAdmin) != 0);
  }
  EXPECT_EQ(ScopesOf(Role::kPrivacy), kPrivacy);
  EXPECT_EQ(ScopesOf(Role::kAdministrator), kAdmin);
}

TEST(Roles, TogetherCoverEveryScope) {
  std::uint32_t all = 0;
  for (const Role role : kRoles) all |= ScopesOf(role);
  EXPECT_EQ(std::popcount(all), 11);
  for (int bit = 0; bit < 11; ++bit) {
    EXPECT_STRNE(ToString(static_cast<Scope>(1u << bit)), "unnamed") << bit;
  }
}

TEST(Actor, HasOnlyTheScopesOfItsSet) {
  const Actor actor{.id = "tok_1", .scopes = ScopesOf(Role::kAuditor)};
  EXPECT_TRUE(actor.Has(Scope::kAuditRead));
  EXPECT_TRUE(actor.Has(Scope::kOpsRead));
  EXPECT_FALSE(actor.Has(Scope::kOpsAct));
}

}  // namespace
}  // namespace mayfly
