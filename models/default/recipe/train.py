"""Trains the guide: packed rows, Muon and AdamW, five stages of data.

Beside the next token the network learns what a user turn means: a linear
layer on what the block `middle` hands on at the last token before the reply tells
the meanings of composed turns apart (multi-task learning, Caruana 1997).
Without it the reply is picked word by word, and picks up less of what was
asked than a linear classifier does. The layer is not part of the file.

Where a reply takes over what the user told before, one head of the block
after `middle` learns to look at the very token that comes next (attention
supervised as in Liu et al. 2016, arXiv 1609.04186). Without it so small a
network never finds the way from a question to what was told: after 147M
tokens it told back whatever had been told last.

Under torchrun the rows of a step are shared out among the processes and
their gradients summed, so that a run means the same on any number of them.
"""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as together
import torch.nn.functional as functional
from model import Guide, Shape, sight_mask
from packing import ANSWERED, Pool, Row, Stream
from start import Start, grown
from torch import Tensor, nn

HEAD = 2  # the head of the block after `middle` that looks at what is taken over
NARROW = dict.fromkeys(ANSWERED, 0.7)
"""Shares of dialogues whose replies see only the head of their turn."""


@dataclass(frozen=True)
class Phase:
    """A part of the run: until which share of the tokens, rows, mixture."""

    until: float
    row: int
    mix: dict[str, float]


WHOLE = {
    "sgd": .04, "topical": .035, "taskmaster": .01, "oasst": .003,
    "drills": .04, "recall": .09, "passing": .07, "app": .22, "noisy": .12, "contrast": .07, "talk": .15,
    "limits": .13, "errand": .005, "mixed": .05}
"""What the guide is for."""
PHASES = [
    # sentences first, and copying early
    Phase(0.23, 256, {
        "sgd": .25, "topical": .14, "taskmaster": .03, "oasst": .02, "chatterbot": .01,
        "drills": .12, "recall": .08, "passing": .05, "app": .14, "contrast": .04, "talk": .04,
        "limits": .06, "errand": .03}),
    # open dialogue and drills of copying
    Phase(0.39, 512, {
        "sgd": .20, "topical": .22, "taskmaster": .04, "oasst": .02, "chatterbot": .01,
        "drills": .20, "recall": .07, "passing": .05, "app": .08, "contrast": .02, "talk": .03,
        "limits": .03, "errand": .03}),
    # more and more of its own subjects
    Phase(0.77, 512, {
        "sgd": .05, "topical": .06, "taskmaster": .02, "oasst": .01, "chatterbot": .01,
        "drills": .05, "recall": .10, "passing": .06, "app": .25, "noisy": .07, "contrast": .05, "talk": .09,
        "limits": .14, "errand": .02, "mixed": .03}),
    Phase(0.96, 512, WHOLE),
    # open dialogue again, which is forgotten fast
    Phase(1.00, 1024, {
        "sgd": .14, "topical": .15, "taskmaster": .05, "oasst": .003,
        "drills": .04, "recall": .10, "passing": .08, "app": .19, "noisy": .05, "contrast": .04, "talk": .09,
        "limits": .07, "errand": .003, "mixed": .02}),
]
LEG_MIX = {
    "sgd": .08, "topical": .10, "taskmaster": .04, "oasst": .003,
    "drills": .04, "recall": .08, "passing": .14, "app": .25, "noisy": .05, "contrast": .06, "talk": .13,
    "limits": .13, "errand": .003, "mixed": .05}
