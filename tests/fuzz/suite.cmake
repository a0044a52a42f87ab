# Fuzz targets: clang's libFuzzer with the address and undefined-behaviour sanitizers. In ./test each
# runs its corpus and then a fixed number of new inputs that a fixed seed picks. For long:
#
#   tests/fuzz/long.sh SECONDS [NAME...]
#
# which also builds the Rust library with coverage, so that inputs find their way through it too.
# What a target finds lies in the current folder as crash-... (or timeout-, oom-, leak-); put it into
# tests/fuzz/corpus/NAME with the fix.
set(FUZZ_HERE ${CMAKE_CURRENT_LIST_DIR})
# Debian's clang 19; on macOS Homebrew's llvm, because Apple's clang has no libFuzzer.
find_program(TANDEM_FUZZ_CXX NAMES clang++-19)
if(NOT TANDEM_FUZZ_CXX)
  find_program(TANDEM_FUZZ_CXX NAMES clang++
    PATHS /opt/homebrew/opt/llvm/bin /usr/local/opt/llvm/bin NO_DEFAULT_PATH)
endif()
if(NOT TANDEM_FUZZ_CXX)
  add_test(NAME fuzz.compiler COMMAND sh -c
    "echo 'no clang with libFuzzer: install clang-19 and libclang-rt-19-dev, or llvm'; exit 1")
  return()
endif()

# The Rust library, for long.sh with the counters of sanitizer coverage, and its C parts (the regular
# expressions of tokenizers) with the address sanitizer.
option(TANDEM_FUZZ_RUST "Build the Rust library of the fuzz targets with coverage" OFF)
set(FUZZ_RUST_LIB ${TEXT_FFI_LIB})
set(FUZZ_RUST_DEPENDS text_ffi_build ${TEXT_FFI_LIB})
if(TANDEM_FUZZ_RUST)
  set(FUZZ_RUST_TARGET ${CMAKE_CURRENT_BINARY_DIR}/fuzz_rust)
  execute_process(COMMAND rustc -vV OUTPUT_VARIABLE FUZZ_RUSTC COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "host: ([^\n]+)" FUZZ_RUSTC "${FUZZ_RUSTC}")
  set(FUZZ_RUST_HOST ${CMAKE_MATCH_1})
  set(FUZZ_RUST_LIB ${FUZZ_RUST_TARGET}/${FUZZ_RUST_HOST}/release/libtandem_text_ffi.a)
  set(FUZZ_RUST_FLAGS -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares)
  set(FUZZ_RUST_DEPENDS ${FUZZ_RUST_LIB})
  list(JOIN FUZZ_RUST_FLAGS " " FUZZ_RUST_FLAGS)
  string(REPLACE "clang++" "clang" FUZZ_CC ${TANDEM_FUZZ_CXX})
  add_custom_command(OUTPUT ${FUZZ_RUST_LIB}
    COMMAND ${CMAKE_COMMAND} -E env "RUSTFLAGS=${FUZZ_RUST_FLAGS}" CC=${FUZZ_CC}
            "CFLAGS=-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer"
            ${CARGO} build --release --locked --quiet --lib --target ${FUZZ_RUST_HOST}
            --manifest-path ${TEXT_FFI_DIR}/Cargo.toml --target-dir ${FUZZ_RUST_TARGET}
    DEPENDS ${TEXT_FFI_SOURCES} ${TEXT_FFI_DIR}/Cargo.toml ${TEXT_FFI_DIR}/Cargo.lock
    VERBATIM COMMENT "Building the Rust text library with coverage")
endif()

# Adds ${object}, compiled from `source` as the program is, but for the sanitizers.
function(tandem_fuzz_object object source)
  cmake_path(GET object PARENT_PATH folder)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${TANDEM_FUZZ_CXX} -std=c++20 -O1 -gline-tables-only
            -fno-omit-frame-pointer -ffp-contract=off -fsanitize=fuzzer-no-link,address,undefined
            -fno-sanitize-recover=undefined -DBOOST_ASIO_NO_DEPRECATED
            -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/tests
            -I${TEXT_FFI_DIR}/include -isystem ${CMAKE_BINARY_DIR}/proto
            "-isystem;$<JOIN:$<TARGET_PROPERTY:mlx,INTERFACE_INCLUDE_DIRECTORIES>,;-isystem;>"
            "-I$<JOIN:$<TARGET_PROPERTY:Boost::headers,INTERFACE_INCLUDE_DIRECTORIES>,;-I>"
            -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} tandem_proto DEPFILE ${object}.d
    COMMAND_EXPAND_LISTS VERBATIM COMMENT "Fuzzed object ${object}")
endfunction()

