# Tests of house.

# The rules about the source: who may include whom, which words may stand where.
mayfly_test(layers_test SOURCES tidy/layers_test.cc LABELS tidy)

# What must not compile: mayfly_must_not_compile(<file> <regular expression of what is said then>).
# The definitions are those with which spdlog.h is meant to be read.
function(mayfly_must_not_compile name expect)
  set(definitions "$<TARGET_PROPERTY:spdlog::spdlog,INTERFACE_COMPILE_DEFINITIONS>")
  set(flags "-I${PROJECT_SOURCE_DIR}$<$<BOOL:${definitions}>:|-D$<JOIN:${definitions},|-D>>")
  add_test(NAME compile_fail.${name}
    COMMAND ${CMAKE_COMMAND} -DCOMPILER=${CMAKE_CXX_COMPILER}
            -DSOURCE=${PROJECT_SOURCE_DIR}/tests/compile_fail/${name}.cc
            "-DFLAGS=${flags}" "-DEXPECT=${expect}"
            -P ${PROJECT_SOURCE_DIR}/tests/compile_fail/must_not_compile.cmake)
  set_tests_properties(compile_fail.${name} PROPERTIES TIMEOUT 300 LABELS compile_fail)
endfunction()
mayfly_must_not_compile(format_sensitive "A Sensitive value cannot be formatted or logged")
mayfly_must_not_compile(format_sensitive_at_run_time
                        "A Sensitive value cannot be formatted or logged")
mayfly_must_not_compile(log_sensitive "A Sensitive value cannot be formatted or logged")
mayfly_must_not_compile(stream_sensitive "deleted")
mayfly_must_not_compile(sensitive_to_string "(could not|no viable) conver")
mayfly_must_not_compile(mix_sensitive "(no match for|invalid operands)")
mayfly_must_not_compile(drop_result "nodiscard")
mayfly_must_not_compile(drop_status "nodiscard")
mayfly_must_not_compile(mix_ids "(no match for|invalid operands)")
