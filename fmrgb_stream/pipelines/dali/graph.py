"""The DALI graph: columns of bytes, indices and stretches -> pictures, motion, spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmrgb_stream.pipelines.dali.feed import columns_of
from fmrgb_stream.pipelines.dali.flow import engine_flow
from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.mel import sound_outputs
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.dali.video import clip_pictures, decoded_frames, given_frames

NextColumns = Callable[[], Sequence[list[Any]]]
"""The next batch: for each column a list of arrays. StopIteration ends the run."""


def output_names(settings: GraphSettings) -> tuple[str, ...]:
    """What the graph gives, in order."""
    is_there = {
        "pictures": settings.has_pictures,
        "flow": settings.has_nvof,
        "bands": settings.has_bands,
        "mel": settings.has_mel_image,
        "frame_size": settings.has_pictures,
        "serial": True,
    }
    return tuple(name for name, there in is_there.items() if there)


def build_graph(settings: GraphSettings, next_columns: NextColumns) -> Any:
    """A DALI pipeline that takes its batches from `next_columns`, in the thread that runs it.

    The arrays must stay as they are until the batch's outputs are there: nothing is copied.
    """
    dali = load_dali()
    # DALI rewrites the function below to make a condition for each clip of its `if`. What it calls
    # is ordinary Python and stays so.
    read = dali.do_not_convert(_read_columns)
    decoded = dali.do_not_convert(decoded_frames)
    given = dali.do_not_convert(given_frames)
    all_outputs = dali.do_not_convert(_outputs)

    @dali.pipeline_def(enable_conditionals=True)
    def clips() -> tuple[Any, ...]:
        columns = read(settings, next_columns)
        is_encoded = columns["is_encoded"]
        if is_encoded:  # noqa: SIM108 - DALI rewrites `if`, not expressions
            frames = decoded(columns, settings)
        else:
            frames = given(columns, settings)
        return all_outputs(columns, settings, frames)

    @dali.pipeline_def()
    def sounds() -> tuple[Any, ...]:
        return _outputs(_read_columns(settings, next_columns), settings, None)

    graph = (clips if settings.has_pictures else sounds)(
        batch_size=settings.batch_size,
        num_threads=settings.num_threads,
        device_id=settings.device_id,
        prefetch_queue_depth=settings.queue_depth,
    )
    graph.build()
    return graph


def _read_columns(settings: GraphSettings, next_columns: NextColumns) -> dict[str, Any]:
    dali = load_dali()
    inputs = columns_of(settings)
    nodes = dali.fn.external_source(
        source=next_columns,
        num_outputs=len(inputs),
        batch=True,
        no_copy=True,
        dtype=[getattr(dali.types, column.dtype.upper()) for column in inputs],
        ndim=[column.ndim for column in inputs],
        layout=[column.layout for column in inputs],
    )
    return dict(zip([column.name for column in inputs], nodes, strict=True))


def _outputs(
    columns: dict[str, Any], settings: GraphSettings, frames: Any | None
) -> tuple[Any, ...]:
    outputs: dict[str, Any] = {"serial": columns["serial"]}
    if frames is not None:
        outputs["frame_size"] = frames.shape(device="cpu")[1:3]
        outputs["pictures"] = clip_pictures(frames, columns, settings)
    if settings.has_nvof:
        outputs["flow"] = engine_flow(outputs["pictures"])
    if settings.has_spectra:
        outputs |= sound_outputs(columns, settings)
    return tuple(outputs[name] for name in output_names(settings))
