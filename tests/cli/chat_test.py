"""`tandem chat`: turns, commands, interruption."""

import os
import signal
import subprocess
import time

import program


class Chat(program.ProgramTest):
    def chat(self, lines, *arguments):
        return self.output("chat", self.model, "-m", 6, *arguments, stdin=lines).decode()

    def answer(self, prompt):
        return self.json("generate", self.model, "-p", prompt, "-m", 6)["text"]

    def test_each_turn_sees_the_turns_before(self):
        first = self.answer("hello")
        second = self.answer("hello" + first + "more")
        self.assertEqual(self.chat(b"hello\nmore\n"), f"{first}\n{second}\n")

    def test_exit_ends_and_the_rest_is_not_read(self):
        self.assertEqual(self.chat(b"hello\n/exit\nmore\n"), self.answer("hello") + "\n")

    def test_reset_forgets(self):
        self.assertEqual(self.chat(b"hello\n/reset\nmore\n"),
                         f"{self.answer('hello')}\n{self.answer('more')}\n")

    def test_the_system_prompt_stays(self):
        answered = self.chat(b"/reset\nb\n", "--system-prompt", "a")
        self.assertEqual(answered, self.answer("ab") + "\n")

    def test_a_last_line_without_end_and_empty_lines(self):
        self.assertEqual(self.chat(b"\n  \nhello"), self.answer("hello") + "\n")
        self.assertEqual(self.chat(b""), "")

    def test_a_line_that_cannot_be_answered_is_forgotten(self):
        done = self.run_tandem("chat", self.model, "-m", 6,
                               stdin=b"a" * (program.CONTEXT + 1) + b"\n\xff\nhello\n")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout.decode(), self.answer("hello") + "\n")
        self.assertIn(b"longer than the context", done.stderr)
        self.assertIn(b"not valid UTF-8", done.stderr)

    def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(self):
        process = self.start("chat", self.model, "-m", 60000, stdin=subprocess.PIPE)
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        process.stdin.write(b"/exit\n")
        out, errors = process.communicate(timeout=program.DEADLINE)
        self.assertEqual(process.returncode, 0, errors)
        self.assertTrue(out.endswith(b"\n"))

    def test_ctrl_c_during_a_long_prefill_leaves_the_ranks_able_to_answer(self):
        process = self.start("chat", self.model, "-m", 6, "--ranks", 2, "--temp", 0,
                             stdin=subprocess.PIPE)
        process.stdin.write(b"a" * 60000 + b"\n")
        process.stdin.flush()
        self.read_until(process.stderr, b"Ctrl-C stops an answer")
        time.sleep(0.3)  # some ticks are on their way
        process.send_signal(signal.SIGINT)
        self.assertEqual(os.read(process.stdout.fileno(), 1), b"\n")  # nothing was answered
        time.sleep(3)  # longer than a rank may be silent
        process.stdin.write(b"/reset\nhello\n/exit\n")
        out, errors = process.communicate(timeout=program.DEADLINE)
        self.assertEqual(process.returncode, 0, errors)
        self.assertEqual(out.decode(), self.answer("hello") + "\n")

    def read_until(self, stream, words):
        seen = b""
        while words not in seen:
            more = os.read(stream.fileno(), 1 << 16)
            self.assertTrue(more, seen)
            seen += more


if __name__ == "__main__":
    program.main()
