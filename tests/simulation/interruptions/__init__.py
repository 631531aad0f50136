"""Whole runs and audits in which things go wrong between any two calls."""
