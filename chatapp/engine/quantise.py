"""Re-quantise a GGUF file with llama.cpp, in a process of its own: a bad file may end that one.

python -m chatapp.engine.quantise SOURCE TARGET FILE_TYPE THREADS
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.child import command, environment, signal_name

FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
"""What can be asked for -> llama.cpp's number of it."""


def quantise(source: Path, target: Path, quantisation: str, threads: int = 1) -> Path:
    """Write `source` as `quantisation` (of `FILE_TYPES`) to `target`. Errors: `ModelError`."""
    if quantisation not in FILE_TYPES:
        known = ", ".join(FILE_TYPES)
        raise ModelError(f"no quantisation is called {one_line(quantisation, 30)}", f"choose one of {known}")
    asked = [*command(__name__), str(source), str(target), quantisation, str(threads)]
    done = subprocess.run(asked, capture_output=True, env=environment(), check=False)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = one_line(lines[-1], 160) if lines else f"it ended with {done.returncode}"
        if done.returncode < 0:
            why = f"it was ended by {signal_name(-done.returncode)}"
        raise ModelError(f"llama.cpp cannot quantise {one_line(source.name, 80)}: {why}")
    return target


def main() -> None:
    source, target, quantisation, threads = sys.argv[1:]
    from llama_cpp import llama_cpp as lib

    lib.llama_backend_init()
    settings = lib.llama_model_quantize_default_params()
    settings.ftype = FILE_TYPES[quantisation]
    settings.nthread = int(threads)
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), settings) != 0:
        sys.exit("quantisation failed")


if __name__ == "__main__":
    main()
