#pragma once
// Drawn tokens -> certain text, up to a stop string.

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "server/api/stop_scanner.h"
#include "server/serving/model_text.h"
#include "tandem/tick.h"
#include "text/tokenizer.h"

namespace tandem::server {

/// One sequence's text. A piece is held back while it may end inside a character or may be the
/// beginning of a stop string; a token comes out with the piece that its last character is in. One
/// thread.
class TokenStream {
 public:
  struct Options {
    std::vector<std::string> stop;
    bool keep_markers = false;  // special tokens of the output format are text (for its parser)
    bool tokens = false;        // pieces bring their tokens along
    bool continues = false;     // the text goes on where another ends: its first space is kept
  };
  struct Piece {
    std::string text;
    std::vector<TokenResult> tokens;
    bool stopped = false;  // a stop string follows
  };

  /// `model` outlives the stream.
  TokenStream(const ModelText& model, Options options);
  /// A drawn token that is not the one that ended the generation.
  Result<Piece> push(const TokenResult& token);
  /// What is left at the end, unless a stop string ended it.
  Result<Piece> finish();

 private:
  struct Held {
    TokenResult token;
    std::size_t begin = 0;  // bytes of text before it
    std::size_t end = 0;    // bytes of text up to its end, or what was known of it
  };
  void release(Piece& piece, bool all);

  const ModelText* model_;
  Options options_;
  text::StreamDecoder decoder_;
  StopScanner scanner_;
  std::size_t decoded_ = 0;   // bytes given to the scanner
  std::size_t released_ = 0;  // bytes that came out
  std::deque<Held> held_;
};

}  // namespace tandem::server
