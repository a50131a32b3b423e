"""Means with their standard errors, and how much drawn rows are like real ones."""
