"""Where things are in this clone."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
"""Environments, builds and logs. Git ignores it, and deleting it starts over."""
