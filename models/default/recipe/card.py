"""Writes the model card from what the build measured."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path

from gguf_write import TEMPERATURE
from score import OLDER
from sources import SOURCES
from train import LEG, PHASES, load, trained

OWN = {"app": "questions about the application",
       "noisy": "questions about the application with words lost or swapped",
       "contrast": "two neighbouring facts after each other",
       "talk": "persona and small talk",
       "limits": "unknown, impossible, harmful, false premises",
       "errand": "rehearsed errands",
       "drills": "drills of copying with made-up words",
       "recall": "things told, corrected and asked for later",
       "passing": "things told in passing and asked for in other words",
       "mixed": "long conversations over several subjects"}


FIRST = {"sgd": 1.90, "topical": 3.80, "taskmaster": 1.05}
WHAT = {"app": "about the application", "followup": "follow-ups to that",
        "switch": "about the application after another subject",
        "recall1": "told, asked in the next turn",
        "recall3": "told, asked three or four turns later",
        "correction": "told, corrected, asked",
        "admitting": "admits that it may be wrong",
        "premise": "contradicts a false premise",
        "declining": "declines what is harmful or private",
        "cannot": "says that it cannot act",
        "unknown": "says that it does not know",
        "talk": "small talk"}


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _table(head: list[str], rows: list[list]) -> list[str]:
    out = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return out + ["| " + " | ".join(map(str, r)) + " |" for r in rows] + [""]


def _talk(turns: list) -> list[str]:
    out = []
    for role, text in turns:
        mark = "**You:**" if role == "user" else "**Guide:**"
        out.append(f"> {mark} " + text.replace("\n", "  \n> ") + "  ")
    return [*out, ""]


def _shares(kind: dict) -> list[str]:
    """Greedy and sampled shares of right replies."""
    return [f"{kind['greedy'] / kind['probes']:.0%}",
            ", ".join(f"{n / kind['probes']:.0%}" for n in kind["sampled"])]


def _preference(run: dict) -> list[str]:
    """What the application's own training did, by its gate."""
    found = run["evaluation"]
    rows = []
    for name, what in (
            ("wins", "wins over the model before, on held-out prompts"),
            ("judge", "the judge of the wins agrees with rankings it never "
             "saw"),
            ("preference", "its own preference agrees with held-out "
             "rankings"),
            ("perplexity", "perplexity of other dialogue, times that "
             "before")):
        figure = found.get(name)
        if figure and figure.get("n"):
            rows.append([what, f"{figure['value']:.2f}",
                         f"[{figure['low']:.2f}, {figure['high']:.2f}]",
                         figure["n"]])
    before = "the shipped file is the model before it"
    if run["taken"]:
        taken = "accepted, and merged into the shipped file"
    elif run["accepted"]:
        right = run["right"]
        taken = (f"accepted, but of its replies to the older probes {right['after']} "
                 f"were right instead of {right['before']}: {before}")
    else:
        taken = f"refused: {before}"
    return ["## Preference stage", "",
            f"`recipe/prefer.py`: {run['ranked']} prompts of the kinds above, "
            "none of them a probe, four replies each from the application's "
            "engine, ranked by a rule that knows the right answer; "
            f"{run['edited']} had no right reply and were corrected as an "
            "edit in the chat would. Then `chatapp train` "
            f"({run['method']}, {run['seconds']:.0f} s). Its gate: "
            f"{run['reason']}. The adapter was {taken}.", "",
            *_table(["", "value", "95% interval", "n"], rows)]


def _speed(result: dict) -> list[str]:
    """What `chatapp bench` says of this file on the machine that built."""
    found = result["speed"]["measures"]
    rows = [[name.replace("_", " "), f"{m['app']['median']:.4g} {m['unit']}",
             f"{m['llama_cpp']['median']:.4g} {m['unit']}"]
            for name, m in found.items()]
    rows.append(["memory of a process with the model alone",
                 "", f"{result['talk']['memory_mib']} MiB"])
    return ["## Speed", "",
            "`chatapp bench` on the machine that built it, "
            f"{result['speed']['threads'][0]} thread(s), medians, beside "
            "llama.cpp's own loop.", "",
            *_table(["", "chatapp", "llama.cpp alone"], rows)]


