// Answers requests about a model folder's text, for tests/text_oracle: one JSON object a line on
// stdin, one on stdout.
//   {"op":"encode","text":...,"special":bool}            -> {"ids":[...]}
//   {"op":"decode","ids":[...],"skip":bool}              -> {"text":...}
//   {"op":"stream","ids":[...],"skip":bool}              -> {"pieces":[...]}
//   {"op":"render","messages":...,"tools":...,"documents":...,"kwargs":...,"now":seconds,
//    "add_generation_prompt":bool,"continue_final_message":bool}  -> {"text":...}
//   {"op":"info"}                                        -> {"eos_ids":[...],"size":n}
// A failure of the request: {"error":...}.

#include <cstdint>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using tandem::text::ChatTemplate;
using tandem::text::StreamDecoder;
using tandem::text::Tokenizer;

template <class T>
ordered_json answer(const char* name, const tandem::Result<T>& result) {
  if (!result) return {{"error", result.error().message}};
  return {{name, *result}};
}

ordered_json stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) {
    tandem::Result<std::string> piece = decoder.push(id);
    if (!piece) return {{"error", piece.error().message}};
    pieces.push_back(*std::move(piece));
  }
  tandem::Result<std::string> rest = decoder.finish();
  if (!rest) return {{"error", rest.error().message}};
  pieces.push_back(*std::move(rest));
  return {{"pieces", pieces}};
}

std::string text_of(const ordered_json& request, const char* name) {
  const auto field = request.find(name);
  return field == request.end() || field->is_null() ? "" : field->dump();
}

ordered_json render(const tandem::Result<ChatTemplate>& chat_template,
                    const ordered_json& request) {
  if (!chat_template) return {{"error", chat_template.error().message}};
  ChatTemplate::Options options;
  options.add_generation_prompt = request.value("add_generation_prompt", false);
  options.continue_final_message = request.value("continue_final_message", false);
  options.tools_json = text_of(request, "tools");
  options.documents_json = text_of(request, "documents");
  options.kwargs_json = text_of(request, "kwargs");
  options.now = static_cast<std::time_t>(request.value("now", std::int64_t{0}));
  return answer("text", chat_template->render(text_of(request, "messages"), options));
}

ordered_json reply(const Tokenizer& tokenizer, const tandem::Result<ChatTemplate>& chat_template,
                   const ordered_json& request) {
  const std::string op = request.value("op", "");
  const auto ids = [&] { return request.at("ids").get<std::vector<std::int32_t>>(); };
  if (op == "encode") {
    return answer("ids", tokenizer.encode(request.at("text").get<std::string>(),
                                          request.value("special", false)));
  }
  if (op == "decode") {
    return answer("text", tokenizer.decode(ids(), request.value("skip", false)));
  }
  if (op == "stream") return stream(tokenizer, ids(), request.value("skip", false));
  if (op == "render") return render(chat_template, request);
  if (op == "info") {
    return {{"eos_ids", tokenizer.eos_ids()}, {"size", tokenizer.vocabulary_size()}};
  }
  return {{"error", "unknown op \"" + op + '"'}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: text_probe MODEL_FOLDER\n";
    return 2;
  }
  const tandem::Result<Tokenizer> tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << '\n';
    return 2;
  }
  const tandem::Result<ChatTemplate> chat_template = ChatTemplate::load(argv[1], *tokenizer);
  std::string line;
  while (std::getline(std::cin, line)) {
    const ordered_json request = ordered_json::parse(line);
    std::cout << reply(*tokenizer, chat_template, request).dump() << '\n' << std::flush;
  }
  return 0;
}
