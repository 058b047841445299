"""Pictures of every screen, for the documentation and for looking at them.

    python -m chatapp.tui.screenshots --out pictures        # a scripted engine: the same pictures every time
    python -m chatapp.tui.screenshots --out pictures --real # the embedded model

SVG files; PNG files beside them where `rsvg-convert` is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from textual.pilot import Pilot

from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Adapter, Sampling
from chatapp.engine.base import AdapterSpec, Engine, Request
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.session import Session
from chatapp.session.wiring import House
from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen
from chatapp.tui.training_state import TrainingState

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
_PREFERRED = (
    "Why do",
    "Why did",
    "Grand Avenue has two",
    "Then the small one",
    "What time",
    "There are many",
)
"""What the replies that are ranked in the pictures say, best first."""
STOP_AT = 84
"""The step at which the training of a picture stands still."""
_OTHERS = (
    "Packing for four days in the rain",
    "A short toast for two people who met on a train",
    "Why is the sky white and not blue in winter",
    "Names for a cat that answers to none",
    "What to plant on a balcony that faces north",
    "Explain compound interest to a ten year old",
)


def _answer(request: Request, lane: int, adapter: AdapterSpec | None) -> str:
    asked = request.turns[-1].text
    if adapter is not None and adapter.name == "r4":
        return (
            "Two by Lake Merritt. To sit down, or to go?" if "lake" in asked else "What matters most in it?"
        )
    pool = _ANSWERS.get(asked, ("That is a good place to begin. What matters most to you in it?",))
    return pool[(lane + (1 if request.lanes > 1 else 0)) % len(pool)]


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    act: Callable[[Pilot[None]], Awaitable[None]]
    resume: bool = True
    """Whether a store with conversations is opened, or an empty one."""
    stop_at: int | None = None
    """The step at which its training stands still."""


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


def _best_first(pilot: Pilot[None]) -> list[str]:
    """The keys that put the replies on the screen in the order of `_PREFERRED`."""
    ranker = _chat(pilot).ranker
    assert ranker is not None
    lanes = sorted(ranker.lanes, key=lambda lane: _preference(lane.text))
    return [str(lane.number) for lane in lanes]


def _preference(text: str) -> int:
    return next((at for at, words in enumerate(_PREFERRED) if words in text), len(_PREFERRED))


async def _ranking(pilot: Pilot[None]) -> None:
    await _compare(pilot)
    await pilot.press(*_best_first(pilot)[:2])


async def _ranked(pilot: Pilot[None]) -> None:
    await _compare(pilot)
    await pilot.press(*_best_first(pilot)[:-1])
    await until(pilot, lambda: _chat(pilot).ranker is None)


async def _train(pilot: Pilot[None], reached: Callable[[TrainingState], bool]) -> None:
    app = pilot.app
    assert isinstance(app, ChatApp)
    await pilot.press("ctrl+t")
    await until(pilot, lambda: app.training.state.phase == "planned")
    await pilot.pause(0.3)
    if app.training.state.phase == "planned" and not reached(app.training.state):
        await pilot.press("enter")
        await until(pilot, lambda: reached(app.training.state))
    await pilot.pause(0.5)


async def _planned(pilot: Pilot[None]) -> None:
    await _train(pilot, lambda state: state.phase == "planned")


async def _training(pilot: Pilot[None]) -> None:
    await _train(pilot, lambda state: bool(state.stages) and state.stages[-1].step == STOP_AT)


async def _trained(pilot: Pilot[None]) -> None:
    app = pilot.app
    assert isinstance(app, ChatApp)
    app.house.store().adapters.choose(app.house.model_sha256(), "r4", "train")
    await _train(pilot, lambda state: state.phase == "done")


async def _while_training(pilot: Pilot[None]) -> None:
    await _training(pilot)
    await pilot.press("escape")
    await pilot.pause(0.3)


async def _changes(pilot: Pilot[None]) -> None:
    await _trained(pilot)
    await pilot.press("d")
    await pilot.pause(1)


async def _adapters(pilot: Pilot[None]) -> None:
    await _chat(pilot).run_action("adapters")
    await until(pilot, lambda: len(pilot.app.screen_stack) > 2)
    await pilot.pause(0.3)


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
    Scene("plan", _planned),
    Scene("training", _training, stop_at=STOP_AT),
    Scene("while-training", _while_training, stop_at=STOP_AT),
    Scene("trained", _trained),
    Scene("changes", _changes),
    Scene("adapters", _adapters),
    Scene("chats", _press("ctrl+s")),
    Scene("search", _press("ctrl+s", *"rain")),
    Scene("models", _press("ctrl+o")),
    Scene("help", _press("f1")),
    Scene("palette", _palette),
    Scene("slash", _press("slash")),
)


def _house(root: Path, theme: str, real: bool) -> House:
    paths = Paths(root / "config", root / "data", root / "state", root / "cache")
    engine: Engine | None = None
    if not real:
        scripted: ScriptedEngine
        engine = scripted = ScriptedEngine(
            lambda request, lane, _: _answer(request, lane, scripted.adapter), 0
        )
    return House(paths, Settings(theme=theme, sampling=Sampling(seed=7)), engine)


def seed_store(house: House, real: bool) -> None:
    """A few conversations; with the embedded model one about what it knows."""
    settings = replace(house.settings, theme="chatapp-dark")
    if real:
        _talk(house, settings, ["How do I say that two replies are equally good?", "Tell me a joke."])
        return
    for title in _OTHERS:
        _talk(house, settings, [title])
    _talk(
        house, settings, ["How do I count the words of a file in Python?", "And the ten most frequent ones?"]
    )
    _register(house)
    session = _talk(house, settings, ["Where can I get a decent cortado near the lake?"])
    replies = [each for each in session.path() if each.role == "assistant"]
    session.thumb(replies[0].id, 1)
    _go_on(session, "Sit down, with a friend.")
    conversation = session.conversation
    if conversation is not None:
        house.store().conversations.rename(conversation.id, "Coffee in Oakland")


def _register(house: House) -> None:
    """Four rounds of training, the third in use."""
    sha256 = house.model_sha256()
    adapters = house.store().adapters
    for number, (wins, accepted) in enumerate(
        ((0.61, True), (0.58, True), (0.57, True), (0.63, True)), start=1
    ):
        adapters.add(
            Adapter(
                f"r{number}",
                "ppo" if number > 1 else "dpo",
                "guide",
                sha256,
                f"r{number - 1}" if number > 1 else None,
                float(number),
                accepted,
                "better",
                "run",
                "",
                evaluation={"wins": {"value": wins, "low": wins - 0.07, "high": wins + 0.07, "n": 200}},
            )
        )
    adapters.choose(sha256, "r3", "use")


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
        command = (sys.executable, "-m", "chatapp.tui.scripted_training", *_stop(scene))
        app = ChatApp(house, resume="last" if scene.resume else None, train_command=command)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: _chat(pilot).ready)
            await scene.act(pilot)
            await pilot.pause()
            picture = app.export_screenshot(title="chatapp")
        house.close()
    mode = "light" if theme.endswith("light") else "dark"
    file = out / f"{scene.name}-{size[0]}x{size[1]}-{mode}.svg"
    # Spaces at the ends of a piece of text are part of the picture.
    picture = _INDENTED.sub(_without_indent, picture).replace("<text ", '<text xml:space="preserve" ')
    file.write_text(picture, encoding="utf-8")
    return file


def _stop(scene: Scene) -> tuple[str, ...]:
    return ("--until", str(scene.stop_at)) if scene.stop_at is not None else ()


_CELL = 12.2
"""Width of a column in the pictures, in their own unit."""
_INDENTED = re.compile(r'x="([0-9.]+)"( y="[0-9.]+" textLength=")([0-9.]+)("[^>]*>)((?:&#160;)+)(?!<)')


def _without_indent(text: re.Match[str]) -> str:
    """A piece of text that begins where its first letter stands: a long row of spaces is wider in one font
    than in another."""
    x, between, length, after, spaces = text.groups()
    shift = _CELL * spaces.count("&")
    return f'x="{float(x) + shift:.1f}"{between}{float(length) - shift:.1f}{after}'


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
