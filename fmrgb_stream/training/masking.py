"""Settings -> what of them may be printed, sent to trackers and pasted into pages: no passwords of URLs."""

from __future__ import annotations

from dataclasses import replace

from fmrgb_stream.config import RunConfig
from fmrgb_stream.storage.urls import parse_location


def masked(config: RunConfig) -> RunConfig:
    """The same with roots as they are shown: without user, password and query."""
    data = config.data
    audit_log = None if data.audit_log is None else shown_root(data.audit_log)
    return replace(config, data=replace(data, root=shown_root(data.root), audit_log=audit_log))


def shown_root(root: str) -> str:
    """A folder or URL without user, password and query."""
    return parse_location(root).shown if root else root
