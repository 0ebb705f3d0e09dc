// Part of programs that are built with AddressSanitizer, and of no others. Core and workers start
// with an empty environment, so what they need has to be said here.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier)

extern "C" const char* __asan_default_options() {
  // The search for leaks at exit traces its own threads, which no process behind the filter may do.
  // The libraries that they are made of are searched for leaks by the tests that link them.
  return "detect_leaks=0";
}
