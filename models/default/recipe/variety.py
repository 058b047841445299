"""How different four samples are, and whether replies end as they should.

    python variety.py guide.gguf

Two replies are taken to differ in meaning when their words of four letters
and more share less than half (Jaccard), so that another wording of the same
does not count for much.
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from player import Player, seeds

OPEN = Path(__file__).parent / "probes" / "open.jsonl"
LIMIT = 200


def content(text: str) -> set[str]:
    """The words that carry meaning, roughly: four letters and more."""
    words = re.findall(r"[a-z']+", text.lower())
    return {w for w in words if len(w) > 3} or set(words)


def different(replies: list[str]) -> int:
    """The most replies of which any two share less than half their words."""
    kept: list[set[str]] = []
    for words in map(content, replies):
        if all(len(words & k) < 0.5 * len(words | k) for k in kept):
            kept.append(words)
    return len(kept)


def loops(text: str) -> bool:
    """Whether four words come three times."""
    words = text.lower().split()
    seen: dict[tuple[str, ...], int] = {}
    for i in range(len(words) - 3):
        gram = tuple(words[i:i + 4])
        seen[gram] = seen.get(gram, 0) + 1
    return max(seen.values(), default=0) > 2


def measure(player: Player, prompts: list[str], samples: int = 4,
            temperature: float = 0.8) -> dict:
    """Prompts whose samples differ, and replies that loop or do not end."""
    varied = replies = cut = looped = 0
    bad: list[str] = []
    few: list[list[str]] = []
    for prompt in prompts:
        said = [player.reply([("user", prompt)], temperature=temperature,
                             seed=s, limit=LIMIT) for s in seeds(samples)]
        if different(said[:4]) >= 3:
            varied += 1
        else:
            few.append([prompt, *said[:4]])
        for text in said:
            replies += 1
            cut += not player.ended
            looped += loops(text)
            if not player.ended or loops(text):
                bad.append(text)
    return {"prompts": len(prompts), "varied": varied, "replies": replies,
            "cut": cut, "looped": looped, "bad": bad[:10], "few": few[:10]}


def main() -> None:
    """Print everything as JSON."""
    prompts = [json.loads(line)["prompt"]
               for line in OPEN.read_text().splitlines() if line.strip()]
    player = Player(Path(sys.argv[1]))
    samples = int(sys.argv[2]) if len(sys.argv) > 2 else 17
    print(json.dumps(measure(player, prompts, samples)))


if __name__ == "__main__":
    main()
