"""One round of training: what there is to learn from, the training itself, the verdict, the adapter kept.

No screen and no command line; torch is loaded only once the work begins.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from chatapp import __version__
from chatapp.core.errors import TrainingError
from chatapp.core.paths import embedded_model, replay_dialogues
from chatapp.core.types import Adapter
from chatapp.engine.base import AdapterSpec, ModelInfo
from chatapp.engine.cache import sha256
from chatapp.engine.gguf import read_header
from chatapp.engine.tuning import TuningClient
from chatapp.session.keeping import keep, proven
from chatapp.session.round_data import (
    data_of,
    groups_of,
    material_of,
    mix_of,
    parity_conversations,
    unranked_prompts,
)
from chatapp.session.round_result import RoundResult, json_safe, stage_metrics
from chatapp.session.run_folder import RoundInput, RunFolder, made_from
from chatapp.training.architectures import require_trainable
from chatapp.training.data import Data, RankingRow, SftRow
from chatapp.training.extra import require_extra
from chatapp.training.memory import Estimate, estimate_from_file, require
from chatapp.training.packing import tokens
from chatapp.training.plan import Plan, Stage, plan
from chatapp.training.progress import Listener, Progress, silent
from chatapp.training.run import Interrupted, Limits
from chatapp.training.settings import Settings

if TYPE_CHECKING:
    from chatapp.session.wiring import House

Method = Literal["auto", "sft", "reward", "dpo", "rloo", "ppo"]


class Round:
    """Plan it, then run it. It has an engine of its own; close it at the end.

    `start`: the adapter to go on from, None for the one in use, `base` for none. `data`: files instead of the
    person's own judgements. `mix`: a file of general dialogue instead of what is shipped. `resume`: the name
    of a run, or `last`: everything but `limits` is then as it was.
    Errors of both: `TrainingError`, `ModelError`, `NotFound`, `EngineError`, `FormatError`.
    """

    def __init__(
        self,
        house: House,
        method: Method = "auto",
        *,
        model: str | None = None,
        start: str | None = None,
        data: Sequence[Path] = (),
        mix: Path | None = None,
        seed: int = 0,
        limits: Limits = Limits(),
        max_memory: int | None = None,
        resume: str | None = None,
    ) -> None:
        self._house, self._limits = house, limits
        self._files, self._mix = list(data), mix
        self._folder: RunFolder | None = None
        self._engine: TuningClient | None = None
        self._data: Data | None = None
        self._given: RoundInput | None = None
        if resume is None:
            self._spec = house.spec(model)
            start_spec = house.adapter(start, self._spec)
            chat = replace(house.settings.sampling, seed=None, max_tokens=96)
            self._request: dict[str, Any] = {
                "version": __version__,
                "method": method,
                "model": self._spec.name,
                "path": str(self._spec.path.absolute()),
                "start": None
                if start_spec is None
                else {"name": start_spec.name, "path": str(start_spec.path)},
                "data": [str(each) for each in self._files],
                "mix": None if mix is None else str(mix),
                "settings": asdict(seeded(Settings(chat=chat, max_memory=max_memory), seed)),
            }
        else:
            self._folder = RunFolder.find(house.paths.runs, resume)
            self._request = self._folder.request()
            self._spec = replace(house.spec(self._request["path"]), name=self._request["model"])

    # What was asked for

    @property
    def run_name(self) -> str | None:
        """Known once the run has begun."""
        return None if self._folder is None else self._folder.name

    @property
    def settings(self) -> Settings:
        return made_from(Settings(), self._request["settings"])

    @property
    def start(self) -> AdapterSpec | None:
        found = self._request["start"]
        return None if found is None else AdapterSpec(found["name"], Path(found["path"]))

    @property
    def _only(self) -> Stage | None:
        method: Method = self._request["method"]
        return None if method == "auto" else method

    # The plan

    def plan(self) -> Plan:
        """What the data can carry; nothing is written. Needs no torch: it counts and tokenises."""
        header = read_header(self._spec.path)
        require_trainable(header)
        data = self._prepared()
        planned = plan(data, self._only)
        lines = list(planned.lines)
        if self.start is not None:
            lines.append(f"goes on from {self.start.name}, and is compared with it")
        if planned.stages:
            needed = self._memory(data)
            if needed is not None:
                lines.append(f"needs about {needed.total / 2**30:.1f} GiB of memory")
        return replace(planned, lines=tuple(lines))

    def _prepared(self) -> Data:
        """The judgements as token ids, by an engine that has the base loaded."""
        if self._data is not None:
            return self._data
        if self._folder is not None:
            self._given = self._folder.read_input()
        else:
            store = self._house.store()
            groups = groups_of(self._files) if self._files else store.groups.list()
            prompts = [] if self._files else unranked_prompts(store, groups)
            self._given = RoundInput(groups, prompts, [], [])
        info = self._loaded()
        known = self._request.setdefault("base_sha256", info.sha256)
        if known != info.sha256:
            raise TrainingError(
                f"the model's file has changed since run {self.run_name} began", "start a new one"
            )
        self._request.setdefault("lineage", self._lineage(info.sha256))
        self._data = data_of(self._given, self.engine, self._request["lineage"])
        self._request.setdefault("data_sha256", self._data.sha256)
        return self._data

    def _lineage(self, sha: str) -> list[str]:
        """The adapter that the round starts from, its parent, and so on."""
        if self.start is None:
            return []
        known = {each.name: each for each in self._house.store().adapters.list(sha, deleted=True)}
        found: list[str] = []
        name: str | None = self.start.name
        while name is not None and name in known:
            found.append(name)
            name = known[name].parent
        return found or [self.start.name]

    def _memory(self, data: Data) -> Estimate | None:
        """What the largest batch will take."""
        rows: list[RankingRow | SftRow] = [*data.train.rankings, *data.train.demonstrations]
        if not rows:
            return None
        largest = sorted(rows, key=lambda row: tokens([row]))[-self.settings.dpo.batch :]
        places = tokens(largest)
        return estimate_from_file(read_header(self._spec.path), places=places, learned=places)

    # The work

    def run(self, progress: Listener = silent) -> RoundResult:
        """Train, judge, and keep what came of it. `Limits.stop` ends it with `Interrupted`.

        Errors: also `TrainingError` when the engine and the trainer do not agree on the adapter: it is not
        registered then.
        """
        if self._folder is not None and (ended := self._folder.outcome()) is not None:
            return RoundResult.from_json(ended)
        planned = self.plan()
        self._refuse_too_little(planned)
        require_extra()
        if (needed := self._memory(self._prepared())) is not None:
            require(needed, self.settings.max_memory)
        for line in planned.lines:
            progress(Progress("plan", 0, 0, note=line))
        try:
            return self._run(progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise TrainingError(
                    "the disk is full; the last checkpoint is kept",
                    f"free some space, then go on with: chatapp train --resume {self.run_name}",
                ) from error
            raise
        finally:
            if self._folder is not None:
                self._folder.unlock()

    def _refuse_too_little(self, planned: Plan) -> None:
        assert self._data is not None
        train, only = self._data.train, self._only
        rankings = f"{self._data.rankings} ranking" + ("" if self._data.rankings == 1 else "s")
        if not planned.stages:
            raise TrainingError(
                f"nothing to learn from yet: {rankings}, {len(train.demonstrations)} edits to learn from",
                "rank on: Ctrl+R in the chat, or `chatapp rank`",
            )
        if only == "sft" and not train.demonstrations:
            raise TrainingError(
                "nothing to imitate yet: 0 edits", "edit a reply: e and its number while ranking"
            )
        if only not in (None, "sft") and not train.rankings:
            raise TrainingError(
                f"nothing to learn from yet: {rankings}, none on the side to learn from",
                "rank on: Ctrl+R in the chat, or `chatapp rank`",
            )

    def _begun(self) -> RunFolder:
        """The folder with all that the run works on in it."""
        assert self._given is not None
        folder = self._folder
        if folder is None:
            folder = RunFolder.new(self._house.paths.runs)
            folder.lock()
            of_guide = self._loaded().sha256 == sha256(embedded_model(), self._house.paths.cache)
            mix, untouched = mix_of(self.engine, replay_dialogues(), self._mix, of_guide)
            self._given = replace(self._given, mix=mix, untouched=untouched)
            folder.write_input(self._given)
            folder.write_request(self._request)
            self._folder = folder
        else:
            folder.lock()
        return folder

    def _run(self, progress: Listener) -> RoundResult:
        begun = time.monotonic()
        folder = self._begun()
        with folder.events() as written:

            def listen(event: Progress) -> None:
                written(event)
                progress(event)
                # A stage stops after its step by itself; between stages nobody else would look.
                if not event.steps and self._limits.stop is not None and self._limits.stop.is_set():
                    raise Interrupted

            listen(Progress("load", 0, 0, note=f"run {folder.name}"))
            result = self._trained(folder, listen, begun)
            folder.write_outcome(result.to_json())
            listen(Progress("done", 0, 0, note=result.reason))
        return result

    def _trained(self, folder: RunFolder, listen: Listener, begun: float) -> RoundResult:
        _quiet()
        from chatapp.training.auto import Trainer
        from chatapp.training.model import load_policy
        from chatapp.training.sampler import EngineSampler

        assert self._given is not None and self._data is not None
        settings, start, info = self.settings, self.start, self._loaded()
        policy = load_policy(
            self._spec.path,
            adapter=None if start is None else start.path,
            seed=settings.seed,
            context=info.n_ctx,
            cache=self._house.paths.cache,
        )
        trainer = Trainer(
            policy,
            EngineSampler(self.engine, folder.path / "rollout.gguf"),
            material_of(self._given, self._data, self.engine),
            folder.stages,
            settings,
            limits=self._limits,
            progress=lambda event: None if event.stage == "plan" else listen(event),
            later_round=start is not None,
        )
        outcome = trainer.run(self._only)
        method, verdict = outcome.method, outcome.verdict
        if method == "keep" and trainer.refused is not None:
            refused = trainer.take_refused()
            method, verdict = refused.method, refused.verdict
        result = RoundResult(
            run=folder.name,
            adapter=None,
            method=method,
            parent=None if start is None else start.name,
            steps=outcome.steps,
            seconds=time.monotonic() - begun,
            peak_memory_bytes=outcome.peak_memory,
            metrics=stage_metrics(folder.stages),
            evaluation=json_safe(verdict.evidence.to_json()),
            accepted=verdict.accepted,
            reason=verdict.reason,
            reward_accuracy=json_safe(asdict(outcome.reward_accuracy)),
            tried=tuple((name, why) for name, why in outcome.tried),
        )
        metadata = {
            "run": folder.name,
            "method": method,
            "parent": result.parent or "base",
            "data.sha256": self._data.sha256,
            "settings": _text(self._request["settings"]),
            "evaluation": _text(result.evaluation),
        }
        reward_file = None
        if (best := trainer.best_reward()) is not None:
            from chatapp.training.serve import write_reward

            reward_file = write_reward(policy, best, folder.path / "reward.gguf", metadata)
        if self._only == "reward":
            return result
        listen(Progress("parity", 0, 0, note="compares the engine with the trainer"))
        conversations = parity_conversations(self._given, self._data, self.engine)
        file = proven(
            policy, folder.path / "adapter.gguf", metadata, self.engine, trainer.material, conversations
        )
        kept = keep(
            self._house.store().adapters,
            self._house.paths.adapters,
            self._adapter(result, info, folder),
            file,
            reward_file,
        )
        return replace(result, adapter=kept.name)

    def _adapter(self, result: RoundResult, info: ModelInfo, folder: RunFolder) -> Adapter:
        registered = self._request["lineage"]
        known = {each.name for each in self._house.store().adapters.list(info.sha256, deleted=True)}
        parent = registered[0] if registered and registered[0] in known else None
        return Adapter(
            name="",
            method=result.method,
            model=self._spec.name,
            model_sha256=info.sha256,
            parent=parent,
            created=time.time(),
            accepted=result.accepted,
            reason=result.reason,
            run=folder.name,
            data_sha256=self._request["data_sha256"],
            settings=self._request["settings"],
            evaluation=result.evaluation,
        )

    # The engine

    @property
    def engine(self) -> TuningClient:
        if self._engine is None:
            paths = self._house.paths
            paths.make()
            self._engine = TuningClient(cache=paths.cache, log=paths.log)
        return self._engine

    def _loaded(self) -> ModelInfo:
        return self.engine.info or self.engine.load(self._spec)

    def close(self) -> None:
        """End the engine; idempotent."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __enter__(self) -> Round:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def seeded(settings: Settings, seed: int) -> Settings:
    """`settings` with this seed in every stage."""
    stages = ("sft", "reward", "dpo", "rloo", "ppo")
    return replace(
        settings, seed=seed, **{name: replace(getattr(settings, name), seed=seed) for name in stages}
    )


def _quiet() -> None:
    """Settings that torch's libraries read when they are loaded."""
    # Waiting threads sleep: the engine's threads need the cores between the steps.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # oneDNN keeps a compiled kernel for each shape, and with it memory.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")


def _text(values: Any) -> str:
    import json

    return json.dumps(values, sort_keys=True)
