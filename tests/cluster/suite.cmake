# Whole clusters on this machine: real processes, killed and stopped.
foreach(script split faults workers places serve memory links launch)
  add_test(NAME cluster.${script}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${script}_test.py
            --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(cluster.${script} PROPERTIES TIMEOUT 600 LABELS cluster RUN_SERIAL ON)
endforeach()
