"""How serving.py starts each server on the same shape with the same threads."""

import contextlib
import dataclasses
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from lines import free_port

START_SECONDS_MAX = 60


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is served and how; `folder` is prepare.py's."""

    folder: Path
    tandem: str
    model: Path  # what tandem and mlx-lm serve
    threads: int
    streams: int  # most at once
    tokens: int  # of a prompt and its answer
    prefix: tuple = ()  # what the server is started under, such as chrt -f 10


def tandem(setting, port):
    return [setting.tandem, "serve", setting.model, "--port", port, "--threads", setting.threads,
            "--max-sequences", setting.streams]


def llama_server(setting, port):
    """A slot for each stream; ended prompts are not kept, which here costs and never helps."""
    return [setting.folder / "bin" / "llama-server", "-m", setting.folder / "llama-1b-q4_0.gguf",
            "--port", port, "-t", setting.threads, "-np", setting.streams, "-c",
            setting.streams * setting.tokens, "--cache-ram", 0, "--no-webui"]


def mlx_lm_server(setting, port):
    return [setting.folder / "venv" / "bin" / "python", "-m", "mlx_lm", "server", "--model",
            setting.model, "--port", port]


@dataclasses.dataclass(frozen=True)
class Kind:
    command: object  # of (setting, port)
    ready: str  # a path that answers 200 when requests do
    flags: tuple = ()  # of `tandem bench serve`


SERVERS = {
    "tandem": Kind(tandem, "/health"),
    "llama-server": Kind(llama_server, "/health"),
    "mlx_lm.server": Kind(mlx_lm_server, "/health", ("--model", "default_model")),
}


def answers(url):
    """urllib's own proxies are left out: the server is here."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=2) as got:
        return got.status == 200
    return False


@contextlib.contextmanager
def running(name, setting, log):
    """The URL of a server that is ready; its words go to the file `log`."""
    kind, port = SERVERS[name], free_port()
    command = [*setting.prefix, *kind.command(setting, port)]
    server = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS_MAX
        while not answers(url + kind.ready):
            if server.poll() is not None:
                raise SystemExit(f"{name} ended at once; {log.name} has its words")
            if time.monotonic() > end:
                raise SystemExit(f"{name} was not ready within {START_SECONDS_MAX} s")
            time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()
