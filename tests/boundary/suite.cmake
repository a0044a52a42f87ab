# The gateway's logic (scheduler, server and what they use) links without MLX and without gRPC.
add_executable(gateway_alone ${CMAKE_CURRENT_LIST_DIR}/gateway_alone.cpp)
target_link_libraries(gateway_alone PRIVATE tandem_server)
set_target_properties(gateway_alone PROPERTIES
  LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,tandem_server,tandem_scheduler")
add_test(NAME boundary.gateway_alone
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/gateway_alone_test.py
          $<TARGET_FILE:gateway_alone>)
set_tests_properties(boundary.gateway_alone PROPERTIES TIMEOUT 60 LABELS unit)
