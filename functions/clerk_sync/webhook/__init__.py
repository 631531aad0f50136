"""Clerk's signed webhook events: verifying them, reading them, and recording when they arrive."""
