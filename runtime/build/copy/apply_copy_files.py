"""Apply a CopyFiles step (COPY and ADD), a CopyIn step (the code) or a MakeDirectory step (WORKDIR). First what the layer will be
is worked out, from manifests alone; its content is copied only if the store doesn't have that very layer.

So a step has two keys: one of its inputs, which is cheap and changes with every input, and one of what would be in the layer. A
stage that was built again with the same files, or a changed step below that leaves the target as it was, ends in the same layer.
Where the layers below have a WORKDIR already its layer is empty, as Docker has it too. What only ADD does is `added_files.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from runtime.build.cache_key import chain, key_fields, step_key
from runtime.build.copy.copy_placement import Placement, content_key
from runtime.build.copy.copy_sources import (
    InStore,
    Source,
    context_sources,
    fetched_source,
    is_plain,
    stage_sources,
    text_sources,
)
from runtime.build.copy.layer_writer import copy_content, publish_placement, write_layer
from runtime.build.image_users import resolve_owner
from runtime.build.layers_below import LayersBelow, StageLayers, no_stage
from runtime.build.observer import BuildObserver, NullObserver
from runtime.build.plan import ContextFiles, CopyFiles, CopyIn, FetchedFile, InlineFiles, MakeDirectory, StageFiles
from runtime.build.step_label import step_label
from runtime.errors import BadContent, BuildError
from runtime.oci.digest import Digest
from runtime.store.records import Layer
from runtime.store.store import Store


def apply_copy_files(
    step: CopyFiles,
    *,
    store: Store,
    below: Sequence[Layer],
    stage_layers: StageLayers,
    observer: BuildObserver,
    stages: Sequence[Digest] = (),
) -> Layer:
    """The layer of *step* on *below*. *stages* are the plan's `stage_digests`. Raises BuildError when a source is missing, or is
    no longer what was planned, or cannot be at the target."""
    parent = chain(below)
    key, fields = step_key(step, parent, stages), key_fields(step, parent, stages)
    with ExitStack() as held:
        placement = _place(step, store, below, stage_layers, observer, held)
        layer = publish_placement(placement, store=store, label=step_label(step), place=_place_of(step))
        return store.remember_key(key, layer, fields=fields)


def _place_of(step: CopyFiles) -> str:
    """The words by which the same instruction is known again when its files have changed."""
    origin = f" of {step.source.root}" if isinstance(step.source, ContextFiles) else ""
    return f"{step_label(step)}{origin} in {step.target}"


def find_by_content(step: CopyFiles, *, store: Store, below: Sequence[Layer]) -> Layer | None:
    """The layer that `apply_copy_files` would end at without copying anything, where that can be known from manifests."""
    if step.unpack or not isinstance(step.source, ContextFiles | InlineFiles):
        return None
    try:
        with ExitStack() as held:
            return store.find(content_key(_place(step, store, below, no_stage, NullObserver(), held).tree()))
    except BuildError:
        return None


def _place(
    step: CopyFiles,
    store: Store,
    below: Sequence[Layer],
    stage_layers: StageLayers,
    observer: BuildObserver,
    held: ExitStack,
) -> Placement:
    """What the layer will be. Archives are unpacked into directories that *held* keeps."""
    view = LayersBelow([store.layer_dir(layer) for layer in below])
    owner = resolve_owner(step.owner, view) if step.owner else None
    placement = Placement(LayersBelow([]) if step.link else view, owner, step.mode)
    sources = _sources(step, store, stage_layers, observer)
    _refuse_several_without_directory(step, sources, placement.below)
    for source in sources:
        if not (step.unpack and _unpack(source, step, placement, store, held)):
            placement.copy([source], step.target)
    return placement


def _refuse_several_without_directory(step: CopyFiles, sources: Sequence[Source], below: LayersBelow) -> None:
    """BuildKit copies one file over the other there, and the last remains."""
    of_stage = isinstance(step.source, StageFiles) and len(sources) > 1 and not sources[0].directory
    if (of_stage or step.needs_directory) and not step.target.endswith("/") and below.resolve(step.target)[1] != "dir":
        message = f"`{step.target}` is no directory in the layers below, and several sources are to be copied into it"
        raise BuildError(message, hint=f"end it with a slash: `{step.target}/`")


def _sources(step: CopyFiles, store: Store, stage_layers: StageLayers, observer: BuildObserver) -> list[Source]:
    match step.source:
        case ContextFiles() as files:
            return context_sources(files, one_by_one=step.unpack)
        case InlineFiles() as files:
            return text_sources(files)
        case FetchedFile() as file:
            from runtime.build.copy.added_files import fetch_file

            return [fetched_source(file, fetch_file(file, store=store, observer=observer))]
        case StageFiles() as files:
            from runtime.store.merged_tree import merged_tree

            layers = stage_layers(files.stage)
            return stage_sources(files, merged_tree(store, layers), [store.layer_dir(layer) for layer in layers])


def _unpack(source: Source, step: CopyFiles, placement: Placement, store: Store, held: ExitStack) -> bool:
    """Place the content of *source* if it is an archive; whether it was."""
    item = source.items[0] if not source.directory else None
    if item is None or item.entry.type != "file" or item.content is None:
        return False
    from runtime.build.copy.added_files import unpack_archive

    staging = held.enter_context(store.staging())
    copy = staging / "archive"
    # The archive that was planned, and not what somebody has put there since.
    copy_content(item.content, copy, item.entry)
    directory = staging / "unpacked"
    directory.mkdir()
    tree = unpack_archive(copy, directory, name=f"the archive of `{step_label(step)}`")
    if tree is None:
        return False
    files = {entry.path: InStore(directory / entry.path) for entry in tree if entry.type == "file"}
    placement.unpack(tree, dict(files), step.target)
    return True


def apply_copy_in(step: CopyIn, *, store: Store) -> Layer:
    """The layer of a code snapshot. Raises BuildError when a file is no longer what the snapshot says: somebody may have saved it
    since."""
    if not is_plain(step.target.strip("/")):
        raise BadContent(f"code cannot be copied to `{step.target}`")
    files = tuple((path, path, mode, sha256) for path, mode, sha256 in step.files)
    placement = Placement(LayersBelow([]))
    placement.copy(context_sources(ContextFiles(step.source, files, single=False)), step.target)
    key, place = step_key(step, None), f"code of {step.source} in {step.target}"
    layer = write_layer(placement.tree(), placement.contents, key=key, store=store, label=step_label(step), place=place)
    return store.remember_key(key, layer, fields=key_fields(step, None))


def apply_make_directory(step: MakeDirectory, *, store: Store, below: Sequence[Layer]) -> Layer:
    """The layer of *step* on *below*. Raises BuildError when something else is at that path."""
    parent = chain(below)
    view = LayersBelow([store.layer_dir(layer) for layer in below])
    placement = Placement(view, resolve_owner(step.owner, view) if step.owner else None)
    if view.resolve(step.path)[1] != "dir":
        placement.directory(step.path)
    layer = publish_placement(placement, store=store, label=step_label(step), place=f"directory {step.path}")
    return store.remember_key(step_key(step, parent), layer, fields=key_fields(step, parent))
