"""A planned clip -> the arrays that DALI is fed, and what is known of them afterwards.

Shape legend: N frames that are decoded, K frames in the order of the clip (lead, T shown, and with
blends T more), T clip frames, W pixel columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.clips.cut import Cut
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.dali.sound import FedSound
from fmrgb_stream.sample import ClipPlan, PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.sample import IntArray

NOTHING: Final = np.zeros(1, np.uint8)
"""In the place of bytes that no operator looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input of the graph: a list of arrays, one a clip."""

    name: str
    dtype: str
    """DALI's name of it, in small letters: numpy's, but `float` has 32 bits."""
    ndim: int
    layout: str = ""


PICTURE_COLUMNS: Final = (
    Column(name="video", dtype="uint8", ndim=1),
    Column(name="frame_indices", dtype="int32", ndim=1),
    Column(name="is_encoded", dtype="bool", ndim=0),
    Column(name="pictures", dtype="uint8", ndim=4, layout="FHWC"),
    Column(name="order", dtype="int32", ndim=1),
)
SOUND_COLUMN: Final = Column(name="sound", dtype="float", ndim=1)
SERIAL_COLUMN: Final = Column(name="serial", dtype="int64", ndim=1)
"""The number of the batch, which comes out again with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FedClip:
    """One clip as it goes into the graph."""

    planned: PlannedClip
    arrays: dict[str, NDArray[Any]]
    """By column name."""
    sound: FedSound | None
    """None where none is asked for."""

    @property
    def is_encoded(self) -> bool:
        """Whether the graph decodes the video; else its pictures were decoded before."""
        return bool(self.arrays["is_encoded"]) if "is_encoded" in self.arrays else False


def columns_of(settings: GraphSettings) -> tuple[Column, ...]:
    """The inputs of a graph, in order. Each is used: DALI warns of one that is not."""
    return (
        *(PICTURE_COLUMNS if settings.has_pictures else ()),
        *((SOUND_COLUMN,) if settings.has_spectra else ()),
        SERIAL_COLUMN,
    )


def wanted_frames(plan: ClipPlan, settings: GraphSettings) -> tuple[IntArray, IntArray]:
    """The frames to decode, int64 [N], each one once and rising; and [K], their order in the clip.

    A frame that is not there (padding, no lead or one that no motion is told from) is held by the
    first one that is; it is not shown.
    """
    needs_lead = settings.clip.needs_flow and bool(can_move(plan)[0])
    parts = [[plan.lead_index if needs_lead else -1], plan.frame_indices]
    if settings.has_blends:
        parts.append(plan.blend_indices)
    listed = np.concatenate(parts).astype(np.int64)
    if not (listed >= 0).any():
        listed[:] = 0
    listed[listed < 0] = listed[listed >= 0][0]
    return np.unique(listed, return_inverse=True)


def can_move(plan: ClipPlan) -> NDArray[np.bool_]:
    """Whether motion from the frame before can be told, bool [T]."""
    before = np.concatenate([[plan.lead_index], plan.frame_indices[:-1]])
    return plan.has_flow & (plan.frame_indices >= 0) & (before >= 0)


def feed_clip(
    planned: PlannedClip,
    settings: GraphSettings,
    *,
    cut: Cut | None = None,
    pictures_3NHW: NDArray[np.uint8] | None = None,
    sound: FedSound | None = None,
) -> FedClip:
    """The arrays of a clip.

    Args:
        planned: the clip.
        settings: of the graph.
        cut: the part of the video to decode instead of the whole.
        pictures_3NHW: uint8, the frames of `wanted_frames` where they are decoded already.
        sound: where the clip needs sound.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if settings.has_pictures:
        arrays = _picture_arrays(planned, settings, cut, pictures_3NHW)
    if sound is not None:
        arrays["sound"] = sound.stretch_S
    return FedClip(planned=planned, arrays=arrays, sound=sound)


def _picture_arrays(
    planned: PlannedClip,
    settings: GraphSettings,
    cut: Cut | None,
    pictures_3NHW: NDArray[np.uint8] | None,
) -> dict[str, NDArray[Any]]:
    video = planned.sample.video
    wanted, order = wanted_frames(planned.plan, settings)
    if pictures_3NHW is not None:
        encoded, indices = NOTHING, wanted
        pictures_NHW3 = np.ascontiguousarray(pictures_3NHW.transpose(1, 2, 3, 0))
    elif video is None or not planned.sample.info.has_video:
        encoded, indices = NOTHING, wanted
        pictures_NHW3, order = np.zeros((1, *settings.clip.size, 3), np.uint8), np.zeros_like(order)
    else:
        encoded = np.frombuffer(video if cut is None else cut.content, np.uint8)
        indices = wanted if cut is None else cut.frame_indices
        pictures_NHW3 = np.zeros((1, 1, 1, 3), np.uint8)
    return {
        "video": encoded,
        "frame_indices": indices.astype(np.int32),
        "is_encoded": np.array(encoded is not NOTHING),
        "pictures": pictures_NHW3,
        "order": order.astype(np.int32).reshape(-1),
    }
