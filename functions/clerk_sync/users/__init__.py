"""A user's row: what is kept of a Clerk user, the rule for writing it, and the table itself."""
