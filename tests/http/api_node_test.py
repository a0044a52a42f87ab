"""The `openai` package of npm against `tandem serve`."""

import pathlib
import subprocess

import api_server

HERE = pathlib.Path(__file__).parent
MODULES = HERE.parent.parent / ".deps/http-npm/node_modules"


class Node(api_server.ServerTest):
    def test_the_npm_package(self):
        self.assertTrue(MODULES.is_dir(), "tools/setup/setup.sh test installs it")
        done = subprocess.run(["node", HERE / "api_node.cjs", self.server.url, MODULES],
                              capture_output=True, text=True, timeout=api_server.DEADLINE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("ok "), 5)


if __name__ == "__main__":
    api_server.main()
