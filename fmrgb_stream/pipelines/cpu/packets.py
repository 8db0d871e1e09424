"""Indexed packets -> the wanted frames, through decoder contexts that live as long as their thread.

Opening a container costs more than decoding a small clip. The index knows where every packet lies,
so its bytes go straight to a decoder that is only flushed between samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import av
import numpy as np
from av.codec.context import ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from fmrgb_stream.errors import DecodeError
from fmrgb_stream.sample import EncodedSample

if TYPE_CHECKING:
    from av.packet import Packet
    from numpy.typing import NDArray

    from fmrgb_stream.sample import IntArray

PACKET_CODECS: Final = frozenset({"h264"})
"""Codecs whose packets are fed without a container."""
MAX_CONTEXTS: Final = 4
"""Decoder contexts a thread keeps; samples packed with the same options share one."""
_Identity: TypeAlias = tuple[str, bytes, bool]
"""Codec, decoder configuration, whether all GOPs are closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketOrder:
    """How the packets of one stream relate to its frames in presentation order."""

    pts: IntArray
    """int64 [P], in decode order, each one once."""
    is_key: NDArray[np.bool_]
    """bool [P]."""
    presentation: IntArray
    """int64 [F]: place in decode order of the packet of each frame."""

    def is_closed(self) -> bool:
        """Whether no frame is shown before a keyframe that it follows in decode order."""
        earliest_later = np.minimum.accumulate(self.pts[::-1])[::-1]
        return bool(np.all(earliest_later[self.is_key] == self.pts[self.is_key]))

    def first_packet(self, packet: int) -> int:
        """Where decoding must start to show this packet's frame; 0 when no keyframe helps.

        A frame shown before the keyframe it follows in decode order (open GOP) needs the keyframe
        before that one.
        """
        keys = np.flatnonzero(self.is_key[: packet + 1])
        usable = keys[self.pts[keys] <= self.pts[packet]]
        return int(usable[-1]) if len(usable) else 0

    def runs(self, frame_indices: Sequence[int]) -> list[tuple[int, int]]:
        """Packet ranges [start, stop) to decode, each from a keyframe, that show these frames."""
        runs: list[tuple[int, int]] = []
        for packet in sorted(int(self.presentation[index]) for index in frame_indices):
            start = self.first_packet(packet)
            while runs and start <= runs[-1][1]:
                start = min(start, runs.pop()[0])
            runs.append((start, packet + 1))
        return runs


def packet_order(pts: IntArray, is_key: NDArray[np.bool_]) -> PacketOrder | None:
    """The order of a stream's packets, or None when their times do not tell frames apart."""
    if len(np.unique(pts)) != len(pts):
        return None
    return PacketOrder(pts=pts, is_key=is_key, presentation=np.argsort(pts, kind="stable"))


def decode_runs(
    context: VideoCodecContext,
    order: PacketOrder,
    packet_at: Callable[[int], Packet[Any]],
    frame_indices: Sequence[int],
) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames with their presentation index, each as soon as it is decoded.

    Frames that the codec does not deliver are missing from the output; the caller counts.
    Closing the iterator early leaves the context in need of a flush.
    """
    wanted = {int(order.pts[order.presentation[index]]): index for index in frame_indices}
    for start, stop in order.runs(frame_indices):
        for position in range(start, stop):
            for frame in context.decode(packet_at(position)):
                if frame.pts in wanted:
                    yield wanted[frame.pts], frame
        for frame in context.decode(None):
            if frame.pts in wanted:
                yield wanted[frame.pts], frame
        context.flush_buffers()


class PacketDecoder:
    """Decodes samples whose index has a packet table. Belongs to one thread."""

    def __init__(self) -> None:
        """Start without contexts; they are made when first needed."""
        self._contexts: OrderedDict[_Identity, VideoCodecContext] = OrderedDict()

    @staticmethod
    def can_decode(sample: EncodedSample) -> bool:
        """Whether this sample's packets can be fed directly."""
        return sample.info.packets is not None and sample.info.codec in PACKET_CODECS

    def frames(
        self, sample: EncodedSample, frame_indices: Sequence[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames with their presentation index, in any order.

        Raises:
            DecodeError: the packets do not fit the member or the frame count, or the codec
                refuses them.
        """
        order = _checked_order(sample)
        video = sample.video
        table = sample.info.packets
        assert video is not None, "can_decode() was not asked"
        assert table is not None, "can_decode() was not asked"

        def packet_at(position: int) -> Packet[Any]:
            offset = int(table.offsets[position])
            # PyAV copies the bytes into a padded buffer, whatever kind of buffer they come in.
            packet = av.Packet(video[offset : offset + int(table.sizes[position])])  # pyright: ignore[reportArgumentType]
            packet.pts = packet.dts = int(order.pts[position])
            return packet

        identity = (sample.info.codec, sample.info.extradata, order.is_closed())
        context = self._contexts.pop(identity, None) or _open_context(*identity)
        try:
            yield from decode_runs(context, order, packet_at, frame_indices)
        except FFmpegError as error:
            # The context is not put back: its state after an error is unknown.
            raise DecodeError(
                f"the {sample.info.codec} decoder refused a packet: {error}",
                shard=sample.shard_url,
                key=sample.info.key,
            ) from error
        self._contexts[identity] = context
        if len(self._contexts) > MAX_CONTEXTS:
            self._contexts.popitem(last=False)


def _open_context(codec: str, extradata: bytes, is_closed: bool) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext), f"{codec} is not a video codec"
    if extradata:
        context.extradata = extradata
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    if is_closed:
        # Without this FFmpeg paints over broken packets and reports nothing. An open GOP has
        # packets that cannot be decoded, and need not be, when decoding starts at its keyframe.
        context.options = {"err_detect": "explode"}
    return context


def _checked_order(sample: EncodedSample) -> PacketOrder:
    info, table, video = sample.info, sample.info.packets, sample.video
    assert table is not None, "can_decode() was not asked"
    problem = ""
    order = packet_order(table.pts, table.is_key)
    if video is None:
        problem = "the video member is missing"
    elif len(table.pts) != info.num_frames:
        problem = f"{len(table.pts)} packets but {info.num_frames} frames in the index"
    elif int((table.offsets + table.sizes).max(initial=0)) > len(video):
        problem = f"the packet table ends beyond the member's {len(video)} bytes"
    elif order is None:
        problem = "two packets have the same presentation time"
    else:
        return order
    raise DecodeError(problem, shard=sample.shard_url, key=info.key)
