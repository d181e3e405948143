"""Claims about a day and what was found of them, each proven from the day's files; and how far a day has come.

A proof reads the files anew, compares sets and not counts, and trusts nothing that a step remembers.
"""
