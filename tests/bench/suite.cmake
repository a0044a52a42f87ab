# Benchmarks are built with the tests, so that they keep compiling, and run once on a small shape.
if(NOT TARGET kernels_bench)
  add_subdirectory(${CMAKE_SOURCE_DIR}/bench/kernels ${CMAKE_BINARY_DIR}/bench/kernels)
endif()
add_test(NAME bench.kernels_runs
  COMMAND kernels_bench --layers 1 --repeats 1 --rows 1,9 --threads 2)
set_tests_properties(bench.kernels_runs PROPERTIES TIMEOUT 120 LABELS bench
  PASS_REGULAR_EXPRESSION "rows    9: .* tok/s")

add_test(NAME bench.peers
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/peers_test.py --tandem $<TARGET_FILE:tandem>)
set_tests_properties(bench.peers PROPERTIES TIMEOUT 300 LABELS bench)

add_test(NAME bench.accuracy
  COMMAND ${CMAKE_SOURCE_DIR}/.deps/oracle/bin/python ${CMAKE_CURRENT_LIST_DIR}/accuracy_test.py
          --tandem $<TARGET_FILE:tandem>)
set_tests_properties(bench.accuracy PROPERTIES TIMEOUT 300 LABELS bench)

add_test(NAME bench.serving
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/serving_test.py --tandem $<TARGET_FILE:tandem>)
set_tests_properties(bench.serving PROPERTIES TIMEOUT 300 LABELS bench)
