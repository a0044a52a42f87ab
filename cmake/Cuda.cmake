# The kernels of src/cuda/kernels as bytes in the program, compiled by NVRTC of a Python package
# (tools/setup/cuda-requirements.txt), which needs neither a toolkit nor a GPU. Without it the program
# has no kernels and says so when it is asked for a GPU.

function(tandem_embed_cuda target)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/cuda_program.cpp)
  set(kernels ${CMAKE_SOURCE_DIR}/src/cuda/kernels)
  file(GLOB nvrtc
    ${CMAKE_SOURCE_DIR}/.deps/cuda/lib/python3*/site-packages/nvidia/cu13/lib/libnvrtc.so.13)
  if(nvrtc)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    file(GLOB files CONFIGURE_DEPENDS ${kernels}/*)
    set(cubin ${CMAKE_CURRENT_BINARY_DIR}/cuda_program.cubin)
    set(compiler ${CMAKE_SOURCE_DIR}/cmake/compile_cuda.py)
    add_custom_command(OUTPUT ${source} ${cubin}
      COMMAND ${Python3_EXECUTABLE} ${compiler} ${nvrtc} ${kernels}/program.cu ${cubin} ${source}
      DEPENDS ${files} ${compiler} ${nvrtc} COMMENT "Compiling the GPU kernels" VERBATIM)
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${cubin})
  else()
    message(STATUS "No NVRTC in .deps/cuda: building without GPU kernels")
    file(WRITE ${source}.new "#include \"cuda/program.h\"

namespace tandem::cuda {

Program program() { return {}; }

}  // namespace tandem::cuda
")
    file(COPY_FILE ${source}.new ${source} ONLY_IF_DIFFERENT)
  endif()
  target_sources(${target} PRIVATE ${source})
endfunction()
