"""What `verify` says: findings and the report of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a finding is about: a file of the dataset, or a sample in it."""

    path: str
    """From the dataset root."""
    key: str = ""
    """Of the sample; empty where it is about the whole file."""
    extension: str = ""
    """Of the sample's member; empty where it is about the sample."""
    row: int | None = None
    """Of the sample in its sidecar. Without the sample the finding is gone."""

    def __str__(self) -> str:
        """`train/shard-000000.tar clip-7.mp4`."""
        name = f"{self.key}.{self.extension}" if self.extension else self.key
        return f"{self.path} {name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    check: str
    """Which check found it: a word that stays the same, e.g. `frame-count`."""
    place: str
    """The file, and the key of the sample where it is about one."""
    message: str
    path: str
    """The file alone."""
    key: str = ""
    """The sample alone; empty where it is about no single one."""
    row: int | None = None
    """The sample's row in its sidecar; None where it is about no single one."""

    def __str__(self) -> str:
        """One line."""
        return f"{self.severity}: {self.place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` looked at and found."""

    findings: tuple[Finding, ...]
    """Errors first, then warnings, then infos; each in the order of the dataset."""
    num_shards: int
    num_samples: int
    num_decoded: int
    seconds: float

    def count(self, severity: Severity) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def num_errors(self) -> int:
        """Findings that make the dataset unfit for use."""
        return self.count("error")

    @property
    def num_warnings(self) -> int:
        """Findings that a training may suffer from."""
        return self.count("warning")

    @property
    def is_good(self) -> bool:
        """No errors."""
        return self.num_errors == 0

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        counts = {f"num_{severity}s": self.count(severity) for severity in SEVERITIES}
        return {**asdict(self), **counts, "is_good": self.is_good}


@dataclass(slots=True)
class Notes:
    """Findings in the making."""

    findings: list[Finding] = field(default_factory=list[Finding])

    def error(self, check: str, place: Place, message: str) -> None:
        """The dataset is unfit for use."""
        self._add("error", check, place, message)

    def warning(self, check: str, place: Place, message: str) -> None:
        """It can be read, but a training may suffer."""
        self._add("warning", check, place, message)

    def info(self, check: str, place: Place, message: str) -> None:
        """Good to know."""
        self._add("info", check, place, message)

    def _add(self, severity: Severity, check: str, place: Place, message: str) -> None:
        self.findings.append(
            Finding(
                severity=severity,
                check=check,
                place=str(place),
                message=message,
                path=place.path,
                key=place.key,
                row=place.row,
            )
        )
