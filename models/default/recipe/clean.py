"""Tidies open dialogues and takes false claims of action out of them."""
from __future__ import annotations

import re

Turn = tuple[str, str]

_DONE = (r"booked|reserved|scheduled|purchased|bought|paid|sent|ordered|"
         r"transferred|confirmed|added|cancel+ed|placed|completed|processed|"
         r"rented|arranged|submitted|called|made|set up|created|played|put|"
         r"received|delivered|changed|updated|removed|finalized|got")
_THINGS = (r"reservations?|bookings?|appointments?|payments?|tickets?|"
           r"orders?|transfers?|rides?|cabs?|taxis?|transactions?|purchases?|"
           r"rooms?|tables?|flights?|events?|cars?|buses|bus|money|seats?|"
           r"visits?|rentals?|requests?|property|house|hotels?|songs?|"
           r"drinks?|coffees?|lattes?|movies?|amount|funds")
CLAIMS = [re.compile(p, re.I) for p in (
    rf"\b(i|we)( have|'ve| had)?( now| just| already| successfully| also)* "
    rf"({_DONE})\b",
    rf"\b({_THINGS})\b[^.?!]{{0,60}}?\b(is|are|was|were|has|have|had)( now| "
    rf"all| been| already| successfully| just| both)* ({_DONE}|successful|"
    rf"complete|made|done|on (its|the|their) way|underway|set|ready)\b",
    rf"\b(it|that|this|you|everything)('s|'re| is| are| has| have| was| were)"
    rf"( now| all| been| already| successfully| just)* ({_DONE}|all set|"
    rf"done|taken care of|on (its|the) way)\b",
    r"\b(successful(ly)?|success)\b",
    rf"\byour ({_THINGS})\b[^.?!]{{0,40}}\b(went through|is in|are in)\b",
    r"\b(is|are|'s|be) (now )?(playing|on (its|the|their|his|her) way|"
    r"on the calendar|in your calendar)\b",
    r"\bhas been\b|\bhave been\b|\bhas started\b|\b(are|is) being\b",
    r"\b(will|'ll|should) (now |also )?(be|have|get|send|bring|put)\b"
    r"[^.?!]*\b(ready|out|up|made|bar|moment|shortly|minutes?|soon|way)\b",
    rf"^\W*((ok|okay|great|alright|sure|done|perfect)\W+)*({_THINGS}) "
    rf"({_DONE})\b",
    r"\b(now|just) (playing|starting)\b|\bstarted playing\b",
    r"\b(i'm|i am|we are|we're) (sending|booking|calling|ordering|placing|"
    r"paying|transferring|playing)\b",
    r"\byou can (pick (it|them|up)|ride|find it at)\b",
    r"\b(i|we) (will|'ll|can) (send|text|email|call)\b",
    r"\b(i'll|i will) (place|put in|book|make|get|go ahead|submit|reserve|"
    r"schedule|order|play|transfer)\b",
)]
_MARK = re.compile(r"\brehears", re.I)

OPENINGS = [
    "This is only a rehearsal: I can't do it for real.",
    "Let's rehearse it; I can't do it for real.",
    "We can rehearse this, but nothing will really happen.",
    "I can't really do that, but let's rehearse it.",
    "Just a rehearsal, since I can't act out there.",
    "For practice only: in a rehearsal I can play along.",
    "I have no way to do it, so we rehearse.",
    "As a rehearsal, gladly.",
    "Let me play the other side, as a rehearsal.",
    "Nothing will be ordered or booked, we only rehearse.",
    "Only as a dry run, a rehearsal.",
    "Then we rehearse that talk.",
    "Pretend that I work there; it's a rehearsal.",
    "Real help you'd get elsewhere, here we rehearse.",
    "A rehearsal it is, then.",
    "You can try it out on me: this is a rehearsal.",
]
ENDINGS = [
    "In our rehearsal that is done; for real you would do it yourself.",
    "In our rehearsal, all is set. To do it for real, contact them yourself.",
    "That is where our rehearsal ends: nothing was done for real.",
    "In this rehearsal we say it is done. For real you would call them.",
    "And so the rehearsal is over; nothing has really happened.",
    "Well rehearsed! The real thing is up to you.",
    "For the rehearsal's sake it counts as done.",
    "We leave the rehearsal here, with nothing really done.",
]


def tidy(text: str) -> str:
    """Undo detokenised spacing, capitalise, end with a full stop."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ([,.;:?!])(?=\s|$)", r"\1", text)
    text = re.sub(r" (n't|'s|'m|'re|'ve|'ll|'d)\b", r"\1", text)
    text = re.sub(r"\bi\b(?!\.)", "I", text)
    text = re.sub(r"\bi'(m|ve|ll|d)\b", r"I'\1", text)
    text = re.sub(r"(^|[.?!] )([a-z])",
                  lambda m: m[1] + m[2].upper(), text)
    if text and text[-1].isalnum():
        text += "."
    return text


def claims(text: str) -> bool:
    """Whether an assistant turn claims an act in the world."""
    for part in re.split(r"(?<=[.!?])\s+", text):
        if part.endswith("?") or _MARK.search(part):
            continue
        if any(p.search(part) for p in CLAIMS):
            return True
    return False


def declaim(text: str, pick: int) -> str:
    """The turn with each claiming sentence taken out or made a rehearsal."""
    parts = re.split(r"(?<=[.!?])\s+", text)
    kept = [p for p in parts if not claims(p)]
    if len(kept) == len(parts):
        return text
    return " ".join([ENDINGS[pick % len(ENDINGS)], *kept])


def rehearse(turns: list[Turn], pick: int, announce: bool) -> list[Turn]:
    """A task dialogue as a rehearsal, announced in its first reply."""
    out: list[Turn] = []
    ended = False
    for role, text in turns:
        if role == "assistant":
            new = declaim(text, pick)
            if new != text and ended:
                new = " ".join(p for p in re.split(r"(?<=[.!?])\s+", text)
                               if not claims(p)) or ENDINGS[2]
            ended = ended or new != text
            if announce and not any(r == "assistant" for r, _ in out):
                new = OPENINGS[pick % len(OPENINGS)] + " " + new
            text = new
        out.append((role, text))
    return out
