"""`launch plan`: what would be built and run, hit or miss for each layer. Reads the store, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import to_document
from runtime.build.builder import StepState
from runtime.build.builder import explain as explain_steps
from runtime.build.step_label import counted, step_label
from runtime.store.records import Image
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Explained:
    """A plan beside what the store has of it."""

    plan: LaunchPlan
    image: Image | None
    """The finished image, if it is there."""
    steps: tuple[StepState, ...]
    reasons: tuple[tuple[str, ...], ...] | None = None
    """For each step why it has to be done, if that was asked (`--explain`)."""

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
            "layers": [_layer_document(state, why) for state, why in self._rows()],
            "argv": list(plan.argv),
            "plan": to_document(plan),
        }

    def text(self) -> str:
        """For people."""
        lines = [f"{self.plan.spec.name}  spec {self.plan.spec_digest.short}"]
        lines += [f"  {name:<8} {value}" for name, value in self._facts()]
        lines.append(f"image: {self._verdict()}")
        for state, why in self._rows():
            lines.append(_layer_line(state, asked=self.reasons is not None))
            lines += [f"          {reason}" for reason in why or ()]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[StepState, tuple[str, ...] | None]]:
        return list(zip(self.steps, self.reasons or (None,) * len(self.steps), strict=True))

    def _facts(self) -> list[tuple[str, str]]:
        plan = self.plan
        facts = [("command", " ".join(plan.argv)), ("base", f"{plan.spec.image.base} ({plan.base_digest.short})")]
        if plan.lock is not None:
            lock = plan.lock
            facts.append(
                ("lock", f"{counted(len(lock.wheels), 'package')} for Python {lock.python} ({lock.digest.short}, {lock.source})")
            )
        facts.append(("code", f"{counted(len(plan.code.files), 'file')} of {plan.code.root} ({_revision(plan)})"))
        facts += [
            (f"data.{name}", f"{pin.source}: {counted(pin.files, 'file')}, {_size(pin.size_bytes)} ({pin.kind})")
            for name, pin in plan.data.items()
        ]
        memory = "no limit" if plan.memory_bytes is None else f"{plan.memory_bytes / (1 << 30):.3g} GiB"
        facts.append(
            ("runs on", f"{counted(plan.cpus, 'cpu')}, memory {memory}, {counted(plan.gpus, 'GPU')}, network {plan.spec.network}")
        )
        return facts

    def _verdict(self) -> str:
        if self.image is not None:
            return f"{self.image.digest.short} is there, nothing to build"
        return f"{len(self.steps) - self.hits} of {counted(len(self.steps), 'layer')} to build"


def explain(plan: LaunchPlan, store: Store, *, reasons: bool = False) -> Explained:
    """*plan* beside what *store* has; with *reasons* also why a layer has to be made."""
    from runtime.build.cache_key import plan_key

    image = store.find_image(plan_key(plan.build))
    states = tuple(explain_steps(plan.build, store))
    return Explained(plan, image, states, _reasons(plan, states, store) if reasons else None)


def _reasons(plan: LaunchPlan, states: tuple[StepState, ...], store: Store) -> tuple[tuple[str, ...], ...]:
    from runtime.build.miss_reason import miss_reasons

    # Images are named after their experiments: what it had the last time is what a person compares with.
    last = next((image for image in store.images() if plan.spec.name in image.names), None)
    return tuple(miss_reasons(states, store, last=last))


def _layer_document(state: StepState, why: tuple[str, ...] | None) -> dict[str, Any]:
    layer = state.layer
    asked = {} if why is None else {"why": list(why)}
    return {
        "label": step_label(state.step),
        "step": type(state.step).__name__,
        "hit": layer is not None,
        "key": state.key,
        "diff_id": None if layer is None else layer.diff_id,
        "size_bytes": None if layer is None else layer.size_bytes,
        **asked,
    }


def _layer_line(state: StepState, *, asked: bool) -> str:
    if state.layer is not None:
        return f"  hit   {step_label(state.step)}  {_size(state.layer.size_bytes)}"
    why = "" if state.key is not None or asked else "  (depends on a layer below that is not built yet)"
    return f"  miss  {step_label(state.step)}{why}"


def _revision(plan: LaunchPlan) -> str:
    git = plan.code.git
    if git is None:
        return f"not in git, {plan.code.digest.short}"
    return f"git {git.commit[:10]}{', changed since' if git.dirty else ''}, {plan.code.digest.short}"


def _size(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("B", "KB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
