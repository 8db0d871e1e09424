"""What the graph gave for a batch -> its planes and extras -> ClipBatch.

Shape legend: B clips, T clip frames, K frames of a clip (see `feed.py`), S audio samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.pipelines.batch_audio import batch_audio_planes, mel_images
from fmrgb_stream.pipelines.compose import (
    blend_frames,
    compose_clips,
    estimate_motion,
    gray_frames,
    still_where,
)
from fmrgb_stream.pipelines.dali.flow import clip_field
from fmrgb_stream.pipelines.dali.run import ReadyBatch
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.features import audio_features
from fmrgb_stream.pipelines.label_columns import label_column, source_columns, target_column
from fmrgb_stream.sample import ClipBatch, ClipPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BatchMaker:
    """Makes the batches of one run of settings, on the graph's device."""

    def __init__(
        self, settings: GraphSettings, *, has_labels: bool, num_targets: int, engine_sign: int
    ) -> None:
        """`engine_sign` tells which way the engine's vectors point (see `flow.py`)."""
        self._settings = settings
        self._has_labels = has_labels
        self._num_targets = num_targets
        self._engine_sign = engine_sign

    def make(self, batch: ReadyBatch, outputs: dict[str, Tensor]) -> ClipBatch:
        """The batch; `outputs` are only read, and nothing of them is kept but the waveform."""
        clip, fed = self._settings.clip, [one.fed for one in batch.clips]
        plans = [one.planned.plan for one in fed]
        infos = [one.planned.sample.info for one in fed]
        tasks = [one.task for one in batch.clips]
        is_shown_BT = np.stack([plan.frame_indices >= 0 for plan in plans])
        frames = self._frames(plans, outputs)
        audio = None
        if "bands" in outputs:
            layouts = [None if one.sound is None else one.sound.frames for one in fed]
            audio = batch_audio_planes(outputs["bands"], layouts, is_shown_BT, clip=clip)
        waveform = outputs.get("waveform")
        return ClipBatch(
            clip=compose_clips(
                clip=clip,
                frames_BNHW3=frames,
                flow_BT2HW=None if frames is None else self._motion(plans, frames, outputs),
                audio_BTHW=audio,
                is_shown_BT=self._on_device(is_shown_BT),
            ),
            channels=clip.planes,
            labels=label_column([info.label for info in infos]) if self._has_labels else None,
            targets=(
                target_column([info.targets for info in infos], self._num_targets)
                if self._num_targets
                else None
            ),
            keys=tuple(info.key for info in infos),
            sample_ids=torch.tensor([task.sample_id for task in tasks], dtype=torch.int64),
            window_indices=torch.tensor([task.window_index for task in tasks], dtype=torch.int64),
            times_seconds=_tensor(np.stack([plan.times_seconds for plan in plans])),
            num_valid_frames=torch.tensor(
                [plan.num_valid_frames for plan in plans], dtype=torch.int64
            ),
            is_padding=torch.tensor([task.is_padding for task in tasks]),
            is_substitute=torch.tensor([one.attempt > 0 for one in batch.clips]),
            flow_estimator=self._settings.estimator if clip.needs_flow else "",
            mel_image=self._mel_image(batch, outputs),
            waveform=waveform if "waveform" in clip.extras else None,
            audio_features=self._features(waveform),
            **source_columns(tasks),
        )

    def _frames(self, plans: list[ClipPlan], outputs: dict[str, Tensor]) -> Tensor | None:
        """uint8 [B, 1 + T, H, W, 3]."""
        pictures = outputs.get("pictures")
        if pictures is None or not self._settings.has_blends:
            return pictures
        weights = np.stack([plan.blend_weights for plan in plans]).astype(np.float32)
        return blend_frames(pictures, self._on_device(weights))

    def _motion(
        self, plans: list[ClipPlan], frames_BNHW3: Tensor, outputs: dict[str, Tensor]
    ) -> Tensor | None:
        """float32 [B, T, 2, H, W]."""
        if not self._settings.clip.needs_flow:
            return None
        moves_BT = np.stack([can_move(plan) for plan in plans])
        gray = gray_frames(frames_BNHW3)
        if "flow" not in outputs:
            return estimate_motion(gray, moves_BT)
        field = clip_field(outputs["flow"], sign=self._engine_sign, size=self._settings.clip.size)
        return still_where(field, gray, moves_BT)

    def _mel_image(self, batch: ReadyBatch, outputs: dict[str, Tensor]) -> Tensor | None:
        if "mel" not in outputs:
            return None
        sounds = [one.fed.sound for one in batch.clips]
        layouts = [None if sound is None else sound.whole for sound in sounds]
        return mel_images(outputs["mel"], layouts, width=self._settings.clip.size[1])

    def _features(self, waveform_BS: Tensor | None) -> Tensor | None:
        if waveform_BS is None or "audio_features" not in self._settings.clip.extras:
            return None
        rate = self._settings.span.sample_rate
        rows = [audio_features(x, sample_rate=rate) for x in waveform_BS.numpy()]
        return _tensor(np.stack(rows))

    def _on_device(self, values: NDArray[np.generic]) -> Tensor:
        return _tensor(values).to(self._settings.device, non_blocking=True)


def can_move(plan: ClipPlan) -> NDArray[np.bool_]:
    """Whether motion from the frame before can be told, bool [T]."""
    before = np.concatenate([[plan.lead_index], plan.frame_indices[:-1]])
    return plan.has_flow & (plan.frame_indices >= 0) & (before >= 0)


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values)  # pyright: ignore[reportUnknownMemberType]
