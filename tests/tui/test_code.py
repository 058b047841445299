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


async def test_code_with_tabs_is_coloured_as_with_spaces(open_chat: Open) -> None:
    code = "def f(x):\n{0}if x:\n{0}{0}return {1}  # no\n{0}return 'b'"
    tabs, spaces = (
        f"```python\n{code.format(indent, text)}\n```" for indent, text in (("\t", "'a'"), ("    ", "'a'"))
    )
    async with open_chat(script=[tabs, spaces]) as chat:
        await chat.send("hello")
        await chat.send("again")
        views = [view for view in chat.screen.transcript.views if view.message.role == "assistant"]
        drawn = []
        for view in views:
            label = view.query_one("#code-content")
            drawn.append(
                [
                    [(segment.text, segment.style) for segment in label.render_line(y)]
                    for y in range(label.size.height)
                ]
            )
        assert drawn[0] == drawn[1]
        assert views[0].text == tabs
