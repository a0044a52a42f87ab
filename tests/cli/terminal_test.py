"""What a person at a terminal sees: the loading bar, and a conversation with its keys."""

import os
import pty
import select
import time

import program

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal(program.ProgramTest):
    def open(self, *arguments):
        pid, self.screen = pty.fork()
        if pid == 0:
            os.execve(program.Options.tandem,
                      [program.Options.tandem, *map(str, arguments)], self.environment)
        self.addCleanup(os.close, self.screen)
        self.pid, self.seen = pid, b""

    def see(self, words):
        """Reads until the words appear; what was seen before them is forgotten."""
        deadline = time.monotonic() + program.DEADLINE
        while words not in self.seen:
            self.assertLess(time.monotonic(), deadline, f"no {words} in {self.seen}")
            self.read()
        before, _, self.seen = self.seen.partition(words)
        return before

    def see_prompt(self):
        """The help line and then the prompt; the loading bar has a "> " of its own."""
        self.see(b"/exit or Ctrl-D ends")
        self.see(b"\r\n> ")

    def read(self):
        ready, _, _ = select.select([self.screen], [], [], 0.1)
        if not ready:
            return True
        try:
            more = os.read(self.screen, 1 << 16)
        except OSError:  # Linux: the other end is closed
            return False
        self.seen += more
        return bool(more)

    def exit_code(self):
        while self.read():
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def type(self, keys):
        os.write(self.screen, keys)

    def test_the_loading_bar_is_drawn_and_removed(self):
        self.open("generate", self.model, "-p", "hi", "-m", 5)
        self.see(b"loading [")
        bar = self.see(b"\r\x1b[K")
        self.assertIn(b"%", bar)
        self.see(b"rank 0 on local: layers 0 to 2 of 3")
        self.see(b"tok/s")
        self.assertEqual(self.exit_code(), 0)

    def test_a_conversation(self):
        self.open("chat", self.model, "-m", 5)
        self.see_prompt()
        self.type(b"hello\n")
        self.see(b"hello\r\n")
        self.see(b"\r\n> ")
        self.type(CTRL_C)
        self.see_prompt()
        self.type(b"/help\n")
        self.see_prompt()
        self.type(CTRL_D)
        self.assertEqual(self.exit_code(), 0)

    def test_ctrl_c_stops_an_endless_answer(self):
        self.open("chat", self.model, "-m", 60000)
        self.see_prompt()
        self.type(b"hello\n")
        self.see(b"hello\r\n")
        while len(self.seen) < 100:
            self.read()
        self.type(CTRL_C)
        self.see(b"\r\n> ")
        self.type(b"/exit\n")
        self.assertEqual(self.exit_code(), 0)

    def test_a_prompt_is_asked_for(self):
        self.open("generate", self.model, "-m", 3)
        self.see(b"Ctrl-D ends it")
        self.type(b"hi\n" + CTRL_D)
        self.see(b"prompt: 3 tokens")
        self.assertEqual(self.exit_code(), 0)


if __name__ == "__main__":
    program.main()
