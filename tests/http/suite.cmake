# The HTTP layer alone behind a small program, driven over raw sockets.
add_executable(echo_server ${CMAKE_CURRENT_LIST_DIR}/echo_server.cpp)
target_link_libraries(echo_server PRIVATE tandem_server)
foreach(script framing protocol access slow abort)
  add_test(NAME http.${script}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${script}_test.py
            --server $<TARGET_FILE:echo_server>)
  set_tests_properties(http.${script} PROPERTIES TIMEOUT 300 LABELS http)
endforeach()
set_tests_properties(http.slow http.abort PROPERTIES RUN_SERIAL ON)
