"""A video member -> the wanted frames, through a file decoder: PyAV, or decord by name."""

from __future__ import annotations

import importlib
import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from av.codec.context import ThreadType
from av.error import FFmpegError
from av.video.frame import VideoFrame

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.errors import DecodeError, MissingExtraError, RejectedInput
from fmrgb_stream.pipelines.cpu.packets import PacketOrder, decode_runs, packet_order
from fmrgb_stream.sample import EncodedSample

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


def pyav_frames(
    sample: EncodedSample, frame_indices: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames with their presentation index. The member's bytes are copied once.

    Decoding starts at the nearest usable keyframe where the container's times can be trusted, and
    at the first frame otherwise.

    Raises:
        DecodeError: the member is no video, or a packet cannot be read.
    """
    with _opened(sample, _video(sample)) as (container, stream):
        yield from _stream_frames(container, stream, sample.info.num_frames, frame_indices)


def decord_frames(
    sample: EncodedSample, frame_indices: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """The wanted frames, already RGB and upright, with their presentation index. Bytes are copied.

    decord converts with BT.601 whatever the source says. It would open any format, so the member
    is opened as for PyAV first.

    Raises:
        MissingExtraError: decord is not installed.
        DecodeError: the member is no video, or decord refuses it or has fewer frames.
    """
    decord = load_decord()
    content = _video(sample)
    with _opened(sample, content):
        pass
    try:
        reader = decord.VideoReader(io.BytesIO(content), num_threads=1)
        indices = [index for index in frame_indices if index < len(reader)]
        pictures = reader.get_batch(indices).asnumpy() if indices else ()
    except (decord.DECORDError, RuntimeError) as error:
        raise _error(sample, f"decord cannot decode the video member: {error}") from error
    for index, picture in zip(indices, pictures, strict=True):
        yield index, VideoFrame.from_ndarray(picture, format="rgb24")


def load_decord() -> Any:
    """The decord module, which has no types.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("decord")
    except ImportError as error:
        raise MissingExtraError("decord", "decord", "video_decoder='decord'") from error


def _video(sample: EncodedSample) -> bytes:
    if sample.video is None:
        raise _error(sample, "the video member is missing")
    return bytes(sample.video)


def _error(sample: EncodedSample, message: str) -> DecodeError:
    return DecodeError(message, shard=sample.shard_url, key=sample.info.key)


@contextmanager
def _opened(sample: EncodedSample, content: bytes) -> Generator[tuple[InputContainer, VideoStream]]:
    """The member's container and main video stream; what FFmpeg refuses inside is a DecodeError."""
    try:
        with open_media(content) as container:
            stream, _ = main_streams(container)
            if stream is None:
                raise _error(sample, "the video member has no video stream")
            yield container, stream
    except RejectedInput as error:
        raise _error(sample, f"the video member cannot be opened: {error}") from error
    except FFmpegError as error:
        raise _error(sample, f"PyAV cannot decode the video member: {error}") from error


def _stream_frames(
    container: InputContainer, stream: VideoStream, num_frames: int, frame_indices: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    context = stream.codec_context
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    packets = [packet for packet in container.demux(stream) if packet.size]
    order = _trusted_order(packets, stream, num_frames=num_frames)
    if order is not None:
        yield from decode_runs(
            context, order, lambda start, stop: packets[start:stop], frame_indices
        )
        return
    wanted, last = set(frame_indices), max(frame_indices)
    frames = (frame for packet in [*packets, None] for frame in context.decode(packet))
    for index, frame in enumerate(frames):
        if index in wanted:
            yield index, frame
        if index == last:
            return


def _trusted_order(
    packets: Sequence[Packet[VideoStream]], stream: VideoStream, *, num_frames: int
) -> PacketOrder | None:
    """The packets' order, or None when only counting decoded frames tells which is which.

    Some containers (AVI) hold no presentation times; what FFmpeg makes up for them shows as times
    that never step back although the codec reorders frames. Packets that an edit list hides, or
    that hold two fields, break the one-to-one relation as well.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    one_each = len(times) == len(packets) == num_frames and bool(packets)
    if not one_each or any(packet.is_discard for packet in packets):
        return None
    pts = np.array(times, dtype=np.int64)
    if stream.codec_context.has_b_frames and bool(np.all(np.diff(pts) > 0)):
        return None
    return packet_order(pts, np.array([packet.is_keyframe for packet in packets]))
