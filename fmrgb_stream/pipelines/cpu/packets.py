"""Indexed packets -> the wanted frames, through decoder contexts that live as long as their thread.

Opening a container costs more than decoding a small clip. The index knows where every packet lies,
so its bytes go straight to a decoder that is only flushed between samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import av
import numpy as np
from av.codec.context import ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from fmrgb_stream.clips.h264 import is_disposable, is_idr, nal_length_bytes
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

    def first_packets(self, packets: IntArray) -> IntArray:
        """Where decoding must start to show these packets' frames; 0 when no keyframe helps.

        A frame shown before the keyframe it follows in decode order (open GOP) needs the keyframe
        before that one.
        """
        keys = np.flatnonzero(self.is_key)
        place = np.searchsorted(keys, packets, side="right") - 1
        while (comes_late := (place >= 0) & (self.pts[keys[place]] > self.pts[packets])).any():
            place[comes_late] -= 1
        return np.where(place >= 0, keys[place], 0)

    def runs(self, frame_indices: Sequence[int]) -> list[tuple[int, int]]:
        """Packet ranges [start, stop) to decode, each from a keyframe, that show these frames."""
        packets = np.sort(self.presentation[np.asarray(frame_indices, np.int64)])
        runs: list[tuple[int, int]] = []
        for start, packet in zip(
            self.first_packets(packets).tolist(), packets.tolist(), strict=True
        ):
            first = start
            while runs and first <= runs[-1][1]:
                first = min(first, runs.pop()[0])
            runs.append((first, packet + 1))
        return runs


def packet_order(pts: IntArray, is_key: NDArray[np.bool_]) -> PacketOrder | None:
    """The order of a stream's packets, or None when their times do not tell frames apart."""
    presentation = np.argsort(pts, kind="stable")
    if (np.diff(pts[presentation]) == 0).any():
        return None
    return PacketOrder(pts=pts, is_key=is_key, presentation=presentation)


def decode_runs(
    context: VideoCodecContext,
    order: PacketOrder,
    packets_of: Callable[[int, int], Iterable[Packet[Any]]],
    frame_indices: Sequence[int],
    *,
    begins_anew: Callable[[int], bool] = lambda _: False,
) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames with their presentation index, each as soon as it is decoded.

    `packets_of` gives the packets of a range in decode order; `begins_anew` tells of a packet that
    it makes the decoder give out what it holds and forget it, which spares a flush. Frames that the
    codec does not deliver are missing from the output; the caller counts. Closing the iterator
    early leaves the context in need of a flush.
    """
    wanted = {int(order.pts[order.presentation[index]]): index for index in frame_indices}
    runs = order.runs(frame_indices)
    for number, (start, stop) in enumerate(runs, start=1):
        for packet in packets_of(start, stop):
            for frame in context.decode(packet):
                index = wanted.get(frame.pts)  # pyright: ignore[reportArgumentType]
                if index is not None:
                    yield index, frame
        if number < len(runs) and begins_anew(runs[number][0]):
            continue
        for frame in context.decode(None):
            index = wanted.get(frame.pts)  # pyright: ignore[reportArgumentType]
            if index is not None:
                yield index, frame
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

        is_closed = order.is_closed()
        length_bytes = nal_length_bytes(sample.info.extradata)
        shown = set(order.pts[order.presentation[np.asarray(frame_indices, np.int64)]].tolist())

        def packets_of(start: int, stop: int) -> Iterator[Packet[Any]]:
            part = slice(start, stop)
            places = (table.offsets[part], table.sizes[part], order.pts[part])
            for offset, size, pts in zip(*(column.tolist() for column in places), strict=True):
                content = video[offset : offset + size]
                if pts not in shown and is_disposable(content, length_bytes):
                    continue
                # PyAV copies the bytes into a padded buffer, whatever kind of buffer they come in.
                packet = av.Packet(content)  # pyright: ignore[reportArgumentType]
                packet.pts = packet.dts = pts
                yield packet

        def begins_anew(packet: int) -> bool:
            offset, size = int(table.offsets[packet]), int(table.sizes[packet])
            return is_closed and is_idr(video[offset : offset + size], length_bytes)

        identity = (sample.info.codec, sample.info.extradata, is_closed)
        context = self._contexts.pop(identity, None) or _open_context(*identity)
        try:
            yield from decode_runs(
                context, order, packets_of, frame_indices, begins_anew=begins_anew
            )
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
    # A container would say how many frames come out of order. Without it FFmpeg guesses, unless
    # the stream itself says so, and drops frames until the guess is right; "strict" waits for as
    # many as the standard allows.
    context.options = {"strict": "1"}
    if is_closed:
        # Without this FFmpeg paints over broken packets and reports nothing. An open GOP has
        # packets that cannot be decoded, and need not be, when decoding starts at its keyframe.
        context.options |= {"err_detect": "explode"}
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
