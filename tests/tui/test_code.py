"""Code in replies: long lines are wrapped, as a terminal has no room beside its edge."""

from __future__ import annotations

import pytest

from .conftest import Chat, Open

CALL = "    print(" + ", ".join(f"name{n}" for n in range(20)) + ")"
STRING = "    text = '" + "abcdefghij" * 12 + "'"
CODE = f"Here:\n\n```python\ndef all_of_it():\n{CALL}\n{STRING}\n```"


def all_is_shown(chat: Chat) -> bool:
    text = "".join("".join(line.split()) for line in chat.shown().splitlines())
    text = text.translate(str.maketrans("", "", "▌│▁▂▃▄▅▆▇█"))
    return "".join(CALL.split()) in text and "".join(STRING.split()) in text


@pytest.mark.parametrize("width", [40, 80, 120])
async def test_long_lines_of_code_are_wrapped(open_chat: Open, width: int) -> None:
    async with open_chat(size=(width, 30), script=[CODE]) as chat:
        await chat.send("hello")
        await chat.until(lambda: all_is_shown(chat))
        await chat.until(lambda: "    print(name0" in chat.shown())  # indented as it was


async def test_long_lines_of_code_are_wrapped_in_lanes(open_chat: Open) -> None:
    async with open_chat(size=(80, 50), script=[CODE, "short", "brief", "terse"]) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: all_is_shown(chat))
