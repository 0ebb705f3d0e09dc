// Whether a sanitizer is built in. What it cannot have is skipped with a printed reason, where it
// stands: docs/decisions/0014.
#ifndef MAYFLY_TESTS_SUPPORT_SANITIZED_H_
#define MAYFLY_TESTS_SUPPORT_SANITIZED_H_

namespace mayfly::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SANITIZED_H_
