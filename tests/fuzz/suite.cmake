# Fuzz targets: clang's libFuzzer with the address and undefined-behaviour sanitizers, of sources
# that need no MLX. Each runs its corpus and then a few seconds of new inputs in ./test. For long:
#
#   build/release/tests/fuzz_NAME -max_total_time=86400 /tmp/corpus tests/fuzz/corpus/NAME
#
# What it finds lies in the current folder as crash-…; put it into tests/fuzz/corpus/NAME with the
# fix. `… -merge=1 tests/fuzz/corpus/NAME /tmp/corpus` adds what reaches new code.
set(TANDEM_FUZZ_SECONDS 10 CACHE STRING "Seconds that each fuzz target runs in the tests")
# Debian's clang 19; on macOS Homebrew's llvm, because Apple's clang has no libFuzzer.
find_program(TANDEM_FUZZ_CXX NAMES clang++-19)
if(NOT TANDEM_FUZZ_CXX)
  find_program(TANDEM_FUZZ_CXX NAMES clang++
    PATHS /opt/homebrew/opt/llvm/bin /usr/local/opt/llvm/bin NO_DEFAULT_PATH)
endif()

# tandem_fuzz(NAME SOURCES file... [LIBS linker words...] [DEPENDS target or file...])
# The target is tests/fuzz/NAME.cpp with sources below src/; the corpus is tests/fuzz/corpus/NAME.
function(tandem_fuzz name)
  cmake_parse_arguments(FUZZ "" "" "SOURCES;LIBS;DEPENDS" ${ARGN})
  set(here ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  set(binary ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name})
  set(sources ${here}/${name}.cpp)
  foreach(source ${FUZZ_SOURCES})
    list(APPEND sources ${CMAKE_SOURCE_DIR}/src/${source})
  endforeach()
  if(NOT TANDEM_FUZZ_CXX)
    add_test(NAME fuzz.${name} COMMAND sh -c
      "echo 'no clang with libFuzzer: install clang-19 and libclang-rt-19-dev, or llvm'; exit 1")
    return()
  endif()
  add_custom_command(OUTPUT ${binary}
    COMMAND ${TANDEM_FUZZ_CXX} -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined
            -fno-sanitize-recover=undefined -DBOOST_ASIO_NO_DEPRECATED
            -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/src
            -I${CMAKE_SOURCE_DIR}/rust/text_ffi/include
            "-I$<JOIN:$<TARGET_PROPERTY:Boost::headers,INTERFACE_INCLUDE_DIRECTORIES>,;-I>"
            ${sources} ${FUZZ_LIBS} -o ${binary}
    DEPENDS ${sources} ${FUZZ_DEPENDS}
    COMMAND_EXPAND_LISTS VERBATIM COMMENT "Fuzz target ${name}")
  add_custom_target(fuzz_${name}_target ALL DEPENDS ${binary})
  set(work ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name}.found)
  add_test(NAME fuzz.${name} COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=1
    ${binary} -max_total_time=${TANDEM_FUZZ_SECONDS} -timeout=5 -rss_limit_mb=1024
    -print_final_stats=1 ${work} ${here}/corpus/${name})
  file(MAKE_DIRECTORY ${work})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 300 LABELS fuzz)
endfunction()

tandem_fuzz(http_request SOURCES server/http/request_reader.cpp server/http/head_check.cpp
  server/http/chunk_decoder.cpp)
