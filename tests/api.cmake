# Tests of api. The first two link no store: they see the listener and the pure parts alone.
mayfly_test(api_unit_tests
  SOURCES unit/dispatch_test.cc unit/http_head_test.cc unit/peer_test.cc unit/problem_test.cc
          unit/router_test.cc
  LIBRARIES mayfly::api)
mayfly_test(http_server_tests
  SOURCES integration/http_server_test.cc integration/http_events_test.cc
  LIBRARIES mayfly::api Threads::Threads)
mayfly_test(http_hostile_tests
  SOURCES integration/http_hostile_test.cc integration/http_slow_test.cc support/certificates.cc
  LIBRARIES mayfly::api OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
mayfly_test(tls_tests
  SOURCES integration/tls_test.cc support/certificates.cc
  LIBRARIES mayfly::api OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
mayfly_test(rest_tests
  SOURCES integration/rest_handlers_test.cc integration/rest_rights_test.cc
  LIBRARIES mayfly::api mayfly::engines)
