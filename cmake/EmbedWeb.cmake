# The web page's files as bytes in the program, so that `tandem serve` needs no files beside it.
#
# Included, it defines tandem_embed_web(target); run as a script (cmake -P) it writes the source.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(TANDEM_EMBED_WEB ${CMAKE_CURRENT_LIST_FILE})

  # Adds a source with every file of web/ to `target`; src/server/web/assets.h declares what it holds.
  function(tandem_embed_web target)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/web_assets.cpp)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/*)
    add_custom_command(OUTPUT ${source}
      COMMAND ${CMAKE_COMMAND} -DFOLDER=${CMAKE_SOURCE_DIR}/web -DSOURCE=${source}
              -P ${TANDEM_EMBED_WEB}
      DEPENDS ${files} ${TANDEM_EMBED_WEB} COMMENT "Embedding the web page" VERBATIM)
    target_sources(${target} PRIVATE ${source})
  endfunction()
  return()
endif()

file(GLOB files RELATIVE ${FOLDER} ${FOLDER}/*)
list(SORT files)
set(arrays "")
set(rows "")
set(number 0)
foreach(file ${files})
  file(READ ${FOLDER}/${file} bytes HEX)
  file(SHA256 ${FOLDER}/${file} hash)
  string(SUBSTRING ${hash} 0 32 hash)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "constexpr unsigned char kBytes${number}[] = {\n${bytes}};\n")
  string(APPEND rows "    {\"${file}\", kBytes${number}, sizeof(kBytes${number}), \"\\\"${hash}\\\"\"},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${SOURCE} "// Made by cmake/EmbedWeb.cmake from web/.
#include \"server/web/assets.h\"

namespace tandem::server {
namespace {
${arrays}
constexpr WebAsset kAssets[] = {
${rows}};
}  // namespace

std::span<const WebAsset> web_assets() { return kAssets; }

}  // namespace tandem::server
")
