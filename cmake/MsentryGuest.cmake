# msentry_guest(NAME name SRCS ... [STATIC] [LIBS ...] [ARGS ...] [TIMEOUT s] [LABELS ...]
#               [PLATFORMS systrap ptrace] [RUN_OPTIONS ...] [NATIVE_ONLY] [NO_NATIVE])
#
# A guest program: plain C or C++ built as a user would build it (no sanitizer, none of our options), that
# exits with 0 when all is well and says on stderr what is not. It becomes three tests: natively
# (`name.native`: the host is the oracle), and under `msentry run` on each platform (`name.systrap`,
# `name.ptrace`). They run in the build directory, which is visible in the sandbox.
# TIMEOUT (default 30 s) bounds each; LABELS adds to `guest` and the platform's name (use `slow` for
# what takes more than a few seconds).
function(msentry_guest)
  cmake_parse_arguments(A "STATIC;NATIVE_ONLY;NO_NATIVE" "NAME;TIMEOUT"
    "SRCS;LIBS;ARGS;LABELS;PLATFORMS;RUN_OPTIONS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 30)
  endif()
  if(NOT A_PLATFORMS)
    set(A_PLATFORMS systrap ptrace)
  endif()
  set(target guest_${A_NAME})
  add_executable(${target} ${A_SRCS})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${A_NAME} CXX_EXTENSIONS ON
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/guests)
  target_compile_options(${target} PRIVATE -O1 -Wall -fno-sanitize=all -D_GNU_SOURCE)
  target_link_options(${target} PRIVATE -fno-sanitize=all)
  target_link_libraries(${target} PRIVATE Threads::Threads ${A_LIBS})
  if(A_STATIC)
    target_link_options(${target} PRIVATE -static)
  endif()

  set(directory ${PROJECT_BINARY_DIR}/guests)
  if(NOT A_NO_NATIVE)
    add_test(NAME ${A_NAME}.native COMMAND ${target} ${A_ARGS} WORKING_DIRECTORY ${directory})
    set_tests_properties(${A_NAME}.native PROPERTIES TIMEOUT ${A_TIMEOUT}
      LABELS "guest;native;${A_LABELS}")
  endif()
  if(A_NATIVE_ONLY OR MSENTRY_SANITIZER STREQUAL "thread")
    return()
  endif()
  if(MSENTRY_SANITIZER)
    # Instrumented, the sentry is several times slower.
    math(EXPR A_TIMEOUT "${A_TIMEOUT} * 4")
  endif()
  foreach(platform ${A_PLATFORMS})
    add_test(NAME ${A_NAME}.${platform}
      COMMAND ${PROJECT_BINARY_DIR}/cmd/msentry run --platform=${platform} ${A_RUN_OPTIONS} --
        $<TARGET_FILE:${target}> ${A_ARGS}
      WORKING_DIRECTORY ${directory})
    set_tests_properties(${A_NAME}.${platform} PROPERTIES TIMEOUT ${A_TIMEOUT}
      LABELS "guest;${platform};${A_LABELS}")
  endforeach()
endfunction()
