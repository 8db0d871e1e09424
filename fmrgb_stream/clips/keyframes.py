"""A video's bytes -> its packets in presentation order: which are keyframes, how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.sample import PacketTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPackets:
    """Packets in the order in which their pictures are shown, P = frames of a usual video."""

    sizes_P: NDArray[np.int64]
    """Bytes."""
    is_key_P: NDArray[np.bool_]


def shown_packets(table: PacketTable) -> ShownPackets:
    """From the index."""
    order = np.argsort(table.pts, kind="stable")
    return ShownPackets(sizes_P=table.sizes[order], is_key_P=table.is_key[order])


def read_shown_packets(content: bytes) -> ShownPackets:
    """From the container itself, for videos whose packets the index does not list.

    Raises:
        RejectedInput: it cannot be read, or holds no video.
    """
    rows: list[tuple[int, int, bool]] = []
    with open_media(content) as container:
        stream = main_streams(container)[0]
        if stream is None:
            raise RejectedInput("holds no video")
        try:
            for number, packet in enumerate(container.demux(stream)):
                if packet.size and not packet.is_discard:
                    # AVI has no presentation times; its packets are in that order already.
                    time = number if packet.pts is None else packet.pts
                    rows.append((time, packet.size, packet.is_keyframe))
        except FFmpegError as error:
            raise RejectedInput(f"cannot be read: {error}") from error
    rows.sort()
    return ShownPackets(
        sizes_P=np.array([size for _, size, _ in rows], np.int64),
        is_key_P=np.array([is_key for _, _, is_key in rows], np.bool_),
    )
