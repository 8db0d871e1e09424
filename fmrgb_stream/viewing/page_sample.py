"""A sample and clip settings -> what the page shows of it: facts, pictures, sound, as JSON values."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from fmrgb_stream.channels import FLOW, FLOW_PLANES, FLOW_U, FLOW_V, MEL, RGB_PLANES
from fmrgb_stream.errors import DatasetError, SampleError, StorageError
from fmrgb_stream.viewing.clip_view import ClipView, view_clip
from fmrgb_stream.viewing.sample_card import label_name, sync_residual_seconds, sync_text
from fmrgb_stream.viewing.sprites import (
    Sprite,
    colour_sprite,
    flow_colours,
    plane_picture,
    plane_sprite,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.config import ClipConfig
    from fmrgb_stream.shards import Manifest
    from fmrgb_stream.viewing.choose import Candidate

_NUM_OUTLINE_COLUMNS: Final = 400
"""Columns of a drawn waveform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOnPage:
    """One sample as the page's script reads it; plain JSON values."""

    key: str
    split: str
    label: str | None
    facts: Sequence[str]
    trouble: str = ""
    """Why it could not be shown; then the rest is empty."""
    sync: str = ""
    width: int = 0
    height: int = 0
    times: Sequence[float] = ()
    frames: Sequence[int] = ()
    num_valid: int = 0
    end: float = 0.0
    views: Sequence[dict[str, Any]] = ()
    sound: dict[str, Any] | None = None
    mel: dict[str, Any] | None = None


def draw_sample(one: Candidate, manifest: Manifest, *, clip: ClipConfig, seed: int) -> SampleOnPage:
    """The clip of one sample as pictures and sound; with `trouble` where it cannot be made.

    Raises:
        ConfigError: the settings need another pipeline, or mel bands beyond the sound.
    """
    entry = SampleOnPage(key=one.key, split=one.split, label=None, facts=())
    try:
        info = one.reader.info(one.sample_id)
        entry = replace(entry, label=label_name(manifest, info))
        view = view_clip(
            one.reader,
            one.sample_id,
            clip=with_pictures(clip),
            audio_sample_rate=manifest.audio_sample_rate,
            seed=seed,
        )
    except (SampleError, DatasetError, StorageError) as error:
        return replace(entry, trouble=str(error))
    return replace(
        entry,
        facts=_facts(view, manifest),
        sync=_sync(view),
        width=clip.size[1],
        height=clip.size[0],
        times=[round(time, 6) for time in view.times_seconds_T.tolist()],
        frames=view.frame_indices_T.tolist(),
        num_valid=view.num_valid_frames,
        end=round(view.end_seconds, 6),
        views=_views(view, clip),
        sound=_sound(view),
        mel=_mel(view, clip),
    )


def with_pictures(clip: ClipConfig) -> ClipConfig:
    """The same clips with the planes added that people see by: the picture and flow's direction."""
    planes = clip.planes
    extra = RGB_PLANES if any(name != MEL for name in planes) else ()
    # A packed flow video holds the distance alone.
    if clip.needs_flow and clip.flow.estimator != "member":
        extra = (*extra, FLOW_U, FLOW_V)
    wanted = tuple(dict.fromkeys((*planes, *extra)))
    return replace(clip, channels=wanted)


def _facts(view: ClipView, manifest: Manifest) -> list[str]:
    info = view.info
    facts = [f"group {info.group}", f"{info.duration_seconds:.2f} s, {info.num_frames} frames"]
    rate = "variable rate, about" if info.frame_times_seconds is not None else "at"
    if info.has_video:
        facts.append(f"{info.codec} {info.width}x{info.height} {rate} {info.fps:g} fps")
        if info.rotation_degrees:
            facts.append(f"stored turned by {info.rotation_degrees} degrees")
    else:
        facts.append("no picture")
    facts.append(f"sound at {info.audio_sample_rate} Hz" if info.has_audio else "no sound")
    targets = zip(manifest.target_names, info.targets or (), strict=False)
    facts += [f"{name} {value:.4g}" for name, value in targets]
    if info.label is None and not info.targets:
        facts.append("unlabelled")
    num_frames = len(view.times_seconds_T)
    if view.num_valid_frames < num_frames:
        rest = "padding" if view.frame_indices_T[-1] < 0 else "repeats"
        facts.append(
            f"{view.num_valid_frames} of the clip's {num_frames} frames are content, then {rest}"
        )
    return facts


