# Fuzzers: mayfly_fuzzer(<name> SOURCES ... LIBRARIES ... DEFINITIONS ...) makes fuzz_<name>, whose
# corpus is fuzz/corpus/<name>. With preset `fuzz` it is linked with libFuzzer; otherwise it is an
# ordinary test that runs the corpus once.
function(mayfly_fuzzer name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBRARIES;DEFINITIONS" ${ARGN})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  add_executable(fuzz_${name} ${T_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${T_LIBRARIES} mayfly_flags)
  target_compile_definitions(fuzz_${name} PRIVATE ${T_DEFINITIONS})
  add_dependencies(mayfly_tests fuzz_${name})
  if(MAYFLY_SANITIZE MATCHES "fuzzer")
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE fuzz/replay_main.cc)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${corpus})
    set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 300 LABELS fuzz)
  endif()
endfunction()

mayfly_fuzzer(json SOURCES fuzz/json_fuzz.cc LIBRARIES mayfly::model)
mayfly_fuzzer(repair_json SOURCES fuzz/repair_json_fuzz.cc LIBRARIES mayfly::connectors)
# The pure part of the listener alone, so that building the fuzzers stays cheap.
mayfly_fuzzer(http_head
  SOURCES fuzz/http_head_fuzz.cc ${PROJECT_SOURCE_DIR}/service/api/chunked.cc
          ${PROJECT_SOURCE_DIR}/service/api/head.cc ${PROJECT_SOURCE_DIR}/service/api/http.cc
  LIBRARIES mayfly::model Boost::headers)
mayfly_fuzzer(frames SOURCES fuzz/frames_fuzz.cc LIBRARIES mayfly::link mayfly_protocols)
mayfly_fuzzer(codec SOURCES fuzz/codec_fuzz.cc LIBRARIES mayfly::store)
mayfly_fuzzer(search SOURCES fuzz/search_fuzz.cc LIBRARIES mayfly::store)
mayfly_fuzzer(key_file SOURCES fuzz/key_file_fuzz.cc LIBRARIES mayfly::keys PkgConfig::sodium)
# One for each line of connectors.def; the folder's own fuzz.cc has the parsers and what they promise.
foreach(platform IN LISTS MAYFLY_PLATFORMS)
  mayfly_fuzzer(connector_${platform}
    SOURCES fuzz/connector_fuzz.cc ${PROJECT_SOURCE_DIR}/connectors/${platform}/fuzz.cc
    LIBRARIES mayfly::connectors
    DEFINITIONS MAYFLY_PLATFORM=${platform})
endforeach()
