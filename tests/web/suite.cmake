# The web page in Chromium, against the real server. Needs nodejs, chromium and .deps/web.
foreach(script chat safety key cluster look markdown)
  add_test(NAME web.${script}
    COMMAND node ${CMAKE_CURRENT_LIST_DIR}/${script}_test.mjs --tandem $<TARGET_FILE:tandem>)
  set_tests_properties(web.${script} PROPERTIES TIMEOUT 300 LABELS web)
endforeach()
