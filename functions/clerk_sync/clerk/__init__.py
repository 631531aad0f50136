"""Clerk's Backend API: one client, and the ways to list a whole instance with it."""
