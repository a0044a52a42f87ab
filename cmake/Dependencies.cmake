# The C++ libraries: MLX from the pinned wheel (or Homebrew), the rest from the system.

file(GLOB TANDEM_WHEEL_MLX ${CMAKE_SOURCE_DIR}/.deps/mlx/lib/python3*/site-packages/mlx)
find_package(MLX REQUIRED CONFIG HINTS ${TANDEM_WHEEL_MLX}/share/cmake/MLX)
# MLX's package sets no visibility of its own headers as system ones; ours must stay free of warnings.
set_target_properties(mlx PROPERTIES
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "$<TARGET_PROPERTY:mlx,INTERFACE_INCLUDE_DIRECTORIES>")

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
# toml++ as headers alone, and errors as values.
find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
add_library(tomlplusplus_headers INTERFACE)
target_include_directories(tomlplusplus_headers SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE})
target_compile_definitions(tomlplusplus_headers INTERFACE TOML_HEADER_ONLY=1 TOML_EXCEPTIONS=0)
find_package(fmt REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Boost 1.81 REQUIRED CONFIG)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc++)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
