"""The terminal of Linux and macOS: driven by Textual, but for what comes from it and how it ends."""

from __future__ import annotations

import os
import signal
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from typing import Any, TextIO

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from chatapp.tui.paste import WholePasteParser


class TerminalDriver(LinuxDriver):
    """A paste comes whole, bytes that are no UTF-8 are replaced, and the program ends in order when it is
    told to by SIGTERM or when the terminal closes, with the exit code that a shell gives for the signal."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file: Any = _Output(self._file)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._end, number)

    def _end(self, number: signal.Signals) -> None:
        self._app.exit(return_code=128 + number)

    def run_input_thread(self) -> None:
        parser = WholePasteParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        while not self.exit_event.is_set():
            if select([self.fileno], [], [], 0.1)[0]:
                data = b""
                with suppress(OSError):
                    data = os.read(self.fileno, 4096)
                if not data:  # the terminal is gone
                    self._loop.call_soon_threadsafe(self._end, signal.SIGHUP)
                    return
                if text := decode(data):  # none: the beginning of a character
                    for message in parser.feed(text):
                        self.process_message(message)
            for message in parser.tick():
                self.process_message(message)


class _Output:
    """Once the terminal is gone, what is written to it is dropped: its writer must outlive it, as all that
    is drawn waits for it, and so must the interpreter's last flush, which else changes the exit code."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.fileno = file.fileno

    def write(self, text: str) -> None:
        with self._unless_gone():
            self._file.write(text)

    def flush(self) -> None:
        with self._unless_gone():
            self._file.flush()

    @contextmanager
    def _unless_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
