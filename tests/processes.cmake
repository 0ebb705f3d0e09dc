# Tests of processes.
mayfly_test(frames_tests SOURCES unit/frames_test.cc LIBRARIES mayfly::link mayfly_protocols)
mayfly_test(worker_link_tests SOURCES integration/worker_link_test.cc
            LIBRARIES mayfly_worker_side mayfly::link mayfly_protocols)

# Small programs in the places of core and worker.
add_executable(tiny_core support/tiny_core.cc)
target_link_libraries(tiny_core PRIVATE mayfly::supervisor mayfly_flags)
add_executable(tiny_worker support/tiny_worker.cc)
target_link_libraries(tiny_worker PRIVATE mayfly_worker_side mayfly_flags)
mayfly_test(supervisor_tests SOURCES integration/supervisor_test.cc
            LIBRARIES mayfly::supervisor mayfly_protocols)
target_compile_definitions(supervisor_tests PRIVATE
                           MAYFLY_TINY_CORE="$<TARGET_FILE:tiny_core>"
                           MAYFLY_TINY_WORKER="$<TARGET_FILE:tiny_worker>")
add_dependencies(supervisor_tests tiny_core tiny_worker)
mayfly_test(escape_tests SOURCES integration/escape_test.cc
            LIBRARIES mayfly::sandbox mayfly::supervisor mayfly_protocols)
mayfly_test(worker_program_tests SOURCES integration/worker_program_test.cc
            LIBRARIES mayfly::link mayfly::sandbox mayfly::supervisor)
target_compile_definitions(worker_program_tests PRIVATE
                           MAYFLY_WORKER="$<TARGET_FILE:mayfly-worker>")
add_dependencies(worker_program_tests mayfly-worker)
