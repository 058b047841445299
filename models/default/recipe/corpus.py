"""Reads each public corpus into dialogues of (role, text) turns."""
from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from clean import Turn, claims, rehearse, tidy
from sources import CHATTERBOT

Dialogue = list[Turn]
ERRAND = "We rehearse an errand. Nothing is done for real."
SMALLTALK = "Chat about a topic like two people would."


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted({p for end in ("", ".gz")
                   for p in folder.glob(pattern + end)})


def _rows(path: Path) -> list[dict]:
    """The records of a JSON list or of JSON lines."""
    text = _text(path)
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def held_out(dialogue: Dialogue) -> bool:
    """Whether this dialogue is one of the 2% that are never trained on."""
    return _number("\n".join(t for _, t in dialogue[:4])) % 50 == 0


def _merge(turns: Dialogue) -> Dialogue:
    """Join neighbours of one role; begin with the user, end with a reply."""
    out: Dialogue = []
    for role, text in turns:
        if not text:
            continue
        if out and out[-1][0] == role:
            out[-1] = (role, out[-1][1] + " " + text)
        else:
            out.append((role, text))
    while out and out[0][0] != "user":
        out.pop(0)
    while out and out[-1][0] != "assistant":
        out.pop()
    return out


def _frame(turns: Dialogue, system: str) -> Dialogue:
    """Announce the rehearsal half the time, else by the system turn."""
    pick = _number(turns[0][1] + turns[-1][1])
    if pick // 7 % 2:
        return rehearse(turns, pick, announce=True)
    return [("system", system), *rehearse(turns, pick, announce=False)]


def sgd(folder: Path) -> Iterator[Dialogue]:
    """Schema-Guided Dialogue: errands, turned into rehearsals."""
    for path in _files(folder / "sgd", "dialogues_*.json*"):
        for row in _rows(path):
            turns = _merge([("user" if t["speaker"] == "USER" else
                             "assistant", tidy(t["utterance"]))
                            for t in row["turns"]])
            if turns:
                yield _frame(turns, ERRAND)


def taskmaster(folder: Path) -> Iterator[Dialogue]:
    """Taskmaster-4: coffee orders; what was ordered is told in words."""
    for path in (_files(folder / "taskmaster", "tm4_dialogs.jsonl")
                 + _files(folder / "taskmaster", "data_*.json")):
        for row in _rows(path):
            turns: Dialogue = []
            order = ""
            for u in row["utterances"]:
                text = tidy(u["text"])
                if u["speaker"] == "assistant" and order:
                    text, order = f"{order} {text}", ""
                turns.append((u["speaker"], text))
                order = _order(u.get("annotations", [])) or order
            turns = _merge(turns)
            if turns and not any("var_" in t for _, t in turns):
                yield _frame(turns, ERRAND)


def _order(notes: list[dict]) -> str:
    """The order details in a turn's annotations, as a sentence."""
    if not any(n["value"] == "get_order_details" for n in notes):
        return ""
    try:
        data = json.loads(notes[-1]["value"])
        items = [m["menu_item_name"] for m in data["menu_items"]]
        options = [a["option"] for a in data.get("attributes", [])
                   if a.get("attribute_name") not in ("Name", "Order Type")]
    except (ValueError, KeyError, TypeError):
        return ""
    if not items:
        return ""
    return "So that is " + ", ".join(items + options) + "."


def topical(folder: Path) -> Iterator[Dialogue]:
    """Topical-Chat: two people on a topic; each may be the assistant."""
    for path in _files(folder / "topical-chat", "*.json"):
        for row in json.loads(_text(path)).values():
            turns = [("user" if m["agent"] == "agent_1" else "assistant",
                      tidy(m["message"])) for m in row["content"]]
            turns = _merge(turns)
            if turns:
                yield [("system", SMALLTALK), *turns]


def oasst(folder: Path) -> Iterator[Dialogue]:
    """Open-Assistant: the two best replies of each English tree."""
    def walk(node: dict, past: Dialogue) -> Iterator[Dialogue]:
        role = "user" if node["role"] == "prompter" else "assistant"
        past = [*past, (role, node["text"].strip())]
        replies = sorted(node.get("replies", []),
                         key=lambda r: (r.get("rank") is None,
                                        r.get("rank") or 0))[:2]
        if not replies and len(past) > 1:
            yield past
        for reply in replies:
            yield from walk(reply, past)
    for path in _files(folder / "oasst", "*.jsonl"):
        for line in _text(path).splitlines():
            tree = json.loads(line)
            if tree["prompt"].get("lang", "en") != "en":
                continue
            for turns in walk(tree["prompt"], []):
                turns = _merge(turns)
                if turns and sum(len(t) for _, t in turns) < 3000:
                    yield [("system", "You are a large assistant."), *turns]


def chatterbot(folder: Path) -> Iterator[Dialogue]:
    """chatterbot-corpus: short pairs of the talkative topics."""
    for name in CHATTERBOT:
        path = folder / "chatterbot" / f"{name}.yml"
        for row in yaml.safe_load(path.read_text())["conversations"]:
            turns = _merge([(("user", "assistant")[i % 2], tidy(str(t)))
                            for i, t in enumerate(row)])
            if turns and not any(r == "assistant" and claims(t)
                                 for r, t in turns):
                yield [("system", SMALLTALK), *turns]


READERS: dict[str, Callable[[Path], Iterator[Dialogue]]] = {
    "sgd": sgd, "topical": topical, "taskmaster": taskmaster,
    "oasst": oasst, "chatterbot": chatterbot}


def read(folder: Path) -> dict[str, tuple[list[Dialogue], list[Dialogue]]]:
    """Every source as (training dialogues, held-out dialogues)."""
    out = {}
    for name, reader in READERS.items():
        train: list[Dialogue] = []
        test: list[Dialogue] = []
        for dialogue in reader(folder):
            (test if held_out(dialogue) else train).append(dialogue)
        out[name] = (train, test)
    return out


def lines(dialogues: list[Dialogue], seed: int, most: int = 60000) -> list[str]:
    """Short sentences of dialogues, for drills of copying."""
    found = {part for row in dialogues for role, text in row
             if role != "system"
             for part in re.split(r"(?<=[.!?])\s+", text)
             if 3 <= len(part.split()) <= 12 and len(part) < 80
             and "\n" not in part}
    ordered = sorted(found)
    random.Random(seed).shuffle(ordered)
    return ordered[:most]
