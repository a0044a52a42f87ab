# Our tokenizer and chat templates against Python's tokenizers and transformers.
set(TANDEM_ORACLE_PYTHON ${CMAKE_SOURCE_DIR}/.deps/oracle/bin/python CACHE FILEPATH
    "Python of the venv with transformers; ./test makes it")
add_executable(text_probe ${CMAKE_CURRENT_SOURCE_DIR}/tools/text_probe.cpp)
target_link_libraries(text_probe PRIVATE tandem_text nlohmann_json::nlohmann_json)
add_test(NAME oracle.text
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/text_oracle/run.sh ${TANDEM_ORACLE_PYTHON}
          ${CMAKE_CURRENT_SOURCE_DIR}/text_oracle/text_oracle.py $<TARGET_FILE:text_probe>)
set_tests_properties(oracle.text PROPERTIES TIMEOUT 600 LABELS oracle)

add_executable(grammar_probe ${CMAKE_CURRENT_SOURCE_DIR}/tools/grammar_probe.cpp)
target_link_libraries(grammar_probe PRIVATE tandem_text nlohmann_json::nlohmann_json)
target_include_directories(grammar_probe PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME oracle.grammar
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/text_oracle/run.sh ${TANDEM_ORACLE_PYTHON}
          ${CMAKE_CURRENT_SOURCE_DIR}/text_oracle/grammar_oracle.py $<TARGET_FILE:grammar_probe>
          ${CMAKE_SOURCE_DIR}/models/tandem-demo)
set_tests_properties(oracle.grammar PROPERTIES TIMEOUT 600 LABELS oracle)

# The Rust library's own tests.
add_test(NAME unit.text_ffi
  COMMAND ${CARGO} test --release --lib --locked --quiet
          --manifest-path ${TEXT_FFI_DIR}/Cargo.toml --target-dir ${TEXT_FFI_TARGET})
set_tests_properties(unit.text_ffi PROPERTIES TIMEOUT 600 LABELS unit)
