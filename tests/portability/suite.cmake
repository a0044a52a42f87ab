# Every source with clang and libc++, in the place of Apple's compiler. On macOS the build does it.
if(NOT APPLE)
  add_test(NAME portability.libcxx
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_libcxx.py ${CMAKE_BINARY_DIR}
            ${CMAKE_SOURCE_DIR})
  set_tests_properties(portability.libcxx PROPERTIES TIMEOUT 3000 LABELS style PROCESSORS 2)
endif()
