"""Face boxes at a few moments -> one smooth path of squares, a square a frame. Pure functions.

A path follows one face: the one that is largest and surest at some moment, before and after it the
nearest box that could still be it. Smoothing fits a line around each moment (Gaussian weights), so
that a face that moves evenly is followed without lag and without a bend at either end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.packing.faces import FaceBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMOOTHING_SECONDS: Final = 0.25
"""Standard deviation of the Gaussian: slower than a detector's jitter, quicker than a head's turn."""
_MAX_STEP: Final = 1.0
"""Sides of the box that a face moves between two looks, at most."""
_MAX_GROWTH: Final = 2.0


def follow_face(looks: Sequence[Sequence[FaceBox]]) -> list[FaceBox | None]:
    """The box of one face in each look; None where it was not found (anywhere, if all are None)."""
    candidates = [(number, box) for number, boxes in enumerate(looks) for box in boxes]
    if not candidates:
        return [None] * len(looks)
    start, best = max(candidates, key=lambda one: (_weight(one[1]), -one[0], -one[1].left))
    path: list[FaceBox | None] = [None] * len(looks)
    path[start] = best
    for numbers in (range(start + 1, len(looks)), range(start - 1, -1, -1)):
        last = best
        for number in numbers:
            found = _next(last, looks[number])
            path[number] = found
            last = found or last
    return path


def _weight(box: FaceBox) -> float:
    return box.width * box.height * box.confidence


def _next(last: FaceBox, boxes: Iterable[FaceBox]) -> FaceBox | None:
    near = [box for box in boxes if _distance(last, box) <= _MAX_STEP and _is_alike(last, box)]
    return min(near, key=lambda box: (_distance(last, box), box.left, box.top), default=None)


def _distance(last: FaceBox, box: FaceBox) -> float:
    """Between the centres, in sides of the last box."""
    across = box.left + box.width / 2 - last.left - last.width / 2
    down = box.top + box.height / 2 - last.top - last.height / 2
    return float(np.hypot(across, down)) / max(last.width, last.height)


def _is_alike(last: FaceBox, box: FaceBox) -> bool:
    growth = max(box.width, box.height) / max(last.width, last.height)
    return 1 / _MAX_GROWTH <= growth <= _MAX_GROWTH


def face_squares(
    boxes: Sequence[FaceBox | None],
    looked_at: NDArray[np.int64],
    *,
    num_frames: int,
    fps: float,
    margin: float,
) -> NDArray[np.float64]:
    """Centre x, centre y and side of a square for each frame: float64 [F, 3], pixels.

    Args:
        boxes: of one face, at least one of them found.
        looked_at: int64 [N], rising: the frame of each box.
        num_frames: F.
        fps: frames a second.
        margin: on each side, in sides of the face box.
    """
    known = [number for number, box in enumerate(boxes) if box is not None]
    squares_N3 = np.array([_square(box, margin) for box in boxes if box is not None])
    frames = np.arange(num_frames)
    path_F3 = np.stack(
        [np.interp(frames, looked_at[known], column) for column in squares_N3.T], axis=1
    )
    return smooth_path(path_F3, sigma_frames=SMOOTHING_SECONDS * fps)


def _square(box: FaceBox, margin: float) -> tuple[float, float, float]:
    side = max(box.width, box.height) * (1 + 2 * margin)
    return box.left + box.width / 2, box.top + box.height / 2, side


def smooth_path(values_FK: NDArray[np.float64], *, sigma_frames: float) -> NDArray[np.float64]:
    """Gaussian smoothing over time, float64 [F, K]; a straight line stays as it is."""
    # Only who crops pays for it.
    from scipy.ndimage import gaussian_filter1d

    num_padded = min(len(values_FK) - 1, int(np.ceil(4 * sigma_frames)))
    if num_padded < 1:
        return values_FK
    # Turned over at both ends, so that a line goes on there.
    padded = np.pad(
        values_FK, ((num_padded, num_padded), (0, 0)), mode="reflect", reflect_type="odd"
    )
    smoothed = np.asarray(gaussian_filter1d(padded, sigma_frames, axis=0, mode="nearest"))
    return smoothed[num_padded:-num_padded]


def squares_inside(
    squares_F3: NDArray[np.float64], *, width: int, height: int
) -> NDArray[np.float64]:
    """The squares moved, and shrunk where need be, to lie within the picture: float64 [F, 3]."""
    side_F = np.minimum(squares_F3[:, 2], min(width, height))
    centres = [
        np.clip(squares_F3[:, axis], side_F / 2, limit - side_F / 2)
        for axis, limit in ((0, width), (1, height))
    ]
    return np.stack([*centres, side_F], axis=1)


def centre_squares(*, num_frames: int, width: int, height: int) -> NDArray[np.float64]:
    """The largest square in the middle of the picture, for each frame: float64 [F, 3]."""
    square = [width / 2, height / 2, float(min(width, height))]
    return np.tile(np.array(square), (num_frames, 1))
