"""Files in which a white frame and a chirp begin at the same times, one for each awkward container."""

import random

import numpy as np

from tests.support.media import Picture, Sound, chirps_at, flash_frames, write_media

NUM_FRAMES = 240
FLASHES = (15, 75, 100, 175, 205)


def jittery_times():
    dice = random.Random(1)
    gaps = [dice.choice([1 / 30, 1 / 30, 1 / 15, 0.041]) for _ in range(NUM_FRAMES - 1)]
    return np.cumsum([0.0, *gaps])


CASES = {
    "mp4_aac.mp4": {},
    "mov_aac.mov": {},
    "mkv_opus.mkv": {"sound": {"codec": "libopus"}},
    "flv_mp3_late.flv": {"picture": {"codec": "flv1", "start_seconds": 0.5},
                "sound": {"codec": "libmp3lame", "rate": 44100, "start_seconds": 0.5}},
    "late.mkv": {"picture": {"start_seconds": 0.7}, "sound": {"start_seconds": 0.7}},
    "sound_from_before.mkv": {"picture": {"start_seconds": 0.4}, "early": 0.4},
    "ts_ac3.ts": {"picture": {"codec": "mpeg2video"}, "sound": {"codec": "ac3"},
               "container": "mpegts"},
    "mp4_mp3.mp4": {"sound": {"codec": "libmp3lame", "rate": 44100}},
    "variable.mp4": {"variable": True},
    "variable_opus.mkv": {"variable": True, "sound": {"codec": "libopus"}},
}  # fmt: skip


def make(folder, name):
    case = CASES[name]
    times = jittery_times() if case.get("variable") else np.arange(NUM_FRAMES) / 30
    sound = {"rate": 48000, **case.get("sound", {})}
    early = case.get("early", 0.0)
    wave = chirps_at(
        times[list(FLASHES)] + early, seconds=times[-1] + early + 0.2, rate=sound["rate"]
    )
    picture = Picture(
        flash_frames(NUM_FRAMES, FLASHES),
        times_seconds=times if case.get("variable") else None,
        **case.get("picture", {}),
    )
    container = case.get("container")
    write_media(folder / name, picture=picture, sound=Sound(wave, **sound), container=container)
