# Penalties and filters, compared with mlx-lm's.
add_executable(sampler_probe ${CMAKE_CURRENT_SOURCE_DIR}/tools/sampler_probe.cpp)
target_link_libraries(sampler_probe PRIVATE tandem_stage)
# Without the virtual environment this test fails; it is never skipped.
add_test(NAME sampler_oracle.filters
  COMMAND ${CMAKE_SOURCE_DIR}/.deps/oracle/bin/python
          ${CMAKE_CURRENT_LIST_DIR}/compare_filters.py $<TARGET_FILE:sampler_probe>)
set_tests_properties(sampler_oracle.filters PROPERTIES TIMEOUT 300 LABELS oracle)
