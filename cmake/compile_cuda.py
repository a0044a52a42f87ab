"""Compiles the GPU kernels with NVRTC and writes a source that embeds them.

    python3 cmake/compile_cuda.py LIBNVRTC src/cuda/kernels/program.cu CUBIN SOURCE

Beside program.cu lies program.txt with a line for each kernel: its name for the host, and the
instance of a template.
"""
import ctypes
import sys
from pathlib import Path

ARCHITECTURE = "sm_90a"  # src/cuda/program.h says so too
SOURCE = """// Made by cmake/compile_cuda.py from src/cuda/kernels.
#include "cuda/program.h"

asm(R"(
  .pushsection .rodata
  .balign 64
  .globl tandem_cuda_cubin
  .hidden tandem_cuda_cubin
tandem_cuda_cubin:
  .incbin "{cubin}"
  .globl tandem_cuda_cubin_end
  .hidden tandem_cuda_cubin_end
tandem_cuda_cubin_end:
  .popsection
)");

extern "C" {{
extern const std::byte tandem_cuda_cubin[];
extern const std::byte tandem_cuda_cubin_end[];
}}

namespace tandem::cuda {{
namespace {{

constexpr ProgramEntry kEntries[] = {{
{rows}}};

}}  // namespace

Program program() {{
  return {{{{tandem_cuda_cubin, tandem_cuda_cubin_end}}, kEntries}};
}}

}}  // namespace tandem::cuda
"""


class Compiler:
    def __init__(self, library):
        # NVRTC opens its library of builtins by name, wherever the loader looks; here it is found.
        for builtins in library.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(library))
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        self.program = ctypes.c_void_p()

    def call(self, name, *args):
        code = getattr(self.lib, name)(*args)
        if code != 0:
            log = self.read("ProgramLog").decode(errors="replace") if self.program else ""
            sys.exit(f"{name}: {self.lib.nvrtcGetErrorString(code).decode()}\n{log}")

    def read(self, what):
        size = ctypes.c_size_t()
        getattr(self.lib, f"nvrtcGet{what}Size")(self.program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        getattr(self.lib, f"nvrtcGet{what}")(self.program, content)
        return content.raw

    def compile(self, source, options, instances):
        self.call("nvrtcCreateProgram", ctypes.byref(self.program), source.read_bytes(),
                  str(source).encode(), 0, None, None)
        for instance in instances:
            self.call("nvrtcAddNameExpression", self.program, instance.encode())
        texts = [option.encode() for option in options]
        self.call("nvrtcCompileProgram", self.program, len(texts),
                  (ctypes.c_char_p * len(texts))(*texts))
        return self.read("CUBIN")

    def symbol(self, instance):
        name = ctypes.c_char_p()
        self.call("nvrtcGetLoweredName", self.program, instance.encode(), ctypes.byref(name))
        return name.value.decode()


def main():
    library, program, cubin, source = (Path(each) for each in sys.argv[1:])
    lines = program.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    instances = dict(line.split(" ", 1) for line in lines)
    compiler = Compiler(library)
    options = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++20", "--diag-suppress=128",
               "--device-as-default-execution-space", f"--include-path={program.parent}"]
    cubin.write_bytes(compiler.compile(program, options, instances.values()))
    rows = "".join(f'    {{"{name}", "{compiler.symbol(each)}"}},\n'
                   for name, each in instances.items())
    source.write_text(SOURCE.format(cubin=cubin, rows=rows), encoding="utf-8")


if __name__ == "__main__":
    main()
