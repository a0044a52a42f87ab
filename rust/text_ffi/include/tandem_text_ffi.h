#pragma once
/* Tokenizers, chat templates and grammars of rust/text_ffi. Every call may come from any thread;
   handles are immutable, but for matchers. No call panics, throws or keeps state between calls. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  TANDEM_TEXT_OK = 0,
  TANDEM_TEXT_INVALID = 1,  /* the input breaks a rule; the message says which */
  TANDEM_TEXT_LIMIT = 2,    /* a stated limit would be exceeded */
  TANDEM_TEXT_INTERNAL = 3, /* a defect of the library, caught */
};
typedef int32_t tandem_text_status;

/* Borrowed UTF-8. data may be null when size is 0. */
typedef struct {
  const uint8_t* data;
  size_t size;
} tandem_text_view;

/* Bytes owned by the library; freed by tandem_text_buffer_free. Every function that takes one
   writes it: its result, or on failure a message of one line. */
typedef struct {
  uint8_t* data;
  size_t size;
  size_t capacity;
} tandem_text_buffer;

/* Token ids owned by the library; freed by tandem_text_ids_free. */
typedef struct {
  uint32_t* data;
  size_t size;
  size_t capacity;
} tandem_text_ids;

void tandem_text_buffer_free(tandem_text_buffer buffer);
void tandem_text_ids_free(tandem_text_ids ids);

/* --- tokenizer --- */

typedef struct tandem_text_tokenizer tandem_text_tokenizer;

/* json: the contents of tokenizer.json, at most 512 MiB. Truncation and padding that the file asks
   for are dropped, as transformers does. */
tandem_text_status tandem_text_tokenizer_new(tandem_text_view json, tandem_text_tokenizer** out,
                                             tandem_text_buffer* error);
void tandem_text_tokenizer_free(tandem_text_tokenizer* tokenizer);

/* text: at most max_bytes. */
tandem_text_status tandem_text_tokenizer_encode(const tandem_text_tokenizer* tokenizer,
                                                tandem_text_view text, size_t max_bytes,
                                                bool add_special_tokens, tandem_text_ids* out,
                                                tandem_text_buffer* error);
/* Ids that the tokenizer does not know add nothing. */
tandem_text_status tandem_text_tokenizer_decode(const tandem_text_tokenizer* tokenizer,
                                                const uint32_t* ids, size_t count,
                                                bool skip_special_tokens, tandem_text_buffer* out);
/* The id of a token's exact content, or -1. */
int64_t tandem_text_tokenizer_token_to_id(const tandem_text_tokenizer* tokenizer,
                                          tandem_text_view token);
/* One more than the largest id. */
uint32_t tandem_text_tokenizer_vocabulary_size(const tandem_text_tokenizer* tokenizer);

enum { TANDEM_TEXT_TOKEN_UNKNOWN = 0, TANDEM_TEXT_TOKEN_NORMAL = 1, TANDEM_TEXT_TOKEN_SPECIAL = 2 };
int32_t tandem_text_tokenizer_token_kind(const tandem_text_tokenizer* tokenizer, uint32_t id);
/* The bytes that a token stands for, which may be a part of a character. False: it is unknown, or
 * what it gives depends on its place (WordPiece). */
bool tandem_text_tokenizer_token_bytes(const tandem_text_tokenizer* tokenizer, uint32_t id,
                                       tandem_text_buffer* out);

/* --- chat template --- */

typedef struct tandem_text_template tandem_text_template;

/* source: Jinja, at most 1 MiB. */
tandem_text_status tandem_text_template_new(tandem_text_view source, tandem_text_template** out,
                                            tandem_text_buffer* error);
void tandem_text_template_free(tandem_text_template* chat_template);

/* What a rendering is given. JSON texts; an empty one is absent. */
typedef struct {
  tandem_text_view messages;       /* a list of objects, at least one */
  tandem_text_view tools;          /* a list of objects */
  tandem_text_view documents;      /* a list of objects */
  tandem_text_view special_tokens; /* an object: bos_token, eos_token, ... */
  tandem_text_view kwargs;         /* an object of further variables */
  bool add_generation_prompt;
  bool continue_final_message;
  bool keep_null_content;
  int64_t now; /* seconds since 1970, shown by strftime_now in local time */
} tandem_text_chat;

/* out: the prompt, at most max_bytes. The time is bounded: the work a template may do is a constant
   plus a multiple of the bytes it is given. */
tandem_text_status tandem_text_template_render(const tandem_text_template* chat_template,
                                               const tandem_text_chat* chat, size_t max_bytes,
                                               tandem_text_buffer* out);

/* --- grammar --- */

/* A tokenizer's tokens, arranged for grammars. */
typedef struct tandem_text_grammar_tokenizer tandem_text_grammar_tokenizer;
typedef struct tandem_text_grammar tandem_text_grammar;
typedef struct tandem_text_matcher tandem_text_matcher;

/* vocabulary: of the model; eos: the ids that end an output. Neither has to be the tokenizer's. */
tandem_text_status tandem_text_grammar_tokenizer_new(const tandem_text_tokenizer* tokenizer,
                                                     uint32_t vocabulary, const uint32_t* eos,
                                                     size_t eos_count,
                                                     tandem_text_grammar_tokenizer** out,
                                                     tandem_text_buffer* error);
void tandem_text_grammar_tokenizer_free(tandem_text_grammar_tokenizer* tokenizer);

enum { TANDEM_TEXT_JSON_SCHEMA = 0, TANDEM_TEXT_REGEX = 1, TANDEM_TEXT_LARK = 2 };
/* source: at most 1 MiB. The grammar keeps what it needs of the tokenizer. */
tandem_text_status tandem_text_grammar_new(const tandem_text_grammar_tokenizer* tokenizer,
                                           int32_t kind, tandem_text_view source,
                                           tandem_text_grammar** out, tandem_text_buffer* error);
void tandem_text_grammar_free(tandem_text_grammar* grammar);
/* A schema as an expression of a Lark grammar. */
tandem_text_status tandem_text_grammar_lark_json(tandem_text_view schema, tandem_text_buffer* out);

/* Follows one output. One thread at a time. It keeps what it needs of the grammar. */
tandem_text_status tandem_text_matcher_new(const tandem_text_grammar* grammar,
                                           tandem_text_matcher** out, tandem_text_buffer* error);
void tandem_text_matcher_free(tandem_text_matcher* matcher);
/* words: one bit a token of the vocabulary, rounded up to whole words. */
tandem_text_status tandem_text_matcher_allowed(tandem_text_matcher* matcher, uint32_t* words,
                                               size_t count, tandem_text_buffer* error);
tandem_text_status tandem_text_matcher_accept(tandem_text_matcher* matcher, uint32_t token,
                                              tandem_text_buffer* error);
/* Whether nothing may follow. */
bool tandem_text_matcher_complete(const tandem_text_matcher* matcher);

#ifdef __cplusplus
}
#endif
