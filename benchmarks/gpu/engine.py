"""G3: the optical flow engine: whether it is there, for which sizes, and which way it points."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.gpu.outcome import Outcome, essence, judged
from fmrgb_stream.pipelines.dali.flow import engine_flow
from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.probe import moving_pattern, probe_engine


def flow_engine(device: str) -> Outcome:
    """Probe it at several sizes, by grid, and with one picture only."""
    if device == "cpu":
        return Outcome(status="not run", facts={"reason": "the engine is part of a GPU"})
    facts: dict[str, Any] = {}
    signs: dict[tuple[int, int], int] = {}
    for size in ((32, 32), (64, 64), (112, 112), (160, 160), (224, 224), (720, 1280)):
        signs[size], problem = probe_engine(size, device)
        facts[f"{size[1]}x{size[0]}"] = f"sign {signs[size]:+d}" if signs[size] else problem[:200]
    shapes = {grid: _shape(device, output_grid=grid) for grid in (1, 2, 4)}
    facts |= {f"grid {grid}": shape for grid, shape in shapes.items()}
    facts["one picture"] = _one_picture(device)
    found = {sign for sign in signs.values() if sign}
    return judged(
        facts,
        bar="at 112x112, 224x224 and 1280x720 the engine finds 4 pixels to the right within a factor "
        "of 2, with one sign, 4 pixels to a vector; a machine without it is no failure but says why",
        is_good=_is_without_engine(signs, facts)
        or (
            len(found) == 1
            and all(signs[size] for size in ((112, 112), (224, 224), (720, 1280)))
            and shapes[4] == "(1, 56, 56, 2)"
        ),
    )


def _is_without_engine(signs: dict[tuple[int, int], int], facts: dict[str, Any]) -> bool:
    """No size works, and it is the library or the device that is missing, as DALI says."""
    said = str(facts["1280x720"]).lower()
    return not any(signs.values()) and any(
        word in said for word in ("libnvidia-opticalflow", "not supported", "unsupported")
    )


def _shape(device: str, **options: Any) -> str:
    estimate = partial(load_dali().fn.optical_flow, **options)
    try:
        return str(_run(device, moving_pattern((224, 224)), estimate))
    except Exception as error:  # noqa: BLE001 - drivers, libraries and DALI fail in many ways
        return essence(error)


def _one_picture(device: str) -> str:
    try:
        return str(_run(device, moving_pattern((224, 224))[:1], engine_flow))
    except Exception as error:  # noqa: BLE001 - as above
        return essence(error)


def _run(device: str, pictures: Any, estimate: Any) -> Any:
    dali = load_dali()
    index = int(device.partition(":")[2] or 0)

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=index)
    def one() -> Any:
        fed = dali.fn.external_source(source=lambda: [pictures], batch=True, layout="FHWC")
        return estimate(fed.gpu())

    graph = one()
    graph.build()
    return graph.run()[0].as_cpu().at(0).shape
