"""What `verify` says: findings and the report of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    place: str
    """The file, and the key of the sample where it is about one."""
    message: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.severity}: {self.place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` looked at and found."""

    findings: tuple[Finding, ...]
    num_shards: int
    num_samples: int
    num_decoded: int
    seconds: float

    @property
    def num_errors(self) -> int:
        """Findings that make the dataset unfit for use."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        """Findings that a reader can live with."""
        return len(self.findings) - self.num_errors

    @property
    def is_good(self) -> bool:
        """No errors."""
        return self.num_errors == 0

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**asdict(self), "num_errors": self.num_errors, "is_good": self.is_good}


@dataclass(slots=True)
class Notes:
    """Findings in the making."""

    findings: list[Finding] = field(default_factory=list)

    def error(self, place: str, message: str) -> None:
        """The dataset is unfit for use."""
        self.findings.append(Finding(severity="error", place=place, message=message))

    def warning(self, place: str, message: str) -> None:
        """A reader can live with it."""
        self.findings.append(Finding(severity="warning", place=place, message=message))
