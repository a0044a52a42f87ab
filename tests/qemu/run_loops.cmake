# Cross-compiles tests/qemu/loops_main.cpp with the loops and runs it: see suite.cmake.
cmake_minimum_required(VERSION 3.25)

find_program(CROSS aarch64-linux-gnu-g++)
find_program(EMULATOR NAMES qemu-aarch64 qemu-aarch64-static)
if(NOT CROSS)
  message(FATAL_ERROR "missing: aarch64-linux-gnu-g++ (package g++-aarch64-linux-gnu)")
endif()
if(NOT EMULATOR)
  message(FATAL_ERROR "missing: qemu-aarch64 (package qemu-user)")
endif()
find_program(CCACHE ccache)

set(kernels ${SOURCE}/src/kernels)
file(GLOB loops ${kernels}/cpu/*.cc)
set(sources ${kernels}/cpu/tiles.cpp ${kernels}/row_major.cpp ${kernels}/kv_layout.cpp
    ${SOURCE}/src/base/check.cpp ${SOURCE}/tests/qemu/loops_main.cpp)
file(MAKE_DIRECTORY ${WORK})
# Highway's headers are the same on every architecture.
find_path(HIGHWAY hwy/highway.h PATHS /usr/include REQUIRED)
set(flags -std=c++20 -O2 -march=${MARCH} -ffp-contract=off
    -I${SOURCE}/include -I${SOURCE}/src -I${SOURCE}/tests/unit/kernels)
set(objects)
function(compile source suffix)
  get_filename_component(name ${source} NAME)
  set(object ${WORK}/${name}${suffix}.o)
  execute_process(COMMAND ${CCACHE} ${CROSS} ${flags} ${ARGN} -idirafter ${HIGHWAY} -c ${source}
                          -o ${object}
                  COMMAND_ERROR_IS_FATAL ANY)
  set(objects ${objects} ${object} PARENT_SCOPE)
endfunction()
foreach(source ${sources})
  compile(${source} "")
endforeach()
foreach(source ${loops})
  compile(${source} _neon -DTANDEM_LOOPS=neon)
  compile(${source} _portable -DTANDEM_LOOPS=portable -DHWY_COMPILE_ONLY_EMU128)
endforeach()
execute_process(COMMAND ${CROSS} -static ${objects} -o ${WORK}/loops COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${EMULATOR} ${WORK}/loops COMMAND_ERROR_IS_FATAL ANY)
