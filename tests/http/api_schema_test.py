"""schemathesis: /openapi.json is true, and no input of it makes the server fail."""

import contextlib
import io

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (content_type_conformance,
                                               response_schema_conformance,
                                               status_code_conformance)

import api_server

CASES = 60  # of each operation


class Schema(api_server.ServerTest):
    arguments = ("--max-tokens", "8", "--max-context", "256")

    def check(self, mode):
        _, _, document = self.server.request("GET", "/openapi.json")
        for schema in document["components"]["schemas"].values():
            properties = schema.get("properties", {})
            if "max_tokens" in properties:  # long answers prove nothing here
                for name in ("max_tokens", "max_completion_tokens"):
                    properties[name]["maximum"] = 16
                properties["n"]["maximum"] = 3
                properties["model"] = {"const": "tandem-demo"}
        schema = schemathesis.openapi.from_dict(document)
        seen = {}
        for result in schema.get_all_operations():
            operation = result.ok()
            if mode is schemathesis.GenerationMode.NEGATIVE and not operation.body:
                continue  # a GET has nothing that could be wrong
            strategy = operation.as_strategy(generation_mode=mode)
            statuses = seen.setdefault(operation.label, set())
            self.run_cases(strategy, statuses)
        return seen

    def run_cases(self, strategy, statuses):

        @settings(max_examples=CASES, deadline=None, database=None, print_blob=True,
                  phases=[Phase.explicit, Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def one(case):
            answer = case.call(base_url=self.server.url, timeout=api_server.DEADLINE)
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=[
                not_a_server_error, status_code_conformance, content_type_conformance,
                response_schema_conformance])
        with contextlib.redirect_stdout(io.StringIO()):
            one()

    def test_what_the_file_allows(self):
        seen = self.check(schemathesis.GenerationMode.POSITIVE)
        for label, statuses in seen.items():
            self.assertTrue(statuses, label)
        for label in ("POST /v1/completions", "POST /tokenize", "GET /v1/models"):
            self.assertIn(200, seen[label], label)

    def test_what_it_does_not_allow(self):
        seen = self.check(schemathesis.GenerationMode.NEGATIVE)
        for label in ("POST /v1/chat/completions", "POST /v1/completions", "POST /tokenize"):
            self.assertIn(400, seen[label], label)


if __name__ == "__main__":
    api_server.main()
