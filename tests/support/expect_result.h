// Results in tests: what went wrong is printed with its code.
#ifndef MAYFLY_TESTS_SUPPORT_EXPECT_RESULT_H_
#define MAYFLY_TESTS_SUPPORT_EXPECT_RESULT_H_

#include <gtest/gtest.h>

#include "store/model/result.h"

#define ASSERT_OK(result)                                                                      \
  do {                                                                                         \
    const auto& ok_ = (result);                                                                \
    ASSERT_TRUE(ok_.has_value()) << ToString(ok_.error().code) << ": " << ok_.error().message; \
  } while (false)

#define EXPECT_FAILS(result, expected)                                        \
  do {                                                                        \
    const auto& failed_ = (result);                                           \
    ASSERT_FALSE(failed_.has_value());                                        \
    EXPECT_EQ(failed_.error().code, expected)                                 \
        << ToString(failed_.error().code) << ": " << failed_.error().message; \
  } while (false)

#endif  // MAYFLY_TESTS_SUPPORT_EXPECT_RESULT_H_
