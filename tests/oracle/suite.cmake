# Whole models against mlx-lm and transformers: see tests/oracle/README.md.
add_executable(decoder_probe ${CMAKE_CURRENT_LIST_DIR}/../tools/decoder_probe.cpp)
target_link_libraries(decoder_probe PRIVATE tandem_models)