# What the targets call, once for all of them: the linker takes what each needs.
set(FUZZ_BUILD ${CMAKE_CURRENT_BINARY_DIR}/fuzz)
file(GLOB FUZZ_SOURCES RELATIVE ${CMAKE_SOURCE_DIR}/src CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/src/base/*.cpp ${CMAKE_SOURCE_DIR}/src/rules/*.cpp
  ${CMAKE_SOURCE_DIR}/src/config/*.cpp
  ${CMAKE_SOURCE_DIR}/src/text/*.cpp ${CMAKE_SOURCE_DIR}/src/weights/*.cpp
  ${CMAKE_SOURCE_DIR}/src/models/registry.cpp ${CMAKE_SOURCE_DIR}/src/models/meaning.cpp
  ${CMAKE_SOURCE_DIR}/src/models/families/*.cpp
  ${CMAKE_SOURCE_DIR}/src/cluster/wire/frame*.cpp ${CMAKE_SOURCE_DIR}/src/cluster/wire/wire_error.cpp
  ${CMAKE_SOURCE_DIR}/src/cluster/split/model_hash.cpp
  ${CMAKE_SOURCE_DIR}/src/server/api/*.cpp ${CMAKE_SOURCE_DIR}/src/server/output/*.cpp
  ${CMAKE_SOURCE_DIR}/src/server/http/request_reader.cpp
  ${CMAKE_SOURCE_DIR}/src/server/http/head_check.cpp
  ${CMAKE_SOURCE_DIR}/src/server/http/chunk_decoder.cpp)
if(APPLE)
  list(FILTER FUZZ_SOURCES EXCLUDE REGEX "_linux\\.cpp$")
else()
  list(FILTER FUZZ_SOURCES EXCLUDE REGEX "_macos\\.cpp$")
endif()
set(FUZZ_OBJECTS "")
foreach(source ${FUZZ_SOURCES})
  tandem_fuzz_object(${FUZZ_BUILD}/${source}.o ${CMAKE_SOURCE_DIR}/src/${source})
  list(APPEND FUZZ_OBJECTS ${FUZZ_BUILD}/${source}.o)
endforeach()
tandem_fuzz_object(${FUZZ_BUILD}/tandem.pb.cc.o ${CMAKE_BINARY_DIR}/proto/tandem.pb.cc)
list(APPEND FUZZ_OBJECTS ${FUZZ_BUILD}/tandem.pb.cc.o)
set(FUZZ_LIBRARY ${FUZZ_BUILD}/libfuzzed.a)
add_custom_command(OUTPUT ${FUZZ_LIBRARY}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${FUZZ_LIBRARY}
  COMMAND ${CMAKE_AR} qcs ${FUZZ_LIBRARY} ${FUZZ_OBJECTS}
  DEPENDS ${FUZZ_OBJECTS} VERBATIM COMMENT "Library of the fuzz targets")
add_custom_target(fuzz)

# tandem_fuzz(NAME RUNS inputs MAX_LEN bytes [LIBS linker words...])
# The target is tests/fuzz/NAME.cpp, with its corpus in corpus/NAME and, where there is one, its words
# in NAME.dict.
function(tandem_fuzz name)
  cmake_parse_arguments(FUZZ "" "RUNS;MAX_LEN" "LIBS" ${ARGN})
  set(binary ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name})
  set(object ${FUZZ_BUILD}/tests/${name}.cpp.o)
  tandem_fuzz_object(${object} ${FUZZ_HERE}/${name}.cpp)
  add_custom_command(OUTPUT ${binary}
    COMMAND ${TANDEM_FUZZ_CXX} -fsanitize=fuzzer,address,undefined ${object} ${FUZZ_LIBRARY}
            ${FUZZ_RUST_LIB} $<TARGET_FILE:fmt::fmt> $<TARGET_FILE:protobuf::libprotobuf>
            $<TARGET_FILE:OpenSSL::Crypto> ${FUZZ_LIBS} -lpthread -ldl -lm -o ${binary}
    DEPENDS ${object} ${FUZZ_LIBRARY} ${FUZZ_RUST_DEPENDS}
    COMMAND_EXPAND_LISTS VERBATIM COMMENT "Fuzz target ${name}")
  add_custom_target(fuzz_${name}_target ALL DEPENDS ${binary})
  add_dependencies(fuzz fuzz_${name}_target)
  set(options -max_len=${FUZZ_MAX_LEN} -timeout=10 -rss_limit_mb=2048)
  if(EXISTS ${FUZZ_HERE}/${name}.dict)
    list(APPEND options -dict=${FUZZ_HERE}/${name}.dict)
  endif()
  # For long.sh.
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name}.options "${options}\n")
  add_test(NAME fuzz.${name}
    COMMAND ${FUZZ_HERE}/short.sh ${binary} ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name}.run
            ${FUZZ_HERE}/corpus/${name} -runs=${FUZZ_RUNS} -seed=1 ${options})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 300 LABELS fuzz)
endfunction()

tandem_fuzz(http_request RUNS 100000 MAX_LEN 2000)
tandem_fuzz(grammar RUNS 1000 MAX_LEN 500)
tandem_fuzz(request_body RUNS 20000 MAX_LEN 4000)
tandem_fuzz(chat_template RUNS 1000 MAX_LEN 2000)
tandem_fuzz(tokenizer RUNS 1000 MAX_LEN 8000)
# Specs of layers are declared beside operations on arrays; a model's identity reads them too.
tandem_fuzz(model_config RUNS 30000 MAX_LEN 3000
  LIBS $<TARGET_FILE:mlx> -Wl,-rpath,$<TARGET_FILE_DIR:mlx>)
tandem_fuzz(safetensors RUNS 50000 MAX_LEN 2000
  LIBS $<TARGET_FILE:mlx> -Wl,-rpath,$<TARGET_FILE_DIR:mlx>)
tandem_fuzz(rank_frame RUNS 50000 MAX_LEN 2000)
tandem_fuzz(hosts RUNS 50000 MAX_LEN 1000)
tandem_fuzz(model_output RUNS 2000 MAX_LEN 1000)
tandem_fuzz(text_stream RUNS 15000 MAX_LEN 500)
