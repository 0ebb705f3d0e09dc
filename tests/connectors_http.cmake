# Tests of what every connector stands on: pacing, egress, the HTTP client, the simulators' server.
mayfly_test(pacer_tests SOURCES unit/pacer_test.cc LIBRARIES mayfly::registry LABELS unit)
mayfly_test(registry_tests SOURCES unit/registry_test.cc LIBRARIES mayfly::connectors LABELS unit)
mayfly_test(egress_tests SOURCES unit/egress_test.cc LIBRARIES mayfly::http LABELS unit)
mayfly_test(http_client_tests
  SOURCES integration/http_client_test.cc support/tls_server.cc support/certificates.cc
  LIBRARIES mayfly::http mayfly::simulators OpenSSL::SSL OpenSSL::Crypto
  LABELS integration)
mayfly_test(repair_json_tests SOURCES unit/repair_json_test.cc LIBRARIES mayfly::connectors LABELS unit)
if(MAYFLY_SANITIZE MATCHES "address")
  foreach(program http_client_tests platform_hostile_test)
    target_sources(${program} PRIVATE support/leaks_of_libraries.cc)
  endforeach()
endif()
