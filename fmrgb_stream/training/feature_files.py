"""Features of a sample <-> its file, and the settings and the index beside them.

<out>/features.json             what they were made with; another run has to agree to go on
<out>/<split>/<key>.npy         float32 [windows, D]; or .parquet: time_seconds, feature
<out>/<split>/<key>.npy.unreadable    empty: the sample could not be read
<out>/<split>.parquet           a row a sample: key, group, label, file, windows, times_seconds
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate.utils import broadcast_object_list

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards.writer import write_atomic

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from fmrgb_stream.config import ClipConfig
    from fmrgb_stream.models import ClipModel
    from fmrgb_stream.sample import SampleInfo
    from fmrgb_stream.shards import ShardReader

FeatureFormat = Literal["npy", "parquet"]
SETTINGS_NAME: Final = "features.json"
UNREADABLE: Final = ".unreadable"
"""Appended to the name of a file that could not be made; remove it to try again."""


def feature_bytes(
    features: NDArray[np.float32], times_seconds: NDArray[np.float64], file_format: FeatureFormat
) -> bytes:
    """The file of one sample: float32 [W, D] of windows whose middle frames are at float64 [W]."""
    content = io.BytesIO()
    if file_format == "npy":
        np.save(content, features, allow_pickle=False)
    else:
        flat = pa.array(features.reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, features.shape[1])
        pq.write_table(pa.table({"time_seconds": times_seconds, "feature": column}), content)
    return content.getvalue()


def begin_folder(out: Path, settings: Mapping[str, Any], *, accelerator: Accelerator) -> None:
    """Note what the features are made with, or check that a run before noted the same.

    Raises:
        ConfigError: the folder holds features that were made with other settings.
    """
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    path = out / SETTINGS_NAME
    problem = [""]
    if accelerator.is_main_process:
        if not path.is_file():
            write_atomic(path, text.encode())
        elif path.read_text(encoding="utf-8") != text:
            problem = [_difference(path, json.loads(text))]
    broadcast_object_list(problem)
    if problem[0]:
        raise ConfigError(problem[0])


def weights_digest(model: ClipModel) -> str:
    """16 hex digits that change when a weight does."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def file_name(key: str, file_format: FeatureFormat) -> str:
    """A sample's file. Keys are data: what could lead out of the folder is escaped as in a URL."""
    return f"{quote(key, safe=' +,=@()')}.{file_format}"


def window_times(info: SampleInfo, clip: ClipConfig, num_windows: int) -> list[float]:
    """When the middle frame of each window is shown."""
    if clip.window == "around" and clip.hop_seconds is None:
        return info.times_seconds().tolist()
    plans = (plan_clip(info, clip, window_index=i) for i in range(num_windows))
    return [float(plan.times_seconds[clip.num_frames // 2]) for plan in plans]


def is_done(path: Path) -> bool:
    """Whether a sample's file is there, or a note that it cannot be."""
    return path.is_file() or path.with_name(path.name + UNREADABLE).is_file()


def unreadable_keys(folder: Path, keys: Sequence[str], file_format: FeatureFormat) -> list[str]:
    """Those whose file could not be made."""
    return [k for k in keys if (folder / (file_name(k, file_format) + UNREADABLE)).is_file()]


def write_index(
    out: Path,
    split: str,
    *,
    reader: ShardReader,
    counts: NDArray[np.int64],
    clip: ClipConfig,
    classes: Sequence[str],
    file_format: FeatureFormat,
) -> None:
    """`<split>.parquet`: the samples that have a file; `counts` int64 [N] are windows a sample."""
    rows: list[dict[str, Any]] = []
    for sample, num_windows in enumerate(counts.tolist()):
        info = reader.info(sample)
        file = f"{split}/{file_name(info.key, file_format)}"
        if (out / file).is_file():
            has_label = info.label is not None and classes
            rows.append(
                {
                    "key": info.key,
                    "group": info.group,
                    "label": classes[info.label] if has_label and info.label is not None else None,
                    "file": file,
                    "num_windows": num_windows,
                    "times_seconds": window_times(info, clip, num_windows),
                }
            )
    schema = pa.schema(
        [("key", pa.string()), ("group", pa.string()), ("label", pa.string()),
         ("file", pa.string()), ("num_windows", pa.int64()),
         ("times_seconds", pa.list_(pa.float64()))]
    )  # fmt: skip
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), content)
    write_atomic(out / f"{split}.parquet", content.getvalue())


def _difference(path: Path, wanted: Mapping[str, Any]) -> str:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        told = ", ".join(f"{k}={found.get(k)!r}, now {wanted.get(k)!r}" for k in names)
    except (ValueError, TypeError, AttributeError) as error:
        told = repr(error)
    return (
        f"{path.parent} holds features that were made with other settings ({told}); give another "
        "--out, or remove that folder"
    )
