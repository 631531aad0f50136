"""The signed-in user's row on page load: who is calling, and whether the row is fresh."""
