"""A real terminal for end-to-end tests: a pty, and pyte as the emulator that draws what is written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "backspace": "\x7f",
    "f1": "\x1bOP",
}


class Terminal:
    """Runs one program in a terminal of `columns` x `rows`; use as a context manager."""

    USUAL_MODES = frozenset({7, 25})
    """Lines wrap, the cursor is shown; no alternate screen, no reports of mouse, focus and paste."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self.started = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color"})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._ended:
            self.kill()
        if not self._closed:
            self._reader.join(5)
            os.close(self._fd)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            with self._changed:
                if data:
                    self._stream.feed(data)
                else:
                    self._ended = True
                self._changed.notify_all()
            if not data or self._closed:
                return

    @property
    def text(self) -> str:
        """What stands on the screen now."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def modes(self) -> frozenset[int]:
        """The private modes (DEC) that are on now, by their numbers."""
        with self._changed:
            return frozenset(mode >> 5 for mode in self._screen.mode if mode >= 32)

    def press(self, *keys: str) -> None:
        """Names from `KEYS`, `ctrl+x`, or literal text, one after the other."""
        for key in keys:
            if key.startswith("ctrl+"):
                os.write(self._fd, bytes([ord(key[-1].upper()) - 64]))
            else:
                os.write(self._fd, KEYS.get(key, key).encode())
            time.sleep(0.03)  # an escape and the key after it must not arrive as one sequence

    def send(self, data: bytes) -> None:
        """All at once, as the terminal sends a paste."""
        os.write(self._fd, data)

    def wait(self, until: str | Callable[[str], bool], seconds: float = 30.0) -> str:
        """Wait until the text is on the screen (or the predicate holds of it) and return the screen."""
        met = (lambda screen: until in screen) if isinstance(until, str) else until
        deadline = time.monotonic() + seconds
        while True:
            screen = self.text
            if met(screen):
                return screen
            left = deadline - time.monotonic()
            if left <= 0 or self._ended:
                raise AssertionError(f"not seen within {seconds} s: {until!r}\n{screen}")
            with self._changed:
                self._changed.wait(min(left, 0.1))

    def wait_end(self, seconds: float = 15.0) -> int:
        """Exit status once the program has ended by itself."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended = True
                self._reader.join(5)  # what it wrote last
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"still running after {seconds} s\n{self.text}")

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer would."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._ended = True

    def hang_up(self) -> None:
        """Close the terminal under the program, as closing a window does."""
        self._closed = True
        self._reader.join(10)  # after what the program draws next: its cursor blinks
        os.close(self._fd)
