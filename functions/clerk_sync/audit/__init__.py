"""Whether the table is right: the audit's report, and the users who were deleted in Clerk."""
