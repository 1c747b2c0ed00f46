# Compiler settings, dependencies and the functions every directory's CMakeLists.txt uses:
#   msentry_library(NAME name SRCS ... [DEPS ...] [PRIVATE_DEPS ...])
#   msentry_test(NAME name SRCS ... [DEPS ...] [LABELS ...] [TIMEOUT s])
include(GNUInstallDirs)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-g1")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(LLD ld.lld)
if(LLD)
  add_link_options(-fuse-ld=lld)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)

set(MSENTRY_SANITIZER "" CACHE STRING
  "address (with undefined), thread, or fuzz (clang's address and undefined, with libFuzzer's counters); empty for none")
if(MSENTRY_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(MSENTRY_SANITIZER STREQUAL "fuzz")
  # Everything is counted, not only the fuzzers' own files: what they call is what they explore.
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-omit-frame-pointer
    -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(MSENTRY_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()

include(MsentryStatic)

# What every C++ target of ours is compiled with.
add_library(msentry_options INTERFACE)
target_include_directories(msentry_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}>)
target_compile_options(msentry_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror -Wimplicit-fallthrough -Wnon-virtual-dtor
    -Wmissing-declarations -Wvla -Wno-missing-field-initializers -fno-rtti>
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wsuggest-override -Winvalid-pch>
  # g++ 12 sees overflows in std::string's own inlined code at -O2 (GCC bugs 105329, 105651).
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<CONFIG:Release>>:-Wno-restrict -Wno-stringop-overflow
    -Wno-stringop-overread>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety -Wno-gnu-statement-expression
    -Wno-unused-private-field -Wno-unknown-attributes>)
target_link_libraries(msentry_options INTERFACE Threads::Threads)

# One precompiled header for all of our C++: it must stay small and stable.
add_library(msentry_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/pch.cc)
target_link_libraries(msentry_pch PRIVATE msentry_options absl::base absl::span absl::strings
  absl::flat_hash_map absl::any_invocable absl::function_ref)
target_compile_options(msentry_pch PRIVATE -fno-exceptions)
target_precompile_headers(msentry_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)

# What the precompiled header was made from: ccache (pch_external_checksum) takes this for its
# identity, so that several checkouts of the project share their objects.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/pch.h)
file(SHA256 ${PROJECT_SOURCE_DIR}/cmake/pch.h PCH_SUM)
foreach(suffix gch pch)
  file(WRITE ${PROJECT_BINARY_DIR}/CMakeFiles/msentry_pch.dir/cmake_pch.hxx.${suffix}.sum
    "${PCH_SUM} ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_BUILD_TYPE} ${CMAKE_CXX_FLAGS} ${MSENTRY_SANITIZER}\n")
endforeach()

function(msentry_library)
  cmake_parse_arguments(A "" "NAME" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${A_NAME} STATIC ${A_SRCS})
  target_link_libraries(${A_NAME} PUBLIC msentry_options ${A_DEPS} PRIVATE ${A_PRIVATE_DEPS}
    absl::base absl::span absl::strings absl::flat_hash_map absl::any_invocable absl::function_ref)
  target_compile_options(${A_NAME} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions>)
  target_precompile_headers(${A_NAME} REUSE_FROM msentry_pch)
endfunction()

function(msentry_test)
  cmake_parse_arguments(A "" "NAME;TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  add_executable(${A_NAME} ${A_SRCS})
  # -fPIC as in libraries, not an executable's -fPIE: the precompiled header is shared.
  set_target_properties(${A_NAME} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${A_NAME} PRIVATE -fPIC)
  target_link_libraries(${A_NAME} PRIVATE msentry_options ${A_DEPS} GTest::gmock GTest::gtest
    GTest::gtest_main absl::base absl::span absl::strings absl::flat_hash_map absl::any_invocable
    absl::function_ref)
  target_compile_options(${A_NAME} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions>)
  target_precompile_headers(${A_NAME} REUSE_FROM msentry_pch)
  add_test(NAME ${A_NAME} COMMAND ${A_NAME})
  set_tests_properties(${A_NAME} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "unit;${A_LABELS}")
  add_dependencies(unit_tests ${A_NAME})
endfunction()

# Everything msentry_test() makes: what the sanitizer runs build.
add_custom_target(unit_tests)

# msentry_fuzzer(NAME name SRCS ... [DEPS ...] [SEEDS test]): the libFuzzer program `name` of the clang preset, from
# sources that define LLVMFuzzerTestOneInput under MSENTRY_LIBFUZZER. SEEDS: the bounded test that writes the
# seeds (MSENTRY_FUZZ_CORPUS=DIR). .ci/run fuzz runs each that is listed in build/clang/fuzzers.
add_custom_target(fuzzers)
function(msentry_fuzzer)
  if(NOT MSENTRY_SANITIZER STREQUAL "fuzz")
    return()
  endif()
  cmake_parse_arguments(A "" "NAME;SEEDS" "SRCS;DEPS" ${ARGN})
  add_executable(${A_NAME} ${A_SRCS})
  target_compile_definitions(${A_NAME} PRIVATE MSENTRY_LIBFUZZER)
  target_compile_options(${A_NAME} PRIVATE -fno-exceptions)
  target_link_options(${A_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${A_NAME} PRIVATE msentry_options ${A_DEPS} absl::base absl::span absl::strings
    absl::flat_hash_map absl::any_invocable absl::function_ref)
  add_dependencies(fuzzers ${A_NAME})
  set(seeds)
  if(A_SEEDS)
    set(seeds $<TARGET_FILE:${A_SEEDS}>)
    add_dependencies(fuzzers ${A_SEEDS})
  endif()
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/fuzzers/${A_NAME} CONTENT "$<TARGET_FILE:${A_NAME}> ${seeds}\n")
endfunction()

include(MsentryGuest)
