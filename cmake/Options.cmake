# Flags that every target of ours gets, as one interface target: no global flags.
add_library(mayfly_flags INTERFACE)
target_include_directories(mayfly_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(mayfly_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers)
if(MAYFLY_WERROR)
  target_compile_options(mayfly_flags INTERFACE -Werror)
endif()
if(MAYFLY_SANITIZE)
  # Undefined behaviour ends the program, or nobody would look.
  target_compile_options(mayfly_flags INTERFACE -fsanitize=${MAYFLY_SANITIZE}
                                                -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mayfly_flags INTERFACE -fsanitize=${MAYFLY_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(mayfly_flags INTERFACE -Wthread-safety)
endif()
