"""Prepares what run.py measures, in a folder outside the checkout; see README.md beside this file.

    python3 bench/peers/prepare.py FOLDER [--jobs 2]

What is there already is kept, so that an interrupted run goes on where it stopped.
"""

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LLAMA_CPP_PYTHON = "llama-cpp-python==0.3.36"
PROGRAMS = ("llama-bench", "llama-batched-bench", "ggml-rpc-server", "llama-server")
SHAPES = ("llama-1b", "qwen3-moe", "deepseek-v3")
OPTIONS = ("-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DGGML_RPC=ON",
           "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_TESTS=OFF",
           "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_UI=OFF",
           "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF")


def run(*command, **environment):
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True,
                   env={**os.environ, **{k: str(v) for k, v in environment.items()}})


def pinned(package):
    """The requirement that the project's tests pin."""
    text = (REPOSITORY / "tests" / "oracle" / "requirements.txt").read_text()
    return next(line for line in text.split() if line.startswith(package + "=="))


def make_venv(folder):
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder / "venv")
    run(python, "-m", "pip", "install", "--quiet", pinned("mlx[cpu]"), pinned("mlx-lm"),
        pinned("numpy"), pinned("transformers"), "pyyaml", "tqdm", "requests")
    return python


def unpack_llama_cpp(folder, python):
    """The source tree of llama.cpp inside the sdist."""
    unpacked = folder / "sdist"
    if not unpacked.exists():
        run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
            "--dest", folder, LLAMA_CPP_PYTHON)
        archive, = folder.glob("llama_cpp_python-*.tar.gz")
        partial = folder / "sdist.partial"
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(unpacked)
    source, = unpacked.glob("*/vendor/llama.cpp")
    return source


def build_llama_cpp(folder, source, jobs):
    build = folder / "build"
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", *OPTIONS)
    run("cmake", "--build", build, "-j", jobs, "--target", *PROGRAMS)
    link = folder / "bin"
    if not link.exists():
        link.symlink_to(Path("build") / "bin")


def write_models(folder, source, python):
    for shape in SHAPES:
        if not (folder / shape / "tokenizer_config.json").exists():
            run(sys.executable, REPOSITORY / "bench" / "random_model.py", shape, folder / shape)
    model = folder / "llama-1b-q4_0.gguf"
    if not model.exists():
        partial = model.with_suffix(".partial")
        run(python, HERE / "gguf_model.py", partial, PYTHONPATH=source / "gguf-py")
        partial.rename(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of the compiler")
    args = parser.parse_args()
    folder = args.folder.resolve()
    if folder == REPOSITORY or REPOSITORY in folder.parents:
        parser.error(f"{folder} lies inside the checkout")
    folder.mkdir(parents=True, exist_ok=True)
    python = make_venv(folder)
    source = unpack_llama_cpp(folder, python)
    write_models(folder, source, python)
    build_llama_cpp(folder, source, args.jobs)


if __name__ == "__main__":
    main()
