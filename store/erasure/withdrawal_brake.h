// A hostile or broken worker must not be able to wipe the archive by reporting deletions. Up to 20
// withdrawals of an account within an hour are believed. More of them, and a page that takes back 2
// % of what the account holds at once (and more than five messages), are hidden like the others,
// but destroyed only after 24 hours or on a person's word, who may also bring them back.
#ifndef MAYFLY_STORE_ERASURE_WITHDRAWAL_BRAKE_H_
#define MAYFLY_STORE_ERASURE_WITHDRAWAL_BRAKE_H_

#include <chrono>
#include <cstddef>
#include <vector>

#include "store/core.h"

namespace mayfly::store {

inline constexpr std::size_t kWithdrawalsBelieved = 20;
inline constexpr std::chrono::hours kWithdrawalWindow{1};
inline constexpr std::chrono::hours kWithdrawalsHeld{24};

// For the withdrawals of one page, within its transaction.
class WithdrawalBrake {
 public:
  WithdrawalBrake(Transaction& transaction, AccountId account)
      : transaction_(transaction), account_(account) {}
  Status Load(std::size_t at_once);
  bool Believes() const { return !too_many_ && times_.size() < kWithdrawalsBelieved; }
  void Count();  // one that was believed
  void Put();    // what was counted, into the batch

 private:
  Transaction& transaction_;
  AccountId account_;
  bool too_many_ = false;
  bool changed_ = false;
  std::vector<TimePoint> times_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ERASURE_WITHDRAWAL_BRAKE_H_
