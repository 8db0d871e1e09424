"""Container format -> the extension of a video member that is stored as it came."""

from __future__ import annotations

from typing import Final

# By the first name of FFmpeg's format; the first extension is given when the file's own is another.
_EXTENSIONS: Final = {
    "mov": ("mp4", "mov", "m4v", "3gp", "3g2", "mj2"),
    "matroska": ("mkv", "webm"),
    "avi": ("avi",),
    "flv": ("flv",),
    "live_flv": ("flv",),
    "mpegts": ("ts", "m2ts", "mts"),
    "mpeg": ("mpg", "mpeg", "vob"),
    "mpegvideo": ("mpg", "mpeg", "m2v", "m1v"),
    "asf": ("wmv", "asf"),
    "ogg": ("ogv",),
    "h264": ("h264", "264"),
    "hevc": ("hevc", "265"),
    "ivf": ("ivf",),
    "dv": ("dv",),
    "mxf": ("mxf",),
    "nut": ("nut",),
    "rm": ("rm", "rmvb"),
    "gif": ("gif",),
}
_OTHER: Final = ("video",)


def video_extension(suffix: str, container_format: str) -> str:
    """The extension for a video file, by what it is rather than by what it is called.

    A file name may say anything, `json` and `flac` among it, which are other members of a sample.

    Args:
        suffix: Of the source's name, e.g. `.MOV`; may be empty.
        container_format: FFmpeg's name of it, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.
    """
    fitting = _EXTENSIONS.get(container_format.split(",", 1)[0], _OTHER)
    own = suffix.lower().lstrip(".")
    return own if own in fitting else fitting[0]
