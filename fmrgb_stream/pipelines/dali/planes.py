"""What the graph gave for a batch -> its planes and extras -> ClipBatch.

Shape legend: B clips, T clip frames, K frames of a clip (see `feed.py`), S audio samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fmrgb_stream.pipelines.batch_audio import (
    batch_audio_planes,
    batch_places,
    image_arrays,
    mel_images,
)
from fmrgb_stream.pipelines.compose import (
    blend_frames,
    compose_clips,
    estimate_motion,
    gray_frames,
    still_where,
)
from fmrgb_stream.pipelines.dali.feed import can_move
from fmrgb_stream.pipelines.dali.flow import clip_field
from fmrgb_stream.pipelines.dali.queues import ReadyBatch
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.label_columns import label_column, target_column
from fmrgb_stream.pipelines.staging import to_device
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

    def make(self, batch: ReadyBatch, outputs: Mapping[str, Tensor]) -> ClipBatch:
        """The batch; `outputs` are only read, and nothing of them is kept.

        Everything that comes from the host goes to the device in one copy, which nobody waits for.
        """
        settings, fed = self._settings, [one.fed for one in batch.clips]
        plans = [one.planned.plan for one in fed]
        layouts = [None if x.sound is None else x.sound.places for x in fed]
        arrays = self._columns(batch) | self._pictures(plans)
        places = None
        if "bands" in outputs:
            places = batch_places(
                [None if x is None else x.frames for x in layouts],
                np.stack([plan.frame_indices >= 0 for plan in plans]),
                num_columns=outputs["bands"].shape[-1],
            )
            arrays |= places.arrays
        whole = [None if x is None else x.whole for x in layouts]
        if "mel" in outputs:
            arrays |= image_arrays(whole)
        there = to_device(arrays, settings.device)
        frames = self._frames(there, outputs)
        audio = mel_image = None
        if places is not None:
            audio = batch_audio_planes(
                outputs["bands"],
                there,
                points_per_pixel=places.points_per_pixel,
                clip=settings.clip,
            )
        if "mel" in outputs:
            mel_image = mel_images(outputs["mel"], whole, there, width=settings.clip.size[1])
        return ClipBatch(
            clip=compose_clips(
                clip=settings.clip,
                frames_BNHW3=frames,
                flow_BT2HW=None if frames is None else self._motion(frames, there, outputs),
                audio_BTHW=audio,
                is_shown_BT=there["is_shown"],
            ),
            channels=settings.clip.planes,
            labels=there.get("labels"),
            targets=there.get("targets"),
            keys=tuple(one.planned.sample.info.key for one in fed),
            sample_ids=there["sample_ids"],
            window_indices=there["window_indices"],
            times_seconds=there["times_seconds"],
            num_valid_frames=there["num_valid_frames"],
            is_padding=there["is_padding"],
            is_substitute=there["is_substitute"],
            flow_estimator=settings.estimator if settings.clip.needs_flow else "",
            mel_image=mel_image,
            waveform=there.get("waveform"),
            audio_features=there.get("audio_features"),
        )

    def _columns(self, batch: ReadyBatch) -> dict[str, NDArray[np.generic]]:
        """What the batch carries beside its planes, by field name."""
        fed, tasks = [one.fed for one in batch.clips], [one.task for one in batch.clips]
        plans = [one.planned.plan for one in fed]
        infos = [one.planned.sample.info for one in fed]
        columns: dict[str, NDArray[np.generic]] = {
            "is_shown": np.stack([plan.frame_indices >= 0 for plan in plans]),
            "times_seconds": np.stack([plan.times_seconds for plan in plans]),
            "sample_ids": np.array([task.sample_id for task in tasks], np.int64),
            "window_indices": np.array([task.window_index for task in tasks], np.int64),
            "num_valid_frames": np.array([plan.num_valid_frames for plan in plans], np.int64),
            "is_padding": np.array([task.is_padding for task in tasks]),
            "is_substitute": np.array([one.attempt > 0 for one in batch.clips]),
        }
        if self._has_labels:
            columns["labels"] = label_column([info.label for info in infos]).numpy()
        if self._num_targets:
            targets = [info.targets for info in infos]
            columns["targets"] = target_column(targets, self._num_targets).numpy()
        sounds = [one.sound for one in fed if one.sound is not None]
        for name in ("waveform", "audio_features"):
            if name in self._settings.clip.extras:
                rows = [x.waveform_S if name == "waveform" else x.features_F for x in sounds]
                columns[name] = np.stack([row for row in rows if row is not None])
        return columns

    def _pictures(self, plans: Sequence[ClipPlan]) -> dict[str, NDArray[np.generic]]:
        """Which motion is to be told, and the weights of blends, where there are any."""
        arrays: dict[str, NDArray[np.generic]] = {}
        if self._settings.clip.needs_flow:
            moves_BT = np.stack([can_move(plan) for plan in plans])
            is_engine = self._settings.has_nvof
            arrays["moves"] = moves_BT if is_engine else np.flatnonzero(moves_BT).astype(np.int64)
        if self._settings.has_blends:
            arrays["weights"] = np.stack([x.blend_weights for x in plans]).astype(np.float32)
        return arrays

    def _frames(self, there: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Tensor | None:
        """uint8 [B, 1 + T, H, W, 3]."""
        pictures = outputs.get("pictures")
        if pictures is None or not self._settings.has_blends:
            return pictures
        return blend_frames(pictures, there["weights"])

    def _motion(
        self, frames_BNHW3: Tensor, there: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
    ) -> Tensor | None:
        """float32 [B, T, 2, H, W]."""
        if not self._settings.clip.needs_flow:
            return None
        gray = gray_frames(frames_BNHW3)
        if "flow" not in outputs:
            return estimate_motion(gray, there["moves"])
        field = clip_field(outputs["flow"], sign=self._engine_sign, size=self._settings.clip.size)
        return still_where(field, gray, there["moves"])
