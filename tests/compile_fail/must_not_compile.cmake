# Run by CTest: compiles SOURCE twice without making anything.
#   With -DMAYFLY_CONTROL the offending lines are left out, and it must compile. So what follows is
#   their doing, and not that of a missing header.
#   Without it, it must fail, and the compiler must say something that matches EXPECT.
foreach(needed COMPILER SOURCE EXPECT)
  if(NOT ${needed})
    message(FATAL_ERROR "${needed} is not given")
  endif()
endforeach()
set(ENV{LC_ALL} C)
# `|` separates, because `;` does not survive CTest's command line.
string(REPLACE "|" ";" FLAGS "${FLAGS}")
set(command ${COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Werror=unused-result ${FLAGS})

execute_process(COMMAND ${command} -DMAYFLY_CONTROL ${SOURCE}
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "The control does not compile, so that this test shows nothing:\n${output}")
endif()

execute_process(COMMAND ${command} ${SOURCE}
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, and it must not.")
endif()
if(NOT output MATCHES "${EXPECT}")
  message(FATAL_ERROR "${SOURCE} fails, but without saying \"${EXPECT}\":\n${output}")
endif()
