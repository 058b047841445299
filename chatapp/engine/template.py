"""Runs a model file's chat template, which is a program by a stranger, in Jinja's sandbox with limits."""

from __future__ import annotations

import contextlib
import datetime
import re
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from chatapp.core.errors import ChatappError, ModelError
from chatapp.core.sanitize import one_line

if TYPE_CHECKING:
    from jinja2 import Template

MAX_TEMPLATE = 256 * 1024
"""Characters. The longest template in use is about 20,000."""
MAX_OUTPUT = 1024 * 1024
"""Characters, of the frame around the turns: their texts are put in later."""
SECONDS = 1.0
"""Of processor time."""
_MEMORY = 512 * 2**20
_MAX_INTEGER_BITS = 4096
_MASK_TAGS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Tags that transformers reads to find the replies; they write nothing."""


class TemplateRefused(ModelError):
    """The template itself said that it does not take this conversation (`raise_exception`)."""


class _TooSlow(BaseException):
    """Not an Exception, so that nothing in a template or a filter can catch it."""


def render(
    source: str,
    messages: Sequence[dict[str, str]],
    *,
    bos: str,
    eos: str,
    reply: bool,
    seconds: float = SECONDS,
) -> str:
    """The text that the template makes of `messages`; `reply` asks it to open the assistant's turn.

    Errors: `TemplateRefused` when it raises by itself; `ModelError` when it is broken, too slow or too large.
    """
    from jinja2 import TemplateError

    if len(source) > MAX_TEMPLATE:
        raise ModelError(f"the chat template is too large ({len(source)} characters)")
    try:
        with _limits(seconds):
            template = _compiled(source)
            pieces: list[str] = []
            length = 0
            for piece in template.generate(
                messages=[dict(each) for each in messages],
                add_generation_prompt=reply,
                bos_token=bos,
                eos_token=eos,
                tools=None,
                documents=None,
                # Thoughts would be shown as the reply, and use up its tokens; templates that know no such
                # switch ignore it.
                enable_thinking=False,
                raise_exception=_refuse,
                strftime_now=_now,
            ):
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise ModelError("the chat template writes without end")
                pieces.append(piece)
            return "".join(pieces)
    except _TooSlow:
        raise ModelError(f"the chat template took longer than {seconds:g} s") from None
    except ChatappError:
        raise
    except TemplateError as error:
        raise ModelError(f"the chat template is broken: {one_line(str(error), 120)}") from error
    except MemoryError:
        raise ModelError("the chat template needs too much memory") from None
    except Exception as error:
        raise ModelError(
            f"the chat template failed ({type(error).__name__}: {one_line(str(error), 100)})"
        ) from error


def _refuse(message: object = "") -> NoReturn:
    raise TemplateRefused(f"the chat template refuses: {one_line(str(message), 120)}")


def _now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(str(form)[:100])


@lru_cache(maxsize=4)
def _compiled(source: str) -> Template:
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """Refuses the operators that make one step take for ever."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or any(
                isinstance(each, int) and each.bit_length() > _MAX_INTEGER_BITS for each in (left, right)
            ):
                raise SecurityError("powers and huge integers are not allowed")
            return super().call_binop(context, operator, left, right)

    # trim_blocks and lstrip_blocks are how models' templates are written to be read.
    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    return sandbox.from_string(_MASK_TAGS.sub("", source))


@contextlib.contextmanager
def _limits(seconds: float) -> Iterator[None]:
    """Stop this thread's Python code after `seconds`, and keep the process from growing by much meanwhile."""
    # Processor time: a busy machine must not make a good template look slow.
    deadline = time.thread_time() + seconds

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > deadline:
            raise _TooSlow
        return trace

    before = sys.gettrace()
    with _memory_limit(_MEMORY):
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)


@contextlib.contextmanager
def _memory_limit(growth: int) -> Iterator[None]:
    """Make allocations fail once the address space has grown by `growth` bytes, where that can be known."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + growth
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
