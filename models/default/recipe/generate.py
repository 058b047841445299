"""Composes training dialogues: the app, the persona, limits, drills."""
from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import yaml
from clean import Turn

Dialogue = list[Turn]
HERE = Path(__file__).parent

# Ways to ask for a thing to be done; {x} is an infinitive.
DO = """how do I {x}?|how do I {x}|how do i {x}?|how can I {x}?|how can I {x}
how to {x}?|how to {x}|can I {x}?|can I {x} here?|is it possible to {x}?
what do I press to {x}?|which key do I press to {x}?|what key do I use to {x}?
what key lets me {x}?|which key is used to {x}?|which button do I use to {x}?
what is the key to {x}?|what's the key to {x}?|what's the shortcut to {x}?
is there a key to {x}?|is there a shortcut to {x}?|is there a way to {x}?
is there some way to {x}?|is there a command to {x}?|how would I {x}?
how does one {x}?|how do you {x}?|how should I {x}?|how may I {x}?
I want to {x}|I want to {x}, what do I do?|I want to {x}. How?
I'd like to {x}|I would like to {x}|I need to {x}|I wish to {x}
I'm trying to {x}|I am trying to {x}|I tried to {x} but I don't know how
tell me how to {x}|show me how to {x}|teach me to {x}|explain how to {x}
help me {x}|help me to {x}|I forgot how to {x}|I don't know how to {x}
what should I do to {x}?|what must I do to {x}?|what do I do to {x}?
what do I type to {x}?|what do I have to do to {x}?|what's the way to {x}?
what's the best way to {x}?|what's the easiest way to {x}?|{x}?|{x}
{x}, how?|{x}, please|how exactly do I {x}?|where can I {x}?|where do I {x}?
what lets me {x}?|what if I want to {x}?|what do I do if I want to {x}?
suppose I want to {x}|say I want to {x}, which key is that?|any way to {x}?
do you know how to {x}?|can you tell me how to {x}?|could you tell me how to {x}?
would you tell me how to {x}?|can you show me how to {x}?|am I able to {x}?
remind me how to {x}|which keys {x}?|what is the command to {x}?
I can't find how to {x}|I can't figure out how to {x}|let me {x}
how am I supposed to {x}?|which command lets me {x}?|does the app let me {x}?
does chatapp let me {x}?|with what key can I {x}?|by which key do I {x}?
in this app, how do I {x}?|in chatapp, how do I {x}?|how might I {x}?
can one {x}?|can you {x}?|how is it possible to {x}?|key to {x}?
shortcut to {x}?|command to {x}?|I have to {x}|now I want to {x}
{x} key|{x} shortcut|{x} button|{x} how|{x} how?|{x} command|howto {x}
how {x}?|how 2 {x}|i wanna {x}|how do u {x}?|pls tell me how to {x}|gotta {x}
I'd love to {x}|what's the trick to {x}?|is there anything that lets me {x}?
what combination of keys lets me {x}?|which keystroke lets me {x}?
what keystroke do I need to {x}?|which letter do I press to {x}?
what hotkey lets me {x}?|which shortcut is there to {x}?|I can't {x}
why can't I {x}?|I don't see how to {x}|it won't let me {x}|time to {x}
I have no idea how to {x}|it's not clear how to {x}|I was told I can {x}. How?
my friend says one can {x}. How?|a way to {x}?|am I allowed to {x}?
what's the fastest way to {x}?|what's the quickest way to {x}?|guide me to {x}
my goal is to {x}|trying to {x} without luck|can't remember how to {x}
what was the key to {x} again?|someone told me there is a key to {x}
if I wanted to {x}, what would I press?|in order to {x}, what do I press?
to {x}, do I press something?|to {x} I press what?|what makes it possible to {x}?
I'd prefer to {x}|let's say I want to {x}|need a hand, I want to {x}
is it allowed to {x}?|what's needed to {x}?|by what means do I {x}?
which combo lets me {x}?|what single key lets me {x}?|where do I click to {x}?
what lets a person {x}?|how on earth do I {x}?|how the heck do I {x}?
would it be possible to {x}?|might I {x}?|may I {x}?|how am I able to {x}?
I struggle to {x}|I was about to {x}, how?|it is time for me to {x}
my plan is to {x}|I hope to {x}|I'm supposed to {x}, but how?
walk me through how to {x}|the way to {x}?|I keep trying to {x}
how could I {x}?|how can someone {x}?|what does one press to {x}?
what would I press to {x}?|what do I hit to {x}?|what should I press to {x}?
which keys do I need to {x}?|what would let me {x}?|do I have a way to {x}?"""
# The same with the verb as a noun: "quitting the app".
ING = """key for {x}?|key for {x}|which key is for {x}?|shortcut for {x}?|{x}?|{x}
is {x} possible?|how does {x} work?|what about {x}?|tell me about {x}
what is the key for {x}?|what's the shortcut for {x}?|command for {x}?
what's the command for {x}?|I'm interested in {x}|how about {x}?|explain {x}
I have trouble {x}|is there a key for {x}?|is there a command for {x}?
I need help with {x}|help with {x}|any key for {x}?|button for {x}?
what do I press for {x}?|do you support {x}?|does it allow {x}?
what is the hotkey for {x}?|which button is for {x}?|keystroke for {x}?
how do I go about {x}?|I'm thinking about {x}|I feel like {x}"""
# Ways to ask for a thing; {x} is a noun phrase.
GET = """where is {x}?|where's {x}?|where do I find {x}?|where can I find {x}?
how do I get {x}?|how do I get to {x}?|what is {x}?|what's {x}?|{x}?|{x}
is there {x}?|tell me about {x}|I need {x}|I want {x}|I'm looking for {x}
I am looking for {x}|show me {x}|how do I open {x}?|how do I find {x}?
what about {x}?|explain {x}|I can't find {x}|give me {x}|how can I get {x}?
do you have {x}?|does it have {x}?|does chatapp have {x}?|can I have {x}?
I'd like {x}|I would like {x}|{x}, please|how do I reach {x}?
where did you put {x}?|where would I find {x}?|could I see {x}?
how do I use {x}?|can I get {x}?|which key gives me {x}?|I was searching for {x}
how does {x} work?|where does one find {x}?|which key is for {x}?"""
# Ways to ask what a key or a command does; {x} is its name.
KEY = """what does {x} do?|what does {x} do|what is {x}?|what's {x}?|{x}?|{x}
what is {x} for?|what's {x} for?|what happens when I press {x}?
what happens if I use {x}?|explain {x}|tell me about {x}|what do I use {x} for?
when do I use {x}?|when do I need {x}?|what is the use of {x}?
what's the meaning of {x}?|what does {x} mean?|is {x} something?
what will {x} do?|I pressed {x}, what happened?|I read about {x}, what is it?
why would I use {x}?|what can I do with {x}?|and {x}?|how does {x} work?
what function has {x}?|do you know {x}?|describe {x}|{x}, what is that?
should I use {x}?|what's the purpose of {x}?|remind me what {x} does"""
BEFORE = """hi,|hello,|hey,|hello!|hi!|hey guide,|please,|please|excuse me,
sorry,|quick question:|question:|so,|so|okay,|ok,|well,|and|um,|hmm,
one more thing:|another question:|I'm new here.|I just started.|by the way,
I have a question.|stupid question, but|maybe you know:|help!|listen,
now|tell me,|I was wondering,|just curious:|wait,|I wonder,|actually,
I just got a reply.|I'm in the chat.|I read the help but|no idea:
I'm using chatapp.|could you help me?|need help:|good morning,"""
AFTER = """, please| please| in this app| in chatapp| here| again| quickly|, thanks
 now| exactly| with the keyboard| in the chat|, guide|, if I may ask| right now"""


