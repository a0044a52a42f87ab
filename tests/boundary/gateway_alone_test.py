"""gateway_alone runs, and is linked with neither MLX nor gRPC nor protobuf."""

import subprocess
import sys

program = sys.argv[1]
lister = ["otool", "-L"] if sys.platform == "darwin" else ["ldd"]
libraries = subprocess.run([*lister, program], check=True, capture_output=True, text=True).stdout
foreign = [line.strip() for line in libraries.splitlines()
           if any(name in line for name in ("mlx", "grpc", "protobuf"))]
if foreign:
    sys.exit("linked with " + ", ".join(foreign))
subprocess.run([program], check=True)
