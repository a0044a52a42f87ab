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

# The whole program. api_openai, api_clients and api_schema need the packages of
# requirements.txt, api_node that of npm/.
foreach(script routes serving node openai clients schema)
  set(python ${Python3_EXECUTABLE})
  if(NOT script MATCHES "routes|serving|node")
    set(python ${CMAKE_SOURCE_DIR}/.deps/http/bin/python)
  endif()
  add_test(NAME http.api_${script}
    COMMAND ${python} ${CMAKE_CURRENT_LIST_DIR}/api_${script}_test.py
            --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(http.api_${script} PROPERTIES TIMEOUT 600 LABELS http)
endforeach()