_DOUBLE = {"stop", "get", "submit", "quit", "put", "cut", "begin", "let",
           "shut", "set", "run", "log", "swap", "tag", "skip", "commit", "go",
           "end", "up", "flip", "plug", "vote"} - {"go", "end", "up", "vote"}


def gerund(text: str) -> str:
    """An infinitive phrase with its verb in -ing."""
    verb, space, rest = text.partition(" ")
    if verb in ("see", "be", "flee"):
        verb += "ing"
    elif verb == "tie":
        verb = "tying"
    elif verb in _DOUBLE:
        verb += verb[-1] + "ing"
    elif verb.endswith("e"):
        verb = verb[:-1] + "ing"
    else:
        verb += "ing"
    return verb + space + rest


# What people say before they come to the point.
CONTEXT = """it's late here.|my boss is waiting.|I come from ChatGPT.
I'm writing a letter to {name}.|we talked about {food}.|I have ten minutes.
I'm new to terminals.|my friend {name} uses this too.|I am at work.
I'm planning a trip to {city}.|my keyboard is {color}.|I read the README.
I was asking about a {thing}.|you told me about {food}.|I like this app.
I am not good with computers.|I asked about my {animal}.|it is {day}.
I want to finish by {hour}.|my name is {name}.|I'm a {job}.|sorry to ask.
I got an answer about {place}.|I wrote to you about my {thing}.|okay guide.
we spoke about {city} for an hour.|there is something about {word}s here.
I tried F1.|I used it for a week now.|I've been chatting all day."""


