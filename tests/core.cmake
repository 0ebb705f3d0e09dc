# Tests of the core's own parts: configuration, coverage, sending, expiry, the command line.
mayfly_test(core_tests
  SOURCES unit/config_test.cc unit/coverage_test.cc unit/disk_job_test.cc
  LIBRARIES mayfly_core mayfly::engines LABELS unit)
mayfly_test(age_tests SOURCES unit/age_test.cc
            LIBRARIES mayfly_access LABELS unit)
mayfly_test(sender_tests SOURCES integration/sender_test.cc
            LIBRARIES mayfly_core mayfly_worker_side mayfly::engines LABELS integration)
mayfly_test(worker_pool_tests SOURCES integration/worker_pool_test.cc
            LIBRARIES mayfly_core mayfly_worker_side mayfly_protocols mayfly::engines
            LABELS integration)

# The real programs, end to end. The simulated platform and the clock live in the test's own process.
add_library(mayfly_e2e_support STATIC support/service_process.cc support/citizen.cc
                                      support/certificates.cc support/validating_proxy.cc
                                      ${PROJECT_SOURCE_DIR}/service/demo/demo_clock.cc
                                      ${PROJECT_SOURCE_DIR}/service/demo/office_account.cc)
target_link_libraries(mayfly_e2e_support PUBLIC mayfly_core mayfly::simulators mayfly_api_contract
                                                GTest::gmock OpenSSL::SSL OpenSSL::Crypto)
target_compile_definitions(mayfly_e2e_support PRIVATE MAYFLY_BINARY_DIR="${PROJECT_BINARY_DIR}"
                                                      MAYFLY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
foreach(name access backup first_light bluesky_first_light mastodon_first_light doubted_clock events full_disk
             kill master_key program renewal tour traces)
  mayfly_test(${name}_tests SOURCES e2e/${name}_test.cc LIBRARIES mayfly_e2e_support LABELS e2e)
  add_dependencies(${name}_tests mayfly mayfly-worker mayfly-demo)
  set_tests_properties(${name}_tests PROPERTIES TIMEOUT 900)
endforeach()
set_tests_properties(kill_tests PROPERTIES TIMEOUT 3600)  # MAYFLY_KILLS may ask for many
# They run what the others run, and ask what no sanitizer can tell.
set_tests_properties(tour_tests traces_tests PROPERTIES LABELS "e2e;repeat")

# Judges of openapi.json that were written elsewhere: two linters, and a validating proxy between the
# service and the tests that ask it much.
mayfly_test(openapi_tools_tests SOURCES e2e/openapi_tools_test.cc LIBRARIES mayfly_e2e_support
            LABELS e2e)
foreach(name first_light bluesky_first_light mastodon_first_light program renewal)
  add_test(NAME ${name}_through_proxy COMMAND ${name}_tests)
  set_tests_properties(${name}_through_proxy PROPERTIES TIMEOUT 900 LABELS "e2e;repeat"
                       ENVIRONMENT MAYFLY_VALIDATING_PROXY=1)
endforeach()

# ./dev bench
add_library(mayfly_bench_support STATIC bench/traffic.cc)
target_link_libraries(mayfly_bench_support PUBLIC mayfly::store mayfly::engines
                                                  RocksDB::rocksdb-shared mayfly_flags)
add_executable(mayfly_bench bench/mayfly_bench.cc)
# The same over a store that does not seal. The linker takes what a program brings before what lies
# in a library, so seal.cc stays out of this one.
add_executable(mayfly_bench_unsealed bench/mayfly_bench.cc bench/unsealed.cc)
foreach(program mayfly_bench mayfly_bench_unsealed)
  target_link_libraries(${program} PRIVATE mayfly_bench_support mayfly_core)
endforeach()
add_dependencies(mayfly_bench mayfly_bench_unsealed)
add_executable(search_bench bench/search_bench.cc)
target_link_libraries(search_bench PRIVATE mayfly_bench_support)
add_executable(service_bench bench/service_bench.cc)
target_link_libraries(service_bench PRIVATE mayfly_e2e_support mayfly_flags)
add_dependencies(service_bench mayfly mayfly-worker mayfly-demo)
# ./dev bench --compare. The clients of other houses' servers are wanted for it and for nothing else:
# without them their rows are skipped.
add_executable(compare_bench bench/compare_bench.cc bench/mayfly_rival.cc bench/needles.cc
                             bench/rocksdb_rivals.cc bench/server_process.cc)
target_link_libraries(compare_bench PRIVATE mayfly_bench_support)
pkg_check_modules(hiredis IMPORTED_TARGET hiredis)
if(hiredis_FOUND)
  target_sources(compare_bench PRIVATE bench/redis_rival.cc)
  target_compile_definitions(compare_bench PRIVATE MAYFLY_BENCH_REDIS)
  target_link_libraries(compare_bench PRIVATE PkgConfig::hiredis)
endif()
pkg_check_modules(libpq IMPORTED_TARGET libpq)
if(libpq_FOUND)
  target_sources(compare_bench PRIVATE bench/postgres_rival.cc)
  target_compile_definitions(compare_bench PRIVATE MAYFLY_BENCH_POSTGRES)
  target_link_libraries(compare_bench PRIVATE PkgConfig::libpq)
endif()
set_target_properties(mayfly_bench mayfly_bench_unsealed search_bench service_bench compare_bench
                      PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
