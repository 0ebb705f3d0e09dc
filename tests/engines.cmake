# Tests of engines.

# A process of its own, for tests that kill it or fill its disk.
add_executable(engine_child conformance/engine_child.cc)
target_link_libraries(engine_child PRIVATE mayfly::engines mayfly_flags)

mayfly_test(engine_conformance_test
  SOURCES conformance/engine_conformance_test.cc
  LIBRARIES mayfly::engines LABELS engines)
mayfly_test(rocksdb_engine_test
  SOURCES unit/rocksdb_engine_test.cc
  LIBRARIES mayfly::engines LABELS engines)
target_compile_definitions(rocksdb_engine_test
  PRIVATE MAYFLY_ENGINE_CHILD="$<TARGET_FILE:engine_child>")
add_dependencies(rocksdb_engine_test engine_child)
