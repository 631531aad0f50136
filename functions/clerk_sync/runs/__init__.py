"""Runs: reading an instance page by page, queueing the pages, writing them, and recording the outcome."""
