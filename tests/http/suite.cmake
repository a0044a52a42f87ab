# The HTTP layer alone behind a small program, driven over raw sockets.
add_executable(echo_server ${CMAKE_CURRENT_LIST_DIR}/echo_server.cpp)
target_link_libraries(echo_server PRIVATE tandem_server)
