"""One round of training, without a screen or a command line: plan it, run it, go on with it.

torch is loaded only once the work begins.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from chatapp.core.errors import EngineDied, TrainingError
from chatapp.core.paths import expanded
from chatapp.engine.base import AdapterSpec, ModelInfo, ModelSpec
from chatapp.engine.gguf import GgufHeader, read_header
from chatapp.engine.study import cache_bytes
from chatapp.engine.threads import cores
from chatapp.session.round_data import data_of, groups_of, mix_of, mix_of_file, unranked_prompts
from chatapp.session.round_request import Method, RoundRequest, examined, settings_for
from chatapp.session.round_result import RoundResult
from chatapp.session.round_work import Work, quiet
from chatapp.session.run_folder import RoundInput, RunFolder
from chatapp.training import processes
from chatapp.training.architectures import require_trainable
from chatapp.training.base import half_precision_pays
from chatapp.training.data import Data
from chatapp.training.extra import require_extra
from chatapp.training.memory import Estimate, estimate_from_file, largest_batch, require, reward_ranks
from chatapp.training.plan import Plan, plan
from chatapp.training.progress import Listener, Progress, silent
from chatapp.training.run import Interrupted, Limits

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.session.wiring import House

_MOST_ENGINES = 4
_SMALL = 128 * 2**20
"""Bytes of a model file that may be loaded several times over."""
_RANK_ON = "rank on: Ctrl+R in the chat, or `chatapp rank`"


class Round:
    """Plan it, then run it. It has an engine of its own; close it at the end.

    `start`: the adapter to go on from, None for the one in use, `base` for none. `data`: files instead of the
    person's own judgements. `mix`: a file of general dialogue instead of what is shipped. `resume`: the name
    of a run, or `last`: everything but `limits` is then as it was.
    Errors of all methods: `TrainingError`, `ModelError`, `NotFound`, `EngineError`, `FormatError`.
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
        self._folder: RunFolder | None = None
        self._engines: list[TuningClient] = []
        self._given: RoundInput | None = None
        self._notes: tuple[str, ...] = ()
        self._data: Data | None = None
        if resume is not None:
            self._folder = RunFolder.find(house.paths.runs, resume)
            self._request = RoundRequest.from_json(self._folder.request())
            self._spec = replace(house.spec(str(self._request.path)), name=self._request.model)
            return
        self._spec = house.spec(model)
        found = house.adapter(start, self._spec)
        self._request = RoundRequest(
            method,
            self._spec.name,
            self._spec.path.absolute(),
            found,
            settings_for(seed, house.sampling(self._spec), max_memory, found),
            tuple(str(expanded(each).absolute()) for each in data),
            None if mix is None else str(expanded(mix).absolute()),
        )

    @property
    def run_name(self) -> str | None:
        """Known once the run has begun."""
        return None if self._folder is None else self._folder.name

    # The plan

    def plan(self) -> Plan:
        """What the data can carry; nothing is written. Needs no torch: it counts and tokenises. What cannot
        be done as it was asked for is refused here."""
        data, planned = self._planned()
        needed, limit = self._memory(data, planned), self._request.settings.max_memory
        if needed is not None and limit is not None:
            require(needed, limit)
        return self._described(planned, needed)

    def _planned(self) -> tuple[Data, Plan]:
        """What there is to learn from, and what it can carry."""
        require_trainable(self._header)
        data = self._prepared()
        return data, plan(data, self._request.only)

    def _described(self, planned: Plan, needed: Estimate | None) -> Plan:
        """With how it will be done, and what it needs."""
        lines = [*planned.lines, *self._notes]
        if self._request.start is not None:
            lines.append(f"goes on from {self._request.start.name}, and is compared with it")
        if not self._request.settings.half:
            lines.append("computes in float32: bfloat16 is no faster on this processor")
        if needed is not None:
            slower = ", with layers computed twice to take less" if needed.again else ""
            lines.append(f"needs about {needed.total / 2**30:.1f} GiB of memory{slower}")
        return replace(planned, lines=tuple(lines))

    def _prepared(self) -> Data:
        """The judgements as token ids, by an engine that has the base loaded."""
        if self._data is None:
            self._given = self._input()
            info = self._loaded()
            if self._request.base_sha256 not in ("", info.sha256):
                raise TrainingError(
                    f"the model's file has changed since run {self.run_name} began", "start a new one"
                )
            if self._folder is None:
                lineage = self._lineage(self._request.start, info.sha256)
                self._request = replace(self._request, base_sha256=info.sha256, lineage=lineage)
            self._data = data_of(self._given, self.engine, self._request.lineage)
            if self._folder is None:
                most = self._house.sampling(self._spec).max_tokens
                settings = examined(self._request.settings, self._data, most)
                self._request = replace(self._request, settings=settings)
            self._request = replace(self._request, data_sha256=self._data.sha256)
        return self._data

    def _input(self) -> RoundInput:
        if self._folder is not None:
            return self._folder.read_input()
        mix, untouched = ([], []) if self._request.mix is None else mix_of_file(Path(self._request.mix))
        if self._request.data:
            groups, self._notes = groups_of([Path(each) for each in self._request.data])
            return RoundInput(groups, [], mix, untouched)
        store = self._house.store()
        groups = store.groups.list()
        return RoundInput(groups, unranked_prompts(store, groups), mix, untouched)

    def _lineage(self, start: AdapterSpec | None, base: str) -> tuple[str, ...]:
        if start is None:
            return ()
        known = {each.name: each for each in self._house.store().adapters.list(base, deleted=True)}
        found: list[str] = []
        name: str | None = start.name
        while name is not None and name in known:
            found.append(name)
            name = known[name].parent
        return tuple(found) or (start.name,)

    def _memory(self, data: Data, planned: Plan) -> Estimate | None:
        """What the largest batch will take."""
        settings = self._request.settings
        places = largest_batch(data.train, settings, planned.stages) if planned.stages else 0
        if not places:
            return None
        return estimate_from_file(
            self._header,
            places=places,
            rewards=reward_ranks(settings, planned.stages),
            caches=self._caches,
            limit=settings.max_memory,
            half=settings.half,
        )

    # The work

    def run(self, progress: Listener = silent) -> RoundResult:
        """Train, judge, and keep what came of it; a run that has ended says so again.

        `Limits.stop` ends it with `Interrupted`.
        """
        if self._folder is not None and (ended := self._folder.outcome()) is not None:
            return RoundResult.from_json(ended)
        data, planned = self._planned()
        self._refuse_too_little(planned, data)
        require_extra()
        if self._folder is None and not self._half_pays():
            self._request = replace(self._request, settings=self._request.settings.in_float32())
        needed = self._memory(data, planned)
        if needed is not None:
            require(needed, self._request.settings.max_memory)
        for line in self._described(planned, needed).lines:
            progress(Progress("plan", 0, 0, note=line))
        try:
            with self._working(progress) as (folder, listen):
                return self._work(folder, data, listen)
        except EngineDied as death:
            raise TrainingError(f"the engine ended: {death}", self._go_on()) from death
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = f"free some space, then {self._go_on()}"
                raise TrainingError("the disk is full; the last checkpoint is kept", hint) from error
            raise

    def _half_pays(self) -> bool:
        """Tried once, before a run begins: it goes on as it began, also on another machine."""
        quiet()
        return processes.agreed(half_precision_pays())

    def _go_on(self) -> str:
        begun = "" if self.run_name is None else f" --resume {self.run_name}"
        return f"go on with: chatapp train{begun}"

    def _refuse_too_little(self, planned: Plan, data: Data) -> None:
        only = self._request.only
        there = f"{data.rankings} rankings, {len(data.train.demonstrations)} edits"
        if only == "sft" and not data.train.demonstrations:
            raise TrainingError(f"nothing to imitate yet: {there}", "edit a reply: e while ranking")
        if not planned.stages or (only not in (None, "sft") and not data.train.rankings):
            raise TrainingError(f"nothing to learn from yet: {there}", _RANK_ON)

    @contextmanager
    def _working(self, progress: Listener) -> Iterator[tuple[RunFolder, Listener]]:
        """The run's folder, locked by the first process, and who hears what is said."""
        if processes.number():
            self._folder = RunFolder.find(self._house.paths.runs, processes.agreed(""))
            self._given = self._folder.read_input()
            yield self._folder, self._listener(silent, silent)
            return
        with self._begun(progress) as folder, folder.events() as written:
            processes.agreed(folder.name)
            yield folder, self._listener(written, progress)

    def _begun(self, progress: Listener) -> RunFolder:
        """The run's folder with all that it works on in it."""
        if self._folder is None:
            assert self._given is not None
            if self._request.mix is None:
                base, heard = self._loaded().sha256, self._listener(silent, progress)
                mix, untouched = mix_of(self.engine, base, self._house.paths.cache, heard)
                self._given = replace(self._given, mix=mix, untouched=untouched)
            self._folder = RunFolder.new(self._house.paths.runs)
            self._folder.write_input(self._given)
            # A run is there once this is: what it works on lies beside it by then.
            self._folder.write_request(self._request.to_json())
        return self._folder

    def _listener(self, written: Listener, progress: Listener) -> Listener:
        stop = self._limits.stop

        def listen(event: Progress) -> None:
            written(event)
            progress(event)
            # A stage stops after its step by itself; where there is none, nobody else would look.
            if (not event.steps or event.stage == "mix") and stop is not None and stop.is_set():
                raise Interrupted

        return listen

    def _work(self, folder: RunFolder, data: Data, listen: Listener) -> RoundResult:
        assert self._given is not None
        listen(Progress("begin", 0, 0, note=f"run {folder.name}"))
        paths = self._house.paths
        adapters = self._house.store().adapters
        result = Work(
            self._request,
            folder,
            self._given,
            data,
            self._samplers(),
            adapters,
            paths.adapters,
            paths.cache,
            self._limits,
            self._caches,
        ).done(listen)
        return result

    # The engine

    @property
    def engine(self) -> TuningClient:
        if not self._engines:
            self._engines.append(self._house.another_engine())
        return self._engines[0]

    def _samplers(self) -> Sequence[TuningClient]:
        """The engine; where the model is small and replies are sampled, one for each core."""
        while len(self._engines) < self._most_engines:
            self._engines.append(self._house.another_engine())
            self._engines[-1].load(self._engine_spec)
        return self._engines

    @property
    def _most_engines(self) -> int:
        if not self._small or self._request.only == "reward":  # that reads what was ranked alone
            return 1
        return max(1, min(cores() // (self._engine_spec.threads * processes.count()), _MOST_ENGINES))

    @property
    def _caches(self) -> int:
        """Bytes of the KV caches of all engines at most."""
        info = self._loaded()
        return self._most_engines * cache_bytes(self._header, info.n_ctx, info.cells)

    def _loaded(self) -> ModelInfo:
        return self.engine.info or self.engine.load(self._engine_spec)

    @property
    def _engine_spec(self) -> ModelSpec:
        """A small model samples fastest with one thread in each of several engines."""
        return replace(self._spec, threads=self._spec.threads or 1) if self._small else self._spec

    @cached_property
    def _header(self) -> GgufHeader:
        return read_header(self._spec.path)

    @property
    def _small(self) -> bool:
        return self._spec.path.stat().st_size < _SMALL

    def close(self) -> None:
        """End the engines; idempotent."""
        while self._engines:
            self._engines.pop().close()

    def __enter__(self) -> Round:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
