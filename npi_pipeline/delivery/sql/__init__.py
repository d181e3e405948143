"""Delivering to an SQL database: the newest day in plain tables, and the history of every provider.

Written with SQLAlchemy, so that the statements are the same for every database; only bulk loading and the row digest
differ. All of a delivery is one transaction.
"""
