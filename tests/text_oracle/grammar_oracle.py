"""Random outputs of JSON schemas are valid under Python's jsonschema.

grammar_oracle.py PROBE FOLDER [SEED]
"""

import json
import random
import subprocess
import sys

import jsonschema

OUTPUTS = 40  # of each schema
# RFC 3339 has leap seconds and a year 0, Python's datetime does not.
NOT_IN_PYTHON = [(":60", ":59"), ("\"0000-", "\"0004-")]

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"},
                           "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["street", "zip"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "email", "address"],
    "additionalProperties": False,
}

SCHEMAS = [
    PERSON,
    True,
    {"type": "object"},
    {"type": ["integer", "null", "string"]},
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": 3}},
    {"type": "array", "items": PERSON, "minItems": 1, "maxItems": 2},
    {"enum": ["a", "\u00e9\n\"\\", 1, 2.5, None, True, [1, {"b": []}], {"c": "d"}]},
    {"const": {"x": [1, 2, {"y": "\u0000\u001f\u2028\U0001f600"}]}},
    {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25},
    {"type": "number", "multipleOf": 0.25},
    {"type": "integer", "exclusiveMinimum": 10, "multipleOf": 12},
    {"type": "integer", "minimum": -1000003, "maximum": 99},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3},
    {"type": "string", "pattern": "^(\\d{3}-)?[a-z]+\\.(com|org)$"},
    {"type": "string", "pattern": "b"},
    {"type": "string", "pattern": "^[^\"\\\\]{2,4}$"},
    {"type": "string", "minLength": 2, "maxLength": 5},
    *({"type": "string", "format": name}
      for name in ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname")),
    {"anyOf": [{"type": "boolean"}, PERSON, {"type": "array", "items": {"type": "boolean"}}]},
    {"oneOf": [
        {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}},
         "required": ["kind"], "additionalProperties": False},
        {"type": "object", "properties": {"kind": {"const": "b"}, "s": {"type": "string"}},
         "required": ["kind", "s"], "additionalProperties": False}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}},
                "required": ["a"]},
               {"properties": {"a": {"maximum": 7}, "b": {"type": "null"}}, "required": ["b"]}]},
    {"type": "object", "patternProperties": {"^x_": {"type": "integer"}, "^y_": {"type": "null"}},
     "additionalProperties": False, "minProperties": 1},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
     "required": ["a", "b"], "additionalProperties": {"type": "boolean"}, "maxProperties": 4},
    {"$defs": {"child": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
               "tree": {"type": "object",
                        "properties": {"value": {"type": "string", "maxLength": 8},
                                       "left": {"$ref": "#/$defs/child"},
                                       "right": {"$ref": "#/$defs/child"}},
                        "required": ["value", "left", "right"], "additionalProperties": False}},
     "$ref": "#/$defs/tree"},
    {"type": "object", "properties": {"self": {"$ref": "#"}, "n": {"type": "integer"}},
     "required": ["n"], "additionalProperties": False},
    {"$id": "https://example.com/root", "$defs": {"a~b": {"$anchor": "here", "type": "null"}},
     "type": "array", "items": {"$ref": "#here"}, "maxItems": 3},
    {"$defs": {"a~b/c": {"type": "boolean"}}, "$ref": "#/$defs/a~0b~1c"},
    {"type": "object", "properties": {"quote\"\\\n\u00e9": {"type": "null"}},
     "required": ["quote\"\\\n\u00e9"], "additionalProperties": False},
]


def ask(probe, folder, tasks):
    lines = "".join(json.dumps(task) + "\n" for task in tasks)
    done = subprocess.run([probe, folder], input=lines, capture_output=True, text=True, timeout=500)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(tasks):
        sys.exit(f"{probe} ended with {done.returncode} after {len(answers)}: {done.stderr}")
    return answers


def faults(schema, answer):
    if "error" in answer:
        yield answer["error"]
        return
    texts = [text for text in answer["texts"] if text is not None]
    if len(texts) * 10 < OUTPUTS * 8:
        yield f"only {len(texts)} of {OUTPUTS} outputs came to an end"
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    for text in texts:
        try:
            for ours, pythons in NOT_IN_PYTHON if "format" in json.dumps(schema) else []:
                text = text.replace(ours, pythons)
            validator.validate(json.loads(text))
        except (ValueError, jsonschema.ValidationError) as fault:
            yield f"{text!r}: {str(fault).splitlines()[0]}"


def main():
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(2**31)
    print("seed", seed)
    tasks = [{"kind": "json", "source": json.dumps(schema), "seed": (seed + i) % 2**31,
              "count": OUTPUTS} for i, schema in enumerate(SCHEMAS)]
    answers = ask(sys.argv[1], sys.argv[2], tasks)
    bad = 0
    for schema, answer in zip(SCHEMAS, answers):
        for fault in faults(schema, answer):
            bad += 1
            print(f"{json.dumps(schema)[:200]}\n  {fault[:300]}")
    print(f"{len(SCHEMAS)} schemas, {len(SCHEMAS) * OUTPUTS} outputs, {bad} faults")
    sys.exit(1 if bad else 0)


main()
