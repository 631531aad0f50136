"""The CloudWatch dashboard's widgets: runs with their progress, and users with their pictures."""
