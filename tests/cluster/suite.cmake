# Whole clusters on this machine: real processes, killed and stopped.
set(scripts split faults workers serve memory)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  list(APPEND scripts links)  # needs root, for namespaces
endif()
foreach(script ${scripts})
  add_test(NAME cluster.${script}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${script}_test.py
            --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(cluster.${script} PROPERTIES TIMEOUT 600 LABELS cluster RUN_SERIAL ON)
endforeach()
