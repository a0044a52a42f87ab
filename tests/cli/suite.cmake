# The program as a person uses it: the real binary, its output and its exit codes.
foreach(script generate score plan bench bench_serve chat errors terminal)
  add_test(NAME cli.${script}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${script}_test.py
            --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(cli.${script} PROPERTIES TIMEOUT 300 LABELS cli)
endforeach()
