"""How close two clips must be. The one place with tolerances, shared by both pipelines' tests."""

from __future__ import annotations

import numpy as np

from fmrgb_stream.channels import FLOW_PLANES, MEL, PICTURE_PLANES
from fmrgb_stream.pipelines.cpu.mel import write_audio_plane

MEAN_TOLERANCE = {
    # Grey levels of 255, mean of the absolute difference over one frame.
    **dict.fromkeys(PICTURE_PLANES, 2.0),
    MEL: 1.0,
    # Same estimator, frames that differ by the picture tolerance.
    **dict.fromkeys(FLOW_PLANES, 4.0),
}


def assert_clips_close(clip_CTHW, reference_CTHW, channels, *, tolerance=None) -> None:
    """Compare plane by plane and frame by frame, in grey levels of 255.

    Args:
        clip_CTHW: uint8, or float planes in 0..1.
        reference_CTHW: the same shape; uint8, or float values on the scale 0..255.
        channels: plane names.
        tolerance: replaces `MEAN_TOLERANCE` for the planes it names.
    """
    limits = MEAN_TOLERANCE | (tolerance or {})
    clip = np.asarray(clip_CTHW)
    clip = clip.astype(np.float64) * (1 if clip.dtype == np.uint8 else 255)
    reference = np.asarray(reference_CTHW, dtype=np.float64)
    assert clip.shape == reference.shape, f"{clip.shape} is not {reference.shape}"
    difference_CT = np.abs(clip - reference).mean(axis=(2, 3))
    for name, difference_T in zip(channels, difference_CT, strict=True):
        worst = int(difference_T.argmax())
        assert difference_T[worst] <= limits[name], (
            f"{name}: frame {worst} differs by {difference_T[worst]:.2f} grey levels on average, "
            f"allowed are {limits[name]}"
        )


def angle_between(flow_2HW, reference_2HW, *, min_pixels: float = 0.5):
    """Degrees between two flow fields, where the reference moves at least `min_pixels`."""
    flow, reference = np.asarray(flow_2HW, float), np.asarray(reference_2HW, float)
    moving = np.hypot(*reference) >= min_pixels
    angles = np.arctan2(flow[1], flow[0]) - np.arctan2(reference[1], reference[0])
    return np.degrees(np.abs((angles[moving] + np.pi) % (2 * np.pi) - np.pi))


def audio_plane(sound, planned, clip):
    """float32 [T, H, W]: the audio plane of a clip, as the CPU pipeline writes it."""
    plane_THW = np.full((len(planned.plan.frame_indices), *clip.size), np.nan, np.float32)
    write_audio_plane(sound, planned, clip, plane_THW)
    return plane_THW
