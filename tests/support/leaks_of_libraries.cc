// Part of test programs that speak TLS through cpprestsdk, when they are built with
// AddressSanitizer, and of no others.
//
// The library's one pool thread lives until static objects are destroyed, after OpenSSL has cleaned
// up, so what OpenSSL keeps for each thread (its error queue, its random generators) is still there
// when leaks are counted. A worker ends the same way.
extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)

extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\n"; }