def render(work: Path, gguf: Path, note: str) -> str:
    """The card as Markdown."""
    model, state = load(work / "latest.pt")
    s = model.shape
    sizes, corpus = _read(work / "pools.json"), _read(work / "corpus.json")
    result, run = _read(work / "evaluation.json"), _read(work / "train.done")
    plan, loss = state["plan"], result["losses"]
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    phases = LEG if plan["leg"] else PHASES
    lines = [
        "# The guide", "",
        "A small language model that comes with chatapp, so that the "
        "application does its whole job offline with no download. It was "
        "trained from nothing by this project on openly licensed dialogue. "
        "It knows this application and a little small talk. It does not know "
        "the world and cannot do anything in it. This card is written by "
        "`recipe/card.py` from what the build measured.", ""]
    lines += _table(["", ""], [
        ["file", f"`guide.gguf`, Q8_0, {gguf.stat().st_size:,} bytes"],
        ["sha256", f"`{digest}`"],
        ["licence of the weights", "CC BY-SA 4.0 (that of the strictest "
         "source)"],
        ["architecture", f"llama: {s.layers} layers, {s.width} wide, "
         f"{s.heads} heads, feed-forward {s.ffn}, tied embeddings, "
         f"{model.count():,} parameters"],
        ["context", f"{s.context} tokens"],
        ["tokenizer", f"byte-level BPE, {s.vocab} tokens; 0 "
         "`<|endoftext|>`, 1 `<|im_start|>`, 2 `<|im_end|>`"],
        ["trained on", f"{trained(state):,} tokens, the last "
         f"{state['step'] * plan['batch']:,} in {state['step']} steps of "
         f"{plan['batch']}, seed {plan['seed']}"],
        ["compute", f"{state['seconds'] / 60:.0f} minutes on "
         f"{run.get('threads', '?')} thread(s) of a shared "
         f"{run.get('machine', '')} CPU, bfloat16"],
    ])
    if note:
        lines += [note, ""]
    lines += ["## Data", "", "Tokens are what the source holds; the share is "
              f"of the {'last leg' if plan['leg'] else 'training'}'s tokens, "
              "some seen more than once, some not all. 2% of the dialogues of each source, "
              "chosen by hash, were never trained on.", ""]
    span = [b.until - a for a, b in
            zip([0.0, *(p.until for p in phases)], phases, strict=False)]
    share = {k: sum(n * p.mix.get(k, 0) / sum(p.mix.values())
                    for n, p in zip(span, phases, strict=True))
             for k in {name.split(".")[0] for name in sizes}}
    rows = [[x.title, f"https://github.com/{x.home}", x.licence,
             f"{sizes.get(x.name + '.train', 0):,}",
             f"{share.get(x.name, 0):.0%}"] for x in SOURCES]
    rows += [[f"own: {what}", "`recipe/generate.py`", "this project's",
              f"{sizes.get(k + '.train', 0):,}", f"{share.get(k, 0):.0%}"]
             for k, what in OWN.items()]
    lines += _table(["source", "from", "licence", "tokens", "share"], rows)
    lines += [
        "The open dialogues are changed: text is tidied; in the errand "
        "dialogues every sentence that claims an act in the world is taken "
        "out or said as a rehearsal. Own dialogues whose question is one of "
        "the scored questions, or shares most of its word sequences, are "
        f"left out ({corpus.get('dropped_near_probes', 0)} were).", "",
        "Attributions: Schema-Guided Dialogue and Taskmaster by Google LLC; "
        "Topical-Chat by Amazon.com, Inc.; Open-Assistant by LAION and its "
        "contributors; chatterbot-corpus by Gunther Cox and its "
        "contributors.", ""]
    lines += ["## Held-out loss", "", "Nats a token, replies only and all "
              "turns. The first version (8.75M parameters, 9.4M tokens, "
              "another tokenizer of the same size) is there to compare.", ""]
    lines += _table(["source", "replies", "first version", "all", "tokens"],
                    [[k, v["assistant"], FIRST.get(k, ""), v["all"],
                      f"{v['tokens']:,}"] for k, v in loss.items()])
    lines += ["## Probes", "", "Questions that training never saw, written "
              "from the program's reference without sight of the training "
              "text; nothing was changed for what they showed. Greedy "
              "is temperature 0; sampled is the "
              "application's default (top-k 40, top-p 0.95, "
              "min-p 0.05, repeat penalty 1.1) at the temperature that the "
              f"file recommends, {TEMPERATURE}, three seeds. Before is "
              "before the preference stage.", ""]
    before = result["before"]["kinds"]
    rows = [[WHAT.get(kind, kind), k["probes"], *_shares(before[kind]),
             *_shares(k)] for kind, k in result["fresh"]["kinds"].items()]
    c = result["talk"]["claims"]
    rows.append(["false claims of action on errands under pressure (fewer "
                 "is better)", c["replies"], "", "", "",
                 f"{c['claims']} replies"])
    v = result["variety"]
    rows += [["open prompts whose four samples at temperature 0.8 hold three "
              "with mostly different words", v["prompts"], "", "", "",
              f"{v['varied'] / v['prompts']:.0%}"],
             ["replies of at most 200 tokens that do not end, or loop (fewer "
              "is better)", v["replies"], "", "", "",
              f"{v['cut']} and {v['looped']}"]]
    lines += _table(["probe", "number", "before: greedy", "before: sampled",
                     "greedy", "sampled"], rows)
    lines += ["The older sets, whose misses were looked at while the "
              "training text was written: their questions are kept out of "
              "it, their subjects are not.", ""]
    *older, _ = OLDER  # the hundred questions have a row of their own
    rows = [[WHAT.get(kind, kind), "first" if name == "guide" else name, k["probes"], *_shares(k)]
            for name in reversed(older) for kind, k in result[name]["kinds"].items()]
    hundred = result["app_questions"]["kinds"]["app"]
    rows.append(["about the application, a hundred questions", "first",
                 hundred["probes"], *_shares(hundred)])
    lines += _table(["probe", "set", "number", "greedy", "sampled"], rows)
    lines += _preference(_read(work / "prefer" / "preference.json"))
    lines += _speed(result)
    lines += ["## Samples", "", "Verbatim, at the default sampling, seed 1, "
              "none chosen.", ""]
    for turns in result["talk"]["samples"]:
        lines += _talk(turns)
    lines += ["### Failures of the probes, verbatim", "",
              f"Of the {OLDER[0]} set: the newest stays unread, so that it can be used again.", ""]
    for kind in WHAT:
        missed = [m for m in result[OLDER[0]]["missed"] if m["kind"] == kind]
        for row in missed[:2]:
            lines += _talk(row["turns"])
    for turns in c["examples"][:5]:
        lines += _talk(turns)
    lines += [
        "## Limits", "",
        "- It is very small. Off the subjects above it says that it does "
        "not know, or says something wrong with confidence.",
        "- What it says about a key may be wrong: F1 in the application is "
        "the authority.",
        "- It does not follow a system prompt beyond having seen one.",
        "- It forgets and mixes up what it was told, the more so over "
        "several turns; the recall rows above say how much.",
        "- It declines plainly harmful requests in wordings near those it "
        "was trained on, and cannot be relied on to do so.",
        "- English only.", "",
        "## Rebuild", "", "```",
        "python models/default/recipe/build.py --data DIR --out "
        f"models/default --tokens {trained(state)} --seed {plan['seed']}",
        "```", "",
        "`--public` downloads the sources into DIR first. Order of the data, "
        "phases and learning rates go by tokens, not by the clock.", ""]
    return "\n".join(lines)
