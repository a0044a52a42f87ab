# House rules; see tools/tidy.py.
add_test(NAME style.tidy COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/tidy.py)
set_tests_properties(style.tidy PROPERTIES TIMEOUT 60 LABELS style)
