"""Pictures of every screen, for the documentation and for looking at them.

    python -m chatapp.tui.screenshots --out pictures        # a scripted engine: the same pictures every time
    python -m chatapp.tui.screenshots --out pictures --real # the embedded model

SVG files; PNG files beside them where `rsvg-convert` is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from textual.pilot import Pilot

from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Sampling
from chatapp.engine.base import Engine, Request
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.session import Session
from chatapp.session.wiring import House
from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen

SIZES = ((80, 24), (120, 36), (200, 50))
THEMES = ("chatapp-dark", "chatapp-light")

_ANSWERS: dict[str, tuple[str, ...]] = {
    "Where can I get a decent cortado near the lake?": (
        "Two places by Lake Merritt make one. Do you want to sit down, or take it with you?",
    ),
    "Sit down, with a friend.": (
        "Then the small one on Grand Avenue, it has tables by the window.",
        "There are many places where you can sit. Most cafés have chairs, and some have sofas. It depends on "
        "the time of day, and on how much noise the two of you like.",
        "Grand Avenue has two:\n\n- the corner one is **quiet**\n- the other has a garden\n\n"
        "Shall I compare them?",
        "What time do you want to meet? Before eleven both are half empty, after that only the one with the "
        "garden.",
    ),
    "How do I count the words of a file in Python?": (
        "Read it and split it at white space:\n\n```python\nfrom pathlib import Path\n\n"
        'words = Path("notes.txt").read_text().split()\nprint(len(words))\n```\n\n'
        "`split()` without an argument takes any run of white space as one separator.",
    ),
    "And the ten most frequent ones?": (
        "`collections.Counter` does it:\n\n```python\nfrom collections import Counter\n\n"
        'for word, times in Counter(words).most_common(10):\n    print(f"{times:6} {word}")\n```\n\n'
        "| step | what it does |\n| --- | --- |\n| `Counter(words)` | counts each word |\n"
        "| `most_common(10)` | sorts, takes ten |",
    ),
}
_OTHERS = (
    "Packing for four days in the rain",
    "A short toast for two people who met on a train",
    "Why is the sky white and not blue in winter",
    "Names for a cat that answers to none",
    "What to plant on a balcony that faces north",
    "Explain compound interest to a ten year old",
)


def _answer(request: Request, lane: int, seed: int) -> str:
    asked = request.turns[-1].text
    pool = _ANSWERS.get(asked, ("That is a good place to begin. What matters most to you in it?",))
    return pool[(lane + (1 if request.lanes > 1 else 0)) % len(pool)]


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    act: Callable[[Pilot[None]], Awaitable[None]]
    resume: bool = True
    """Whether a store with conversations is opened, or an empty one."""


async def until(pilot: Pilot[None], reached: Callable[[], bool], seconds: float = 60) -> None:
    """Let the program run until `reached`."""
    async with asyncio.timeout(seconds):
        while not reached():
            await pilot.pause(0.02)
    await pilot.pause()


def _chat(pilot: Pilot[None]) -> ChatScreen:
    screen = pilot.app.screen_stack[-1] if isinstance(pilot.app.screen_stack[-1], ChatScreen) else None
    return screen or next(each for each in pilot.app.screen_stack if isinstance(each, ChatScreen))


async def _nothing(pilot: Pilot[None]) -> None:
    await pilot.pause()


async def _compare(pilot: Pilot[None]) -> None:
    await pilot.press("ctrl+r")
    await until(pilot, lambda: (ranker := _chat(pilot).ranker) is not None and ranker.all_there)


async def _code(pilot: Pilot[None]) -> None:
    await _chat(pilot).open(len(_OTHERS) + 1)
    await pilot.pause(0.3)


async def _tags(pilot: Pilot[None]) -> None:
    await _ranked(pilot)
    await pilot.press("t")
    await until(pilot, lambda: len(pilot.app.screen_stack) > 2)
    await pilot.pause(0.3)


async def _ranking(pilot: Pilot[None]) -> None:
    await _compare(pilot)
    await pilot.press("3", "4")


async def _ranked(pilot: Pilot[None]) -> None:
    await _compare(pilot)
    await pilot.press("3", "4", "1")
    await until(pilot, lambda: _chat(pilot).ranker is None)


async def _editing(pilot: Pilot[None]) -> None:
    await pilot.press("up", "e")
    await until(pilot, lambda: len(pilot.app.screen_stack) > 2)


async def _palette(pilot: Pilot[None]) -> None:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: len(pilot.app.screen_stack) > 2)
    await pilot.pause(0.3)


def _press(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(*keys)
        await pilot.pause(0.3)

    return act


SCENES = (
    Scene("first-run", _nothing, resume=False),
    Scene("chat", _nothing),
    Scene("code", _code),
    Scene("tags", _tags),
    Scene("selected", _press("up")),
    Scene("ranking", _ranking),
    Scene("ranked", _ranked),
    Scene("edit", _editing),
    Scene("chats", _press("ctrl+s")),
    Scene("search", _press("ctrl+s", *"rain")),
    Scene("models", _press("ctrl+o")),
    Scene("help", _press("f1")),
    Scene("palette", _palette),
    Scene("slash", _press("slash")),
)


def _house(root: Path, theme: str, real: bool) -> House:
    paths = Paths(root / "config", root / "data", root / "state", root / "cache")
    engine: Engine | None = None if real else ScriptedEngine(_answer, pace=0)
    return House(paths, Settings(theme=theme, sampling=Sampling(seed=7)), engine)


def seed_store(house: House, real: bool) -> None:
    """A few conversations; with the embedded model one about what it knows."""
    settings = replace(house.settings, theme="chatapp-dark")
    if real:
        _talk(house, settings, ["What can you do?", "How do I say that two replies are equally good?"])
        return
    for title in _OTHERS:
        _talk(house, settings, [title])
    _talk(
        house, settings, ["How do I count the words of a file in Python?", "And the ten most frequent ones?"]
    )
    session = _talk(house, settings, ["Where can I get a decent cortado near the lake?"])
    replies = [each for each in session.path() if each.role == "assistant"]
    session.thumb(replies[0].id, 1)
    _go_on(session, "Sit down, with a friend.")
    conversation = session.conversation
    if conversation is not None:
        house.store().conversations.rename(conversation.id, "Coffee in Oakland")


def _talk(house: House, settings: Settings, prompts: list[str]) -> Session:
    session = Session(house.stores, house.engine(), settings, house.spec())
    for prompt in prompts:
        _go_on(session, prompt)
    return session


def _go_on(session: Session, text: str) -> None:
    for _ in session.stream(session.begin(text).id):
        pass


async def take(scene: Scene, size: tuple[int, int], theme: str, out: Path, real: bool) -> Path:
    """One picture."""
    with tempfile.TemporaryDirectory(prefix="chatapp-pictures-") as folder:
        house = _house(Path(folder), theme, real)
        if scene.resume:
            await asyncio.to_thread(seed_store, house, real)
        random.seed(7)
        app = ChatApp(house, resume="last" if scene.resume else None)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: _chat(pilot).ready)
            await scene.act(pilot)
            await pilot.pause()
            picture = app.export_screenshot(title="chatapp")
        house.close()
    mode = "light" if theme.endswith("light") else "dark"
    file = out / f"{scene.name}-{size[0]}x{size[1]}-{mode}.svg"
    # Spaces at the ends of a piece of text are part of the picture.
    file.write_text(picture.replace("<text ", '<text xml:space="preserve" '), encoding="utf-8")
    return file


def rasterise(file: Path) -> None:
    """A PNG beside the SVG, where there is a program for it."""
    if program := shutil.which("rsvg-convert"):
        subprocess.run(
            [program, "--width", "1400", str(file), "-o", str(file.with_suffix(".png"))], check=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--real", action="store_true", help="use the embedded model")
    parser.add_argument("--scene", action="append", help="only these scenes")
    parser.add_argument("--size", action="append", help="these sizes instead, as 100x30")
    parser.add_argument("--theme", action="append", choices=THEMES, help="only these themes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sizes = [(int(w), int(h)) for w, h in (size.split("x") for size in given.size or ())] or SIZES
    for scene in SCENES:
        if given.scene and scene.name not in given.scene:
            continue
        for size in sizes:
            for theme in given.theme or THEMES:
                file = asyncio.run(take(scene, size, theme, given.out, given.real))
                rasterise(file)
                print(file)


if __name__ == "__main__":
    main()
