"""A drawn face that detectors take for one, and videos in which it moves along a known path."""

import numpy as np

BACKGROUND = (70, 90, 120)
_DRAWN_AT = 96


def drawn_face(size):
    """uint8 [size, size, 3]: hair, skin, cheeks, eyes, brows, nose and mouth, as soft ellipses."""
    scale = size / _DRAWN_AT
    rows, columns = np.mgrid[:size, :size] / scale
    picture = np.ones((size, size, 3)) * np.array(BACKGROUND)

    def put(color, y, x, half_height, half_width, soft=0.15):
        nonlocal picture
        distance = np.sqrt(((rows - y) / half_height) ** 2 + ((columns - x) / half_width) ** 2)
        share = np.clip((1 + soft - distance) / (2 * soft), 0, 1)[..., None]
        picture = picture * (1 - share) + np.array(color) * share

    put((60, 40, 30), 44, 48, 44, 36)
    put((215, 170, 140), 54, 48, 36, 28)
    for side in (-1, 1):
        put((190, 140, 115), 70, 48 + 18 * side, 10, 8, soft=0.9)
        put((120, 85, 65), 46, 48 + 12 * side, 6, 9, soft=0.5)
        put((240, 235, 230), 47, 48 + 12 * side, 3.2, 6.5)
        put((40, 25, 20), 47, 48 + 12 * side, 3.2, 3.2)
        put((60, 40, 30), 38, 48 + 12 * side, 1.8, 8)
    put((185, 135, 110), 58, 48, 9, 4, soft=0.8)
    for side in (-1, 1):
        put((120, 80, 65), 64, 48 + 3.5 * side, 1.5, 2)
    put((165, 70, 70), 74, 48, 4, 11, soft=0.3)
    put((110, 40, 40), 74, 48, 1, 10)
    return np.rint(picture).astype(np.uint8)


def moving_face(lefts, *, top=60, size=96, width=320, height=240):
    """uint8 [F, H, W, 3]: the face with its left edge at each of `lefts`, whole pixels."""
    face = drawn_face(size)
    frames = np.full((len(lefts), height, width, 3), BACKGROUND, np.uint8)
    for frame, left in zip(frames, lefts, strict=True):
        frame[top : top + size, left : left + size] = face
    return frames


def bright_square(picture_HWC):
    """A detector of white squares: exact, and blind to everything else."""
    from fmrgb_stream.packing.faces import FaceBox

    rows, columns = np.nonzero(picture_HWC.min(axis=2) > 128)
    if not len(rows):
        return []
    left, top = columns.min(), rows.min()
    return [
        FaceBox(
            left=float(left),
            top=float(top),
            width=float(columns.max() + 1 - left),
            height=float(rows.max() + 1 - top),
            confidence=1.0,
        )
    ]
