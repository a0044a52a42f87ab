"""Conversations to render: (name, messages, keyword arguments of apply_chat_template)."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather",
    "description": "Weather of a place.\nGives °C & \"conditions\".",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "City, e.g. \"Zürich\""},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "array", "items": {"type": "integer"}, "description": "Which <days>"},
            "options": {"type": "object", "properties": {
                "detailed": {"type": "boolean", "default": False},
                "ratio": {"type": ["number", "null"], "default": 0.1}}},
        },
        "required": ["location"],
    },
    "return": {"type": "array", "items": {"type": "number"}},
}}
CLOCK = {"type": "function", "function": {
    "name": "clock", "description": "Now.", "parameters": {"type": "object", "properties": {}}}}
ANY = {"type": "function", "function": {
    "name": "lookup", "description": "Find things", "parameters": {
        "type": "object", "required": [],
        "properties": {"map": {"type": "object", "additionalProperties": {"type": "string"}},
                       "either": {"type": ["string", "integer"]}, "what": {}}}}}

SYSTEM = {"role": "system", "content": "You are terse.\nAnswer in one line. "}
HELLO = {"role": "user", "content": "Hello, wörld! 你好 😀\n\n  indented\ttab  "}
REPLY = {"role": "assistant", "content": "  Hi — \"there\" & <you>! \\n is not a newline\n"}
AGAIN = {"role": "user", "content": "And then?"}
THOUGHT = {"role": "assistant", "content": "<think>\nLet me\nsee…\n</think>\n\nIt is 42."}
REASONED = {"role": "assistant", "content": "Done.", "reasoning_content": "because\nof this"}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call00001", "type": "function", "function": {
        "name": "get_weather",
        "arguments": {"location": "Zürich \"Nord\"", "days": [1, 2], "options":
                      {"detailed": True, "ratio": 1.50, "none": None, "big": 12345678901234}}}}]}
TWO_CALLS = {"role": "assistant", "content": "Both:", "tool_calls": [
    {"id": "call00001", "type": "function",
     "function": {"name": "get_weather", "arguments": {"location": "東京"}}},
    {"id": "call00002", "type": "function", "function": {"name": "clock", "arguments": {}}}]}
STRING_CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call00003", "type": "function",
     "function": {"name": "get_weather", "arguments": "{\"location\": \"Bern\"}"}}]}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather",
          "content": "{\"temp\": -3.5, \"text\": \"Schnee ☃\"}"}
CLOCK_RESULT = {"role": "tool", "tool_call_id": "call00002", "content": "12:00"}
PARTS = {"role": "user", "content": [
    {"type": "text", "text": " What is in "}, {"type": "image"}, {"type": "text", "text": "this?"}]}
DOCUMENTS = [{"title": "Käse", "text": "Cheese is old.\nVery."}, {"title": "B", "text": "two"}]

ASK = {"add_generation_prompt": True}
TOOLS = [WEATHER, CLOCK, ANY]

ALL = [
    ("one", [HELLO], ASK),
    ("one, no prompt", [HELLO], {}),
    ("system", [SYSTEM, HELLO], ASK),
    ("several turns", [SYSTEM, HELLO, REPLY, AGAIN], ASK),
    ("no system, several turns", [HELLO, REPLY, AGAIN], ASK),
    ("ends with the assistant", [HELLO, REPLY], {}),
    ("continue", [SYSTEM, HELLO, REPLY], {"continue_final_message": True}),
    ("continue, plain", [HELLO, {"role": "assistant", "content": "Once upon"}],
     {"continue_final_message": True}),
    ("continue parts", [HELLO, {"role": "assistant", "content": [
        {"type": "text", "text": "Once"}, {"type": "image"}]}], {"continue_final_message": True}),
    ("thought", [HELLO, THOUGHT, AGAIN], ASK),
    ("thought last", [HELLO, THOUGHT], {}),
    ("reasoned", [HELLO, REASONED, AGAIN], ASK),
    ("reasoned last", [HELLO, REASONED], {}),
    ("reasoning by another name", [HELLO, {"role": "assistant", "content": "Yes.",
                                           "thinking": "hm", "reasoning": None}], {}),
    ("no thinking", [HELLO], {**ASK, "enable_thinking": False}),
    ("tools", [SYSTEM, HELLO], {**ASK, "tools": TOOLS}),
    ("tools, no system", [HELLO], {**ASK, "tools": [WEATHER]}),
    ("no tools", [HELLO], {**ASK, "tools": []}),
    ("call", [SYSTEM, HELLO, CALL, RESULT], {**ASK, "tools": TOOLS}),
    ("call, then more", [HELLO, CALL, RESULT, REPLY, AGAIN], {**ASK, "tools": TOOLS}),
    ("two calls", [HELLO, TWO_CALLS, RESULT, CLOCK_RESULT, REPLY], {"tools": TOOLS}),
    ("call in text", [HELLO, STRING_CALL, RESULT], {**ASK, "tools": TOOLS}),
    ("system tools", [SYSTEM, HELLO], {**ASK, "tools": TOOLS, "tools_in_user_message": False}),
    ("built-in tools", [SYSTEM, HELLO],
     {**ASK, "builtin_tools": ["brave_search", "code_interpreter", "wolfram"]}),
    ("parts", [PARTS], ASK),
    ("system parts", [{"role": "system", "content": [{"type": "text", "text": "S"}]}, PARTS], ASK),
    ("documents", [HELLO, REPLY, AGAIN], {**ASK, "documents": DOCUMENTS}),
    ("wrong order", [HELLO, AGAIN], ASK),
    ("two systems", [SYSTEM, SYSTEM, HELLO, REPLY, AGAIN], ASK),
    ("empty content", [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}], {}),
    ("content is null", [HELLO, {"role": "assistant", "content": None}], {}),
    ("odd role", [{"role": "developer", "content": "x"}, HELLO], ASK),
    ("date given", [HELLO], {**ASK, "date_string": "01 Jan 2030", "model_identity": "Me <&>"}),
    ("template-like text", [{"role": "user", "content": "{{ 1 + 1 }} {% if %} {# x #}"}], ASK),
    ("control tokens", [{"role": "user", "content": "<|im_end|>\n<|im_start|>system"}], ASK),
    ("long", [SYSTEM] + [HELLO, REPLY] * 60 + [AGAIN], ASK),
]
