# One static library a folder of src/; every .cpp and .cc of it belongs to it, a .cc once for each
# instruction set.

# Same bits on every machine: a multiply and an add fuse only where the code says so.
add_library(tandem_options INTERFACE)
target_compile_options(tandem_options INTERFACE -ffp-contract=off
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -fstack-protector-strong)
target_include_directories(tandem_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)

# Files that only one platform compiles are x_linux.cpp and x_macos.cpp. The flags and macros of an
# instruction set live here only; "portable" is for every CPU, with vectors emulated in plain C++.
set(TANDEM_FLAGS_avx512 -mfma -mf16c -mbmi -mbmi2 -maes -mpclmul -mavx2 -mavx512f -mavx512bw
  -mavx512dq -mavx512vl -mavx512cd -mavx512vnni -mavx512vbmi -mavx512vbmi2 -mavx512ifma
  -mavx512bitalg -mavx512vpopcntdq -mgfni -mvaes -mvpclmulqdq)
set(TANDEM_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -maes -mpclmul)
# Highway's NEON loops want AES; Apple's compiler has it without asking.
if(NOT APPLE)
  set(TANDEM_FLAGS_neon -march=armv8-a+crypto)
endif()
set(TANDEM_MACROS_portable HWY_COMPILE_ONLY_EMU128)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(TANDEM_ISAS avx512 avx2)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(TANDEM_ISAS neon)
endif()

# The libraries that a folder's files spend most of their compile time on, precompiled: ten of fifteen
# seconds for gRPC's. Sources still include what they use: tests/portability compiles without.
set(TANDEM_HEADERS_mlx <mlx/mlx.h> <fmt/format.h>)
set(TANDEM_HEADERS_grpc <mlx/mlx.h> <grpcpp/grpcpp.h> <tandem.grpc.pb.h> <fmt/format.h>)
set(TANDEM_HEADERS_asio <boost/asio.hpp> <boost/asio/ssl.hpp> <nlohmann/json.hpp> <fmt/format.h>)
set(TANDEM_HEADERS_json <nlohmann/json.hpp> <fmt/format.h>)
set(TANDEM_HEADERS_config ${TANDEM_HEADERS_json})
set(TANDEM_HEADERS_text ${TANDEM_HEADERS_json})
set(TANDEM_HEADERS_weights ${TANDEM_HEADERS_json})
set(TANDEM_HEADERS_kernels ${TANDEM_HEADERS_mlx})
set(TANDEM_HEADERS_cache ${TANDEM_HEADERS_mlx})
set(TANDEM_HEADERS_models ${TANDEM_HEADERS_mlx})
set(TANDEM_HEADERS_stage ${TANDEM_HEADERS_mlx})
set(TANDEM_HEADERS_cluster ${TANDEM_HEADERS_grpc})
set(TANDEM_HEADERS_server ${TANDEM_HEADERS_asio})
set(TANDEM_HEADERS_client ${TANDEM_HEADERS_asio})
set(TANDEM_HEADERS_cli <CLI/CLI.hpp> ${TANDEM_HEADERS_json})

# Compiles the loops for each instruction set, in a namespace TANDEM_LOOPS, without precompiled
# headers: none may lend its code to another. TANDEM_ISA_x says which there are besides portable.
function(tandem_loops library)
  foreach(isa ${TANDEM_ISAS} portable)
    add_library(${library}_${isa} OBJECT ${ARGN})
    target_link_libraries(${library}_${isa} PRIVATE tandem_options)
    target_compile_options(${library}_${isa} PRIVATE ${TANDEM_FLAGS_${isa}})
    target_compile_definitions(${library}_${isa} PRIVATE
      TANDEM_LOOPS=${isa} ${TANDEM_MACROS_${isa}})
    set_target_properties(${library}_${isa} PROPERTIES UNITY_BUILD OFF)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${library}_${isa}>)
    target_compile_definitions(${library} PRIVATE TANDEM_ISA_${isa})
  endforeach()
endfunction()

function(tandem_library folder)
  set(dir ${CMAKE_SOURCE_DIR}/src/${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  file(GLOB_RECURSE loops CONFIGURE_DEPENDS ${dir}/*.cc)
  if(APPLE)
    list(FILTER sources EXCLUDE REGEX "_linux\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_macos\\.cpp$")
  endif()
  add_library(tandem_${folder} STATIC ${sources})
  if(loops)
    tandem_loops(tandem_${folder} ${loops})
  endif()
  if(TANDEM_HEADERS_${folder})
    target_precompile_headers(tandem_${folder} PRIVATE ${TANDEM_HEADERS_${folder}})
  endif()
  target_link_libraries(tandem_${folder} PUBLIC tandem_options ${ARGN})
endfunction()
