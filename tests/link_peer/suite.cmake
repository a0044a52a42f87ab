# The process that cluster's unit tests kill and stop.
add_executable(link_peer ${CMAKE_CURRENT_LIST_DIR}/link_peer.cpp)
target_link_libraries(link_peer PRIVATE tandem_cluster)
if(TARGET cluster_test)
  target_compile_definitions(cluster_test PRIVATE TANDEM_LINK_PEER="$<TARGET_FILE:link_peer>")
  add_dependencies(cluster_test link_peer)
endif()
