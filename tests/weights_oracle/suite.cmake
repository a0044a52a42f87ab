# Verdicts on safetensors files, compared with the reference library from PyPI.
add_executable(safetensors_probe ${CMAKE_CURRENT_SOURCE_DIR}/tools/safetensors_probe.cpp)
target_link_libraries(safetensors_probe PRIVATE tandem_weights)
# Without the virtual environment this test fails; it is never skipped.
add_test(NAME weights_oracle.verdicts
  COMMAND ${CMAKE_SOURCE_DIR}/.deps/oracle/bin/python
          ${CMAKE_CURRENT_LIST_DIR}/compare_verdicts.py $<TARGET_FILE:safetensors_probe>)
set_tests_properties(weights_oracle.verdicts PROPERTIES TIMEOUT 300 LABELS oracle)
