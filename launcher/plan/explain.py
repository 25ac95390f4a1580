"""`launch plan`: what would be built and run, hit or miss for each layer, and for a miss what changed since the last build of the
experiment. Reads the store, changes nothing.

The last build is the image that has the experiment's name; what it was made from is its recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.config.spec import ExperimentSpec
from launcher.plan.code.left_out import LeftOut, include_hint, left_out_words
from launcher.plan.launch_plan import LaunchPlan, Lock
from launcher.plan.machine_share import shm_share, this_machine
from launcher.plan.origins import shown_path
from launcher.plan.plan_changes import PlanChanges
from launcher.plan.plan_json import to_document
from runtime.build.cache_key import needs_parent, plan_key
from runtime.build.plan import InstallWheel, Step, UnpackDebs
from runtime.build.step_label import step_label
from runtime.build.step_states import StepState
from runtime.build.step_states import explain as explain_steps
from runtime.light_dataclasses import dataclass
from runtime.plurals import counted, first_few, size_words
from runtime.store.records import Image
from runtime.store.store import Store

_MOST_NAMED = 6
_WORTH_A_WORD = 1 << 20
_MUCH_CUDA = 500 << 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan beside what the store has of it."""

    plan: LaunchPlan
    image: Image | None
    """The finished image, if it is there."""
    steps: tuple[StepState, ...]
    reasons: tuple[tuple[str, ...], ...]
    """For each step why it has to be done; empty for a hit."""
    last: Image | None
    """What the experiment's last build gave."""
    changes: tuple[str, ...] | None
    """Everything that changed since then; None where that isn't known."""
    left_out: tuple[LeftOut, ...] = ()
    """What git ignores of the code, and the image does not get."""

    @property
    def hits(self) -> int:
        return sum(state.layer is not None for state in self.steps)

    def to_json(self) -> dict[str, Any]:
        """For scripts: the summary, the layers, and the whole plan."""
        plan = self.plan
        return {
            "experiment": plan.spec.name,
            "spec_digest": plan.spec_digest,
            "code_digest": plan.code.digest,
            "lock_digest": None if plan.lock is None else plan.lock.digest,
            "base_digest": plan.base_digest,
            "image_digest": None if self.image is None else self.image.digest,
            "hits": self.hits,
            "misses": len(self.steps) - self.hits,
            "last_image_digest": None if self.last is None else self.last.digest,
            "changes": None if self.changes is None else list(self.changes),
            "left_out": [each._asdict() for each in self.left_out],
            "layers": [_layer_document(state, why) for state, why in zip(self.steps, self.reasons, strict=True)],
            "argv": list(plan.argv),
            "plan": to_document(plan),
        }

    def text(self) -> str:
        """For people."""
        lines = [f"{self.plan.spec.name}  spec {self.plan.spec_digest.short}", f"  {'changed':<8} {self._summary()}"]
        lines += [f"  {name:<8} {value}" for name, value in self._facts()]
        lines.append(f"image: {self._verdict()}")
        for state, why in zip(self.steps, self.reasons, strict=True):
            lines.append(_layer_line(state))
            lines += [f"          {reason}" for reason in why]
        return "\n".join(lines)

    def _summary(self) -> str:
        if self.last is None:
            return "there is no earlier build of this experiment here"
        if self.changes is None:
            return f"not known: image {self.last.digest.short} has no recipe to compare with"
        more = len(self.changes) - _MOST_NAMED
        words = "; ".join(self.changes[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        return f"{words or 'nothing'} (since image {self.last.digest.short})"

    def _facts(self) -> list[tuple[str, str]]:
        plan = self.plan
        image, lock = plan.spec.image, plan.lock
        base = image.base if image.dockerfile is None else shown_path(Path(image.dockerfile))
        facts = [("command", " ".join(plan.argv)), ("base", f"{base} ({plan.base_digest.short})")]
        if lock is not None:
            facts.append(
                ("lock", f"{counted(len(lock.wheels), 'package')} for Python {lock.python} ({lock.digest.short}, {lock.source})")
            )
            for name, whose, packages in (("provided", "by", lock.provided), ("replaced", "of", lock.replaced)):
                if packages:
                    facts.append((name, f"{whose} the base: {first_few([*map(' '.join, packages)], most=_MOST_NAMED)}"))
        facts.append(("code", f"{counted(len(plan.code.files), 'file')} of {plan.code.root} ({_revision(plan)})"))
        if self.left_out:
            words = left_out_words(self.left_out)
            facts.append(("left out", f"{words}: git ignores it; {include_hint(self.left_out[0].path)}"))
        facts += [
            (f"data.{name}", f"{pin.source}: {counted(pin.files, 'file')}, {size_words(pin.size_bytes)} ({pin.kind})")
            for name, pin in plan.data.items()
        ]
        facts.append(("runs on", _share_words(plan)))
        return facts

    def _verdict(self) -> str:
        if self.image is not None:
            return f"{self.image.digest.short} is there, nothing to build"
        if self.hits == len(self.steps):
            return "every layer is there, only the configuration is new"
        fetched = fetch_words([state.step for state in self.steps if state.layer is None], self.plan.lock, self.plan.spec)
        return f"{len(self.steps) - self.hits} of {counted(len(self.steps), 'layer')} to build{f'; {fetched}' if fetched else ''}"


def _share_words(plan: LaunchPlan) -> str:
    """`2 cpus, memory 16 GiB (at most 8 GiB in /dev/shm), 1 GPU, network none`."""
    shm = shm_share(plan.spec.shm, memory_bytes=plan.memory_bytes, machine=this_machine())
    memory = "no limit" if plan.memory_bytes is None else f"{plan.memory_bytes / (1 << 30):.3g} GiB"
    ranks = f", {plan.processes} ranks" if plan.processes > 1 else ""
    nodes = f"{plan.spec.nodes} nodes, each with " if plan.spec.nodes > 1 else ""
    return (
        f"{nodes}{counted(plan.cpus, 'cpu')}, memory {memory} (at most {shm / (1 << 30):.3g} GiB in /dev/shm), "
        f"{counted(plan.gpus, 'GPU')}{ranks}, network {plan.spec.network}"
    )


def explain(plan: LaunchPlan, store: Store, *, left_out: tuple[LeftOut, ...] = ()) -> Explanation:
    """*plan* beside what *store* has; *left_out* of its code was found by who asks."""
    image = store.find_image(plan_key(plan.build))
    states = tuple(explain_steps(plan.build, store))
    # Images are named after their experiments.
    last = next((each for each in store.images() if plan.spec.name in each.names), None)
    changes = None if last is None else _changes_since(last, plan, store)
    return Explanation(
        plan,
        image,
        states,
        _reasons(states, changes, store),
        last,
        None if changes is None else changes.all,
        left_out,
    )


def _changes_since(last: Image, plan: LaunchPlan, store: Store) -> PlanChanges | None:
    from launcher.plan.images.recipe import readable_recipe
    from launcher.plan.plan_changes import plan_changes

    recipe = readable_recipe(last, store)
    return None if recipe is None else plan_changes(recipe.build, plan.build)


def _reasons(states: Sequence[StepState], changes: PlanChanges | None, store: Store) -> tuple[tuple[str, ...], ...]:
    reasons: list[tuple[str, ...]] = []
    below: dict[str, None] = {}
    for position, state in enumerate(states):
        own = () if changes is None else changes.steps[position]
        reasons.append(() if state.layer is not None else own or (_without_own_change(state, tuple(below), changes, store),))
        below |= dict.fromkeys(words.partition(": ")[0] for words in own)
    return tuple(reasons)


def _without_own_change(state: StepState, below: Sequence[str], changes: PlanChanges | None, store: Store) -> str:
    """Why a layer is missing whose step is as it was."""
    if needs_parent(state.step) and below:
        return f"is made on what changed below: {', '.join(below)}"
    if state.key is None:
        return "depends on a layer below that has to be built first"
    if store.key_fields(state.key) is not None:
        return "nothing changed, but its layer is no longer in the store"
    if changes is None:
        return "was never built here"
    if needs_parent(state.step):
        return "nothing changed in it, but the layers below are others than before"
    return "nothing changed, but this version of launch makes such layers in another way"


def _layer_document(state: StepState, why: tuple[str, ...]) -> dict[str, Any]:
    layer = state.layer
    return {
        "label": step_label(state.step),
        "step": type(state.step).__name__,
        "hit": layer is not None,
        "key": state.key,
        "diff_id": None if layer is None else layer.diff_id,
        "size_bytes": sum(layer.size_bytes for layer in state.layers) if state.layers else None,
        "why": list(why),
    }


def _layer_line(state: StepState) -> str:
    if state.layers:
        return f"  hit   {step_label(state.step)}  {size_words(sum(layer.size_bytes for layer in state.layers))}"
    return f"  miss  {step_label(state.step)}"


def _revision(plan: LaunchPlan) -> str:
    git = plan.code.git
    if git is None:
        return f"not in git, {plan.code.digest.short}"
    return f"git {git.commit[:10]}{', changed since' if git.dirty else ''}, {plan.code.digest.short}"


def fetch_words(missing: Sequence[Step], lock: Lock | None, spec: ExperimentSpec) -> str:
    """`3.1 GB to fetch` for the *missing* steps; and how to do with less, where most of it is for a GPU that isn't asked for."""
    sizes = {wheel.sha256: wheel.size or 0 for wheel in (lock.wheels if lock is not None else ())}
    wheels = {step.name: sizes.get(step.sha256, 0) for step in missing if isinstance(step, InstallWheel)}
    debs = sum(package.size for step in missing if isinstance(step, UnpackDebs) for package in step.packages)
    total = debs + sum(wheels.values())
    if total < _WORTH_A_WORD:
        return ""
    words = f"{size_words(total)} to fetch"
    cuda = sum(size for name, size in wheels.items() if name.startswith(("nvidia-", "cuda-")) or name in ("torch", "triton"))
    if cuda >= _MUCH_CUDA and spec.image.cuda is None and not spec.gpus:
        words += f", {size_words(cuda)} of it torch with CUDA (`image.cuda=cpu` takes the build for CPUs)"
    return words
