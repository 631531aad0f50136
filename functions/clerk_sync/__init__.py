"""Keeps a DynamoDB table of users true to Clerk."""
