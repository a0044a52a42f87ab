# The Rust text library (tokenizers, minijinja, llguidance) as a static library behind rust/text_ffi/include.

set(TEXT_FFI_MIN_CARGO 1.87)
# Debian's cargo-web and rustup; the `cargo` of Debian 12 itself is older.
find_program(CARGO NAMES cargo HINTS $ENV{HOME}/.cargo/bin PATHS /usr/bin /usr/share/cargo/bin)
if(NOT CARGO)
  message(FATAL_ERROR "no cargo: install cargo-web and rustc-web (Debian 12) or rustup")
endif()
execute_process(COMMAND ${CARGO} --version OUTPUT_VARIABLE cargo_version ERROR_QUIET)
string(REGEX MATCH "[0-9]+\\.[0-9]+" cargo_version "${cargo_version}")
if(cargo_version VERSION_LESS TEXT_FFI_MIN_CARGO)
  message(FATAL_ERROR "${CARGO} is ${cargo_version}, older than ${TEXT_FFI_MIN_CARGO}: install "
    "cargo-web and rustc-web (Debian 12) or rustup")
endif()

set(TEXT_FFI_DIR ${CMAKE_SOURCE_DIR}/rust/text_ffi)
set(TEXT_FFI_TARGET ${CMAKE_SOURCE_DIR}/.deps/cargo)
set(TEXT_FFI_LIB ${TEXT_FFI_TARGET}/release/libtandem_text_ffi.a)
file(GLOB_RECURSE TEXT_FFI_SOURCES CONFIGURE_DEPENDS ${TEXT_FFI_DIR}/src/*.rs)
add_custom_command(
  OUTPUT ${TEXT_FFI_LIB}
  COMMAND ${CARGO} build --release --locked --quiet --manifest-path ${TEXT_FFI_DIR}/Cargo.toml
          --target-dir ${TEXT_FFI_TARGET}
  DEPENDS ${TEXT_FFI_SOURCES} ${TEXT_FFI_DIR}/Cargo.toml ${TEXT_FFI_DIR}/Cargo.lock
  COMMENT "Building the Rust text library"
  VERBATIM)
add_custom_target(text_ffi_build DEPENDS ${TEXT_FFI_LIB})
add_library(text_ffi STATIC IMPORTED GLOBAL)
set_target_properties(text_ffi PROPERTIES IMPORTED_LOCATION ${TEXT_FFI_LIB})
target_include_directories(text_ffi INTERFACE ${TEXT_FFI_DIR}/include)
target_link_libraries(text_ffi INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
add_dependencies(text_ffi text_ffi_build)
