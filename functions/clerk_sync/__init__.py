"""Keeps a DynamoDB table of users in sync with Clerk."""

__version__ = "0.1.0"
"""The same as in pyproject.toml and template.yaml; every log line has it."""
