# One static library a folder of src/; every .cpp and .cc of it belongs to it.

add_library(tandem_options INTERFACE)
target_compile_options(tandem_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wno-sign-conversion -fstack-protector-strong)
target_include_directories(tandem_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)

function(tandem_library folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp
       ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc)
  add_library(tandem_${folder} STATIC ${sources})
  target_link_libraries(tandem_${folder} PUBLIC tandem_options ${ARGN})
endfunction()
