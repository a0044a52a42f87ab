"""What is measured, and how: every line is a function of Tools that measures once.

It returns {"prompt_tps", "decode_tps"} as far as the run had either, tokens a second, and what else
a reader of the results may want to know.
"""

import contextlib
import dataclasses
import json
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS_MAX = 20  # of an RPC server
RUN_SECONDS_MAX = 300  # of one measurement
SERVERS = 2
SHORT_TOKENS = 8


@dataclasses.dataclass(frozen=True)
class Tools:
    """Where everything is; `folder` is prepare.py's."""

    folder: Path
    tandem: str
    model: Path  # what tandem and mlx-lm run
    short: bool = False  # few tokens: shows that the scripts work, measures nothing

    def tokens(self, count):
        return min(count, SHORT_TOKENS) if self.short else count


def output(command):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          timeout=RUN_SECONDS_MAX)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr.strip()}")
    return done.stdout


def tandem(prompt, generate, *flags, model=None):
    """`tandem bench`: one run after one that is not measured."""

    def measure(tools):
        folder = tools.model if model is None else tools.folder / model
        got = json.loads(output([tools.tandem, "bench", folder, "-p", tools.tokens(prompt), "-n",
                                 tools.tokens(generate), "-r", 1, "--json", *flags]))
        result = {"prompt_tps": got["prompt_tps"]["median"],
                  "weight_bytes": got["weight_bytes_per_token"],
                  "read_bytes_per_second": got["read_bytes_per_second"]}
        if got["decode_tps"] is not None:
            result["decode_tps"] = got["decode_tps"]["median"]
        return result

    return measure


def tandem_context(context, *flags):
    """Decode after a context, three times, each right behind decode after a few tokens: `cost` is
    of such pairs, because a shared machine changes its speed within seconds."""

    def measure(tools):
        got = json.loads(output([tools.tandem, "bench", tools.model, "--contexts",
                                 tools.tokens(context), "-n", tools.tokens(32), "-r", 3, "--json",
                                 *flags]))
        found, = got["contexts"]
        return {"decode_tps": found["decode_tps"]["median"], "cost": found["cost"]["median"],
                "kv_bytes_per_token": got["kv_bytes_per_token"]}

    return measure


def llama_bench(threads, *flags):
    """llama-bench: one repetition after its warm-up."""

    def measure(tools):
        got, = json.loads(output([tools.folder / "bin" / "llama-bench", "-m",
                                  tools.folder / "llama-1b-q4_0.gguf", "-t", threads, "-r", 1,
                                  "-o", "json", *flags]))
        kind = "prompt_tps" if got["n_prompt"] > 0 else "decode_tps"
        return {kind: got["avg_ts"], "build": got["build_commit"]}

    return measure


def llama_batch(threads, sequences):
    def measure(tools):
        text = output([tools.folder / "bin" / "llama-batched-bench", "-m",
                       tools.folder / "llama-1b-q4_0.gguf", "-t", threads, "-c", 1024, "-npp", 16,
                       "-ntg", 32, "-npl", sequences, "--output-format", "jsonl"])
        got, = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return {"prompt_tps": got["speed_pp"], "decode_tps": got["speed_tg"]}

    return measure


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_listens(server, port):
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit("llama.cpp's RPC server ended at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"llama.cpp's RPC server did not listen within {START_SECONDS_MAX} s")


def llama_rpc(*flags):
    """llama-bench with the layers on two RPC servers of one thread each."""

    def measure(tools):
        ports = [free_port() for _ in range(SERVERS)]
        servers = [subprocess.Popen([tools.folder / "bin" / "ggml-rpc-server", "-H", "127.0.0.1",
                                     "-p", str(port), "-t", "1"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for port in ports]
        try:
            for server, port in zip(servers, ports):
                wait_until_it_listens(server, port)
            addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
            return llama_bench(1, "--rpc", addresses, "-ngl", 99, *flags)(tools)
        finally:
            for server in servers:
                server.kill()
                server.wait()

    return measure


def mlx_lm(dtype, prompt, generate):
    """mlx-lm's own generation loop, in the venv of prepare.py."""

    def measure(tools):
        return json.loads(output([tools.folder / "venv" / "bin" / "python",
                                  HERE / "mlx_lm_speed.py", tools.model, "--dtype", dtype, "-p",
                                  prompt, "-n", generate]))

    return measure


LLAMA_DECODE = ("-p", 0, "-n", 64)
LLAMA_PROMPT = ("-p", 512, "-n", 0)
TWO_RANKS = ("--ranks", 2, "--threads", 1)

LINES = {
    "decode-1": tandem(16, 64, "--threads", 1),
    "llama-decode-1": llama_bench(1, *LLAMA_DECODE),
    "decode-2": tandem(16, 64, "--threads", 2),
    "llama-decode-2": llama_bench(2, *LLAMA_DECODE),
    "prompt-1": tandem(512, 1, "--threads", 1),
    "llama-prompt-1": llama_bench(1, *LLAMA_PROMPT),
    "prompt-2": tandem(512, 1, "--threads", 2),
    "llama-prompt-2": llama_bench(2, *LLAMA_PROMPT),
    "batch-8": tandem(16, 32, "--threads", 2, "--concurrency", 8),
    "llama-batch-8": llama_batch(2, 8),
    "context-1024": tandem_context(1024, "--threads", 2),
    "llama-context-1024": llama_bench(2, "-p", 0, "-n", 32, "-d", 1024),
    "context-8192": tandem_context(8192, "--threads", 2),
    "context-8192-kv8": tandem_context(8192, "--threads", 2, "--kv-bits", 8),
    "ranks-one": tandem(16, 64, *TWO_RANKS),
    "ranks-two": tandem(16, 64, *TWO_RANKS, "--concurrency", 2),
    "ranks-prompt": tandem(512, 1, *TWO_RANKS),
    "llama-rpc-decode": llama_rpc(*LLAMA_DECODE),
    "llama-rpc-prompt": llama_rpc(*LLAMA_PROMPT),
    "moe": tandem(16, 32, "--threads", 2, model="qwen3-moe"),
    "latent": tandem(16, 32, "--threads", 2, model="deepseek-v3"),
    "mlx-lm": mlx_lm("stored", 2, 1),
    "mlx-lm-f32": mlx_lm("f32", 9, 3),
}