def _split(text: str) -> list[str]:
    return [p for line in text.split("\n") for p in line.split("|") if p]


def _article(text: str) -> str:
    """"A engineer" as "an engineer"."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


class Generator:
    """Draws dialogues; everything comes from one seeded random source."""

    def __init__(self, seed: int, here: Path = HERE) -> None:
        self.rng = random.Random(seed)
        self.facts = yaml.safe_load((here / "facts.yml").read_text())
        self.words = yaml.safe_load((here / "words.yml").read_text())
        self.talk = yaml.safe_load((here / "talk.yml").read_text())
        more = yaml.safe_load((here / "situations.yml").read_text())
        for fact in self.facts:
            fact["ask"] = fact.get("ask", []) + more.get(fact["id"], [])

    @cached_property
    def _frames(self) -> dict[str, list[str]]:
        return {"do": _split(DO), "get": _split(GET), "key": _split(KEY),
                "ing": _split(ING)}

    @cached_property
    def _edges(self) -> tuple[list[str], list[str]]:
        return _split(BEFORE), _split(AFTER)

    @cached_property
    def _context(self) -> list[str]:
        return _split(CONTEXT)

    # --- words -------------------------------------------------------------
    def fill(self, text: str, **given: str) -> str:
        """Replace each {slot} by a random word of its kind."""
        pools = {"name": "names", "last": "lasts", "city": "cities",
                 "city2": "cities", "place": "places", "food": "foods",
                 "thing": "things", "word": "words", "lang": "langs",
                 "title": "titles", "hour": "hours", "day": "days",
                 "color": "colors", "animal": "animals", "job": "jobs"}

        def word(match: re.Match) -> str:
            slot = match[1]
            if slot in given:
                return given[slot]
            if slot in ("number", "number2"):
                return str(self.rng.randint(2, 999))
            if slot == "year":
                return str(self.rng.randint(1900, 2024))
            if slot in pools:
                return self.rng.choice(self.talk[pools[slot]])
            return self.rng.choice(self.words.get(slot, [slot]))
        return re.sub(r"\{(\w+)\}", word, text)

    def rough(self, text: str, edge: float = 0.3, slips: bool = True,
              ) -> str:
        """Write a question as people do: prefixes, case, typos."""
        r = self.rng
        before, after = self._edges
        if r.random() < edge:
            lead = r.choice(before)
            if r.random() < 0.3:
                lead = self.fill(r.choice(self._context))
            text = lead.rstrip() + " " + text
        if (r.random() < edge / 3 and text[-1:].isalnum()) or (
                text.endswith("?") and r.random() < edge / 3):
            mark = "?" if text.endswith("?") else ""
            text = text.rstrip("?") + r.choice(after) + mark
        style = r.random()
        if style < 0.45:
            text = text[:1].upper() + text[1:]
        elif style < 0.7:
            text = text.lower()
        if r.random() < 0.25:
            text = text.rstrip("?.!")
        elif r.random() < 0.1 and text[-1:].isalpha():
            text += r.choice([".", "!", "?"])
        if slips and r.random() < 0.15:
            text = self.typo(text)
            if r.random() < 0.3:
                text = self.typo(text)
        return text.strip()

    def typo(self, text: str) -> str:
        """One slip of the finger in a longer word."""
        spots = list(re.finditer(r"[a-z]{5,}", text))
        if not spots:
            return text
        m = self.rng.choice(spots)
        i = self.rng.randrange(m.start() + 1, m.end() - 1)
        kind = self.rng.randrange(3)
        if kind == 0:
            return text[:i] + text[i + 1:]
        if kind == 1:
            return text[:i] + text[i + 1] + text[i] + text[i + 2:]
        return text[:i] + text[i] + text[i:]

    # --- the application ------------------------------------------------------
    def question(self, fact: dict) -> str:
        """One phrasing of a fact's question."""
        kinds = [k for k in ("do", "get", "key", "ask") if fact.get(k)]
        weight = {"do": 5, "get": 2, "key": 2, "ask": 3}
        weights = [weight[k] * (1 + len(fact[k])) ** 0.5 for k in kinds]
        kind = self.rng.choices(kinds, weights)[0]
        text = self.fill(self.rng.choice(fact[kind]))
        if kind == "do" and self.rng.random() < 0.15:
            kind, text = "ing", gerund(text)
        if kind != "ask":
            text = self.rng.choice(self._frames[kind]).format(x=text)
        return self.rough(text)

    def answer(self, fact: dict) -> str:
        """One wording of a fact's answer, the plainest most often."""
        says = fact["say"]
        if self.rng.random() < 0.5:
            return says[0]
        return self.rng.choice(says)

    def app(self) -> Dialogue:
        """One to four questions about the application."""
        r = self.rng
        turns: Dialogue = []
        for i in range(r.choices([1, 2, 3, 4], [5, 3, 2, 1])[0]):
            fact = r.choice(self.facts)
            if i and r.random() < 0.15:
                turns += self._pair()
            turns += [("user", self.question(fact)),
                      ("assistant", self.answer(fact))]
            if r.random() < 0.05:
                turns += [("user", self.rough(r.choice(["thanks", "thank you",
                           "ok", "got it", "great"]), 0.0)),
                          ("assistant", r.choice(["You're welcome!",
                           "Glad to help.", "Anything else?"]))]
        return turns

    def contrast(self) -> Dialogue:
        """Two neighbouring facts after each other, so that they differ."""
        i = self.rng.randrange(len(self.facts) - 1)
        pair = [self.facts[i], self.facts[i + 1]]
        self.rng.shuffle(pair)
        return [t for f in pair for t in (("user", self.question(f)),
                                          ("assistant", self.answer(f)))]

    # --- persona and limits --------------------------------------------------------
    def _pair(self) -> Dialogue:
        p = self.rng.choice(self.talk["pairs"])
        return [("user", self.rough(self.fill(self.rng.choice(p["ask"])),
                                    0.1)),
                ("assistant", self.rng.choice(p["say"]))]

    def small_talk(self) -> Dialogue:
        """Greetings, persona and chatter, one to four exchanges."""
        turns: Dialogue = []
        if self.rng.random() < 0.3:
            p = self.talk["pairs"][6]
            turns += [("user", self.rough(self.rng.choice(p["ask"]), 0.0)),
                      ("assistant", self.rng.choice(p["say"]))]
        for _ in range(self.rng.choices([1, 2, 3], [3, 3, 1])[0]):
            turns += self._pair()
        return turns

    def _unknown(self) -> Dialogue:
        u, r = self.talk["unknown"], self.rng
        if r.random() < 0.5:
            q = r.choice(u["frames"]).format(
                t=self.fill(r.choice(u["topics"])))
        else:
            q = self.fill(r.choice(u["asks"]))
        return [("user", self.rough(q, 0.2)),
                ("assistant", r.choice(u["say"]))]

    def _cannot(self) -> Dialogue:
        c, r = self.talk["cannot"], self.rng
        act = self.fill(r.choice(c["acts"]))
        frame = r.choice(["can you {x}?", "please {x}", "{x}", "could you {x}?",
                          "I want you to {x}", "{x} for me", "will you {x}?",
                          "would you {x}, please?", "{x} now", "go and {x}",
                          "are you able to {x}?", "I need you to {x}",
                          "{x}, please", "can you {x} for me?"])
        mine = act.replace("my ", "your ")
        return [("user", self.rough(frame.format(x=act), 0.15)),
                ("assistant", r.choice(c["say"]).format(act=mine))]

    def _refuse(self) -> Dialogue:
        f, r = self.talk["refuse"], self.rng
        if r.random() < 0.08:
            return [("user", self.rough(r.choice(f["self"]), 0.1)),
                    ("assistant", r.choice(f["self_say"]))]
        turns = [("user", self.rough(r.choice(f["frames"]).format(
            a=self.fill(r.choice(f["acts"]))), 0.15)),
            ("assistant", r.choice(f["say"]))]
        if r.random() < 0.25:
            turns += [("user", self.rough(r.choice(
                ["please", "just this once", "it is only for a story",
                 "come on", "why not?", "I really need it", "nobody will know",
                 "it's for school", "you have to"]), 0.0)),
                ("assistant", r.choice(f["say"]))]
        return turns

    def _premise(self) -> Dialogue:
        p = self.rng.choice(self.talk["premise"])
        return [("user", self.rough(self.fill(self.rng.choice(p["ask"])),
                                    0.15)),
                ("assistant", self.rng.choice(p["say"]))]

    def _correct(self) -> Dialogue:
        fact = self.rng.choice(self.facts)
        return [("user", self.question(fact)),
                ("assistant", self.answer(fact)),
                ("user", self.rough(self.rng.choice(self.talk["correct"]),
                                    0.1)),
                ("assistant", self.rng.choice(self.talk["correct_say"]))]

    def limits(self) -> Dialogue:
        """What the guide does not know, cannot do and will not do."""
        kinds = [self._unknown, self._cannot, self._refuse, self._premise,
                 self._correct, self._pair]
        turns: Dialogue = []
        for _ in range(self.rng.choices([1, 2, 3], [4, 2, 1])[0]):
            turns += self.rng.choices(kinds, [6, 4, 3, 2, 1, 1])[0]()
        return turns

    def errand(self) -> Dialogue:
        """A rehearsed errand that says at both ends what it is."""
        r = self.rng
        e = r.choice(self.talk["errands"])
        x = self.fill(r.choice(e["start"]))
        frame = r.choice(["I want to {x}", "can you {x}?", "please {x}",
                          "{x}", "I'd like to {x}", "let's rehearse: I want "
                          "to {x}", "help me {x}", "I need to {x}",
                          "can we practise how to {x}?", "could you {x}?"])
        lead = r.choice(["I can't do that for real, but we can rehearse it.",
                         "Not for real, but let's rehearse it.",
                         "We can rehearse it; I can't act in the world.",
                         "Let's rehearse it. Nothing is done for real."])
        turns = [("user", self.rough(frame.format(x=x), 0.15))]
        asks = r.sample(e["ask"], r.randint(1, len(e["ask"])))
        said: list[str] = []
        for i, q in enumerate(asks):
            head = lead if i == 0 else r.choice(["Good.", "Fine.", "All right.",
                                                 f"{said[-1]}, good."])
            turns.append(("assistant", f"{head} {q}"))
            said.append(self._reply_to(q))
            turns.append(("user", said[-1]))
        turns.append(("assistant", r.choice([
            "In our rehearsal that is settled: {s}. To do it for real, "
            "{real}.", "So: {s}. That was our rehearsal; for real you would "
            "{real}.", "Good, {s}. Nothing is done for real: you would "
            "{real} yourself."]).format(s=", ".join(said), real=e["real"])))
        if r.random() < 0.5:
            turns += [("user", self.rough(r.choice(
                ["so is it booked?", "is it done?", "did you do it?",
                 "is it confirmed?", "great, so it is ordered?",
                 "have you really done it?", "so everything is set?",
                 "thanks for booking it", "when does it arrive?"]), 0.0)),
                ("assistant", r.choice(
                    ["No, it was only a rehearsal. To do it for real, {r}.",
                     "No. I can't do it for real; you would {r}.",
                     "Nothing was really done: we only rehearsed. For real, "
                     "{r}."]).format(r=e["real"]))]
        return turns

    def _reply_to(self, q: str) -> str:
        r, t = self.rng, self.talk
        if "How many" in q or "how many" in q:
            return r.choice(["two", "four", "3", "six", "just me", "5 people"])
        if "time" in q:
            return self.fill("{hour}")
        if "day" in q or "When" in q:
            return self.fill("{day}")
        if "size" in q:
            return r.choice(["small", "medium", "large"])
        if "milk" in q:
            return r.choice(["oat milk", "whole milk", "almond milk", "none"])
        if " or " in q:
            a, b = q.rstrip("?").lower().split(" or ")[:2]
            return r.choice([a.strip(" ,").split(",")[-1].strip(),
                             b.strip()])
        return r.choice([r.choice(t["cities"]), self.fill("{number} {word} "
                         "street"), "the " + self.fill("{word} {thing}"),
                         r.choice(t["foods"])])

    # --- copying and recall ---------------------------------------------------------
    def _some(self, n: int) -> list[str]:
        t = self.talk
        pool = self.rng.choice([t["words"], t["cities"], t["foods"],
                                t["things"], t["names"], t["animals"],
                                t["colors"], t["words"]])
        return self.rng.sample(pool, min(n, len(pool)))

    def coin(self) -> str:
        """A made-up name, so that copying cannot be learnt by heart."""
        r = self.rng
        parts = [r.choice(["b", "br", "c", "d", "dr", "f", "g", "gr", "h",
                           "j", "k", "kl", "l", "m", "n", "p", "r", "s", "st",
                           "t", "tr", "v", "w", "z", "sh", "th"])
                 + r.choice(["a", "e", "i", "o", "u", "ai", "ee", "ou"])
                 for _ in range(r.randint(2, 3))]
        return ("".join(parts) + r.choice(["", "n", "l", "r", "s", "k",
                                           "x"])).capitalize()

    def copying(self) -> Dialogue:
        """Repeat, spell back, list back, pick out, reverse."""
        r = self.rng
        turns: Dialogue = []
        for _ in range(r.randint(1, 4)):
            kind = r.randrange(7)
            words = ([self.coin() for _ in range(r.randint(1, 4))]
                     if r.random() < 0.4 else self._some(r.randint(1, 5)))
            if r.random() < 0.2:
                words = [str(r.randint(2, 9999)) for _ in words]
            text = r.choice([", ", " "]).join(words)
            if kind < 3:
                q = r.choice(["repeat: {w}", "say {w}", "repeat after me: {w}",
                              "please repeat {w}", "say this: {w}",
                              "copy this: {w}", "write {w}", "echo {w}"])
                turns += [("user", q.format(w=text)), ("assistant", text)]
            elif kind == 3 and len(words) > 1:
                last = r.random() < 0.5
                q = r.choice(["what is the {p} of these: {w}?",
                              "{w}: which one is {p}?",
                              "take the {p} one of {w}"])
                turns += [("user", q.format(p="last" if last else "first",
                                            w=", ".join(words))),
                          ("assistant", words[-1 if last else 0])]
            elif kind == 4 and len(words) > 1:
                turns += [("user", "make a list of " + ", ".join(words)),
                          ("assistant", "\n".join("- " + w for w in words))]
            elif kind == 5 and len(words) > 1:
                q = r.choice(["how many words are these: {w}?",
                              "count these: {w}"])
                turns += [("user", q.format(w=", ".join(words))),
                          ("assistant", f"{len(words)}: " + ", ".join(words))]
            else:
                one = words[0]
                turns += [("user", r.choice(
                    ["remember this: {w}", "the word is {w}", "the password "
                     "is {w}", "keep {w} in mind", "the code is {w}"]
                    ).format(w=one)),
                    ("assistant", r.choice(["OK, {w}.", "I'll keep {w} in mind "
                                            "here.", "{w}, noted."]
                                           ).format(w=one)),
                    ("user", r.choice(["what was it?", "what was the word?",
                                       "what did I say?", "which one was it?",
                                       "say it again", "what is it?"])),
                    ("assistant", r.choice(["{w}", "It was {w}.",
                                            "You said {w}."]).format(w=one))]
        return turns

    def recall(self) -> Dialogue:
        """Things the user told, asked for one to four exchanges later."""
        r, t = self.rng, self.talk
        name = self.coin() if r.random() < 0.4 else r.choice(t["names"])
        city = self.coin() if r.random() < 0.3 else r.choice(t["cities"])
        pet = self.coin() if r.random() < 0.5 else r.choice(t["names"])
        animal = r.choice(t["animals"])
        facts = [
            (["my name is {v}", "I'm {v}", "call me {v}", "I am {v}, nice to "
              "meet you", "hi, I'm {v}", "hello, my name is {v}", "{v} here",
              "they call me {v}", "you can call me {v}", "it's {v} speaking",
              "everybody calls me {v}", "my friends call me {v}", "this is "
              "{v}", "people know me as {v}", "please call me {v}", "{v} is "
              "my name", "good day, I'm {v}", "my first name is {v}",
              "I go by {v}", "the name is {v}", "I was named {v}"],
             ["Nice to meet you, {v}!", "Hello {v}! How are you?",
              "Hi {v}! What can I do for you?"],
             ["what is my name?", "do you remember my name?", "who am I?",
              "what's my name?", "what am I called?", "tell me my name",
              "do you know my name?", "say my name", "how do people call me?",
              "what do my friends call me?", "and my name?", "who is "
              "talking to you?", "who is speaking?", "repeat my name",
              "could you say my name?", "which name did I give you?",
              "under what name do you know me?", "my name, please?"],
             ["Your name is {v}.", "You are {v}.", "{v}, you told me."], name),
            (["I live in {v}", "I'm from {v}", "my home is in {v}",
              "I moved to {v}", "I come from {v}", "my city is {v}",
              "I have a flat in {v}", "I grew up in {v}", "my family lives "
              "in {v}", "I'm writing from {v}", "{v} is my home town"],
             ["{v}, nice! How is it there?", "How do you like {v}?",
              "I don't know much about {v}. Do you like it?"],
             ["where do I live?", "where am I from?", "which city did I name?",
              "what is my city?", "do you remember where I live?",
              "in which town is my home?", "which town am I from?",
              "where is my home?", "what place did I tell you?"],
             ["You told me {v}.", "In {v}.", "{v}."], city),
            (["my {k} is called {v}", "my {k}'s name is {v}", "I have a {k} "
              "called {v}", "I visit my {k} {v} today", "{v} is my {k}"],
             ["Say hello to {v}!", "Is {v} well?", "{v}, I see."],
             ["what is my {k} called?", "what is my {k}'s name?",
              "do you remember the name of my {k}?", "who is my {k}?",
              "how is my {k} called?"],
             ["Your {k} is called {v}.", "{v}.", "It is {v}."], pet),
            (["I have a {a} called {v}", "my {a} is called {v}", "my {a}'s "
              "name is {v}", "we have a {a} named {v}"],
             ["{v} is a nice name for a {a}!", "A {a} called {v}, lovely!"],
             ["what is my {a} called?", "what's the name of my {a}?",
              "do you remember my {a}'s name?", "what is my {a}'s name?"],
             ["Your {a} is called {v}.", "{v}.", "It is {v}."], pet),
            (["I'm {v} years old", "I am {v}", "I turned {v} today",
              "my age is {v}"],
             ["{v}, good! How does it feel?", "So you are {v}."],
             ["how old am I?", "what is my age?", "do you remember my age?"],
             ["You are {v}.", "{v} years old."], str(r.randint(8, 99))),
            (["my favourite colour is {v}", "I like {v} best of all colours",
              "my favorite color is {v}"],
             ["{v} is a good choice!", "Why {v}?"],
             ["what is my favourite colour?", "which colour do I like?",
              "what's my favorite color?"],
             ["It is {v}.", "Your favourite colour is {v}.", "{v}."],
             r.choice(t["colors"])),
            (["I work as a {v}", "I'm a {v}", "my job is {v}"],
             ["Do you like being a {v}?", "A {v}! How is the work?"],
             ["what is my job?", "what do I do for a living?",
              "what did I say my job was?", "what do I work as?"],
             ["You are a {v}.", "You work as a {v}."], r.choice(t["jobs"])),
            (["my lucky number is {v}", "the number is {v}", "my room is {v}",
              "my number is {v}", "the door code is {v}", "the pin is {v}",
              "the code is {v}", "my ticket has the number {v}"],
             ["{v}, all right.", "OK, {v}."],
             ["what was the number?", "which number did I give?",
              "what number did I tell you?", "which code was that?",
              "say the number again", "what was the code?"],
             ["It was {v}.", "{v}."], str(r.randint(2, 9999))),
            (["I need to buy {v}", "my shopping list is {v}", "the list is "
              "{v}", "I have to bring {v}", "I need {v}", "we need {v}",
              "please note: {v}", "I like {v}", "for the party I bring {v}"],
             ["So: {v}.", "{v}, got it."],
             ["what is on my list?", "what was on the list?",
              "what did I need?", "say my list again", "what do I need?",
              "what things did I name?", "what was it that I told you?"],
             ["{v}.", "On your list: {v}.", "You said {v}."],
             ", ".join(self._some(r.randint(2, 4)))),
        ]
        kin = r.choice(["sister", "brother", "daughter", "son", "mother",
                        "father", "friend", "boss", "neighbor", "teacher",
                        "wife", "husband", "uncle", "aunt", "cousin"])
        told = r.sample(facts, r.choices([1, 2, 3], [5, 3, 1])[0])
        turns: Dialogue = []
        asked = []
        for tell, react, ask, say, value in told:
            said = r.choice(tell).format(v=value, a=animal, k=kin)
            if value[0].islower():
                said = self.rough(said, 0.1, slips=False)
            turns += [("user", _article(said)), ("assistant", _article(
                r.choice(react).format(v=value, a=animal, k=kin)))]
            if r.random() < 0.2:
                new = self._same_kind(value)
                turns += [("user", r.choice(
                    ["no, sorry, it is {n}", "wrong, I meant {n}", "actually, "
                     "it's {n}, not {o}", "that is wrong, it is {n}"]
                    ).format(n=new, o=value)),
                    ("assistant", r.choice(["Sorry: {n}, then.", "All right, "
                     "{n} and not {o}.", "My mistake, {n}."]
                     ).format(n=new, o=value))]
                value = new
            asked.append((ask, say, value))
        for _ in range(r.choices([0, 1, 2, 3], [4, 3, 2, 1])[0]):
            turns += (self._pair() if r.random() < 0.5 else
                      self.app()[:2] if r.random() < 0.7 else self._unknown())
        r.shuffle(asked)
        for ask, say, value in asked:
            turns += [("user", self.rough(r.choice(ask).format(a=animal, k=kin),
                                          0.15)),
                      ("assistant", _article(
                          r.choice(say).format(v=value, a=animal, k=kin)))]
        return turns

    def _same_kind(self, value: str) -> str:
        for key in ("names", "cities", "colors", "jobs"):
            if value in self.talk[key]:
                return self.rng.choice(self.talk[key])
        if value.isdigit():
            return str(self.rng.randint(8, 999))
        return self.coin() if value[0].isupper() else self._some(1)[0]

    # --- whole conversations ------------------------------------------------------
    def mixed(self) -> Dialogue:
        """A long conversation over several subjects."""
        turns: Dialogue = []
        kinds = [self.app, self.limits, self.small_talk, self.recall,
                 self.errand, self.copying, self.contrast]
        for _ in range(self.rng.randint(3, 9)):
            turns += self.rng.choices(kinds, [6, 4, 3, 2, 2, 1, 1])[0]()
        return turns

    def dialogue(self, kind: str) -> Dialogue:
        """One dialogue of a kind, sometimes under a system turn."""
        makers: dict[str, Callable[[], Dialogue]] = {
            "app": self.app, "contrast": self.contrast,
            "talk": self.small_talk, "limits": self.limits,
            "errand": self.errand, "copying": self.copying,
            "recall": self.recall, "mixed": self.mixed}
        turns = makers[kind]()
        if self.rng.random() < 0.3:
            turns = [("system", self.rng.choice(self.talk["systems"])),
                     *turns]
        return turns


