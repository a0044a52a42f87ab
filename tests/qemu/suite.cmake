# Builds the loops of the kernels for 64-bit ARM with the cross compiler and runs their checks in
# the emulator. Needs the packages g++-aarch64-linux-gnu and qemu-user; a missing one is a failure
# that names it, not a skip. On an ARM machine the unit tests run these loops already.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  foreach(variant "neon;armv8-a+crypto" "dotprod;armv8.2-a+crypto+dotprod")
    list(GET variant 0 name)
    list(GET variant 1 march)
    add_test(NAME qemu.loops_on_${name}
      COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DMARCH=${march}
              -DWORK=${CMAKE_CURRENT_BINARY_DIR}/qemu_${name}
              -P ${CMAKE_CURRENT_LIST_DIR}/run_loops.cmake)
    set_tests_properties(qemu.loops_on_${name} PROPERTIES TIMEOUT 600 LABELS qemu
      PASS_REGULAR_EXPRESSION "all loops pass" FAIL_REGULAR_EXPRESSION "fails|missing")
  endforeach()
endif()
