"""Set up `.venv` with this project in it, and say plainly what is missing. Used by the Makefile.

    python3 .ci/set_up.py [EXTRA ...]

Touches nothing outside the checkout but pip's own cache. llama-cpp-python is compiled once; pip keeps the
wheel, so later set-ups take seconds. LLAMA_WHEELS=URL adds an index of prebuilt wheels.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOG = VENV / "set-up.log"
PREBUILT = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
INSTALL_HINT = {
    "Linux": "sudo apt install git cmake g++ python3-venv",
    "Darwin": "xcode-select --install && brew install cmake python@3.12",
}


def main() -> int:
    extras = sorted(set(sys.argv[1:]))
    missing = find_missing()
    if missing:
        for line in missing:
            print("missing: " + line, file=sys.stderr)
        print("hint: " + INSTALL_HINT.get(platform.system(), "install what is missing"), file=sys.stderr)
        return 1
    if not (ROOT / "models" / "default" / "guide.gguf").exists():
        print("missing: models/default/guide.gguf, the embedded model", file=sys.stderr)
        print("hint: git checkout -- models/default", file=sys.stderr)
        return 1
    stamp = VENV / (".ready-" + "-".join(["base", *extras]))
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    try:
        make_venv()
        install_llama()
        target = str(ROOT) + ("[" + ",".join(extras) + "]" if extras else "")
        install("chatapp and what it needs", ["--editable", target])
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return 130
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd} failed; the log is {LOG}", file=sys.stderr)
        return 1
    stamp.write_text(wanted)
    return 0


def find_missing() -> list:
    missing = []
    if sys.version_info < (3, 11):  # noqa: UP036 - this file must start on an older one to say so
        missing.append(f"Python 3.11 or later (this is {platform.python_version()})")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append("Python's venv module (Debian: python3-venv)")
    if not compiler() and not os.environ.get("LLAMA_WHEELS"):
        missing.append("a C++ compiler (llama.cpp is compiled on this machine), or LLAMA_WHEELS=" + PREBUILT)
    return missing


def compiler():
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def make_venv() -> None:
    if not (VENV / "bin" / "python").exists():
        print("making .venv", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    LOG.write_text("")


def install_llama() -> None:
    pin = re.search(r"llama-cpp-python==([\w.]+)", (ROOT / "pyproject.toml").read_text()).group(0)
    probe = [python(), "-c", "import importlib.metadata as m; print(m.version('llama-cpp-python'))"]
    have = subprocess.run(probe, capture_output=True, text=True).stdout.strip()
    if pin.endswith("==" + have):
        return
    arguments = [pin]
    if wheels := os.environ.get("LLAMA_WHEELS"):
        arguments += ["--extra-index-url", wheels, "--prefer-binary"]
    else:
        print(
            "llama.cpp is compiled for this machine now, once: about 5 minutes on 2 cores.\n"
            "Where its wheel index can be reached, a prebuilt one takes seconds:\n"
            "  make chat LLAMA_WHEELS=" + PREBUILT,
            flush=True,
        )
    install("llama.cpp", arguments, {**os.environ, "CMAKE_ARGS": cmake_arguments()})


def cmake_arguments() -> str:
    """CMake flags for llama.cpp; what the user set goes first.

    AMX kernels are left out on x86: built by GCC 12 they crash on quantised files (ggml-org/llama.cpp#20824).
    """
    given = os.environ.get("CMAKE_ARGS", "")
    flags = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    if platform.machine() in ("x86_64", "AMD64") and "C_FLAGS" not in given and compiler_takes(flags):
        given += f" -DCMAKE_C_FLAGS='{flags}' -DCMAKE_CXX_FLAGS='{flags}'"
    return given.strip()


def compiler_takes(flags: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text("int main() { return 0; }\n")
        command = [*(compiler() or "c++").split(), *flags.split(), "-c", str(source), "-o", f"{source}.o"]
        return subprocess.run(command, capture_output=True).returncode == 0


def install(what: str, arguments: list, environment=None) -> None:
    """pip install with one line that moves: the compiler's own count where there is one, else the time."""
    command = [python(), "-m", "pip", "install", "--verbose", "--disable-pip-version-check", *arguments]
    started = time.monotonic()
    shown = -1.0
    with LOG.open("a", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        assert process.stdout is not None
        tail = []
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-14:], line.rstrip()]
            seconds = time.monotonic() - started
            built = re.search(r"\[(\d+)/(\d+)\]", line)
            step = 0.5 if sys.stdout.isatty() else 20.0
            if seconds - shown < step:
                continue
            shown = seconds
            count = "compiling {}/{}".format(*built.groups()) if built else "working"
            say(f"installing {what}: {count}, {seconds:.0f} s")
        code = process.wait()
    result = "done" if code == 0 else "failed"
    say(f"installing {what}: {result} in {time.monotonic() - started:.0f} s")
    if sys.stdout.isatty():
        print(flush=True)
    if code:
        print("\n".join(tail), file=sys.stderr)
        raise subprocess.CalledProcessError(code, "installing " + what)


def say(text: str) -> None:
    if sys.stdout.isatty():
        print("\r\033[K" + text, end="", flush=True)
    else:
        print(text, flush=True)


def python() -> str:
    return str(VENV / "bin" / "python")


if __name__ == "__main__":
    sys.exit(main())
