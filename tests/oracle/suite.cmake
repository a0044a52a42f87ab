# Whole models against mlx-lm and transformers: see tests/oracle/README.md.
set(ORACLE ${CMAKE_CURRENT_LIST_DIR}/oracle.sh ${CMAKE_SOURCE_DIR})

# The decoder alone, for hunting a wrong layer: run.py --probe.
add_executable(decoder_probe ${CMAKE_CURRENT_LIST_DIR}/../tools/decoder_probe.cpp)
target_link_libraries(decoder_probe PRIVATE tandem_models)

function(oracle_test name script)
  add_test(NAME oracle.${name}
    COMMAND ${ORACLE} ${script} --tandem $<TARGET_FILE:tandem> ${ARGN})
  set_tests_properties(oracle.${name} PROPERTIES LABELS oracle TIMEOUT 900)
endfunction()

foreach(family llama mistral qwen2 qwen3 qwen3_moe mixtral gemma2 gemma3 phi3 deepseek_v2
        deepseek_v3)
  oracle_test(${family} run.py --family ${family})
endforeach()
oracle_test(variants run.py --variants)
oracle_test(transformers golden.py)
