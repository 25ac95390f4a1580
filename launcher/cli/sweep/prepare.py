"""A sweep before its first trial: composed and validated, one plan and one built image for each image that a trial may need."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launcher.cli.arguments import Talk
from launcher.cli.prepare import Prepared, build_image, start_local_server
from launcher.cli.timings import Timings
from launcher.config.compiled import ComposedSweep, load_sweep
from launcher.config.spec import ExperimentSpec, Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.plan.origins import origin_of
from launcher.plan.refusals import refuse_one_port_for_many
from launcher.sweep.description import SweepDescription, SweepRequest, describe
from launcher.sweep.search.samplers import make_search
from launcher.sweep.search.study import Study, Suggestion
from launcher.sweep.trial import Trial
from runtime.light_dataclasses import dataclass
from runtime.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class PreparedSweep:
    """Holds the images against garbage collection as long as it lives."""

    composed: ComposedSweep
    state: StateDir
    images: Mapping[str, Prepared]

    @property
    def spec(self) -> ExperimentSpec:
        return self.composed.parent.spec

    @property
    def settings(self) -> Sweep:
        return self.spec.sweep or Sweep()

    def description(self, asked: SweepRequest) -> SweepDescription:
        code = {str(each.image.digest): str(each.plan.code.digest) for each in self.images.values()}
        dimensions = self.composed.dimensions
        return SweepDescription(asked, self.settings, dimensions, describe(self.spec, dimensions, code=code))

    def study(self) -> Study:
        return make_study(self.composed)

    def plan_trial(self, asked: Suggestion) -> Trial:
        """The plan of the trial's image with the trial's own spec."""
        from launcher.plan.planner import with_spec

        composed = self.composed.trial(asked.overrides)
        ready = self.images[_image_key(composed.spec)]
        plan = with_spec(ready.plan, composed.spec, overrides=composed.overrides, state=self.state)
        return Trial(asked.number, asked.overrides, plan, ready.image.digest)


def prepare_sweep(request: SweepRequest, state: StateDir, timings: Timings, *, talk: Talk) -> PreparedSweep:
    """Raises ConfigError for whatever is wrong, before anything is built."""
    with timings.phase("compose"):
        composed = load_sweep(
            request.overrides,
            config_dir=None if request.config_dir is None else Path(request.config_dir),
            cwd=Path(request.cwd),
            environ=os.environ,
            with_requirements=request.requirements,
            command=request.command,
        )
        make_study(composed)
    refuse_one_port_for_many(composed.parent.spec)
    start_local_server(composed.parent.spec, state)
    return PreparedSweep(composed, state, _build_images(composed, state, timings, talk=talk))


def make_study(composed: ComposedSweep) -> Study:
    """The study of a sweep that begins. Raises ConfigError for settings that no search has."""
    settings = composed.parent.spec.sweep or Sweep()
    search = make_search(composed.dimensions, settings, where=lambda key: origin_of(composed.parent.origins, key))
    return Study(search, composed.dimensions, settings, base_seed=composed.parent.spec.seed, enqueued=composed.enqueued)


def _build_images(sweep: ComposedSweep, state: StateDir, timings: Timings, *, talk: Talk) -> dict[str, Prepared]:
    from launcher.cli.progress import passing_progress
    from launcher.plan.planner import plan as make_plan

    images: dict[str, Prepared] = {}
    for overrides in _points_by_image(sweep.dimensions):
        composed = sweep.trial(overrides)
        key = _image_key(composed.spec)
        if key not in images:
            with timings.phase("plan"), passing_progress(talk) as observer:
                made = make_plan(composed, state=state, environ=os.environ, observer=observer)
            images[key] = build_image(made, state, timings, talk=talk)
    return images


def _points_by_image(dimensions: Sequence[Dimension]) -> Iterator[tuple[str, ...]]:
    """Points that show every image: all combinations of what images depend on, beside the first values of the rest."""
    return itertools.product(*(each.choices if _shapes_the_image(each) else (each.first,) for each in dimensions))


def _shapes_the_image(dimension: Dimension) -> bool:
    """`params`, `env` and the like do not; a group (`image=…`, `experiment=…`) may."""
    return dimension.key.partition(".")[0] in ("image", "code", "workdir", "experiment")


def _image_key(spec: ExperimentSpec) -> str:
    return repr((spec.image, spec.code, spec.workdir))
