"""What the commands tell the shell."""

from __future__ import annotations

from typing import Final

EXIT_GOOD: Final = 0
EXIT_PROBLEMS: Final = 1
"""The command worked, and found or left problems."""
EXIT_UNUSABLE: Final = 2
"""Usage, input or machine: it could not work."""
EXIT_INTERRUPTED: Final = 130
"""Stopped by Ctrl-C."""