LEG = [Phase(0.8, 512, LEG_MIX), Phase(1.00, 1024, LEG_MIX)]
"""How a guide that is there already is trained on (see start.py)."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run."""

    tokens: int
    seed: int = 7
    batch: int = 6144      # tokens a step
    micro: int = 1024      # tokens a pass; small ones stay in the cache
    muon_lr: float = 4e-3
    adam_lr: float = 3e-3
    warm: int = 60
    dropout: float = 0.1
    sharp: float = 0.9     # from this share of the steps on without dropout
    save_every: int = 100
    meanings: int = 1      # how many meanings there are
    meaning: float = 1.0   # weight of telling them apart, beside the tokens
    look: float = 0.5      # weight of looking at what is taken over
    leg: bool = False      # going on from a guide that is there already
    before: int = 0        # tokens that it was trained on
    peak: float = 1.0      # share of the learning rates at the peak

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return max(1, self.tokens // self.batch)

    def rate(self, step: int, first: int = 0) -> float:
        """Learning rate at a step, as a share of its peak: warmed up from
        `first`, then straight down to nothing (arXiv 2502.15938)."""
        return self.peak * min(1.0, (step - first + 1) / self.warm) * (
            1 - 0.98 * step / self.steps)

    def phase(self, step: int) -> Phase:
        """The phase of a step."""
        phases = self.phases
        return next(p for p in phases if step / self.steps < p.until
                    or p is phases[-1])

    @property
    def phases(self) -> list[Phase]:
        """All phases in order."""
        return LEG if self.leg else PHASES


def batches(pools: dict[str, Pool], plan: Plan) -> Iterator[list[Row]]:
    """The rows of every step, the same for the same plan."""
    stream = Stream(pools, plan.seed, NARROW)
    now, rows = None, iter(())
    for step in range(plan.steps):
        phase = plan.phase(step)
        if phase is not now:
            now, rows = phase, stream.rows(phase.mix, phase.row)
        yield [next(rows) for _ in range(plan.batch // phase.row)]


def loss_sums(model: Guide, teller: nn.Linear, ids: Tensor, sight: Tensor,
              places: Tensor, nexts: Tensor, weights: Tensor,
              turns: Tensor, meant: Tensor,
              source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sums of the cross-entropies of a batch: of the tokens `nexts`
    after `places`, of the meanings `meant` at `turns`, and of where one head
    looks, which should be at `source` (see `targets`)."""
    kind = ids.device.type
    mask = sight_mask(sight, torch.bfloat16)
    middle = model.shape.middle
    with torch.autocast(kind, torch.bfloat16):
        last, within = model.states(ids, mask, middle)
        logits = functional.linear(last.flatten(0, 1)[places], model.embed.weight)
        length = ids.shape[1]
        q, k = model.blocks[middle].looks(within, model.cos[:length], model.sin[:length], HEAD)
    score = (q * q.shape[-1] ** -0.5).float() @ k.float().transpose(-1, -2) + mask[:, 0]
    looked = functional.cross_entropy(score.flatten(0, 1), source.flatten(), ignore_index=-1,
                                      reduction="sum")
    within = within.flatten(0, 1)[turns].float()
    within = within * torch.rsqrt(within.pow(2).mean(-1, keepdim=True) + model.shape.eps)
    with torch.autocast(kind, torch.bfloat16):
        told = teller(within)
    each = functional.cross_entropy(logits.float(), nexts, reduction="none")
    meanings = functional.cross_entropy(told.float(), meant, ignore_index=-1, reduction="sum")
    return (each * weights).sum(), meanings, looked


def targets(rows: list[Row], step: int = 256) -> list[np.ndarray]:
    """What `loss_sums` takes of some rows. Only places that count are told
    apart; `places` and `turns` are filled up, with weight 0 and meaning -1,
    so that few sizes occur: each is compiled once."""
    ids, weights, sight, meant, source = (np.stack(x) for x in zip(*rows, strict=True))
    weights[:, -1] = 0
    nexts = np.roll(ids, -1, axis=1)

    def filled(counts: np.ndarray, step: int) -> tuple[np.ndarray, int]:
        found = np.flatnonzero(counts)
        return np.pad(found, (0, -len(found) % step or step * (not len(found)))), len(found)

    places, count = filled(weights, step)
    turns, known = filled(meant >= 0, step // 4)
    weight, meaning = weights.flat[places], meant.flat[turns]
    weight[count:], meaning[known:] = 0, -1
    return [ids, sight, places, nexts.flat[places], weight, turns, meaning, source]


def optimizers(model: Guide, teller: nn.Linear, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embedding, norms and the teller."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in named if p.ndim != 2 or "embed" in n]
    others += teller.parameters()
    return [torch.optim.Muon(matrices, lr=plan.muon_lr, weight_decay=0.05,
                             adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=plan.adam_lr, betas=(0.9, 0.95),
                              weight_decay=0.0)]


def train(pools: dict[str, Pool], shape: Shape, plan: Plan, work: Path,
          compiled: bool = True, start: Start | None = None) -> Guide:
    """Run (or go on with) the plan, from nothing or from `start`; checkpoints
    and log lie in `work`."""
    torch.manual_seed(plan.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Guide(shape)
    teller = nn.Linear(shape.width, plan.meanings)
    if start:
        model.load_state_dict(grown(start.weights, shape.layers))
        # it learns to tell before what it tells moves the network
        nn.init.zeros_(teller.weight)
    model.to(device)
    teller.to(device)
    tools = optimizers(model, teller, plan)
    peaks = [plan.muon_lr, plan.adam_lr]
    rank, world = join()
    first, spent = 0, start.seconds if start else 0.0
    latest = work / "latest.pt"
    if latest.exists():
        state = torch.load(latest, map_location=device)
        if state["plan"] == asdict(plan):
            model.load_state_dict(state["model"])
            teller.load_state_dict(state["teller"])
            for tool, saved in zip(tools, state["optimizers"], strict=True):
                tool.load_state_dict(saved)
            first, spent = state["step"], state["seconds"]
    run = torch.compile(loss_sums, dynamic=False) if compiled else loss_sums
    learnt = [*model.parameters(), *teller.parameters()]
    began, seen, shown = time.time(), 0, time.time()
    log = (work / "train.jsonl" if rank == 0 else Path(os.devnull)).open("a")
    for step, rows in enumerate(batches(pools, plan)):
        if step < first:
            continue
        rate = plan.rate(step, first)
        model.dropout = plan.dropout if step < plan.sharp * plan.steps else 0.0
        for tool, peak in zip(tools, peaks, strict=True):
            for group in tool.param_groups:
                group["lr"] = peak * rate
            tool.zero_grad(set_to_none=True)
        total = float(sum(r[1][:-1].sum() for r in rows))
        known = max(1, sum(int((r[3] >= 0).sum()) for r in rows))
        copied = max(1, sum(int((r[4] >= 0).sum()) for r in rows))
        length = len(rows[0][0])
        per = max(1, (plan.micro if device == "cpu" else 65536) // length)
        loss = missed = astray = 0.0
        for i in range(rank * per, len(rows), world * per):
            part = [torch.from_numpy(x).to(device) for x in targets(rows[i:i + per])]
            tokens, meanings, looked = run(model, teller, *part)
            (tokens / total + plan.meaning * meanings / known
             + plan.look * looked / copied).backward()
            loss += tokens.item() / total
            missed += meanings.item() / known
            astray += looked.item() / copied
        if world > 1:
            loss, missed, astray = add_up(learnt, [loss, missed, astray])
        for learner in (model, teller):
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for tool in tools:
            tool.step()
        seen += plan.batch
        if step % 20 == 0 or step == plan.steps - 1:
            now = time.time()
            speed = seen / (now - shown)
            left = (plan.steps - step) * plan.batch / speed
            line = {"step": step, "tokens": (step + 1) * plan.batch,
                    "loss": round(loss, 4), "meaning": round(missed, 4),
                    "look": round(astray, 4), "rate": round(rate, 4),
                    "row": length, "tokens_s": round(speed),
                    "minutes_left": round(left / 60, 1)}
            if rank == 0:
                print(line, flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            seen, shown = 0, now
        if rank == 0 and ((step + 1) % plan.save_every == 0
                          or step == plan.steps - 1):
            save(model, teller, tools, plan, step + 1,
                 spent + time.time() - began, latest)
    log.close()
    return model


def join() -> tuple[int, int]:
    """This process's number and how many there are (see torchrun)."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    together.init_process_group("gloo")
    return together.get_rank(), world


def add_up(learnt: list[nn.Parameter], losses: list[float]) -> list[float]:
    """Sum the gradients and the losses over all processes."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
    flat = torch.cat([g.flatten() for g in grads] + [torch.tensor(losses)])
    together.all_reduce(flat)
    *parts, sums = flat.split([*(g.numel() for g in grads), len(losses)])
    for p, part in zip(learnt, parts, strict=True):
        p.grad = part.view_as(p)
    return sums.tolist()


def save(model: Guide, teller: nn.Linear, tools: list[torch.optim.Optimizer], plan: Plan,
         step: int, seconds: float, path: Path) -> None:
    """Write a checkpoint under a new name, then rename it."""
    part = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "teller": teller.state_dict(), "step": step,
                "optimizers": [t.state_dict() for t in tools],
                "plan": asdict(plan), "shape": model.shape.as_dict(),
                "seconds": seconds}, part)
    part.replace(path)


def load(path: Path) -> tuple[Guide, dict]:
    """The model of a checkpoint, and the checkpoint."""
    state = torch.load(path, map_location="cpu")
    model = Guide(Shape(**state["shape"]))
    model.load_state_dict(state["model"])
    return model.eval(), state


def trained(state: dict) -> int:
    """Tokens that the model of a checkpoint was trained on, all legs."""
    return state["plan"]["before"] + state["step"] * state["plan"]["batch"]
