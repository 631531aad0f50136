"""Is the table right? The audit, its report, and the rows of users who were deleted in Clerk."""