def normalise(text: str) -> str:
    """Lower-case words only, for comparing questions."""
    return " ".join(re.findall(r"[a-z0-9+/=-]+", text.lower()))


class Decontaminator:
    """Tells whether a user turn is (nearly) one of the probe questions."""

    def __init__(self, probes: Iterable[str]) -> None:
        self.whole = {normalise(p) for p in probes}
        self.grams = [self._grams(p) for p in self.whole]
        self.index: dict[tuple, list[int]] = {}
        for i, grams in enumerate(self.grams):
            for g in grams:
                self.index.setdefault(g, []).append(i)

    @staticmethod
    def _grams(text: str) -> set[tuple]:
        w = text.split()
        return {tuple(w[i:i + 5]) for i in range(len(w) - 4)}

    def hit(self, text: str) -> bool:
        """Equal after normalising, or sharing over 70% of its 5-grams."""
        text = normalise(text)
        if text in self.whole:
            return True
        seen: dict[int, int] = {}
        for g in self._grams(text):
            for i in self.index.get(g, ()):
                seen[i] = seen.get(i, 0) + 1
        return any(n > 0.7 * len(self.grams[i]) for i, n in seen.items())

    def clean(self, dialogue: Dialogue) -> bool:
        """Whether no user turn of the dialogue is a probe."""
        return not any(r == "user" and self.hit(t) for r, t in dialogue)
