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

# The whole program, each test with the Python that has its packages: api_openai, api_clients,
# api_schema and api_tls those of requirements.txt, api_lm_eval the oracle's. api_node and
# api_continue need the packages of npm/.
function(api_test script python)
  add_test(NAME http.api_${script}
    COMMAND ${python} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/api_${script}_test.py
            --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(http.api_${script} PROPERTIES TIMEOUT 600 LABELS http)
endfunction()
foreach(script routes completions serving abort json node continue)
  api_test(${script} ${Python3_EXECUTABLE})
endforeach()
foreach(script openai clients schema tls)
  api_test(${script} ${CMAKE_SOURCE_DIR}/.deps/http/bin/python)
endforeach()
api_test(lm_eval ${CMAKE_SOURCE_DIR}/.deps/oracle/bin/python)