def _sync(view: ClipView) -> str:
    residual = sync_residual_seconds(view.info)
    if residual is None:
        return "no picture to compare with"
    return f"sound ends {sync_text(residual)}"


def _views(view: ClipView, clip: ClipConfig) -> list[dict[str, Any]]:
    """The pictures of a sample, from left to right."""
    names, views = view.channels, list[dict[str, Any]]()
    has_picture = view.info.has_video
    if has_picture and all(name in names for name in RGB_PLANES):
        colour = np.stack([view.plane(name) for name in RGB_PLANES], axis=-1)
        views.append(_view("RGB", "red, green, blue", colour_sprite(colour), is_exact=False))
    if has_picture and FLOW_U in names and FLOW_V in names:
        u, v = view.plane(FLOW_U), view.plane(FLOW_V)
        colours, full_pixels = flow_colours(u, v, max_pixels=clip.flow.max_pixels)
        note = f"{view.flow_estimator}, brightest: {full_pixels:.1f} px"
        views.append(_view("flow, direction", note, colour_sprite(colours), is_exact=False))
    is_composed = all(name in clip.planes for name in RGB_PLANES)
    for name in clip.planes:
        is_heard = name == MEL
        if (is_composed and name in RGB_PLANES) or not (
            view.info.has_audio if is_heard else has_picture
        ):
            continue
        plane = view.plane(name)
        note = "silence" if is_heard and not plane.any() else _note(name, clip)
        views.append(_view(name, note, plane_sprite(plane, name), is_exact=True))
    return views


def _note(name: str, clip: ClipConfig) -> str:
    if name in FLOW_PLANES:
        return f"{'distance' if name == FLOW else name}, 255 = {clip.flow.max_pixels:g} px"
    if name == MEL:
        method = "" if clip.mel.method == "mel" else f"{clip.mel.method}, "
        return f"{method}{clip.mel.window_seconds:g} s around the frame"
    return "0..255"


def _view(name: str, note: str, sprite: Sprite, *, is_exact: bool) -> dict[str, Any]:
    return {
        "name": name,
        "note": note,
        "is_exact": is_exact,
        "columns": sprite.num_columns,
        "rows": sprite.num_rows,
        "sprite": _media(sprite.content, sprite.media_type),
    }


def _media(content: bytes, media_type: str) -> dict[str, str]:
    return {"type": media_type, "base64": base64.b64encode(content).decode("ascii")}


def _sound(view: ClipView) -> dict[str, Any] | None:
    waveform = view.waveform_S
    if not len(waveform):
        return None
    buffer = io.BytesIO()
    rate = view.info.audio_sample_rate
    soundfile.write(buffer, waveform, rate, format="FLAC", subtype="PCM_16")
    peak = float(np.abs(waveform).max())
    lows, highs = _outline(waveform / peak if peak else waveform)
    return {
        "file": _media(buffer.getvalue(), "audio/flac"),
        "start": round(view.waveform_start_seconds, 6),
        "seconds": len(waveform) / rate,
        "note": f"peak {20 * np.log10(peak):.0f} dB re full scale" if peak else "digital silence",
        "lows": lows,
        "highs": highs,
    }


def _outline(waveform_S: NDArray[np.float32]) -> tuple[list[int], list[int]]:
    """Lowest and highest value of equal stretches, times 100."""
    count = min(_NUM_OUTLINE_COLUMNS, len(waveform_S))
    starts = np.linspace(0, len(waveform_S), count, endpoint=False).astype(np.int64)
    lows = np.minimum.reduceat(waveform_S, starts)
    highs = np.maximum.reduceat(waveform_S, starts)
    return np.rint(100 * lows).astype(int).tolist(), np.rint(100 * highs).astype(int).tolist()


def _mel(view: ClipView, clip: ClipConfig) -> dict[str, Any] | None:
    if view.mel_image_MW is None:
        return None
    top_hz = clip.mel.f_max_hz or view.info.audio_sample_rate / 2
    return {
        "picture": _media(plane_picture(view.mel_image_MW, MEL), "image/png"),
        "start": round(view.mel_start_seconds, 6),
        "seconds": round(view.mel_seconds, 6),
        "note": f"{clip.mel.num_mels} bands, {clip.mel.f_min_hz:g} to {top_hz:g} Hz, -80 to 0 dB",
    }
